/* SPDX-License-Identifier: MIT */
/*
 * Pools under deaths, deadlines, cancellations and full queues. Law 7: each accepted job has one outcome, and what the
 * outcome says of the job's run is so. Law 4: the queue holds no more than it may. Law 2: a job ends before its scope does.
 */
#include "sim/scenario.h"

#define CALLERS_MAX 8
#define JOBS_MAX 6

struct job_note {
    int runs;                   /* how often its function was called */
    int value;
    unsigned long long began;   /* when it last was, counted in jobs */
    unsigned long long *clock;
};

/* How jobs ended, for the callers: the model that the pool's statistics must agree with. */
enum { OK, ERROR, REFUSED, TIMEOUT, DIED, CANCELLED, CLOSING, OUTCOMES };

struct yard {
    struct world *world;
    td_pool *pool;
    td_pool_opts opts;
    unsigned long long asked, answered[OUTCOMES], refused[TD_REFUSALS];
    unsigned long long *clock;  /* in shared memory, as the notes are */
    bool deadly, closing;
};

struct caller {
    struct yard *yard;
    struct job_note *notes;
};

/* One that was asked for: with what, and what came of it. */
struct order {
    td_job job;
    struct job_note *note;
    td_offload_opts opts;
    td_job_report report;
    bool accepted;
};

static int job(void *arg)
{
    struct job_note *note = arg;

    note->runs++;
    note->began = ++*note->clock;
    return note->value;
}

static unsigned attempts_of(const td_offload_opts *opts)
{
    return opts->attempts ? opts->attempts : 1;
}

static int kind_of_outcome(int rc)
{
    switch (rc) {
    case -EBUSY: return REFUSED;
    case -ETIMEDOUT: return TIMEOUT;
    case -EOWNERDEAD: return DIED;
    case -ECANCELED: return CANCELLED;
    case -EPIPE: return CLOSING;
    default: return rc < 0 ? ERROR : OK;
    }
}

/* A refusal and its reason belong together, and a refused job never ran. */
static void check_refusal(struct yard *yard, const struct order *order, int rc)
{
    static const int codes[TD_REFUSALS] = {
        [TD_REFUSED_QUEUE] = -EBUSY, [TD_REFUSED_BYTES] = -EBUSY, [TD_REFUSED_DROPPED] = -EBUSY,
        [TD_REFUSED_DEADLINE] = -EBUSY, [TD_REFUSED_DELAY] = -EBUSY, [TD_REFUSED_MEMORY] = -ENOMEM,
        [TD_REFUSED_BROKEN] = -EOWNERDEAD, [TD_REFUSED_CLOSING] = -EPIPE,
    };
    struct world *world = yard->world;
    td_refusal why = order->report.refusal;

    if (!must(world, (unsigned)why < TD_REFUSALS, "the reason %d", (int)why))
        return;
    yard->refused[why]++;
    must(world, why == TD_REFUSED_NOT || rc == codes[why], "refused for %s, and answered %d", td_refusal_name(why), rc);
    must(world, why != TD_REFUSED_NOT || (rc != -EBUSY && rc != -EPIPE), "%d without a reason", rc);
    must(world, why == TD_REFUSED_NOT || order->note->runs <= (int)order->report.deaths, "a refused job ran");
}

static void check_outcome(struct yard *yard, const struct order *order, int rc)
{
    struct world *world = yard->world;
    const struct job_note *note = order->note;
    unsigned deaths = order->report.deaths, attempts = attempts_of(&order->opts);
    bool deadly = yard->deadly && yard->opts.kind == TD_PROCESSES;

    yard->answered[kind_of_outcome(rc)]++;
    check_refusal(yard, order, rc);
    must(world, deaths <= attempts, "%u deaths in %u attempts", deaths, attempts);
    must(world, note->runs <= (int)deaths + 1, "%d runs, and %u deaths", note->runs, deaths);
    if (rc >= 0 || rc == -EDOM) {
        must(world, rc == note->value, "%d came back, and not %d", rc, note->value);
        must(world, note->runs >= 1, "a job that was done never ran");
        must(world, deaths < attempts, "the last of %u attempts died, and the job was done", attempts);
        must(world, order->report.ran_ns >= 0 && order->report.queued_ns >= 0, "negative times");
    }
    must(world, deadly || (rc != -EOWNERDEAD && deaths == 0) || order->report.signal, "a worker died by itself");
    must(world, rc != -EOWNERDEAD || order->report.refusal == TD_REFUSED_BROKEN || deaths > 0, "dead, and nobody died");
    must(world, rc != -ETIMEDOUT || order->opts.deadline || yard->opts.deadline, "a deadline passed that nobody set");
    must(world, rc != -EPIPE || yard->closing, "the pool was said to close");
    must(world, kind_of_outcome(rc) != ERROR || rc == -EDOM || (yard->deadly && rc == -EAGAIN), "a job answered %d", rc);
}

static void check_bounds(struct yard *yard)
{
    td_pool_stats stats;

    td_pool_statistics(yard->pool, &stats);
    must(yard->world, stats.depth <= stats.queue + stats.workers && stats.busy <= stats.workers, "%zu wait and %u run",
         stats.depth, stats.busy);
}

static void draw_order(struct yard *yard, struct order *order, struct job_note *note)
{
    *order = (struct order){.note = note};
    order->opts = (td_offload_opts){.when_full = one_in(3) ? (td_when_full)(TD_WAIT + pick(3)) : TD_POOL_DEFAULT,
                                    .deadline = one_in(3) ? td_us((int64_t)(1 + pick(20000))) : 0,
                                    .priority = (td_priority)pick(3), .attempts = (unsigned)pick(TD_ATTEMPTS_MAX + 1),
                                    .report = &order->report};
    note->runs = 0;
    note->clock = yard->clock;
    note->value = one_in(8) ? -EDOM : (int)pick(1000);
}

/* Calls, one after the other. */
static int call(void *arg)
{
    struct caller *caller = arg;
    struct yard *yard = caller->yard;

    for (size_t i = 0; i < JOBS_MAX && !one_in(10) && !yard->closing; i++) {
        struct order order;
        td_scope scope;
        int rc;

        draw_order(yard, &order, &caller->notes[i]);
        if (one_in(3))
            td_sleep(td_us((int64_t)pick(10000)));
        td_scope_open(&scope);
        if (one_in(3))
            td_scope_deadline(&scope, td_after(td_us((int64_t)pick(20000))));
        yard->asked++;
        rc = td_offload_with(yard->pool, job, order.note, &order.opts);
        check_outcome(yard, &order, rc);
        must(yard->world, rc != -ECANCELED || td_scope_cancelled(&scope) || yard->closing, "nobody cancelled the job");
        td_scope_join(&scope);
        check_bounds(yard);
    }
    return 0;
}

/* Of jobs that one task handed in one after the other, those of a level begin in that order, where one worker does them all. */
static void check_order(struct yard *yard, const struct order orders[], size_t count)
{
    unsigned long long last[3] = {0};

    for (size_t i = 0; i < count && yard->opts.workers == 1; i++) {
        const struct order *order = &orders[i];

        if (!order->accepted || order->note->runs != 1 || order->report.deaths > 0)
            continue;
        must(yard->world, order->note->began > last[order->opts.priority], "of two jobs of a level the later began first");
        last[order->opts.priority] = order->note->began;
    }
}

static void cancel_some(struct order orders[], size_t count, td_scope *scope)
{
    if (one_in(2))
        td_sleep(td_us((int64_t)pick(20000)));
    for (size_t i = 0; i < count; i++)
        if (orders[i].accepted && one_in(4))
            td_job_cancel(&orders[i].job);
    if (one_in(6))
        td_scope_cancel(scope);
}

/* Hands in several jobs of one scope, waits for some, cancels some, and joins. */
static int submit(void *arg)
{
    struct caller *caller = arg;
    struct yard *yard = caller->yard;
    struct order orders[JOBS_MAX];
    size_t count = 1 + pick(JOBS_MAX);
    bool alone = one_in(2), cancels = one_in(3);
    td_scope scope;
    int rc;

    td_scope_open(&scope);
    if (alone)
        td_scope_collect(&scope);
    if (one_in(4))
        td_scope_deadline(&scope, td_after(td_us((int64_t)pick(50000))));
    for (size_t i = 0; i < count; i++) {
        draw_order(yard, &orders[i], &caller->notes[i]);
        yard->asked++;
        rc = td_submit(&scope, &orders[i].job, yard->pool, job, orders[i].note, &orders[i].opts);
        orders[i].accepted = rc == 0;
        if (rc < 0)
            check_outcome(yard, &orders[i], rc);
        if (one_in(4))
            td_sleep(td_us((int64_t)pick(5000)));
    }
    check_bounds(yard);
    if (cancels)
        cancel_some(orders, count, &scope);
    for (size_t i = 0; i < count; i++)
        if (orders[i].accepted && one_in(3)) {
            rc = td_job_wait(&orders[i].job);
            must(yard->world, rc == -ECANCELED || td_job_done(&orders[i].job), "%d before the job was done", rc);
        }
    rc = td_scope_join(&scope);
    must(yard->world, !alone || rc == 0 || td_scope_cancelled(&scope), "a collecting scope answered %d", rc);
    for (size_t i = 0; i < count; i++)
        if (orders[i].accepted && must(yard->world, td_job_done(&orders[i].job), "a job outlived its scope"))
            check_outcome(yard, &orders[i], td_job_wait(&orders[i].job));
    check_order(yard, orders, count);
    return 0;
}

static void settle_accounts(struct yard *yard)
{
    const unsigned long long *answered = yard->answered;
    struct world *world = yard->world;
    unsigned long long sum = 0, refused = 0, given_up, counted;
    td_pool_stats stats;

    for (int i = 0; i < OUTCOMES; i++)
        sum += answered[i];
    must(world, sum == yard->asked, "%llu jobs, and %llu outcomes", yard->asked, sum);
    td_pool_statistics(yard->pool, &stats);
    for (int i = 1; i < TD_REFUSALS; i++) {
        must(world, stats.refused[i] == yard->refused[i], "%llu refused for %s, and %llu counted", yard->refused[i],
             td_refusal_name((td_refusal)i), stats.refused[i]);
        refused += yard->refused[i];
    }
    must(world, stats.ok == answered[OK], "%llu done, and %llu counted", answered[OK], stats.ok);
    must(world, stats.timeout == answered[TIMEOUT], "%llu late, and %llu counted", answered[TIMEOUT], stats.timeout);
    must(world, stats.cancelled <= answered[CANCELLED], "%llu cancelled, and %llu counted", answered[CANCELLED],
         stats.cancelled);
    given_up = refused - stats.rejected - stats.dropped;  /* by a pool that broke; they are among the dead */
    must(world, given_up <= yard->refused[TD_REFUSED_BROKEN] && stats.died == answered[DIED] + given_up -
                    yard->refused[TD_REFUSED_BROKEN], "%llu refused, and %llu counted", refused, stats.rejected + stats.dropped);
    counted = stats.ok + stats.error + stats.timeout + stats.cancelled + stats.died + stats.dropped + stats.rejected;
    must(world, counted == yard->asked - (answered[CANCELLED] - stats.cancelled), "%llu asked for, and %llu counted",
         yard->asked, counted);  /* but for those whose caller was cancelled before */
    must(world, stats.busy == 0 && stats.depth == 0 && stats.bytes == 0, "%u run, %zu wait", stats.busy, stats.depth);
}

static void draw_pool(struct yard *yard)
{
    unsigned workers = 1 + (unsigned)pick(3);

    yard->opts = (td_pool_opts){.kind = one_in(2) ? TD_THREADS : TD_PROCESSES, .workers = workers,
                                .workers_max = one_in(2) ? workers + (unsigned)pick(3) : 0,
                                .workers_reserved = one_in(4) ? workers - 1 : 0,
                                .queue = one_in(4) ? TD_QUEUE_NONE : 1 + pick(3), .when_full = (td_when_full)(TD_WAIT + pick(3)),
                                .on_cancel = (td_on_cancel)pick(2), .deadline = one_in(3) ? td_us(1 + (int64_t)pick(50000)) : 0,
                                .delay_target_ns = one_in(4) ? td_us(1 + (int64_t)pick(5000)) : 0,
                                .admit_by_deadline = one_in(3)};
    if (yard->opts.kind == TD_PROCESSES && one_in(3))
        yard->opts.kill_grace_ns = td_us((int64_t)pick(5000));
}

static int run(void *arg)
{
    struct yard yard = {.world = arg};
    struct caller callers[CALLERS_MAX];
    size_t count = 1 + pick(CALLERS_MAX);
    struct job_note *notes = td_shared_calloc(CALLERS_MAX * JOBS_MAX, sizeof *notes);
    td_scope scope;
    int rc;

    yard.clock = td_shared_calloc(1, sizeof *yard.clock);
    if (!notes || !yard.clock)
        return -ENOMEM;
    yard.deadly = draw_faults();
    if (yard.deadly && one_in(3))  /* often enough for retries in vain, and for ten deaths in a row */
        td_sim_faults(&(td_sim_fault_opts){.delay_max = td_us(1) << pick(16), .death = 0.3 + 0.2 * (double)pick(4)});
    draw_pool(&yard);
    rc = td_pool_open(&yard.pool, &yard.opts);
    if (must(yard.world, rc == 0, "td_pool_open answered %d", rc)) {
        td_scope_open(&scope);
        for (size_t i = 0; i < count; i++) {
            callers[i] = (struct caller){&yard, notes + i * JOBS_MAX};
            td_spawn(&scope, one_in(2) ? call : submit, &callers[i]);
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
    td_shared_free(yard.clock);
    td_shared_free(notes);
    return 0;
}

const struct scenario scenario_pool = {"pool", run};
