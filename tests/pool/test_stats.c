/* SPDX-License-Identifier: MIT */
/* What a pool tells about itself: every job in exactly one counter, and figures that agree with each other. */
#include "pool/jobs.h"

static int fall_over(void *arg)
{
    volatile uintptr_t nowhere = 16;

    (void)signal(SIGSEGV, SIG_DFL);  /* a sanitizer would explain it at length */
    *(volatile int *)nowhere = 1;
    return 0;
}

static int walk_out(void *arg)
{
    _exit(3);
}

STORY(each_outcome_has_its_counter)
{
    bool processes = kind_of(arg) == TD_PROCESSES;
    struct world w;
    struct handed job[6];
    int *number = td_shared_calloc(1, sizeof *number);
    td_scope scope;

    *number = -EIO;
    world_open(&w, arg, (td_pool_opts){.workers = 1, .queue = 3, .when_full = TD_REJECT});
    td_scope_open(&scope);
    td_scope_collect(&scope);
    expect_int(td_offload(w.pool, say_number, number), -EIO);
    *number = 5;
    expect_int(td_offload(w.pool, say_number, number), 5);
    hand(&w, &scope, &job[0], stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    hand(&w, &scope, &job[1], pass_gate, w.gate, AS_THE_POOL);
    hand(&w, &scope, &job[2], pass_gate, w.gate, AS_THE_POOL);
    hand(&w, &scope, &job[3], pass_gate, w.gate, (td_offload_opts){.when_full = TD_WAIT, .deadline = td_ms(100)});
    expect_int(hand(&w, &scope, &job[4], pass_gate, w.gate, AS_THE_POOL), -EBUSY);
    expect_int(hand(&w, &scope, &job[5], pass_gate, w.gate, (td_offload_opts){.when_full = TD_DROP_OLDEST}), 0);
    td_job_cancel(&job[2].job);
    expect_int(td_job_wait(&job[3].job), -ETIMEDOUT);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    if (processes)
        expect_int(td_offload(w.pool, drop_dead, NULL), -EOWNERDEAD);
    expect_int((long long)stats_of(&w).error, 1);
    expect_int((long long)stats_of(&w).ok, 3);
    expect_int((long long)stats_of(&w).rejected, 1);
    expect_int((long long)stats_of(&w).dropped, 1);
    expect_int((long long)stats_of(&w).cancelled, 1);
    expect_int((long long)stats_of(&w).timeout, 1);
    expect_int((long long)stats_of(&w).died, processes);
    expect_accounted(&w, processes ? 9 : 8);
    td_shared_free(number);
    world_close(&w);
    return 0;
}

STORY(depth_and_age_are_those_of_now)
{
    struct world w;
    struct handed jobs[5];
    td_pool_stats stats;
    td_time submitted[5], age;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .queue = 10});
    stats = stats_of(&w);
    expect(stats.depth == 0 && stats.depth_peak == 0 && stats.oldest_age_ns == 0 && stats.queue == 10 && stats.busy == 0);
    expect(stats.workers_min == 1 && stats.workers_max >= 1 && stats.stuck == 0 && !stats.broken);
    td_scope_open(&scope);
    for (int i = 0; i < 5; i++) {
        hand(&w, &scope, &jobs[i], i ? pass_gate : stay_in_gate, w.gate, AS_THE_POOL);
        submitted[i] = td_now();
        if (i == 0)
            wait_entered(&w, 1);
        td_sleep(td_ms(1));
        expect_int((long long)stats_of(&w).depth, i);
    }
    age = stats_of(&w).oldest_age_ns;
    expect(age >= submitted[4] - submitted[1] && age <= td_now() - submitted[0]);
    td_job_cancel(&jobs[1].job);  /* now another is the oldest */
    expect_int((long long)stats_of(&w).depth, 3);
    expect(stats_of(&w).oldest_age_ns <= td_now() - submitted[1]);
    expect_int((long long)stats_of(&w).busy, 1);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    stats = stats_of(&w);
    expect(stats.depth == 0 && stats.depth_peak == 4 && stats.oldest_age_ns == 0);
    expect_int(stats.busy, 0);
    world_close(&w);
    return 0;
}

#define NAPS 30

static int nap_in_worker(void *arg)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    return 0;
}

STORY(histograms_agree_with_reports)
{
    struct world w;
    struct handed jobs[NAPS];
    td_histogram sojourn, service;
    td_time ran = 0, queued = 0, longest = 0;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    td_pool_histograms(w.pool, &sojourn, &service);
    expect(sojourn.count == 0 && service.count == 0);
    td_scope_open(&scope);
    for (int i = 0; i < NAPS; i++)
        hand(&w, &scope, &jobs[i], nap_in_worker, NULL, AS_THE_POOL);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < NAPS; i++) {
        expect(jobs[i].report.ran_ns >= 2000000);
        ran += jobs[i].report.ran_ns;
        queued += jobs[i].report.queued_ns;
        longest = jobs[i].report.ran_ns > longest ? jobs[i].report.ran_ns : longest;
    }
    td_pool_histograms(w.pool, &sojourn, NULL);
    td_pool_histograms(w.pool, NULL, &service);
    td_pool_histograms(w.pool, NULL, NULL);
    expect_int((long long)sojourn.count, NAPS);
    expect_int((long long)service.count, NAPS);
    expect_int(service.sum_ns, ran);
    expect_int(sojourn.sum_ns, queued);
    expect_int(service.max_ns, longest);
    expect_int(stats_of(&w).ran_ns, ran);
    expect(stats_of(&w).mean_ran_ns >= 2000000 && stats_of(&w).mean_ran_ns <= longest);
    expect(td_histogram_quantile(&service, 0.0) >= 2000000 - 2000000 / 16);
    expect(td_histogram_quantile(&service, 1.0) <= longest);
    expect(td_histogram_quantile(&sojourn, 0.5) <= td_histogram_quantile(&sojourn, 0.99));
    world_close(&w);
    return 0;
}

STORY(each_death_has_its_cause)
{
    struct world w;
    struct handed job;
    td_pool_stats stats;
    unsigned long long sum = 0;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    expect_int(td_offload(w.pool, fall_over, NULL), -EOWNERDEAD);
    expect_int(td_offload(w.pool, drop_dead, NULL), -EOWNERDEAD);
    expect_int(td_offload(w.pool, walk_out, NULL), -EOWNERDEAD);
    expect_int(td_offload_with(w.pool, stay_in_gate, w.gate, &(td_offload_opts){.deadline = td_ms(100)}), -ETIMEDOUT);
    atomic_store(&w.gate->entered, 0);
    hand(&w, &scope, &job, stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    td_job_cancel(&job.job);
    expect_int(td_job_wait(&job.job), -ECANCELED);
    expect_int(td_scope_join(&scope), 0);
    stats = stats_of(&w);
    expect_int((long long)stats.deaths_by[TD_DEATH_CRASH], 1);
    expect_int((long long)stats.deaths_by[TD_DEATH_KILLED], 1);
    expect_int((long long)stats.deaths_by[TD_DEATH_EXIT], 1);
    expect_int((long long)stats.deaths_by[TD_DEATH_CANCEL], 1);
    expect(stats.deaths_by[TD_DEATH_DEADLINE] <= 1);  /* none when it was still in the queue */
    for (int i = 0; i < TD_DEATHS; i++)
        sum += stats.deaths_by[i];
    expect_int((long long)sum, (long long)stats.deaths);
    expect_accounted(&w, 5);
    world_close(&w);
    return 0;
}

STORY(each_job_has_a_wake_up_or_needed_none)
{
    struct world w;
    td_pool_stats stats;
    td_shared_stats arena;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    for (int i = 0; i < 50; i++)
        expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    stats = stats_of(&w);
    td_shared_statistics(&arena);
    expect(stats.wakes_sent + stats.wakes_suppressed >= 50);
    expect(stats.notices_sent + stats.notices_suppressed >= 50);
    expect_int((long long)stats.arena_used_bytes, (long long)arena.used_bytes);
    expect_int((long long)stats.arena_quarantined_bytes, 0);
    expect(stats.busy_share >= 0 && stats.busy_share <= 1);
    world_close(&w);
    return 0;
}

STORY(a_busy_pool_says_so)
{
    struct world w;
    struct handed jobs[2];
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    td_scope_open(&scope);
    for (int i = 0; i < 2; i++)
        hand(&w, &scope, &jobs[i], stay_in_gate, w.gate, AS_THE_POOL);
    eventually(stats_of(&w).busy_share > 0.6);
    expect(stats_of(&w).busy_share <= 1);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    world_close(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(each_outcome_has_its_counter), ON_ALL(depth_and_age_are_those_of_now), ON_ALL(histograms_agree_with_reports),
        WITH_PROCESSES(each_death_has_its_cause), ON_ALL(each_job_has_a_wake_up_or_needed_none),
        ON(CASE(TD_BACKEND_URING, TD_THREADS), "uring, threads: ", a_busy_pool_says_so),
        ON(CASE(TD_BACKEND_EPOLL, TD_PROCESSES), "epoll, processes: ", a_busy_pool_says_so),
    };

    return cmocka_run_group_tests_name("pool stats", tests, NULL, NULL);
}
