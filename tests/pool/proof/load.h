/* SPDX-License-Identifier: MIT */
/*
 * Jobs whose effects are counted, for storms: what a job did lies in shared memory, and is compared with what its caller was
 * told. Each customer is a task that submits such jobs in every way there is, and notes each outcome in the ledger.
 */
#ifndef TANDEM_TESTS_POOL_PROOF_LOAD_H
#define TANDEM_TESTS_POOL_PROOF_LOAD_H

#include "pool/jobs.h"

#define GROUP 3               /* jobs that a customer has under way at the most */
#define OUTPUT_MAX 4096
#define RESULTS 1000          /* a job returns its number, modulo this */
#define MICROSECONDS_MAX 200  /* that a job computes */

/* One job after the other, in shared memory. */
struct load {
    unsigned number, microseconds, output_seed;
    bool fails;
    _Atomic unsigned begun, ended;   /* how often, since the customer submitted it */
};

/* What came of all of them. */
struct ledger {
    unsigned long long submitted, outcomes;  /* equal in the end */
    unsigned long long ok, error, refused, timeout, cancelled, died;
    unsigned long long again;                /* results of jobs that had cost a worker before */
    unsigned long long close;                /* lost before their first instruction, or after their last one */
    unsigned wrong;                          /* outcomes that do not go with what the job did */
};

struct customer {
    td_pool *pool;
    struct random *random;
    struct ledger *ledger;
    _Atomic bool *enough;                    /* no more jobs */
    _Atomic unsigned *progress;              /* moves with each outcome */
    bool processes;
};

/* Of one job, while it is under way. */
struct order {
    struct load *load;
    td_offload_opts opts;
    td_job_report report;
    void *output;
    bool may_be_cancelled;    /* then nobody wants it run again */
    td_job job;
    unsigned long long begun_before, ended_before;  /* when the last job of this load was over */
};

/* The job. */
UNUSED static int carry(void *arg)
{
    struct load *load = arg;
    td_time end = td_after(td_us(load->microseconds));
    unsigned char *output;
    size_t size;

    atomic_fetch_add(&load->begun, 1);
    while (td_now() < end && !td_job_cancelled())
        ;
    output = td_job_output(&size);
    for (size_t i = 0; i < size; i++)
        output[i] = (unsigned char)(load->output_seed + i);
    atomic_fetch_add(&load->ended, 1);
    return load->fails ? -EDOM : (int)(load->number % RESULTS);
}

static bool chance(struct random *random, unsigned percent)
{
    return random_below(random, 100) < percent;
}

/* Makes the next job of this load, and checks that nobody has touched it since the last one was answered. */
static void prepare(struct customer *customer, struct order *order, bool may_be_cancelled)
{
    struct random *random = customer->random;
    struct load *load = order->load;

    if (atomic_load(&load->begun) != order->begun_before || atomic_load(&load->ended) != order->ended_before)
        customer->ledger->wrong++;
    load->number++;
    load->microseconds = (unsigned)random_below(random, MICROSECONDS_MAX + 1);
    load->output_seed = (unsigned)random_next(random);
    load->fails = false;
    atomic_store(&load->begun, 0);
    atomic_store(&load->ended, 0);
    order->output = NULL;
    order->may_be_cancelled = may_be_cancelled;
    order->opts = (td_offload_opts){.when_full = TD_POOL_DEFAULT, .report = &order->report};
    order->opts.priority = (td_priority)random_below(random, 3);
    order->opts.attempts = (unsigned)random_below(random, TD_ATTEMPTS_MAX + 1);
    if (chance(random, 30))
        order->opts.when_full = (td_when_full)random_below(random, 3);
    if (chance(random, 10))
        order->opts.deadline = td_us(100 + (int64_t)random_below(random, 20000));
    if (chance(random, 40)) {
        order->opts.output_bytes = 1 + random_below(random, OUTPUT_MAX);
        order->opts.output = &order->output;
    }
    customer->ledger->submitted++;
}

static bool output_is_right(const struct order *order)
{
    const unsigned char *bytes = order->output;

    if (!order->opts.output_bytes)
        return true;
    for (size_t i = 0; bytes && i < order->opts.output_bytes; i++)
        if (bytes[i] != (unsigned char)(order->load->output_seed + i))
            return false;
    return bytes != NULL;
}

/* Whether this outcome goes with what the job did. */
static bool goes_with(const struct order *order, int rc)
{
    unsigned begun = atomic_load(&order->load->begun), ended = atomic_load(&order->load->ended);
    unsigned deaths = order->report.deaths, attempts = order->opts.attempts ? order->opts.attempts : 1;

    if (begun > deaths + 1 || ended > begun || deaths > attempts || (begun > 1 && attempts == 1))
        return false;
    if (rc >= 0)
        return rc == (int)(order->load->number % RESULTS) && begun > 0 && ended > 0 && deaths < attempts &&
               output_is_right(order);
    if (order->output)
        return false;
    if (order->report.refusal)
        return begun == 0 && (rc == -EBUSY || rc == -ENOMEM || rc == -EOWNERDEAD);
    if (rc == -EDOM)
        return order->load->fails && ended > 0;
    if (rc == -EOWNERDEAD)
        return (deaths == attempts || (deaths > 0 && order->may_be_cancelled)) && begun <= deaths;
    return rc == -ECANCELED || rc == -ETIMEDOUT;
}

static void note(struct customer *customer, struct order *order, int rc)
{
    struct ledger *ledger = customer->ledger;

    ledger->outcomes++;
    ledger->ok += rc >= 0;
    ledger->error += rc == -EDOM;
    ledger->refused += order->report.refusal != TD_REFUSED_NOT;
    ledger->timeout += rc == -ETIMEDOUT;
    ledger->cancelled += rc == -ECANCELED;
    ledger->died += rc == -EOWNERDEAD && !order->report.refusal;
    ledger->close += rc == -EOWNERDEAD && order->report.deaths == 1 &&
                     (atomic_load(&order->load->begun) == 0 || atomic_load(&order->load->ended) == 1);
    ledger->again += rc >= 0 && order->report.deaths > 0;
    if (!goes_with(order, rc) && ledger->wrong++ == 0)
        print_error("job %u: outcome %d (%s), begun %u, ended %u, deaths %u of %u, refusal \"%s\"\n", order->load->number, rc,
                    td_strerror(rc), atomic_load(&order->load->begun), atomic_load(&order->load->ended), order->report.deaths,
                    order->opts.attempts, td_refusal_name(order->report.refusal));
    td_shared_free(order->output);
    order->output = NULL;
    order->begun_before = atomic_load(&order->load->begun);
    order->ended_before = atomic_load(&order->load->ended);
    atomic_fetch_add(customer->progress, 1);
}

static void submit_and_wait(struct customer *customer, struct order *order)
{
    prepare(customer, order, false);
    note(customer, order, td_offload_with(customer->pool, carry, order->load, &order->opts));
}

/* Changes its mind after a while: when the job waits, runs, or is over. */
static void submit_and_cancel(struct customer *customer, struct order *order)
{
    td_scope scope;
    int rc;

    td_scope_open(&scope);
    prepare(customer, order, true);
    rc = td_submit(&scope, &order->job, customer->pool, carry, order->load, &order->opts);
    if (rc == 0) {
        td_sleep(td_us((int64_t)random_below(customer->random, 3000)));
        td_job_cancel(&order->job);
        (void)td_job_wait(&order->job);  /* its own failure may have cancelled us */
    }
    (void)td_scope_join(&scope);
    note(customer, order, rc < 0 ? rc : td_job_wait(&order->job));
}

/* Some at once, of which the first that fails cancels the others. */
static void submit_group(struct customer *customer, struct order orders[GROUP])
{
    int rcs[GROUP];
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < GROUP; i++) {
        prepare(customer, &orders[i], true);
        orders[i].load->fails = chance(customer->random, 20);
        rcs[i] = td_submit(&scope, &orders[i].job, customer->pool, carry, orders[i].load, &orders[i].opts);
    }
    (void)td_scope_join(&scope);
    for (int i = 0; i < GROUP; i++) {
        expect(rcs[i] < 0 || td_job_done(&orders[i].job));
        note(customer, &orders[i], rcs[i] < 0 ? rcs[i] : td_job_wait(&orders[i].job));
    }
}

/* A task: submits until it is enough. */
UNUSED static int be_customer(void *arg)
{
    struct customer *customer = arg;
    struct order orders[GROUP] = {0};

    for (int i = 0; i < GROUP; i++) {
        orders[i].load = td_shared_calloc(1, sizeof *orders[i].load);
        expect(orders[i].load != NULL);
    }
    while (!atomic_load(customer->enough)) {
        size_t way = random_below(customer->random, 10);

        if (way < 7)
            submit_and_wait(customer, &orders[0]);
        else if (way < 8)
            submit_and_cancel(customer, &orders[0]);
        else
            submit_group(customer, orders);
    }
    for (int i = 0; i < GROUP; i++)
        td_shared_free(orders[i].load);
    return 0;
}

/* Every job has its one outcome, and the pool counted the same ones. */
UNUSED static void expect_balance(const struct ledger *ledger, td_pool *pool)
{
    td_pool_stats stats;

    td_pool_statistics(pool, &stats);
    expect_int(ledger->wrong, 0);
    expect_int((long long)ledger->outcomes, (long long)ledger->submitted);
    expect_int((long long)ledger->outcomes, (long long)(ledger->ok + ledger->error + ledger->refused + ledger->timeout +
                                                        ledger->cancelled + ledger->died));
    expect_int((long long)stats.ok, (long long)ledger->ok);
    expect_int((long long)stats.error, (long long)ledger->error);
    expect_int((long long)stats.died, (long long)(ledger->died + stats.refused[TD_REFUSED_BROKEN]));
    expect_int((long long)stats.timeout, (long long)ledger->timeout);
    expect_int(stats.busy, 0);
    expect_int((long long)stats.depth, 0);
    expect_int((long long)stats.bytes, 0);
}

/* In the end no block of shared memory is left, and none is held by a job. */
UNUSED static void expect_no_memory_left(void)
{
    td_shared_stats left;

    td_shared_statistics(&left);
    expect_int((long long)left.blocks, 0);
    expect_int((long long)left.used_bytes, 0);
    expect_int((long long)left.quarantined_bytes, 0);
    expect_int((long long)left.owned_bytes, 0);
}

#endif
