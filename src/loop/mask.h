/* SPDX-License-Identifier: MIT */
/*
 * A write to a pipe without a reader, or past a size limit, is an answer (-EPIPE, -EFBIG), not the end of the program. The
 * kernel sends SIGPIPE and SIGXFSZ to the thread that wrote, which with io_uring is the loop's too, so it is enough to
 * block them there, and the dispositions stay the program's.
 */
#ifndef TANDEM_LOOP_MASK_H
#define TANDEM_LOOP_MASK_H

#include <signal.h>

/* Blocks both on the calling thread; *before is for mask_restore. Before the first task: a context may have its own mask. */
void mask_writers_signals(sigset_t *before);

/* As it was; what came meanwhile was answered already, and is dropped. */
void mask_restore(const sigset_t *before);

#endif
