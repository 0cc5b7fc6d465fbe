/* SPDX-License-Identifier: MIT */
/* Broadcasts: everything to everybody, in order, and what a slow subscriber costs is said (law 4). */
#include "sync/actors.h"

#define CAPACITY 3

static td_broadcast *open_broadcast(td_when_full when_full)
{
    td_broadcast *broadcast = NULL;

    expect_int(td_broadcast_open(&broadcast, &(td_broadcast_opts){.item_size = sizeof(long), .capacity = CAPACITY,
                                                                  .when_full = when_full, .name = "news"}), 0);
    return broadcast;
}

static td_subscriber *subscribe(td_broadcast *broadcast)
{
    td_subscriber *subscriber = NULL;

    expect_int(td_subscribe(broadcast, &subscriber), 0);
    return subscriber;
}

static td_broadcast_stats stats_of(const td_broadcast *broadcast)
{
    td_broadcast_stats stats;

    td_broadcast_statistics(broadcast, &stats);
    return stats;
}

static int send(struct actor *self)
{
    return td_broadcast_send(self->on, &self->item);
}

static int receive(struct actor *self)
{
    return td_subscriber_receive(self->on, &self->item);
}

static void send_items(td_broadcast *broadcast, long first, long last)
{
    for (long i = first; i <= last; i++)
        expect_int(td_broadcast_send(broadcast, &i), 0);
}

static void expect_items(td_subscriber *subscriber, long first, long last)
{
    for (long i = first; i <= last; i++) {
        long item = -1;

        expect_int(td_subscriber_receive(subscriber, &item), 0);
        expect_int(item, i);
    }
    expect_int(td_subscriber_try_receive(subscriber, &(long){0}), -EAGAIN);
}

static int refuse_options(void *arg)
{
    static const td_broadcast_opts wrong[] = {
        {.item_size = 0, .capacity = 1}, {.item_size = 1, .capacity = 0}, {.item_size = SIZE_MAX, .capacity = 1},
        {.item_size = 1, .capacity = SIZE_MAX}, {.item_size = 1, .capacity = 1, .when_full = (td_when_full)(TD_DROP_OLDEST + 1)},
    };
    td_broadcast *broadcast = NULL;

    for (size_t i = 0; i < COUNT(wrong); i++)
        expect_int(td_broadcast_open(&broadcast, &wrong[i]), -EINVAL);
    td_broadcast_free(NULL);
    td_unsubscribe(NULL);
    return 0;
}

static void options_out_of_range_are_refused(void **state)
{
    assert_int_equal(run(state, refuse_options, NULL), 0);
}

static int tell_all(void *arg)
{
    td_broadcast *news = open_broadcast(TD_WAIT);
    td_subscriber *early, *late;
    struct actor waiting;
    td_scope scope;

    send_items(news, 1, 10);  /* to nobody */
    early = subscribe(news);
    send_items(news, 11, 12);
    late = subscribe(news);
    send_items(news, 13, 13);
    expect_int((long long)stats_of(news).count, CAPACITY);
    expect_int((long long)stats_of(news).peak, CAPACITY);
    expect_items(late, 13, 13);
    expect_items(early, 11, 13);
    expect_int((long long)stats_of(news).count, 0);
    expect_int(stats_of(news).oldest_ns, 0);

    td_scope_open(&scope);
    waiting = (struct actor){receive, late};
    actor_start(&scope, &waiting);
    settle();
    expect_int((long long)stats_of(news).receivers_waiting, 1);
    send_items(news, 14, 15);
    actor_cancel(&waiting);  /* too late: it has its item */
    expect_int(actor_result(&waiting), 0);
    expect_int(waiting.item, 14);
    expect_items(late, 15, 15);
    expect_items(early, 14, 15);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)stats_of(news).subscribers, 2);
    expect_int((long long)stats_of(news).sent, 15);
    td_unsubscribe(early);
    td_unsubscribe(late);
    td_broadcast_free(news);
    return 0;
}

static void every_subscriber_gets_every_item_from_then_on(void **state)
{
    assert_int_equal(run(state, tell_all, NULL), 0);
}

static int hold_senders(void *arg)
{
    td_broadcast *news = open_broadcast(TD_WAIT);
    td_subscriber *slow = subscribe(news), *fast = subscribe(news);
    struct actor senders[4];
    td_scope scope;

    send_items(news, 1, CAPACITY);
    expect_items(fast, 1, CAPACITY);
    expect_int(td_broadcast_try_send(news, &(long){99}), -EBUSY);
    expect_int((long long)stats_of(news).rejected, 1);
    td_scope_open(&scope);
    for (int i = 0; i < 4; i++) {
        senders[i] = (struct actor){send, news, .item = 4 + i};
        actor_start(&scope, &senders[i]);
    }
    settle();
    expect_int((long long)stats_of(news).senders_waiting, 4);
    actor_cancel(&senders[1]);
    expect_int(td_subscriber_try_receive(slow, &senders[1].item), 0);
    actor_cancel(&senders[0]);  /* too late: its item has the room */
    expect_int(actor_result(&senders[0]), 0);
    expect_int(actor_result(&senders[1]), -ECANCELED);
    expect_items(fast, 4, 4);
    td_unsubscribe(slow);  /* who held up the others */
    expect_int(actor_result(&senders[2]), 0);
    expect_int(actor_result(&senders[3]), 0);
    expect_items(fast, 6, 7);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)stats_of(news).peak, CAPACITY);
    td_unsubscribe(fast);
    td_broadcast_free(news);
    return 0;
}

static void the_slowest_subscriber_holds_the_senders(void **state)
{
    assert_int_equal(run(state, hold_senders, NULL), 0);
}

static int reject(void *arg)
{
    td_broadcast *news = open_broadcast(TD_REJECT);
    td_subscriber *slow = subscribe(news), *fast = subscribe(news);

    send_items(news, 1, CAPACITY);
    expect_items(fast, 1, CAPACITY);
    expect_int(td_broadcast_send(news, &(long){99}), -EBUSY);
    expect_int(td_subscriber_try_receive(fast, &(long){0}), -EAGAIN);  /* all or nobody */
    expect_items(slow, 1, CAPACITY);
    send_items(news, 4, 4);
    expect_items(fast, 4, 4);
    expect_int((long long)stats_of(news).rejected, 1);
    td_unsubscribe(slow);
    td_unsubscribe(fast);
    td_broadcast_free(news);
    return 0;
}

static void a_rejected_item_goes_to_nobody(void **state)
{
    assert_int_equal(run(state, reject, NULL), 0);
}

static int drop(void *arg)
{
    td_broadcast *news = open_broadcast(TD_DROP_OLDEST);
    td_subscriber *slow = subscribe(news), *fast = subscribe(news), *gone = subscribe(news);
    td_subscriber_stats stats;
    long item = 0;

    for (long i = 1; i <= 10; i++) {
        send_items(news, i, i);
        expect_items(fast, i, i);
    }
    td_subscriber_statistics(slow, &stats);
    expect_int((long long)stats.behind, CAPACITY);
    expect_int(td_subscriber_receive(slow, &item), 7);  /* so many it lost */
    expect_int(item, 8);
    expect_items(slow, 9, 10);
    td_subscriber_statistics(slow, &stats);
    expect_int((long long)stats.received, 3);
    expect_int((long long)stats.lost, 7);
    td_subscriber_statistics(fast, &stats);
    expect_int((long long)stats.lost, 0);
    expect_int((long long)stats_of(news).dropped, 7);
    td_unsubscribe(gone);
    expect_int((long long)stats_of(news).count, 0);
    td_unsubscribe(slow);
    td_unsubscribe(fast);
    td_broadcast_free(news);
    return 0;
}

static void whoever_lost_items_is_told_how_many(void **state)
{
    assert_int_equal(run(state, drop, NULL), 0);
}

static int close_it(void *arg)
{
    td_broadcast *news = open_broadcast(TD_WAIT);
    td_subscriber *behind = subscribe(news), *waiting = subscribe(news);
    struct actor receiver = {receive, waiting}, sender = {send, news, .item = 99};
    td_scope scope;

    td_scope_open(&scope);
    send_items(news, 1, CAPACITY);
    expect_items(waiting, 1, CAPACITY);
    actor_start(&scope, &receiver);
    actor_start(&scope, &sender);
    settle();
    expect_int(td_broadcast_close(news), 0);
    expect_int(td_broadcast_close(news), 0);
    expect_int(actor_result(&receiver), -EPIPE);
    expect_int(actor_result(&sender), -EPIPE);
    expect_int(td_broadcast_send(news, &(long){1}), -EPIPE);
    expect_int(td_broadcast_try_send(news, &(long){1}), -EPIPE);
    for (long i = 1, item = 0; i <= CAPACITY; i++) {
        expect_int(td_subscriber_receive(behind, &item), 0);
        expect_int(item, i);
    }
    expect_int(td_subscriber_receive(behind, &(long){0}), -EPIPE);
    expect_int(td_scope_join(&scope), 0);
    td_unsubscribe(behind);
    td_unsubscribe(waiting);
    td_broadcast_free(news);
    return 0;
}

static void a_closed_broadcast_is_read_to_its_end(void **state)
{
    assert_int_equal(run(state, close_it, NULL), 0);
}

static int share(void *arg)
{
    td_broadcast *news = open_broadcast(TD_WAIT);
    td_subscriber *team = subscribe(news);
    struct actor actors[3];
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < 3; i++) {
        actors[i] = (struct actor){receive, team};
        actor_start(&scope, &actors[i]);
    }
    settle();
    actor_cancel(&actors[1]);
    send_items(news, 1, 3);
    expect_int(td_scope_join(&scope), 0);
    expect_int(actors[0].item, 1);
    expect_int(actors[1].rc, -ECANCELED);
    expect_int(actors[2].item, 2);
    expect_items(team, 3, 3);
    td_unsubscribe(team);
    td_broadcast_free(news);
    return 0;
}

static void tasks_that_share_a_subscriber_share_its_items(void **state)
{
    assert_int_equal(run(state, share, NULL), 0);
}

static int free_with_subscriber(void *arg)
{
    td_broadcast *news = open_broadcast(TD_WAIT);

    (void)subscribe(news);
    td_broadcast_free(news);
    return 0;
}

static int run_free_with_subscriber(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, free_with_subscriber, NULL);
}

static void a_broadcast_in_use_is_not_freed(void **state)
{
    assert_aborts_saying(state, run_free_with_subscriber, "1 subscribers are left (receive from broadcast news)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(options_out_of_range_are_refused), ON_BOTH(every_subscriber_gets_every_item_from_then_on),
        ON_BOTH(the_slowest_subscriber_holds_the_senders), ON_BOTH(a_rejected_item_goes_to_nobody),
        ON_BOTH(whoever_lost_items_is_told_how_many), ON_BOTH(a_closed_broadcast_is_read_to_its_end),
        ON_BOTH(tasks_that_share_a_subscriber_share_its_items), ON_BOTH(a_broadcast_in_use_is_not_freed),
    };

    return cmocka_run_group_tests_name("sync broadcast", tests, NULL, NULL);
}
