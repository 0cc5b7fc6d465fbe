/* SPDX-License-Identifier: MIT */
/* A full arena, whatever filled it: an answer, one line in the log, and room again as soon as something is freed. */
#include <sys/stat.h>

#include "run/harness.h"
#include "shared/arena.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define LIMIT (4 * MIB)
#define CHUNKS (LIMIT / ARENA_CHUNK)

static td_shared_stats stats_now(void)
{
    td_shared_stats stats;

    td_shared_statistics(&stats);
    return stats;
}

static void expect_balance(size_t blocks, size_t used)
{
    expect_int((long long)stats_now().blocks, (long long)blocks);
    expect_int((long long)stats_now().used_bytes, (long long)used);
    expect(stats_now().reserved_bytes >= used && stats_now().reserved_bytes <= stats_now().limit_bytes);
}

static int run_limited(void **state, td_fn fn)
{
    return run_with(state, (td_opts){.shared_bytes_max = LIMIT}, fn, NULL);
}

static int fill_with_small(void *arg)
{
    static void *blocks[LIMIT / 64];
    size_t count = 0;

    while (count < COUNT(blocks) && (blocks[count] = td_shared_alloc(1)))
        count++;
    expect_balance(COUNT(blocks), LIMIT);
    expect(td_shared_alloc(1) == NULL && td_shared_alloc(LIMIT) == NULL);
    expect_int((long long)stats_now().refusals, 2);
    td_shared_free(blocks[4711]);
    expect(td_shared_alloc(65) == NULL);  /* the hole is as large as it is */
    blocks[4711] = td_shared_alloc(64);
    expect(blocks[4711] != NULL);
    while (count > 0)
        td_shared_free(blocks[--count]);
    expect_balance(0, 0);
    blocks[0] = td_shared_alloc(LIMIT);
    expect(blocks[0] != NULL);
    td_shared_free(blocks[0]);
    return 0;
}

static void many_small_blocks_fill_it(void **state)
{
    assert_int_equal(run_limited(state, fill_with_small), 0);
}

static int fill_with_one(void *arg)
{
    struct arena *arena = arena_current();
    uint32_t owner = arena_new_owner(arena);
    void *block = td_shared_alloc(LIMIT), *output;

    expect_balance(1, LIMIT);
    expect(td_shared_alloc(1) == NULL && arena_reserve(arena, 1, owner) == NULL);  /* one limit for both files */
    td_shared_free(block);
    output = arena_reserve(arena, LIMIT, owner);
    expect(output && td_shared_alloc(1) == NULL);
    arena_take_back(arena, output);
    expect(td_shared_alloc(LIMIT + 1) == NULL);
    block = td_shared_alloc(LIMIT);
    expect(block != NULL);
    td_shared_free(block);
    expect_balance(0, 0);
    return 0;
}

static void one_large_block_fills_it(void **state)
{
    assert_int_equal(run_limited(state, fill_with_one), 0);
}

/* Half of the memory is free, in pieces of one chunk: addresses are no limit, so it can be had as one block. */
static int fragment(void *arg)
{
    void *blocks[CHUNKS], *large;

    for (size_t i = 0; i < CHUNKS; i++)
        expect((blocks[i] = td_shared_alloc(ARENA_CHUNK)) != NULL);
    for (size_t i = 0; i < CHUNKS; i += 2)
        td_shared_free(blocks[i]);
    expect(td_shared_alloc(LIMIT / 2 + 1) == NULL);
    large = td_shared_alloc(LIMIT / 2);
    expect(large != NULL);
    memset(large, 1, LIMIT / 2);
    expect_balance(CHUNKS / 2 + 1, LIMIT);
    td_shared_free(large);
    for (size_t i = 1; i < CHUNKS; i += 2)
        td_shared_free(blocks[i]);
    expect_balance(0, 0);
    return 0;
}

static void a_fragmented_arena_still_has_large_blocks(void **state)
{
    assert_int_equal(run_limited(state, fragment), 0);
}

/* One living object in each chunk holds all of it; a block of another class finds none. */
static int hoard(void *arg)
{
    void *blocks[CHUNKS][2];

    for (size_t i = 0; i < CHUNKS; i++) {
        blocks[i][0] = td_shared_alloc(32 * KIB);
        blocks[i][1] = td_shared_alloc(32 * KIB);
        expect(blocks[i][0] && blocks[i][1]);
    }
    for (size_t i = 0; i < CHUNKS; i++)
        td_shared_free(blocks[i][i % 2]);
    expect_balance(CHUNKS, LIMIT / 2);
    expect(td_shared_alloc(100) == NULL);
    td_shared_free(blocks[7][0]);
    blocks[7][0] = td_shared_alloc(100);
    expect(blocks[7][0] != NULL);
    td_shared_free(blocks[7][0]);
    for (size_t i = 0; i < CHUNKS; i++)
        if (i != 7)
            td_shared_free(blocks[i][1 - i % 2]);
    expect_balance(0, 0);
    return 0;
}

static void a_chunk_that_is_free_again_serves_any_size(void **state)
{
    assert_int_equal(run_limited(state, hoard), 0);
}

static int be_nearly_full(void *arg)
{
    void *block = td_shared_alloc(LIMIT - ARENA_CHUNK);

    for (int i = 0; i < 100; i++) {
        td_shared_free(td_shared_alloc(100));
        expect(td_shared_alloc(2 * ARENA_CHUNK) == NULL);
    }
    td_shared_free(block);
    return 0;
}

static int run_nearly_full(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state), .shared_bytes_max = LIMIT}, be_nearly_full, NULL);
}

static void an_arena_that_stays_nearly_full_is_told_of_once(void **state)
{
    struct ending ending = in_child(state, run_nearly_full);
    char *first;

    assert_ended_well(&ending);
    assert_says(&ending, "shared memory is full: 131072 bytes wanted");
    first = strstr(ending.text, "shared memory is full");
    assert_null(strstr(first + 1, "shared memory is full"));
}

/* ulimit -f, now and later: the files are as long as they may be, and what is in them is not in the way. */
static int live_with_short_files(void *arg)
{
    void *block;

    expect(stats_now().limit_bytes < 64 * MIB && stats_now().limit_bytes >= 32 * MIB);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){0, 64 * MIB});
    block = td_shared_alloc(20 * MIB);
    expect(block != NULL);
    memset(block, 1, 20 * MIB);
    td_shared_free(block);
    return 0;
}

static int run_with_short_files(void **state)
{
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){64 * MIB, 64 * MIB});
    return td_run_with(&(td_opts){.backend = backend_of(state), .shared_bytes_max = 1024 * MIB}, live_with_short_files, NULL);
}

static int live_in_short_range(void *arg)
{
    void *block;

    expect(stats_now().limit_bytes <= 1024 * MIB && stats_now().limit_bytes >= 64 * MIB);
    block = td_shared_alloc(MIB);
    expect(block != NULL);
    td_shared_free(block);
    return 0;
}

UNUSED static int run_in_short_range(void **state)
{
    setrlimit(RLIMIT_AS, &(struct rlimit){2048 * MIB, 2048 * MIB});
    return td_run_with(&(td_opts){.backend = backend_of(state), .shared_bytes_max = 64 * 1024 * MIB}, live_in_short_range, NULL);
}

static void it_lives_within_a_limit_on_files(void **state)
{
    struct ending ending = in_child(state, run_with_short_files);

    assert_ended_well(&ending);
}

UNUSED static void it_lives_within_a_limit_on_addresses(void **state)
{
    struct ending ending = in_child(state, run_in_short_range);

    assert_ended_well(&ending);
}

/* Each mapping of our files in /proc/self/smaps has the flag "dd": do not dump. */
static int look_at_flags(void *arg)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    int ours = 0, flagged = 0;
    bool is_ours = false;
    char line[1000];

    expect(maps != NULL);
    while (fgets(line, sizeof line, maps)) {
        if (strstr(line, "/memfd:tandem-"))
            ours += is_ours = true;
        if (strncmp(line, "VmFlags:", 8) == 0) {
            flagged += is_ours && strstr(line, " dd");
            is_ours = false;
        }
    }
    fclose(maps);
    expect(ours >= 4);  /* two files, each with a header */
    expect_int(flagged, ours);
    return 0;
}

/* To dump a range is to touch it all: a worker's crash would fill the machine. */
static void no_core_file_has_the_arena(void **state)
{
    assert_int_equal(run(state, look_at_flags, NULL), 0);
}

#define CGROUP_LIMIT (96 * MIB)

static char cgroup[100];

static bool write_to(const char *name, const char *text)
{
    char path[200];
    int fd;
    bool written;

    snprintf(path, sizeof path, "%s/%s", cgroup, name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written;
}

/* A memory cgroup of our own, of either version. False: this machine does not let us. */
static bool make_cgroup(void)
{
    static const struct {
        const char *folder, *limit;
    } versions[] = {{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"}};
    char limit[30];

    snprintf(limit, sizeof limit, "%zu", CGROUP_LIMIT);
    for (size_t i = 0; i < COUNT(versions); i++) {
        snprintf(cgroup, sizeof cgroup, "%s/tandem-test-%d", versions[i].folder, (int)getpid());
        if (mkdir(cgroup, 0700) == 0 && write_to(versions[i].limit, limit))
            return true;
        rmdir(cgroup);
    }
    return false;
}

static int fill_container(void *arg)
{
    void *blocks[200];
    size_t count = 0;

    while (count < COUNT(blocks) && (blocks[count] = td_shared_alloc(MIB)))
        memset(blocks[count++], 1, MIB);
    expect(count >= 20 && count <= 96);
    while (count > 0)
        td_shared_free(blocks[--count]);
    expect_balance(0, 0);
    return 0;
}

static int run_in_container(void **state)
{
    if (!write_to("cgroup.procs", "0"))
        return -EPERM;
    return td_run_with(&(td_opts){.backend = backend_of(state), .shared_bytes_max = 1024 * MIB}, fill_container, NULL);
}

/* Nobody is killed: the arena refuses before the kernel looks for a victim. */
UNUSED static void a_full_container_is_an_answer(void **state)
{
    struct ending ending;

    if (!make_cgroup())
        skip();
    ending = in_child(state, run_in_container);
    for (int i = 0; i < 1000 && rmdir(cgroup) < 0 && errno == EBUSY; i++)  /* its processes are still ending */
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_ended_well(&ending);
    assert_says(&ending, "the machine, or the container, has no more memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(many_small_blocks_fill_it),
        ON_BOTH(one_large_block_fills_it),
        ON_BOTH(a_fragmented_arena_still_has_large_blocks),
        ON_BOTH(a_chunk_that_is_free_again_serves_any_size),
        ON_BOTH(an_arena_that_stays_nearly_full_is_told_of_once),
        ON_BOTH(it_lives_within_a_limit_on_files),
        ON_BOTH(no_core_file_has_the_arena),
        NOT_SANITIZED(ON(TD_BACKEND_EPOLL, "epoll: ", it_lives_within_a_limit_on_addresses))
        NOT_SANITIZED(ON(TD_BACKEND_EPOLL, "epoll: ", a_full_container_is_an_answer))
    };

    return cmocka_run_group_tests_name("shared limits", tests, NULL, NULL);
}
