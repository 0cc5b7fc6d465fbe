/* SPDX-License-Identifier: MIT */
/* Law 3 for channels: the item or the cancellation, never both and never neither. */
#include "run/harness.h"

#define PRODUCERS 5
#define CONSUMERS 5
#define CAPACITY 4

struct world {
    td_scope scope;
    td_chan *chan;
    int item, rc, received;
};

static void world_open(struct world *w, size_t capacity)
{
    memset(w, 0, sizeof *w);
    expect_int(td_chan_open(&w->chan, &(td_chan_opts){.item_size = sizeof(int), .capacity = capacity}), 0);
}

static td_chan_stats stats_of(const struct world *w)
{
    td_chan_stats stats;

    td_chan_statistics(w->chan, &stats);
    return stats;
}

static int send_one(void *arg)
{
    struct world *w = arg;

    return w->rc = td_chan_send(w->chan, &(int){99});
}

static int receive_one(void *arg)
{
    struct world *w = arg;

    return w->rc = td_chan_receive(w->chan, &w->item);
}

static int cancel_sender(void *arg)
{
    struct world w;
    int item = 0;

    world_open(&w, CAPACITY);
    for (int i = 0; i < CAPACITY; i++)
        td_chan_send(w.chan, &i);
    td_scope_open(&w.scope);
    td_spawn(&w.scope, send_one, &w);  /* parks: the channel is full */
    settle();
    td_scope_cancel(&w.scope);
    expect_int(td_scope_join(&w.scope), -ECANCELED);
    expect_int((long long)stats_of(&w).count, CAPACITY);
    expect_int((long long)stats_of(&w).sent, CAPACITY);
    expect_int((long long)stats_of(&w).senders_waiting, 0);
    for (int i = 0; i < CAPACITY; i++) {
        expect_int(td_chan_receive(w.chan, &item), 0);
        expect_int(item, i);
    }
    expect_int((long long)stats_of(&w).count, 0);
    td_chan_free(w.chan);
    return 0;
}

static void a_cancelled_send_leaves_nothing(void **state)
{
    assert_int_equal(run(state, cancel_sender, NULL), 0);
}

static int cancel_receiver(void *arg)
{
    struct world w;

    world_open(&w, 1);
    td_scope_open(&w.scope);
    td_spawn(&w.scope, receive_one, &w);
    settle();
    td_scope_cancel(&w.scope);
    expect_int(td_scope_join(&w.scope), -ECANCELED);
    expect_int(w.item, 0);
    expect_int(td_chan_send(w.chan, &(int){7}), 0);
    expect_int((long long)stats_of(&w).count, 1);
    expect_int((long long)stats_of(&w).receivers_waiting, 0);
    td_chan_free(w.chan);
    return 0;
}

static void a_cancelled_receive_takes_nothing(void **state)
{
    assert_int_equal(run(state, cancel_receiver, NULL), 0);
}

static int hand_over_then_cancel(void *arg)
{
    struct world w;

    world_open(&w, 1);
    td_scope_open(&w.scope);
    td_spawn(&w.scope, receive_one, &w);
    settle();
    td_chan_send(w.chan, &(int){7});  /* it has the item, but has not run since */
    td_scope_cancel(&w.scope);
    expect_int(td_scope_join(&w.scope), 0);
    expect_int(w.rc, 0);
    expect_int(w.item, 7);
    td_chan_free(w.chan);
    return 0;
}

static void an_item_handed_over_is_not_lost_to_a_cancellation(void **state)
{
    assert_int_equal(run(state, hand_over_then_cancel, NULL), 0);
}

static int take_then_cancel(void *arg)
{
    struct world w;
    int item = 0;

    world_open(&w, 1);
    td_chan_send(w.chan, &(int){1});
    td_scope_open(&w.scope);
    td_spawn(&w.scope, send_one, &w);
    settle();
    td_chan_receive(w.chan, &item);  /* makes room, which the waiting item takes */
    td_scope_cancel(&w.scope);
    expect_int(td_scope_join(&w.scope), 0);
    expect_int(w.rc, 0);
    expect_int(td_chan_receive(w.chan, &item), 0);
    expect_int(item, 99);
    td_chan_free(w.chan);
    return 0;
}

static void a_completed_send_is_never_reported_as_cancelled(void **state)
{
    assert_int_equal(run(state, take_then_cancel, NULL), 0);
}

static int cancel_in_the_middle(void *arg)
{
    struct world worlds[3];
    td_chan *chan;
    td_scope scope;
    int item;

    expect_int(td_chan_open(&chan, &(td_chan_opts){.item_size = sizeof(int), .capacity = 1}), 0);
    td_scope_open(&scope);
    for (int i = 0; i < 3; i++)
        worlds[i] = (struct world){.chan = chan};
    td_spawn(&scope, receive_one, &worlds[0]);
    settle();
    td_scope_open(&worlds[1].scope);
    td_spawn(&worlds[1].scope, receive_one, &worlds[1]);
    settle();
    td_spawn(&scope, receive_one, &worlds[2]);
    settle();
    td_scope_cancel(&worlds[1].scope);
    expect_int(td_scope_join(&worlds[1].scope), -ECANCELED);
    for (item = 10; item < 12; item++)
        expect_int(td_chan_send(chan, &item), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int(worlds[0].item, 10);
    expect_int(worlds[2].item, 11);
    td_chan_free(chan);
    return 0;
}

static void a_cancelled_waiter_leaves_the_queue_in_order(void **state)
{
    assert_int_equal(run(state, cancel_in_the_middle, NULL), 0);
}

/* Producers count what was taken off their hands, consumers what came into theirs; cancellations fall in between. */
struct storm {
    struct random *random;
    td_chan *chan;
    unsigned long long sent_sum, received_sum, sent, received;
    bool stop;
};

static int produce(void *arg)
{
    struct storm *storm = arg;

    while (!storm->stop) {
        int item = (int)random_below(storm->random, 1000000), rc;
        td_scope scope;

        td_scope_open(&scope);
        td_scope_deadline(&scope, td_after(td_us((int64_t)random_below(storm->random, 60))));
        rc = td_chan_send(storm->chan, &item);
        td_scope_join(&scope);
        if (rc == 0) {
            storm->sent++;
            storm->sent_sum += (unsigned)item;
        }
        td_yield();
    }
    return 0;
}

static int consume(void *arg)
{
    struct storm *storm = arg;
    int rc = 0;

    while (rc != -EPIPE) {
        int item = -1;
        td_scope scope;

        td_scope_open(&scope);
        td_scope_deadline(&scope, td_after(td_us((int64_t)random_below(storm->random, 60))));
        rc = td_chan_receive(storm->chan, &item);
        td_scope_join(&scope);
        if (rc == 0) {
            storm->received++;
            storm->received_sum += (unsigned)item;
        }
        td_yield();
    }
    return 0;
}

static int storm(void *arg)
{
    struct storm *storm = arg;
    td_chan_stats stats;
    td_scope producers, consumers;

    td_chan_open(&storm->chan, &(td_chan_opts){.item_size = sizeof(int), .capacity = CAPACITY});
    td_scope_open(&consumers);
    td_scope_open(&producers);
    for (int i = 0; i < CONSUMERS; i++)
        td_spawn(&consumers, consume, storm);
    for (int i = 0; i < PRODUCERS; i++)
        td_spawn(&producers, produce, storm);
    td_sleep(td_ms(150));
    eventually(storm->received > 1000);
    storm->stop = true;
    expect_int(td_scope_join(&producers), 0);
    td_chan_close(storm->chan);
    expect_int(td_scope_join(&consumers), 0);
    td_chan_statistics(storm->chan, &stats);
    expect_int((long long)storm->sent, (long long)storm->received);
    expect_int((long long)storm->sent_sum, (long long)storm->received_sum);
    expect_int((long long)stats.sent, (long long)storm->sent);
    expect_int((long long)stats.received, (long long)storm->received);
    td_chan_free(storm->chan);
    return 0;
}

static void no_item_is_lost_or_doubled_in_a_storm_of_cancellations(void **state)
{
    struct random random = random_seeded();

    assert_int_equal(run(state, storm, &(struct storm){&random}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_cancelled_send_leaves_nothing), ON_BOTH(a_cancelled_receive_takes_nothing),
        ON_BOTH(an_item_handed_over_is_not_lost_to_a_cancellation),
        ON_BOTH(a_completed_send_is_never_reported_as_cancelled),
        ON_BOTH(a_cancelled_waiter_leaves_the_queue_in_order),
        ON_BOTH(no_item_is_lost_or_doubled_in_a_storm_of_cancellations),
    };

    return cmocka_run_group_tests_name("sync cancel", tests, NULL, NULL);
}
