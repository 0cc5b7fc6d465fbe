/* SPDX-License-Identifier: MIT */
/* Refusals that look ahead: a job that cannot begin before its deadline, and a queue that has been too slow for too long. */
#include "pool/jobs.h"

#define TAKES_MS 20

static int take_time(void *arg)
{
    nanosleep(&(struct timespec){.tv_nsec = TAKES_MS * 1000000}, NULL);
    return 0;
}

static td_offload_opts within(td_time deadline)
{
    return (td_offload_opts){.when_full = TD_POOL_DEFAULT, .deadline = deadline};
}

/* The pool knows what a job takes; one runs in the gate, and ten wait: 200 ms of work. */
static void world_with_backlog(struct world *w, void **state, td_scope *scope, struct handed jobs[11])
{
    world_open(w, state, (td_pool_opts){.workers = 1, .admit_by_deadline = true});
    for (int i = 0; i < 3; i++)
        expect_int(td_offload(w->pool, take_time, NULL), 0);
    td_scope_open(scope);
    td_scope_collect(scope);
    expect_int(hand(w, scope, &jobs[0], stay_in_gate, w->gate, AS_THE_POOL), 0);
    wait_entered(w, 1);
    for (int i = 1; i < 11; i++)
        expect_int(hand(w, scope, &jobs[i], take_time, NULL, AS_THE_POOL), 0);
}

STORY(a_job_that_cannot_begin_in_time_is_told_at_once)
{
    struct world w;
    struct handed jobs[11], hopeless, relaxed, timeless;
    td_scope scope;

    world_with_backlog(&w, arg, &scope, jobs);
    expect_int(hand(&w, &scope, &hopeless, take_time, NULL, within(td_ms(10 * TAKES_MS / 4))), -EBUSY);
    expect_int(hopeless.report.refusal, TD_REFUSED_DEADLINE);
    expect_int((long long)stats_of(&w).refused[TD_REFUSED_DEADLINE], 1);
    expect_int((long long)stats_of(&w).rejected, 1);
    expect_int(hand(&w, &scope, &relaxed, take_time, NULL, within(td_sec(1000))), 0);
    expect_int(hand(&w, &scope, &timeless, take_time, NULL, AS_THE_POOL), 0);
    open_gate(&w);
    expect_int(td_job_wait(&relaxed.job), 0);
    expect_int(td_job_wait(&timeless.job), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_accounted(&w, 17);
    world_close(&w);
    return 0;
}

/* What is before an urgent job is other urgent jobs. */
STORY(an_urgent_job_is_before_the_backlog)
{
    struct world w;
    struct handed jobs[11], urgent;
    td_offload_opts opts = within(td_ms(10 * TAKES_MS / 2));
    td_scope scope;

    world_with_backlog(&w, arg, &scope, jobs);
    expect_int(td_offload_with(w.pool, take_time, NULL, &opts), -EBUSY);
    opts.priority = TD_PRIORITY_HIGH;
    expect_int(hand(&w, &scope, &urgent, pass_gate, w.gate, opts), 0);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(urgent.report.refusal, TD_REFUSED_NOT);  /* accepted, whatever came of it on a slow machine */
    world_close(&w);
    return 0;
}

/* A worker that is reserved for urgent jobs is idle, and that is of no use to a common one. */
STORY(an_idle_worker_that_is_reserved_does_not_count)
{
    struct world w;
    struct handed jobs[11], hopeless;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 2, .workers_reserved = 1, .admit_by_deadline = true});
    for (int i = 0; i < 3; i++)
        expect_int(td_offload(w.pool, take_time, NULL), 0);
    td_scope_open(&scope);
    td_scope_collect(&scope);
    hand(&w, &scope, &jobs[0], stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    for (int i = 1; i < 11; i++)
        expect_int(hand(&w, &scope, &jobs[i], take_time, NULL, AS_THE_POOL), 0);
    expect_int(hand(&w, &scope, &hopeless, take_time, NULL, within(td_ms(10 * TAKES_MS / 4))), -EBUSY);
    expect_int(hopeless.report.refusal, TD_REFUSED_DEADLINE);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    world_close(&w);
    return 0;
}

STORY(nothing_is_refused_by_a_pool_that_does_not_look_ahead)
{
    struct world w;
    struct handed jobs[11], late;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    expect_int(td_offload(w.pool, take_time, NULL), 0);
    td_scope_open(&scope);
    td_scope_collect(&scope);
    hand(&w, &scope, &jobs[0], stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    for (int i = 1; i < 11; i++)
        hand(&w, &scope, &jobs[i], take_time, NULL, AS_THE_POOL);
    expect_int(hand(&w, &scope, &late, take_time, NULL, within(td_ms(5))), 0);
    expect_int(td_job_wait(&late.job), -ETIMEDOUT);  /* it had to wait for that */
    expect_int(late.report.refusal, TD_REFUSED_NOT);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)stats_of(&w).timeout, 1);
    expect_accounted(&w, 13);
    world_close(&w);
    return 0;
}

STORY(an_idle_pool_takes_a_job_whatever_its_deadline)
{
    struct world w;
    td_offload_opts opts = within(td_sec(10));

    world_open(&w, arg, (td_pool_opts){.workers = 1, .admit_by_deadline = true});
    for (int i = 0; i < 5; i++)
        expect_int(td_offload_with(w.pool, take_time, NULL, &opts), 0);
    expect_int((long long)stats_of(&w).rejected, 0);
    world_close(&w);
    return 0;
}

/* More comes than one worker can do, for as long as the test wants. */
struct surge {
    struct world w;
    unsigned long long asked, ok, late;  /* late: refused, or given up, for the delay */
    bool over;
};

static int take_a_while(void *arg)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    return 0;
}

static int surge_on(void *arg)
{
    struct surge *surge = arg;

    while (!surge->over) {
        td_job_report report;
        int rc = td_offload_with(surge->w.pool, take_a_while, NULL,
                                 &(td_offload_opts){.when_full = TD_POOL_DEFAULT, .report = &report});

        surge->asked++;
        surge->ok += rc == 0;
        surge->late += report.refusal == TD_REFUSED_DELAY;
        expect(rc == 0 || (rc == -EBUSY && report.refusal == TD_REFUSED_DELAY));
        if (rc < 0)
            td_sleep(td_ms(1));
    }
    return 0;
}

#define PUSHERS 40  /* each waits for 80 ms, when nobody is refused */

static void surge_begin(struct surge *surge, void **state, td_scope *scope, td_time target)
{
    *surge = (struct surge){0};
    world_open(&surge->w, state, (td_pool_opts){.workers = 1, .queue = 200, .when_full = TD_REJECT, .delay_target_ns = target});
    td_scope_open(scope);
    for (int i = 0; i < PUSHERS; i++)
        td_spawn(scope, surge_on, surge);
}

STORY(a_queue_that_stays_slow_refuses_until_it_is_over)
{
    struct surge surge;
    td_scope scope;

    surge_begin(&surge, arg, &scope, td_ms(5));
    eventually(surge.late > 0 && stats_of(&surge.w).rejected > 0);  /* at once, and not only after a while in the queue */
    surge.over = true;
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)stats_of(&surge.w).refused[TD_REFUSED_DELAY], (long long)surge.late);
    expect(surge.ok > 0);
    eventually((surge.asked++, td_offload(surge.w.pool, pass_gate, surge.w.gate) == 0));  /* it is over */
    for (int i = 0; i < 20; i++, surge.asked++)
        expect_int(td_offload(surge.w.pool, pass_gate, surge.w.gate), 0);
    expect_accounted(&surge.w, surge.asked);
    world_close(&surge.w);
    return 0;
}

/* As long as jobs take: then waiting for two of them is not late. */
STORY(a_queue_is_not_slow_below_its_target)
{
    struct surge surge;
    td_scope scope;

    surge_begin(&surge, arg, &scope, td_sec(1000));
    eventually(surge.ok > 150);  /* 300 ms at least */
    surge.over = true;
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)surge.late, 0);
    expect_accounted(&surge.w, surge.asked);
    world_close(&surge.w);
    return 0;
}

/*
 * A worker in another language takes one job at a time. While the pool looks for its next one, a job that has waited too long is
 * dropped, which cancels another, which makes the pool look again: the worker is given one job all the same, and nobody is
 * left with a worker that never hears of it.
 */
STORY(a_worker_that_takes_one_job_is_given_one)
{
    enum { SQUARE = 2, NAP, BEFORE = 15, SIBLINGS = 2, BEHIND = 2 };
    static const char *const napper[] = {COMMAND, NULL};
    td_offload_opts droppable = {.when_full = TD_REJECT};
    int *number = td_shared_calloc(1, sizeof *number);
    struct handed before[BEFORE], siblings[SIBLINGS], behind[BEHIND];
    td_scope scope, hasty;
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .command = napper, .delay_target_ns = td_ms(5)});
    expect_int(td_offload(w.pool, td_op(NAP), NULL), 0);
    td_scope_open(&scope);
    td_scope_collect(&scope);
    td_scope_open(&hasty);
    for (int i = 0; i < BEFORE; i++)
        expect_int(hand(&w, &scope, &before[i], td_op(NAP), NULL, AS_THE_POOL), 0);
    for (int i = 0; i < SIBLINGS; i++)
        expect_int(hand(&w, &hasty, &siblings[i], td_op(NAP), NULL, droppable), 0);
    for (int i = 0; i < BEHIND; i++)
        expect_int(hand(&w, &scope, &behind[i], td_op(SQUARE), number, AS_THE_POOL), 0);
    expect_int(td_scope_join(&hasty), -EBUSY);
    expect_int(siblings[0].report.refusal, TD_REFUSED_DELAY);
    expect_int(td_job_wait(&siblings[1].job), -ECANCELED);
    eventually(outcomes(&w) == 1 + BEFORE + SIBLINGS + BEHIND);
    td_pool_cancel(w.pool);  /* who waits for ever is not waited for */
    for (int i = 0; i < BEHIND; i++)
        expect_int(td_job_wait(&behind[i].job), 7);
    expect_int(td_scope_join(&scope), 0);
    expect_accounted(&w, 1 + BEFORE + SIBLINGS + BEHIND);
    td_shared_free(number);
    world_close(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(a_job_that_cannot_begin_in_time_is_told_at_once), ON_ALL(an_urgent_job_is_before_the_backlog),
        ON_ALL(an_idle_worker_that_is_reserved_does_not_count),
        ON_ALL(nothing_is_refused_by_a_pool_that_does_not_look_ahead), ON_ALL(an_idle_pool_takes_a_job_whatever_its_deadline),
        ON_ALL(a_queue_that_stays_slow_refuses_until_it_is_over), ON_ALL(a_queue_is_not_slow_below_its_target),
        WITH_PROCESSES(a_worker_that_takes_one_job_is_given_one),
    };

    return cmocka_run_group_tests_name("pool refusal delay", tests, NULL, NULL);
}
