/* SPDX-License-Identifier: MIT */
/* Law 5: no ready task starves the others, nor timers, nor input; however busy it is. */
#include "run/harness.h"

#define ROUNDS 50

struct table {
    char order[ROUNDS * 3 + 1];
    size_t turns;
    bool stop;
    td_chan *there, *back;
    unsigned long long moved;
};

struct player {
    struct table *table;
    char name;
};

static int take_turns(void *arg)
{
    struct player *player = arg;

    for (int i = 0; i < ROUNDS; i++) {
        player->table->order[player->table->turns++] = player->name;
        expect_int(td_yield(), 0);
    }
    return 0;
}

static int play(void *arg)
{
    struct table table = {.turns = 0};
    struct player players[] = {{&table, 'a'}, {&table, 'b'}, {&table, 'c'}};
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < 3; i++)
        td_spawn(&scope, take_turns, &players[i]);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < ROUNDS * 3; i++)
        if (!expect_int(table.order[i], 'a' + i % 3))
            break;
    return 0;
}

static void yielding_tasks_take_turns(void **state)
{
    assert_int_equal(run(state, play, NULL), 0);
}

/* Sends to itself: the channel is never full nor empty when it counts, so this task never has to wait. */
static int busy_alone(void *arg)
{
    struct table *table = arg;
    int item = 1, rc = 0;

    while (rc == 0 && !table->stop) {
        rc = td_chan_send(table->there, &item);
        rc = rc < 0 ? rc : td_chan_receive(table->there, &item);
        table->moved++;
    }
    return rc;
}

static int busy_there(void *arg)
{
    struct table *table = arg;
    int item = 1, rc = 0;

    while (rc == 0 && !table->stop) {
        rc = td_chan_send(table->there, &item);
        rc = rc < 0 ? rc : td_chan_receive(table->back, &item);
        table->moved++;
    }
    td_chan_close(table->there);
    return rc == -EPIPE ? 0 : rc;
}

static int busy_back(void *arg)
{
    struct table *table = arg;
    int item, rc = 0;

    while (rc == 0) {
        rc = td_chan_receive(table->there, &item);
        rc = rc < 0 ? rc : td_chan_send(table->back, &item);
    }
    return rc == -EPIPE ? 0 : rc;
}

static int busy_yield(void *arg)
{
    struct table *table = arg;

    while (!table->stop && td_yield() == 0)
        table->moved++;
    return 0;
}

static int busy_sleep(void *arg)
{
    struct table *table = arg;

    while (!table->stop && td_sleep(0) == 0)
        table->moved++;
    return 0;
}

static int busy_event(void *arg)
{
    struct table *table = arg;
    td_event event;

    td_event_init(&event);
    td_event_set(&event);
    while (!table->stop && td_event_wait(&event) == 0)
        table->moved++;
    return 0;
}

static int busy_scopes(void *arg)
{
    struct table *table = arg;

    while (!table->stop) {
        td_scope scope;

        td_scope_open(&scope);
        if (td_scope_join(&scope) < 0)
            break;
        table->moved++;
    }
    return 0;
}

static const td_fn busy[] = {busy_alone, busy_there, busy_back, busy_yield, busy_sleep, busy_event, busy_scopes};

static int tick(void *arg)
{
    struct table *table = arg;
    unsigned long long before = table->moved;
    int pipes[2], rc = 0;
    char byte;

    expect_int(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
    for (int i = 0; i < 20 && rc == 0; i++) {
        rc = td_sleep(td_ms(1));
        expect_int(write(pipes[1], "x", 1), 1);
        rc = rc < 0 ? rc : td_wait_readable(pipes[0]);
        expect_int(read(pipes[0], &byte, 1), 1);
    }
    expect(table->moved > before);  /* they were busy in the meantime */
    close(pipes[0]);
    close(pipes[1]);
    table->stop = true;
    return rc;
}

static int tick_beside_busy(void *arg)
{
    struct table table = {.turns = 0};
    td_scope scope;

    expect_int(td_chan_open(&table.there, &(td_chan_opts){.item_size = sizeof(int), .capacity = 8}), 0);
    expect_int(td_chan_open(&table.back, &(td_chan_opts){.item_size = sizeof(int), .capacity = 8}), 0);
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(PATIENCE));
    td_spawn(&scope, *(const td_fn *)arg, &table);
    if (*(const td_fn *)arg == busy_there)
        td_spawn(&scope, busy_back, &table);
    td_spawn(&scope, tick, &table);
    expect_int(td_scope_join(&scope), 0);
    td_chan_free(table.there);
    td_chan_free(table.back);
    return 0;
}

static void busy_tasks_let_timers_and_input_through(void **state)
{
    for (size_t i = 0; i < COUNT(busy); i++)
        if (busy[i] != busy_back)
            assert_int_equal(run(state, tick_beside_busy, (void *)&busy[i]), 0);
}

static int busy_stream(void *arg)
{
    td_stream **ends = ((void **)arg)[0];
    struct table *table = ((void **)arg)[1];
    char bytes[16] = "ping";

    while (!table->stop && td_stream_write(ends[0], bytes, 4) == 4 && td_stream_read(ends[1], bytes, sizeof bytes) == 4)
        table->moved++;
    return 0;
}

static int tick_beside_stream(void *arg)
{
    struct table table = {.turns = 0};
    td_listener *listener;
    td_stream *ends[2];
    void *both[] = {ends, &table};
    td_scope scope;

    expect_int(td_listen(&listener, "127.0.0.1:0", NULL), 0);
    expect_int(td_connect(&ends[0], td_listener_address(listener)), 0);
    expect_int(td_accept(listener, &ends[1]), 0);
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(PATIENCE));
    td_spawn(&scope, busy_stream, both);
    td_spawn(&scope, tick, &table);
    expect_int(td_scope_join(&scope), 0);
    td_stream_close(ends[0]);
    td_stream_close(ends[1]);
    td_listener_close(listener);
    return 0;
}

static void a_busy_stream_lets_timers_through(void **state)
{
    assert_int_equal(run(state, tick_beside_stream, NULL), 0);
}

#define SLICES 40

static int compute_and_yield(void *arg)
{
    for (int i = 0; i < SLICES; i++) {
        td_time end = td_after(td_ms(1));

        while (td_now() < end)
            ;
        expect_int(td_yield(), 0);
    }
    return 0;
}

static int count_turns(void *arg)
{
    td_loop_stats before, after;
    td_scope scope;

    td_loop_statistics(&before);
    td_scope_open(&scope);
    for (int i = 0; i < *(int *)arg; i++)
        td_spawn(&scope, compute_and_yield, NULL);
    expect_int(td_scope_join(&scope), 0);
    td_loop_statistics(&after);
    expect(after.turns - before.turns >= (unsigned long long)(*(int *)arg * SLICES / 2));
    return 0;
}

/* A turn is 64 resumptions or about 500 microseconds, whichever ends first: a slice of 1 ms is a turn. */
static void a_long_slice_ends_the_turn(void **state)
{
    for (int tasks = 1; tasks <= 3; tasks += 2)
        assert_int_equal(run(state, count_turns, &tasks), 0);
}

struct cleanup {
    bool helper_ran;
    int (*pass)(void);
};

static int pass_yield(void)
{
    return td_yield();
}

static int pass_sleep(void)
{
    return td_sleep(td_us(10));
}

static int pass_event(void)
{
    td_event event;

    td_event_init(&event);
    return td_event_wait(&event);
}

static int help(void *arg)
{
    ((struct cleanup *)arg)->helper_ran = true;
    return 0;
}

/* Waits for another task in a loop that does not look at what its waits answer. */
static int wait_carelessly(void *arg)
{
    struct cleanup *cleanup = arg;
    td_scope outer, scope;

    td_scope_open(&outer);
    td_spawn(&outer, help, cleanup);
    td_scope_open(&scope);
    td_scope_cancel(&scope);
    for (int i = 0; i < 1000000 && !cleanup->helper_ran; i++)
        cleanup->pass();
    expect(cleanup->helper_ran);
    td_scope_join(&scope);
    return td_scope_join(&outer);
}

/* A cancelled task that ignores -ECANCELED does not get ahead, but the others do. */
static void a_cancelled_task_lets_others_run_too(void **state)
{
    static int (*const passes[])(void) = {pass_yield, pass_sleep, pass_event};

    for (size_t i = 0; i < COUNT(passes); i++)
        assert_int_equal(run(state, wait_carelessly, &(struct cleanup){.pass = passes[i]}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(yielding_tasks_take_turns), ON_BOTH(busy_tasks_let_timers_and_input_through),
        ON_BOTH(a_busy_stream_lets_timers_through), ON_BOTH(a_long_slice_ends_the_turn),
        ON_BOTH(a_cancelled_task_lets_others_run_too),
    };

    return cmocka_run_group_tests_name("task fairness", tests, NULL, NULL);
}
