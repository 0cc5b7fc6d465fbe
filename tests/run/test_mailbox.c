/* SPDX-License-Identifier: MIT */
/* Mailboxes: bounded queues between threads, from tasks of other loops and from threads that run none. */
#include <sched.h>

#include "run/office.h"

#define LETTERS (SANITIZED ? 500 : 2000)    /* from each sender */
#define SHOVED 100                          /* more than fit */

/* Law 7: from each sender every letter comes, once, in order. */
static void check_letter(struct office *office, const struct letter *letter)
{
    expect(letter->from >= 0 && letter->from < 2 * SENDERS);
    expect_int(letter->number, office->next[letter->from]);
    office->next[letter->from] = letter->number + 1;
    office->received++;
}

static void *send_many(void *arg)
{
    struct clerk *clerk = arg;
    td_mailbox *box = clerk->office->box;

    for (int i = 0; i < LETTERS; i++) {
        struct letter letter = {clerk->number, i};
        int rc;

        if (i % 3 == 0)
            while ((rc = td_mailbox_try_send(box, &letter)) == -EBUSY)
                sched_yield();
        else
            rc = td_mailbox_send(box, &letter);
        expect_int(rc, 0);
    }
    td_mailbox_release(box);
    return NULL;
}

static void receive_all(struct office *office, int count)
{
    struct letter letter;

    while (office->received < count && expect_int(td_mailbox_receive(office->box, &letter), 0))
        check_letter(office, &letter);
}

static int gather_from_threads(void *arg)
{
    struct office office = {.box = open_box(7, TD_WAIT)};
    struct clerk clerks[SENDERS];
    td_mailbox_stats stats;

    for (int i = 0; i < SENDERS; i++) {
        clerks[i] = (struct clerk){&office, i};
        td_mailbox_retain(office.box);
        pthread_create(&office.threads[i], NULL, send_many, &clerks[i]);
    }
    receive_all(&office, SENDERS * LETTERS);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(office.threads[i], NULL);
    td_mailbox_statistics(office.box, &stats);
    expect_int((long long)stats.count, 0);
    expect_int((long long)stats.sent, SENDERS * LETTERS);
    expect_int((long long)stats.received, SENDERS * LETTERS);
    expect(stats.peak <= 7 && stats.capacity == 7);
    expect(stats.senders_waiting == 0 && stats.receivers_waiting == 0);
    expect_int((long long)(stats.wakes + stats.wakes_saved), SENDERS * LETTERS);
    td_mailbox_free(office.box);
    return 0;
}

static void four_threads_send_all_they_have_in_order(void **state)
{
    assert_int_equal(run(state, gather_from_threads, NULL), 0);
}

/* Loop 0 receives; two tasks of each other loop send, and threads beside them. */
static int gather_from_all(void *arg)
{
    struct office *office = arg;
    int me = (int)td_loop_index();

    if (me == 0) {
        struct clerk clerks[SENDERS];
        td_mailbox *box = open_box(5, TD_WAIT);

        for (int i = 0; i < SENDERS; i++)
            td_mailbox_retain(box);  /* for the threads below, and for the loops' tasks: they end before us */
        office->box = box;
        for (int i = 0; i < SENDERS; i++) {
            clerks[i] = (struct clerk){office, SENDERS + i};
            pthread_create(&office->threads[i], NULL, send_many, &clerks[i]);
        }
        receive_all(office, (2 * SENDERS - 1) * LETTERS);
        for (int i = 0; i < SENDERS; i++)
            pthread_join(office->threads[i], NULL);
        eventually(office->signs == SENDERS - 1);
        td_mailbox_free(box);
        return 0;
    }
    eventually(office->box != NULL);
    for (int i = 0; i < LETTERS; i++)
        expect_int(td_mailbox_send(office->box, &(struct letter){me, i}), 0);
    atomic_fetch_add(&office->signs, 1);
    return 0;
}

static void loops_and_threads_send_together(void **state)
{
    struct office office = {NULL};

    assert_int_equal(run_with(state, (td_opts){.loops = SENDERS}, gather_from_all, &office), 0);
}

static int ping_pong(void *arg)
{
    struct office *office = arg;
    bool first = td_loop_index() == 0;
    td_mailbox *mine = open_box(1, TD_WAIT), *theirs;
    struct letter letter = {0, 0};

    *(first ? &office->box : &office->other) = mine;
    eventually(office->box != NULL && office->other != NULL);
    theirs = first ? office->other : office->box;
    for (int i = 0; i < 500; i++) {
        if (first)
            expect_int(td_mailbox_send(theirs, &(struct letter){0, i}), 0);
        expect_int(td_mailbox_receive(mine, &letter), 0);
        expect_int(letter.number, i);
        if (!first)
            expect_int(td_mailbox_send(theirs, &letter), 0);
    }
    atomic_fetch_add(&office->signs, 1);
    eventually(office->signs == 2);
    td_mailbox_free(mine);
    return 0;
}

static void two_loops_answer_each_other(void **state)
{
    struct office office = {NULL};

    assert_int_equal(run_with(state, (td_opts){.loops = 2}, ping_pong, &office), 0);
}

static int try_policies(void *arg)
{
    struct letter letter;
    td_mailbox_stats stats;
    td_mailbox *strict = open_box(2, TD_REJECT), *news = open_box(2, TD_DROP_OLDEST), *patient = open_box(1, TD_WAIT);

    for (int i = 0; i < 5; i++) {
        expect_int(td_mailbox_send(strict, &(struct letter){0, i}), i < 2 ? 0 : -EBUSY);
        expect_int(i % 2 ? td_mailbox_send(news, &(struct letter){0, i}) : td_mailbox_try_send(news, &(struct letter){0, i}), 0);
        expect_int(td_mailbox_try_send(patient, &(struct letter){0, i}), i < 1 ? 0 : -EBUSY);
    }
    expect_int(td_mailbox_receive(strict, &letter), 0);
    expect_int(letter.number, 0);
    expect_int(td_mailbox_receive(news, &letter), 0);
    expect_int(letter.number, 3);
    td_mailbox_statistics(strict, &stats);
    expect(stats.rejected == 3 && stats.sent == 2 && stats.count == 1 && stats.peak == 2);
    expect_int(td_sleep(td_ms(2)), 0);
    td_mailbox_statistics(news, &stats);
    expect(stats.dropped == 3 && stats.sent == 5 && stats.received == 1);
    expect(stats.oldest_age_ns >= td_ms(2) && stats.oldest_age_ns < td_sec(50));
    td_mailbox_free(strict);
    td_mailbox_free(news);
    td_mailbox_free(patient);
    expect_int(td_mailbox_open(&patient, &(td_mailbox_opts){.item_size = 0, .capacity = 1}), -EINVAL);
    expect_int(td_mailbox_open(&patient, &(td_mailbox_opts){.item_size = 1, .capacity = 0}), -EINVAL);
    expect_int(td_mailbox_open(&patient, &(td_mailbox_opts){.item_size = 8, .capacity = SIZE_MAX / 8}), -EINVAL);
    expect_int(td_mailbox_open(&patient, &(td_mailbox_opts){.item_size = SIZE_MAX - 8, .capacity = 1}), -EINVAL);
    return 0;
}

static void a_full_mailbox_does_what_it_was_opened_for(void **state)
{
    assert_int_equal(run(state, try_policies, NULL), 0);
}

static int serve_the_queue(void *arg)
{
    struct office office = {.box = open_box(1, TD_WAIT)};
    struct clerk clerks[SENDERS];
    struct letter letter;
    td_scope scope;

    expect_int(td_mailbox_send(office.box, &(struct letter){0, -1}), 0);
    td_scope_open(&scope);
    let_them_queue(&office, &scope, clerks, SENDERS);
    for (int i = -1; i < SENDERS; i++) {
        expect_int(td_mailbox_receive(office.box, &letter), 0);
        expect_int(letter.number, i);
    }
    expect_int(td_scope_join(&scope), 0);
    for (int i = 1; i < SENDERS; i += 2)
        pthread_join(office.threads[i], NULL);
    td_mailbox_free(office.box);
    expect_int(office.sent, SENDERS);
    return 0;
}

static void who_waits_for_room_is_served_in_order(void **state)
{
    assert_int_equal(run(state, serve_the_queue, NULL), 0);
}

static int send_hastily(void *arg)
{
    struct clerk *clerk = arg;
    struct office *office = clerk->office;

    for (int i = 0; i < SHOVED; i++) {
        td_scope scope;
        int rc;

        td_scope_open(&scope);
        td_scope_deadline(&scope, td_after(td_us(1 + (i * 7 + clerk->number) % 50)));
        rc = td_mailbox_send(office->box, &(struct letter){0, i});
        td_scope_join(&scope);
        expect(rc == 0 || rc == -ECANCELED);
        atomic_fetch_add(rc == 0 ? &office->sent : &office->gave_up, 1);
    }
    atomic_fetch_add(&office->signs, 1);
    return 0;
}

static int receive_hastily(struct office *office)
{
    struct letter letter;
    td_scope scope;
    int rc;

    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_us(1 + office->received % 90)));
    rc = td_mailbox_receive(office->box, &letter);
    td_scope_join(&scope);
    expect(rc == 0 || rc == -ECANCELED);
    office->received += rc == 0;
    return rc;
}

/* Law 3: data or cancellation, never half of both, also when the two come from different threads. */
static int cancel_on_both_sides(void *arg)
{
    struct office *office = arg;
    struct clerk clerks[3];
    td_scope scope;

    if (td_loop_index() == 0) {
        office->box = open_box(2, TD_WAIT);
        while (office->signs < 6 || office->received < office->sent)
            receive_hastily(office);
        expect_int(office->received, office->sent);
        expect_int(office->sent + office->gave_up, 6 * SHOVED);
        td_mailbox_free(office->box);
        return 0;
    }
    eventually(office->box != NULL);
    td_scope_open(&scope);
    for (int i = 0; i < 3; i++) {
        clerks[i] = (struct clerk){office, i};
        td_spawn(&scope, send_hastily, &clerks[i]);
    }
    return td_scope_join(&scope);
}

static void a_cancelled_send_leaves_nothing_and_a_cancelled_receive_takes_nothing(void **state)
{
    struct office office = {NULL};

    assert_int_equal(run_with(state, (td_opts){.loops = 3}, cancel_on_both_sides, &office), 0);
}

static void *send_burst(void *arg)
{
    struct office *office = arg;

    for (int i = 0; i < SHOVED; i++)
        expect_int(td_mailbox_send(office->box, &(struct letter){0, i}), 0);
    td_mailbox_release(office->box);
    return NULL;
}

static int receive_burst(void *arg)
{
    struct office office = {.box = open_box(SHOVED, TD_WAIT)};
    td_mailbox_stats stats;
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, receive_signed, &office);
    settle();
    td_mailbox_retain(office.box);
    pthread_create(&office.threads[0], NULL, send_burst, &office);
    pthread_join(office.threads[0], NULL);  /* the loop stands meanwhile: all of it is one burst */
    td_mailbox_statistics(office.box, &stats);
    expect(stats.wakes == 1 && stats.wakes_saved == SHOVED - 1 && stats.count == SHOVED);
    td_mailbox_close(office.box);
    expect_int(td_scope_join(&scope), 0);
    expect_int(office.received, SHOVED);
    td_mailbox_free(office.box);
    return 0;
}

static void a_burst_wakes_the_loop_once(void **state)
{
    assert_int_equal(run(state, receive_burst, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(four_threads_send_all_they_have_in_order), ON_BOTH(loops_and_threads_send_together),
        ON_BOTH(two_loops_answer_each_other), ON_BOTH(a_full_mailbox_does_what_it_was_opened_for),
        ON_BOTH(who_waits_for_room_is_served_in_order),
        ON_BOTH(a_cancelled_send_leaves_nothing_and_a_cancelled_receive_takes_nothing), ON_BOTH(a_burst_wakes_the_loop_once),
    };

    return cmocka_run_group_tests_name("run mailbox", tests, NULL, NULL);
}
