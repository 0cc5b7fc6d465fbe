/* SPDX-License-Identifier: MIT */
/* td_pool_map_with: how much at once, how many under way, all the results, and what of them when something goes wrong. */
#include "pool/jobs.h"

#define MANY 5000

struct item {
    struct gate *gate;
    int number, visits;
};

static struct item *new_items(struct world *w, int count)
{
    struct item *items = td_shared_calloc((size_t)count, sizeof *items);

    expect(items != NULL);
    for (int i = 0; i < count; i++)
        items[i] = (struct item){.gate = w->gate, .number = i};
    return items;
}

static int *new_results(int count)
{
    int *results = td_shared_calloc((size_t)count, sizeof *results);

    expect(results != NULL);
    for (int i = 0; i < count; i++)
        results[i] = 123456;
    return results;
}

static int value_of(int number)
{
    return number % 7 == 3 ? -(1 + number % 100) : number;
}

static int give_value(void *arg)
{
    struct item *item = arg;

    item->visits++;
    return value_of(item->number);
}

STORY(a_collecting_map_has_all_results_in_order)
{
    static const int counts[] = {1, 2, 7, 100, MANY};
    struct world w;
    struct item *items;
    int *results;

    world_open(&w, arg, (td_pool_opts){.workers = 3});
    for (size_t i = 0; i < COUNT(counts); i++) {
        items = new_items(&w, counts[i]);
        results = new_results(counts[i]);
        expect_int(td_pool_map_with(w.pool, give_value, items, (size_t)counts[i], sizeof *items,
                                    &(td_map_opts){.collect = true, .results = results}), 0);
        for (int j = 0; j < counts[i]; j++)
            if (!expect_int(results[j], value_of(j)) || !expect_int(items[j].visits, 1))
                break;
        td_shared_free(items);
        td_shared_free(results);
    }
    expect_int(td_pool_map_with(w.pool, give_value, NULL, 0, 8, &(td_map_opts){.collect = true}), 0);
    world_close(&w);
    return 0;
}

STORY(a_collecting_map_needs_no_results)
{
    struct world w;
    struct item *items;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    items = new_items(&w, 100);
    expect_int(td_pool_map_with(w.pool, give_value, items, 100, sizeof *items, &(td_map_opts){.collect = true}), 0);
    for (int i = 0; i < 100; i++)
        expect_int(items[i].visits, 1);
    td_shared_free(items);
    world_close(&w);
    return 0;
}

STORY(without_collect_the_rest_is_said_to_be_unseen)
{
    struct world w;
    struct item *items;
    int *results, seen = 0;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    items = new_items(&w, MANY);
    results = new_results(MANY);
    for (int i = 0; i < MANY; i++)
        items[i].number = i == 50 ? 3 : 0;
    expect_int(td_pool_map_with(w.pool, give_value, items, MANY, sizeof *items,
                                &(td_map_opts){.chunk_max = 4, .results = results}), value_of(3));
    for (int i = 0; i < MANY; i++) {
        expect(items[i].visits <= 1);
        seen += items[i].visits;
        if (!expect_int(results[i], items[i].visits ? value_of(items[i].number) : -ECANCELED))
            break;
    }
    expect(seen < MANY);
    expect_int(results[50], value_of(3));
    expect_int(results[51], -ECANCELED);  /* the rest of its chunk */
    td_shared_free(items);
    td_shared_free(results);
    world_close(&w);
    return 0;
}

static int stay_inside(void *arg)
{
    struct item *item = arg;

    stay_in_gate(item->gate);
    return item->number;
}

struct mapping {
    struct world *w;
    struct item *items;
    int count, rc, ends;
    td_map_opts opts;
};

static int map_items(void *arg)
{
    struct mapping *mapping = arg;

    mapping->rc = td_pool_map_with(mapping->w->pool, stay_inside, mapping->items, (size_t)mapping->count,
                                   sizeof *mapping->items, &mapping->opts);
    mapping->ends++;
    return 0;
}

/* With this window: how many chunks run, and how many wait. */
static void expect_window(void **state, unsigned window, unsigned busy, size_t depth)
{
    struct world w;
    struct mapping mapping = {.w = &w, .count = 20, .rc = 1, .opts = {.chunk_max = 1, .window = window, .collect = true}};
    td_scope scope;

    world_open(&w, state, (td_pool_opts){.workers = 2});
    mapping.items = new_items(&w, 20);
    td_scope_open(&scope);
    td_spawn(&scope, map_items, &mapping);
    wait_entered(&w, (int)busy);
    settle();
    expect_int(stats_of(&w).busy, busy);
    expect_int((long long)stats_of(&w).depth, (long long)depth);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(mapping.rc, 0);
    expect_int(atomic_load(&w.gate->left), 20);
    expect(stats_of(&w).depth_peak <= busy + depth);  /* as many as that when the workers were not there yet */
    expect_int((long long)stats_of(&w).ok, 20);
    td_shared_free(mapping.items);
    world_close(&w);
}

STORY(no_more_chunks_are_under_way_than_the_window)
{
    expect_window(arg, 1, 1, 0);
    expect_window(arg, 2, 2, 0);
    expect_window(arg, 5, 2, 3);
    expect_window(arg, 0, 2, 2);  /* twice as many as there are workers */
    return 0;
}

STORY(no_chunk_is_larger_than_was_said)
{
    static const size_t sizes[] = {1, 3, 64};
    struct world w;
    struct item *items;

    world_open(&w, arg, (td_pool_opts){.workers = 2, .queue = TD_QUEUE_NONE, .when_full = TD_REJECT});
    items = new_items(&w, 200);
    for (int i = 0; i < 200; i++)
        items[i].number = 0;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        unsigned long long before = stats_of(&w).ok;

        expect_int(td_pool_map_with(w.pool, give_value, items, 200, sizeof *items, &(td_map_opts){.chunk_max = sizes[i]}), 0);
        expect(stats_of(&w).ok - before >= (200 + sizes[i] - 1) / sizes[i]);  /* chunks are jobs */
    }
    for (int i = 0; i < 200; i++)
        expect_int(items[i].visits, COUNT(sizes));
    expect_int((long long)stats_of(&w).rejected, 0);  /* a map waits for room, whatever the pool's policy */
    td_shared_free(items);
    world_close(&w);
    return 0;
}

static int die_or_give(void *arg)
{
    struct item *item = arg;

    if (item->number == 42)
        raise(SIGKILL);
    return give_value(arg);
}

STORY(a_death_in_a_collecting_map_costs_its_own_chunk)
{
    struct world w;
    struct item *items;
    int *results;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    items = new_items(&w, 100);
    results = new_results(100);
    expect_int(td_pool_map_with(w.pool, die_or_give, items, 100, sizeof *items,
                                &(td_map_opts){.chunk_max = 5, .collect = true, .results = results}), -EOWNERDEAD);
    for (int i = 0; i < 100; i++) {
        if (i == 42)
            expect(results[i] < 0);
        else if (i / 5 == 42 / 5)
            expect_int(results[i], items[i].visits ? value_of(i) : -ECANCELED);
        else
            expect_int(results[i], value_of(i));
    }
    expect_int((long long)stats_of(&w).died, 1);
    td_shared_free(items);
    td_shared_free(results);
    world_close(&w);
    return 0;
}

static int hang_or_give(void *arg)
{
    struct item *item = arg;

    if (item->number == 42)
        stay_until_asked(item->gate);
    return give_value(arg);
}

STORY(a_deadline_is_each_chunks_own)
{
    struct world w;
    struct item *items;
    int *results, late = 0;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    items = new_items(&w, 100);
    results = new_results(100);
    td_offload(w.pool, no_task, NULL);
    expect_int(td_pool_map_with(w.pool, hang_or_give, items, 100, sizeof *items,
                                &(td_map_opts){.chunk_max = 5, .collect = true, .results = results, .deadline = td_ms(300)}),
               -ETIMEDOUT);
    for (int i = 0; i < 100; i++) {
        expect(i / 5 == 42 / 5 || results[i] == value_of(i) || results[i] == -ECANCELED);
        late += results[i] == -ECANCELED;
    }
    expect(late < 50);  /* the others went on */
    expect(stats_of(&w).timeout >= 1);
    td_shared_free(items);
    td_shared_free(results);
    world_close(&w);
    return 0;
}

static int map_results(void *arg)
{
    struct mapping *mapping = arg;

    map_items(mapping);
    expect_int(mapping->rc, -ECANCELED);
    return 0;
}

STORY(a_cancelled_map_says_what_it_did_not_see)
{
    struct world w;
    struct mapping mapping = {.w = &w, .count = 20, .opts = {.chunk_max = 1}};
    int cancelled = 0;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    mapping.items = new_items(&w, 20);
    mapping.opts.results = new_results(20);
    td_scope_open(&scope);
    td_spawn(&scope, map_results, &mapping);
    wait_entered(&w, 2);
    td_scope_cancel(&scope);
    if (kind_of(arg) == TD_THREADS)
        open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 20; i++) {
        expect(mapping.opts.results[i] == -ECANCELED || mapping.opts.results[i] == i);
        cancelled += mapping.opts.results[i] == -ECANCELED;
    }
    expect(cancelled >= 18);
    expect(kind_of(arg) == TD_THREADS || cancelled == 20);
    td_shared_free(mapping.opts.results);
    td_shared_free(mapping.items);
    expect_int(td_offload(w.pool, no_task, NULL), 0);
    world_close(&w);
    return 0;
}

STORY(what_a_map_cannot_use_is_refused)
{
    struct world w;
    struct item private[2], *items;
    int few[2] = {0}, *results;
    bool processes = kind_of(arg) == TD_PROCESSES;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    items = new_items(&w, 10);
    results = new_results(10);
    expect_int(td_pool_map_with(w.pool, NULL, items, 10, sizeof *items, &(td_map_opts){0}), -EINVAL);
    expect_int(td_pool_map_with(w.pool, give_value, items, 10, 0, &(td_map_opts){0}), -EINVAL);
    expect_int(td_pool_map_with(w.pool, give_value, items, SIZE_MAX / 2, sizeof *items, &(td_map_opts){0}), -EINVAL);
    expect_int(td_pool_map_with(w.pool, give_value, NULL, 10, sizeof *items, &(td_map_opts){0}), -EINVAL);
    memset(private, 0, sizeof private);
    private[1].number = 1;
    expect_int(td_pool_map_with(w.pool, give_value, private, 2, sizeof *private, &(td_map_opts){.results = results}),
               processes ? -EFAULT : 0);
    expect_int(td_pool_map_with(w.pool, give_value, items, 2, sizeof *items, &(td_map_opts){.results = few}),
               processes ? -EFAULT : 0);
    if (processes) {
        expect_int(td_pool_map_with(w.pool, give_value, items, 10, 100000, &(td_map_opts){0}), -EFAULT);
        expect_int((long long)outcomes(&w), 0);
    }
    expect_int(few[1], processes ? 0 : 1);
    td_shared_free(items);
    td_shared_free(results);
    world_close(&w);
    return 0;
}

/* Each of its feeders is refused, and goes home: a map that tries on would do so for each item, and miss its end. */
static void expect_refused(struct world *w, int reason, bool (*still)(struct world *w))
{
    static const int counts[] = {1, 4, 5, 63, 1000, 4000};
    int *results = new_results(4000);
    struct item *items = new_items(w, 4000);
    bool holds = true;

    for (size_t i = 0; i < COUNT(counts) && holds; i++) {
        unsigned long long before = stats_of(w).rejected;
        int rc = td_pool_map_with(w->pool, give_value, items, (size_t)counts[i], sizeof *items,
                                  &(td_map_opts){.chunk_max = 1, .window = 4, .collect = true, .results = results});

        holds = still(w);
        expect(rc == reason || !holds);
        expect(stats_of(w).rejected - before <= 4);
        for (int j = 0; j < counts[i] && holds; j++)
            expect_int(results[j], -ECANCELED);
    }
    for (int i = 0; i < 4000 && holds; i++)
        if (!expect_int(items[i].visits, 0))
            break;
    td_shared_free(items);
    td_shared_free(results);
}

static bool still_broken(struct world *w)
{
    return stats_of(w).broken;  /* a machine that is slow may see it mended */
}

STORY(a_collecting_map_on_a_broken_pool_ends)
{
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    for (int i = 0; i < 10; i++)
        expect_int(td_offload(w.pool, drop_dead, NULL), -EOWNERDEAD);
    expect_refused(&w, -EOWNERDEAD, still_broken);
    world_close(&w);
    return 0;
}

static int close_pool(void *arg)
{
    struct world *w = arg;

    expect_int(td_pool_close(w->pool), 0);
    return 0;
}

static bool still_closing(struct world *w)
{
    return atomic_load(&w->gate->left) == 0;
}

STORY(a_collecting_map_on_a_closing_pool_ends)
{
    struct handed last;
    struct world w;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    hand(&w, &scope, &last, stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    td_spawn(&scope, close_pool, &w);
    settle();
    expect_refused(&w, -EPIPE, still_closing);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    td_shared_free(w.gate);
    expect_nothing_left();
    return 0;
}

static int lose_little(void *arg)
{
    ++*(unsigned char *)arg;
    return 0;
}

STORY(a_huge_map_keeps_its_bounds)
{
    size_t count = SANITIZED ? 300000 : 3000000;
    unsigned char *bytes = td_shared_calloc(count, 1);
    struct world w;
    bool all = true;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    expect_int(td_pool_map_with(w.pool, lose_little, bytes, count, 1, &(td_map_opts){.window = 3}), 0);
    for (size_t i = 0; i < count; i++)
        all = all && bytes[i] == 1;
    expect(all);
    expect(stats_of(&w).depth_peak <= 3);
    td_shared_free(bytes);
    world_close(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(a_collecting_map_has_all_results_in_order), ON_ALL(a_collecting_map_needs_no_results),
        ON_ALL(without_collect_the_rest_is_said_to_be_unseen), ON_ALL(no_more_chunks_are_under_way_than_the_window),
        ON_ALL(no_chunk_is_larger_than_was_said), WITH_PROCESSES(a_death_in_a_collecting_map_costs_its_own_chunk),
        ON_ALL(a_deadline_is_each_chunks_own), ON_ALL(a_cancelled_map_says_what_it_did_not_see),
        WITH_PROCESSES(a_collecting_map_on_a_broken_pool_ends), ON_ALL(a_collecting_map_on_a_closing_pool_ends),
        ON_ALL(what_a_map_cannot_use_is_refused), ON_ALL(a_huge_map_keeps_its_bounds),
    };

    return cmocka_run_group_tests_name("pool mapwith", tests, NULL, NULL);
}
