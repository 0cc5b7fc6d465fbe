/* SPDX-License-Identifier: MIT */
/* CoDel against timelines made by hand, in milliseconds. */
#include "run/harness.h"

#include "pool/codel.h"

#define MS INT64_C(1000000)
#define TARGET 5
#define START 1000  /* the clock is somewhere */

/* What happens: a job leaves the queue, a job comes, the queue is empty. */
enum what { LEAVES, COMES, EMPTY, END };

struct event {
    int at;
    enum what what;
    int waited;  /* the job that leaves; or the oldest one, when a job comes */
    bool refused;
};

static void play_with(const struct event *events, int mean)
{
    struct codel codel;

    codel_init(&codel, TARGET * MS);
    for (; events->what != END; events++) {
        td_time now = (START + events->at) * MS;

        if (events->what == LEAVES)
            codel_job(&codel, now, events->waited * MS, mean * MS);
        else if (events->what == EMPTY)
            codel_idle(&codel, now);
        else if (codel_refuses(&codel, now, events->waited * MS, mean * MS) != events->refused)
            fail_msg("at %d ms: %s", events->at, events->refused ? "accepted" : "refused");
    }
}

static void a_standing_queue_is_refused_after_a_whole_interval(void **state)
{
    play_with((const struct event[]){{0, EMPTY}, {1, LEAVES, 6}, {50, LEAVES, 9}, {99, COMES, 9, false}, {99, LEAVES, 9},
                                     {101, COMES, 9, true}, {102, LEAVES, 10}, {150, COMES, 9, true}, {0, END}}, 0);
}

static void one_short_wait_in_the_interval_is_enough(void **state)
{
    play_with((const struct event[]){{0, EMPTY}, {1, LEAVES, 60}, {50, LEAVES, 5}, {99, LEAVES, 90}, {101, COMES, 90, false},
                                     {199, LEAVES, 90}, {202, COMES, 90, true}, {0, END}}, 0);
}

/* The interval, not the moment: overload lasts until one is over in which a job waited no longer than the target. */
static void overload_ends_with_a_good_interval(void **state)
{
    play_with((const struct event[]){{0, EMPTY}, {1, LEAVES, 60}, {101, COMES, 60, true}, {110, LEAVES, 60}, {150, LEAVES, 4},
                                     {160, COMES, 4, true}, {202, COMES, 4, false}, {0, END}}, 0);
}

static void overload_ends_with_an_empty_queue(void **state)
{
    play_with((const struct event[]){{0, EMPTY}, {1, LEAVES, 60}, {101, COMES, 60, true}, {110, EMPTY}, {111, COMES, 1, false},
                                     {112, LEAVES, 60}, {209, COMES, 60, false}, {211, COMES, 60, true},
                                     {212, COMES, 0, false}, {213, COMES, 1, false}, {0, END}}, 0);
}

/* RFC 8289, 4.2: a burst that the queue absorbs within the interval is what queues are for. */
static void a_burst_is_no_overload(void **state)
{
    play_with((const struct event[]){{0, EMPTY}, {10, LEAVES, 10}, {40, LEAVES, 40}, {90, LEAVES, 90}, {95, EMPTY},
                                     {96, LEAVES, 30}, {120, LEAVES, 50}, {190, EMPTY}, {191, COMES, 0, false}, {0, END}}, 0);
}

/* With jobs of 50 ms each waits for one or two of them: the target in force is 100 ms. */
static void long_jobs_have_a_longer_target(void **state)
{
    play_with((const struct event[]){{0, EMPTY}, {10, LEAVES, 80}, {60, LEAVES, 100}, {110, COMES, 90, false}, {110, LEAVES, 150},
                                     {160, LEAVES, 101}, {220, COMES, 90, true}, {0, END}}, 50);
}

/* No job leaves the queue for seconds: what counts is how long the oldest has waited. */
static void workers_that_hang_are_an_overload(void **state)
{
    play_with((const struct event[]){{0, EMPTY}, {50, COMES, 6, false}, {99, COMES, 55, false}, {101, COMES, 57, false},
                                     {202, COMES, 158, true}, {900, COMES, 860, true}, {1000, LEAVES, 960},
                                     {1010, COMES, 400, true}, {1020, EMPTY}, {1021, COMES, 3, false}, {0, END}}, 0);
}

/* A job that waited 30 ms after an hour in which nothing came says nothing about a whole interval. */
static void a_pause_is_no_overload(void **state)
{
    play_with((const struct event[]){{0, EMPTY}, {10, LEAVES, 60}, {3600000, LEAVES, 30}, {3600001, COMES, 30, false},
                                     {3600050, LEAVES, 60}, {3600101, COMES, 30, true}, {0, END}}, 0);
}

/* Nothing was seen of the time before it: the workers were being started, maybe. */
static void the_first_job_is_no_overload(void **state)
{
    play_with((const struct event[]){{0, LEAVES, 300}, {1, COMES, 300, false}, {50, LEAVES, 2}, {120, COMES, 2, false},
                                     {0, END}}, 0);
}

static void without_a_target_nothing_is_refused(void **state)
{
    struct codel codel;

    codel_init(&codel, 0);
    for (int i = 0; i < 1000; i++) {
        codel_job(&codel, i * MS, 100000 * MS, 0);
        assert_false(codel_refuses(&codel, i * MS, 100000 * MS, 0));
        assert_false(codel_drops(&codel, TD_FOREVER, 0));
    }
}

static void only_overload_drops_and_only_what_waited_twice_the_target(void **state)
{
    struct codel codel;

    codel_init(&codel, TARGET * MS);
    codel_job(&codel, START * MS, 60 * MS, 0);
    assert_false(codel_drops(&codel, 60 * MS, 0));
    codel_job(&codel, (START + 100) * MS, 60 * MS, 0);
    codel_job(&codel, (START + 200) * MS, 60 * MS, 0);
    assert_false(codel_drops(&codel, 10 * MS, 0));
    assert_true(codel_drops(&codel, 10 * MS + 1, 0));
    assert_false(codel_drops(&codel, 40 * MS, 10 * MS));
    assert_true(codel_drops(&codel, 40 * MS + 1, 10 * MS));
    assert_false(codel_drops(&codel, TD_FOREVER, TD_FOREVER));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_standing_queue_is_refused_after_a_whole_interval),
        cmocka_unit_test(one_short_wait_in_the_interval_is_enough),
        cmocka_unit_test(overload_ends_with_a_good_interval),
        cmocka_unit_test(overload_ends_with_an_empty_queue),
        cmocka_unit_test(a_burst_is_no_overload),
        cmocka_unit_test(long_jobs_have_a_longer_target),
        cmocka_unit_test(workers_that_hang_are_an_overload),
        cmocka_unit_test(a_pause_is_no_overload),
        cmocka_unit_test(the_first_job_is_no_overload),
        cmocka_unit_test(without_a_target_nothing_is_refused),
        cmocka_unit_test(only_overload_drops_and_only_what_waited_twice_the_target),
    };

    return cmocka_run_group_tests_name("codel", tests, NULL, NULL);
}
