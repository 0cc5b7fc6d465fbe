/* SPDX-License-Identifier: MIT */
/*
 * What docs/shared-memory.md promises to programs in other languages: layout.py gets the two descriptors, checks what they
 * are, and works on blocks by offset and size.
 */
#include <sys/mman.h>
#include <sys/socket.h>

#include "run/harness.h"
#include "shared/arena.h"

#define KIB 1024u

static struct {
    const char *path;       /* of layout.py */
    int socket;
    pid_t pid;
} stranger;

static int start_stranger(void **state)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    fflush(NULL);
    stranger.pid = fork();
    assert_true(stranger.pid >= 0);
    if (stranger.pid == 0) {
        dup2(pair[1], STDIN_FILENO);
        execl("/usr/bin/python3", "python3", stranger.path, (char *)NULL);
        _exit(1);
    }
    close(pair[1]);
    stranger.socket = pair[0];
    return 0;
}

static int stop_stranger(void **state)
{
    int status = 0;

    close(stranger.socket);
    assert_int_equal(waitpid(stranger.pid, &status, 0), stranger.pid);
    return status;
}

struct task {
    uint64_t at, size, out_at, out_size;
};

/* Sends the task and both descriptors, and waits for the answer. */
static void ask(int main_fd, int output_fd, const struct task *task, char *answer, size_t room)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec iov = {(void *)task, sizeof *task};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    ssize_t n;

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(2 * sizeof(int));
    memcpy(CMSG_DATA(header), (int[]){main_fd, output_fd}, 2 * sizeof(int));
    expect_int(sendmsg(stranger.socket, &message, 0), sizeof *task);
    n = recv(stranger.socket, answer, room - 1, 0);
    answer[n > 0 ? n : 0] = '\0';
}

/* Blocks of `size` bytes, in both files; `main_fd` as the stranger gets it. */
static void work_on(struct arena *arena, int main_fd, size_t size, bool writable)
{
    unsigned char *input = td_shared_alloc(size), *output = arena_reserve(arena, 64, arena_new_owner(arena));
    struct task task = {td_shared_offset(input), size, td_shared_offset(output), 64};
    uint64_t sum = 0, got;
    char answer[200];

    for (size_t i = 0; i < size; i++)
        sum += input[i] = (unsigned char)(i * 7 % 251);
    ask(main_fd, arena_region(arena, ARENA_OUTPUT)->fd, &task, answer, sizeof answer);
    expect_text(answer, "ok");
    memcpy(&got, output, sizeof got);
    expect_int((long long)got, (long long)sum);
    for (size_t i = 0; i < size; i++)
        if (!expect_int(input[writable ? size - 1 - i : i], (long long)(i * 7 % 251)))
            break;
    arena_give(arena, output);
    td_shared_free(output);
    td_shared_free(input);
}

static int work(void *arg)
{
    struct arena *arena = arena_current();

    for (size_t size = 10; size < 400 * KIB; size *= 9)
        work_on(arena, arena_region(arena, ARENA_MAIN)->fd, size, true);
    return 0;
}

static void a_program_in_another_language_works_on_blocks(void **state)
{
    assert_int_equal(run(state, work, NULL), 0);
}

/* The kernel refuses whatever would make it writable, so that no code in a strict worker could. */
static void expect_read_only(int fd, const struct arena_region *region)
{
    void *at = mmap(NULL, region->size, PROT_READ, MAP_SHARED, fd, 0);

    expect(at != MAP_FAILED);
    expect(mprotect(at, region->size, PROT_READ | PROT_WRITE) < 0 && errno == EACCES);
    munmap(at, region->size);
    expect(mmap(NULL, region->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EACCES);
    expect(pwrite(fd, "x", 1, 0) < 0);
}

static int work_strictly(void *arg)
{
    struct arena *arena = arena_current();
    int fd = region_open_read_only(arena_region(arena, ARENA_MAIN));

    expect(fd >= 0);
    expect_read_only(fd, arena_region(arena, ARENA_MAIN));
    work_on(arena, fd, 1000, false);
    close(fd);
    return 0;
}

static void with_a_read_only_descriptor_inputs_cannot_be_written(void **state)
{
    assert_int_equal(run(state, work_strictly, NULL), 0);
}

static int look_at_header(void *arg)
{
    const struct arena_region *files[] = {arena_region(arena_current(), ARENA_MAIN),
                                          arena_region(arena_current(), ARENA_OUTPUT)};

    for (int i = 0; i < ARENA_REGIONS; i++) {
        struct arena_header header;

        memcpy(&header, files[i]->base, sizeof header);
        expect(memcmp(&header, "tndarena", 8) == 0);
        expect(header.version == 1 && header.header_bytes == 64 && header.chunk_bytes == 65536 && header.align == 64);
        expect(header.base == (uintptr_t)files[i]->base && header.size == files[i]->size);
        expect(header.offset == (i ? files[0]->size : 0));
        expect(header.output_offset == files[0]->size && header.output_size == files[1]->size);
    }
    return 0;
}

static void each_file_says_what_it_is(void **state)
{
    assert_int_equal(run(state, look_at_header, NULL), 0);
}

UNUSED static int spoil_header(void **state)
{
    struct arena arena;

    assert_int_equal(arena_open(&arena, 0), 0);
    arena_region(&arena, ARENA_MAIN)->base[0] = 'x';
    return 0;
}

UNUSED static void nobody_writes_over_a_header(void **state)
{
    struct ending ending = in_child(NULL, spoil_header);

    assert_killed_by(&ending, SIGSEGV);
}

/* A file like the arena's, but for one thing in its header. */
static void expect_refused(struct arena_header header, size_t size, const char *answer_wanted)
{
    size_t written = size < sizeof header ? size : sizeof header;
    int fd = memfd_create("no-arena", MFD_CLOEXEC);
    char answer[200];

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    assert_int_equal(pwrite(fd, &header, written, 0), written);
    ask(fd, fd, &(struct task){64, 8, 64, 8}, answer, sizeof answer);
    assert_string_equal(answer, answer_wanted);
    close(fd);
}

static void what_is_no_arena_of_this_version_is_refused(void **state)
{
    const struct arena_header good = {ARENA_MAGIC, ARENA_VERSION, 64, 0, ARENA_CHUNK, 0, ARENA_CHUNK, ARENA_CHUNK, 65536, 64};
    struct arena_header header = good;

    header.version = 2;
    expect_refused(header, ARENA_CHUNK, "refused: version 2, and this program knows 1");
    header = good;
    header.magic++;
    expect_refused(header, ARENA_CHUNK, "refused: no arena: its first eight bytes are others");
    expect_refused(good, 2 * ARENA_CHUNK, "refused: a header that does not fit its file");
    expect_refused(good, 32, "refused: too short for a header");
    expect_refused(good, ARENA_CHUNK, "refused: a header that does not fit its file");  /* the second file: main's again */
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_program_in_another_language_works_on_blocks),
        ON_BOTH(with_a_read_only_descriptor_inputs_cannot_be_written),
        ON_BOTH(each_file_says_what_it_is),
        NOT_SANITIZED(cmocka_unit_test(nobody_writes_over_a_header))  /* they report the signal in their own way */
        cmocka_unit_test(what_is_no_arena_of_this_version_is_refused),
    };

    stranger.path = argc > 1 ? argv[1] : "tests/shared/layout.py";
    return cmocka_run_group_tests_name("shared layout", tests, start_stranger, stop_stranger);
}
