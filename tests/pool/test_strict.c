/* SPDX-License-Identifier: MIT */
/* What a strict worker cannot do, and what it still can. Each in a child of its own, without a pool. */
#include <fcntl.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "pool/limits.h"
#include "pool/strict.h"
#include "run/harness.h"

#define SIZE (1u << 20)
#define OTHER_END 7  /* a descriptor that is open, and not the eventfd */

struct room {
    int fd, event_fd;
    char *inputs;
};

/* Sealed, and fenced in. */
static struct room room_strict(bool may_move_cpu_limit)
{
    struct room room = {.fd = memfd_create("strict", MFD_CLOEXEC), .event_fd = eventfd(0, EFD_CLOEXEC)};

    expect(room.fd >= 0 && room.event_fd >= 0 && dup2(room.fd, OTHER_END) == OTHER_END);
    expect_int(ftruncate(room.fd, SIZE), 0);
    room.inputs = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, room.fd, 0);
    expect(room.inputs != MAP_FAILED);
    room.inputs[0] = 'i';
    expect_int(strict_seal(&(struct arena_region){room.fd, room.inputs, SIZE}), 0);
    expect_int(strict_fence(room.event_fd, may_move_cpu_limit), 0);
    return room;
}

static void open_a_file(void) { (void)open("/etc/hostname", O_RDONLY); }
static void open_a_socket(void) { (void)socket(AF_INET, SOCK_STREAM, 0); }
static void have_a_child(void) { (void)fork(); }
static void run_a_program(void) { execl("/bin/true", "true", NULL); }
static void signal_the_parent(void) { kill(getppid(), SIGUSR1); }
static void signal_a_neighbour(void) { syscall(SYS_tgkill, 1, 1, 0); }
static void read_something(void) { char byte; (void)!read(OTHER_END, &byte, 1); }
static void write_elsewhere(void) { (void)!write(OTHER_END, "x", 1); }
static void close_something(void) { close(OTHER_END); }
static void map_a_file(void) { mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, OTHER_END, 0); }
static void lift_a_limit(void) { setrlimit(RLIMIT_DATA, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}); }
static void lift_anothers_limit(void) { prlimit(1, RLIMIT_CPU, &(struct rlimit){1, 1}, NULL); }
static void drop_pages(void) { madvise(NULL, 0, MADV_REMOVE); }
static void poison_pages(void) { madvise(NULL, 0, MADV_HWPOISON); }
static void change_the_rules(void) { prctl(PR_SET_DUMPABLE, 1); }

#ifdef __x86_64__
/* getpid by the 32-bit way in, and in the x32 numbering. */
static void use_another_way_in(void) { long rc; __asm__ volatile("int $0x80" : "=a"(rc) : "0"(20L) : "memory", "cc"); }
static void use_other_numbers(void) { syscall(0x40000000 + SYS_getpid); }
#endif

static void (*const forbidden[])(void) = {
    open_a_file, open_a_socket, have_a_child, run_a_program, signal_the_parent, signal_a_neighbour, read_something,
    write_elsewhere, close_something, map_a_file, lift_a_limit, lift_anothers_limit, drop_pages, poison_pages, change_the_rules,
#ifdef __x86_64__
    use_another_way_in, use_other_numbers,
#endif
};

/* Runs it in a strict child, and returns the wait status. What it does returns true when all was well. */
static int status_of(bool (*body)(struct room *room), void (*call)(void))
{
    int status = -1;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct room room;

        for (int i = 1; i < NSIG; i++)  /* cmocka catches some */
            (void)signal(i, SIG_DFL);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        room = room_strict(true);
        if (call)
            call();
        _exit(body && !body(&room));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void a_call_that_is_no_computing_ends_the_worker(void **state)
{
    for (size_t i = 0; i < COUNT(forbidden); i++) {
        int status = status_of(NULL, forbidden[i]);

        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            fail_msg("call %zu of those forbidden: status 0x%x", i, status);
    }
}

/* Every kind of memory, of clock and of luck; a word to the pool, and to whoever reads the log. */
static bool compute(struct room *room)
{
    struct timespec now, moment = {.tv_nsec = 1000};
    struct rusage usage;
    uint64_t one = 1;
    char *small = malloc(100), *large = malloc(1 << 20), *larger, bytes[8];
    void *pages = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (!small || !large || !(larger = realloc(large, 8 << 20)) || pages == MAP_FAILED)
        return false;
    larger[(8 << 20) - 1] = small[0] = 'm';
    free(small);
    free(larger);
    return madvise(pages, SIZE, MADV_DONTNEED) == 0 && mprotect(pages, 4096, PROT_READ) == 0 && munmap(pages, SIZE) == 0 &&
           clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0 && nanosleep(&moment, NULL) == 0 &&
           getrusage(RUSAGE_SELF, &usage) == 0 && getrandom(bytes, sizeof bytes, 0) == sizeof bytes &&
           sched_yield() == 0 && limits_cpu(0, td_sec(5)) == 0 && room->inputs[0] == 'i' &&
           write(room->event_fd, &one, sizeof one) == sizeof one && write(STDERR_FILENO, "", 0) == 0;
}

static void computing_goes_on(void **state)
{
    assert_int_equal(status_of(compute, NULL), 0);
}

static void give_up(void) { abort(); }
static void end_itself(void) { raise(SIGTERM); }

/* A crash is told from a forbidden call. */
static void a_crash_is_a_crash(void **state)
{
    assert_int_equal(WTERMSIG(status_of(NULL, give_up)), SIGABRT);
    assert_int_equal(WTERMSIG(status_of(NULL, end_itself)), SIGTERM);
}

static bool write_input(struct room *room)
{
    *(volatile char *)room->inputs = 'w';
    return true;
}

static bool make_it_writable(struct room *room)
{
    return mprotect(room->inputs, SIZE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES;
}

static bool take_its_pages(struct room *room)
{
    return madvise(room->inputs, 4096, MADV_DONTNEED) == 0 && room->inputs[0] == 'i';
}

static bool move_it(struct room *room)
{
    char *again = mremap(room->inputs, 0, SIZE, MREMAP_MAYMOVE);  /* of size 0: a second mapping of the same pages */

    return again == MAP_FAILED || (mprotect(again, SIZE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
}

static void inputs_stay_read_only(void **state)
{
    assert_int_equal(WTERMSIG(status_of(write_input, NULL)), SIGSEGV);
    assert_int_equal(status_of(make_it_writable, NULL), 0);
    assert_int_equal(status_of(take_its_pages, NULL), 0);
    assert_int_equal(status_of(move_it, NULL), 0);
}

/* A worker that cannot be sealed is not to run jobs: it has to be told so. */
static void a_refused_seal_is_an_error(void **state)
{
    char page[4096];

    assert_true(strict_seal(&(struct arena_region){4711, page, sizeof page}) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_that_is_no_computing_ends_the_worker), cmocka_unit_test(computing_goes_on),
        cmocka_unit_test(a_crash_is_a_crash), cmocka_unit_test(inputs_stay_read_only),
        cmocka_unit_test(a_refused_seal_is_an_error),
    };

    return cmocka_run_group_tests_name("pool strict", tests, NULL, NULL);
}
