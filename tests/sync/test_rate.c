/* SPDX-License-Identifier: MIT */
/*
 * The rate limiter, in virtual time, so that every moment is known to the nanosecond: what the header's formula says, in
 * the order of asking, and nothing taken by who was cancelled.
 */
#include "sync/actors.h"

#define RATE 100
#define BURST 5
#define GAP td_ms(10)  /* 1 s / RATE */

struct asking {
    td_rate *rate;
    td_time began, served;  /* served: since then */
    size_t n;
};

static int take(struct actor *self)
{
    struct asking *asking = self->on;
    int rc = td_rate_take(asking->rate, asking->n);

    asking->served = td_now() - asking->began;
    return rc;
}

static td_rate_stats stats_of(const td_rate *rate)
{
    td_rate_stats stats;

    td_rate_statistics(rate, &stats);
    return stats;
}

static int run_virtual(void **state, td_fn fn, void *arg)
{
    return run_with(state, (td_opts){.virtual_time = true}, fn, arg);
}

static int refuse_numbers(void *arg)
{
    td_rate rate;

    expect_int(td_rate_init(&rate, 0, td_sec(1), 1), -EINVAL);
    expect_int(td_rate_init(&rate, -1, td_sec(1), 1), -EINVAL);
    expect_int(td_rate_init(&rate, 1, 0, 1), -EINVAL);
    expect_int(td_rate_init(&rate, 1, td_sec(1), 0), -EINVAL);
    expect_int(td_rate_init(&rate, 1, td_sec(1), INT64_MAX), -EINVAL);
    expect_int(td_rate_init(&rate, INT64_MAX, td_sec(1), 1), -EINVAL);
    expect_int(td_rate_init(&rate, 1, td_sec(1), 3), 0);
    expect_int(td_rate_take(&rate, 0), -EINVAL);
    expect_int(td_rate_take(&rate, 4), -EINVAL);
    expect_int(td_rate_take(&rate, SIZE_MAX), -EINVAL);
    expect_int(td_rate_try_take(&rate, 4), -EINVAL);
    expect_int((long long)stats_of(&rate).tokens, 3);
    return 0;
}

static void numbers_out_of_range_are_refused(void **state)
{
    assert_int_equal(run_virtual(state, refuse_numbers, NULL), 0);
}

static int burst_then_steady(void *arg)
{
    td_time began = td_now();
    td_rate rate;

    expect_int(td_rate_init(&rate, RATE, td_sec(1), BURST), 0);
    for (int i = 0; i < BURST; i++)
        expect_int(td_rate_take(&rate, 1), 0);
    expect_int(td_now() - began, 0);
    expect_int(td_rate_try_take(&rate, 1), -EAGAIN);
    for (int i = 1; i <= 10; i++) {
        expect_int(td_rate_take(&rate, 1), 0);
        expect_int(td_now() - began, i * GAP);
    }
    td_sleep(td_sec(100));  /* it fills up to the burst and no further */
    expect_int((long long)stats_of(&rate).tokens, BURST);
    expect_int(td_rate_try_take(&rate, BURST), 0);
    expect_int(td_rate_try_take(&rate, 1), -EAGAIN);
    expect_int((long long)stats_of(&rate).taken, 2 * BURST + 10);
    expect_int((long long)stats_of(&rate).waits, 10);
    expect_int((long long)stats_of(&rate).refused, 2);
    return 0;
}

static void a_burst_at_once_and_then_the_rate(void **state)
{
    assert_int_equal(run_virtual(state, burst_then_steady, NULL), 0);
}

static int lose_nothing_to_rounding(void *arg)
{
    td_time began = td_now();
    td_rate rate;

    expect_int(td_rate_init(&rate, 7, 3, 1), 0);  /* 7 in 3 ns: an interval is no whole number */
    for (int i = 0; i < 700000; i++)
        expect_int(td_rate_take(&rate, 1), 0);
    expect(td_now() - began >= 299999 && td_now() - began <= 700000);  /* the bucket holds one: each ns brings one at most */
    expect_int(td_rate_init(&rate, 3, td_sec(1), 1), 0);
    began = td_now();
    for (int i = 0; i <= 3000; i++)
        expect_int(td_rate_take(&rate, 1), 0);
    expect(td_now() - began >= td_sec(1000) && td_now() - began <= td_sec(1000) + 3000);
    return 0;
}

static void nothing_is_lost_to_rounding(void **state)
{
    assert_int_equal(run_virtual(state, lose_nothing_to_rounding, NULL), 0);
}

/* Starts taking n in a task, and lets it wait. */
static void ask(td_scope *scope, struct actor *actor, struct asking *asking, td_rate *rate, size_t n)
{
    *asking = (struct asking){.rate = rate, .began = td_now(), .n = n};
    *actor = (struct actor){take, asking};
    actor_start(scope, actor);
    settle();
}

static int serve_in_order(void *arg)
{
    struct actor big, small;
    struct asking want_big, want_small;
    td_rate rate;
    td_scope scope;

    expect_int(td_rate_init(&rate, RATE, td_sec(1), BURST), 0);
    expect_int(td_rate_take(&rate, BURST), 0);
    td_scope_open(&scope);
    ask(&scope, &big, &want_big, &rate, 4);
    ask(&scope, &small, &want_small, &rate, 1);
    expect_int((long long)stats_of(&rate).waiting, 2);
    expect_int(stats_of(&rate).next_ns, 4 * GAP);
    td_sleep(GAP);
    expect_int(td_rate_try_take(&rate, 1), -EAGAIN);  /* there is one, and it is not ours */
    expect_int((long long)stats_of(&rate).tokens, 1);
    expect_int(td_scope_join(&scope), 0);
    expect_int(want_big.served, 4 * GAP);
    expect_int(want_small.served, 5 * GAP);
    expect_int(stats_of(&rate).next_ns, 0);
    return 0;
}

static void who_wants_little_does_not_overtake(void **state)
{
    assert_int_equal(run_virtual(state, serve_in_order, NULL), 0);
}

static int cancel_first(void *arg)
{
    struct actor big, small, late;
    struct asking want_big, want_small, want_late;
    td_rate rate;
    td_scope scope;

    expect_int(td_rate_init(&rate, RATE, td_sec(1), BURST), 0);
    expect_int(td_rate_take(&rate, BURST), 0);
    td_scope_open(&scope);
    ask(&scope, &big, &want_big, &rate, 5);
    ask(&scope, &small, &want_small, &rate, 2);
    ask(&scope, &late, &want_late, &rate, 1);
    td_sleep(3 * GAP);
    actor_cancel(&big);  /* what had gathered for it is the next one's, at once */
    expect_int(actor_result(&big), -ECANCELED);
    expect_int(actor_result(&small), 0);
    expect_int(want_small.served, 3 * GAP);
    expect_int(actor_result(&late), 0);
    expect_int(want_late.served, 3 * GAP);
    expect_int((long long)stats_of(&rate).taken, BURST + 3);

    ask(&scope, &big, &want_big, &rate, 5);
    ask(&scope, &small, &want_small, &rate, 1);
    actor_cancel(&small);  /* not the first: the first waits on */
    td_sleep(4 * GAP);
    expect(actor_waits(&big));
    td_sleep(GAP);
    expect_int(actor_result(&big), 0);
    expect_int(want_big.served, 5 * GAP);
    expect_int(actor_result(&small), -ECANCELED);

    ask(&scope, &big, &want_big, &rate, 1);
    actor_cancel(&big);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)stats_of(&rate).taken, BURST + 3 + 5);
    return 0;  /* and no timer is left that would point here */
}

static void a_cancelled_one_has_taken_nothing(void **state)
{
    assert_int_equal(run_virtual(state, cancel_first, NULL), 0);
}

static int serve_then_cancel(void *arg)
{
    struct actor one;
    struct asking want;
    td_rate rate;
    td_scope scope;

    expect_int(td_rate_init(&rate, RATE, td_sec(1), 1), 0);
    expect_int(td_rate_take(&rate, 1), 0);
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(GAP));  /* the same moment, and a later timer */
    ask(&scope, &one, &want, &rate, 1);
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    expect_int((long long)stats_of(&rate).taken, one.rc == 0 ? 2 : 1);
    expect_int((long long)stats_of(&rate).tokens, one.rc == 0 ? 0 : 1);
    return 0;
}

static void tokens_or_cancellation_and_never_both(void **state)
{
    assert_int_equal(run_virtual(state, serve_then_cancel, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(numbers_out_of_range_are_refused), ON_BOTH(a_burst_at_once_and_then_the_rate),
        ON_BOTH(nothing_is_lost_to_rounding), ON_BOTH(who_wants_little_does_not_overtake),
        ON_BOTH(a_cancelled_one_has_taken_nothing), ON_BOTH(tokens_or_cancellation_and_never_both),
    };

    return cmocka_run_group_tests_name("sync rate", tests, NULL, NULL);
}
