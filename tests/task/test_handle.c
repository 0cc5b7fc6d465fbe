/* SPDX-License-Identifier: MIT */
/* Handles: who a task is, whether it is alive, and cancelling one task and no other. */
#include <poll.h>

#include "task/waits.h"

#define FAR_OFF td_sec(1000)
#define REUSES 3000

static int in_virtual_time(void **state, td_fn fn, void *arg)
{
    return run_with(state, (td_opts){.virtual_time = true}, fn, arg);
}

static bool same(td_handle a, td_handle b)
{
    return a.task == b.task && a.id == b.id;
}

static td_handle spawn(td_scope *scope, td_fn fn, void *arg, int *result)
{
    td_handle handle = {NULL, 0};
    td_spawn_opts opts = {.result = result, .handle = &handle};

    expect_int(td_spawn_with(scope, &opts, fn, arg), 0);
    return handle;
}

static int tell(void *arg)
{
    td_handle *self = arg;

    *self = td_self();
    expect(td_alive(*self));
    td_yield();
    expect(same(*self, td_self()));  /* it stays the same */
    return 0;
}

static int know_thyself(void *arg)
{
    td_handle told[3], given[3], self = td_self();
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < 3; i++) {
        given[i] = spawn(&scope, tell, &told[i], NULL);
        expect(td_alive(given[i]));  /* before it has begun */
    }
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 3; i++) {
        expect(same(told[i], given[i]));
        expect(!same(told[i], told[(i + 1) % 3]));
        expect(!same(told[i], self));
        expect(!td_alive(told[i]));
        expect_int(td_cancel(told[i]), -ESRCH);
    }
    expect(same(self, td_self()));
    expect(td_alive(self));
    return 0;
}

static void a_handle_is_its_task_while_it_lives(void **state)
{
    assert_int_equal(in_virtual_time(state, know_thyself, NULL), 0);
}

static int sleep_on(void *arg)
{
    return td_sleep(td_ms(1));
}

static int reuse_slots(void *arg)
{
    td_handle first, handle, old[16];
    int result, reused = 0;
    td_scope scope;

    td_scope_open(&scope);
    first = handle = spawn(&scope, sleep_on, NULL, NULL);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 16; i++)
        old[i] = first;
    for (int i = 0; i < REUSES; i++) {
        td_scope_open(&scope);
        handle = spawn(&scope, sleep_on, NULL, &result);
        reused += handle.task == first.task;
        expect(!td_alive(first) && !td_alive(old[i % 16]));
        expect_int(td_cancel(first), -ESRCH);
        expect_int(td_cancel(old[i % 16]), -ESRCH);
        td_yield();
        expect_int(td_cancel(old[(i + 15) % 16]), -ESRCH);
        expect(td_alive(handle));
        old[i % 16] = handle;
        expect_int(td_scope_join(&scope), 0);
        expect_int(result, 0);  /* the one who has the slot now is not the one who was meant */
    }
    expect(reused > REUSES / 2);
    return 0;
}

static void a_stale_handle_means_nobody(void **state)
{
    assert_int_equal(in_virtual_time(state, reuse_slots, NULL), 0);
}

struct brood {
    td_event never;
    int inner_rc[3], join_rc[2];
    bool done;
};

static int sleep_into(void *arg)
{
    return *(int *)arg = td_sleep(FAR_OFF);
}

static int nest(void *arg)
{
    struct brood *brood = arg;
    td_scope outer, inner;

    td_scope_open(&outer);
    td_spawn(&outer, sleep_into, &brood->inner_rc[0]);
    td_scope_open(&inner);
    td_spawn(&inner, sleep_into, &brood->inner_rc[1]);
    td_spawn(&inner, sleep_into, &brood->inner_rc[2]);
    expect_int(td_event_wait(&brood->never), -ECANCELED);
    expect(td_scope_cancelled(&inner) && td_scope_cancelled(&outer));
    brood->join_rc[0] = td_scope_join(&inner);
    brood->join_rc[1] = td_scope_join(&outer);
    expect_int(td_yield(), -ECANCELED);  /* without a scope, too: a level, not an edge */
    expect_int(td_sleep(1), -ECANCELED);
    brood->done = true;
    return -ECANCELED;
}

static int cancel_one(void *arg)
{
    struct brood brood = {.done = false}, sibling = {.done = false};
    int result = 99, sibling_result = 99;
    td_handle one, other;
    td_scope scope;

    td_event_init(&brood.never);
    td_event_init(&sibling.never);
    td_scope_open(&scope);
    one = spawn(&scope, nest, &brood, &result);
    other = spawn(&scope, sleep_on, NULL, &sibling_result);
    settle();
    expect_int(td_cancel(one), 0);
    expect_int(td_cancel(one), 0);  /* harmless when repeated */
    expect(td_alive(one));
    expect(!td_scope_cancelled(&scope));
    expect_int(td_sleep(td_us(500)), 0);
    expect(!td_alive(one) && td_alive(other));
    expect_int(td_scope_join(&scope), 0);  /* its -ECANCELED is no failure */
    expect_int((long long)td_scope_failures(&scope), 0);
    expect_int(result, -ECANCELED);
    expect_int(sibling_result, 0);
    for (int i = 0; i < 3; i++)
        expect_int(brood.inner_rc[i], -ECANCELED);
    expect_int(brood.join_rc[0], -ECANCELED);
    expect_int(brood.join_rc[1], -ECANCELED);
    expect(brood.done);
    return 0;
}

static void one_task_and_its_scopes_are_cancelled(void **state)
{
    assert_int_equal(in_virtual_time(state, cancel_one, NULL), 0);
}

static int fail_when_cancelled(void *arg)
{
    return td_sleep(FAR_OFF) == -ECANCELED ? -EIO : 0;
}

static int cancel_one_that_fails(void *arg)
{
    int sibling = 99;
    td_handle one;
    td_scope scope;

    td_scope_open(&scope);
    one = spawn(&scope, fail_when_cancelled, NULL, NULL);
    td_spawn(&scope, sleep_into, &sibling);
    settle();
    expect_int(td_cancel(one), 0);
    expect_int(td_scope_join(&scope), -EIO);
    expect_int((long long)td_scope_failures(&scope), 1);
    expect_int(sibling, -ECANCELED);
    return 0;
}

static void another_error_of_a_cancelled_task_is_a_failure(void **state)
{
    assert_int_equal(in_virtual_time(state, cancel_one_that_fails, NULL), 0);
}

static int cancel_oneself(void *arg)
{
    td_scope scope;

    expect_int(td_cancel(td_self()), 0);
    expect_int(td_yield(), -ECANCELED);
    td_scope_open(&scope);
    expect(td_sleep(FAR_OFF) == -ECANCELED);
    expect_int(td_spawn(&scope, sleep_into, arg), 0);
    expect_int(td_scope_join(&scope), -ECANCELED);
    return td_sleep(FAR_OFF);
}

static int spawn_self_canceller(void *arg)
{
    int inner = 99, result = 99;
    td_scope scope;

    td_scope_open(&scope);
    spawn(&scope, cancel_oneself, &inner, &result);
    expect_int(td_scope_join(&scope), 0);
    expect_int(inner, -ECANCELED);
    expect_int(result, -ECANCELED);
    expect_int(td_yield(), 0);
    return 0;
}

static void a_task_may_cancel_itself(void **state)
{
    assert_int_equal(in_virtual_time(state, spawn_self_canceller, NULL), 0);
}

static int note_and_sleep(void *arg)
{
    *(int *)arg = 1;
    return td_sleep(FAR_OFF);
}

static int cancel_before_it_starts(void *arg)
{
    int began = 0, result = 99;
    td_scope scope;
    td_handle one;

    td_scope_open(&scope);
    one = spawn(&scope, note_and_sleep, &began, &result);
    expect_int(td_cancel(one), 0);
    expect_int(began, 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int(began, 1);  /* it has its say, and its first wait answers */
    expect_int(result, -ECANCELED);
    return 0;
}

static void a_task_is_cancelled_before_it_starts(void **state)
{
    assert_int_equal(in_virtual_time(state, cancel_before_it_starts, NULL), 0);
}

static int close_cleanly(void *arg)
{
    td_time *took = arg, began;
    td_scope shield;

    td_scope_open_shielded(&shield, td_ms(50));
    began = td_now();
    expect_int(td_sleep(td_ms(20)), 0);  /* cancelled meanwhile, and not reached */
    expect(!td_scope_cancelled(&shield));
    expect_int(td_sleep(FAR_OFF), -ECANCELED);
    *took = td_now() - began;
    expect_int(td_scope_join(&shield), -ETIMEDOUT);
    expect_int(td_yield(), -ECANCELED);
    td_scope_open_shielded(&shield, td_ms(50));  /* one that opens later is a shield, too */
    expect_int(td_sleep(td_ms(20)), 0);
    td_scope_join(&shield);
    return td_yield();
}

static int cancel_shielded(void *arg)
{
    td_time took = 0;
    td_scope scope;
    td_handle one;

    td_scope_open(&scope);
    one = spawn(&scope, close_cleanly, &took, NULL);
    expect_int(td_sleep(td_ms(1)), 0);
    expect_int(td_cancel(one), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int(took, td_ms(50));
    return 0;
}

static void a_shield_inside_lasts_its_grace_time(void **state)
{
    assert_int_equal(in_virtual_time(state, cancel_shielded, NULL), 0);
}

/* The shield is around the task and not inside it: who cancels the task is inside, too. */
static int cancel_behind_a_shield(void *arg)
{
    td_time began = td_now();
    int result = 99, other = 99;
    td_scope shield;
    td_handle one;

    td_scope_open_shielded(&shield, td_ms(10));
    one = spawn(&shield, sleep_into, &(int){0}, &result);
    td_spawn(&shield, sleep_on, &other);
    settle();
    expect_int(td_cancel(one), 0);
    expect_int(td_scope_join(&shield), 0);
    expect_int(result, -ECANCELED);
    expect_int(td_now() - began, td_ms(1));
    return 0;
}

static void a_shield_around_does_not_protect(void **state)
{
    assert_int_equal(in_virtual_time(state, cancel_behind_a_shield, NULL), 0);
}

struct late_spawn {
    td_scope *scope;
    int rc;
};

static int spawn_outside(void *arg)
{
    struct late_spawn *late = arg;

    expect_int(td_sleep(FAR_OFF), -ECANCELED);
    expect_int(td_spawn(late->scope, sleep_on, NULL), 0);  /* a sibling and no child */
    return -ECANCELED;
}

static int spawn_siblings_late(void *arg)
{
    td_time began = td_now();
    struct late_spawn late;
    td_scope scope;
    td_handle one;

    td_scope_open(&scope);
    late.scope = &scope;
    one = spawn(&scope, spawn_outside, &late, NULL);
    settle();
    expect_int(td_cancel(one), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int(td_now() - began, td_ms(1));  /* the sibling slept undisturbed */
    return 0;
}

static void what_it_spawns_outside_its_scopes_goes_on(void **state)
{
    assert_int_equal(in_virtual_time(state, spawn_siblings_late, NULL), 0);
}

static int cancel_grandparent(void *arg)
{
    expect_int(td_cancel(*(td_handle *)arg), 0);
    return td_sleep(FAR_OFF);  /* it is inside itself */
}

static int open_and_join(void *arg)
{
    td_handle self = td_self();
    int result = 99;
    td_scope scope;

    td_scope_open(&scope);
    spawn(&scope, cancel_grandparent, &self, &result);
    expect_int(td_scope_join(&scope), -ECANCELED);
    expect_int(result, -ECANCELED);
    return -ECANCELED;
}

static int cancel_upwards(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, open_and_join, NULL);
    expect_int(td_scope_join(&scope), 0);
    return 0;
}

static void a_child_may_cancel_its_opener(void **state)
{
    assert_int_equal(in_virtual_time(state, cancel_upwards, NULL), 0);
}

struct attempt {
    struct waits *waits;
    const struct wait_kind *kind;
    int rc;
};

static int attempt(void *arg)
{
    struct attempt *attempt = arg;

    attempt->rc = attempt->kind->wait(attempt->waits);
    return attempt->rc == -ECANCELED ? -ECANCELED : 0;
}

static int cancel_each_kind(void *arg)
{
    struct attempt attempts[COUNT(wait_kinds)];
    td_handle handles[COUNT(wait_kinds)];
    struct waits waits;
    td_scope scope;

    waits_open(&waits);
    td_scope_open(&scope);
    for (size_t i = 0; i < COUNT(wait_kinds); i++) {
        attempts[i] = (struct attempt){&waits, &wait_kinds[i], 99};
        if (wait_kinds[i].parks)
            handles[i] = spawn(&scope, attempt, &attempts[i], NULL);
    }
    settle();
    for (size_t i = 0; i < COUNT(wait_kinds); i++) {
        if (!wait_kinds[i].parks)
            continue;
        expect_int(td_cancel(handles[i]), 0);
        eventually(!td_alive(handles[i]));
        expect_int(attempts[i].rc, -ECANCELED);
    }
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)td_scope_failures(&scope), 0);
    waits_close(&waits);
    return 0;
}

static void every_kind_of_wait_ends(void **state)
{
    assert_int_equal(run(state, cancel_each_kind, NULL), 0);
}

static int cancel_before_each_kind(void *arg)
{
    struct waits waits;

    waits_open(&waits);
    waits_make_ready(&waits);
    for (size_t i = 0; i < COUNT(wait_kinds); i++) {
        struct attempt one = {&waits, &wait_kinds[i], 99};
        td_scope scope;
        td_handle handle;

        td_scope_open(&scope);
        handle = spawn(&scope, attempt, &one, NULL);
        expect_int(td_cancel(handle), 0);
        expect_int(td_scope_join(&scope), 0);
        if (!expect_int(one.rc, -ECANCELED))
            print_error("in %s\n", wait_kinds[i].name);
    }
    waits_close(&waits);
    return 0;
}

/* Law 3: whether or not it would have had to wait. */
static void a_wait_that_need_not_wait_notices(void **state)
{
    assert_int_equal(run(state, cancel_before_each_kind, NULL), 0);
}

struct job {
    td_pool *pool;
    atomic_bool begun, may_end;
    int rc;
};

static int until_told(void *arg)
{
    struct job *job = arg;

    job->begun = true;
    while (!job->may_end)
        poll(NULL, 0, 1);
    return 5;
}

static int offload(void *arg)
{
    struct job *job = arg;

    job->rc = td_offload(job->pool, until_told, job);
    return job->rc;
}

/* Law 3: the waiting job's caller has the cancellation; the running one's, of a thread, the cancellation or the result. */
static int cancel_offloads(void *arg)
{
    struct job running = {.rc = 99}, waiting = {.rc = 99};
    td_handle first, second;
    td_scope scope;

    expect_int(td_pool_open(&running.pool, (&(td_pool_opts){.kind = TD_THREADS, .workers = 1})), 0);
    waiting.pool = running.pool;
    td_scope_open(&scope);
    first = spawn(&scope, offload, &running, NULL);
    eventually(running.begun);
    second = spawn(&scope, offload, &waiting, NULL);
    settle();
    expect_int(td_cancel(second), 0);
    eventually(!td_alive(second));
    expect_int(waiting.rc, -ECANCELED);
    expect(!waiting.begun);
    expect_int(td_cancel(first), 0);
    expect_int(td_sleep(td_ms(5)), 0);
    expect(td_alive(first));  /* its memory is still in use */
    running.may_end = true;
    expect_int(td_scope_join(&scope), 0);
    expect(running.rc == -ECANCELED || running.rc == 5);
    expect_int(td_pool_close(running.pool), 0);
    return 0;
}

static void a_job_under_way_is_cancelled(void **state)
{
    assert_int_equal(run(state, cancel_offloads, NULL), 0);
}

static int cancel_the_woken(void *arg)
{
    int result = 99;
    struct waits waits = {0};
    struct attempt one = {&waits, &wait_kinds[3], 99};
    td_scope scope;
    td_handle handle;

    td_event_init(&waits.event);
    td_scope_open(&scope);
    handle = spawn(&scope, attempt, &one, &result);
    settle();
    td_event_set(&waits.event);  /* it is awake, though it has not run yet */
    expect_int(td_cancel(handle), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int(one.rc, 0);       /* its wait was over: never both */
    return 0;
}

static void a_completed_wait_keeps_its_result(void **state)
{
    assert_int_equal(in_virtual_time(state, cancel_the_woken, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_handle_is_its_task_while_it_lives), ON_BOTH(a_stale_handle_means_nobody),
        ON_BOTH(one_task_and_its_scopes_are_cancelled), ON_BOTH(another_error_of_a_cancelled_task_is_a_failure),
        ON_BOTH(a_task_may_cancel_itself), ON_BOTH(a_task_is_cancelled_before_it_starts),
        ON_BOTH(a_shield_inside_lasts_its_grace_time), ON_BOTH(a_shield_around_does_not_protect),
        ON_BOTH(what_it_spawns_outside_its_scopes_goes_on), ON_BOTH(a_child_may_cancel_its_opener),
        ON_BOTH(every_kind_of_wait_ends), ON_BOTH(a_wait_that_need_not_wait_notices), ON_BOTH(a_job_under_way_is_cancelled),
        ON_BOTH(a_completed_wait_keeps_its_result),
    };

    return cmocka_run_group_tests_name("task handle", tests, NULL, NULL);
}
