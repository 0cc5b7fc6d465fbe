/* SPDX-License-Identifier: MIT */
/*
 * Channels, semaphores and selects against a model of a page: random tasks that each want one of a few things, random
 * cancellations, and direct calls in between. The model says who gets what; where several cases of a select are ready it
 * lets the library choose, among those.
 */
#include "sync/actors.h"

#define WORLDS 8
#define STEPS (SANITIZED ? 300 : 1500)
#define CHANS 2
#define PLAYERS 9
#define WANTS 3
#define CAPACITY_MAX 3

enum kind { RECEIVE, SEND, PERMIT, NEVER };  /* NEVER: a pipe in which nothing comes */

struct want {
    enum kind kind;
    int on;      /* which channel */
    long item;   /* to be sent, or received */
};

struct player {
    struct actor actor;
    struct want wants[WANTS];
    td_case cases[WANTS];
    int n;
    bool plain;  /* by the call itself, not by a select */
    size_t which;
    bool busy;
    /* The model's: */
    bool waits;
    long since;
    int rc;
    size_t should;  /* which it should be */
    long gets;
};

struct model_chan {
    td_chan *real;
    td_when_full when_full;
    int count, capacity;
    long items[CAPACITY_MAX];
    bool closed;
    unsigned long long sent, received, dropped;
};

struct world {
    struct random *random;
    struct model_chan chans[CHANS];
    td_sem sem;
    size_t permits;
    struct player players[PLAYERS];
    td_scope scope;
    int pipe[2];
    long clock, next_item;
    bool selects;
};

static void open_chan(struct world *w, struct model_chan *chan)
{
    *chan = (struct model_chan){.when_full = (td_when_full)(TD_WAIT + random_below(w->random, 3)),
                                .capacity = 1 + (int)random_below(w->random, CAPACITY_MAX)};
    expect_int(td_chan_open(&chan->real, &(td_chan_opts){.item_size = sizeof(long), .capacity = (size_t)chan->capacity,
                                                         .when_full = chan->when_full}), 0);
}

/* The model: who has waited longest for this; NULL when nobody does. */
static struct player *first_waiting(struct world *w, enum kind kind, int on, size_t *which)
{
    struct player *first = NULL;

    for (int p = 0; p < PLAYERS; p++)
        for (int i = 0; i < w->players[p].n; i++) {
            struct player *player = &w->players[p];

            if (!player->waits || player->wants[i].kind != kind || player->wants[i].on != on)
                continue;
            if (!first || player->since < first->since) {
                first = player;
                *which = (size_t)i;
            }
        }
    return first;
}

static void finish(struct player *player, size_t which, int rc, long gets)
{
    player->waits = false;
    player->should = which;
    player->rc = rc;
    player->gets = gets;
}

static void model_push(struct model_chan *chan, long item)
{
    chan->items[chan->count++] = item;
    chan->sent++;
}

static long model_pop(struct model_chan *chan)
{
    long item = chan->items[0];

    memmove(chan->items, chan->items + 1, sizeof(long) * (size_t)--chan->count);
    return item;
}

static int model_send(struct world *w, int on, long item)
{
    struct model_chan *chan = &w->chans[on];
    struct player *receiver;
    size_t which;

    if (chan->closed)
        return -EPIPE;
    receiver = first_waiting(w, RECEIVE, on, &which);
    if (receiver) {
        finish(receiver, which, 0, item);
        chan->sent++;
        chan->received++;
        return 0;
    }
    if (chan->count == chan->capacity && chan->when_full != TD_DROP_OLDEST)
        return chan->when_full == TD_WAIT ? -EAGAIN : -EBUSY;
    if (chan->count == chan->capacity) {
        (void)model_pop(chan);
        chan->dropped++;
    }
    model_push(chan, item);
    return 0;
}

static int model_receive(struct world *w, int on, long *item)
{
    struct model_chan *chan = &w->chans[on];
    struct player *sender;
    size_t which;

    if (chan->count == 0)
        return chan->closed ? -EPIPE : -EAGAIN;
    *item = model_pop(chan);
    chan->received++;
    sender = first_waiting(w, SEND, on, &which);
    if (sender) {
        model_push(chan, sender->wants[which].item);
        finish(sender, which, 0, 0);
    }
    return 0;
}

static int model_take(struct world *w)
{
    if (w->permits == 0)
        return -EAGAIN;
    w->permits--;
    return 0;
}

static bool model_ready(struct world *w, const struct want *want)
{
    const struct model_chan *chan = &w->chans[want->on];

    switch (want->kind) {
    case RECEIVE: return chan->closed || chan->count > 0;
    case SEND: return chan->closed || chan->count < chan->capacity || chan->when_full != TD_WAIT;
    case PERMIT: return w->permits > 0;
    default: return false;
    }
}

static int model_do(struct world *w, struct want *want, long *gets)
{
    switch (want->kind) {
    case RECEIVE: return model_receive(w, want->on, gets);
    case SEND: return model_send(w, want->on, want->item);
    default: return model_take(w);
    }
}

static int act(struct actor *self)
{
    struct player *player = container_of(self, struct player, actor);
    struct world *w = self->on;
    struct want *want = &player->wants[0];
    td_chan *chan = w->chans[want->on].real;

    player->which = 0;
    if (!player->plain)
        return td_select(player->cases, (size_t)player->n, &player->which);
    return want->kind == RECEIVE ? td_chan_receive(chan, &want->item) :
           want->kind == SEND ? td_chan_send(chan, &want->item) : td_sem_take(&w->sem);
}

static void make_want(struct world *w, struct player *player, int i)
{
    struct want *want = &player->wants[i];
    td_chan *chan;

    *want = (struct want){(enum kind)random_below(w->random, player->plain ? 3 : 4), (int)random_below(w->random, CHANS), 0};
    if (want->kind == PERMIT || want->kind == NEVER)
        want->on = 0;
    if (want->kind == SEND)
        want->item = ++w->next_item;
    chan = w->chans[want->on].real;
    player->cases[i] = want->kind == RECEIVE ? td_on_receive(chan, &want->item) :
                       want->kind == SEND ? td_on_send(chan, &want->item) :
                       want->kind == PERMIT ? td_on_permit(&w->sem) : td_on_readable(w->pipe[0]);
}

/* Waits until everybody is done of whom the model says so, compares, and lets them start again. */
static void compare(struct world *w)
{
    td_time end = td_after(PATIENCE);

    settle();
    for (int p = 0; p < PLAYERS; p++) {
        struct player *player = &w->players[p];

        if (!player->busy)
            continue;
        while (!player->waits && !player->actor.done && td_now() < end)
            td_yield();  /* a descriptor's operation is being given up */
        if (!expect(player->actor.done == !player->waits) || player->waits)
            continue;
        player->busy = false;
        if (!expect_int(player->actor.rc, player->rc) || player->rc == -ECANCELED)
            continue;
        expect_int((long long)player->which, (long long)player->should);
        if (player->rc == 0 && player->wants[player->which].kind == RECEIVE)
            expect_int(player->wants[player->which].item, player->gets);
    }
    for (int c = 0; c < CHANS; c++) {
        td_chan_stats stats;

        td_chan_statistics(w->chans[c].real, &stats);
        expect_int((long long)stats.count, w->chans[c].count);
        expect_int((long long)stats.sent, (long long)w->chans[c].sent);
        expect_int((long long)stats.received, (long long)w->chans[c].received);
        expect_int((long long)stats.dropped, (long long)w->chans[c].dropped);
    }
    expect_int((long long)w->sem.permits, (long long)w->permits);
}

static void start_player(struct world *w, struct player *player)
{
    bool ready = false;

    compare(w);  /* so that it finds the world as the model has it */
    if (player->busy)
        return;
    *player = (struct player){.actor = {act, w}, .plain = !w->selects || random_below(w->random, 3) == 0};
    player->n = player->plain ? 1 : 1 + (int)random_below(w->random, WANTS);
    for (int i = 0; i < player->n; i++) {
        make_want(w, player, i);
        ready = ready || model_ready(w, &player->wants[i]);
    }
    player->busy = true;
    player->waits = !ready;
    player->since = ++w->clock;
    actor_start(&w->scope, &player->actor);
    settle();
    if (!ready)
        return;
    for (td_time end = td_after(PATIENCE); !player->actor.done && td_now() < end;)
        td_yield();
    if (!expect(player->actor.done) || !expect(model_ready(w, &player->wants[player->which])))
        return;
    player->should = player->which;
    player->rc = model_do(w, &player->wants[player->which], &player->gets);
}

static void cancel_somebody(struct world *w)
{
    struct player *player = &w->players[random_below(w->random, PLAYERS)];

    if (!player->busy || player->actor.done || !player->actor.started)
        return;
    actor_cancel(&player->actor);  /* of no effect on one that has what it wanted, but has not run yet */
    if (player->waits)
        finish(player, 0, -ECANCELED, 0);
}

static void close_chan(struct world *w, int on)
{
    struct model_chan *chan = &w->chans[on];
    struct player *player;
    size_t which;
    long item, wanted;

    td_chan_close(chan->real);
    chan->closed = true;
    while ((player = first_waiting(w, SEND, on, &which)) || (player = first_waiting(w, RECEIVE, on, &which)))
        finish(player, which, -EPIPE, 0);
    compare(w);
    while (model_receive(w, on, &wanted) == 0) {
        expect_int(td_chan_try_receive(chan->real, &item), 0);
        expect_int(item, wanted);
    }
    expect_int(td_chan_try_receive(chan->real, &item), -EPIPE);
    td_chan_free(chan->real);
    open_chan(w, chan);
}

static void step(struct world *w)
{
    int on = (int)random_below(w->random, CHANS), rc;
    long item = 0, wanted = 0;

    switch (random_below(w->random, 16)) {
    case 0:
        item = ++w->next_item;
        rc = model_send(w, on, item);
        expect_int(td_chan_try_send(w->chans[on].real, &item), rc == -EAGAIN ? -EBUSY : rc);
        break;
    case 1:
        rc = model_receive(w, on, &wanted);
        expect_int(td_chan_try_receive(w->chans[on].real, &item), rc);
        expect_int(item, wanted);
        break;
    case 2: {
        size_t which;
        struct player *player = first_waiting(w, PERMIT, 0, &which);

        td_sem_give(&w->sem);
        if (player)
            finish(player, which, 0, 0);
        else
            w->permits++;
        break;
    }
    case 3:
        expect_int(td_sem_try_take(&w->sem), model_take(w));
        break;
    case 4: case 5: case 6: case 7:
        cancel_somebody(w);
        break;
    case 8:
        if (random_below(w->random, 8) == 0)
            close_chan(w, on);
        break;
    default:
        start_player(w, &w->players[random_below(w->random, PLAYERS)]);
    }
    if (random_below(w->random, 2) == 0)
        compare(w);
}

static int play(void *arg)
{
    struct world *w = arg;

    expect_int(pipe2(w->pipe, O_CLOEXEC | O_NONBLOCK), 0);
    for (int i = 0; i < CHANS; i++)
        open_chan(w, &w->chans[i]);
    td_sem_init(&w->sem, 0);
    td_scope_open(&w->scope);
    for (int i = 0; i < STEPS && !complaint.made; i++)
        step(w);
    compare(w);
    td_scope_cancel(&w->scope);
    expect_int(td_scope_join(&w->scope), 0);
    for (int i = 0; i < CHANS; i++)
        td_chan_free(w->chans[i].real);  /* aborts if anybody were left in it */
    close(w->pipe[0]);
    close(w->pipe[1]);
    return 0;
}

static void play_worlds(void **state, bool selects)
{
    struct random random = random_seeded();

    for (int i = 0; i < WORLDS; i++) {
        struct world world = {.random = &random, .selects = selects};

        assert_int_equal(run(state, play, &world), 0);
    }
}

static void channels_and_semaphores_do_as_the_model_says(void **state)
{
    play_worlds(state, false);
}

static void selects_do_as_the_model_says(void **state)
{
    play_worlds(state, true);
}

#define ON_ALL(test) ON_BOTH(test), ON(TD_BACKEND_SIM, "sim: ", test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(channels_and_semaphores_do_as_the_model_says), ON_ALL(selects_do_as_the_model_says),
    };

    return cmocka_run_group_tests_name("sync model", tests, NULL, NULL);
}
