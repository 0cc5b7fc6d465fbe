/* SPDX-License-Identifier: MIT */
/* Law 2: a task never outlives its scope, and the first failure cancels the siblings. */
#include "run/harness.h"

#define MANY 10000
#define DIARY 200

/* What happened, in order: a letter an event. */
struct diary {
    char text[DIARY];
    size_t size;
    td_scope *scope;
    td_event event;
};

static void note(struct diary *diary, char letter)
{
    if (expect(diary->size < DIARY - 1))
        diary->text[diary->size++] = letter;
}

static int times(const struct diary *diary, char letter)
{
    int count = 0;

    for (size_t i = 0; i < diary->size; i++)
        count += diary->text[i] == letter;
    return count;
}

static int succeed(void *arg)
{
    note(arg, 's');
    return 0;
}

static int fail_soon(void *arg)
{
    td_yield();
    note(arg, 'f');
    return -EIO;
}

static int fail_later(void *arg)
{
    td_yield();
    td_yield();
    note(arg, 'l');
    return -EPERM;
}

static int sleep_long(void *arg)
{
    int rc = td_sleep(td_sec(1000));

    note(arg, rc == -ECANCELED ? 'c' : '?');
    return rc;
}

static int all_succeed(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < 5; i++)
        expect_int(td_spawn(&scope, succeed, arg), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_text(((struct diary *)arg)->text, "sssss");
    td_scope_open(&scope);
    return td_scope_join(&scope);
}

static void a_join_is_0_when_all_succeed(void **state)
{
    assert_int_equal(run(state, all_succeed, &(struct diary){0}), 0);
}

static int siblings_of_a_failure(void *arg)
{
    struct diary *diary = arg;
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, sleep_long, diary);  /* is cancelled, and ends first: not the result */
    td_spawn(&scope, fail_soon, diary);
    td_spawn(&scope, sleep_long, diary);
    td_spawn(&scope, fail_later, diary);  /* fails although it is cancelled: too late to be the result */
    expect_int(td_scope_join(&scope), -EIO);
    expect_int((long long)diary->size, 4);
    expect_int(times(diary, 'c'), 2);
    expect_int(times(diary, 'l'), 1);
    expect(td_sleep(td_us(1)) == 0);      /* the failure was the scope's and not its opener's */
    return 0;
}

static void the_first_failure_cancels_and_is_the_result(void **state)
{
    assert_int_equal(run(state, siblings_of_a_failure, &(struct diary){0}), 0);
}

static int decline(void *arg)
{
    return -ECANCELED;
}

static int own_refusal(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, sleep_long, arg);
    td_spawn(&scope, decline, arg);  /* nobody had cancelled it: this is a failure like any other */
    return td_scope_join(&scope);
}

static void an_unprovoked_cancellation_is_a_failure(void **state)
{
    assert_int_equal(run(state, own_refusal, &(struct diary){0}), -ECANCELED);
}

static int positive(void *arg)
{
    return 17;
}

static int spawn_positive(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, positive, NULL);
    td_spawn(&scope, succeed, arg);
    return td_scope_join(&scope);
}

static void a_count_is_no_failure(void **state)
{
    assert_int_equal(run(state, spawn_positive, &(struct diary){0}), 0);
}

static int stubborn(void *arg)
{
    int rc = 0;

    for (int i = 0; i < 20; i++)
        rc = td_sleep(td_ms(1));  /* answers at once, and is ignored */
    note(arg, rc == -ECANCELED ? 'i' : '?');
    return 0;
}

static int cancel_the_stubborn(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, stubborn, arg);
    td_scope_cancel(&scope);
    expect_int(td_scope_join(&scope), 0);  /* cancelled, but nobody gave up */
    expect_text(((struct diary *)arg)->text, "i");
    return 0;
}

static void a_join_waits_for_those_who_do_not_give_up(void **state)
{
    assert_int_equal(run(state, cancel_the_stubborn, &(struct diary){0}), 0);
}

static int explicit_cancel(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, sleep_long, arg);
    settle();
    td_scope_cancel(&scope);
    td_scope_cancel(&scope);
    expect(td_scope_cancelled(&scope));
    expect_int(td_sleep(0), -ECANCELED);  /* the opener is inside */
    return td_scope_join(&scope);
}

static void a_cancelled_scope_says_so(void **state)
{
    assert_int_equal(run(state, explicit_cancel, &(struct diary){0}), -ECANCELED);
}

static int cancel_before_failure(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, sleep_long, arg);
    td_spawn(&scope, fail_soon, arg);
    td_scope_cancel(&scope);
    return td_scope_join(&scope);
}

static void a_failure_outweighs_a_cancellation(void **state)
{
    assert_int_equal(run(state, cancel_before_failure, &(struct diary){0}), -EIO);
}

static int spawn_sibling(void *arg)
{
    struct diary *diary = arg;

    note(diary, 'a');
    td_yield();
    expect_int(td_spawn(diary->scope, succeed, diary), 0);
    return 0;
}

static int children_spawn(void *arg)
{
    struct diary *diary = arg;
    td_scope scope;

    diary->scope = &scope;
    td_scope_open(&scope);
    td_spawn(&scope, spawn_sibling, diary);
    expect_int(td_scope_join(&scope), 0);
    expect_text(diary->text, "as");
    return 0;
}

static void a_join_waits_for_what_children_spawn(void **state)
{
    assert_int_equal(run(state, children_spawn, &(struct diary){0}), 0);
}

static int set_event(void *arg)
{
    td_event_set(&((struct diary *)arg)->event);
    return 0;
}

/* Runs between the end of the inner scope's only task and the resumption of its joiner. */
static int spawn_into_joined(void *arg)
{
    struct diary *diary = arg;

    td_event_wait(&diary->event);
    return td_spawn(diary->scope, sleep_long, diary);
}

static int cancel_after(void *arg)
{
    struct diary *diary = arg;

    td_event_wait(&diary->event);
    td_yield();
    td_yield();
    td_scope_cancel(diary->scope);
    return 0;
}

static int outsider_spawns(void *arg)
{
    struct diary *diary = arg;
    td_scope outer, inner;

    diary->scope = &inner;
    td_event_init(&diary->event);
    td_scope_open(&outer);
    td_spawn(&outer, spawn_into_joined, diary);
    td_spawn(&outer, cancel_after, diary);
    settle();
    td_scope_open(&inner);
    td_spawn(&inner, set_event, diary);
    expect_int(td_scope_join(&inner), -ECANCELED);
    expect_text(diary->text, "c");
    return td_scope_join(&outer);
}

static void a_join_waits_for_a_task_spawned_at_the_last_moment(void **state)
{
    assert_int_equal(run(state, outsider_spawns, &(struct diary){0}), 0);
}

static int spawn_order(void *arg)
{
    struct diary *diary = arg;
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, succeed, diary);
    td_spawn(&scope, fail_soon, diary);
    td_spawn(&scope, succeed, diary);
    note(diary, 'o');  /* a spawn does not run the task */
    td_scope_join(&scope);
    expect_text(diary->text, "ossf");
    return 0;
}

static void tasks_first_run_in_the_order_of_their_spawns(void **state)
{
    assert_int_equal(run(state, spawn_order, &(struct diary){0}), 0);
}

static int spawn_nothing(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    expect_int(td_spawn(&scope, NULL, NULL), -EINVAL);
    td_spawn(&scope, succeed, arg);
    return td_scope_join(&scope);
}

/* Law 8: bad input leaves the state as it was. */
static void a_task_without_a_function_is_refused(void **state)
{
    assert_int_equal(run(state, spawn_nothing, &(struct diary){0}), 0);
}

static int nest(void *arg)
{
    td_scope outer, inner;

    td_scope_open(&outer);
    td_spawn(&outer, stubborn, arg);
    td_scope_open(&inner);
    td_spawn(&inner, fail_soon, arg);
    td_spawn(&inner, sleep_long, arg);
    expect_int(td_scope_join(&inner), -EIO);
    expect(!td_scope_cancelled(&outer));  /* what to make of it is the opener's business */
    return td_scope_join(&outer);
}

static void a_failure_stays_in_its_scope(void **state)
{
    assert_int_equal(run(state, nest, &(struct diary){0}), 0);
}

static int count_up(void *arg)
{
    td_yield();
    ++*(int *)arg;
    return td_yield();
}

static int spawn_many(void *arg)
{
    int count = 0;
    td_scope scope;
    td_loop_stats stats;

    for (int round = 1; round <= 2; round++) {
        td_scope_open(&scope);
        for (int i = 0; i < *(int *)arg; i++)
            if (!expect_int(td_spawn(&scope, count_up, &count), 0))
                break;
        td_loop_statistics(&stats);
        expect_int((long long)stats.tasks, *(int *)arg + 1);
        expect_int(td_scope_join(&scope), 0);
        expect_int(count, round * *(int *)arg);
    }
    return 0;
}

static void ten_thousand_tasks(void **state)
{
#ifdef __SANITIZE_THREAD__
    int many = 1000;  /* its runtime has room for about 8,000 fibers */
#else
    int many = MANY;
#endif
    assert_int_equal(run(state, spawn_many, &many), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_join_is_0_when_all_succeed), ON_BOTH(the_first_failure_cancels_and_is_the_result),
        ON_BOTH(an_unprovoked_cancellation_is_a_failure), ON_BOTH(a_count_is_no_failure),
        ON_BOTH(a_join_waits_for_those_who_do_not_give_up), ON_BOTH(a_cancelled_scope_says_so),
        ON_BOTH(a_failure_outweighs_a_cancellation), ON_BOTH(a_join_waits_for_what_children_spawn),
        ON_BOTH(a_join_waits_for_a_task_spawned_at_the_last_moment),
        ON_BOTH(tasks_first_run_in_the_order_of_their_spawns), ON_BOTH(a_task_without_a_function_is_refused),
        ON_BOTH(a_failure_stays_in_its_scope), ON_BOTH(ten_thousand_tasks),
    };

    return cmocka_run_group_tests_name("task scope", tests, NULL, NULL);
}
