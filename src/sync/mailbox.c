/* SPDX-License-Identifier: MIT */
/*
 * A ring under a short mutex (docs/decisions/0017 says why not a lock-free one).
 *
 * Invariants: 1. While a sender waits, the ring is full: whoever takes an item puts the longest-waiting sender's in its
 * place, in the same step. 2. `receivers` belongs to the receiver's loop; other threads look at `hungry` only: a receiver
 * waits, and nobody has told its loop yet. 3. `note` is on its way exactly while `note_out`, and holds a reference. 4. The
 * receiver's loop is touched under the mutex and only while the mailbox is open, so it outlives that.
 *
 * Order of locks: a mailbox's, then the fleet's.
 */
#include "tandem/mailbox.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/forks.h"
#include "loop/fleet.h"
#include "sync/queues.h"
#include "sync/waiters.h"

struct place {
    td_time since;
    char item[];
};

struct td_mailbox {
    pthread_mutex_t mutex;
    struct loop *loop;            /* the receivers' */
    unsigned forks;               /* of the process it belongs to */
    td_mailbox_opts opts;
    struct td_list receivers;     /* struct waiter */
    struct loop_note note;
    /* Under the mutex: */
    struct td_list senders;       /* struct sender, in the order they came */
    size_t refs, outsiders;       /* all references; those that td_mailbox_retain gave, while it is open */
    size_t first, stride;
    bool closed, hungry, note_out;
    td_mailbox_stats stats;       /* stats.count is the truth */
    char sending[DESCRIPTION_BYTES], receiving[DESCRIPTION_BYTES];
    _Alignas(struct place) char ring[];
};

/* One that waits for room, on its own stack: a task, or a thread that runs no loop. */
struct sender {
    struct td_list link;
    struct wait wait;
    td_mailbox *box;
    const void *item;
    int rc;
    struct td_task *task;         /* NULL: a thread, and it waits for: */
    pthread_cond_t served;
    bool done;
    struct loop_note note;        /* tells a task on another loop */
};

int td_mailbox_open(td_mailbox **out, const td_mailbox_opts *opts)
{
    struct td_task *self = task_self(__func__);
    size_t bytes, stride = (sizeof(struct place) + opts->item_size + 7) & ~(size_t)7;
    td_mailbox *box;

    if (self->sched->forked)
        return -EOWNERDEAD;
    if (!opts->item_size || !opts->capacity || opts->when_full > TD_DROP_OLDEST || stride < opts->item_size ||
        __builtin_mul_overflow(stride, opts->capacity, &bytes) || bytes > SIZE_MAX / 2)
        return -EINVAL;
    box = malloc(sizeof *box + bytes);
    if (!box)
        return -ENOMEM;
    *box = (struct td_mailbox){.loop = loop_of(self), .forks = forks_count(), .opts = *opts, .refs = 1, .stride = stride};
    if (box->opts.when_full == TD_POOL_DEFAULT)
        box->opts.when_full = TD_WAIT;
    box->stats.capacity = opts->capacity;
    pthread_mutex_init(&box->mutex, NULL);
    list_init(&box->receivers);
    list_init(&box->senders);
    waiters_describe(box->sending, sizeof box->sending, opts->name ? "send to mailbox" : "send to a mailbox", opts->name);
    waiters_describe(box->receiving, sizeof box->receiving,
                     opts->name ? "receive from mailbox" : "receive from a mailbox", opts->name);
    box->loop->mailboxes++;
    *out = box;
    return 0;
}

/* Whether this is a child of the process the mailbox belongs to: its lock may be held by a thread that is not here. */
static bool is_parents(const td_mailbox *box)
{
    return box->forks != forks_count();
}

static struct place *place(td_mailbox *box, size_t index)
{
    return (struct place *)(void *)(box->ring + (box->first + index) % box->opts.capacity * box->stride);
}

static void push(td_mailbox *box, const void *item)
{
    struct place *at = place(box, box->stats.count);

    assert(box->stats.count < box->opts.capacity);
    at->since = clock_real();
    copy_item(at->item, item, box->opts.item_size);
    box->stats.sent++;
    if (++box->stats.count > box->stats.peak)
        box->stats.peak = box->stats.count;
}

static void drop_first(td_mailbox *box)
{
    box->first = (box->first + 1) % box->opts.capacity;
    box->stats.count--;
}

static void sender_told(struct loop_note *note)
{
    struct sender *sender = container_of(note, struct sender, note);

    task_unpark(sender->task, sender->rc);
}

/* Ends the wait of the sender that came first. Under the mutex. */
static void serve_sender(td_mailbox *box, int rc)
{
    struct sender *sender = container_of(list_pop_front(&box->senders), struct sender, link);

    box->stats.senders_waiting--;
    sender->rc = rc;
    if (!sender->task) {
        sender->done = true;
        pthread_cond_signal(&sender->served);
    } else if (sender->task->sched == sched_current()) {
        task_unpark(sender->task, rc);
    } else {
        sender->note.receive = sender_told;
        loop_notify(loop_of(sender->task), &sender->note);
    }
}

/* Takes the first item; the sender that waited longest takes the room. Under the mutex. */
static void take(td_mailbox *box, void *item)
{
    copy_item(item, place(box, 0)->item, box->opts.item_size);
    drop_first(box);
    box->stats.received++;
    if (!list_empty(&box->senders)) {
        push(box, container_of(box->senders.next, struct sender, link)->item);
        serve_sender(box, 0);
    }
}

/* Gives waiting receivers what there is, or tells them of the end. On their loop, under the mutex. */
static void deliver(td_mailbox *box)
{
    while (!list_empty(&box->receivers) && (box->stats.count > 0 || box->closed)) {
        bool item = box->stats.count > 0;

        if (item)
            take(box, container_of(box->receivers.next, struct waiter, link)->slot);
        box->stats.receivers_waiting--;
        waiters_wake(&box->receivers, item ? 0 : -EPIPE);
    }
    box->hungry = !list_empty(&box->receivers);
}

/* Unlocks, and frees the mailbox when that was the last reference. */
static void unlock_and_release(td_mailbox *box)
{
    bool last = --box->refs == 0;

    pthread_mutex_unlock(&box->mutex);
    if (!last)
        return;
    pthread_mutex_destroy(&box->mutex);
    free(box);
}

static void note_came(struct loop_note *note)
{
    td_mailbox *box = container_of(note, td_mailbox, note);

    pthread_mutex_lock(&box->mutex);
    box->note_out = false;
    deliver(box);
    unlock_and_release(box);
}

/* There is something for the receivers to see. True: that took a note to their loop. Under the mutex. */
static bool wake_receivers(td_mailbox *box)
{
    if (!box->hungry || box->note_out)
        return false;
    box->hungry = false;
    if (&box->loop->sched == sched_current()) {
        deliver(box);
        return false;
    }
    box->note_out = true;
    box->refs++;
    box->note.receive = note_came;
    loop_notify(box->loop, &box->note);
    return true;
}

/* Sends without waiting: 0, -EPIPE, -EBUSY, or -EAGAIN when the policy is to wait. Under the mutex. */
static int send_now(td_mailbox *box, const void *item)
{
    if (box->closed)
        return -EPIPE;
    if (box->stats.count == box->opts.capacity) {
        if (box->opts.when_full == TD_WAIT)
            return -EAGAIN;
        if (box->opts.when_full == TD_REJECT) {
            box->stats.rejected++;
            return -EBUSY;
        }
        drop_first(box);
        box->stats.dropped++;
    }
    push(box, item);
    box->stats.wakes += wake_receivers(box);
    return 0;
}

static void give_up(struct wait *wait)
{
    struct sender *sender = container_of(wait, struct sender, wait);
    td_mailbox *box = sender->box;
    bool waits;

    pthread_mutex_lock(&box->mutex);
    waits = list_linked(&sender->link);
    if (waits) {
        list_remove(&sender->link);
        box->stats.senders_waiting--;
    }
    pthread_mutex_unlock(&box->mutex);
    if (waits)  /* else its item is in, and the note that says so on its way */
        task_unpark(sender->task, -ECANCELED);
}

static void enqueue(td_mailbox *box, struct sender *sender)
{
    list_init(&sender->link);
    list_push_back(&box->senders, &sender->link);
    box->stats.senders_waiting++;
    box->refs++;  /* for whoever cancels it after the mailbox was freed */
}

/* Called with the mutex, returns without. */
static int wait_as_task(td_mailbox *box, struct td_task *self, const void *item)
{
    struct sender sender = {.box = box, .item = item, .task = self, .wait = {.abort = give_up, .what = box->sending}};
    struct loop *loop = loop_of(self);
    int rc;

    enqueue(box, &sender);
    pthread_mutex_unlock(&box->mutex);
    loop->mailbox_waits++;
    rc = task_park(self, &sender.wait);
    loop->mailbox_waits--;
    pthread_mutex_lock(&box->mutex);
    unlock_and_release(box);
    return rc;
}

/* Likewise, for a thread that runs no loop. */
static int wait_as_thread(td_mailbox *box, const void *item)
{
    struct sender sender = {.box = box, .item = item};

    pthread_cond_init(&sender.served, NULL);
    enqueue(box, &sender);
    while (!sender.done)
        pthread_cond_wait(&sender.served, &box->mutex);
    unlock_and_release(box);
    pthread_cond_destroy(&sender.served);
    return sender.rc;
}

int td_mailbox_send(td_mailbox *box, const void *item)
{
    struct td_task *self = sched_current() ? task_self(__func__) : NULL;
    int rc = self ? task_checkpoint(self) : 0;

    if (rc == 0 && is_parents(box))
        rc = -EOWNERDEAD;
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&box->mutex);
    rc = send_now(box, item);
    if (rc == -EAGAIN)
        return self ? wait_as_task(box, self, item) : wait_as_thread(box, item);
    pthread_mutex_unlock(&box->mutex);
    return rc;
}

int td_mailbox_try_send(td_mailbox *box, const void *item)
{
    int rc;

    if (is_parents(box))
        return -EOWNERDEAD;
    pthread_mutex_lock(&box->mutex);
    rc = send_now(box, item);
    if (rc == -EAGAIN) {
        box->stats.rejected++;
        rc = -EBUSY;
    }
    pthread_mutex_unlock(&box->mutex);
    return rc;
}

static struct td_task *receiver_of(const td_mailbox *box, const char *function)
{
    struct td_task *self = task_self(function);

    if (loop_of(self) != box->loop)
        fail("%s: the mailbox belongs to another loop; only tasks of the loop that opened it may receive from it and free it",
             function);
    return self;
}

/* Parks behind the other receivers. Called with the mutex, returns without. */
static int wait_for_item(td_mailbox *box, struct td_task *self, void *item)
{
    struct loop *loop = box->loop;
    int rc;

    box->hungry = true;
    box->stats.receivers_waiting++;
    pthread_mutex_unlock(&box->mutex);
    loop->mailbox_waits++;
    rc = waiters_park(&box->receivers, self, box->receiving, item);
    loop->mailbox_waits--;
    if (rc == -ECANCELED) {
        pthread_mutex_lock(&box->mutex);
        box->stats.receivers_waiting--;
        pthread_mutex_unlock(&box->mutex);
    }
    return rc;
}

int td_mailbox_receive(td_mailbox *box, void *item)
{
    struct td_task *self = receiver_of(box, __func__);
    int rc = task_checkpoint(self);

    if (rc < 0)
        return rc;
    pthread_mutex_lock(&box->mutex);
    if (!list_empty(&box->receivers) || (box->stats.count == 0 && !box->closed))
        return wait_for_item(box, self, item);
    if (box->stats.count > 0)
        take(box, item);
    else
        rc = -EPIPE;
    pthread_mutex_unlock(&box->mutex);
    return rc;
}

/* From now on nobody can end a wait in it by sending, so those who hold it do not count any more. Under the mutex. */
static void close_now(td_mailbox *box)
{
    if (box->closed)
        return;
    box->closed = true;
    while (!list_empty(&box->senders))
        serve_sender(box, -EPIPE);
    wake_receivers(box);
    if (box->outsiders > 0)
        fleet_outsiders(box->loop->fleet, -(int)box->outsiders);
    box->outsiders = 0;
}

void td_mailbox_close(td_mailbox *box)
{
    if (is_parents(box))
        return;
    pthread_mutex_lock(&box->mutex);
    close_now(box);
    pthread_mutex_unlock(&box->mutex);
}

void td_mailbox_free(td_mailbox *box)
{
    if (!box || is_parents(box))
        return;
    receiver_of(box, __func__);
    if (!list_empty(&box->receivers))
        fail("td_mailbox_free: tasks still receive from the mailbox; cancel or close it and join them first");
    box->loop->mailboxes--;
    pthread_mutex_lock(&box->mutex);
    close_now(box);
    unlock_and_release(box);
}

void td_mailbox_retain(td_mailbox *box)
{
    if (is_parents(box))
        return;
    pthread_mutex_lock(&box->mutex);
    box->refs++;
    if (!box->closed) {
        box->outsiders++;
        fleet_outsiders(box->loop->fleet, 1);
    }
    pthread_mutex_unlock(&box->mutex);
}

void td_mailbox_release(td_mailbox *box)
{
    if (is_parents(box))
        return;
    pthread_mutex_lock(&box->mutex);
    if (!box->closed && box->outsiders > 0) {
        box->outsiders--;
        fleet_outsiders(box->loop->fleet, -1);
    }
    unlock_and_release(box);
}

void td_mailbox_statistics(td_mailbox *box, td_mailbox_stats *stats)
{
    *stats = (td_mailbox_stats){0};
    if (is_parents(box))
        return;
    pthread_mutex_lock(&box->mutex);
    *stats = box->stats;
    if (stats->count > 0)
        stats->oldest_age_ns = clock_real() - place(box, 0)->since;
    stats->wakes_saved = stats->sent - stats->wakes;
    pthread_mutex_unlock(&box->mutex);
}
