/* SPDX-License-Identifier: MIT */
/*
 * Items are numbered; the ring holds numbers oldest to next - 1, and a subscriber has had all below its `at`.
 *
 * Invariants: 1. next - oldest <= capacity. 2. The place of item i counts in `readers` the subscribers with at <= i;
 * while it is the oldest, that is not 0. 3. A subscriber with waiting tasks has at == next. 4. While a sender waits, the
 * ring is full. 5. Only where it drops is a subscriber's `at` below oldest: what is between is lost to it.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "base/fail.h"
#include "sync/queues.h"
#include "sync/waiters.h"

struct place {
    td_time since;
    size_t readers;
    char item[];
};

struct td_broadcast {
    struct td_list senders, subscribers;
    size_t item_size, capacity, stride, peak, subscriber_count;
    td_when_full when_full;
    bool closed;
    struct sched *sched;
    uint64_t oldest, next;
    unsigned long long sent, rejected, dropped;
    char sending[DESCRIPTION_BYTES], receiving[DESCRIPTION_BYTES];
    _Alignas(struct place) char ring[];
};

struct td_subscriber {
    struct td_list link, waiters;
    td_broadcast *broadcast;
    uint64_t at;
    unsigned long long received, lost;
};

int td_broadcast_open(td_broadcast **out, const td_broadcast_opts *opts)
{
    struct td_task *self = task_self(__func__);
    size_t bytes, stride = (sizeof(struct place) + opts->item_size + 7) & ~(size_t)7;
    td_broadcast *made;

    if (!opts->item_size || !opts->capacity || opts->when_full > TD_DROP_OLDEST || stride < opts->item_size ||
        __builtin_mul_overflow(stride, opts->capacity, &bytes) || bytes > SIZE_MAX / 2)
        return -EINVAL;
    made = malloc(sizeof *made + bytes);
    if (!made)
        return -ENOMEM;
    *made = (struct td_broadcast){.item_size = opts->item_size, .capacity = opts->capacity, .stride = stride,
                                   .when_full = opts->when_full ? opts->when_full : TD_WAIT, .sched = self->sched};
    list_init(&made->senders);
    list_init(&made->subscribers);
    waiters_describe(made->sending, sizeof made->sending, opts->name ? "send to broadcast" : "send to a broadcast",
                     opts->name);
    waiters_describe(made->receiving, sizeof made->receiving,
                     opts->name ? "receive from broadcast" : "receive from a broadcast", opts->name);
    *out = made;
    return 0;
}

static struct place *place_of(const td_broadcast *broadcast, uint64_t item)
{
    return (struct place *)(void *)(uintptr_t)(broadcast->ring + item % broadcast->capacity * broadcast->stride);
}

static size_t length(const td_broadcast *broadcast)
{
    return (size_t)(broadcast->next - broadcast->oldest);
}

static struct td_subscriber *subscriber_at(const struct td_list *link)
{
    return container_of(link, struct td_subscriber, link);
}

/* Hands the item to those who wait for it. Returns how many subscribers have yet to take it. */
static size_t hand_out(td_broadcast *broadcast, const void *item)
{
    size_t behind = 0;

    for (struct td_list *at = broadcast->subscribers.next; at != &broadcast->subscribers; at = at->next) {
        struct td_subscriber *subscriber = subscriber_at(at);
        struct waiter *waiter = waiters_wake(&subscriber->waiters, 0);

        if (!waiter) {
            behind++;
            continue;
        }
        copy_item(waiter->slot, item, broadcast->item_size);
        subscriber->at++;
        subscriber->received++;
    }
    return behind;
}

/* There is room. */
static void push(td_broadcast *broadcast, const void *item)
{
    struct place *place = place_of(broadcast, broadcast->next);

    assert(length(broadcast) < broadcast->capacity);
    broadcast->sent++;
    place->readers = hand_out(broadcast, item);
    broadcast->next++;
    if (place->readers == 0) {  /* all were waiting, so nothing older was left either */
        assert(length(broadcast) == 1);
        broadcast->oldest = broadcast->next;
        return;
    }
    place->since = broadcast->sched->looked_at;
    copy_item(place->item, item, broadcast->item_size);
    if (length(broadcast) > broadcast->peak)
        broadcast->peak = length(broadcast);
}

static int send_now(td_broadcast *broadcast, const void *item)
{
    if (broadcast->closed)
        return -EPIPE;
    if (length(broadcast) == broadcast->capacity) {
        if (broadcast->when_full == TD_WAIT)
            return -EAGAIN;
        if (broadcast->when_full == TD_REJECT) {
            broadcast->rejected++;
            return -EBUSY;
        }
        broadcast->oldest++;
        broadcast->dropped++;
    }
    push(broadcast, item);
    return 0;
}

/* Items that everybody has taken leave, and those of waiting senders come in. */
static void make_room(td_broadcast *broadcast)
{
    struct waiter *sender;

    while (broadcast->oldest < broadcast->next && place_of(broadcast, broadcast->oldest)->readers == 0)
        broadcast->oldest++;
    while (length(broadcast) < broadcast->capacity && (sender = waiters_wake(&broadcast->senders, 0)))
        push(broadcast, sender->slot);
}

int td_broadcast_send(td_broadcast *broadcast, const void *item)
{
    struct td_task *self = task_self(__func__);
    int rc = task_checkpoint(self);

    if (rc < 0)
        return rc;
    rc = send_now(broadcast, item);
    return rc == -EAGAIN ? waiters_park(&broadcast->senders, self, broadcast->sending, (void *)(uintptr_t)item) : rc;
}

int td_broadcast_try_send(td_broadcast *broadcast, const void *item)
{
    int rc;

    task_self(__func__);
    rc = send_now(broadcast, item);
    if (rc != -EAGAIN)
        return rc;
    broadcast->rejected++;
    return -EBUSY;
}

int td_broadcast_close(td_broadcast *broadcast)
{
    task_self(__func__);
    broadcast->closed = true;
    while (waiters_wake(&broadcast->senders, -EPIPE))
        ;
    for (struct td_list *at = broadcast->subscribers.next; at != &broadcast->subscribers; at = at->next)
        while (waiters_wake(&subscriber_at(at)->waiters, -EPIPE))
            ;
    return 0;
}

void td_broadcast_free(td_broadcast *broadcast)
{
    if (!broadcast)
        return;
    if (!list_empty(&broadcast->senders))
        fail("td_broadcast_free: tasks still wait in the broadcast (%s); close it and join them first", broadcast->sending);
    if (broadcast->subscriber_count > 0)
        fail("td_broadcast_free: %zu subscribers are left (%s); td_unsubscribe each of them first",
             broadcast->subscriber_count, broadcast->receiving);
    free(broadcast);
}

int td_subscribe(td_broadcast *broadcast, td_subscriber **out)
{
    td_subscriber *subscriber;

    task_self(__func__);
    subscriber = malloc(sizeof *subscriber);
    if (!subscriber)
        return -ENOMEM;
    *subscriber = (struct td_subscriber){.broadcast = broadcast, .at = broadcast->next};
    list_init(&subscriber->waiters);
    list_push_back(&broadcast->subscribers, &subscriber->link);
    broadcast->subscriber_count++;
    *out = subscriber;
    return 0;
}

/* Where it goes on: behind what was dropped meanwhile. */
static uint64_t position(const td_subscriber *subscriber)
{
    uint64_t oldest = subscriber->broadcast->oldest;

    return subscriber->at < oldest ? oldest : subscriber->at;
}

void td_unsubscribe(td_subscriber *subscriber)
{
    td_broadcast *broadcast;

    if (!subscriber)
        return;
    broadcast = subscriber->broadcast;
    if (!list_empty(&subscriber->waiters))
        fail("td_unsubscribe: tasks still wait (%s); cancel and join them first", broadcast->receiving);
    for (uint64_t at = position(subscriber); at < broadcast->next; at++)
        place_of(broadcast, at)->readers--;
    list_remove(&subscriber->link);
    broadcast->subscriber_count--;
    free(subscriber);
    make_room(broadcast);
}

bool subscriber_may_receive(const td_subscriber *subscriber)
{
    return subscriber->broadcast->closed || subscriber->at < subscriber->broadcast->next;
}

int subscriber_receive_now(td_subscriber *subscriber, void *item)
{
    td_broadcast *broadcast = subscriber->broadcast;
    uint64_t at = position(subscriber), lost = at - subscriber->at;
    struct place *place;

    if (at == broadcast->next)
        return broadcast->closed ? -EPIPE : -EAGAIN;
    place = place_of(broadcast, at);
    copy_item(item, place->item, broadcast->item_size);
    subscriber->at = at + 1;
    subscriber->received++;
    subscriber->lost += lost;
    place->readers--;
    make_room(broadcast);
    return lost < INT_MAX ? (int)lost : INT_MAX;
}

struct td_list *subscriber_waiters(td_subscriber *subscriber)
{
    return &subscriber->waiters;
}

int td_subscriber_receive(td_subscriber *subscriber, void *item)
{
    struct td_task *self = task_self(__func__);
    int rc = task_checkpoint(self);

    if (rc < 0)
        return rc;
    rc = subscriber_receive_now(subscriber, item);
    return rc == -EAGAIN ? waiters_park(&subscriber->waiters, self, subscriber->broadcast->receiving, item) : rc;
}

int td_subscriber_try_receive(td_subscriber *subscriber, void *item)
{
    task_self(__func__);
    return subscriber_receive_now(subscriber, item);
}

void td_broadcast_statistics(const td_broadcast *broadcast, td_broadcast_stats *stats)
{
    td_time age = length(broadcast) ? td_now() - place_of(broadcast, broadcast->oldest)->since : 0;

    *stats = (td_broadcast_stats){
        .subscribers = broadcast->subscriber_count,
        .count = length(broadcast),
        .peak = broadcast->peak,
        .capacity = broadcast->capacity,
        .senders_waiting = waiters_count(&broadcast->senders),
        .oldest_ns = age > 0 ? age : 0,
        .oldest_wait_ns = waiters_oldest(&broadcast->senders),
        .sent = broadcast->sent,
        .rejected = broadcast->rejected,
        .dropped = broadcast->dropped,
    };
    for (const struct td_list *at = broadcast->subscribers.next; at != &broadcast->subscribers; at = at->next)
        stats->receivers_waiting += waiters_count(&subscriber_at(at)->waiters);
}

void td_subscriber_statistics(const td_subscriber *subscriber, td_subscriber_stats *stats)
{
    *stats = (td_subscriber_stats){
        .behind = (size_t)(subscriber->broadcast->next - position(subscriber)),
        .waiting = waiters_count(&subscriber->waiters),
        .received = subscriber->received,
        .lost = subscriber->lost,
    };
}
