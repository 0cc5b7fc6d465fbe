/* SPDX-License-Identifier: MIT */
/*
 * Pools under deaths, deadlines, cancellations and full queues. Law 7: each accepted job has one outcome, and what the
 * outcome says of the job's run is so. Law 4: the queue holds no more than it may.
 */
#include "sim/scenario.h"

#define CALLERS_MAX 8
#define JOBS_MAX 6

struct job_note {
    int runs;     /* how often its function was called */
    int value;
};

struct yard {
    struct world *world;
    td_pool *pool;
    td_pool_opts opts;
    unsigned long long asked, answered[6];  /* ok, refused, timeout, died, cancelled, closing */
    bool deadly, closing;
};

struct caller {
    struct yard *yard;
    struct job_note *notes;  /* in shared memory */
};

static int job(void *arg)
{
    struct job_note *note = arg;

    note->runs++;
    return note->value;
}

static void check_outcome(struct yard *yard, const struct job_note *note, int rc, bool limited)
{
    struct world *world = yard->world;
    bool lone = yard->opts.kind == TD_THREADS || !yard->deadly;

    yard->answered[rc >= 0 ? 0 : rc == -EBUSY ? 1 : rc == -ETIMEDOUT ? 2 : rc == -EOWNERDEAD ? 3 : rc == -ECANCELED ? 4 : 5]++;
    if (rc >= 0) {
        must(world, rc == note->value, "%d came back, and not %d", rc, note->value);
        must(world, note->runs == 1, "a job that was done ran %d times", note->runs);
    }
    must(world, note->runs <= 1, "a job ran %d times", note->runs);
    must(world, rc != -EBUSY || note->runs == 0, "a refused job ran");
    must(world, rc != -EOWNERDEAD || !lone, "a worker died by itself");
    must(world, rc != -ETIMEDOUT || limited, "a deadline passed that nobody set");
    must(world, rc != -EPIPE || yard->closing, "the pool was said to close");
    must(world, rc >= 0 || rc == -EBUSY || rc == -EOWNERDEAD || rc == -ETIMEDOUT || rc == -EPIPE || rc == -ECANCELED ||
                    (yard->deadly && rc == -EAGAIN), "a job answered %d", rc);
}

static int call(void *arg)
{
    struct caller *caller = arg;
    struct yard *yard = caller->yard;

    for (size_t i = 0; i < JOBS_MAX && !one_in(10); i++) {
        td_offload_opts opts = {.when_full = one_in(3) ? (td_when_full)pick(3) : TD_POOL_DEFAULT,
                                .deadline = one_in(3) ? td_us((int64_t)(1 + pick(20000))) : 0};
        struct job_note *note = &caller->notes[i];
        td_scope scope;
        td_pool_stats stats;
        int rc;

        note->value = (int)pick(1000);
        if (one_in(3))
            td_sleep(td_us((int64_t)pick(10000)));
        td_scope_open(&scope);
        if (one_in(3))
            td_scope_deadline(&scope, td_after(td_us((int64_t)pick(20000))));
        yard->asked++;
        rc = td_offload_with(yard->pool, job, note, &opts);
        check_outcome(yard, note, rc, opts.deadline || yard->opts.deadline);
        must(yard->world, rc != -ECANCELED || td_scope_cancelled(&scope) || yard->closing, "nobody cancelled the job");
        td_scope_join(&scope);
        td_pool_statistics(yard->pool, &stats);
        must(yard->world, stats.depth <= stats.queue + stats.workers && stats.busy <= stats.workers, "%zu wait and %u run",
             stats.depth, stats.busy);
        if (yard->closing)
            break;
    }
    return 0;
}

static void settle_accounts(struct yard *yard)
{
    unsigned long long sum = 0;
    td_pool_stats stats;

    for (int i = 0; i < 6; i++)
        sum += yard->answered[i];
    must(yard->world, sum == yard->asked, "%llu jobs, and %llu outcomes", yard->asked, sum);
    td_pool_statistics(yard->pool, &stats);
    must(yard->world, stats.ok == yard->answered[0], "%llu done, and %llu counted", yard->answered[0], stats.ok);
    must(yard->world, stats.died == yard->answered[3], "%llu died, and %llu counted", yard->answered[3], stats.died);
    must(yard->world, stats.rejected + stats.dropped == yard->answered[1], "%llu refused, and %llu counted",
         yard->answered[1], stats.rejected + stats.dropped);
    must(yard->world, stats.busy == 0 && stats.depth == 0, "%u run, %zu wait", stats.busy, stats.depth);
}

static int run(void *arg)
{
    struct yard yard = {.world = arg};
    struct caller callers[CALLERS_MAX];
    size_t count = 1 + pick(CALLERS_MAX);
    struct job_note *notes = td_shared_calloc(CALLERS_MAX * JOBS_MAX, sizeof *notes);
    td_scope scope;
    int rc;

    if (!notes)
        return -ENOMEM;
    yard.deadly = draw_faults();
    yard.opts = (td_pool_opts){.kind = one_in(2) ? TD_THREADS : TD_PROCESSES, .workers = 1 + (unsigned)pick(3),
                               .queue = one_in(4) ? TD_QUEUE_NONE : 1 + pick(3), .when_full = (td_when_full)pick(3),
                               .on_cancel = (td_on_cancel)pick(2), .deadline = one_in(3) ? td_us(1 + (int64_t)pick(50000)) : 0};
    rc = td_pool_open(&yard.pool, &yard.opts);
    if (must(yard.world, rc == 0, "td_pool_open answered %d", rc)) {
        td_scope_open(&scope);
        for (size_t i = 0; i < count; i++) {
            callers[i] = (struct caller){&yard, notes + i * JOBS_MAX};
            td_spawn(&scope, call, &callers[i]);
        }
        if (one_in(4)) {
            td_sleep(td_us((int64_t)pick(30000)));
            yard.closing = true;
            td_pool_cancel(yard.pool);
        }
        rc = td_scope_join(&scope);
        must(yard.world, rc == 0, "the callers' scope answered %d", rc);
        settle_accounts(&yard);
        rc = td_pool_close(yard.pool);
        must(yard.world, rc == 0, "td_pool_close answered %d", rc);
    }
    td_shared_free(notes);
    return 0;
}

const struct scenario scenario_pool = {"pool", run};
