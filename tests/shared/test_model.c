/* SPDX-License-Identifier: MIT */
/*
 * The arena against a plain model: an array of blocks, each with its counts. Random walks of every call, by one thread and
 * by several at a time; after each step the statistics are what the model says, and at the end nothing is left.
 */
#include <pthread.h>
#include <sys/stat.h>

#include "run/harness.h"
#include "shared/arena.h"

#define BLOCKS 160
#define OWNERS 3
#define STEPS (RACES_WATCHED ? 20000 : 60000)
#define LIMIT ((size_t)4 * 1024 * 1024)
#define THREADS 4

struct modelled {
    unsigned char *at;
    size_t size, bytes;        /* asked for, and of its class */
    unsigned held, pins, owner;
    unsigned char fill;
};

struct model {
    struct arena *arena;
    struct random random;
    uint32_t owners[OWNERS];
    struct modelled blocks[BLOCKS];
    size_t used, quarantined, owned, quarantined_blocks, count;
    unsigned long long refusals;
};

static size_t random_size(struct random *random)
{
    return 1 + random_below(random, 1u << (4 + random_below(random, 15)));  /* up to 256 KiB */
}

static size_t class_bytes(size_t size)
{
    size_t bytes = heap_class_size(size);

    return bytes ? bytes : (size + ARENA_CHUNK - 1) / ARENA_CHUNK * ARENA_CHUNK;
}

static bool in_quarantine(const struct modelled *block)
{
    return block->at && !block->held && !block->owner;
}

/* What the statistics are to be. */
static void sum(struct model *model)
{
    model->used = model->quarantined = model->owned = model->quarantined_blocks = model->count = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        const struct modelled *block = &model->blocks[i];

        model->used += block->bytes;
        model->count += block->at != NULL;
        model->owned += block->owner ? block->bytes : 0;
        model->quarantined += in_quarantine(block) ? block->bytes : 0;
        model->quarantined_blocks += in_quarantine(block);
    }
}

static void expect_unspoiled(const struct modelled *block)
{
    if (block->at[0] != block->fill || memcmp(block->at, block->at + 1, block->size - 1) != 0)
        expect(!"another block's bytes are in this one");
}

/* Nobody has it any more: the model forgets it. */
static void forget_when_free(struct model *model, struct modelled *block)
{
    if (!block->held && !block->pins && !block->owner) {
        memset(block, 0, sizeof *block);
        return;
    }
    expect(arena_has(model->arena, block->at, block->bytes));
}

static void make(struct model *model, struct modelled *block)
{
    unsigned owner = random_below(&model->random, 3) ? 0 : 1 + random_below(&model->random, OWNERS);
    size_t size = random_size(&model->random);
    unsigned char *at = owner ? arena_reserve(model->arena, size, model->owners[owner - 1]) : arena_alloc(model->arena, size);

    if (!at) {
        model->refusals++;
        return;
    }
    *block = (struct modelled){at, size, class_bytes(size), !owner, 0, owner, (unsigned char)random_next(&model->random)};
    memset(at, block->fill, size);
    expect_int((long long)((uintptr_t)at % ARENA_ALIGN), 0);
}

static void pin(struct model *model, struct modelled *block)
{
    size_t inside = random_below(&model->random, (unsigned)block->size);
    bool lives = block->held || block->owner;  /* one in quarantine is gone for the program, and takes no further pin */
    void *start = NULL;

    expect_int((long long)arena_pin(model->arena, block->at + inside, block->size - inside, &start),
               (long long)(lives ? block->bytes : 0));
    expect(start == (lives ? block->at : NULL));
    block->pins += lives;
}

/* A step that gives something up. */
static void let_go(struct model *model, struct modelled *block)
{
    expect_unspoiled(block);
    if (block->pins && random_below(&model->random, 2)) {
        block->pins--;
        arena_unpin(model->arena, block->at);
    } else if (block->owner && random_below(&model->random, 2)) {
        block->owner = 0;
        block->held = 1;
        arena_give(model->arena, block->at);
    } else if (block->owner) {
        block->owner = 0;
        arena_take_back(model->arena, block->at);
    } else if (block->held) {
        block->held--;
        arena_free(model->arena, block->at);
    }
    forget_when_free(model, block);
}

static void reclaim(struct model *model, unsigned owner)
{
    size_t count = 0;

    for (size_t i = 0; i < BLOCKS; i++)
        count += model->blocks[i].owner == owner;
    expect_int((long long)arena_reclaim(model->arena, model->owners[owner - 1]), (long long)count);
    for (size_t i = 0; i < BLOCKS; i++) {
        if (model->blocks[i].owner != owner)
            continue;
        model->blocks[i].owner = 0;
        forget_when_free(model, &model->blocks[i]);
    }
}

static void step(struct model *model)
{
    struct modelled *block = &model->blocks[random_below(&model->random, BLOCKS)];

    if (random_below(&model->random, 500) == 0)
        reclaim(model, 1 + random_below(&model->random, OWNERS));
    else if (!block->at)
        make(model, block);
    else if (random_below(&model->random, 4) == 0 && block->pins < 5)
        pin(model, block);
    else if (random_below(&model->random, 8) == 0 && !block->owner && block->held < 5)
        arena_retain(model->arena, block->at), block->held++;
    else
        let_go(model, block);
}

static void give_everything_back(struct model *model)
{
    for (size_t i = 0; i < BLOCKS; i++)
        while (model->blocks[i].at)
            let_go(model, &model->blocks[i]);
}

static void model_open(struct model *model, struct arena *arena, uint64_t seed)
{
    *model = (struct model){.arena = arena, .random = {seed}};
    for (int i = 0; i < OWNERS; i++)
        model->owners[i] = arena_new_owner(arena);
}

/* The kernel's own account of our pages. Each file's header has one. */
static size_t pages_of(const struct arena *arena)
{
    size_t bytes = 0;

    for (int i = 0; i < ARENA_REGIONS; i++) {
        struct stat status;

        assert_int_equal(fstat(arena_region(arena, i)->fd, &status), 0);
        bytes += (size_t)status.st_blocks * 512 - (size_t)sysconf(_SC_PAGESIZE);
    }
    return bytes;
}

static void expect_balance(const struct model *model)
{
    const td_shared_stats *stats = &model->arena->stats;

    expect_int((long long)stats->used_bytes, (long long)model->used);
    expect_int((long long)stats->blocks, (long long)model->count);
    expect_int((long long)stats->owned_bytes, (long long)model->owned);
    expect_int((long long)stats->quarantined_bytes, (long long)model->quarantined);
    expect_int((long long)stats->quarantined_blocks, (long long)model->quarantined_blocks);
    expect_int((long long)stats->refusals, (long long)model->refusals);
    expect(model->arena->heap.pages.backed_count * ARENA_CHUNK <= LIMIT);
}

static void expect_nothing_left(struct arena *arena)
{
    chunks_trim(&arena->heap.pages);
    expect_int((long long)arena->stats.used_bytes, 0);
    expect_int((long long)arena->stats.blocks, 0);
    expect_int((long long)arena->stats.owned_bytes, 0);
    expect_int((long long)arena->stats.quarantined_bytes, 0);
    expect_int((long long)arena->stats.quarantined_blocks, 0);
    expect_int((long long)arena->owned_blocks, 0);
    expect_int((long long)(arena->heap.pages.backed_count * ARENA_CHUNK), (long long)pages_of(arena));
}

static void the_arena_does_what_the_model_does(void **state)
{
    static struct model model;
    static struct arena arena;

    complaint.made = false;
    assert_int_equal(arena_open(&arena, LIMIT), 0);
    model_open(&model, &arena, random_seeded().state);
    for (int i = 0; i < STEPS && !complaint.made; i++) {
        step(&model);
        sum(&model);
        expect_balance(&model);
        if (i % 1000 == 0)
            expect_int((long long)(arena.heap.pages.backed_count * ARENA_CHUNK), (long long)pages_of(&arena));
    }
    assert_true(model.refusals > 0);  /* it was full at times */
    give_everything_back(&model);
    expect_nothing_left(&arena);
    arena_close(&arena);
    assert_false(complaint.made);
}

static void *walk(void *arg)
{
    struct model *model = arg;

    for (int i = 0; i < STEPS / 4 && !complaint.made; i++)
        step(model);
    give_everything_back(model);
    return NULL;
}

/* Each thread has blocks of its own, in an arena that they fill up together. */
static void threads_do_not_get_into_each_other(void **state)
{
    static struct model models[THREADS];
    static struct arena arena;
    pthread_t threads[THREADS];

    complaint.made = false;
    assert_int_equal(arena_open(&arena, 2 * LIMIT), 0);
    for (int i = 0; i < THREADS; i++) {
        model_open(&models[i], &arena, random_seeded().state + (uint64_t)i);
        assert_int_equal(pthread_create(&threads[i], NULL, walk, &models[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    expect_nothing_left(&arena);
    arena_close(&arena);
    assert_false(complaint.made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_arena_does_what_the_model_does),
        cmocka_unit_test(threads_do_not_get_into_each_other),
    };

    return cmocka_run_group_tests_name("shared model", tests, NULL, NULL);
}
