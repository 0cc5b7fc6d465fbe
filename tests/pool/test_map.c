/* SPDX-License-Identifier: MIT */
/* td_pool_map: each item once, whatever their number; the first error ends it. */
#include "pool/jobs.h"

#define MANY 100000

struct item {
    uint32_t input, output, visits;
};

static int square(void *arg)
{
    struct item *item = arg;

    item->output = item->input * item->input;
    item->visits++;
    return 0;
}

static int map_squares(void *arg)
{
    static const size_t counts[] = {0, 1, 2, 7, 1000, MANY};
    struct item *items = td_shared_calloc(MANY, sizeof *items);
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 3, .queue = 2, .when_full = TD_REJECT});  /* a map waits all the same */
    for (size_t i = 0; i < COUNT(counts); i++) {
        memset(items, 0, MANY * sizeof *items);
        for (uint32_t j = 0; j < MANY; j++)
            items[j].input = j + 1;
        expect_int(td_pool_map(w.pool, square, items, counts[i], sizeof *items), 0);
        for (uint32_t j = 0; j < MANY; j++) {
            bool in = j < counts[i];

            if (!expect_int(items[j].visits, in) || !expect_int(items[j].output, in ? (j + 1) * (j + 1) : 0))
                break;
        }
    }
    expect_int((long long)stats_of(&w).rejected, 0);
    expect_int((long long)stats_of(&w).ok, (long long)outcomes(&w));
    expect(outcomes(&w) < 500);  /* chunks, and not single items */
    td_shared_free(items);
    world_close(&w);
    return 0;
}

static void each_item_is_visited_once(void **state)
{
    assert_int_equal(run(state, map_squares, state), 0);
}

static int refuse(void *arg)
{
    struct item *items = td_shared_calloc(10, sizeof *items), private[2];
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    expect_int(td_pool_map(w.pool, NULL, items, 10, sizeof *items), -EINVAL);
    expect_int(td_pool_map(w.pool, square, NULL, 10, sizeof *items), -EINVAL);
    expect_int(td_pool_map(w.pool, square, items, 10, 0), -EINVAL);
    expect_int(td_pool_map(w.pool, square, items, SIZE_MAX / 2, sizeof *items), -EINVAL);
    expect_int(td_pool_map(w.pool, square, NULL, 0, sizeof *items), 0);
    if (kind_of(arg) == TD_PROCESSES) {
        expect_int(td_pool_map(w.pool, square, private, 2, sizeof *private), -EFAULT);
        expect_int(td_pool_map(w.pool, square, items, 100000, sizeof *items), -EFAULT);  /* it ends outside the block */
    }
    expect_int((long long)outcomes(&w), 0);
    expect_int(items[0].visits, 0);
    td_shared_free(items);
    world_close(&w);
    return 0;
}

static int run_refuse(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, refuse, state);
}

static void bad_input_is_refused(void **state)
{
    struct ending ending = in_child(state, run_refuse);

    assert_ended_well(&ending);
}

static int fail_at_500(void *arg)
{
    struct item *item = arg;

    item->visits++;
    return item->input == 500 ? -EDOM : 0;
}

static int map_failure(void *arg)
{
    struct item *items = td_shared_calloc(MANY, sizeof *items);
    uint32_t visited = 0;
    struct world w;

    for (uint32_t i = 0; i < MANY; i++)
        items[i].input = i < 1000 ? i : 501;
    world_open(&w, arg, (td_pool_opts){.workers = 1});
    expect_int(td_pool_map(w.pool, fail_at_500, items, MANY, sizeof *items), -EDOM);
    for (uint32_t i = 0; i < MANY; i++)
        visited += items[i].visits;
    expect_int(items[500].visits, 1);
    expect_int(items[501].visits, 0);  /* the rest of its chunk */
    expect(visited < MANY);
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    expect_int((long long)stats_of(&w).error, 1);
    td_shared_free(items);
    world_close(&w);
    return 0;
}

static void the_first_error_ends_the_map(void **state)
{
    assert_int_equal(run(state, map_failure, state), 0);
}

struct stage {
    struct gate *gate;
    uint32_t number;
};

/* The first item stays where it is until another one has failed. */
static int wait_or_fail(void *arg)
{
    struct stage *stage = arg;

    if (stage->number == 0)
        return stay_in_gate(stage->gate);
    for (int i = 0; i < 300000 && atomic_load(&stage->gate->entered) == 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    return -EDOM;
}

static int map_with_hung_item(void *arg)
{
    struct stage *stages = td_shared_calloc(8, sizeof *stages);
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    for (uint32_t i = 0; i < 8; i++)
        stages[i] = (struct stage){w.gate, i};
    expect_int(td_pool_map(w.pool, wait_or_fail, stages, 8, sizeof *stages), -EDOM);
    expect_int(atomic_load(&w.gate->left), 0);
    expect(kill(atomic_load(&w.gate->pid), 0) < 0);  /* killed before the map returned: the items are the caller's again */
    td_shared_free(stages);
    world_close(&w);
    return 0;
}

static void an_error_ends_what_is_running(void **state)
{
    assert_int_equal(run(state, map_with_hung_item, state), 0);
}

static int map_in_scope(void *arg)
{
    struct world *w = arg;

    return td_pool_map(w->pool, stay_in_gate, w->gate, 1, sizeof *w->gate);
}

static int cancel_map(void *arg)
{
    struct world w;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    td_spawn(&scope, map_in_scope, &w);
    wait_entered(&w, 1);
    td_scope_cancel(&scope);
    expect_int(td_scope_join(&scope), -ECANCELED);
    expect_int(atomic_load(&w.gate->left), 0);
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    world_close(&w);
    return 0;
}

static void a_map_can_be_cancelled(void **state)
{
    assert_int_equal(run(state, cancel_map, state), 0);
}

static int die_at_42(void *arg)
{
    struct item *item = arg;

    if (item->input == 42)
        raise(SIGKILL);
    return 0;
}

static int map_death(void *arg)
{
    struct item *items = td_shared_calloc(100, sizeof *items);
    struct world w;

    for (uint32_t i = 0; i < 100; i++)
        items[i].input = i;
    world_open(&w, arg, (td_pool_opts){.workers = 2});
    expect_int(td_pool_map(w.pool, die_at_42, items, 100, sizeof *items), -EOWNERDEAD);
    td_shared_free(items);
    world_close(&w);
    return 0;
}

static void a_death_is_an_error_of_the_map(void **state)
{
    assert_int_equal(run(state, map_death, state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(each_item_is_visited_once), ON_ALL(bad_input_is_refused), ON_ALL(the_first_error_ends_the_map),
        WITH_PROCESSES(an_error_ends_what_is_running), WITH_PROCESSES(a_map_can_be_cancelled),
        WITH_PROCESSES(a_death_is_an_error_of_the_map),
    };

    return cmocka_run_group_tests_name("pool map", tests, NULL, NULL);
}
