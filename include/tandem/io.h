/* SPDX-License-Identifier: MIT */
/*
 * Waiting for any descriptor: for what the library has no call of its own.
 */
#ifndef TANDEM_IO_H
#define TANDEM_IO_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Waits until the descriptor is readable (or at its end, or broken). It must be one that poll(2) can wait for, and
 * not be a td_stream's.
 *
 * Checkpoint: yes.  Thread: a task.  Returns 0; -ECANCELED; -EPERM for a descriptor that cannot be waited for; -EBADF.
 */
int td_wait_readable(int fd);

#ifdef __cplusplus
}
#endif
#endif
