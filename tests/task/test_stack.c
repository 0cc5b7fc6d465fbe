/* SPDX-License-Identifier: MIT */
/* Stacks: their guards, their reuse, and what happens when there are no more. */
#include <sys/mman.h>

#include "run/harness.h"

#define SLOT (64u * 1024)
#define MANY 500

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

static bool kernel_has_guards(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool has = page != MAP_FAILED && madvise(page, 4096, MADV_GUARD_INSTALL) == 0;

    munmap(page, 4096);
    return has;
}

struct header {
    char owners[100];
    struct stack stack;
};

struct pool {
    struct stack_pool pool;
    struct stack_guards guards;
};

static char *top_of(struct stack *stack)
{
    return (char *)container_of(stack, struct header, stack);
}

/* The kind of guard is the case's state. */
static void pool_open(void **state, struct pool *pool, size_t slot_size)
{
    enum stack_guard guard = (enum stack_guard)(uintptr_t)*state;

    if (guard == STACK_GUARD_MADVISE && !kernel_has_guards())
        skip();
    stack_guards_init(&pool->guards, guard);
    stack_pool_init(&pool->pool, &pool->guards, slot_size, sizeof(struct header));
}

static bool can_write(void *address)
{
    int pair[2], ok;

    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    assert_int_equal(write(pair[1], "x", 1), 1);
    ok = read(pair[0], address, 1) == 1;  /* EFAULT instead of a signal */
    assert_true(ok || errno == EFAULT);
    close(pair[0]);
    close(pair[1]);
    return ok;
}

static void all_but_the_guard_is_usable(void **state)
{
    struct pool pool;

    pool_open(state, &pool, SLOT);
    for (int i = 0; i < 100; i++) {
        struct stack *stack = stack_take(&pool.pool);

        assert_non_null(stack);
        assert_int_equal((uintptr_t)top_of(stack) % 64, 0);
        assert_true(top_of(stack) - stack->low >= SLOT - 4096 - 1024 - 256);
        memset(stack->low, 0x5A, (size_t)(top_of(stack) - stack->low));
        assert_false(can_write(stack->low - 1));
        assert_false(can_write(stack->low - pool.pool.guard_size));
    }
    stack_pool_close(&pool.pool);
}

static void a_guard_stays_when_its_stack_is_reused(void **state)
{
    struct pool pool;

    pool_open(state, &pool, SLOT);
    for (int i = 0; i < 3; i++) {
        struct stack *stack = stack_take(&pool.pool);

        assert_false(can_write(stack->low - 1));
        stack_trim(stack, 4096);
        assert_false(can_write(stack->low - 1));
        stack_give(stack);
    }
    stack_pool_close(&pool.pool);
}

/* The hottest stack first: last in, first out. */
static void the_last_one_back_is_the_next_one_out(void **state)
{
    struct stack *stacks[MANY];
    struct pool pool;

    pool_open(state, &pool, 16 * 1024);
    for (int i = 0; i < MANY; i++)
        stacks[i] = stack_take(&pool.pool);
    for (int i = 0; i < MANY; i++)
        stack_give(stacks[i]);
    for (int i = MANY - 1; i >= 0; i--)
        assert_ptr_equal(stack_take(&pool.pool), stacks[i]);
    stack_pool_close(&pool.pool);
}

static void no_two_stacks_overlap(void **state)
{
    struct stack *stacks[MANY];
    struct pool pool;

    pool_open(state, &pool, 20000);  /* rounded up to whole pages */
    assert_int_equal(pool.pool.slot_size % 4096, 0);
    for (int i = 0; i < MANY; i++) {
        stacks[i] = stack_take(&pool.pool);
        memcpy(stacks[i]->low, &i, sizeof i);
        memcpy(top_of(stacks[i]), &i, sizeof i);
    }
    for (int i = 0; i < MANY; i++) {
        assert_memory_equal(stacks[i]->low, &i, sizeof i);
        assert_memory_equal(top_of(stacks[i]), &i, sizeof i);
    }
    stack_pool_close(&pool.pool);
}

static void a_slot_may_be_larger_than_a_slab(void **state)
{
    struct stack *stack;
    struct pool pool;

    pool_open(state, &pool, STACK_SIZE_MAX);
    stack = stack_take(&pool.pool);
    assert_non_null(stack);
    *stack->low = *(top_of(stack) - 1) = 1;
    assert_false(can_write(stack->low - 1));
    stack_pool_close(&pool.pool);
}

static void a_guard_knows_its_stack(void **state)
{
    struct stack *stack, *other;
    struct pool pool;

    pool_open(state, &pool, SLOT);
    stack = stack_take(&pool.pool);
    other = stack_take(&pool.pool);
    assert_ptr_equal(stack_guard_owner(&pool.pool, stack->low - 1), stack);
    assert_ptr_equal(stack_guard_owner(&pool.pool, stack->low - pool.pool.guard_size), stack);
    assert_ptr_equal(stack_guard_owner(&pool.pool, other->low - 1), other);
    assert_null(stack_guard_owner(&pool.pool, stack->low));
    assert_null(stack_guard_owner(&pool.pool, top_of(stack) - 1));
    assert_null(stack_guard_owner(&pool.pool, &pool));
    assert_null(stack_guard_owner(&pool.pool, NULL));
    stack_pool_close(&pool.pool);
}

static void what_was_used_is_measured_and_given_back(void **state)
{
    struct stack *stack;
    struct pool pool;

    pool_open(state, &pool, SLOT);
    stack = stack_take(&pool.pool);
    assert_int_equal(stack_measure(stack), 4096);
    memset(top_of(stack) - 40000, 1, 40000);
    assert_in_range(stack_measure(stack), 40000, 45056);
    stack_trim(stack, 10000);
    assert_int_equal(stack_measure(stack), 12288);
    stack_trim(stack, 50000);  /* nothing lies below */
    assert_int_equal(stack_measure(stack), 12288);
    assert_int_equal(top_of(stack)[-40000], 0);
    stack_pool_close(&pool.pool);
}

struct seen {
    unsigned count;
    size_t most;
};

static size_t see(struct stack *stack, size_t resident, void *arg)
{
    struct seen *seen = arg;

    seen->count++;
    seen->most = resident > seen->most ? resident : seen->most;
    return 4096;
}

static void a_sweep_sees_every_stack_once(void **state)
{
    struct seen seen = {0, 0};
    struct stack *stack;
    struct pool pool;

    pool_open(state, &pool, SLOT);
    assert_int_equal(stack_sweep(&pool.pool, see, &seen), STACK_SWEPT_ALL);
    for (int i = 0; i < MANY; i++) {
        stack = stack_take(&pool.pool);
        if (i % 3 == 0)
            top_of(stack)[-20000] = 1;
        if (i % 2 == 0)
            stack_give(stack);
    }
    while (stack_sweep(&pool.pool, see, &seen) == STACK_SWEPT_SOME)
        ;
    assert_in_range(seen.most, 20000, 25000);
    seen = (struct seen){0, 0};
    while (stack_sweep(&pool.pool, see, &seen) == STACK_SWEPT_SOME)
        ;
    assert_true(seen.count >= MANY / 2);  /* every other one was the same stack again */
    assert_int_equal(seen.most, 4096);    /* the sweep before gave the rest back */
    stack_pool_close(&pool.pool);
}

static size_t keep_all(struct stack *stack, size_t resident, void *arg)
{
    return resident;
}

static void pass(struct pool *pool)
{
    while (stack_sweep(&pool->pool, keep_all, NULL) == STACK_SWEPT_SOME)
        ;
}

/* Two passes without a task in a slab, and its memory is the kernel's; its guards stay, and it serves again. */
static void idle_slabs_give_everything_back(void **state)
{
    static char *lows[MANY];
    struct stack *stacks[MANY];
    struct pool pool;

    pool_open(state, &pool, SLOT);
    for (int round = 0; round < 3; round++) {
        int kept = 0;

        for (int i = 0; i < MANY; i++) {
            stacks[i] = stack_take(&pool.pool);
            lows[i] = stacks[i]->low;
            memset(lows[i], 1, (size_t)(top_of(stacks[i]) - lows[i]));
        }
        for (int i = 1; i < MANY; i++)
            stack_give(stacks[i]);
        pass(&pool);
        for (int i = 0; i < MANY; i++)
            assert_int_equal(*lows[i], 1);
        pass(&pool);
        for (int i = 0; i < MANY; i++) {
            assert_false(can_write(lows[i] - 1));
            kept += *lows[i];
        }
        assert_int_equal(*lows[0], 1);
        assert_in_range(kept, 1, 64);  /* the slab of the one that is still in use */
        stack_give(stacks[0]);
        pass(&pool);
        pass(&pool);
        assert_null(pool.pool.free);
        assert_null(pool.pool.slabs);
    }
    stack_pool_close(&pool.pool);
}

static int exhaust_the_budget(void **state)
{
    struct stack *stack = NULL;
    struct pool pool;

    stack_guards_init(&pool.guards, STACK_GUARD_MPROTECT);
    stack_pool_init(&pool.pool, &pool.guards, SLOT, sizeof(struct header));
    pool.guards.left = 3;
    for (int i = 0; i < 3; i++)
        stack = stack_take(&pool.pool);
    expect(stack != NULL);
    for (int i = 0; i < 4; i++)
        expect(stack_take(&pool.pool) == NULL);
    stack_give(stack);  /* one that is guarded already costs no more */
    expect(stack_take(&pool.pool) == stack);
    expect(stack_take(&pool.pool) == NULL);
    stack_pool_close(&pool.pool);
    return 0;
}

/* Past the budget a stack is refused, never handed out without a guard; the log says why, once. */
static void without_a_guard_there_is_no_stack(void **state)
{
    struct ending ending = in_child(NULL, exhaust_the_budget);

    assert_ended_well(&ending);
    assert_says(&ending, "vm.max_map_count");
    assert_ptr_equal(strchr(ending.text, '\n'), ending.text + strlen(ending.text) - 1);
}

static int guard_in_vain(void **state)
{
    struct pool pool;

    stack_guards_init(&pool.guards, STACK_GUARD_AUTO);
    stack_pool_init(&pool.pool, &pool.guards, SLOT, sizeof(struct header));
    expect(stack_take(&pool.pool) != NULL);
    expect_int(pool.guards.kind, kernel_has_guards() ? STACK_GUARD_AUTO : STACK_GUARD_MPROTECT);
    stack_pool_close(&pool.pool);
    return 0;
}

static void the_kernel_chooses_the_guard(void **state)
{
    struct ending ending = in_child(NULL, guard_in_vain);

    assert_ended_well(&ending);
}

#define ON_BOTH_GUARDS(test) \
    ON(STACK_GUARD_MADVISE, "madvise: ", test), ON(STACK_GUARD_MPROTECT, "mprotect: ", test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH_GUARDS(all_but_the_guard_is_usable), ON_BOTH_GUARDS(a_guard_stays_when_its_stack_is_reused),
        ON_BOTH_GUARDS(the_last_one_back_is_the_next_one_out), ON_BOTH_GUARDS(no_two_stacks_overlap),
        ON_BOTH_GUARDS(a_slot_may_be_larger_than_a_slab), ON_BOTH_GUARDS(a_guard_knows_its_stack),
        ON_BOTH_GUARDS(what_was_used_is_measured_and_given_back), ON_BOTH_GUARDS(a_sweep_sees_every_stack_once),
        ON_BOTH_GUARDS(idle_slabs_give_everything_back),
        cmocka_unit_test(without_a_guard_there_is_no_stack), cmocka_unit_test(the_kernel_chooses_the_guard),
    };

    return cmocka_run_group_tests_name("task stack", tests, NULL, NULL);
}
