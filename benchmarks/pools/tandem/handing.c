/* SPDX-License-Identifier: MIT */
/*
 * trip|jobs|sum|hand threads|processes WORKERS SECONDS WHAT PIN: what handing work over costs.
 *
 * jobs, WHAT: `tasks` are 1,000 tasks that each offload one job after the other; `submit` are four tasks that each submit
 * 250 jobs and wait for them all, again and again.
 */
#include <tandem.h>

#include "../measure.h"

#define SUBMITTERS 4
#define BATCH (IN_FLIGHT / SUBMITTERS)

struct work {
    struct call call;
    td_pool *pool;
    bool stop;
    long done;
};

static int empty(void *arg)
{
    (void)arg;
    return 0;
}

static int touch(void *arg)
{
    return work_touch(arg);
}

static int pin_worker(void *arg)
{
    (void)arg;
    pin_to(1);
    return 0;
}

/* Offloads, and says so if that fails. */
static int job(td_pool *pool, td_fn fn, void *arg)
{
    int rc = td_offload(pool, fn, arg);

    if (rc < 0) {
        fprintf(stderr, "a job failed: %s\n", td_strerror(rc));
        exit(1);
    }
    return rc;
}

static void trips(struct work *work)
{
    struct course course = course_begin(work->call.seconds);
    td_time gap = td_us(strtol(work->call.what, NULL, 10));
    double began;

    do {
        if (gap > 0)
            td_sleep(gap);
        began = now_ns();
        job(work->pool, empty, NULL);
    } while (course_add(&course, began, now_ns()));
    print_trips(&course);
}

static int feeder(void *arg)
{
    struct work *work = arg;

    while (!work->stop) {
        job(work->pool, empty, NULL);
        work->done++;
    }
    return 0;
}

static void submit_batch(struct work *work, td_job *batch)
{
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < BATCH; i++)
        if (td_submit(&scope, &batch[i], work->pool, empty, NULL, NULL) < 0)
            exit(1);
    if (td_scope_join(&scope) < 0)
        exit(1);
    work->done += BATCH;
}

static int submitter(void *arg)
{
    struct work *work = arg;
    td_job *batch = malloc(BATCH * sizeof *batch);

    if (!batch)
        exit(1);
    while (!work->stop)
        submit_batch(work, batch);
    free(batch);
    return 0;
}

/* The feeders are at it when this begins to count, a fifth of the time later. */
static void count_jobs(struct work *work, td_fn feed, int feeders)
{
    double began, cpu;
    long before;
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < feeders; i++)
        if (td_spawn(&scope, feed, work) < 0)
            exit(1);
    td_sleep(td_us((int64_t)(work->call.seconds * 2e5)));
    cpu = tree_cpu_ns();
    before = work->done;
    began = now_ns();
    td_sleep(td_us((int64_t)(work->call.seconds * 8e5)));
    print_jobs((double)(work->done - before), began, cpu);
    work->stop = true;
    td_scope_join(&scope);
}

static void jobs(struct work *work)
{
    if (is(work->call.what, "submit"))
        count_jobs(work, submitter, SUBMITTERS);
    else
        count_jobs(work, feeder, IN_FLIGHT);
}

struct pile {
    uint64_t sum;
    _Alignas(64) char data[];
};

static int sum(void *arg)
{
    struct pile *pile = arg;

    pile->sum = work_sum(pile->data, BYTES);
    return 0;
}

static void sums(struct work *work)
{
    struct course course = course_begin(work->call.seconds);
    struct pile *pile = td_shared_alloc(sizeof *pile + BYTES);
    double began, ended;
    int byte = 0;

    if (!pile)
        exit(1);
    do {
        memset(pile->data, ++byte & 0xff, BYTES);
        began = now_ns();
        job(work->pool, sum, pile);
        ended = now_ns();
        check_sum(pile->sum, byte & 0xff, BYTES);
    } while (course_add(&course, began, ended));
    td_shared_free(pile);
    print_sums(&course);
}

static void hand_over(struct work *work, size_t size, double seconds)
{
    struct course course = course_begin(seconds);
    unsigned char *block = td_shared_alloc(size);
    double began;
    int byte = 0;

    if (!block)
        exit(1);
    memset(block, 1, size);
    do {
        block[0] = (unsigned char)++byte;
        began = now_ns();
        if (job(work->pool, touch, block) != (byte & 0xff))
            exit(1);
    } while (course_add(&course, began, now_ns()));
    td_shared_free(block);
    print_hand(&course, size);
}

static void hands(struct work *work)
{
    size_t sizes[] = SIZES;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        hand_over(work, sizes[i], work->call.seconds / 5);
}

static int all(void *arg)
{
    struct work *work = arg;
    struct call *call = &work->call;
    td_pool_opts opts = {.kind = is(call->kind, "threads") ? TD_THREADS : TD_PROCESSES, .workers = call->workers,
                         .queue = IN_FLIGHT, .name = "bench"};
    int rc = td_pool_open(&work->pool, &opts);

    if (rc < 0)
        return rc;
    if (call->pin && call->workers == 1)
        job(work->pool, pin_worker, NULL);
    (is(call->measure, "trip") ? trips : is(call->measure, "jobs") ? jobs : is(call->measure, "sum") ? sums : hands)(work);
    return td_pool_close(work->pool);
}

int main(int argc, char **argv)
{
    struct work work = {.call = call_of(argc, argv)};

    if (work.call.pin)
        pin_to(0);
    return td_run_with(&(td_opts){.stall_after = TD_FOREVER}, all, &work) < 0;
}
