/* SPDX-License-Identifier: MIT */
/* Shared memory: blocks that never overlap, a limit that is an answer, and misuse that does not go unnoticed. */
#include <pthread.h>

#include "run/harness.h"
#include "shared/arena.h"

#define KIB 1024u
#define MIB (1024u * 1024)
#define BLOCKS 200
#define STEPS 8000
#define SIZE_LARGEST (300 * KIB)
#define LIMIT (16 * MIB)

struct owned {
    unsigned char *at;
    size_t size;
    unsigned char fill;
};

static td_shared_stats stats_now(void)
{
    td_shared_stats stats;

    td_shared_statistics(&stats);
    return stats;
}

/* Small sizes are the most likely, and each border of a size class comes up. */
static size_t random_size(struct random *random)
{
    size_t size = (size_t)1 << random_below(random, 19);

    switch (random_below(random, 4)) {
    case 0:
        return 1 + random_below(random, SIZE_LARGEST);
    case 1:
        size += random_below(random, 3) - 1;
        break;
    default:
        size = 1 + random_below(random, size);
    }
    return size < 1 ? 1 : size > SIZE_LARGEST ? SIZE_LARGEST : size;
}

static bool filled(const struct owned *owned)
{
    return owned->at[0] == owned->fill && memcmp(owned->at, owned->at + 1, owned->size - 1) == 0;
}

static void check_borders(const struct owned *owned)
{
    expect(td_shared_has(owned->at, owned->size));
    expect(td_shared_has(owned->at + owned->size - 1, 1));
    expect(td_shared_has(owned->at, 0));
    expect(!td_shared_has(owned->at, SIZE_MAX));
    expect(!td_shared_has(owned->at, owned->size + SIZE_LARGEST));
    expect(!td_shared_has(owned->at - 1, owned->size + 1));  /* whatever lies before it is another block or none */
}

static void take(struct random *random, struct owned *owned)
{
    owned->size = random_size(random);
    owned->at = td_shared_alloc(owned->size);
    if (!owned->at)
        return;
    owned->fill = (unsigned char)random_next(random);
    expect_int((long long)((uintptr_t)owned->at % 64), 0);
    memset(owned->at, owned->fill, owned->size);
    check_borders(owned);
}

static void give(struct owned *owned)
{
    unsigned char *at = owned->at;

    expect(filled(owned));  /* nobody else wrote here */
    td_shared_free(at);
    owned->at = NULL;
    expect(!td_shared_has(at, 1));
}

static int random_blocks(void *arg)
{
    struct owned blocks[BLOCKS] = {{NULL}};
    size_t alive = 0, bytes = 0, refused = 0;

    for (int step = 0; step < STEPS; step++) {
        struct owned *owned = &blocks[random_below(arg, BLOCKS)];

        if (owned->at) {
            alive--;
            bytes -= owned->size;
            give(owned);
        } else {
            take(arg, owned);
            alive += owned->at != NULL;
            bytes += owned->at ? owned->size : 0;
            refused += owned->at == NULL;
        }
        expect_int((long long)stats_now().blocks, (long long)alive);
        expect(stats_now().used_bytes >= bytes && stats_now().used_bytes <= stats_now().reserved_bytes);
        if (complaint.made)
            break;
    }
    for (int i = 0; i < BLOCKS; i++)
        if (blocks[i].at)
            give(&blocks[i]);
    expect(refused < STEPS / 10);
    expect_int((long long)stats_now().blocks, 0);
    expect_int((long long)stats_now().used_bytes, 0);
    return 0;
}

static void blocks_never_overlap(void **state)
{
    struct random random = random_seeded();

    assert_int_equal(run_with(state, (td_opts){.shared_bytes_max = 64 * MIB}, random_blocks, &random), 0);
}

/* Two neighbours: neither reaches into the other, nor past its own end by more than its size class has. */
static int look_at_borders(void *arg)
{
    static const size_t sizes[] = {1, 63, 64, 65, 100, 4096, 32 * KIB, 32 * KIB + 1, 64 * KIB, 64 * KIB + 1, 200 * KIB};

    for (size_t i = 0; i < COUNT(sizes); i++) {
        char *block = td_shared_alloc(sizes[i]), *next = td_shared_alloc(sizes[i]);
        size_t room = heap_class_size(sizes[i]);

        room = room ? room : (sizes[i] + ARENA_CHUNK - 1) / ARENA_CHUNK * ARENA_CHUNK;
        expect(td_shared_has(block, sizes[i]) && td_shared_has(block, room));
        expect(!td_shared_has(block, room + 1) && !td_shared_has(block + 1, room));
        expect(!td_shared_has(block + room - 1, 2));
        td_shared_free(block);
        expect(!td_shared_has(block, 1));
        expect(td_shared_has(next, sizes[i]));
        td_shared_free(next);
    }
    expect(!td_shared_has(NULL, 1) && !td_shared_has(&complaint, 1) && !td_shared_has((void *)UINTPTR_MAX, 1));
    return 0;
}

static void a_block_ends_where_it_ends(void **state)
{
    assert_int_equal(run(state, look_at_borders, NULL), 0);
}

/* Takes blocks until there are no more. Returns how many it got. */
static size_t take_all(void **blocks, size_t size)
{
    size_t count = 0;

    while (count <= LIMIT / ARENA_CHUNK && (blocks[count] = td_shared_alloc(size)))
        count++;
    return count;
}

static int fill_up(void *arg)
{
    void *blocks[LIMIT / ARENA_CHUNK + 1];

    for (int round = 0; round < 3; round++) {  /* each finds what the one before gave back */
        size_t count = take_all(blocks, 64 * KIB);

        expect_int((long long)count, LIMIT / ARENA_CHUNK);
        expect_int((long long)stats_now().used_bytes, LIMIT);
        expect(td_shared_alloc(1) == NULL && td_shared_alloc(64 * KIB) == NULL && td_shared_alloc(200 * KIB) == NULL);
        td_shared_free(blocks[--count]);
        blocks[count] = td_shared_alloc(50 * KIB);
        expect(blocks[count++] != NULL);
        while (count > 0)
            td_shared_free(blocks[--count]);
        expect_int((long long)stats_now().used_bytes, 0);
    }
    expect_int((long long)stats_now().limit_bytes, LIMIT);
    return 0;
}

static int run_fill_up(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state), .shared_bytes_max = LIMIT}, fill_up, NULL);
}

/* Law 4: full is an answer. What is freed can be had again. */
static void a_full_arena_says_null_and_recovers(void **state)
{
    struct ending ending = in_child(state, run_fill_up);

    assert_ended_well(&ending);
    assert_says(&ending, "shared memory is full");
}

static int use_every_class(void *arg)
{
    void *block;

    for (size_t size = 64; size <= 32 * KIB; size += size / 4)
        td_shared_free(td_shared_alloc(size));
    expect_int((long long)stats_now().blocks, 0);
    block = td_shared_alloc(LIMIT);
    expect(block != NULL);
    td_shared_free(block);
    return 0;
}

/* An arena without a block is not full: it does not keep back what small blocks once used. */
static void all_of_an_empty_arena_can_be_had(void **state)
{
    assert_int_equal(run_with(state, (td_opts){.shared_bytes_max = LIMIT}, use_every_class, NULL), 0);
}

static int odd_requests(void *arg)
{
    unsigned char *block;

    expect(td_shared_alloc(0) == NULL);
    expect(td_shared_calloc(0, 8) == NULL && td_shared_calloc(8, 0) == NULL);
    expect(td_shared_alloc(SIZE_MAX) == NULL && td_shared_alloc(SIZE_MAX - 10) == NULL);
    expect(td_shared_alloc(SIZE_MAX / 2) == NULL);
    expect(td_shared_calloc(SIZE_MAX / 2, 3) == NULL && td_shared_calloc(3, SIZE_MAX / 2) == NULL);
    td_shared_free(NULL);
    block = td_shared_alloc(1000);
    memset(block, 0xAA, 1000);
    td_shared_free(block);
    block = td_shared_calloc(10, 100);
    for (int i = 0; i < 1000; i++)
        if (!expect_int(block[i], 0))
            break;
    td_shared_free(block);
    expect_int((long long)stats_now().blocks, 0);
    return 0;
}

static void odd_requests_are_answered(void **state)
{
    assert_int_equal(run(state, odd_requests, NULL), 0);
}

static int reach_for_more(void *arg)
{
    void *block = td_shared_alloc(200 * MIB);

    expect(block != NULL);
    td_shared_free(block);
    expect(stats_now().reserved_bytes <= 64 * MIB);  /* ARENA_KEEP */
    return 0;
}

static void much_memory_is_given_back(void **state)
{
    assert_int_equal(run_with(state, (td_opts){.shared_bytes_max = 300 * MIB}, reach_for_more, NULL), 0);
}

static int free_twice(void *arg)
{
    char *small = td_shared_alloc(100), *neighbour = td_shared_alloc(100);

    td_shared_free(small);
    td_shared_free(neighbour == NULL ? NULL : small);
    return 0;
}

static int free_twice_large(void *arg)
{
    char *large = td_shared_alloc(100 * KIB);

    td_shared_free(large);
    td_shared_free(large);
    return 0;
}

static int free_inside(void *arg)
{
    td_shared_free((char *)td_shared_alloc(100) + 64);
    return 0;
}

static int free_inside_large(void *arg)
{
    td_shared_free((char *)td_shared_alloc(200 * KIB) + 64 * KIB);
    return 0;
}

static int free_foreign(void *arg)
{
    td_shared_free(&(int){1});
    return 0;
}

static int free_untouched(void *arg)
{
    td_shared_free((char *)td_shared_alloc(64) + 32 * MIB);
    return 0;
}

static td_fn misuse;

static int run_misuse(void **state)
{
    return td_run_with(&(td_opts){.shared_bytes_max = 64 * MIB}, misuse, NULL);
}

static int free_outside(void **state)
{
    td_shared_free(&(int){1});
    return 0;
}

static void what_is_no_block_is_not_freed(void **state)
{
    static const td_fn misuses[] = {free_twice, free_twice_large, free_inside, free_inside_large, free_foreign,
                                    free_untouched};

    for (size_t i = 0; i < COUNT(misuses); i++) {
        misuse = misuses[i];
        assert_aborts_saying(NULL, run_misuse, "td_shared_free: 0x");
    }
    assert_aborts_saying(NULL, free_outside, "td_shared_free was called outside");
}

static int allocate_outside(void **state)
{
    td_shared_stats stats;

    td_shared_statistics(&stats);
    expect(td_shared_alloc(8) == NULL);
    expect(!td_shared_has(&stats, 1));
    expect_int((long long)stats.limit_bytes, 0);
    return 0;
}

static void outside_a_loop_there_is_no_shared_memory(void **state)
{
    struct ending ending = in_child(NULL, allocate_outside);

    assert_ended_well(&ending);
    assert_says(&ending, "td_shared_alloc answers NULL outside");
}

/* A job of a thread pool: allocates and frees beside the others. */
static int churn(void *arg)
{
    struct random random = {(uint64_t)(uintptr_t)arg};
    struct owned blocks[20] = {{NULL}};
    int wrong = 0;

    for (int i = 0; i < 2000; i++) {
        struct owned *owned = &blocks[random_below(&random, 20)];

        if (owned->at) {
            wrong += !filled(owned);
            td_shared_free(owned->at);
            owned->at = NULL;
        } else if ((owned->at = td_shared_alloc(owned->size = random_size(&random)))) {
            memset(owned->at, owned->fill = (unsigned char)i, owned->size);
        }
    }
    for (int i = 0; i < 20; i++)
        td_shared_free(blocks[i].at);
    return wrong ? -EIO : 0;
}

static int churn_in_threads(void *arg)
{
    char seeds[8];
    td_pool *pool;

    expect_int(td_pool_open(&pool, &(td_pool_opts){.workers = 4}), 0);
    expect_int(td_pool_map(pool, churn, seeds, COUNT(seeds), 1), 0);
    expect_int((long long)stats_now().blocks, 0);
    return td_pool_close(pool);
}

static void threads_share_the_arena(void **state)
{
    assert_int_equal(run_with(state, (td_opts){.shared_bytes_max = 64 * MIB}, churn_in_threads, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(blocks_never_overlap), ON_BOTH(a_block_ends_where_it_ends),
        ON_BOTH(a_full_arena_says_null_and_recovers), ON_BOTH(all_of_an_empty_arena_can_be_had),
        ON_BOTH(odd_requests_are_answered),
        ON_BOTH(much_memory_is_given_back), cmocka_unit_test(what_is_no_block_is_not_freed),
        cmocka_unit_test(outside_a_loop_there_is_no_shared_memory), ON_BOTH(threads_share_the_arena),
    };

    return cmocka_run_group_tests_name("shared arena", tests, NULL, NULL);
}
