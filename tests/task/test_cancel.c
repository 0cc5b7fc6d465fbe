/* SPDX-License-Identifier: MIT */
/* Law 3: every wait is a checkpoint, a cancellation is a level, and an operation is all or nothing. */
#include "task/waits.h"

#define DEPTH 1000

struct attempt {
    struct waits *waits;
    const struct wait_kind *kind;
    int rc;
    bool done;
};

static int attempt(void *arg)
{
    struct attempt *attempt = arg;

    attempt->rc = attempt->kind->wait(attempt->waits);
    attempt->done = true;
    return 0;
}

static int cancel_each_wait(void *arg)
{
    struct waits waits;

    waits_open(&waits);
    for (size_t i = 0; i < COUNT(wait_kinds); i++) {
        struct attempt one = {&waits, &wait_kinds[i]};
        td_scope scope;

        if (!one.kind->parks)
            continue;
        td_scope_open(&scope);
        td_spawn(&scope, attempt, &one);
        settle();
        expect_text(one.done ? one.kind->name : "", "");
        td_scope_cancel(&scope);
        expect_int(td_scope_join(&scope), 0);
        expect_int_at(one.rc, -ECANCELED, "cancelled while waiting", one.kind->name);
    }
    waits_close(&waits);
    return 0;
}

static void a_cancellation_ends_every_kind_of_wait(void **state)
{
    assert_int_equal(run(state, cancel_each_wait, NULL), 0);
}

static int wait_in_cancelled_scope(void *arg)
{
    struct waits waits;
    td_stream *stream;
    td_scope scope;
    td_chan_stats stats;
    char byte = 0;
    int item;

    waits_open(&waits);
    waits_make_ready(&waits);
    td_scope_open(&scope);
    td_scope_cancel(&scope);
    for (int round = 0; round < 3; round++)  /* a level: it does not wear off */
        for (size_t i = 0; i < COUNT(wait_kinds); i++)
            expect_int_at(wait_kinds[i].wait(&waits), -ECANCELED, "in a cancelled scope", wait_kinds[i].name);
    expect_int(td_scope_join(&scope), 0);

    /* Nothing was taken, and nothing was put. */
    expect_int(td_chan_receive(waits.source, &item), 0);
    expect_int(item, 2);
    td_chan_statistics(waits.sink, &stats);
    expect_int((long long)stats.count, 0);
    expect_int(td_stream_read(waits.near, &byte, 1), 1);
    expect_int(byte, 'y');
    expect_int(td_accept(waits.listener, &stream), 0);
    td_stream_close(stream);
    expect_int(read(waits.pipe[0], &byte, 1), 1);
    expect_int(td_stream_write(waits.near, "a", 1), 1);
    expect_int(td_stream_read(waits.far, &byte, 1), 1);
    expect_int(byte, 'a');
    waits_close(&waits);
    return 0;
}

static void a_wait_that_need_not_wait_notices_too(void **state)
{
    assert_int_equal(run(state, wait_in_cancelled_scope, NULL), 0);
}

static int each_wait_when_ready(void *arg)
{
    struct waits waits;

    waits_open(&waits);
    waits_make_ready(&waits);
    for (size_t i = 1; i < COUNT(wait_kinds); i++) {
        int (*wait)(struct waits *w) = wait_kinds[i].wait;
        int rc = wait == wait_join || wait == wait_connect || wait == wait_condition ? 0 : wait(&waits);

        expect_int_at(rc >= 0, true, "not cancelled", wait_kinds[i].name);
    }
    waits_close(&waits);
    return 0;
}

/* That the two cases above mean something. */
static void without_a_cancellation_they_succeed(void **state)
{
    assert_int_equal(run(state, each_wait_when_ready, NULL), 0);
}

static int cancel_outer(void *arg)
{
    td_scope outer, middle, inner;

    td_scope_open(&outer);
    td_scope_open(&middle);
    td_scope_open(&inner);
    td_spawn(&inner, sleeper, NULL);
    td_spawn(&middle, sleeper, NULL);
    settle();
    td_scope_cancel(&outer);
    expect(td_scope_cancelled(&middle) && td_scope_cancelled(&inner));
    expect_int(td_scope_join(&inner), -ECANCELED);
    expect_int(td_scope_join(&middle), -ECANCELED);
    expect_int(td_scope_join(&outer), 0);  /* the middle one's refusals are none of its tasks' */
    return td_yield();
}

static void a_cancellation_goes_inwards(void **state)
{
    assert_int_equal(run(state, cancel_outer, NULL), 0);
}

static int cancel_inner(void *arg)
{
    td_scope outer, inner;

    td_scope_open(&outer);
    td_scope_open(&inner);
    td_spawn(&inner, sleeper, NULL);
    td_scope_cancel(&inner);
    expect_int(td_scope_join(&inner), -ECANCELED);
    expect(!td_scope_cancelled(&outer));
    expect_int(td_yield(), 0);
    return td_scope_join(&outer);
}

static void a_cancellation_does_not_go_outwards(void **state)
{
    assert_int_equal(run(state, cancel_inner, NULL), 0);
}

static int open_in_cancelled(void *arg)
{
    td_scope outer, inner;

    td_scope_open(&outer);
    td_scope_cancel(&outer);
    td_scope_open(&inner);
    expect(td_scope_cancelled(&inner));
    td_spawn(&inner, sleeper, NULL);
    expect_int(td_scope_join(&inner), -ECANCELED);
    td_spawn(&outer, sleeper, NULL);
    return td_scope_join(&outer);
}

static void what_begins_in_a_cancelled_scope_is_cancelled(void **state)
{
    assert_int_equal(run(state, open_in_cancelled, NULL), -ECANCELED);
}

/* A task whose innermost scope is its own, inside one that others opened. */
static int nest_in_a_task(void *arg)
{
    td_scope own;
    int rc;

    td_scope_open(&own);
    td_spawn(&own, sleeper, NULL);
    rc = td_scope_join(&own);
    expect_int(rc, -ECANCELED);
    return rc;
}

static int cancel_grandchildren(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < 3; i++)
        td_spawn(&scope, nest_in_a_task, NULL);
    settle();
    td_scope_cancel(&scope);
    return td_scope_join(&scope);
}

static void a_cancellation_reaches_the_scopes_of_tasks(void **state)
{
    assert_int_equal(run(state, cancel_grandchildren, NULL), -ECANCELED);
}

static int cancel_own(void *arg)
{
    td_scope_cancel(arg);
    return td_sleep(td_sec(1000));
}

static int cancel_from_inside(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, sleeper, NULL);
    td_spawn(&scope, cancel_own, &scope);
    return td_scope_join(&scope);
}

static void a_task_may_cancel_its_own_scope(void **state)
{
    assert_int_equal(run(state, cancel_from_inside, NULL), -ECANCELED);
}

static int nest_deeply(void *arg)
{
    td_scope *scopes = calloc(DEPTH, sizeof *scopes);
    td_scope outer;

    if (!expect(scopes != NULL))
        return -ENOMEM;
    td_scope_open(&outer);
    for (int i = 0; i < DEPTH; i++) {
        td_scope_open(&scopes[i]);
        td_spawn(&scopes[i], sleeper, NULL);
    }
    settle();
    td_scope_cancel(&outer);
    for (int i = DEPTH - 1; i >= 0; i--)
        expect_int(td_scope_join(&scopes[i]), -ECANCELED);
    free(scopes);
    return td_scope_join(&outer);
}

static void scopes_nest_deeply(void **state)
{
    assert_int_equal(run(state, nest_deeply, NULL), 0);
}

static int end_all(void *arg)
{
    td_scope_cancel(arg);
    return 0;
}

static int cancel_while_waking(void *arg)
{
    td_scope scope;
    struct waits waits;
    struct attempt one = {&waits, &wait_kinds[3]};

    waits_open(&waits);
    td_scope_open(&scope);
    td_spawn(&scope, attempt, &one);
    settle();
    td_event_set(&waits.event);  /* it is awake now, though it has not run yet */
    td_spawn(&scope, end_all, &scope);
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    expect_int(one.rc, 0);
    waits_close(&waits);
    return 0;
}

/* A wait that is over is not cancelled any more: its caller has the result. */
static void a_completed_wait_is_never_reported_as_cancelled(void **state)
{
    assert_int_equal(run(state, cancel_while_waking, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_cancellation_ends_every_kind_of_wait), ON_BOTH(a_wait_that_need_not_wait_notices_too),
        ON_BOTH(without_a_cancellation_they_succeed), ON_BOTH(a_cancellation_goes_inwards),
        ON_BOTH(a_cancellation_does_not_go_outwards), ON_BOTH(what_begins_in_a_cancelled_scope_is_cancelled),
        ON_BOTH(a_cancellation_reaches_the_scopes_of_tasks), ON_BOTH(a_task_may_cancel_its_own_scope),
        ON_BOTH(scopes_nest_deeply), ON_BOTH(a_completed_wait_is_never_reported_as_cancelled),
    };

    return cmocka_run_group_tests_name("task cancel", tests, NULL, NULL);
}
