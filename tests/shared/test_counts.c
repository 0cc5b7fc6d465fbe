/* SPDX-License-Identifier: MIT */
/* Counts, pins and owners: a block lives as long as anybody has a right to it, and not longer. */
#include "run/harness.h"
#include "shared/arena.h"

#define KIB 1024u
#define MIB (1024u * 1024)

static td_shared_stats stats_now(void)
{
    td_shared_stats stats;

    td_shared_statistics(&stats);
    return stats;
}

static void expect_quarantine(size_t blocks, size_t bytes)
{
    expect_int((long long)stats_now().quarantined_blocks, (long long)blocks);
    expect_int((long long)stats_now().quarantined_bytes, (long long)bytes);
}

static const size_t sizes[] = {1, 100, 4096, 32 * KIB, 32 * KIB + 1, 300 * KIB, 5 * MIB};  /* small and large */

static int count(void *arg)
{
    for (size_t i = 0; i < COUNT(sizes); i++) {
        char *block = td_shared_alloc(sizes[i]);

        expect(td_shared_retain(block) == block && td_shared_retain(block) == block);
        td_shared_free(block);
        td_shared_free(block);
        expect(td_shared_has(block, sizes[i]));
        td_shared_free(block);
        expect(!td_shared_has(block, 1));
    }
    expect(td_shared_retain(NULL) == NULL);
    expect_int((long long)stats_now().blocks, 0);
    return 0;
}

static void a_block_lives_until_its_last_count_is_given_back(void **state)
{
    assert_int_equal(run(state, count, NULL), 0);
}

static int pin(void *arg)
{
    struct arena *arena = arena_current();

    for (size_t i = 0; i < COUNT(sizes); i++) {
        char *block = td_shared_alloc(sizes[i]);
        size_t bytes = stats_now().used_bytes;
        void *start = NULL, *again = NULL;

        memset(block, 'x', sizes[i]);
        expect_int((long long)arena_pin(arena, block, sizes[i], &start), (long long)bytes);
        expect_int((long long)arena_pin(arena, block + sizes[i] - 1, 1, &again), (long long)bytes);
        expect(start == block && again == block);
        expect_quarantine(0, 0);
        td_shared_free(block);
        expect_quarantine(1, bytes);
        expect(block[0] == 'x' && td_shared_has(block, sizes[i]));
        arena_unpin(arena, block);
        expect_quarantine(1, bytes);
        arena_unpin(arena, block);
        expect_quarantine(0, 0);
        expect(!td_shared_has(block, 1));
    }
    expect_int((long long)stats_now().used_bytes, 0);
    return 0;
}

/* Law 7's other half: memory that a worker may still touch is nobody else's. */
static void a_freed_block_that_is_pinned_waits_in_quarantine(void **state)
{
    assert_int_equal(run(state, pin, NULL), 0);
}

static int pin_in_vain(void *arg)
{
    struct arena *arena = arena_current();
    char *small = td_shared_alloc(100), *large = td_shared_alloc(100 * KIB), *freed = td_shared_alloc(100);
    void *start = small;

    td_shared_free(freed);
    expect_int((long long)arena_pin(arena, freed, 1, &start), 0);
    expect_int((long long)arena_pin(arena, small, 129, &start), 0);
    expect_int((long long)arena_pin(arena, small - 1, 2, &start), 0);
    expect_int((long long)arena_pin(arena, large, 128 * KIB + 1, &start), 0);
    expect_int((long long)arena_pin(arena, large, SIZE_MAX, &start), 0);
    expect_int((long long)arena_pin(arena, NULL, 1, &start), 0);
    expect_int((long long)arena_pin(arena, &start, 1, &start), 0);
    expect_int((long long)arena_pin(arena, arena_region(arena, ARENA_MAIN)->base, 1, &start), 0);  /* the header */
    expect_int((long long)arena_pin(arena, arena_region(arena, ARENA_OUTPUT)->base, 1, &start), 0);
    expect(start == small);
    expect(arena_covers(arena, small) && arena_covers(arena, freed) && !arena_covers(arena, &start) &&
           !arena_covers(arena, NULL) && !arena_covers(arena, small + ((size_t)1 << 50)));
    td_shared_free(small);
    td_shared_free(large);
    expect_int((long long)stats_now().blocks, 0);
    return 0;
}

static void what_no_single_block_covers_cannot_be_pinned(void **state)
{
    assert_int_equal(run(state, pin_in_vain, NULL), 0);
}

static int keep(void *arg)
{
    struct arena *arena = arena_current();
    void *block = td_shared_alloc(100), *start;

    arena_pin(arena, block, 100, &start);
    td_shared_free(block);
    td_shared_retain(block);
    expect_quarantine(0, 0);
    arena_unpin(arena, block);
    expect(td_shared_has(block, 100));
    td_shared_free(block);
    expect_int((long long)stats_now().blocks, 0);
    return 0;
}

/* A job may keep what it works on, though its caller has given up meanwhile. */
static void a_job_may_keep_a_block_that_is_in_quarantine(void **state)
{
    assert_int_equal(run(state, keep, NULL), 0);
}

static int make_outputs(void *arg)
{
    struct arena *arena = arena_current();
    uint32_t pool = arena_new_owner(arena), other = arena_new_owner(arena);
    const struct arena_region *main_file = arena_region(arena, ARENA_MAIN), *outputs = arena_region(arena, ARENA_OUTPUT);
    void *start;

    expect(pool != 0 && other != 0 && pool != other);
    expect(main_file->base + main_file->size == outputs->base && main_file->fd != outputs->fd);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        char *given = arena_reserve(arena, sizes[i], pool), *not_given = arena_reserve(arena, sizes[i], pool);

        expect(given >= outputs->base && given + sizes[i] <= outputs->base + outputs->size);
        expect_int((long long)stats_now().owned_bytes, (long long)stats_now().used_bytes);
        memset(given, 1, sizes[i]);
        arena_give(arena, given);
        expect_int(2 * (long long)stats_now().owned_bytes, (long long)stats_now().used_bytes);
        arena_take_back(arena, not_given);
        expect_int((long long)stats_now().owned_bytes, 0);
        expect(td_shared_has(given, sizes[i]) && !td_shared_has(not_given, 1));
        expect(arena_pin(arena, given, sizes[i], &start) > 0 && start == given);
        td_shared_free(td_shared_retain(given));
        td_shared_free(given);
        arena_unpin(arena, given);
        expect_int((long long)stats_now().blocks, 0);
    }
    return 0;
}

static void an_output_belongs_to_its_pool_until_it_is_given(void **state)
{
    assert_int_equal(run(state, make_outputs, NULL), 0);
}

static int reclaim(void *arg)
{
    struct arena *arena = arena_current();
    uint32_t pool = arena_new_owner(arena), other = arena_new_owner(arena);
    void *pinned = NULL, *given = NULL, *others[COUNT(sizes)], *start;

    expect_int((long long)arena_reclaim(arena, pool), 0);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        expect(arena_reserve(arena, sizes[i], pool) != NULL);
        others[i] = arena_reserve(arena, sizes[i], other);
        given = arena_reserve(arena, sizes[i], pool);
        arena_give(arena, given);
        td_shared_free(given);
    }
    pinned = arena_reserve(arena, 200, pool);
    arena_pin(arena, pinned, 1, &start);
    expect_int((long long)arena_reclaim(arena, pool), COUNT(sizes) + 1);
    expect_quarantine(1, 256);
    arena_unpin(arena, pinned);
    expect_int((long long)stats_now().blocks, COUNT(sizes));
    for (size_t i = 0; i < COUNT(sizes); i++)
        arena_take_back(arena, others[i]);
    expect_int((long long)arena_reclaim(arena, other), 0);
    expect_int((long long)stats_now().blocks, 0);
    expect_int((long long)stats_now().owned_bytes, 0);
    return 0;
}

static void a_pool_that_closes_leaves_nothing(void **state)
{
    assert_int_equal(run(state, reclaim, NULL), 0);
}

static int tell_offsets(void *arg)
{
    struct arena *arena = arena_current();
    char *block = td_shared_alloc(100), *output = arena_reserve(arena, 100, arena_new_owner(arena)), byte;

    expect(td_shared_offset(block) == (size_t)(block - arena_region(arena, ARENA_MAIN)->base));
    expect(td_shared_offset(block) % 64 == 0 && td_shared_offset(block + 1) == td_shared_offset(block) + 1);
    expect(td_shared_offset(output) == (size_t)(output - arena_region(arena, ARENA_OUTPUT)->base) +
           arena_region(arena, ARENA_MAIN)->size);
    expect(td_shared_offset(&byte) == SIZE_MAX && td_shared_offset(NULL) == SIZE_MAX);
    arena_take_back(arena, output);
    td_shared_free(block);
    return 0;
}

static void an_offset_counts_through_both_files(void **state)
{
    assert_int_equal(run(state, tell_offsets, NULL), 0);
    assert_true(td_shared_offset(&sizes) == SIZE_MAX);
}

static int free_in_quarantine(void *arg)
{
    void *block = td_shared_alloc(100), *start;

    arena_pin(arena_current(), block, 1, &start);
    td_shared_free(block);
    td_shared_free(start);
    return 0;
}

static int free_too_often(void *arg)
{
    void *block = td_shared_retain(td_shared_alloc(100));

    for (int i = 0; i < 3; i++)
        td_shared_free(block);
    return 0;
}

static int free_reserved(void *arg)
{
    td_shared_free(arena_reserve(arena_current(), 100 * KIB, 1));
    return 0;
}

static int retain_reserved(void *arg)
{
    td_shared_retain(arena_reserve(arena_current(), 100, 1));
    return 0;
}

static int retain_inside(void *arg)
{
    td_shared_retain((char *)td_shared_alloc(100) + 1);
    return 0;
}

static int free_header(void *arg)
{
    td_shared_free(arena_region(arena_current(), ARENA_MAIN)->base);
    return 0;
}

static td_fn misuse;

static int run_misuse(void **state)
{
    return td_run_with(&(td_opts){.shared_bytes_max = 64 * MIB}, misuse, NULL);
}

static int retain_outside(void **state)
{
    td_shared_retain(&(int){1});
    return 0;
}

static void mistakes_end_the_program_with_a_sentence(void **state)
{
    static const struct {
        td_fn body;
        const char *says;
    } mistakes[] = {
        {free_in_quarantine, "was freed before; only jobs hold it still"},
        {free_too_often, "is not the start of a living block"},
        {free_reserved, "td_shared_free: 0x"},
        {free_reserved, "is reserved for a job's output"},
        {retain_reserved, "td_shared_retain: 0x"},
        {retain_inside, "is not the start of a living block"},
        {free_header, "is not the start of a living block"},
    };

    for (size_t i = 0; i < COUNT(mistakes); i++) {
        misuse = mistakes[i].body;
        assert_aborts_saying(NULL, run_misuse, mistakes[i].says);
    }
    assert_aborts_saying(NULL, retain_outside, "td_shared_retain was called outside");
}

static int leave_two(void *arg)
{
    expect(td_shared_alloc(100) && td_shared_alloc(100 * KIB));
    return arg ? -EIO : 0;
}

static int run_leave_two(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, leave_two, NULL);
}

static int run_leave_two_and_fail(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, leave_two, state) == -EIO ? 0 : -EIO;
}

/* A run that failed had other things to do than to free. */
static void what_a_good_run_never_freed_is_told_in_one_line(void **state)
{
    struct ending well = in_child(state, run_leave_two), badly = in_child(state, run_leave_two_and_fail);

    assert_ended_well(&well);
    assert_says(&well, "2 blocks of shared memory were never freed, 131200 bytes");
    assert_ended_well(&badly);
    assert_null(strstr(badly.text, "never freed"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_block_lives_until_its_last_count_is_given_back),
        ON_BOTH(a_freed_block_that_is_pinned_waits_in_quarantine),
        ON_BOTH(what_no_single_block_covers_cannot_be_pinned),
        ON_BOTH(a_job_may_keep_a_block_that_is_in_quarantine),
        ON_BOTH(an_output_belongs_to_its_pool_until_it_is_given),
        ON_BOTH(a_pool_that_closes_leaves_nothing),
        ON_BOTH(an_offset_counts_through_both_files),
        cmocka_unit_test(mistakes_end_the_program_with_a_sentence),
        ON_BOTH(what_a_good_run_never_freed_is_told_in_one_line),
    };

    return cmocka_run_group_tests_name("shared counts", tests, NULL, NULL);
}
