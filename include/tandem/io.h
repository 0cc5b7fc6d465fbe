/* SPDX-License-Identifier: MIT */
/*
 * Pipes, terminals, and any other descriptor: reading, writing, waiting; and a way to wake a task from anywhere.
 */
#ifndef TANDEM_IO_H
#define TANDEM_IO_H

#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Waits until the descriptor is readable (or at its end, or broken), or writable (or broken). It must be one that
 * poll(2) can wait for, and not be a td_stream's or td_fd's. Any number of tasks may wait for the same one.
 *
 * Checkpoint: yes.  Thread: a task.  Returns 0; -ECANCELED; -EPERM for a descriptor that cannot be waited for; -EBADF.
 */
int td_wait_readable(int fd);
int td_wait_writable(int fd);

/*
 * A descriptor that tasks read and write: a pipe, a terminal, a character device, a socket, a file to be read through.
 * At most one task reads it at a time, and one writes. It belongs to the loop of the task that made it.
 *
 * While a loop runs, SIGPIPE and SIGXFSZ are blocked on its thread: a write to what nobody reads answers -EPIPE.
 */
typedef struct td_fd td_fd;

/*
 * Takes a descriptor over, one that others made or share: standard input, say. Its flags are left as they are, since
 * O_NONBLOCK would hold for everybody who has it, the shell and other programs included. With io_uring nothing more is
 * needed. With epoll the pipe or terminal is opened a second time, through /proc, for flags of its own; a descriptor
 * for which that is not possible (it belongs to another user) is waited for and then read by a thread.
 *
 * Not a checkpoint.  Returns 0 and *fd; -EBADF; -EISDIR for a folder; -ENOMEM, -EMFILE. On an error the descriptor is
 * still the caller's.
 */
int td_fd_adopt(td_fd **fd, int descriptor);

/* Makes a pipe; both ends are closed in programs that are started. Not a checkpoint. Returns 0, -EMFILE, -ENFILE, -ENOMEM. */
int td_pipe(td_fd **reader, td_fd **writer);

/*
 * Reads what there is, waiting for the first byte.
 *
 * Checkpoint: yes.  Returns the count; 0 at the end; -EBADF when it cannot be read; -ECANCELED, and then no byte is
 * lost; what else the system says (-EIO for a terminal that is gone).
 */
ssize_t td_fd_read(td_fd *fd, void *data, size_t size);

/*
 * Writes all of it, waiting for room.
 *
 * Checkpoint: yes.  Returns the count, which is smaller than `size` only when something ended the write after a part of
 * it; otherwise what did: -EPIPE when nobody reads any more, -EBADF, -ECANCELED.
 */
ssize_t td_fd_write(td_fd *fd, const void *data, size_t size);

/* The descriptor as it was adopted, or as td_pipe made it; it stays the object's. Not a checkpoint. */
int td_fd_descriptor(const td_fd *fd);

/* Frees the object and closes the descriptor; or leaves it open, and returns it. No task may be using it. Not checkpoints. */
void td_fd_close(td_fd *fd);
int td_fd_release(td_fd *fd);

/*
 * A wake-up: any thread, or a signal's handler, triggers it, and a task of the loop that opened it waits for it.
 * Triggers that come before the task looks are one.
 */
typedef struct td_wakeup td_wakeup;

/* Not a checkpoint. Returns 0 and *wakeup, -EMFILE, -ENFILE, -ENOMEM. */
int td_wakeup_open(td_wakeup **wakeup);

/* Safe in any thread and in handlers of signals, between open and close. Not a checkpoint. */
void td_wakeup_trigger(td_wakeup *wakeup);

/* Waits until it was triggered since the last wait; one task at a time. Checkpoint: yes. Returns 0, -ECANCELED. */
int td_wakeup_wait(td_wakeup *wakeup);

/* Frees it; nobody may be using it. Not a checkpoint. */
void td_wakeup_close(td_wakeup *wakeup);

#ifdef __cplusplus
}
#endif
#endif
