/* SPDX-License-Identifier: MIT */
/*
 * Locks, futures, selects and a broadcast, among tasks that are cancelled at any point. Law 3 for each of them: what a
 * cancelled wait was about to be given goes to the next one, so at the end every permit is back, the mutex is free, and of
 * the items that a select sent or took each is accounted for once.
 */
#include "sim/scenario.h"

#define TASKS_MAX 8
#define STEPS_MAX 20
#define PERMITS 2
#define SUBSCRIBERS 2

struct place {
    struct world *world;
    td_sem sem;
    td_mutex mutex;
    td_cond cond;
    td_future future;
    td_event event;
    td_rate rate;
    td_chan *chan;
    td_broadcast *news;
    int holding, inside;              /* permits taken, tasks inside the mutex */
    int goods;                        /* what the condition is about */
    long long sent, received;         /* sums of the channel's items */
    unsigned long long rate_taken;
    td_time began;
    int item;                         /* the last that was sent */
    unsigned published;
};

/* Holds what it has for a while. */
static void dwell(void)
{
    if (one_in(2))
        td_sleep(td_us((int64_t)pick(3000)));
    else
        td_yield();
}

static void use_permit(struct place *place, int rc)
{
    if (rc < 0)
        return;
    must(place->world, ++place->holding <= PERMITS, "%d permits are out", place->holding);
    dwell();
    place->holding--;
    td_sem_give(&place->sem);
}

static void use_mutex(struct place *place)
{
    if (td_mutex_lock(&place->mutex) < 0)
        return;
    must(place->world, ++place->inside == 1, "%d tasks are inside the mutex", place->inside);
    dwell();
    if (one_in(2)) {
        place->goods++;
        if (one_in(3))
            td_cond_signal_all(&place->cond);
        else
            td_cond_signal(&place->cond);
    } else {
        int rc = 0;

        while (rc == 0 && place->goods == 0) {
            place->inside--;
            rc = td_cond_wait(&place->cond, &place->mutex);
            must(place->world, ++place->inside == 1, "%d tasks are inside after a wait", place->inside);
        }
        if (rc == 0)
            place->goods--;
        must(place->world, place->goods >= 0, "%d goods are left", place->goods);
    }
    place->inside--;
    td_mutex_unlock(&place->mutex);
}

static void use_select(struct place *place)
{
    int out = ++place->item, in = 0, rc;
    void *value = NULL;
    size_t which = 99;
    td_case cases[] = {td_on_receive(place->chan, &in), td_on_send(place->chan, &out), td_on_permit(&place->sem),
                       td_on_event(&place->event), td_on_future(&place->future, &value),
                       td_on_time(td_after(td_us((int64_t)pick(4000))))};
    size_t first = pick(6), count = 1 + pick(6 - first);

    rc = td_select(cases + first, count, &which);
    if (rc == -ECANCELED)
        return;
    which += first;
    must(place->world, rc == 0 && which < 6, "a select of %zu answered %d, %zu", count, rc, which);
    place->received += which == 0 ? in : 0;
    place->sent += which == 1 ? out : 0;
    if (which == 2)
        use_permit(place, 0);
    must(place->world, which != 4 || value == place, "a future's value is another");
}

static void use_rate(struct place *place)
{
    size_t n = 1 + pick(3);

    if (td_rate_take(&place->rate, n) < 0)
        return;
    place->rate_taken += n;
    /* 1,000 a second, 3 at once */
    must(place->world, (td_time)place->rate_taken <= 3 + (td_now() - place->began) / td_ms(1), "%llu were taken in %lld ns",
         place->rate_taken, (long long)(td_now() - place->began));
}

/* Nobody waits for what is to be had. */
static void check_waits(struct place *place)
{
    td_mutex_stats mutex;
    td_sem_stats sem;

    check_channel(place->world, place->chan);
    td_sem_statistics(&place->sem, &sem);
    must(place->world, !sem.waiting || sem.permits == 0, "%zu wait for %zu permits", sem.waiting, sem.permits);
    td_mutex_statistics(&place->mutex, &mutex);
    must(place->world, !mutex.waiting || mutex.locked, "%zu wait for a mutex that is free", mutex.waiting);
}

static int worker(void *arg)
{
    struct place *place = arg;

    for (size_t steps = 1 + pick(STEPS_MAX); steps > 0; steps--) {
        td_scope scope;

        td_scope_open(&scope);
        td_scope_deadline(&scope, td_after(td_us((int64_t)pick(one_in(3) ? 100 : 20000))));
        switch (pick(7)) {
        case 0:
            use_permit(place, td_sem_take(&place->sem));
            break;
        case 1:
            use_mutex(place);
            break;
        case 2:
            use_rate(place);
            break;
        case 3:
            td_event_set(&place->event);
            td_yield();
            td_event_clear(&place->event);
            break;
        case 4:
            if (one_in(10))
                td_future_set(&place->future, place);
            place->published += td_broadcast_send(place->news, &place->published) == 0;
            break;
        default:
            use_select(place);
        }
        td_scope_join(&scope);
        check_waits(place);
    }
    return 0;
}

/* Hears every number once, in order, however often it is cancelled in between. */
static int listen_to_news(void *arg)
{
    struct place *place = arg;
    td_subscriber *subscriber;
    unsigned last = 0, number;
    bool any = false;
    int rc = td_subscribe(place->news, &subscriber);

    if (!must(place->world, rc == 0, "td_subscribe answered %d", rc))
        return 0;
    for (;;) {
        td_scope scope;

        td_scope_open(&scope);
        td_scope_deadline(&scope, td_after(td_us((int64_t)pick(3000))));
        rc = td_subscriber_receive(subscriber, &number);
        td_scope_join(&scope);
        if (rc == -ECANCELED)
            continue;
        if (rc < 0)
            break;
        must(place->world, !any || number >= last, "number %u came after %u", number, last);
        last = number;
        any = true;
    }
    must(place->world, rc == -EPIPE, "a receive answered %d", rc);
    td_unsubscribe(subscriber);
    return 0;
}

static void settle_accounts(struct place *place)
{
    td_mutex_stats mutex;
    td_sem_stats sem;
    int item;

    td_sem_statistics(&place->sem, &sem);
    td_mutex_statistics(&place->mutex, &mutex);
    must(place->world, sem.permits == PERMITS && sem.waiting == 0, "%zu permits are back, %zu wait", sem.permits, sem.waiting);
    must(place->world, !mutex.locked && mutex.waiting == 0, "the mutex is not free");
    while (td_chan_try_receive(place->chan, &item) == 0)
        place->received += item;
    must(place->world, place->sent == place->received, "%lld sent, %lld received", place->sent, place->received);
    td_chan_free(place->chan);
    td_broadcast_free(place->news);
}

static int run(void *arg)
{
    struct place place = {.world = arg};
    size_t count = 1 + pick(TASKS_MAX);
    td_scope scope, listeners;
    int rc;

    td_sem_init(&place.sem, PERMITS);
    td_mutex_init(&place.mutex);
    td_cond_init(&place.cond);
    td_future_init(&place.future);
    td_event_init(&place.event);
    rc = td_rate_init(&place.rate, 1000, td_sec(1), 3);
    place.began = td_now();
    must(place.world, rc == 0, "td_rate_init answered %d", rc);
    rc = td_chan_open(&place.chan, &(td_chan_opts){.item_size = sizeof(int), .capacity = 1 + pick(2)});
    must(place.world, rc == 0, "td_chan_open answered %d", rc);
    rc = td_broadcast_open(&place.news, &(td_broadcast_opts){.item_size = sizeof(unsigned), .capacity = 1 + pick(4),
                                                             .when_full = (td_when_full)(TD_WAIT + pick(3))});
    must(place.world, rc == 0, "td_broadcast_open answered %d", rc);
    td_scope_open(&listeners);
    for (int i = 0; i < SUBSCRIBERS; i++)
        td_spawn(&listeners, listen_to_news, &place);
    td_scope_open(&scope);
    for (size_t i = 0; i < count; i++)
        td_spawn(&scope, worker, &place);
    rc = td_scope_join(&scope);
    must(place.world, rc == 0, "the workers' scope answered %d", rc);
    td_broadcast_close(place.news);
    rc = td_scope_join(&listeners);
    must(place.world, rc == 0, "the listeners' scope answered %d", rc);
    settle_accounts(&place);
    return 0;
}

const struct scenario scenario_sync = {"sync", run};
