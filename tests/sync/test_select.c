/* SPDX-License-Identifier: MIT */
/* Select: exactly one case happens, the others leave no trace, and none is passed over for good. */
#include <sys/socket.h>

#include "sync/actors.h"

/* One of everything that a case can be of, and nothing ready; capacity of both channels is 1. */
struct things {
    td_chan *source, *sink;
    td_broadcast *news;
    td_subscriber *subscriber;
    td_event event;
    td_future future;
    td_sem sem;
    int near, far;  /* a pair of sockets: near is not readable, near is not writable until far has read */
    long item, put;
    void *value;
};

enum { RECEIVE, SEND, NEWS, TIME, READABLE, WRITABLE, EVENT, FUTURE, PERMIT, KINDS };

static void things_open(struct things *t)
{
    static const char block[4096];
    int pair[2];

    memset(t, 0, sizeof *t);
    expect_int(td_chan_open(&t->source, &(td_chan_opts){.item_size = sizeof(long), .capacity = 1}), 0);
    expect_int(td_chan_open(&t->sink, &(td_chan_opts){.item_size = sizeof(long), .capacity = 1}), 0);
    expect_int(td_broadcast_open(&t->news, &(td_broadcast_opts){.item_size = sizeof(long), .capacity = 1}), 0);
    expect_int(td_subscribe(t->news, &t->subscriber), 0);
    td_event_init(&t->event);
    td_future_init(&t->future);
    td_sem_init(&t->sem, 0);
    expect_int(td_chan_send(t->sink, &(long){1}), 0);
    expect_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    t->near = pair[0];
    t->far = pair[1];
    while (write(t->near, block, sizeof block) > 0)
        ;
    t->put = 77;
}

static void things_close(struct things *t)
{
    td_unsubscribe(t->subscriber);
    td_broadcast_free(t->news);
    td_chan_free(t->source);
    td_chan_free(t->sink);
    close(t->near);
    close(t->far);
}

static td_case case_of(struct things *t, int kind)
{
    switch (kind) {
    case RECEIVE: return td_on_receive(t->source, &t->item);
    case SEND: return td_on_send(t->sink, &t->put);
    case NEWS: return td_on_broadcast(t->subscriber, &t->item);
    case TIME: return td_on_time(td_after(td_sec(1000)));
    case READABLE: return td_on_readable(t->near);
    case WRITABLE: return td_on_writable(t->near);
    case EVENT: return td_on_event(&t->event);
    case FUTURE: return td_on_future(&t->future, &t->value);
    default: return td_on_permit(&t->sem);
    }
}

static void all_cases(struct things *t, td_case cases[KINDS])
{
    for (int kind = 0; kind < KINDS; kind++)
        cases[kind] = case_of(t, kind);
}

static void make_ready(struct things *t, int kind)
{
    char block[4096];

    switch (kind) {
    case RECEIVE: expect_int(td_chan_try_send(t->source, &(long){5}), 0); break;
    case SEND: expect_int(td_chan_try_receive(t->sink, &(long){0}), 0); break;
    case NEWS: expect_int(td_broadcast_try_send(t->news, &(long){6}), 0); break;
    case TIME: break;
    case READABLE: expect_int(write(t->far, "x", 1), 1); break;
    case WRITABLE: while (read(t->far, block, sizeof block) > 0) ; break;
    case EVENT: td_event_set(&t->event); break;
    case FUTURE: expect_int(td_future_set(&t->future, t), 0); break;
    default: td_sem_give(&t->sem);
    }
}

/* Nobody waits in anything, and of what a case takes just the named kind was taken. */
static void expect_no_trace(struct things *t, int happened)
{
    td_chan_stats source, sink;
    td_broadcast_stats news;
    td_event_stats event;
    td_future_stats future;
    td_sem_stats sem;

    td_chan_statistics(t->source, &source);
    td_chan_statistics(t->sink, &sink);
    td_broadcast_statistics(t->news, &news);
    td_event_statistics(&t->event, &event);
    td_future_statistics(&t->future, &future);
    td_sem_statistics(&t->sem, &sem);
    expect_int((long long)(source.receivers_waiting + sink.senders_waiting + news.receivers_waiting + event.waiting +
                           future.waiting + sem.waiting), 0);
    expect_int((long long)source.received, happened == RECEIVE);
    expect_int((long long)sink.sent, 1 + (happened == SEND));
    expect_int((long long)sem.taken, happened == PERMIT);
    expect_int(t->item, happened == RECEIVE ? 5 : happened == NEWS ? 6 : 0);
    expect(t->value == (happened == FUTURE ? t : NULL));
}

struct choice {
    struct things *things;
    td_case cases[KINDS];
    size_t which;
};

static int choose(struct actor *self)
{
    struct choice *choice = self->on;

    return td_select(choice->cases, KINDS, &choice->which);
}

/* Each kind in its turn ends a select that waits for all of them. */
static int wake_by_each(void *arg)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct things things;
        struct choice choice = {.things = &things, .which = 99};
        struct actor actor = {choose, &choice};
        td_scope scope;

        things_open(&things);
        all_cases(&things, choice.cases);
        if (kind == TIME)
            choice.cases[TIME] = td_on_time(td_after(td_ms(2)));
        td_scope_open(&scope);
        actor_start(&scope, &actor);
        settle();
        expect(actor_waits(&actor));
        make_ready(&things, kind);
        expect_int(td_scope_join(&scope), 0);
        expect_int(actor.rc, 0);
        expect_int((long long)choice.which, kind);
        expect_no_trace(&things, kind);
        things_close(&things);
    }
    return 0;
}

static void each_kind_of_case_ends_it_and_only_that_one_happens(void **state)
{
    assert_int_equal(run(state, wake_by_each, NULL), 0);
}

static int need_not_wait(void *arg)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct things things;
        td_case cases[KINDS];
        size_t which = 99;

        things_open(&things);
        all_cases(&things, cases);
        make_ready(&things, kind);
        if (kind == TIME)
            cases[TIME] = td_on_time(td_now() - 1);
        expect_int(td_select(cases, KINDS, &which), 0);
        expect_int((long long)which, kind);
        expect_no_trace(&things, kind);
        things_close(&things);
    }
    return 0;
}

static void what_is_ready_happens_at_once(void **state)
{
    assert_int_equal(run(state, need_not_wait, NULL), 0);
}

static int cancel_it(void *arg)
{
    struct things things;
    struct choice choice = {.things = &things, .which = 99};
    struct actor actor = {choose, &choice};
    td_scope scope;

    things_open(&things);
    all_cases(&things, choice.cases);
    td_scope_open(&scope);
    actor_start(&scope, &actor);
    settle();
    actor_cancel(&actor);
    for (int kind = 0; kind < KINDS; kind++)
        make_ready(&things, kind);  /* too late, though it may not have run yet */
    expect_int(td_scope_join(&scope), 0);
    expect_int(actor.rc, -ECANCELED);
    expect_int((long long)choice.which, 99);
    expect_no_trace(&things, -1);
    td_scope_open(&scope);
    td_scope_cancel(&scope);
    expect_int(td_select(choice.cases, KINDS, &choice.which), -ECANCELED);
    expect_int(td_scope_join(&scope), 0);
    expect_no_trace(&things, -1);
    expect_int(td_select(choice.cases, 0, &choice.which), -EINVAL);
    things_close(&things);
    return 0;
}

static void a_cancelled_select_makes_nothing_happen(void **state)
{
    assert_int_equal(run(state, cancel_it, NULL), 0);
}

static int decide_then_cancel(void *arg)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct things things;
        struct choice choice = {.things = &things, .which = 99};
        struct actor actor = {choose, &choice};
        td_scope scope;

        if (kind == TIME || kind == READABLE || kind == WRITABLE)
            continue;  /* what is not decided by another task */
        things_open(&things);
        all_cases(&things, choice.cases);
        td_scope_open(&scope);
        actor_start(&scope, &actor);
        settle();
        make_ready(&things, kind);
        actor_cancel(&actor);  /* too late: it happened, even if the descriptors are still being given up */
        for (int other = 0; other < KINDS; other++)
            if (other != kind)
                make_ready(&things, other);
        expect_int(td_scope_join(&scope), 0);
        expect_int(actor.rc, 0);
        expect_int((long long)choice.which, kind);
        expect_no_trace(&things, kind);
        things_close(&things);
    }
    return 0;
}

static void what_happened_is_never_reported_as_cancelled(void **state)
{
    assert_int_equal(run(state, decide_then_cancel, NULL), 0);
}

/* All are ready, all the time: each has its turn, and none of them alone. */
static int starve_nobody(void *arg)
{
    unsigned happened[KINDS] = {0};

    for (int round = 0; round < 40 * KINDS; round++) {
        struct things things;
        td_case cases[KINDS];
        size_t which = 0;

        things_open(&things);
        all_cases(&things, cases);
        for (int kind = 0; kind < KINDS; kind++)
            make_ready(&things, kind);
        cases[TIME] = td_on_time(td_now() - 1);
        expect_int(td_select(cases, KINDS, &which), 0);
        happened[which]++;
        expect_no_trace(&things, (int)which);
        things_close(&things);
    }
    for (int kind = 0; kind < KINDS; kind++)  /* 40 on average; that one has none is less likely than 1 in 10^17 */
        expect_int_at(happened[kind] > 0, 1, "happened", (const char *[]){"receive", "send", "news", "time", "readable",
                      "writable", "event", "future", "permit"}[kind]);
    return 0;
}

static void of_several_that_are_ready_each_has_its_turn(void **state)
{
    assert_int_equal(run(state, starve_nobody, NULL), 0);
}

struct queue_place {
    struct things *things;
    bool by_select;
    long item;
};

static int receive_somehow(struct actor *self)
{
    struct queue_place *place = self->on;
    td_case cases[] = {td_on_event(&place->things->event), td_on_receive(place->things->source, &place->item)};
    size_t which;

    return place->by_select ? td_select(cases, 2, &which) : td_chan_receive(place->things->source, &place->item);
}

static int queue_up(void *arg)
{
    struct things things;
    struct queue_place places[5];
    struct actor actors[5];
    td_scope scope;

    things_open(&things);
    td_scope_open(&scope);
    for (int i = 0; i < 5; i++) {
        places[i] = (struct queue_place){&things, i % 2 == 0, 0};
        actors[i] = (struct actor){receive_somehow, &places[i]};
        actor_start(&scope, &actors[i]);
        settle();
    }
    for (long i = 0; i < 5; i++)
        expect_int(td_chan_send(things.source, &i), 0);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 5; i++)
        expect_int(places[i].item, i);
    things_close(&things);
    return 0;
}

static void a_case_stands_in_the_queue_like_a_task(void **state)
{
    assert_int_equal(run(state, queue_up, NULL), 0);
}

static int pass_on_results(void *arg)
{
    struct things t;
    td_chan *rejecting;
    td_case cases[2];
    size_t which = 99;
    int copy;

    things_open(&t);
    expect_int(td_chan_open(&rejecting, &(td_chan_opts){.item_size = sizeof(long), .capacity = 1, .when_full = TD_REJECT}), 0);
    cases[0] = td_on_time(TD_FOREVER);
    cases[1] = td_on_send(rejecting, &t.put);
    expect_int(td_select(cases, 2, &which), 0);
    expect_int(td_select(cases, 2, &which), -EBUSY);
    expect_int((long long)which, 1);
    td_chan_close(rejecting);
    expect_int(td_select(cases, 2, &which), -EPIPE);
    cases[1] = td_on_future(&t.future, NULL);
    td_future_fail(&t.future, -EIO);
    expect_int(td_select(cases, 2, &which), -EIO);
    copy = dup(t.near);
    close(copy);
    cases[1] = td_on_readable(copy);
    expect_int(td_select(cases, 2, &which), -EBADF);
    expect_int((long long)which, 1);
    td_chan_free(rejecting);
    things_close(&t);
    return 0;
}

static void the_result_is_that_of_the_case(void **state)
{
    assert_int_equal(run(state, pass_on_results, NULL), 0);
}

static int close_under_it(void *arg)
{
    struct things things;
    struct choice choice = {.things = &things, .which = 99};
    struct actor actor = {choose, &choice};
    td_scope scope;

    things_open(&things);
    all_cases(&things, choice.cases);
    td_scope_open(&scope);
    actor_start(&scope, &actor);
    settle();
    td_chan_close(things.source);
    expect_int(td_scope_join(&scope), 0);
    expect_int(actor.rc, -EPIPE);
    expect_int((long long)choice.which, RECEIVE);
    things_close(&things);
    return 0;
}

static void a_channel_that_closes_ends_it(void **state)
{
    assert_int_equal(run(state, close_under_it, NULL), 0);
}

static int only_each_other(void *arg)
{
    struct things things;
    td_case cases[2];
    size_t which;

    things_open(&things);
    cases[0] = td_on_receive(things.source, &things.item);
    cases[1] = td_on_time(TD_FOREVER);
    expect_int(td_select(cases, 2, &which), -ECANCELED);
    things_close(&things);
    return 0;
}

static void waiting_for_nothing_that_can_come_is_a_deadlock(void **state)
{
    assert_int_equal(run(state, only_each_other, NULL), -EDEADLK);
}

/* io.h and select.h: a file is always readable, so there is nothing to wait for, and asking is a mistake. */
static int ask_files(void *arg)
{
    static const char *const paths[] = {"/proc/self/exe", "/"};

    for (size_t i = 0; i < COUNT(paths); i++) {
        int fd = open(paths[i], O_RDONLY | O_CLOEXEC);
        td_case cases[] = {td_on_readable(fd), td_on_time(TD_FOREVER)};
        size_t which = 99;

        expect_int(td_select(cases, 2, &which), -EPERM);
        expect_int((long long)which, 0);
        expect_int(td_wait_readable(fd), -EPERM);
        close(fd);
    }
    return 0;
}

static void files_are_not_waited_for(void **state)
{
    assert_int_equal(run(state, ask_files, NULL), 0);
}

#define ON_ALL(test) ON_BOTH(test), ON(TD_BACKEND_SIM, "sim: ", test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(each_kind_of_case_ends_it_and_only_that_one_happens), ON_ALL(what_is_ready_happens_at_once),
        ON_ALL(a_cancelled_select_makes_nothing_happen), ON_ALL(what_happened_is_never_reported_as_cancelled),
        ON_BOTH(of_several_that_are_ready_each_has_its_turn), ON_ALL(a_case_stands_in_the_queue_like_a_task),
        ON_ALL(the_result_is_that_of_the_case), ON_ALL(a_channel_that_closes_ends_it),
        ON_ALL(waiting_for_nothing_that_can_come_is_a_deadlock), ON_BOTH(files_are_not_waited_for),
    };

    return cmocka_run_group_tests_name("sync select", tests, NULL, NULL);
}
