/* SPDX-License-Identifier: MIT */
/* Events: set for all, until cleared. */
#include "run/harness.h"

#define WAITERS 10

struct gate {
    td_event event;
    int through, order_wrong;
};

struct guest {
    struct gate *gate;
    int rank, rc;
};

static int go_through(void *arg)
{
    struct guest *guest = arg;

    guest->rc = td_event_wait(&guest->gate->event);
    guest->gate->order_wrong += guest->gate->through++ != guest->rank;
    return 0;
}

static int open_gate(void *arg)
{
    struct gate gate = {.through = 0};
    struct guest guests[WAITERS];
    td_scope scope;

    td_event_init(&gate.event);
    td_scope_open(&scope);
    for (int i = 0; i < WAITERS; i++) {
        guests[i] = (struct guest){&gate, i, 1};
        td_spawn(&scope, go_through, &guests[i]);
    }
    settle();
    expect_int(gate.through, 0);
    td_event_set(&gate.event);
    td_event_set(&gate.event);
    expect_int(td_scope_join(&scope), 0);
    expect_int(gate.through, WAITERS);
    expect_int(gate.order_wrong, 0);
    for (int i = 0; i < WAITERS; i++)
        expect_int(guests[i].rc, 0);
    return 0;
}

static void a_set_event_lets_all_through_in_order(void **state)
{
    assert_int_equal(run(state, open_gate, NULL), 0);
}

static int stay_open(void *arg)
{
    td_event event;

    td_event_init(&event);
    td_event_set(&event);
    for (int i = 0; i < 3; i++)
        expect_int(td_event_wait(&event), 0);
    return 0;
}

static void a_set_event_stays_set(void **state)
{
    assert_int_equal(run(state, stay_open, NULL), 0);
}

static int clear(void *arg)
{
    struct gate gate = {.through = 0};
    struct guest early = {&gate, 0, 1}, late = {&gate, 1, 1};
    td_scope scope;

    td_event_init(&gate.event);
    td_scope_open(&scope);
    td_spawn(&scope, go_through, &early);
    settle();
    td_event_set(&gate.event);
    td_event_clear(&gate.event);  /* whoever was woken stays awake */
    td_spawn(&scope, go_through, &late);
    settle();
    expect_int(gate.through, 1);
    expect_int(early.rc, 0);
    td_event_set(&gate.event);
    expect_int(td_scope_join(&scope), 0);
    expect_int(gate.through, 2);
    return 0;
}

static void a_cleared_event_makes_tasks_wait_again(void **state)
{
    assert_int_equal(run(state, clear, NULL), 0);
}

static int leave(void *arg)
{
    struct gate gate = {.through = 0};
    struct guest patient = {&gate, 1, 1}, hasty = {&gate, 0, 1};
    td_scope scope, hurry;

    td_event_init(&gate.event);
    td_scope_open(&scope);
    td_spawn(&scope, go_through, &patient);
    td_scope_open(&hurry);
    td_spawn(&hurry, go_through, &hasty);
    settle();
    td_scope_cancel(&hurry);
    expect_int(td_scope_join(&hurry), 0);
    expect_int(hasty.rc, -ECANCELED);
    expect_int(gate.through, 1);
    td_event_set(&gate.event);
    expect_int(td_scope_join(&scope), 0);
    expect_int(patient.rc, 0);
    return 0;
}

static void a_cancelled_waiter_leaves_the_others_waiting(void **state)
{
    assert_int_equal(run(state, leave, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_set_event_lets_all_through_in_order), ON_BOTH(a_set_event_stays_set),
        ON_BOTH(a_cleared_event_makes_tasks_wait_again), ON_BOTH(a_cancelled_waiter_leaves_the_others_waiting),
    };

    return cmocka_run_group_tests_name("sync event", tests, NULL, NULL);
}
