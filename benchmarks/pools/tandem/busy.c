/* SPDX-License-Identifier: MIT */
/*
 * ticker|beats|crash threads|processes|inline WORKERS SECONDS WHAT PIN: what else is late, or fails, because of a pool's jobs.
 * With `inline` the computations are tasks of the loop itself.
 */
#include <tandem.h>

#include "../measure.h"

struct work {
    struct call call;
    td_pool *pool;          /* NULL: inline */
    double *seconds;        /* a computation's, in shared memory */
    double until;
    double *late;
    long count, max;
};

struct beater {
    struct work *work;
    double first;
};

static int empty(void *arg)
{
    (void)arg;
    return 0;
}

static int burn(void *arg)
{
    work_burn(*(double *)arg);
    return 0;
}

static int compute(void *arg)
{
    struct work *work = arg;

    return work->pool ? td_offload(work->pool, burn, work->seconds) : burn(work->seconds);
}

static void note(struct work *work, double lateness)
{
    if (work->count < work->max)
        work->late[work->count++] = lateness;
}

/* Wakes up each `period`, and notes how late that is. What was missed meanwhile is late too. */
static void beat(struct work *work, double first, double period)
{
    for (double next = first; next < work->until; next += period) {
        td_sleep((td_time)(next - now_ns()));
        note(work, now_ns() - next);
    }
}

static int beater(void *arg)
{
    struct beater *beater = arg;

    beat(beater->work, beater->first, BEAT_NS);
    return 0;
}

static void beside(struct work *work, td_scope *scope, unsigned computations)
{
    for (unsigned i = 0; i < computations; i++)
        if (td_spawn(scope, compute, work) < 0)
            exit(1);
    work->until = now_ns() + work->call.seconds * 1e9;
}

static void ticker(struct work *work)
{
    double began;
    td_scope scope;

    td_scope_open(&scope);
    beside(work, &scope, COMPUTATIONS);
    began = now_ns();
    beat(work, began + 1e6, 1e6);
    td_scope_join(&scope);
}

/* The beats are spread over the 100 ms, in the order in which the tasks were started. */
static void beats(struct work *work)
{
    struct beater beaters[BEATERS];
    double began = now_ns() + 1e8;
    td_scope scope;

    td_scope_open(&scope);
    work->until = began + work->call.seconds * 1e9;
    for (int i = 0; i < BEATERS; i++) {
        beaters[i] = (struct beater){work, began + i * BEAT_NS / BEATERS};
        if (td_spawn(&scope, beater, &beaters[i]) < 0)
            exit(1);
    }
    td_sleep((td_time)(began - now_ns()));
    beside(work, &scope, work->call.workers);
    td_scope_join(&scope);
}

static int crash(void *arg)
{
    (void)arg;
    work_crash();
    return 0;
}

struct bystander {
    struct work *work;
    int rc;
};

static int stand_by(void *arg)
{
    struct bystander *bystander = arg;

    bystander->rc = td_offload(bystander->work->pool, burn, bystander->work->seconds);
    return 0;
}

static double crash_once(struct work *work, int *lost)
{
    struct bystander bystander = {.work = work};
    double began;
    td_scope scope;

    td_scope_open(&scope);
    if (td_spawn(&scope, stand_by, &bystander) < 0)
        exit(1);
    td_sleep(td_ms(10));
    began = now_ns();
    if (td_offload(work->pool, crash, NULL) != -EOWNERDEAD)
        exit(1);
    began = now_ns() - began;
    td_scope_join(&scope);
    *lost += bystander.rc < 0;
    return began;
}

static void crashes(struct work *work)
{
    int lost = 0, usable = 0;

    for (; work->count < CRASHES; work->count++) {
        *work->seconds = 0.02;
        work->late[work->count] = crash_once(work, &lost);
        usable += td_offload(work->pool, empty, NULL) == 0;
        td_sleep(td_ms(30));
    }
    printf("p50_ms %.3f\n", percentile(work->late, CRASHES, 50) / 1e6);
    printf("max_ms %.3f\nlost %d\nusable %d\n", percentile(work->late, CRASHES, 100) / 1e6, lost, usable == CRASHES);
}

static int all(void *arg)
{
    struct work *work = arg;
    struct call *call = &work->call;
    td_pool_opts opts = {.kind = is(call->kind, "threads") ? TD_THREADS : TD_PROCESSES, .workers = call->workers,
                         .name = "bench"};
    int rc = is(call->kind, "inline") ? 0 : td_pool_open(&work->pool, &opts);

    work->seconds = td_shared_alloc(sizeof *work->seconds);
    if (rc < 0 || !work->seconds)
        return rc < 0 ? rc : -ENOMEM;
    *work->seconds = call->seconds;
    for (unsigned i = 0; work->pool && i < 2 * call->workers; i++)
        td_offload(work->pool, empty, NULL);  /* its workers are up */
    (is(call->measure, "ticker") ? ticker : is(call->measure, "beats") ? beats : crashes)(work);
    if (!is(call->measure, "crash"))
        print_late(work->late, work->count);
    td_shared_free(work->seconds);
    return work->pool ? td_pool_close(work->pool) : 0;
}

int main(int argc, char **argv)
{
    struct work work = {.call = call_of(argc, argv), .max = SAMPLES_MAX};
    int rc;

    if (work.call.pin)
        pin_to(0);
    work.late = malloc(SAMPLES_MAX * sizeof *work.late);
    if (!work.late)
        return 1;
    rc = td_run_with(&(td_opts){.stall_after = TD_FOREVER}, all, &work);
    free(work.late);
    return rc < 0;
}
