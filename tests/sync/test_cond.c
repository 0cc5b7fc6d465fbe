/* SPDX-License-Identifier: MIT */
/* Conditions: told in order, and whatever happens, the mutex is held when the wait returns. */
#include "sync/actors.h"

struct place {
    td_mutex mutex;
    td_cond cond;
    td_sem pause;   /* taken by `guard` while it holds the mutex */
    int inside, inside_max;
};

static void place_open(struct place *place)
{
    *place = (struct place){.inside = 0};
    td_mutex_init(&place->mutex);
    td_cond_init(&place->cond);
    td_sem_init(&place->pause, 0);
}

static td_cond_stats stats_of(const struct place *place)
{
    td_cond_stats stats;

    td_cond_statistics(&place->cond, &stats);
    return stats;
}

/* Waits to be told; the yield inside would let a second one in if the mutex were not held. */
static int wait_once(struct actor *self)
{
    struct place *place = self->on;
    int rc;

    expect_int(td_mutex_lock(&place->mutex), 0);
    rc = td_cond_wait(&place->cond, &place->mutex);
    place->inside++;
    place->inside_max = place->inside > place->inside_max ? place->inside : place->inside_max;
    (void)td_yield();
    place->inside--;
    td_mutex_unlock(&place->mutex);
    return rc;
}

static int guard(struct actor *self)
{
    struct place *place = self->on;
    int rc = td_mutex_lock(&place->mutex);

    expect_int(rc, 0);
    rc = td_sem_take(&place->pause);
    td_mutex_unlock(&place->mutex);
    return rc;
}

static int tell(void *arg)
{
    struct place place;
    struct actor actors[4];
    td_scope scope;
    int count = 0;

    place_open(&place);
    td_scope_open(&scope);
    td_cond_signal(&place.cond);  /* to nobody: it is not kept */
    for (int i = 0; i < 4; i++) {
        actors[i] = (struct actor){wait_once, &place, .count = &count};
        actor_start(&scope, &actors[i]);
    }
    settle();
    expect_int((long long)stats_of(&place).waiting, 4);
    expect_int(td_mutex_try_lock(&place.mutex), 0);  /* each gave it back */
    td_cond_signal(&place.cond);
    settle();
    expect_int(count, 0);  /* it was told, but we hold the mutex */
    td_mutex_unlock(&place.mutex);
    settle();
    expect_int(count, 1);
    td_cond_signal_all(&place.cond);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 4; i++) {
        expect_int(actors[i].rc, 0);
        expect_int(actors[i].rank, i);
    }
    expect_int(place.inside_max, 1);
    expect_int((long long)stats_of(&place).signals, 3);
    expect_int((long long)stats_of(&place).woken, 4);
    expect_int((long long)stats_of(&place).waits, 4);
    return 0;
}

static void each_is_told_in_its_turn_and_holds_the_mutex(void **state)
{
    assert_int_equal(run(state, tell, NULL), 0);
}

static int cancel_while_locked(void *arg)
{
    struct place place;
    struct actor waiter = {wait_once, &place}, holder = {guard, &place};
    td_mutex_stats mutex;
    td_scope scope;

    place_open(&place);
    td_scope_open(&scope);
    actor_start(&scope, &waiter);
    actor_start(&scope, &holder);
    settle();
    actor_cancel(&waiter);
    settle();
    expect(actor_waits(&waiter));  /* cancelled, and yet it waits for the mutex */
    td_mutex_statistics(&place.mutex, &mutex);
    expect_int((long long)mutex.waiting, 1);
    td_cond_signal(&place.cond);  /* not for it */
    expect_int((long long)stats_of(&place).woken, 0);
    td_sem_give(&place.pause);
    expect_int(actor_result(&holder), 0);
    expect_int(actor_result(&waiter), -ECANCELED);
    expect_int(place.inside_max, 1);
    return td_scope_join(&scope);
}

static void a_cancelled_wait_still_gets_the_mutex_first(void **state)
{
    assert_int_equal(run(state, cancel_while_locked, NULL), 0);
}

static int tell_then_cancel(void *arg)
{
    struct place place;
    struct actor first = {wait_once, &place}, second = {wait_once, &place};
    td_scope scope;

    place_open(&place);
    td_scope_open(&scope);
    actor_start(&scope, &first);
    actor_start(&scope, &second);
    settle();
    td_cond_signal(&place.cond);
    actor_cancel(&first);  /* too late: it was told */
    expect_int(actor_result(&first), 0);
    expect(actor_waits(&second));

    actor_start(&scope, &first);
    settle();
    actor_cancel(&second);
    td_cond_signal(&place.cond);  /* the cancelled one is not told any more */
    expect_int(actor_result(&second), -ECANCELED);
    expect_int(actor_result(&first), 0);

    expect_int(td_mutex_lock(&place.mutex), 0);
    actor_start(&scope, &first);
    td_mutex_unlock(&place.mutex);
    settle();
    expect_int(td_mutex_lock(&place.mutex), 0);
    td_cond_signal(&place.cond);
    actor_cancel(&first);  /* told, and waiting for the mutex */
    settle();
    expect(actor_waits(&first));
    td_mutex_unlock(&place.mutex);
    expect_int(actor_result(&first), 0);
    return td_scope_join(&scope);
}

static void no_signal_is_lost_to_a_cancellation(void **state)
{
    assert_int_equal(run(state, tell_then_cancel, NULL), 0);
}

static int wait_in_cancelled_scope(void *arg)
{
    struct place place;
    td_scope scope;

    place_open(&place);
    td_scope_open(&scope);
    expect_int(td_mutex_lock(&place.mutex), 0);
    td_scope_cancel(&scope);
    expect_int(td_cond_wait(&place.cond, &place.mutex), -ECANCELED);
    td_mutex_unlock(&place.mutex);  /* aborts unless it is held */
    expect_int(td_scope_join(&scope), 0);
    return 0;
}

static void in_a_cancelled_scope_the_mutex_stays_held(void **state)
{
    assert_int_equal(run(state, wait_in_cancelled_scope, NULL), 0);
}

static int wait_without_mutex(void *arg)
{
    struct place place;

    place_open(&place);
    return td_cond_wait(&place.cond, &place.mutex);
}

static int run_wait_without_mutex(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, wait_without_mutex, NULL);
}

static void a_wait_without_the_mutex_is_named(void **state)
{
    assert_aborts_saying(state, run_wait_without_mutex, "td_cond_wait: nobody holds the mutex");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(each_is_told_in_its_turn_and_holds_the_mutex), ON_BOTH(a_cancelled_wait_still_gets_the_mutex_first),
        ON_BOTH(no_signal_is_lost_to_a_cancellation), ON_BOTH(in_a_cancelled_scope_the_mutex_stays_held),
        ON_BOTH(a_wait_without_the_mutex_is_named),
    };

    return cmocka_run_group_tests_name("sync cond", tests, NULL, NULL);
}
