/* SPDX-License-Identifier: MIT */
/*
 * Mutex and condition against a model: tasks that wait for the mutex, hold it until told what to do next (unlock, or wait
 * for the condition), and are cancelled at any of these points.
 */
#include "sync/actors.h"

#define WORLDS 6
#define STEPS (SANITIZED ? 400 : 2000)
#define PLAYERS 8

enum state { IDLE, LOCKING, HOLDING, WAITING, RELOCKING };  /* the model's view of a player */

enum order { UNLOCK, WAIT };

struct player {
    struct actor actor;
    td_event ordered;
    enum order order;
    int lock_rc, wait_rc;
    bool holds;                /* the player's own view, as it goes */
    /* The model's: */
    enum state state;
    long since;                /* in the queue it is in */
    bool cancelled, told;
};

struct world {
    struct random *random;
    td_mutex mutex;
    td_cond cond;
    struct player players[PLAYERS];
    td_scope scope;
    long clock;
    int holders;               /* never more than one, by the players' own count */
};

static int act(struct actor *self)
{
    struct player *player = container_of(self, struct player, actor);
    struct world *w = self->on;

    player->lock_rc = td_mutex_lock(&w->mutex);
    if (player->lock_rc < 0)
        return 0;
    for (;;) {
        td_scope shield;

        player->holds = true;
        expect_int(++w->holders, 1);
        td_scope_open_shielded(&shield, TD_FOREVER);  /* it listens to orders, though it may be cancelled */
        expect_int(td_event_wait(&player->ordered), 0);
        td_event_clear(&player->ordered);
        (void)td_scope_join(&shield);
        w->holders--;
        player->holds = false;
        if (player->order == UNLOCK)
            break;
        player->wait_rc = td_cond_wait(&w->cond, &w->mutex);
    }
    td_mutex_unlock(&w->mutex);
    return 0;
}

static struct player *first_in(struct world *w, enum state one, enum state other)
{
    struct player *first = NULL;

    for (int p = 0; p < PLAYERS; p++) {
        struct player *player = &w->players[p];

        if ((player->state == one || player->state == other) && (!first || player->since < first->since))
            first = player;
    }
    return first;
}

static struct player *holder(struct world *w)
{
    return first_in(w, HOLDING, HOLDING);
}

static void model_unlock(struct world *w)
{
    struct player *next = first_in(w, LOCKING, RELOCKING);

    if (next)
        next->state = HOLDING;
}

/* Its wait for the condition is over. */
static void model_relock(struct world *w, struct player *player)
{
    player->state = holder(w) ? RELOCKING : HOLDING;
    player->since = ++w->clock;
}

static void compare(struct world *w)
{
    td_mutex_stats mutex;
    td_cond_stats cond;
    size_t for_mutex = 0, for_cond = 0;

    settle();
    for (int p = 0; p < PLAYERS; p++) {
        struct player *player = &w->players[p];

        expect_int(player->holds, player->state == HOLDING);
        if (player->actor.started)
            expect_int(player->actor.done, player->state == IDLE);
        for_mutex += player->state == LOCKING || player->state == RELOCKING;
        for_cond += player->state == WAITING;
    }
    td_mutex_statistics(&w->mutex, &mutex);
    td_cond_statistics(&w->cond, &cond);
    expect_int(mutex.locked, holder(w) != NULL);
    expect_int((long long)mutex.waiting, (long long)for_mutex);
    expect_int((long long)cond.waiting, (long long)for_cond);
}

static void start_player(struct world *w, struct player *player)
{
    if (player->state != IDLE)
        return;
    compare(w);
    player->actor = (struct actor){act, w};
    player->cancelled = player->told = false;
    player->wait_rc = 1;
    td_event_init(&player->ordered);
    player->state = holder(w) ? LOCKING : HOLDING;
    player->since = ++w->clock;
    actor_start(&w->scope, &player->actor);
    compare(w);
    expect_int(player->state == HOLDING ? player->lock_rc : 0, 0);
}

static void order(struct world *w, enum order what)
{
    struct player *player = holder(w);

    compare(w);  /* so that it listens */
    if (!player)
        return;
    player->order = what;
    td_event_set(&player->ordered);
    if (what == WAIT && player->cancelled) {
        settle();  /* it does not begin to wait, nor give the mutex back */
        expect_int(player->wait_rc, -ECANCELED);
    } else {
        player->state = what == WAIT ? WAITING : IDLE;
        player->since = ++w->clock;
        model_unlock(w);
        settle();
    }
    compare(w);
}

static void cancel_somebody(struct world *w)
{
    struct player *player = &w->players[random_below(w->random, PLAYERS)];

    if (player->state == IDLE || player->actor.done)
        return;
    actor_cancel(&player->actor);
    player->cancelled = true;
    if (player->state == LOCKING)
        player->state = IDLE;
    else if (player->state == WAITING)
        model_relock(w, player);
}

static void tell(struct world *w, bool all)
{
    struct player *player;

    if (all)
        td_cond_signal_all(&w->cond);
    else
        td_cond_signal(&w->cond);
    while ((player = first_in(w, WAITING, WAITING))) {
        model_relock(w, player);
        if (!all)
            break;
    }
}

static void step(struct world *w)
{
    switch (random_below(w->random, 10)) {
    case 0: case 1:
        order(w, UNLOCK);
        break;
    case 2: case 3:
        order(w, WAIT);
        break;
    case 4:
        tell(w, random_below(w->random, 3) == 0);
        break;
    case 5: case 6:
        cancel_somebody(w);
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

    td_mutex_init(&w->mutex);
    td_cond_init(&w->cond);
    td_scope_open(&w->scope);
    for (int i = 0; i < STEPS && !complaint.made; i++)
        step(w);
    compare(w);
    td_cond_signal_all(&w->cond);
    while (!complaint.made && w->scope.running > 0) {
        settle();
        for (int p = 0; p < PLAYERS; p++)
            if (w->players[p].holds) {
                w->players[p].order = UNLOCK;
                td_event_set(&w->players[p].ordered);
            }
    }
    if (complaint.made)
        exit(1);  /* what is left would wait for ever */
    expect_int(td_scope_join(&w->scope), 0);
    return 0;
}

static void mutex_and_condition_do_as_the_model_says(void **state)
{
    struct random random = random_seeded();

    for (int i = 0; i < WORLDS; i++) {
        struct world world = {.random = &random};

        assert_int_equal(run(state, play, &world), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {ON_BOTH(mutex_and_condition_do_as_the_model_says)};

    return cmocka_run_group_tests_name("sync model_lock", tests, NULL, NULL);
}
