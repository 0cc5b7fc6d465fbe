/* SPDX-License-Identifier: MIT */
/* What runs first and last in each worker: a library to load, a model to read, a connection to close. */
#include "pool/jobs.h"

#define WORKERS_KNOWN 40

/* In shared memory: the threads and processes that were made ready, and what the jobs and exits saw. */
struct registry {
    struct gate gate;
    _Atomic int inits, exits, unready, strangers, failing, nested;
    _Atomic int ready[WORKERS_KNOWN];
    td_pool *_Atomic pool;
};

static int known(struct registry *registry)
{
    int count = 0;

    for (int i = 0; i < WORKERS_KNOWN; i++)
        count += atomic_load(&registry->ready[i]) == gettid();
    return count;
}

/* The first of them may come before anybody could tell which pool it is; the answer is the same. */
static int sign_in(void *arg)
{
    struct registry *registry = arg;
    size_t size;

    if (atomic_load(&registry->failing))
        return atomic_fetch_add(&registry->unready, 1), -ENODATA;
    if (!td_in_job() || td_job_cancelled() || td_job_output(&size))
        atomic_fetch_add(&registry->strangers, 1);
    if (td_offload(registry->pool, no_task, NULL) == -EDEADLK)
        atomic_fetch_add(&registry->nested, 1);
    atomic_store(&registry->ready[atomic_fetch_add(&registry->inits, 1) % WORKERS_KNOWN], gettid());
    return 0;
}

static void sign_out(void *arg)
{
    struct registry *registry = arg;

    if (known(registry) != 1)
        atomic_fetch_add(&registry->strangers, 1);
    atomic_fetch_add(&registry->exits, 1);
}

/* A job that looks whether its worker was made ready, once. */
static int look_around(void *arg)
{
    struct registry *registry = arg;

    if (known(registry) != 1)
        atomic_fetch_add(&registry->strangers, 1);
    return 0;
}

static int stay_and_look(void *arg)
{
    struct registry *registry = arg;

    look_around(arg);
    return stay_in_gate(&registry->gate);
}

static struct registry *world_open_with_init(struct world *w, void **state, td_pool_opts opts, bool failing)
{
    struct registry *registry = td_shared_calloc(1, sizeof *registry);

    atomic_store(&registry->failing, failing);
    opts.worker_init = sign_in;
    opts.worker_exit = sign_out;
    opts.worker_arg = registry;
    world_open(w, state, opts);
    registry->pool = w->pool;
    return registry;
}

static void close_with_init(struct world *w, struct registry *registry)
{
    expect_int(td_pool_close(w->pool), 0);
    expect_int(atomic_load(&registry->strangers), 0);
    td_shared_free(registry);
    td_shared_free(w->gate);
    expect_nothing_left();
}

STORY(each_worker_is_made_ready_once_before_any_job)
{
    struct world w;
    struct registry *registry = world_open_with_init(&w, arg, (td_pool_opts){.workers = 3}, false);
    struct handed jobs[3];
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < 3; i++)
        hand(&w, &scope, &jobs[i], stay_and_look, registry, AS_THE_POOL);
    eventually(atomic_load(&registry->gate.entered) == 3);
    atomic_store(&registry->gate.open, true);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 60; i++)
        expect_int(td_offload(w.pool, look_around, registry), 0);
    expect_int(atomic_load(&registry->inits), 3);
    expect_int(atomic_load(&registry->exits), 0);
    expect_int(td_pool_close(w.pool), 0);
    expect_int(atomic_load(&registry->exits), 3);  /* in peace */
    expect_int(atomic_load(&registry->strangers), 0);
    td_shared_free(registry);
    td_shared_free(w.gate);
    expect_nothing_left();
    return 0;
}

STORY(an_init_may_not_submit)
{
    struct world w;
    struct registry *registry = world_open_with_init(&w, arg, (td_pool_opts){.workers = 1}, false);

    expect_int(td_offload(w.pool, look_around, registry), 0);
    expect_int(atomic_load(&registry->nested), atomic_load(&registry->inits));
    close_with_init(&w, registry);
    return 0;
}

STORY(a_replacement_is_made_ready_too)
{
    struct world w;
    struct registry *registry = world_open_with_init(&w, arg, (td_pool_opts){.workers = 1}, false);

    for (int i = 1; i <= 3; i++) {
        expect_int(td_offload(w.pool, look_around, registry), 0);
        expect_int(atomic_load(&registry->inits), i);
        expect_int(td_offload(w.pool, drop_dead, NULL), -EOWNERDEAD);
    }
    expect_int(td_offload(w.pool, look_around, registry), 0);
    expect_int(atomic_load(&registry->exits), 0);  /* nothing runs in a corpse */
    close_with_init(&w, registry);
    return 0;
}

/* Jobs wait, or are told; and when the workers can be made ready at last, all is as it should be. */
static int stop_the_first(void *arg)
{
    if (atomic_fetch_add((_Atomic int *)arg, 1) == 0)
        raise(SIGSTOP);
    return 0;
}

STORY(who_is_stopped_before_it_is_ready_is_replaced)
{
    _Atomic int *births = td_shared_calloc(1, sizeof *births);
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .worker_init = stop_the_first, .worker_arg = (void *)births});
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    expect_int(atomic_load(births), 2);
    td_shared_free((void *)births);  /* its one worker is up, and it was the last to look there */
    world_close(&w);
    return 0;
}

STORY(a_failing_init_holds_the_jobs_until_it_succeeds)
{
    struct world w;
    struct registry *registry = world_open_with_init(&w, arg, (td_pool_opts){.workers = 2}, true);
    struct handed jobs[3];
    td_scope scope;
    int rc;

    td_scope_open(&scope);
    td_scope_collect(&scope);
    for (int i = 0; i < 3; i++)
        expect_int(hand(&w, &scope, &jobs[i], look_around, registry, AS_THE_POOL), 0);
    eventually(atomic_load(&registry->unready) >= 2);
    expect_int(atomic_load(&registry->inits), 0);
    expect_int((long long)stats_of(&w).ok, 0);
    atomic_store(&registry->failing, false);
    for (int i = 0; i < 3; i++) {
        rc = td_job_wait(&jobs[i].job);
        expect(rc == 0 || (rc == -EOWNERDEAD && jobs[i].report.refusal == TD_REFUSED_BROKEN));
    }
    expect_int(td_scope_join(&scope), 0);
    eventually(td_offload(w.pool, look_around, registry) == 0);
    expect(atomic_load(&registry->inits) >= 1);
    close_with_init(&w, registry);
    return 0;
}

STORY(a_job_that_waits_for_a_failing_init_has_its_deadline)
{
    struct world w;
    struct registry *registry = world_open_with_init(&w, arg, (td_pool_opts){.workers = 1}, true);
    td_job_report report;
    int rc;

    rc = td_offload_with(w.pool, look_around, registry, &(td_offload_opts){.deadline = td_ms(20), .report = &report});
    expect(rc == -ETIMEDOUT || (rc == -EOWNERDEAD && report.refusal == TD_REFUSED_BROKEN));
    expect_int(report.ran_ns, 0);
    close_with_init(&w, registry);
    return 0;
}

static int close_in_task(void *arg)
{
    struct world *w = arg;

    expect_int(td_pool_close(w->pool), -ECANCELED);
    return 0;
}

STORY(a_pool_that_never_was_ready_can_be_closed)
{
    struct world w;
    struct registry *registry = world_open_with_init(&w, arg, (td_pool_opts){.workers = 1}, true);
    struct handed job;
    td_scope scope, haste;

    td_scope_open(&scope);
    td_scope_collect(&scope);
    hand(&w, &scope, &job, look_around, registry, AS_THE_POOL);
    eventually(atomic_load(&registry->unready) >= 1);
    td_scope_open(&haste);
    td_spawn(&haste, close_in_task, &w);
    settle();
    td_scope_cancel(&haste);
    expect_int(td_scope_join(&haste), 0);
    expect_int(td_job_wait(&job.job), -ECANCELED);
    expect_int(td_scope_join(&scope), 0);
    expect_int(atomic_load(&registry->inits), 0);
    td_shared_free(registry);
    td_shared_free(w.gate);
    expect_nothing_left();
    return 0;
}

STORY(private_memory_is_for_threads)
{
    struct registry registry = {0};
    td_pool_opts opts = {.kind = kind_of(arg), .workers = 1, .worker_init = sign_in, .worker_arg = &registry};
    td_pool *pool;

    if (kind_of(arg) == TD_PROCESSES) {
        expect_int(td_pool_open(&pool, &opts), -EFAULT);
        expect_int(td_pool_open(&pool, &(td_pool_opts){.kind = TD_PROCESSES, .workers = 1, .worker_exit = sign_out,
                                                       .worker_arg = &registry}), -EFAULT);
        return 0;
    }
    expect_int(td_pool_open(&pool, &opts), 0);
    registry.pool = pool;
    expect_int(td_offload(pool, look_around, &registry), 0);
    expect_int(atomic_load(&registry.inits), 1);
    expect_int(atomic_load(&registry.strangers), 0);
    expect_int(td_pool_close(pool), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(each_worker_is_made_ready_once_before_any_job), ON_ALL(an_init_may_not_submit),
        WITH_PROCESSES(a_replacement_is_made_ready_too), WITH_PROCESSES(who_is_stopped_before_it_is_ready_is_replaced),
        ON_ALL(a_failing_init_holds_the_jobs_until_it_succeeds),
        ON_ALL(a_job_that_waits_for_a_failing_init_has_its_deadline), ON_ALL(a_pool_that_never_was_ready_can_be_closed),
        ON_ALL(private_memory_is_for_threads),
    };

    return cmocka_run_group_tests_name("pool init", tests, NULL, NULL);
}
