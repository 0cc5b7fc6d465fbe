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

/* The kind of guard is the case's state. */
static void pool_open(void **state, struct stack_pool *pool, size_t slot_size)
{
    enum stack_guard guard = (enum stack_guard)(uintptr_t)*state;

    if (guard == STACK_GUARD_MADVISE && !kernel_has_guards())
        skip();
    stack_pool_init(pool, slot_size, guard);
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
    struct stack_pool pool;
    void *low, *top;

    pool_open(state, &pool, SLOT);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(stack_take(&pool, &low, &top), 0);
        assert_int_equal((char *)top - (char *)low, SLOT - pool.guard_size);
        assert_int_equal((uintptr_t)top % 16, 0);
        memset(low, 0x5A, SLOT - pool.guard_size);
        assert_false(can_write((char *)low - 1));
        assert_false(can_write((char *)low - pool.guard_size));
    }
    stack_pool_close(&pool);
}

static void a_guard_stays_when_its_stack_is_reused(void **state)
{
    struct stack_pool pool;
    void *low, *top;

    pool_open(state, &pool, SLOT);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(stack_take(&pool, &low, &top), 0);
        assert_false(can_write((char *)low - 1));
        stack_give(&pool, top);
    }
    stack_pool_close(&pool);
}

/* The hottest stack first: last in, first out. */
static void the_last_one_back_is_the_next_one_out(void **state)
{
    void *low, *tops[MANY], *top;
    struct stack_pool pool;

    pool_open(state, &pool, 16 * 1024);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(stack_take(&pool, &low, &tops[i]), 0);
    for (int i = 0; i < MANY; i++)
        stack_give(&pool, tops[i]);
    for (int i = MANY - 1; i >= 0; i--) {
        assert_int_equal(stack_take(&pool, &low, &top), 0);
        assert_ptr_equal(top, tops[i]);
        assert_ptr_equal((char *)top - 16 * 1024 + pool.guard_size, low);
    }
    stack_pool_close(&pool);
}

static void no_two_stacks_overlap(void **state)
{
    void *lows[MANY], *tops[MANY];
    struct stack_pool pool;

    pool_open(state, &pool, 20000);  /* rounded up to whole pages */
    assert_int_equal(pool.slot_size % 4096, 0);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(stack_take(&pool, &lows[i], &tops[i]), 0);
        *(int *)lows[i] = i;
        *((int *)tops[i] - 1) = i;
    }
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(*(int *)lows[i], i);
        assert_int_equal(*((int *)tops[i] - 1), i);
    }
    stack_pool_close(&pool);
}

static void a_slot_may_be_larger_than_a_slab(void **state)
{
    struct stack_pool pool;
    void *low, *top;

    pool_open(state, &pool, STACK_SIZE_MAX);
    assert_int_equal(stack_take(&pool, &low, &top), 0);
    *(char *)low = *((char *)top - 1) = 1;
    assert_false(can_write((char *)low - 1));
    stack_pool_close(&pool);
}

static void a_guard_knows_its_stack(void **state)
{
    struct stack_pool pool;
    void *low, *top, *other_low, *other;

    pool_open(state, &pool, SLOT);
    assert_int_equal(stack_take(&pool, &low, &top), 0);
    assert_int_equal(stack_take(&pool, &other_low, &other), 0);
    assert_ptr_equal(stack_guard_owner(&pool, (char *)low - 1), top);
    assert_ptr_equal(stack_guard_owner(&pool, (char *)low - pool.guard_size), top);
    assert_ptr_equal(stack_guard_owner(&pool, (char *)other_low - 1), other);
    assert_null(stack_guard_owner(&pool, low));
    assert_null(stack_guard_owner(&pool, (char *)top - 1));
    assert_null(stack_guard_owner(&pool, &pool));
    assert_null(stack_guard_owner(&pool, NULL));
    stack_pool_close(&pool);
}

static int exhaust_the_budget(void **state)
{
    struct stack_pool pool;
    void *low, *top;
    int rc = 0;

    stack_pool_init(&pool, SLOT, STACK_GUARD_MPROTECT);
    pool.guards_left = 3;
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = stack_take(&pool, &low, &top);
    expect_int(rc, 0);
    for (int i = 0; i < 4; i++)
        expect_int(stack_take(&pool, &low, &(void *){NULL}), -ENOMEM);
    stack_give(&pool, top);  /* one that is guarded already costs no more */
    expect_int(stack_take(&pool, &low, &top), 0);
    expect_int(stack_take(&pool, &low, &top), -ENOMEM);
    stack_pool_close(&pool);
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
    struct stack_pool pool;
    void *low, *top;

    stack_pool_init(&pool, SLOT, STACK_GUARD_AUTO);
    expect_int(stack_take(&pool, &low, &top), 0);
    expect_int(pool.guard, kernel_has_guards() ? STACK_GUARD_AUTO : STACK_GUARD_MPROTECT);
    stack_pool_close(&pool);
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
        cmocka_unit_test(without_a_guard_there_is_no_stack), cmocka_unit_test(the_kernel_chooses_the_guard),
    };

    return cmocka_run_group_tests_name("task stack", tests, NULL, NULL);
}
