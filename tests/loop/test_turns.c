/* SPDX-License-Identifier: MIT */
/* A loop's turns: notes from other threads, the ends of turns, and what its statistics say. */
#include <pthread.h>

#include "loop/loop.h"
#include "run/harness.h"

#define SENDERS 4
#define NOTES_EACH 20000

struct office {
    struct loop *loop;
    struct letter {
        struct loop_note note;
        struct office *office;
        int sender, number;
    } *letters;
    int next[SENDERS];
    int received, disordered;
    td_event all_here;
    pthread_t loop_thread;
    bool foreign_thread;
};

static void receive(struct loop_note *note)
{
    struct letter *letter = container_of(note, struct letter, note);
    struct office *office = letter->office;

    office->disordered += office->next[letter->sender]++ != letter->number;
    office->foreign_thread |= !pthread_equal(pthread_self(), office->loop_thread);
    if (++office->received == SENDERS * NOTES_EACH)
        td_event_set(&office->all_here);
}

static void *send_letters(void *arg)
{
    struct letter *mine = arg;

    for (int i = 0; i < NOTES_EACH; i++)
        loop_notify(mine[i].office->loop, &mine[i].note);
    return NULL;
}

static int take_letters(void *arg)
{
    struct office *office = arg;
    pthread_t threads[SENDERS];
    td_scope scope;

    office->loop = loop_current();
    office->loop_thread = pthread_self();
    td_event_init(&office->all_here);
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(PATIENCE));  /* also something to wait for: notes alone are not */
    for (int i = 0; i < SENDERS; i++)
        expect_int(pthread_create(&threads[i], NULL, send_letters, office->letters + i * NOTES_EACH), 0);
    expect_int(td_event_wait(&office->all_here), 0);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    expect_int(office->received, SENDERS * NOTES_EACH);
    expect_int(office->disordered, 0);
    expect(!office->foreign_thread);
    return td_scope_join(&scope);
}

static void notes_arrive_once_and_in_order(void **state)
{
    struct office office = {.letters = test_calloc(SENDERS * NOTES_EACH, sizeof *office.letters)};

    for (int i = 0; i < SENDERS * NOTES_EACH; i++) {
        office.letters[i].note.receive = receive;
        office.letters[i].office = &office;
        office.letters[i].sender = i / NOTES_EACH;
        office.letters[i].number = i % NOTES_EACH;
    }
    assert_int_equal(run(state, take_letters, &office), 0);
    test_free(office.letters);
}

struct closing {
    struct turn_end end;
    int times;
    unsigned long long switches;
};

static void close_turn(struct turn_end *end)
{
    struct closing *closing = container_of(end, struct closing, end);

    closing->times++;
    expect(sched_current()->current == NULL);  /* no task runs at that moment */
}

static int ask_for_turn_end(void *arg)
{
    struct closing closing = {.end.run = close_turn};

    list_init(&closing.end.link);
    for (int i = 1; i <= 10; i++) {
        loop_at_turn_end(loop_current(), &closing.end);
        loop_at_turn_end(loop_current(), &closing.end);
        expect_int(closing.times, i - 1);
        expect_int(td_sleep(td_us(1)), 0);
        expect_int(closing.times, i);
    }
    return 0;
}

static void a_turns_end_comes_once(void **state)
{
    assert_int_equal(run(state, ask_for_turn_end, NULL), 0);
}

static int pass_turns(void *arg)
{
    td_loop_stats before, after;
    unsigned long long turns = 0;

    td_loop_statistics(&before);
    for (int i = 0; i < 20; i++)
        expect_int(td_sleep(td_us(50)), 0);
    td_loop_statistics(&after);
    expect_text(after.backend, *(td_backend *)arg == TD_BACKEND_URING ? "uring" : "epoll");
    expect_int((long long)after.tasks, 1);
    expect(after.turns >= before.turns + 20);
    expect(after.switches >= before.switches + 20);
    expect(after.lag_sum_ns >= before.lag_sum_ns);
    for (size_t i = 0; i < COUNT(after.lag_bucket); i++)
        turns += after.lag_bucket[i];
    expect_int((long long)turns, (long long)after.turns);
    return 0;
}

static void statistics_count_turns(void **state)
{
    td_backend backend = backend_of(state);

    assert_int_equal(run(state, pass_turns, &backend), 0);
}

static void spin(td_time for_ns)
{
    td_time end = td_after(for_ns);

    while (td_now() < end)
        ;
}

static int hold(void *arg)
{
    td_loop_stats before, after;

    td_sleep(td_us(1));
    td_loop_statistics(&before);
    spin(td_ms(30));
    td_sleep(td_us(1));
    td_loop_statistics(&after);
    expect(after.stalls > before.stalls);
    expect(after.stalled_ns >= before.stalled_ns + td_ms(30));
    return 0;
}

static void a_held_turn_is_a_stall(void **state)
{
    assert_int_equal(run_with(state, (td_opts){.stall_after = td_ms(20)}, hold, NULL), 0);
}

#define CROWD 8000  /* several times what makes a crowd: the last thousand are none any more, and wake the loop one by one */

static int sleep_until(void *arg)
{
    return td_sleep(*(td_time *)arg - td_now());
}

/* Decision 20: many timers close to each other are gathered, and do not wake the loop one by one; and none is early. */
static int gather_a_crowd(void *arg)
{
    static td_time until[CROWD];
    td_loop_stats before, after;
    td_time began = td_after(td_ms(200));
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < CROWD; i++) {
        until[i] = began + td_us(20 * i);
        td_spawn(&scope, sleep_until, &until[i]);
    }
    expect_int(td_sleep(began - td_ms(1) - td_now()), 0);
    td_loop_statistics(&before);
    expect_int(td_scope_join(&scope), 0);
    td_loop_statistics(&after);
    expect(td_now() >= until[CROWD - 1]);
    expect(after.turns - before.turns < CROWD / 2);
    return 0;
}

static void a_crowd_of_timers_is_gathered(void **state)
{
    assert_int_equal(run(state, gather_a_crowd, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(notes_arrive_once_and_in_order), ON_BOTH(a_turns_end_comes_once), ON_BOTH(statistics_count_turns),
        ON_BOTH(a_held_turn_is_a_stall), ON_BOTH(a_crowd_of_timers_is_gathered),
    };

    return cmocka_run_group_tests_name("loop turns", tests, NULL, NULL);
}
