/* SPDX-License-Identifier: MIT */
/*
 * Broadcasts against a model in which every subscriber has a queue of its own, and the real thing one ring for all:
 * random senders, receivers, newcomers and leavers, with cancellations.
 */
#include "sync/actors.h"

#define WORLDS 8
#define STEPS (SANITIZED ? 400 : 1500)
#define SUBSCRIBERS 4
#define SENDERS 4
#define CAPACITY_MAX 4

struct member {
    td_subscriber *real;       /* NULL: nobody */
    struct actor receiver;
    bool busy;
    /* The model's: */
    bool waits;
    int rc;
    long gets, lost, queue[CAPACITY_MAX];
    int count;
};

struct sender {
    struct actor actor;
    bool busy, waits;
    int rc;
    long since;
};

struct world {
    struct random *random;
    td_broadcast *real;
    td_when_full when_full;
    int capacity;
    struct member members[SUBSCRIBERS];
    struct sender senders[SENDERS];
    td_scope scope;
    long clock, next_item;
};

static int send(struct actor *self)
{
    return td_broadcast_send(((struct world *)self->on)->real, &self->item);
}

static int receive(struct actor *self)
{
    return td_subscriber_receive(self->on, &self->item);
}

static bool model_full(const struct world *w)
{
    for (int i = 0; i < SUBSCRIBERS; i++)
        if (w->members[i].real && w->members[i].count == w->capacity)
            return true;
    return false;
}

static void model_push(struct world *w, long item)
{
    for (int i = 0; i < SUBSCRIBERS; i++) {
        struct member *member = &w->members[i];

        if (!member->real)
            continue;
        if (member->waits) {
            member->waits = false;
            member->rc = 0;
            member->gets = item;
            continue;
        }
        if (member->count == w->capacity) {  /* only where it drops */
            memmove(member->queue, member->queue + 1, sizeof(long) * (size_t)--member->count);
            member->lost++;
        }
        member->queue[member->count++] = item;
    }
}

static void model_make_room(struct world *w)
{
    while (!model_full(w)) {
        struct sender *first = NULL;

        for (int i = 0; i < SENDERS; i++)
            if (w->senders[i].waits && (!first || w->senders[i].since < first->since))
                first = &w->senders[i];
        if (!first)
            return;
        first->waits = false;
        first->rc = 0;
        model_push(w, first->actor.item);
    }
}

static int model_send(struct world *w, long item)
{
    if (model_full(w) && w->when_full != TD_DROP_OLDEST)
        return w->when_full == TD_WAIT ? -EAGAIN : -EBUSY;
    model_push(w, item);
    return 0;
}

static int model_receive(struct world *w, struct member *member, long *item)
{
    int lost = (int)member->lost;

    if (member->count == 0)
        return -EAGAIN;
    *item = member->queue[0];
    memmove(member->queue, member->queue + 1, sizeof(long) * (size_t)--member->count);
    member->lost = 0;
    model_make_room(w);
    return lost;
}

static void compare(struct world *w)
{
    settle();
    for (int i = 0; i < SENDERS; i++) {
        struct sender *sender = &w->senders[i];

        if (sender->busy && expect_int(sender->actor.done, !sender->waits) && !sender->waits) {
            expect_int(sender->actor.rc, sender->rc);
            sender->busy = false;
        }
    }
    for (int i = 0; i < SUBSCRIBERS; i++) {
        struct member *member = &w->members[i];
        td_subscriber_stats stats;

        if (member->busy && expect_int(member->receiver.done, !member->waits) && !member->waits) {
            expect_int(member->receiver.rc, member->rc);
            if (member->rc >= 0)
                expect_int(member->receiver.item, member->gets);
            member->busy = false;
        }
        if (!member->real)
            continue;
        td_subscriber_statistics(member->real, &stats);
        expect_int((long long)stats.behind, member->count);
        expect_int((long long)stats.waiting, member->waits);
    }
}

static void start_sender(struct world *w, struct sender *sender)
{
    compare(w);
    if (sender->busy)
        return;
    sender->actor = (struct actor){send, w, .item = ++w->next_item};
    sender->busy = true;
    sender->since = ++w->clock;
    actor_start(&w->scope, &sender->actor);
    sender->rc = model_send(w, sender->actor.item);
    sender->waits = sender->rc == -EAGAIN;
    compare(w);
}

static void start_receiver(struct world *w, struct member *member)
{
    compare(w);
    if (member->busy || !member->real)
        return;
    member->receiver = (struct actor){receive, member->real};
    member->busy = true;
    actor_start(&w->scope, &member->receiver);
    member->rc = model_receive(w, member, &member->gets);
    member->waits = member->rc == -EAGAIN;
    compare(w);
}

static void come_or_go(struct world *w, struct member *member)
{
    if (!member->real) {
        *member = (struct member){0};
        expect_int(td_subscribe(w->real, &member->real), 0);
        return;
    }
    compare(w);
    if (member->busy)
        return;
    td_unsubscribe(member->real);
    *member = (struct member){0};
    model_make_room(w);
}

static void cancel_somebody(struct world *w)
{
    struct member *member = &w->members[random_below(w->random, SUBSCRIBERS)];
    struct sender *sender = &w->senders[random_below(w->random, SENDERS)];

    if (member->busy && actor_waits(&member->receiver)) {
        actor_cancel(&member->receiver);
        if (member->waits)
            member->rc = -ECANCELED;
        member->waits = false;
    }
    if (sender->busy && actor_waits(&sender->actor)) {
        actor_cancel(&sender->actor);
        if (sender->waits)
            sender->rc = -ECANCELED;
        sender->waits = false;
    }
}

static void step(struct world *w)
{
    struct member *member = &w->members[random_below(w->random, SUBSCRIBERS)];
    long item = ++w->next_item, wanted = item;
    int rc;

    switch (random_below(w->random, 12)) {
    case 0: case 1:
        rc = model_send(w, item);
        expect_int(td_broadcast_try_send(w->real, &item), rc == -EAGAIN ? -EBUSY : rc);
        break;
    case 2: case 3:
        if (!member->real)
            break;
        rc = model_receive(w, member, &wanted);
        expect_int(td_subscriber_try_receive(member->real, &item), rc);
        expect_int(item, wanted);
        break;
    case 4: case 5:
        cancel_somebody(w);
        break;
    case 6: case 7: case 8:
        start_sender(w, &w->senders[random_below(w->random, SENDERS)]);
        break;
    case 9:
        if (random_below(w->random, 3) == 0)
            come_or_go(w, member);
        break;
    default:
        start_receiver(w, member);
    }
    if (random_below(w->random, 2) == 0)
        compare(w);
}

static int play(void *arg)
{
    struct world *w = arg;
    td_broadcast_opts opts = {.item_size = sizeof(long)};

    w->when_full = opts.when_full = (td_when_full)(TD_WAIT + random_below(w->random, 3));
    w->capacity = 1 + (int)random_below(w->random, CAPACITY_MAX);
    opts.capacity = (size_t)w->capacity;
    expect_int(td_broadcast_open(&w->real, &opts), 0);
    td_scope_open(&w->scope);
    for (int i = 0; i < STEPS && !complaint.made; i++)
        step(w);
    td_scope_cancel(&w->scope);
    expect_int(td_scope_join(&w->scope), 0);
    for (int i = 0; i < SUBSCRIBERS; i++)
        td_unsubscribe(w->members[i].real);
    td_broadcast_free(w->real);
    return 0;
}

static void broadcasts_do_as_the_model_says(void **state)
{
    struct random random = random_seeded();

    for (int i = 0; i < WORLDS; i++) {
        struct world world = {.random = &random};

        assert_int_equal(run(state, play, &world), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {ON_BOTH(broadcasts_do_as_the_model_says)};

    return cmocka_run_group_tests_name("sync model_broadcast", tests, NULL, NULL);
}
