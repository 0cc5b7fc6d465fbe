/* SPDX-License-Identifier: MIT */
/*
 * The rate limiter against its formula, in virtual time: without cancellations every task is served at the very
 * nanosecond that 128-bit arithmetic says; with them, in no stretch of time is more taken than the formula allows, and
 * nothing by those who were cancelled.
 */
#include "sync/actors.h"

#define WORLDS 8
#define TAKES (SANITIZED ? 60 : 200)

typedef __int128 wide;

struct world {
    struct random *random;
    bool cancels;
    td_rate rate;
    int64_t tokens, per_ns, burst;
    struct take {
        struct actor actor;
        struct world *world;
        size_t n;
        td_time asked, served;
    } takes[TAKES];
};

static int take(struct actor *self)
{
    struct take *take = self->on;
    int rc = td_rate_take(&take->world->rate, take->n);

    take->served = td_now();
    return rc;
}

/* What the formula says, one after the other: credit in 1/per_ns of a token, full at the beginning. */
static void check_moments(struct world *w)
{
    wide full = (wide)w->burst * w->per_ns, credit = full;
    td_time at = w->takes[0].asked;

    for (int i = 0; i < TAKES; i++) {
        struct take *take = &w->takes[i];
        wide need = (wide)take->n * w->per_ns;
        td_time begin = take->asked > at ? take->asked : at;

        credit += (wide)(begin - at) * w->tokens;
        credit = credit < full ? credit : full;
        if (credit < need) {
            td_time wait = (td_time)((need - credit + w->tokens - 1) / w->tokens);

            begin += wait;
            credit += (wide)wait * w->tokens;
            credit = credit < full ? credit : full;
        }
        credit -= need;
        at = begin;
        expect_int(take->actor.rc, 0);
        expect_int(take->served, at);
    }
}

/* taken in [i, j] <= burst + tokens * time / per_ns; served in the order of asking. */
static void check_bound(struct world *w)
{
    unsigned long long taken = 0;
    td_rate_stats stats;
    td_time last = 0;

    for (int i = 0; i < TAKES; i++) {
        wide sum = 0;

        if (w->takes[i].actor.rc < 0) {
            expect_int(w->takes[i].actor.rc, -ECANCELED);
            continue;
        }
        expect(w->takes[i].served >= last);
        last = w->takes[i].served;
        taken += w->takes[i].n;
        for (int j = i; j < TAKES; j++) {
            if (w->takes[j].actor.rc < 0)
                continue;
            sum += w->takes[j].n;
            expect(sum * w->per_ns <= (wide)w->burst * w->per_ns + (wide)(w->takes[j].served - last) * w->tokens);
        }
    }
    td_rate_statistics(&w->rate, &stats);
    expect_int((long long)stats.taken, (long long)taken);
    expect_int((long long)stats.waiting, 0);
}

static int play(void *arg)
{
    static const td_time pers[] = {1, 3, 1000, 999999937, 1000000000, 60000000000};
    struct world *w = arg;
    td_scope scope;

    w->tokens = 1 + (int64_t)random_below(w->random, 1000);
    w->per_ns = pers[random_below(w->random, COUNT(pers))];
    w->burst = 1 + (int64_t)random_below(w->random, 20);
    expect_int(td_rate_init(&w->rate, w->tokens, w->per_ns, w->burst), 0);
    td_scope_open(&scope);
    for (int i = 0; i < TAKES; i++) {
        struct take *take_i = &w->takes[i];

        *take_i = (struct take){.actor = {take, take_i}, .world = w, .asked = td_now(),
                                .n = 1 + random_below(w->random, (size_t)w->burst)};
        actor_start(&scope, &take_i->actor);
        settle();
        if (w->cancels && random_below(w->random, 3) == 0) {
            struct take *victim = &w->takes[random_below(w->random, (size_t)i + 1)];

            if (actor_waits(&victim->actor))
                actor_cancel(&victim->actor);
        }
        if (random_below(w->random, 3) == 0)
            td_sleep((td_time)random_below(w->random, (size_t)(4 * w->burst * w->per_ns / w->tokens + 2)));
    }
    expect_int(td_scope_join(&scope), 0);
    if (!w->cancels)
        check_moments(w);
    check_bound(w);
    return 0;
}

static void play_worlds(void **state, bool cancels)
{
    struct random random = random_seeded();

    for (int i = 0; i < WORLDS; i++) {
        struct world world = {.random = &random, .cancels = cancels};

        assert_int_equal(run_with(state, (td_opts){.virtual_time = true}, play, &world), 0);
    }
}

static void each_is_served_at_the_moment_the_formula_says(void **state)
{
    play_worlds(state, false);
}

static void cancellations_never_let_more_through(void **state)
{
    play_worlds(state, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(each_is_served_at_the_moment_the_formula_says), ON_BOTH(cancellations_never_let_more_through),
    };

    return cmocka_run_group_tests_name("sync model_rate", tests, NULL, NULL);
}
