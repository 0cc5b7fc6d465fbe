/* SPDX-License-Identifier: MIT */
/* Channels: order, the three policies, closing (law 4). */
#include "run/harness.h"

#define CAPACITY 3

static td_chan *open_chan(size_t capacity, td_when_full when_full)
{
    td_chan *chan = NULL;

    expect_int(td_chan_open(&chan, &(td_chan_opts){.item_size = sizeof(int), .capacity = capacity,
                                                   .when_full = when_full}), 0);
    return chan;
}

static td_chan *full_chan(td_when_full when_full)
{
    td_chan *chan = open_chan(CAPACITY, when_full);

    for (int i = 1; i <= CAPACITY; i++)
        expect_int(td_chan_send(chan, &i), 0);
    return chan;
}

static void expect_items(td_chan *chan, int first, int last)
{
    for (int i = first; i <= last; i++) {
        int item = -1;

        expect_int(td_chan_receive(chan, &item), 0);
        expect_int(item, i);
    }
}

static td_chan_stats stats_of(td_chan *chan)
{
    td_chan_stats stats;

    td_chan_statistics(chan, &stats);
    return stats;
}

static int refuse_options(void *arg)
{
    static const td_chan_opts wrong[] = {
        {.item_size = 0, .capacity = 1}, {.item_size = 1, .capacity = 0}, {.item_size = SIZE_MAX, .capacity = 2},
        {.item_size = 1, .capacity = SIZE_MAX}, {.item_size = 1, .capacity = 1, .when_full = (td_when_full)(TD_DROP_OLDEST + 1)},
        {.item_size = 1, .capacity = 1, .when_full = (td_when_full)-1},
    };
    td_chan *chan = (td_chan *)&wrong;

    for (size_t i = 0; i < COUNT(wrong); i++)
        expect_int(td_chan_open(&chan, &wrong[i]), -EINVAL);
    expect(chan == (td_chan *)&wrong);
    return 0;
}

static void options_out_of_range_are_refused(void **state)
{
    assert_int_equal(run(state, refuse_options, NULL), 0);
}

static int keep_order(void *arg)
{
    td_chan *chan = full_chan(TD_WAIT);

    expect_items(chan, 1, 2);
    for (int i = 4; i <= 5; i++)
        expect_int(td_chan_send(chan, &i), 0);  /* round the ring's end */
    expect_items(chan, 3, 5);
    expect_int((long long)stats_of(chan).peak, CAPACITY);
    expect_int((long long)stats_of(chan).capacity, CAPACITY);
    expect_int((long long)stats_of(chan).sent, 5);
    expect_int((long long)stats_of(chan).received, 5);
    td_chan_free(chan);
    td_chan_free(NULL);
    return 0;
}

static void items_come_out_in_their_order(void **state)
{
    assert_int_equal(run(state, keep_order, NULL), 0);
}

struct big {
    char bytes[777];
};

static int copy_items(void *arg)
{
    struct big in, out;
    td_chan *chan;

    expect_int(td_chan_open(&chan, &(td_chan_opts){.item_size = sizeof in, .capacity = 2}), 0);
    for (int i = 0; i < 5; i++) {
        memset(&in, 'a' + i, sizeof in);
        expect_int(td_chan_send(chan, &in), 0);
        memset(&in, 'x', sizeof in);  /* the channel has its copy */
        expect_int(td_chan_receive(chan, &out), 0);
        expect(out.bytes[0] == 'a' + i && out.bytes[776] == 'a' + i);
    }
    td_chan_free(chan);
    return 0;
}

static void items_are_copied(void **state)
{
    assert_int_equal(run(state, copy_items, NULL), 0);
}

struct sender {
    td_chan *chan;
    int item, rc;
    bool done;
};

static int send_one(void *arg)
{
    struct sender *sender = arg;

    sender->rc = td_chan_send(sender->chan, &sender->item);
    sender->done = true;
    return 0;
}

static int wait_for_room(void *arg)
{
    td_chan *chan = full_chan(TD_WAIT);
    struct sender senders[] = {{chan, 4}, {chan, 5}};
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < 2; i++)
        td_spawn(&scope, send_one, &senders[i]);
    settle();
    expect(!senders[0].done && !senders[1].done);
    expect_int((long long)stats_of(chan).senders_waiting, 2);
    expect_items(chan, 1, 1);
    expect_int((long long)stats_of(chan).count, CAPACITY);  /* room made is room taken, by the one that waited longest */
    settle();
    expect(senders[0].done && !senders[1].done);
    expect_items(chan, 2, 5);
    expect_int(td_scope_join(&scope), 0);
    expect_int(senders[0].rc, 0);
    expect_int(senders[1].rc, 0);
    expect_int((long long)stats_of(chan).sent, 5);
    td_chan_free(chan);
    return 0;
}

static void a_waiting_sender_waits_for_room(void **state)
{
    assert_int_equal(run(state, wait_for_room, NULL), 0);
}

/* Who comes while others wait does not get ahead of them. */
static int queue_up(void *arg)
{
    td_chan *chan = full_chan(TD_WAIT);
    struct sender waiting = {chan, 4};
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, send_one, &waiting);
    settle();
    expect_items(chan, 1, 1);
    expect_items(chan, 2, 2);
    expect_int(td_chan_send(chan, &(int){5}), 0);
    expect_items(chan, 3, 5);
    expect_int(td_scope_join(&scope), 0);
    td_chan_free(chan);
    return 0;
}

static void nobody_overtakes_a_waiting_sender(void **state)
{
    assert_int_equal(run(state, queue_up, NULL), 0);
}

static int reject(void *arg)
{
    td_chan *chan = full_chan(TD_REJECT);

    expect_int(td_chan_send(chan, &(int){4}), -EBUSY);
    expect_int(td_chan_send(chan, &(int){4}), -EBUSY);
    expect_int((long long)stats_of(chan).rejected, 2);
    expect_items(chan, 1, 1);
    expect_int(td_chan_send(chan, &(int){4}), 0);
    expect_items(chan, 2, 4);
    expect_int((long long)stats_of(chan).sent, 4);
    td_chan_free(chan);
    return 0;
}

static void a_rejecting_channel_says_so_at_once(void **state)
{
    assert_int_equal(run(state, reject, NULL), 0);
}

static int drop_oldest(void *arg)
{
    td_chan *chan = full_chan(TD_DROP_OLDEST);

    for (int i = 4; i <= 8; i++)
        expect_int(td_chan_send(chan, &i), 0);
    expect_int((long long)stats_of(chan).dropped, 5);
    expect_int((long long)stats_of(chan).count, CAPACITY);
    expect_items(chan, 6, 8);
    td_chan_free(chan);
    return 0;
}

static void a_dropping_channel_keeps_the_newest(void **state)
{
    assert_int_equal(run(state, drop_oldest, NULL), 0);
}

struct receiver {
    td_chan *chan;
    int item, rc, rank, *next;
};

static int receive_one(void *arg)
{
    struct receiver *receiver = arg;

    receiver->rc = td_chan_receive(receiver->chan, &receiver->item);
    receiver->rank = (*receiver->next)++;
    return 0;
}

static int try_both(void *arg)
{
    td_chan *chan = open_chan(CAPACITY, TD_WAIT), *dropping = full_chan(TD_DROP_OLDEST);
    struct sender sender = {chan, 5};
    struct receiver receiver = {.chan = chan, .next = &(int){0}};
    td_scope scope;
    int item = -1;

    expect_int(td_chan_try_receive(chan, &item), -EAGAIN);
    expect_int(item, -1);
    td_scope_open(&scope);
    td_spawn(&scope, receive_one, &receiver);
    settle();
    expect_int(td_chan_try_send(chan, &(int){1}), 0);  /* into its hands, */
    expect_int(td_chan_try_receive(chan, &item), -EAGAIN);  /* and out of ours */
    for (int i = 2; i <= 1 + CAPACITY; i++)
        expect_int(td_chan_try_send(chan, &i), 0);
    expect_int(td_chan_try_send(chan, &(int){99}), -EBUSY);
    expect_int((long long)stats_of(chan).rejected, 1);
    td_spawn(&scope, send_one, &sender);
    settle();
    expect_int(receiver.item, 1);
    expect_int(td_chan_try_receive(chan, &item), 0);
    expect_int(item, 2);
    expect_int(td_chan_try_send(chan, &(int){99}), -EBUSY);  /* the waiting one's item has the room */
    expect_int(td_scope_join(&scope), 0);
    expect_items(chan, 3, 5);
    td_chan_close(chan);
    expect_int(td_chan_try_send(chan, &item), -EPIPE);
    expect_int(td_chan_try_receive(chan, &item), -EPIPE);
    expect_int(td_chan_try_send(dropping, &(int){4}), 0);
    expect_items(dropping, 2, 4);
    td_chan_free(chan);
    td_chan_free(dropping);
    return 0;
}

static void a_try_never_waits(void **state)
{
    assert_int_equal(run(state, try_both, NULL), 0);
}

static int grow_old(void *arg)
{
    td_chan *chan = full_chan(TD_WAIT);
    struct sender sender = {chan, 4};
    td_time began = td_now();
    td_scope scope;

    expect_int(stats_of(chan).oldest_ns, 0);
    td_scope_open(&scope);
    td_sleep(td_ms(5));
    td_spawn(&scope, send_one, &sender);
    td_sleep(td_ms(2));
    expect_int(stats_of(chan).oldest_ns, td_ms(7));
    expect_int(stats_of(chan).oldest_wait_ns, td_ms(2));
    expect_items(chan, 1, CAPACITY);
    expect_int(stats_of(chan).oldest_wait_ns, 0);
    td_sleep(td_ms(1));
    expect_int(stats_of(chan).oldest_ns, td_ms(1));  /* of the item that waited to come in: since it came in */
    expect_int(td_now() - began, td_ms(8));
    expect_items(chan, 4, 4);
    expect_int(stats_of(chan).oldest_ns, 0);
    expect_int(td_scope_join(&scope), 0);
    td_chan_free(chan);
    return 0;
}

static void items_and_waits_have_an_age(void **state)
{
    assert_int_equal(run_with(state, (td_opts){.virtual_time = true}, grow_old, NULL), 0);
}

static int serve_in_order(void *arg)
{
    td_chan *chan = open_chan(1, TD_WAIT);
    struct receiver receivers[5];
    int next = 0;
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < 5; i++) {
        receivers[i] = (struct receiver){.chan = chan, .next = &next};
        td_spawn(&scope, receive_one, &receivers[i]);
    }
    settle();
    expect_int((long long)stats_of(chan).receivers_waiting, 5);
    for (int i = 0; i < 5; i++)  /* more than it could hold: each goes to a hand that is held out */
        expect_int(td_chan_send(chan, &i), 0);
    expect_int((long long)stats_of(chan).peak, 0);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 5; i++) {
        expect_int(receivers[i].item, i);
        expect_int(receivers[i].rank, i);
    }
    td_chan_free(chan);
    return 0;
}

static void receivers_are_served_in_the_order_they_came(void **state)
{
    assert_int_equal(run(state, serve_in_order, NULL), 0);
}

static int close_it(void *arg)
{
    td_chan *chan = full_chan(TD_WAIT), *empty = open_chan(1, TD_WAIT);
    struct sender sender = {chan, 4};
    struct receiver receiver = {.chan = empty, .next = &(int){0}};
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, send_one, &sender);
    td_spawn(&scope, receive_one, &receiver);
    settle();
    expect_int(td_chan_close(chan), 0);
    expect_int(td_chan_close(chan), 0);
    expect_int(td_chan_close(empty), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int(sender.rc, -EPIPE);
    expect_int(receiver.rc, -EPIPE);
    expect_int(td_chan_send(chan, &(int){5}), -EPIPE);
    expect_items(chan, 1, CAPACITY);  /* what is in it is still there, and the refused are not */
    expect_int(td_chan_receive(chan, &(int){0}), -EPIPE);
    expect_int((long long)stats_of(chan).sent, CAPACITY);
    td_chan_free(chan);
    td_chan_free(empty);
    return 0;
}

static void a_closed_channel_gives_what_it_has_and_takes_no_more(void **state)
{
    assert_int_equal(run(state, close_it, NULL), 0);
}

static int close_full(void *arg)
{
    td_chan *rejecting = full_chan(TD_REJECT), *dropping = full_chan(TD_DROP_OLDEST);

    td_chan_close(rejecting);
    td_chan_close(dropping);
    expect_int(td_chan_send(rejecting, &(int){4}), -EPIPE);
    expect_int(td_chan_send(dropping, &(int){4}), -EPIPE);
    expect_items(dropping, 1, CAPACITY);
    td_chan_free(rejecting);
    td_chan_free(dropping);
    return 0;
}

static void closed_outweighs_full(void **state)
{
    assert_int_equal(run(state, close_full, NULL), 0);
}

static int free_under_receiver(void *arg)
{
    td_chan *chan = open_chan(1, TD_WAIT);
    struct receiver receiver = {.chan = chan, .next = &(int){0}};
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, receive_one, &receiver);
    settle();
    td_chan_free(chan);
    return td_scope_join(&scope);
}

static int run_free_under_receiver(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, free_under_receiver, NULL);
}

static void a_channel_in_use_is_not_freed(void **state)
{
    assert_aborts_saying(state, run_free_under_receiver, "tasks still wait in the channel");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(options_out_of_range_are_refused), ON_BOTH(items_come_out_in_their_order), ON_BOTH(items_are_copied),
        ON_BOTH(a_waiting_sender_waits_for_room), ON_BOTH(nobody_overtakes_a_waiting_sender),
        ON_BOTH(a_rejecting_channel_says_so_at_once), ON_BOTH(a_dropping_channel_keeps_the_newest),
        ON_BOTH(receivers_are_served_in_the_order_they_came), ON_BOTH(a_try_never_waits),
        ON_BOTH(items_and_waits_have_an_age),
        ON_BOTH(a_closed_channel_gives_what_it_has_and_takes_no_more), ON_BOTH(closed_outweighs_full),
        ON_BOTH(a_channel_in_use_is_not_freed),
    };

    return cmocka_run_group_tests_name("sync chan", tests, NULL, NULL);
}
