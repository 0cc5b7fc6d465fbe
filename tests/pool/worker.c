/* SPDX-License-Identifier: MIT */
/*
 * A worker of a pool with a `command`, in C and without the library: docs/shared-memory.md is all it knows. Quick to start, for
 * tests that start many. tests/pool/worker.py is the one that shows how it is done.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { OP_HANG = 1, OP_SQUARE, OP_NAP };

struct hello {
    uint64_t magic;
    uint32_t version, job_bytes;
    uint64_t main_size, output_offset, output_size;
    uint32_t worker, nothing;
};

struct ready { uint64_t magic; uint32_t version, nothing; };
struct job { uint64_t ticket; uint32_t op, output_size; uint64_t arg, arg_size, output; };
struct done { uint64_t ticket; int32_t rc; uint32_t nothing; };

#define LINK 3

static char *map_main(struct hello *hello)
{
    union { struct cmsghdr header; char bytes[CMSG_SPACE(2 * sizeof(int))]; } control;
    struct iovec iov = {hello, sizeof *hello};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    int fds[2];

    if (recvmsg(LINK, &message, 0) != sizeof *hello || !CMSG_FIRSTHDR(&message))
        return MAP_FAILED;
    memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fds);
    return mmap(NULL, hello->main_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fds[0], 0);
}

static int run(const struct job *job, char *main_file)
{
    int *number = (int *)(void *)(main_file + job->arg);

    while (job->op == OP_HANG)
        pause();
    if (job->op == OP_NAP)
        return nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    if (job->op != OP_SQUARE || job->arg_size < sizeof *number)
        return -ENOSYS;
    *number *= *number;
    return 7;
}

int main(void)
{
    struct hello hello;
    struct job job;
    char *main_file = map_main(&hello);

    if (main_file == MAP_FAILED)
        return 1;
    if (send(LINK, &(struct ready){hello.magic, 1, 0}, sizeof(struct ready), 0) < 0)
        return 1;
    while (recv(LINK, &job, sizeof job, 0) == sizeof job)
        if (send(LINK, &(struct done){job.ticket, run(&job, main_file), 0}, sizeof(struct done), 0) < 0)
            return 1;
    return 0;
}
