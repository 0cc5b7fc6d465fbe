/* SPDX-License-Identifier: MIT */
/*
 * trip|sum|hand spin|futex|pipe|unix|inplace WORKERS SECONDS WHAT PIN, jobs ring, ticker idle: the least that C programs can
 * do, with one worker process, without queue, bounds, deadline or anybody who notices its death.
 *
 *     spin     a word in a memory file, which both sides look at all the time; always pinned: on one core both stand still
 *     futex    the same word, and both sides sleep
 *     pipe     a pair of pipes; the data goes through
 *     unix     a pair of Unix sockets; likewise
 *     inplace  no worker: the caller does it itself
 *     ring     a thousand jobs under way in a memory file; likewise
 *     idle     a clock that ticks in the caller, beside workers of the idle class
 */
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../measure.h"

enum { IDLE, ASKED, ANSWERED };

struct shared {
    _Alignas(64) _Atomic uint32_t word;
    uint64_t size;    /* of the data to sum; 0: only its first byte */
    uint64_t answer;
    _Alignas(64) unsigned char data[];
};

struct floor {
    struct call call;
    struct shared *shared;
    unsigned char *data;   /* private, where it goes through a pipe or a socket */
    int to, from;          /* descriptors */
};

static void must(bool well, const char *what)
{
    if (!well) {
        perror(what);
        exit(1);
    }
}

static void look(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void until_word_is(struct floor *floor, uint32_t wanted)
{
    uint32_t found;

    if (is(floor->call.kind, "futex")) {
        while ((found = atomic_load(&floor->shared->word)) != wanted)
            syscall(SYS_futex, &floor->shared->word, FUTEX_WAIT, found, NULL, NULL, 0);
        return;
    }
    for (unsigned turn = 1; atomic_load_explicit(&floor->shared->word, memory_order_acquire) != wanted; turn++) {
        look();
        if (turn % 16384 == 0)
            sched_yield();  /* on one core nothing would happen */
    }
}

static void set_word(struct floor *floor, uint32_t value)
{
    atomic_store(&floor->shared->word, value);
    if (is(floor->call.kind, "futex"))
        syscall(SYS_futex, &floor->shared->word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static uint64_t work_on(const unsigned char *data, size_t size)
{
    return size > 0 ? work_sum(data, size) : (uint64_t)work_touch(data);
}

static void transfer(int fd, unsigned char *data, size_t size, bool out)
{
    for (ssize_t n; size > 0; data += n, size -= (size_t)n) {
        n = out ? write(fd, data, size) : read(fd, data, size);
        if (n <= 0)
            _exit(0);  /* the other side has ended */
    }
}

static void serve_words(struct floor *floor)
{
    for (;;) {
        until_word_is(floor, ASKED);
        floor->shared->answer = work_on(floor->shared->data, floor->shared->size);
        set_word(floor, ANSWERED);
    }
}

/* A request is its size, whether to sum, then the data. */
static void serve_bytes(struct floor *floor)
{
    uint64_t head[2], answer;

    for (;;) {
        transfer(floor->to, (void *)head, sizeof head, false);
        transfer(floor->to, floor->data, head[0], false);
        answer = work_on(floor->data, head[1] ? head[0] : 0);
        transfer(floor->from, (void *)&answer, sizeof answer, true);
    }
}

static uint64_t ask(struct floor *floor, size_t size, bool sum)
{
    uint64_t head[2] = {size, sum}, answer;

    if (is(floor->call.kind, "inplace"))
        return work_on(floor->shared->data, sum ? size : 0);
    if (is(floor->call.kind, "pipe") || is(floor->call.kind, "unix")) {
        transfer(floor->to, (void *)head, sizeof head, true);
        transfer(floor->to, floor->data, size, true);
        transfer(floor->from, (void *)&answer, sizeof answer, false);
        return answer;
    }
    floor->shared->size = sum ? size : 0;
    set_word(floor, ASKED);
    until_word_is(floor, ANSWERED);
    return floor->shared->answer;
}

static void open_descriptors(struct floor *floor, int *to, int *from)
{
    int both[2];

    if (is(floor->call.kind, "pipe")) {
        must(pipe(to) == 0 && pipe(from) == 0, "pipe");
        return;
    }
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, both) == 0, "socketpair");
    to[0] = from[1] = both[0];
    to[1] = from[0] = both[1];
}

static void start_worker(struct floor *floor)
{
    int to[2], from[2];

    open_descriptors(floor, to, from);
    floor->to = to[1];
    floor->from = from[0];
    if (is(floor->call.kind, "inplace") || fork() > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    floor->to = to[0];
    floor->from = from[1];
    if (floor->call.pin)
        pin_to(1);
    (is(floor->call.kind, "pipe") || is(floor->call.kind, "unix") ? serve_bytes : serve_words)(floor);
}

static void trips(struct floor *floor)
{
    struct course course = course_begin(floor->call.seconds);
    long gap = strtol(floor->call.what, NULL, 10) * 1000;
    struct timespec pause = {0, gap};
    double began;

    do {
        if (gap > 0)
            nanosleep(&pause, NULL);
        began = now_ns();
        ask(floor, 1, false);
    } while (course_add(&course, began, now_ns()));
    print_trips(&course);
}

static unsigned char *data_of(struct floor *floor)
{
    return is(floor->call.kind, "pipe") || is(floor->call.kind, "unix") ? floor->data : floor->shared->data;
}

static void sums(struct floor *floor)
{
    struct course course = course_begin(floor->call.seconds);
    double began, ended;
    uint64_t sum;
    int byte = 0;

    do {
        memset(data_of(floor), ++byte & 0xff, BYTES);
        began = now_ns();
        sum = ask(floor, BYTES, true);
        ended = now_ns();
        check_sum(sum, byte & 0xff, BYTES);
    } while (course_add(&course, began, ended));
    print_sums(&course);
}

static void hands(struct floor *floor)
{
    size_t sizes[] = SIZES;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct course course = course_begin(floor->call.seconds / 5);
        double began;
        int byte = 0;

        memset(data_of(floor), 1, sizes[i]);
        do {
            data_of(floor)[0] = (unsigned char)++byte;
            began = now_ns();
            if (ask(floor, sizes[i], false) != (uint64_t)(byte & 0xff))
                exit(1);
        } while (course_add(&course, began, now_ns()));
        print_hand(&course, sizes[i]);
    }
}

struct ring {
    _Alignas(64) _Atomic uint64_t given;
    _Alignas(64) _Atomic uint64_t done;
    struct {
        int (*fn)(void *arg);
        void *arg;
        int64_t rc;
    } jobs[IN_FLIGHT];
};

static int empty(void *arg)
{
    (void)arg;
    return 0;
}

static void serve_ring(struct ring *ring)
{
    for (uint64_t at = 0, given;; atomic_store_explicit(&ring->done, at, memory_order_release)) {
        while ((given = atomic_load_explicit(&ring->given, memory_order_acquire)) == at)
            look();
        for (; at < given; at++)
            ring->jobs[at % IN_FLIGHT].rc = ring->jobs[at % IN_FLIGHT].fn(ring->jobs[at % IN_FLIGHT].arg);
    }
}

/* Reaps what is done, and gives as much again. */
static void turn_ring(struct ring *ring, uint64_t *at)
{
    uint64_t done = atomic_load_explicit(&ring->done, memory_order_acquire);

    if (*at == done + IN_FLIGHT)
        look();
    for (; *at < done + IN_FLIGHT; ++*at) {
        if (ring->jobs[*at % IN_FLIGHT].rc != 0)
            exit(1);
        ring->jobs[*at % IN_FLIGHT].fn = empty;
        ring->jobs[*at % IN_FLIGHT].arg = NULL;
    }
    atomic_store_explicit(&ring->given, *at, memory_order_release);
}

static void jobs(struct floor *floor)
{
    struct ring *ring = (struct ring *)floor->shared->data;
    double warm = now_ns() + floor->call.seconds * 2e8, until = warm + floor->call.seconds * 8e8, began, cpu;
    uint64_t at = 0, before;

    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (floor->call.pin)
            pin_to(1);
        serve_ring(ring);
    }
    if (floor->call.pin)
        pin_to(0);
    while (now_ns() < warm)
        turn_ring(ring, &at);
    cpu = tree_cpu_ns();
    before = at;
    began = now_ns();
    while (now_ns() < until)
        turn_ring(ring, &at);
    print_jobs((double)(at - before), began, cpu);
}

static void ticker(struct floor *floor)
{
    double began = now_ns(), until = began + floor->call.seconds * 1e9, *late = calloc(SAMPLES_MAX, sizeof *late);
    long count = 0;

    must(late != NULL, "calloc");
    for (int i = 0; i < COMPUTATIONS; i++)
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0});
            work_burn(floor->call.seconds);
            _exit(0);
        }
    prctl(PR_SET_TIMERSLACK, 1);
    for (double next = began + 1e6; next < until && count < SAMPLES_MAX; next += 1e6) {
        struct timespec at = {(time_t)(next / 1e9), (long)(next - (double)(time_t)(next / 1e9) * 1e9)};

        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        late[count++] = now_ns() - next;
    }
    print_late(late, count);
    free(late);
}

int main(int argc, char **argv)
{
    struct floor floor = {.call = call_of(argc, argv)};
    int file = memfd_create("floor", MFD_CLOEXEC);

    must(file >= 0 && ftruncate(file, sizeof *floor.shared + BIGGEST) == 0, "a memory file");
    floor.data = malloc(BIGGEST);
    must(floor.data != NULL, "memory");
    floor.shared = mmap(NULL, sizeof *floor.shared + BIGGEST, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    must(floor.shared != MAP_FAILED, "memory");
    floor.call.pin |= is(floor.call.kind, "spin") || is(floor.call.kind, "ring");
    if (is(floor.call.measure, "jobs") || is(floor.call.measure, "ticker")) {
        (is(floor.call.measure, "jobs") ? jobs : ticker)(&floor);
        return 0;
    }
    start_worker(&floor);
    if (floor.call.pin)
        pin_to(0);
    (is(floor.call.measure, "trip") ? trips : is(floor.call.measure, "sum") ? sums : hands)(&floor);
    return 0;
}
