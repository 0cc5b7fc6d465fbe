/* SPDX-License-Identifier: MIT */
/*
 * Looking at a loop from another thread: its tree, and the stack of what runs on it.
 *
 * A loop that takes turns answers by a note, in between two tasks. One that computes is interrupted by a real-time signal, and
 * its handler answers. One that waits in a system call is not interrupted, because many calls would end early with EINTR
 * (signal(7)): as it changes nothing while it waits, it is read from outside.
 */
#ifndef TANDEM_DEBUG_INSPECT_H
#define TANDEM_DEBUG_INSPECT_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "debug/thread.h"
#include "debug/tree.h"
#include "loop/loop.h"

struct inspected {
    struct loop *loop;
    pthread_t thread;
    int tid, signal;
    uintptr_t low, high;           /* the thread's own stack */
    struct loop_note note;
    _Atomic bool note_is_out;      /* the loop has not taken it yet */
    _Atomic int request;           /* whoever moves it to "taken" answers it */
    sem_t answered;
    struct tree tree;              /* the answers: this, or the frames */
    uintptr_t frames[FRAMES_MAX];
    size_t frames_count;
};

/* How a tree was come by. */
enum inspected_how { INSPECTED_BY_NOTE, INSPECTED_BY_SIGNAL, INSPECTED_FROM_OUTSIDE };

/*
 * Finds a real-time signal that nobody uses and installs our handler for it; 0 when there is none. Once a process;
 * inspect_signal_close gives it back.
 */
int inspect_signal_open(void);
void inspect_signal_close(int signal);

/* Called on the loop's thread, before and after it may be looked at. */
void inspect_attach(struct inspected *inspected, struct loop *loop, int signal);
void inspect_detach(struct inspected *inspected);

/*
 * Writes the loop's tree into room, which is in use until the next call; inspected->tree.text has the result. One asker
 * at a time; not the loop's own thread.
 */
enum inspected_how inspect_tree(struct inspected *inspected, struct tree_room *room);

/* The stack of what holds the loop, into inspected->frames and frames_count. As above. */
void inspect_frames(struct inspected *inspected, const struct thread_look *look);

#endif
