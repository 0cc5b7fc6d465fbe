/* SPDX-License-Identifier: MIT */
/*
 * The census of stacks, and giving back the memory that idle tasks do not need. Sweeps come when the loop has waited for
 * long; a test does not wait but calls for them, with later and later times.
 */
#include "task/memory.h"
#include "task/census.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define IDLE 2000
#define SWEEPS_MAX 100000
#define HOLDERS 150
#define READERS 20
#define ROUNDS 6
#define SLACK (SANITIZED ? 24 * KIB : 12 * KIB)  /* what a task has in use besides */

static int in_virtual_time(void **state, td_fn fn, void *arg)
{
    return run_with(state, (td_opts){.virtual_time = true}, fn, arg);
}

struct stay {
    size_t bytes;
    td_event *leave;  /* NULL: it does not stay */
};

static int visit(void *arg)
{
    struct stay *stay = arg;
    volatile char here = 1;

    if (stay->bytes)
        expect(descend(&here, stay->bytes) >= stay->bytes);
    return stay->leave ? td_event_wait(stay->leave) : 0;
}

static td_stack_use use_of(const char *site)
{
    td_stack_use uses[64];
    size_t count = td_stack_census(uses, COUNT(uses));

    for (size_t i = 0; i < count && i < COUNT(uses); i++)
        if (strcmp(uses[i].site, site) == 0)
            return uses[i];
    return (td_stack_use){.site = NULL};
}

static void spawn_at(td_scope *scope, struct stay *stay, const char *site)
{
    expect_int(td_spawn_at(scope, visit, stay, site), 0);
}

static int look_at_the_living(void *arg)
{
    struct stay deep = {40 * KIB, NULL}, middle = {24 * KIB, NULL}, shallow = {0, NULL};
    td_stack_use use;
    td_event leave;
    td_scope scope;

    td_event_init(&leave);
    deep.leave = middle.leave = shallow.leave = &leave;
    td_scope_open(&scope);
    spawn_at(&scope, &shallow, "shallow:1");
    spawn_at(&scope, &deep, "deep:1");
    spawn_at(&scope, &middle, "middle:1");
    spawn_at(&scope, &middle, "middle:1");
    settle();
    use = use_of("deep:1");
    expect(use.site && use.looked > 0);
    expect(use.used_bytes_max >= 40 * KIB && use.used_bytes_max <= 40 * KIB + SLACK);
    expect_int((long long)(use.used_bytes_max % PAGE), 0);
    expect_int((long long)use.stack_bytes, 64 * 1024);
    use = use_of("middle:1");
    expect(use.site && use.looked >= 2);
    expect(use.used_bytes_max >= 24 * KIB && use.used_bytes_max <= 24 * KIB + SLACK);
    use = use_of("shallow:1");
    expect(use.site && use.looked > 0);
    expect(use.used_bytes_max > 0 && use.used_bytes_max <= SLACK);
    expect(use_of("nobody:1").site == NULL);
    td_event_set(&leave);
    return td_scope_join(&scope);
}

static void a_living_task_is_seen_with_its_depth(void **state)
{
    assert_int_equal(in_virtual_time(state, look_at_the_living, NULL), 0);
}

static int look_at_the_gone(void *arg)
{
    struct stay deep = {45 * KIB, NULL};
    td_stack_use use;
    td_scope scope;

    td_scope_open(&scope);
    spawn_at(&scope, &deep, "gone:1");
    expect_int(td_scope_join(&scope), 0);
    use = use_of("gone:1");
    expect(use.site && use.looked >= 1);
    expect(use.used_bytes_max >= 45 * KIB && use.used_bytes_max <= 45 * KIB + SLACK);
    return 0;
}

static void a_task_that_came_and_went_was_seen(void **state)
{
    assert_int_equal(in_virtual_time(state, look_at_the_gone, NULL), 0);
}

/* The deep ones' pages are in memory still when others are given the same stacks. */
static void leave_used_stacks(void)
{
    struct stay deep = {45 * KIB, NULL};
    td_scope scope;

    td_scope_open(&scope);
    for (int k = 0; k < 50; k++)
        spawn_at(&scope, &deep, "before:1");
    expect_int(td_scope_join(&scope), 0);
}

static int follow_the_deep(void *arg)
{
    struct stay shallow = {0, NULL};
    td_event leave;
    td_scope scope;

    td_event_init(&leave);
    for (int stays = 0; stays < 4; stays++) {
        leave_used_stacks();
        td_scope_open(&scope);
        shallow.leave = stays % 2 ? &leave : NULL;
        for (int k = 0; k < 60; k++)
            spawn_at(&scope, &shallow, "after:1");
        settle();
        expect(use_of("after:1").used_bytes_max <= SLACK);
        td_event_set(&leave);
        expect_int(td_scope_join(&scope), 0);
        td_event_init(&leave);
    }
    expect(use_of("before:1").used_bytes_max >= 45 * KIB);
    return 0;
}

static void nobody_is_blamed_for_an_earlier_ones_pages(void **state)
{
    assert_int_equal(in_virtual_time(state, follow_the_deep, NULL), 0);
}

static int list_in_order(void *arg)
{
    static const char *const names[] = {"order:10", "order:50", "order:30", "order:20", "order:40"};
    static const size_t depths[] = {10, 50, 30, 20, 40};
    struct stay stays[COUNT(names)];
    td_stack_use uses[16], some[16];
    td_event leave;
    td_scope scope;
    size_t count;

    td_event_init(&leave);
    td_scope_open(&scope);
    for (size_t i = 0; i < COUNT(names); i++) {
        stays[i] = (struct stay){depths[i] * KIB, &leave};
        spawn_at(&scope, &stays[i], names[i]);
    }
    settle();
    count = td_stack_census(uses, COUNT(uses));
    expect(count >= 5 && count <= 7);
    for (size_t i = 1; i < count; i++)
        expect(uses[i].used_bytes_max <= uses[i - 1].used_bytes_max);
    expect_text(uses[0].site, "order:50");
    for (size_t max = 0; max <= count; max++) {
        memset(some, 0x5A, sizeof some);
        expect_int((long long)td_stack_census(some, max), (long long)count);
        for (size_t i = 0; i < max; i++)
            expect_text(some[i].site, uses[i].site);
        expect(*(unsigned char *)&some[max] == 0x5A);  /* and no further */
    }
    expect_int((long long)td_stack_census(NULL, 0), (long long)count);
    td_event_set(&leave);
    return td_scope_join(&scope);
}

static void the_deepest_come_first_and_max_is_kept(void **state)
{
    assert_int_equal(in_virtual_time(state, list_in_order, NULL), 0);
}

static int look_at_those_who_follow(void *arg)
{
    struct stay deep = {45 * KIB, NULL}, shallow = {0, NULL};
    td_stack_use use;
    td_event leave;
    td_scope scope;

    td_event_init(&leave);
    deep.leave = &leave;
    leave_used_stacks();
    for (int i = 0; i < 5000; i++) {
        td_scope_open(&scope);
        spawn_at(&scope, &shallow, "after:2");
        expect_int(td_scope_join(&scope), 0);
    }
    use = use_of("after:2");
    expect(use.looked >= 1 && use.looked < 5000);  /* not each of them: that would cost too much */
    expect(use.used_bytes_max <= SLACK);
    td_scope_open(&scope);
    for (int k = 0; k < 25; k++)
        spawn_at(&scope, &deep, "again:1");
    settle();
    expect(use_of("again:1").used_bytes_max >= 45 * KIB);
    td_event_set(&leave);
    return td_scope_join(&scope);
}

static void those_on_used_stacks_are_seen_too(void **state)
{
    assert_int_equal(in_virtual_time(state, look_at_those_who_follow, NULL), 0);
}

struct crowd {
    struct stay stay;
    td_event leave;
    td_scope *scope;
    size_t peak;
    int rc;
};

static int gather_crowd(void *arg)
{
    struct crowd *crowd = arg;
    td_scope scope;

    td_event_init(&crowd->leave);
    crowd->stay = (struct stay){40 * KIB, &crowd->leave};
    crowd->scope = &scope;
    td_scope_open(&scope);
    for (int i = 0; i < IDLE; i++)
        spawn_at(&scope, &crowd->stay, "idle:1");
    crowd->rc = td_scope_join(&scope);
    return crowd->rc;
}

static void run_all_ready(struct sched *sched)
{
    do
        sched_run(sched);
    while (sched->ready);
}

/* Sweeps, each when it is due, until none is. */
static void sweep_all(struct sched *sched)
{
    td_time now = td_now();

    for (int i = 0; i < SWEEPS_MAX && census_due(sched) != TD_FOREVER; i++) {
        now = census_due(sched) > now ? census_due(sched) : now;
        census_sweep(sched, now);
    }
    expect(census_due(sched) == TD_FOREVER);  /* without tasks that run there is nothing more to find */
}

/* Ends the tasks and the scheduler, whether or not something was wrong: the next case needs the thread. */
static void disperse(struct sched *sched, struct crowd *crowd)
{
    td_event_set(&crowd->leave);
    run_all_ready(sched);
    expect_int(crowd->rc, 0);
    expect_int((long long)sched->tasks, 0);
    sched_close(sched);
    assert_false(complaint.made);
}

/* ThreadSanitizer keeps what it knows of memory that was given back. */
UNUSED static void what_idle_tasks_do_not_need_is_given_back(void **state)
{
    struct crowd crowd = {.rc = 99};
    struct sched sched;
    size_t before, peak, idle;

    complaint.made = false;
    assert_int_equal(sched_open(&sched, STACK_SIZE_DEFAULT), 0);
    before = memory_in_use();
    assert_int_equal(sched_start(&sched, gather_crowd, &crowd, NULL, "crowd:1"), 0);
    run_all_ready(&sched);
    peak = memory_in_use();
    expect(peak - before > IDLE * 40 * KIB);
    expect(census_due(&sched) < TD_FOREVER);
    sweep_all(&sched);
    idle = memory_in_use();
    if (!expect(idle < before + IDLE * 2 * PAGE + (SANITIZED ? 64 * MIB : 4 * MIB)))
        print_error("%zu KiB before, %zu at the peak, %zu when idle\n", before / KIB, peak / KIB, idle / KIB);
    disperse(&sched, &crowd);
}

/* Nothing is trimmed of a task that ran since the sweep before, nor is a sweep made before it is due. */
static void what_is_in_use_stays(void **state)
{
    struct crowd crowd = {.rc = 99};
    struct sched sched;
    size_t peak;

    complaint.made = false;
    assert_int_equal(sched_open(&sched, STACK_SIZE_DEFAULT), 0);
    assert_int_equal(sched_start(&sched, gather_crowd, &crowd, NULL, "crowd:2"), 0);
    run_all_ready(&sched);
    peak = memory_in_use();
    for (int i = 0; i < 1000; i++)
        census_sweep(&sched, census_due(&sched) - 1);
    expect(memory_in_use() + MIB > peak);
    disperse(&sched, &crowd);
}

/* In virtual time the loop does not sweep by itself, so tests do. */
static void sweep_from_here(void)
{
    td_time now = td_now();

    for (int i = 0; i < 500; i++) {
        now += td_sec(100);
        census_sweep(sched_current(), now);
    }
}

static int leave_free_stacks(void *arg)
{
    struct crowd crowd = {.rc = 99};
    size_t before = memory_in_use(), peak, idle;

    crowd.stay = (struct stay){40 * KIB, NULL};
    td_event_init(&crowd.leave);
    for (int idling = 0; idling < 2; idling++) {
        td_scope scope;

        td_scope_open(&scope);
        crowd.stay.leave = &crowd.leave;
        for (int i = 0; i < IDLE; i++)
            spawn_at(&scope, &crowd.stay, "free:1");
        settle();
        peak = memory_in_use();
        expect(peak - before > IDLE * 40 * KIB);
        if (!idling) {
            td_event_set(&crowd.leave);
            expect_int(td_scope_join(&scope), 0);
            td_event_init(&crowd.leave);
        }
        sweep_from_here();
        idle = memory_in_use();
        if (!expect(idle < before + IDLE * (idling ? 2 * PAGE : 4 * PAGE + PAGE) + (SANITIZED ? 64 * MIB : 4 * MIB)))
            print_error("%zu KiB before, %zu at the peak, %zu when idle\n", before / KIB, peak / KIB, idle / KIB);
        if (idling) {
            td_event_set(&crowd.leave);
            expect_int(td_scope_join(&scope), 0);
        }
    }
    expect(use_of("free:1").used_bytes_max >= 40 * KIB);  /* the census remembers */
    return 0;
}

/* Likewise. */
UNUSED static void what_free_stacks_keep_is_given_back(void **state)
{
    assert_int_equal(in_virtual_time(state, leave_free_stacks, NULL), 0);
}

/* A task with data all over its stack, which waits at one depth after another: in a sleep, or for bytes into its stack. */
struct holder {
    struct random random;
    td_stream *near, *far;  /* NULL: it sleeps */
};

static unsigned char letter_at(size_t seed, size_t i)
{
    return (unsigned char)(seed * 31 + i * 7 + 1);
}

static bool holds(const unsigned char *data, size_t size, size_t seed)
{
    for (size_t i = 0; i < size; i++)
        if (!expect_int(data[i], letter_at(seed, i)))
            return false;
    return true;
}

__attribute__((noinline)) static void wait_somehow(struct holder *holder)
{
    unsigned char buffer[700];
    size_t at = 0;
    ssize_t n = 1;

    if (!holder->near) {
        expect_int(td_sleep((td_time)random_below(&holder->random, 7200) * td_sec(1)), 0);
        return;
    }
    while (at < sizeof buffer && n > 0) {
        n = td_stream_read(holder->near, buffer + at, sizeof buffer - at);
        at += n > 0 ? (size_t)n : 0;
    }
    expect_int((long long)at, sizeof buffer);
    holds(buffer, at, 1);
}

__attribute__((noinline)) static void hold(struct holder *holder, size_t frames)
{
    size_t seed = random_below(&holder->random, 1000);
    unsigned char data[600];

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = letter_at(seed, i);
    if (frames > 0)
        hold(holder, frames - 1);
    if (frames == 0 || random_below(&holder->random, 8) == 0)
        wait_somehow(holder);
    holds(data, sizeof data, seed);
}

static int hold_on(void *arg)
{
    struct holder *holder = arg;

    for (int i = 0; i < ROUNDS; i++)
        hold(holder, random_below(&holder->random, SANITIZED ? 25 : 50));
    return 0;
}

static int feed(void *arg)
{
    struct holder *holder = arg;
    unsigned char bytes[700];
    struct random random = {holder->random.state + 1};

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = letter_at(1, i);
    while (td_sleep((td_time)random_below(&random, 7200) * td_sec(1)) == 0)
        if (td_stream_write(holder->far, bytes, sizeof bytes) < 0)
            break;
    return -ECANCELED;
}

static int sweep(void *arg)
{
    struct random random = {17};

    while (td_sleep((td_time)random_below(&random, 1000) * td_sec(1)) == 0)
        sweep_from_here();
    return -ECANCELED;
}

static void open_readers(struct holder *holders, td_scope *feeders)
{
    td_listener *listener;

    expect_int(td_listen(&listener, "127.0.0.1:0", NULL), 0);
    for (int i = 0; i < READERS; i++) {
        expect_int(td_connect(&holders[i].near, td_listener_address(listener)), 0);
        expect_int(td_accept(listener, &holders[i].far), 0);
        expect_int(td_spawn(feeders, feed, &holders[i]), 0);
    }
    td_listener_close(listener);
}

static int sweep_among_holders(void *arg)
{
    struct holder *holders = calloc(HOLDERS, sizeof *holders);
    struct random random = random_seeded();
    td_scope feeders, scope;

    if (!expect(holders != NULL))
        return -ENOMEM;
    for (int i = 0; i < HOLDERS; i++)
        holders[i].random.state = random_next(&random);
    td_scope_open(&feeders);
    open_readers(holders, &feeders);
    expect_int(td_spawn(&feeders, sweep, NULL), 0);
    td_scope_open(&scope);
    for (int i = 0; i < HOLDERS; i++)
        expect_int(td_spawn(&scope, hold_on, &holders[i]), 0);
    expect_int(td_scope_join(&scope), 0);
    td_scope_cancel(&feeders);
    expect_int(td_scope_join(&feeders), -ECANCELED);
    for (int i = 0; i < READERS; i++) {
        td_stream_close(holders[i].near);
        td_stream_close(holders[i].far);
    }
    free(holders);
    return 0;
}

static void what_lies_on_a_stack_survives_the_sweeps(void **state)
{
    assert_int_equal(in_virtual_time(state, sweep_among_holders, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_living_task_is_seen_with_its_depth), ON_BOTH(a_task_that_came_and_went_was_seen),
        ON_BOTH(nobody_is_blamed_for_an_earlier_ones_pages), ON_BOTH(those_on_used_stacks_are_seen_too),
        ON_BOTH(the_deepest_come_first_and_max_is_kept),
        NOT_UNDER_TSAN(cmocka_unit_test(what_idle_tasks_do_not_need_is_given_back)) cmocka_unit_test(what_is_in_use_stays),
        NOT_UNDER_TSAN(ON_BOTH(what_free_stacks_keep_is_given_back)) ON_BOTH(what_lies_on_a_stack_survives_the_sweeps),
    };

    return cmocka_run_group_tests_name("task census", tests, NULL, NULL);
}
