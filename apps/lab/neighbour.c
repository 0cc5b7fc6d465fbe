/* SPDX-License-Identifier: MIT */
#include "neighbour.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine.h"

uint64_t bytes_sum(const unsigned char *bytes, size_t size)
{
    uint64_t sum = 0, word;
    size_t at = 0;

    for (; at + sizeof word <= size; at += sizeof word) {
        memcpy(&word, bytes + at, sizeof word);
        sum += word;
    }
    for (; at < size; at++)
        sum += bytes[at];
    return sum;
}

void bytes_touch(unsigned char *bytes, size_t size)
{
    bytes[0]++;
    bytes[size - 1]++;
}

static int write_all(int fd, const void *data, size_t size)
{
    const char *at = data;

    while (size > 0) {
        ssize_t n = write(fd, at, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -EPIPE;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

static int read_all(int fd, void *data, size_t size)
{
    char *at = data;

    while (size > 0) {
        ssize_t n = read(fd, at, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -EPIPE;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

/* The child's life: it ends when nobody writes any more. */
static void be_neighbour(int in, int out)
{
    unsigned char *bytes = malloc(NEIGHBOUR_BYTES_MAX);
    struct neighbour_order order;
    uint64_t sum;

    if (!bytes)
        _exit(1);
    while (read_all(in, &order, sizeof order) == 0) {
        if (order.size > NEIGHBOUR_BYTES_MAX || read_all(in, bytes, order.size) < 0)
            _exit(1);
        if (order.sum) {
            sum = bytes_sum(bytes, order.size);
            if (write_all(out, &sum, sizeof sum) < 0)
                _exit(1);
        } else {
            bytes_touch(bytes, order.size);
            if (write_all(out, bytes, order.size) < 0)
                _exit(1);
        }
    }
    _exit(0);
}

/* The ends that are the child's are closed here, and the other way round. */
static int meet(struct neighbour *neighbour, int theirs_in, int theirs_out, int ours_to, int ours_from)
{
    neighbour->pid = fork();
    if (neighbour->pid == 0) {
        (void)setpriority(PRIO_PROCESS, 0, MACHINE_WORKER_NICE);
        (void)signal(SIGINT, SIG_IGN);  /* from a keyboard it reaches all; the program decides, and closes its end */
        close(ours_to);
        if (ours_from != ours_to)
            close(ours_from);
        be_neighbour(theirs_in, theirs_out);
    }
    close(theirs_in);
    if (theirs_out != theirs_in)
        close(theirs_out);
    neighbour->to = ours_to;
    neighbour->from = ours_from;
    return neighbour->pid < 0 ? -EAGAIN : 0;
}

int neighbour_by_pipe(struct neighbour *neighbour)
{
    int there[2], back[2];

    if (pipe2(there, O_CLOEXEC) < 0)
        return -errno;
    if (pipe2(back, O_CLOEXEC) < 0) {
        close(there[0]);
        close(there[1]);
        return -EMFILE;
    }
    return meet(neighbour, there[0], back[1], there[1], back[0]);
}

int neighbour_by_socket(struct neighbour *neighbour)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    return meet(neighbour, ends[0], ends[0], ends[1], ends[1]);
}

void neighbour_part(struct neighbour *neighbour)
{
    if (neighbour->to < 0)
        return;
    close(neighbour->to);
    if (neighbour->from != neighbour->to)
        close(neighbour->from);
    if (neighbour->pid > 0)
        (void)waitpid(neighbour->pid, NULL, 0);
}

int neighbour_exchange(const struct neighbour *neighbour, struct neighbour_order *order, size_t size, bool sum, uint64_t *answer)
{
    int rc;

    *order = (struct neighbour_order){.size = size, .sum = sum};
    rc = write_all(neighbour->to, order, sizeof *order + size);  /* one call for both, as a good program has it */
    if (rc == 0)
        rc = sum ? read_all(neighbour->from, answer, sizeof *answer) : read_all(neighbour->from, order + 1, size);
    return rc;
}
