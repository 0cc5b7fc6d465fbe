/* SPDX-License-Identifier: MIT */
/* Threads that stay in a job past its deadline: as many as was said are left behind, and their callers are told in time. */
#include "pool/jobs.h"

#define SOON td_ms(20)

/* Which gate the jobs without argument stay in; threads of a pool learn it from its init. */
static _Thread_local struct gate *own_gate;

static int know_gate(void *arg)
{
    own_gate = arg;
    return 0;
}

static int stay_without_argument(void *arg)
{
    return stay_in_gate(own_gate);
}

/* Submits a job that stays in the gate, and waits until its caller was told that its deadline has passed. */
static void leave_behind(struct world *w, td_fn fn, void *arg)
{
    struct call call = {w->pool, fn, arg, {.deadline = SOON}};

    for (int i = 0; i < 100; i++) {  /* on a slow machine it may have passed before the job began */
        int entered = atomic_load(&w->gate->entered);

        submit(&call);
        expect_int(call.rc, -ETIMEDOUT);
        if (atomic_load(&w->gate->entered) > entered)
            return;
    }
    expect(!"the job never began");
}

STORY(a_stuck_jobs_caller_is_told_and_others_are_served)
{
    struct world w;
    struct gate *other;
    unsigned long long timeouts;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .stuck_max = 1});
    other = new_gate();
    leave_behind(&w, stay_in_gate, w.gate);
    expect_int(atomic_load(&w.gate->left), 0);
    expect_int(stats_of(&w).stuck, 1);
    for (int i = 0; i < 10; i++)
        expect_int(td_offload(w.pool, pass_gate, other), 0);  /* by another thread */
    timeouts = stats_of(&w).timeout;
    open_gate(&w);
    eventually(stats_of(&w).stuck == 0);
    expect_int(atomic_load(&w.gate->left), 1);
    expect_int((long long)stats_of(&w).timeout, (long long)timeouts);  /* it was counted, once */
    expect_int((long long)stats_of(&w).ok, 10);
    expect_accounted(&w, timeouts + 10);
    eventually(stats_of(&w).workers == 1);
    for (int i = 0; i < 10; i++)
        expect_int(td_offload(w.pool, pass_gate, other), 0);
    td_shared_free(other);
    world_close(&w);
    return 0;
}

STORY(a_job_without_argument_may_be_left_behind_too)
{
    struct world w;
    struct gate *gate = new_gate();

    world_open(&w, arg, (td_pool_opts){.workers = 1, .stuck_max = 1, .worker_init = know_gate, .worker_arg = gate});
    td_shared_free(w.gate);
    w.gate = gate;
    leave_behind(&w, stay_without_argument, NULL);
    expect_int(stats_of(&w).stuck, 1);
    expect_int(atomic_load(&gate->left), 0);
    expect_int(td_offload(w.pool, no_task, NULL), 0);
    open_gate(&w);
    eventually(stats_of(&w).stuck == 0);
    world_close(&w);
    return 0;
}

static int open_later(void *arg)
{
    td_sleep(3 * SOON);
    atomic_store(&((struct gate *)arg)->open, true);
    return 0;
}

STORY(a_job_in_private_memory_keeps_its_caller)
{
    struct world w;
    struct gate private = {0};
    struct call call;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .stuck_max = 1});
    td_offload(w.pool, no_task, NULL);
    td_scope_open(&scope);
    call = (struct call){w.pool, stay_in_gate, &private, {.deadline = SOON}, .rc = 1};
    td_spawn(&scope, submit, &call);
    eventually(atomic_load(&private.entered) == 1 || call.ends);
    td_spawn(&scope, open_later, &private);
    if (atomic_load(&private.entered) == 1) {
        td_sleep(2 * SOON);
        expect(call.ends == 0 || atomic_load(&private.left) == 1);
        expect_int(stats_of(&w).stuck, 0);
    }
    expect_int(td_scope_join(&scope), 0);
    expect_int(call.rc, -ETIMEDOUT);
    expect_int(atomic_load(&private.left), atomic_load(&private.entered));
    world_close(&w);
    return 0;
}

STORY(not_more_are_left_behind_than_was_said)
{
    struct world w;
    struct gate *second = new_gate();
    struct call call;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .stuck_max = 1});
    leave_behind(&w, stay_in_gate, w.gate);
    td_scope_open(&scope);
    for (int i = 0; i < 100 && atomic_load(&second->entered) == 0; i++) {
        call = (struct call){w.pool, stay_in_gate, second, {.deadline = SOON}, .rc = 1};
        td_spawn(&scope, submit, &call);
        eventually(call.ends == 1 || atomic_load(&second->entered) == 1);
    }
    td_sleep(2 * SOON);
    expect_int(stats_of(&w).stuck, 1);
    expect_int(call.ends, 0);  /* the next one waits */
    atomic_store(&second->open, true);
    expect_int(td_scope_join(&scope), 0);
    expect_int(call.rc, -ETIMEDOUT);
    expect_int(stats_of(&w).stuck, 1);
    expect_int(td_offload(w.pool, no_task, NULL), 0);
    open_gate(&w);
    eventually(stats_of(&w).stuck == 0);
    td_shared_free(second);
    world_close(&w);
    return 0;
}

STORY(several_are_left_behind_when_it_was_said)
{
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 2, .stuck_max = 3});
    for (unsigned i = 1; i <= 3; i++) {
        leave_behind(&w, stay_in_gate, w.gate);
        expect_int(stats_of(&w).stuck, i);
        expect_int(td_offload(w.pool, no_task, NULL), 0);
    }
    open_gate(&w);
    eventually(stats_of(&w).stuck == 0 && stats_of(&w).workers == 2);
    expect_int(atomic_load(&w.gate->left), 3);
    world_close(&w);
    return 0;
}

struct closer {
    struct world *w;
    int rc, ends;
};

static int close_it(void *arg)
{
    struct closer *closer = arg;

    closer->rc = td_pool_close(closer->w->pool);
    closer->ends++;
    return 0;
}

static void close_with_a_stuck_one(void **state, bool hastily)
{
    struct world w;
    struct closer closer = {&w, 1, 0};
    td_handle task;
    td_scope scope;

    world_open(&w, state, (td_pool_opts){.workers = 1, .stuck_max = 1});
    leave_behind(&w, stay_in_gate, w.gate);
    td_scope_open(&scope);
    td_spawn_with(&scope, &(td_spawn_opts){.handle = &task}, close_it, &closer);
    settle();
    if (hastily)
        td_cancel(task);
    settle();
    td_sleep(td_ms(2));
    expect_int(closer.ends, 0);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(closer.ends, 1);
    expect(closer.rc == 0 || (hastily && closer.rc == -ECANCELED));
    expect_int(atomic_load(&w.gate->left), 1);
    td_shared_free(w.gate);
    expect_nothing_left();
}

STORY(a_close_waits_for_those_left_behind)
{
    close_with_a_stuck_one(arg, false);
    close_with_a_stuck_one(arg, true);
    return 0;
}

/* A page that the program frees while a stuck job still reads it. */
struct page {
    struct gate *gate;
    _Atomic int *verdict;
    unsigned char ink[20000];
};

static int read_late(void *arg)
{
    struct page *page = arg;
    _Atomic int *verdict = page->verdict;
    bool same = true;

    stay_in_gate(page->gate);
    for (size_t i = 0; i < sizeof page->ink; i++)
        same = same && page->ink[i] == 0x5A;
    memset(page->ink, 0xFF, sizeof page->ink);  /* nobody else may notice */
    atomic_store(verdict, same ? 1 : -1);
    return 0;
}

STORY(what_a_stuck_job_holds_is_kept_for_it)
{
    struct world w;
    _Atomic int *verdict = td_shared_calloc(1, sizeof *verdict);
    struct page *page = td_shared_alloc(sizeof *page);
    unsigned char *others[16];
    td_shared_stats arena;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .stuck_max = 1});
    memset(page->ink, 0x5A, sizeof page->ink);
    page->gate = w.gate;
    page->verdict = verdict;
    leave_behind(&w, read_late, page);
    td_shared_free(page);
    td_shared_statistics(&arena);
    expect_int((long long)arena.quarantined_blocks, 1);
    expect(arena.quarantined_bytes >= sizeof *page);
    expect_int((long long)stats_of(&w).arena_quarantined_bytes, (long long)arena.quarantined_bytes);
    for (size_t i = 0; i < COUNT(others); i++) {
        others[i] = td_shared_alloc(sizeof *page);
        memset(others[i], 0x11, sizeof *page);
    }
    open_gate(&w);
    eventually(atomic_load(verdict) != 0);
    expect_int(atomic_load(verdict), 1);
    eventually(stats_of(&w).arena_quarantined_bytes == 0);
    for (size_t i = 0; i < COUNT(others); i++) {
        expect(others[i][sizeof(struct page) - 1] == 0x11 && others[i][sizeof(struct page) / 2] == 0x11);
        td_shared_free(others[i]);
    }
    td_shared_free((void *)verdict);
    world_close(&w);
    return 0;
}

STORY(a_submitted_job_may_be_left_behind)
{
    struct world w;
    struct handed job;
    void *output = &w;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .stuck_max = 1});
    td_offload(w.pool, no_task, NULL);
    td_scope_open(&scope);
    expect_int(hand(&w, &scope, &job, stay_in_gate, w.gate,
                    (td_offload_opts){.deadline = td_ms(200), .output_bytes = 1000, .output = &output}), 0);
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    expect_int(atomic_load(&w.gate->left), 0);
    expect(output == NULL);
    memset(&job, 0xA5, sizeof job);  /* the caller's again */
    expect_int(td_offload(w.pool, no_task, NULL), 0);
    open_gate(&w);
    eventually(stats_of(&w).stuck == 0);
    expect_accounted(&w, 3);
    world_close(&w);
    return 0;
}

struct step {
    struct gate *gate;
    int number;
};

static int step_on(void *arg)
{
    struct step *step = arg;

    stay_in_gate(step->gate);
    return step->number;
}

static int open_much_later(void *arg)
{
    td_sleep(10 * SOON);
    atomic_store(&((struct gate *)arg)->open, true);
    return 0;
}

/* What a map's results lie in is the caller's again when the map has returned, whoever was left behind in it. */
static void map_and_leave(void **state, bool private)
{
    struct world w;
    td_scope scope;
    struct step *step = td_shared_calloc(1, sizeof *step);
    int own, *result = private ? &own : td_shared_calloc(1, sizeof *result), *other;

    world_open(&w, state, (td_pool_opts){.workers = 1, .stuck_max = 1});
    td_scope_open(&scope);
    *step = (struct step){w.gate, 5};
    td_spawn(&scope, open_much_later, w.gate);  /* a map that does not leave it behind is right, too */
    for (int i = 0; i < 100 && atomic_load(&w.gate->entered) == 0; i++)
        expect_int(td_pool_map_with(w.pool, step_on, step, 1, sizeof *step,
                                    &(td_map_opts){.deadline = SOON, .collect = true, .results = result}), -ETIMEDOUT);
    if (!private)
        td_shared_free(result);
    other = private ? result : td_shared_alloc(sizeof *other);  /* the same block, unless it is kept for the job */
    *other = 4711;
    open_gate(&w);
    eventually(stats_of(&w).stuck == 0);
    expect_int(atomic_load(&w.gate->left), atomic_load(&w.gate->entered));
    expect_int(*other, 4711);
    expect_int(td_scope_join(&scope), 0);
    if (!private)
        td_shared_free(other);
    td_shared_free(step);
    world_close(&w);
}

STORY(who_is_left_behind_in_a_map_writes_no_results)
{
    map_and_leave(arg, true);
    map_and_leave(arg, false);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_THREADS(a_stuck_jobs_caller_is_told_and_others_are_served),
        WITH_THREADS(a_job_without_argument_may_be_left_behind_too), WITH_THREADS(a_job_in_private_memory_keeps_its_caller),
        WITH_THREADS(not_more_are_left_behind_than_was_said), WITH_THREADS(several_are_left_behind_when_it_was_said),
        WITH_THREADS(a_close_waits_for_those_left_behind), WITH_THREADS(what_a_stuck_job_holds_is_kept_for_it),
        WITH_THREADS(a_submitted_job_may_be_left_behind), WITH_THREADS(who_is_left_behind_in_a_map_writes_no_results),
    };

    return cmocka_run_group_tests_name("pool stuck", tests, NULL, NULL);
}
