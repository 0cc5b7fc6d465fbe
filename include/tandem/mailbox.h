/* SPDX-License-Identifier: MIT */
/*
 * Mailboxes: bounded queues between threads, and the only way between them. The task that opens a mailbox receives, and
 * the other tasks of its loop may; whoever has the pointer sends: tasks of any loop, and threads that run no loop.
 *
 *     static int receiver(void *arg)                      // on loop 0
 *     {
 *         td_mailbox *box;
 *         struct job job;
 *         int rc = td_mailbox_open(&box, &(td_mailbox_opts){.item_size = sizeof job, .capacity = 64});
 *         if (rc < 0)
 *             return rc;
 *         td_mailbox_retain(box);                         // the thread's reference
 *         pthread_create(&thread, NULL, producer, box);
 *         while ((rc = td_mailbox_receive(box, &job)) == 0)
 *             work_on(&job);
 *         td_mailbox_free(box);                           // the producer's further sends answer -EPIPE
 *         pthread_join(thread, NULL);
 *         return rc == -EPIPE ? 0 : rc;
 *     }
 *
 *     static void *producer(void *arg)                    // a thread of the program's own
 *     {
 *         td_mailbox *box = arg;
 *         struct job job;
 *         while (read_job(&job) && td_mailbox_send(box, &job) == 0)
 *             ;
 *         td_mailbox_close(box);
 *         td_mailbox_release(box);
 *         return NULL;
 *     }
 *
 * Lifetime. A mailbox is freed by its receiver's side with td_mailbox_free, before the loop that opened it ends. Whoever
 * may still use it then holds a reference: one is taken for it with td_mailbox_retain while the mailbox is surely alive
 * (before the thread starts, say), and given back by it with td_mailbox_release. A freed mailbox with references answers
 * -EPIPE. Tasks that are joined before the mailbox is freed need none.
 *
 * References and deadlocks. A task that waits in a mailbox waits for somebody outside of its loop. It is no deadlock while
 * another loop of the same td_run is busy, or while somebody holds a reference (the last one given back, it may be one).
 * So a thread without a reference is not counted on.
 *
 * Items come in the order they were sent by each sender, and senders that wait are served in the order they came, tasks
 * and threads alike. The memory of a mailbox is private: a worker process can not send to it.
 */
#ifndef TANDEM_MAILBOX_H
#define TANDEM_MAILBOX_H

#include <stddef.h>

#include "tandem/pool.h"
#include "tandem/time.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_mailbox td_mailbox;

typedef struct td_mailbox_opts {
    size_t item_size;        /* bytes, at least 1; items are copied in and out */
    size_t capacity;         /* items, at least 1 */
    td_when_full when_full;  /* TD_WAIT, TD_REJECT, TD_DROP_OLDEST */
    const char *name;        /* for dumps; copied; may be NULL */
} td_mailbox_opts;

/* Opens a mailbox whose receivers are tasks of the calling task's loop. Not a checkpoint. Returns 0, -EINVAL, -ENOMEM. */
int td_mailbox_open(td_mailbox **box, const td_mailbox_opts *opts);

/*
 * Puts a copy of *item into the mailbox. Full, it waits, is refused or drops the oldest item, by the mailbox's policy. A
 * task that waits parks on its own loop; a thread that runs no loop blocks.
 *
 * Checkpoint: yes, for a task.  Thread: any, but no signal handler.
 * Returns 0; -EBUSY when full and the mailbox rejects; -EPIPE when closed; -ECANCELED (a task only); -EOWNERDEAD in a
 * forked child. On any error the item is not in the mailbox.
 */
int td_mailbox_send(td_mailbox *box, const void *item);

/*
 * The same, and never waits: -EBUSY when full, but in a mailbox that drops. Not a checkpoint.  Thread: as
 * td_mailbox_send.
 */
int td_mailbox_try_send(td_mailbox *box, const void *item);

/*
 * Takes the oldest item. Checkpoint: yes, whether or not it waits.  Thread: a task of the loop that opened it.
 * Returns 0; -EPIPE when the mailbox is closed and empty; -ECANCELED (then no item was taken); -EOWNERDEAD in a forked
 * child.
 */
int td_mailbox_receive(td_mailbox *box, void *item);

/*
 * Closes it: sends, those that wait too, answer -EPIPE; receivers get what is in it, then -EPIPE. Harmless when repeated.
 * Not a checkpoint.  Thread: as td_mailbox_send.
 */
void td_mailbox_close(td_mailbox *box);

/*
 * Closes it if need be, drops what is in it, and gives up the receiver's reference; NULL is ignored. No task may be
 * receiving. A loop that ends with a mailbox open aborts the program. Not a checkpoint.  Thread: as td_mailbox_receive.
 */
void td_mailbox_free(td_mailbox *box);

/* Takes a reference for somebody who will send, and gives it back. Not a checkpoint.  Thread: as td_mailbox_send. */
void td_mailbox_retain(td_mailbox *box);
void td_mailbox_release(td_mailbox *box);

typedef struct td_mailbox_stats {
    size_t count, peak, capacity;      /* items in it, at the most so far, and allowed */
    size_t senders_waiting, receivers_waiting;
    td_time oldest_age_ns;             /* of the item that waits longest; 0 when there is none */
    unsigned long long sent, received, rejected, dropped;
    unsigned long long wakes;          /* times a sender had to wake the receiver's loop */
    unsigned long long wakes_saved;    /* sends that found it awake, or woken by another */
} td_mailbox_stats;

/* Not a checkpoint.  Thread: as td_mailbox_send. receivers_waiting is right on the receiver's loop, 0 or 1 elsewhere. */
void td_mailbox_statistics(td_mailbox *box, td_mailbox_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
