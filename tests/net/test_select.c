/* SPDX-License-Identifier: MIT */
/* Streams and listeners as cases of a select: waiting for bytes takes none of them. */
#include "net/pair.h"

#define TOTAL (128u * 1024)

struct conversation {
    struct pair pair;
    struct random *random;
    td_chan *interruptions;
    size_t written, read;
    unsigned by_stream, by_chan, by_time, cancelled;
    bool over;
};

static int write_in_bursts(void *arg)
{
    struct conversation *c = arg;
    unsigned char bytes[700];

    while (c->written < TOTAL) {
        size_t n = 1 + random_below(c->random, sizeof bytes);

        n = n < TOTAL - c->written ? n : TOTAL - c->written;
        fill(bytes, n, c->written);
        if (!expect_int(td_stream_write(c->pair.near, bytes, n), (ssize_t)n))
            break;
        c->written += n;
        td_sleep(td_us((int64_t)random_below(c->random, 40)));
    }
    return td_stream_end(c->pair.near);
}

static int interrupt(void *arg)
{
    struct conversation *c = arg;

    while (!c->over) {
        (void)td_chan_try_send(c->interruptions, &(int){1});
        td_sleep(td_us((int64_t)random_below(c->random, 60)));
    }
    return 0;
}

/* One select, and the read that it promised; returns what the read did, or 1 when it was something else. */
static ssize_t select_once(struct conversation *c)
{
    unsigned char bytes[1000];
    int item;
    td_case cases[] = {td_on_stream(c->pair.far), td_on_receive(c->interruptions, &item),
                       td_on_time(td_after(td_us((int64_t)random_below(c->random, 60))))};
    td_scope scope;
    size_t which = 9;
    ssize_t n;
    int rc;

    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_us((int64_t)random_below(c->random, 150))));
    rc = td_select(cases, COUNT(cases), &which);
    td_scope_join(&scope);
    c->cancelled += rc == -ECANCELED;
    if (rc == -ECANCELED || !expect_int(rc, 0))
        return 1;
    c->by_chan += which == 1;
    c->by_time += which == 2;
    if (which != 0)
        return 1;
    c->by_stream++;
    n = td_stream_read(c->pair.far, bytes, sizeof bytes);
    if (expect(n >= 0) && expect(intact(bytes, (size_t)n, c->read)))
        c->read += (size_t)n;
    return n;
}

static int converse(void *arg)
{
    struct conversation *c = arg;
    td_scope scope;

    if (!pair_open(&c->pair))
        return -EIO;
    expect_int(td_chan_open(&c->interruptions, &(td_chan_opts){.item_size = sizeof(int), .capacity = 1}), 0);
    td_scope_open(&scope);
    td_spawn(&scope, write_in_bursts, c);
    td_spawn(&scope, interrupt, c);
    while (select_once(c) > 0 && !complaint.made)
        ;
    c->over = true;
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)c->read, TOTAL);
    expect(c->by_stream > 0 && c->by_chan > 0);
    td_chan_free(c->interruptions);
    pair_close(&c->pair);
    return 0;
}

static void no_byte_is_lost_between_selects(void **state)
{
    struct random random = random_seeded();

    assert_int_equal(run(state, converse, &(struct conversation){.random = &random}), 0);
}

static int connect_later(void *arg)
{
    struct pair *pair = arg;

    td_sleep(td_ms(2));
    return td_connect(&pair->near, td_listener_address(pair->listener));
}

static int wait_for_connection(void *arg)
{
    struct pair pair = {0};
    td_event never;
    td_case cases[2];
    td_scope scope;
    size_t which = 9;
    char byte = 0;

    td_event_init(&never);
    expect_int(td_listen(&pair.listener, "127.0.0.1:0", NULL), 0);
    cases[0] = td_on_event(&never);
    cases[1] = td_on_connection(pair.listener);
    td_scope_open(&scope);
    td_spawn(&scope, connect_later, &pair);
    expect_int(td_select(cases, 2, &which), 0);
    expect_int((long long)which, 1);
    expect_int(td_accept(pair.listener, &pair.far), 0);
    expect_int(td_scope_join(&scope), 0);

    cases[1] = td_on_stream(pair.far);
    expect_int(td_stream_write(pair.near, "x", 1), 1);
    td_stream_close(pair.near);
    pair.near = NULL;
    for (int i = 0; i < 2; i++) {  /* the byte, then the end */
        which = 9;
        expect_int(td_select(cases, 2, &which), 0);
        expect_int((long long)which, 1);
        expect_int(td_stream_read(pair.far, &byte, 1), 1 - i);
    }
    pair_close(&pair);
    return 0;
}

static void connections_bytes_and_ends_are_waited_for(void **state)
{
    assert_int_equal(run(state, wait_for_connection, NULL), 0);
}

#define ON_ALL(test) ON_BOTH(test), ON(TD_BACKEND_SIM, "sim: ", test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(no_byte_is_lost_between_selects), ON_ALL(connections_bytes_and_ends_are_waited_for),
    };

    return cmocka_run_group_tests_name("net select", tests, NULL, NULL);
}
