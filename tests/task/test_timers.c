/* SPDX-License-Identifier: MIT */
/* The heap of timers beside a plain array that is searched from end to end. */
#include "run/harness.h"

#define TIMERS 300
#define STEPS 40000

struct alarm {
    struct td_timer timer;
    int index;
    bool armed;  /* in the model */
    struct world *world;
};

struct world {
    struct timers timers;
    struct alarm alarms[TIMERS];
    int fired[TIMERS], fired_count;
};

static void fire(struct td_timer *timer)
{
    struct alarm *alarm = container_of(timer, struct alarm, timer);
    struct world *world = alarm->world;

    assert_false(timer->armed);
    assert_true(alarm->armed);
    alarm->armed = false;
    world->fired[world->fired_count++] = alarm->index;
}

static void world_init(struct world *world)
{
    memset(world, 0, sizeof *world);
    timers_init(&world->timers, 0);
    for (int i = 0; i < TIMERS; i++) {
        struct alarm *alarm = &world->alarms[i];

        alarm->world = world;
        alarm->index = i;
        timer_init(&alarm->timer, fire);
        assert_false(alarm->timer.armed);
    }
}

static void arm(struct world *world, int index, td_time at)
{
    world->alarms[index].armed = true;
    timers_arm(&world->timers, &world->alarms[index].timer, at);
}

static td_time model_next(const struct world *world, size_t *count)
{
    td_time next = TD_FOREVER;

    *count = 0;
    for (int i = 0; i < TIMERS; i++) {
        const struct alarm *alarm = &world->alarms[i];

        assert_int_equal(alarm->timer.armed, alarm->armed);
        *count += alarm->armed;
        if (alarm->armed && alarm->timer.at < next)
            next = alarm->timer.at;
    }
    return next;
}

static void check(const struct world *world)
{
    size_t count;
    td_time next = model_next(world, &count);

    /* Where many timers lie far off it may be told to look earlier, never later. */
    assert_true(timers_next(&world->timers) <= next);
    assert_true(count > 8 || timers_next(&world->timers) == next);
    assert_int_equal(world->timers.count, count);
}

/* All that were due have fired, each once, earliest first; nothing else has. */
static void fire_and_check(struct world *world, td_time now)
{
    bool due[TIMERS];
    int due_count = 0;

    for (int i = 0; i < TIMERS; i++) {
        due[i] = world->alarms[i].armed && world->alarms[i].timer.at <= now;
        due_count += due[i];
    }
    world->fired_count = 0;
    timers_fire(&world->timers, now);
    assert_int_equal(world->fired_count, due_count);
    for (int i = 0; i < due_count; i++) {
        assert_true(due[world->fired[i]]);
        if (i > 0)
            assert_true(world->alarms[world->fired[i - 1]].timer.at <= world->alarms[world->fired[i]].timer.at);
    }
}

/* From nanoseconds to days, each order of magnitude as likely as the next. */
static td_time some_time(struct random *random)
{
    return (td_time)(random_below(random, 1000) << random_below(random, 38));
}

static void as_a_sorted_array(void **state)
{
    struct random random = random_seeded();
    static struct world world;
    td_time now = 0;

    world_init(&world);
    for (int step = 0; step < STEPS; step++) {
        int index = (int)random_below(&random, TIMERS);
        struct alarm *alarm = &world.alarms[index];

        switch (random_below(&random, 8)) {
        case 0:
            now += some_time(&random) / 64;
            fire_and_check(&world, now);
            break;
        case 1:
        case 2:
            alarm->armed = false;
            timers_disarm(&world.timers, &alarm->timer);  /* armed or not */
            break;
        default:
            if (!alarm->armed)
                arm(&world, index, now + some_time(&random) - 20);
        }
        if (step % 16 == 0)
            check(&world);
    }
    fire_and_check(&world, TD_FOREVER - 1);
    check(&world);
    assert_int_equal(timers_next(&world.timers), TD_FOREVER);
}

static void forever_is_the_latest(void **state)
{
    static struct world world;

    world_init(&world);
    arm(&world, 0, TD_FOREVER);
    arm(&world, 1, TD_FOREVER - 1);
    arm(&world, 2, -5);
    assert_int_equal(timers_next(&world.timers), -5);
    fire_and_check(&world, 0);
    assert_int_equal(timers_next(&world.timers), TD_FOREVER - 1);
    timers_disarm(&world.timers, &world.alarms[1].timer);
    timers_disarm(&world.timers, &world.alarms[0].timer);
    world.alarms[0].armed = world.alarms[1].armed = false;
    check(&world);
}

/* Ascending, descending, equal: the shapes that a heap grows badly in. */
static void the_order_of_arming_does_not_matter(void **state)
{
    static struct world world;

    for (int shape = 0; shape < 3; shape++) {
        world_init(&world);
        for (int i = 0; i < TIMERS; i++)
            arm(&world, i, shape == 0 ? i : shape == 1 ? TIMERS - i : 7);
        for (int i = 0; i < TIMERS; i += 3) {
            timers_disarm(&world.timers, &world.alarms[i].timer);
            world.alarms[i].armed = false;
        }
        check(&world);
        fire_and_check(&world, TIMERS / 2);
        fire_and_check(&world, TIMERS);
        check(&world);
    }
}

/* Who sleeps until timers_next says so comes by every timer at its time, and wakes seldom in vain. */
static void going_from_next_to_next_misses_nothing(void **state)
{
    struct random random = random_seeded();
    static struct world world;
    int looks = 0, fired = 0;
    td_time now = 0;

    world_init(&world);
    for (int i = 0; i < TIMERS; i++)
        arm(&world, i, some_time(&random));
    while (fired < TIMERS) {
        td_time next = timers_next(&world.timers);

        assert_true(next >= now);
        now = next;
        fire_and_check(&world, now);
        for (int i = 0; i < world.fired_count; i++)
            assert_int_equal(world.alarms[world.fired[i]].timer.at, now);
        fired += world.fired_count;
        looks++;
    }
    assert_true(looks < 4 * TIMERS);
}

struct pair {
    struct timers timers;
    struct td_timer first, second;
    int first_fired, second_fired;
};

static void disarm_the_second(struct td_timer *timer)
{
    struct pair *pair = container_of(timer, struct pair, first);

    pair->first_fired++;
    timers_disarm(&pair->timers, &pair->second);
}

static void count_second(struct td_timer *timer)
{
    container_of(timer, struct pair, second)->second_fired++;
}

static void a_timer_may_disarm_another_that_is_due(void **state)
{
    struct pair pair = {.first_fired = 0};

    timer_init(&pair.first, disarm_the_second);
    timer_init(&pair.second, count_second);
    timers_arm(&pair.timers, &pair.first, 1);
    timers_arm(&pair.timers, &pair.second, 2);
    timers_fire(&pair.timers, 3);
    assert_int_equal(pair.first_fired, 1);
    assert_int_equal(pair.second_fired, 0);
    assert_int_equal(pair.timers.count, 0);
}

static void arm_again_at_once(struct td_timer *timer)
{
    struct pair *pair = container_of(timer, struct pair, first);

    pair->first_fired++;
    timers_arm(&pair->timers, &pair->first, 1);
}

/* The header: one that is armed while others fire waits for the next round, and so it cannot keep the others from theirs. */
static void a_timer_armed_while_firing_waits(void **state)
{
    struct pair pair = {.first_fired = 0};

    timer_init(&pair.first, arm_again_at_once);
    timer_init(&pair.second, count_second);
    timers_arm(&pair.timers, &pair.first, 1);
    timers_arm(&pair.timers, &pair.second, 2);
    timers_fire(&pair.timers, 3);
    assert_int_equal(pair.second_fired, 1);
    assert_int_equal(pair.first_fired, 1);
    timers_fire(&pair.timers, 3);
    assert_int_equal(pair.first_fired, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_a_sorted_array), cmocka_unit_test(forever_is_the_latest),
        cmocka_unit_test(the_order_of_arming_does_not_matter), cmocka_unit_test(a_timer_may_disarm_another_that_is_due),
        cmocka_unit_test(a_timer_armed_while_firing_waits), cmocka_unit_test(going_from_next_to_next_misses_nothing),
    };

    return cmocka_run_group_tests_name("task timers", tests, NULL, NULL);
}
