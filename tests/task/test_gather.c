/* SPDX-License-Identifier: MIT */
/* Several calls as one: gather, gather all, and race. In virtual time, so that who is first is no matter of luck. */
#include "run/harness.h"

#define FAR_OFF td_sec(1000)
#define MANY 500

/* A call that takes its time and then returns something; a cancellation ends it, or is put off until it is done. */
struct part {
    td_time takes;
    int rc;
    bool stubborn;  /* it goes on for `takes` after a cancellation, behind a shield, and returns rc all the same */
    unsigned begun, ended;
    bool cancelled;
};

static int play(void *arg)
{
    struct part *part = arg;
    td_scope shield;
    int rc;

    part->begun++;
    rc = part->takes ? td_sleep(part->takes) : 0;
    part->cancelled = rc == -ECANCELED;
    if (part->cancelled && part->stubborn) {
        td_scope_open_shielded(&shield, FAR_OFF);
        expect_int(td_sleep(part->takes), 0);
        td_scope_join(&shield);
    }
    part->ended++;
    return part->cancelled && !part->stubborn ? rc : part->rc;
}

static void ended_once(const struct part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        expect_int(parts[i].begun, 1);
        expect_int(parts[i].ended, 1);
    }
}

static int in_virtual_time(void **state, td_fn fn, void *arg)
{
    return run_with(state, (td_opts){.virtual_time = true}, fn, arg);
}

static int gather_well(void *arg)
{
    struct part parts[] = {{td_ms(3), .rc = 1}, {0, .rc = 0}, {td_ms(1), .rc = 17}};
    td_call calls[] = {{play, &parts[0], 99}, {play, &parts[1], 99}, {play, &parts[2], 99}};
    td_time began = td_now();

    expect_int(td_gather(calls, 3), 0);  /* a count is no failure */
    expect_int(td_now() - began, td_ms(3));
    expect_int(calls[0].rc, 1);
    expect_int(calls[1].rc, 0);
    expect_int(calls[2].rc, 17);
    ended_once(parts, 3);
    expect_int(td_yield(), 0);
    expect_int((long long)sched_current()->tasks, 1);
    return 0;
}

static void a_gathering_has_all_results(void **state)
{
    assert_int_equal(in_virtual_time(state, gather_well, NULL), 0);
}

static int gather_failure(void *arg)
{
    struct part parts[] = {{FAR_OFF, .rc = 0}, {td_ms(2), .rc = -EIO}, {td_ms(1), .rc = 5},
                           {td_ms(5), .rc = -EPERM, .stubborn = true}};
    td_call calls[] = {{play, &parts[0], 99}, {play, &parts[1], 99}, {play, &parts[2], 99}, {play, &parts[3], 99}};
    td_time began = td_now();

    expect_int(td_gather(calls, 4), -EIO);  /* the first, though another failed after it */
    expect_int(calls[0].rc, -ECANCELED);
    expect_int(calls[1].rc, -EIO);
    expect_int(calls[2].rc, 5);
    expect_int(calls[3].rc, -EPERM);
    expect(parts[0].cancelled && parts[3].cancelled && !parts[2].cancelled);
    ended_once(parts, 4);
    expect_int(td_now() - began, td_ms(2) + td_ms(5));  /* it waited for the stubborn one, and for no other */
    expect_int(td_yield(), 0);                          /* the caller is not cancelled */
    return 0;
}

static void the_first_failure_cancels_the_others(void **state)
{
    assert_int_equal(in_virtual_time(state, gather_failure, NULL), 0);
}

static int gather_nothing(void *arg)
{
    td_scope scope;
    size_t winner = 77;

    expect_int(td_gather(NULL, 0), 0);
    expect_int(td_gather_all(NULL, 0), 0);
    expect_int(td_race(NULL, 0, &winner), -EINVAL);
    expect_int(td_race(NULL, 0, NULL), -EINVAL);
    td_scope_open(&scope);
    td_scope_cancel(&scope);
    expect_int(td_gather(NULL, 0), -ECANCELED);  /* law 3: a checkpoint though there is nothing to wait for */
    expect_int(td_gather_all(NULL, 0), -ECANCELED);
    expect_int(td_scope_join(&scope), 0);
    return 0;
}

static void no_calls(void **state)
{
    assert_int_equal(in_virtual_time(state, gather_nothing, NULL), 0);
}

static int gather_without_fn(void *arg)
{
    struct part parts[] = {{FAR_OFF, .rc = 0}, {td_ms(1), .rc = 0}};
    td_call calls[] = {{play, &parts[0], 99}, {NULL, NULL, 99}, {play, &parts[1], 99}};
    td_time began = td_now();

    for (int all = 0; all < 2; all++) {
        calls[0].rc = calls[1].rc = calls[2].rc = 99;
        expect_int(all ? td_gather_all(calls, 3) : td_gather(calls, 3), -EINVAL);
        for (int i = 0; i < 3; i++)
            expect_int(calls[i].rc, -ECANCELED);
        expect_int(parts[0].begun, parts[0].ended);
        expect_int(parts[1].begun, 0);  /* after the refusal none begins */
    }
    expect_int(td_now() - began, 0);
    return 0;
}

static void a_call_without_a_function_is_refused(void **state)
{
    assert_int_equal(in_virtual_time(state, gather_without_fn, NULL), 0);
}

static int gather_inside(void *arg)
{
    struct part *parts = arg;
    td_call calls[] = {{play, &parts[0], 0}, {play, &parts[1], 0}};
    int rc = td_gather(calls, 2);

    expect_int(calls[0].rc, parts[0].rc == 0 ? -ECANCELED : parts[0].rc);
    expect_int(calls[1].rc, -ECANCELED);
    return rc;
}

static int gather_nested(void *arg)
{
    struct part deep[] = {{td_ms(4), .rc = -ENOENT}, {FAR_OFF, .rc = 0}}, other[] = {{FAR_OFF, .rc = 0}, {FAR_OFF, .rc = 0}};
    td_call calls[] = {{gather_inside, other, 99}, {gather_inside, deep, 99}};

    expect_int(td_gather(calls, 2), -ENOENT);  /* the failure comes up through both */
    expect_int(calls[0].rc, -ECANCELED);
    expect_int(calls[1].rc, -ENOENT);
    ended_once(deep, 2);
    ended_once(other, 2);
    return 0;
}

static void gatherings_nest(void **state)
{
    assert_int_equal(in_virtual_time(state, gather_nested, NULL), 0);
}

enum how { GATHER, GATHER_ALL, RACE };

struct outside {
    enum how how;
    struct part parts[2];
    td_call calls[2];
    int rc;
};

static int gather_by(void *arg)
{
    struct outside *outside = arg;

    for (int i = 0; i < 2; i++)
        outside->calls[i] = (td_call){play, &outside->parts[i], 99};
    if (outside->how == RACE)
        outside->rc = td_race(outside->calls, 2, NULL);
    else
        outside->rc = outside->how == GATHER ? td_gather(outside->calls, 2) : td_gather_all(outside->calls, 2);
    return outside->rc;
}

static void all_cancelled(const struct outside *outside, bool must_begin)
{
    expect_int(outside->rc, -ECANCELED);
    for (int i = 0; i < 2; i++) {
        expect_int(outside->calls[i].rc, -ECANCELED);
        expect_int(outside->parts[i].ended, outside->parts[i].begun);
        expect(!must_begin || outside->parts[i].begun == 1);
    }
}

static int cancel_from_outside(void *arg)
{
    for (int how = GATHER; how <= RACE; how++) {
        struct outside outside = {.how = (enum how)how, .parts = {{FAR_OFF, .rc = 0}, {FAR_OFF, .rc = 0}}};
        td_scope scope;

        td_scope_open(&scope);
        td_spawn(&scope, gather_by, &outside);
        settle();
        td_scope_cancel(&scope);
        expect_int(td_scope_join(&scope), -ECANCELED);
        all_cancelled(&outside, true);
    }
    return 0;
}

static void a_cancellation_from_outside_reaches_all_calls(void **state)
{
    assert_int_equal(in_virtual_time(state, cancel_from_outside, NULL), 0);
}

static int begin_cancelled(void *arg)
{
    for (int how = GATHER; how <= RACE; how++) {
        struct outside outside = {.how = (enum how)how, .parts = {{FAR_OFF, .rc = 0}, {FAR_OFF, .rc = 0}}};
        td_scope scope;

        td_scope_open(&scope);
        td_scope_cancel(&scope);
        gather_by(&outside);
        td_scope_join(&scope);
        all_cancelled(&outside, false);
    }
    return 0;
}

static void in_a_cancelled_scope_nothing_is_gathered(void **state)
{
    assert_int_equal(in_virtual_time(state, begin_cancelled, NULL), 0);
}

static int deadline_around(void *arg)
{
    for (int how = GATHER; how <= RACE; how++) {
        struct outside outside = {.how = (enum how)how, .parts = {{FAR_OFF, .rc = 0}, {td_ms(30), .rc = -EIO, .stubborn = true}}};
        td_time began = td_now();
        td_scope scope;

        td_scope_open(&scope);
        td_scope_deadline(&scope, td_after(td_ms(10)));
        gather_by(&outside);
        expect_int(td_now() - began, td_ms(40));  /* the stubborn one is waited for */
        expect(outside.rc == -ECANCELED || (outside.rc == -EIO && how != GATHER_ALL));
        expect_int(outside.calls[0].rc, -ECANCELED);
        expect_int(outside.calls[1].rc, -EIO);
        expect_int(td_scope_join(&scope), -ETIMEDOUT);
    }
    return 0;
}

static void a_deadline_around_ends_it(void **state)
{
    assert_int_equal(in_virtual_time(state, deadline_around, NULL), 0);
}

static int gather_whatever(void *arg)
{
    struct part parts[] = {{td_ms(1), .rc = -EIO}, {td_ms(2), .rc = 3}, {0, .rc = -ECANCELED}, {td_ms(4), .rc = -EPERM}};
    td_call calls[] = {{play, &parts[0], 99}, {play, &parts[1], 99}, {play, &parts[2], 99}, {play, &parts[3], 99}};
    td_time began = td_now();

    expect_int(td_gather_all(calls, 4), 0);  /* all have ended by themselves */
    for (int i = 0; i < 4; i++) {
        expect_int(calls[i].rc, parts[i].rc);
        expect(!parts[i].cancelled);
    }
    ended_once(parts, 4);
    expect_int(td_now() - began, td_ms(4));
    expect_int(td_yield(), 0);
    return 0;
}

static void gathering_all_cancels_none(void **state)
{
    assert_int_equal(in_virtual_time(state, gather_whatever, NULL), 0);
}

static int gather_many(void *arg)
{
    struct part *parts = calloc(MANY, sizeof *parts);
    td_call *calls = calloc(MANY, sizeof *calls);

    if (!expect(parts && calls))
        return -ENOMEM;
    for (int i = 0; i < MANY; i++) {
        parts[i] = (struct part){td_us(i * 7919 % MANY), .rc = i % 3 ? i : -i};
        calls[i] = (td_call){play, &parts[i], -1};
    }
    expect_int(td_gather_all(calls, MANY), 0);
    for (int i = 0; i < MANY; i++)
        expect_int(calls[i].rc, parts[i].rc);
    ended_once(parts, MANY);
    free(parts);
    free(calls);
    return 0;
}

static void many_calls(void **state)
{
    assert_int_equal(in_virtual_time(state, gather_many, NULL), 0);
}

static int race_to_win(void *arg)
{
    struct part parts[] = {{td_ms(9), .rc = 1}, {td_ms(3), .rc = -EIO}, {td_ms(5), .rc = 42}, {FAR_OFF, .rc = 2}};
    td_call calls[] = {{play, &parts[0], 99}, {play, &parts[1], 99}, {play, &parts[2], 99}, {play, &parts[3], 99}};
    td_time began = td_now();
    size_t winner = 77;

    expect_int(td_race(calls, 4, &winner), 42);  /* an earlier failure does not win */
    expect_int((long long)winner, 2);
    expect_int(td_now() - began, td_ms(5));
    expect_int(calls[0].rc, -ECANCELED);
    expect_int(calls[1].rc, -EIO);
    expect_int(calls[2].rc, 42);
    expect_int(calls[3].rc, -ECANCELED);
    expect(parts[0].cancelled && parts[3].cancelled && !parts[1].cancelled && !parts[2].cancelled);
    ended_once(parts, 4);
    expect_int(td_yield(), 0);
    return 0;
}

static void the_first_success_wins_and_cancels_the_losers(void **state)
{
    assert_int_equal(in_virtual_time(state, race_to_win, NULL), 0);
}

static int race_in_vain(void *arg)
{
    struct part parts[] = {{td_ms(2), .rc = -EIO}, {td_ms(7), .rc = -EPERM}, {td_ms(1), .rc = -ENOENT}};
    td_call calls[] = {{play, &parts[0], 99}, {play, &parts[1], 99}, {play, &parts[2], 99}};
    td_time began = td_now();
    size_t winner = 77;

    expect_int(td_race(calls, 3, &winner), -EPERM);  /* the last one's */
    expect_int(td_now() - began, td_ms(7));
    for (int i = 0; i < 3; i++)
        expect_int(calls[i].rc, parts[i].rc);
    ended_once(parts, 3);
    return 0;
}

static void when_all_fail_the_last_error_is_the_result(void **state)
{
    assert_int_equal(in_virtual_time(state, race_in_vain, NULL), 0);
}

static int race_head_to_head(void *arg)
{
    struct part parts[] = {{td_ms(5), .rc = 10}, {td_ms(5), .rc = 11}, {td_ms(5), .rc = 12}};
    td_call calls[] = {{play, &parts[0], 99}, {play, &parts[1], 99}, {play, &parts[2], 99}};
    size_t winner = 77;
    int rc = td_race(calls, 3, &winner);

    if (!expect(winner < 3))
        return 0;
    expect_int(rc, parts[winner].rc);
    for (int i = 0; i < 3; i++)  /* who was too late by a turn has its result, or the cancellation */
        expect(calls[i].rc == parts[i].rc || (calls[i].rc == -ECANCELED && parts[i].cancelled));
    expect_int(calls[winner].rc, rc);
    ended_once(parts, 3);
    parts[0] = (struct part){0, .rc = 0};
    parts[1] = (struct part){0, .rc = 8};
    expect_int(td_race(calls, 2, &winner), 0);  /* neither waits: the first one called is the first to end */
    expect_int((long long)winner, 0);
    return 0;
}

static void of_several_at_once_one_wins(void **state)
{
    assert_int_equal(in_virtual_time(state, race_head_to_head, NULL), 0);
}

static int race_the_stubborn(void *arg)
{
    struct part parts[] = {{td_ms(50), .rc = 0, .stubborn = true}, {td_ms(5), .rc = 11},
                           {td_ms(20), .rc = -EIO, .stubborn = true}};
    td_call calls[] = {{play, &parts[0], 99}, {play, &parts[1], 99}, {play, &parts[2], 99}};
    td_time began = td_now();
    size_t winner = 77;

    expect_int(td_race(calls, 3, &winner), 11);  /* late successes and failures change nothing */
    expect_int((long long)winner, 1);
    expect_int(calls[0].rc, 0);
    expect_int(calls[2].rc, -EIO);
    ended_once(parts, 3);
    expect_int(td_now() - began, td_ms(55));
    return 0;
}

static void a_stubborn_loser_is_waited_for_and_loses(void **state)
{
    assert_int_equal(in_virtual_time(state, race_the_stubborn, NULL), 0);
}

static int race_alone(void *arg)
{
    struct part part = {td_ms(1), .rc = 6};
    td_call call = {play, &part, 99};

    expect_int(td_race(&call, 1, NULL), 6);
    part.rc = -EIO;
    expect_int(td_race(&call, 1, NULL), -EIO);
    expect_int(call.rc, -EIO);
    return 0;
}

static void a_race_of_one(void **state)
{
    assert_int_equal(in_virtual_time(state, race_alone, NULL), 0);
}

static int race_on(void *arg)
{
    struct part *parts = arg;
    td_call calls[] = {{play, &parts[0], 0}, {play, &parts[1], 0}};

    return td_race(calls, 2, NULL);
}

static int race_of_races(void *arg)
{
    struct part slow[] = {{FAR_OFF, .rc = 1}, {td_ms(9), .rc = 2}}, fast[] = {{td_ms(8), .rc = 3}, {td_ms(2), .rc = -EIO}};
    td_call calls[] = {{race_on, slow, 99}, {race_on, fast, 99}};
    size_t winner = 77;

    expect_int(td_race(calls, 2, &winner), 3);
    expect_int((long long)winner, 1);
    expect_int(calls[0].rc, -ECANCELED);
    ended_once(slow, 2);
    ended_once(fast, 2);
    return 0;
}

static void races_nest(void **state)
{
    assert_int_equal(in_virtual_time(state, race_of_races, NULL), 0);
}

static int begin(void *arg)
{
    ++*(int *)arg;
    return 0;
}

/* Whoever is cancelled already begins nothing more. */
static int gather_when_cancelled(void *arg)
{
    int begun = 0;
    td_call calls[] = {{begin, &begun, 0}, {begin, &begun, 0}};
    td_scope scope;

    td_scope_open(&scope);
    td_scope_cancel(&scope);
    expect_int(td_gather(calls, 2), -ECANCELED);
    expect_int(td_gather_all(calls, 2), -ECANCELED);
    expect_int(td_race(calls, 2, NULL), -ECANCELED);
    expect_int(calls[0].rc, -ECANCELED);
    expect_int(calls[1].rc, -ECANCELED);
    expect_int(begun, 0);
    return td_scope_join(&scope);
}

static void who_is_cancelled_begins_nothing(void **state)
{
    assert_int_equal(run(state, gather_when_cancelled, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_gathering_has_all_results), ON_BOTH(the_first_failure_cancels_the_others), ON_BOTH(no_calls),
        ON_BOTH(a_call_without_a_function_is_refused), ON_BOTH(gatherings_nest),
        ON_BOTH(a_cancellation_from_outside_reaches_all_calls), ON_BOTH(in_a_cancelled_scope_nothing_is_gathered),
        ON_BOTH(a_deadline_around_ends_it), ON_BOTH(gathering_all_cancels_none), ON_BOTH(many_calls),
        ON_BOTH(the_first_success_wins_and_cancels_the_losers), ON_BOTH(when_all_fail_the_last_error_is_the_result),
        ON_BOTH(of_several_at_once_one_wins), ON_BOTH(a_stubborn_loser_is_waited_for_and_loses), ON_BOTH(a_race_of_one),
        ON_BOTH(races_nest),
        ON_BOTH(who_is_cancelled_begins_nothing),
    };

    return cmocka_run_group_tests_name("task gather", tests, NULL, NULL);
}
