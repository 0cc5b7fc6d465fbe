/* SPDX-License-Identifier: MIT */
/* Law 4 in bytes: waiting jobs hold shared memory, and there is a limit to that, too, with the same three answers. */
#include "pool/jobs.h"

#define BLOCK ((size_t)65536)

/* One job runs in the gate, and there is room for two more blocks. */
static void world_open_for_blocks(struct world *w, void **state, td_scope *scope, struct handed *first, td_when_full when_full)
{
    world_open(w, state, (td_pool_opts){.workers = 1, .queue_bytes = 2 * BLOCK, .when_full = when_full});
    td_scope_open(scope);
    td_scope_collect(scope);
    expect_int(hand(w, scope, first, stay_in_gate, w->gate, AS_THE_POOL), 0);
    wait_entered(w, 1);
    expect_int((long long)stats_of(w).queue_bytes, 2 * BLOCK);
    expect_int((long long)stats_of(w).bytes, 0);  /* what a running job holds is not in the queue */
}

static int touch(void *arg)
{
    ++*(int *)arg;
    return 0;
}

static void blocks_alloc(int *blocks[], int count)
{
    for (int i = 0; i < count; i++) {
        blocks[i] = td_shared_calloc(1, BLOCK);
        expect(blocks[i] != NULL);
    }
}

static void blocks_free(int *blocks[], int count)
{
    for (int i = 0; i < count; i++)
        td_shared_free(blocks[i]);
}

STORY(a_queue_full_of_bytes_rejects)
{
    struct world w;
    struct handed first, jobs[4];
    int *blocks[3];
    td_scope scope;

    world_open_for_blocks(&w, arg, &scope, &first, TD_REJECT);
    blocks_alloc(blocks, 3);
    for (int i = 0; i < 2; i++)
        expect_int(hand(&w, &scope, &jobs[i], touch, blocks[i], AS_THE_POOL), 0);
    expect_int((long long)stats_of(&w).bytes, 2 * BLOCK);
    expect_int(hand(&w, &scope, &jobs[2], touch, blocks[2], AS_THE_POOL), -EBUSY);
    expect_int(jobs[2].report.refusal, TD_REFUSED_BYTES);
    expect_int((long long)stats_of(&w).refused[TD_REFUSED_BYTES], 1);
    expect_int((long long)stats_of(&w).refused[TD_REFUSED_QUEUE], 0);
    expect_int(hand(&w, &scope, &jobs[3], no_task, NULL, AS_THE_POOL), 0);  /* holds nothing */
    expect_int((long long)stats_of(&w).depth, 3);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(*blocks[0] + *blocks[1], 2);
    expect_int(*blocks[2], 0);
    expect_int((long long)stats_of(&w).bytes_peak, 2 * BLOCK);
    expect_accounted(&w, 5);
    blocks_free(blocks, 3);
    world_close(&w);
    return 0;
}

STORY(a_queue_full_of_bytes_holds_the_caller)
{
    struct world w;
    struct handed first, jobs[2];
    struct call late, last;
    int *blocks[4];
    td_scope scope;

    world_open_for_blocks(&w, arg, &scope, &first, TD_WAIT);
    blocks_alloc(blocks, 4);
    for (int i = 0; i < 2; i++)
        expect_int(hand(&w, &scope, &jobs[i], touch, blocks[i], AS_THE_POOL), 0);
    late = (struct call){w.pool, touch, blocks[2], {.when_full = TD_POOL_DEFAULT}, .rc = 1};
    td_spawn(&scope, submit, &late);
    settle();
    expect_int((long long)stats_of(&w).depth, 2);
    td_job_cancel(&jobs[0].job);  /* leaves room, and somebody waits for it */
    settle();
    expect_int((long long)stats_of(&w).depth, 2);
    last = (struct call){w.pool, touch, blocks[3], {.when_full = TD_POOL_DEFAULT}, .rc = 1};
    td_spawn(&scope, submit, &last);
    settle();
    expect_int(late.ends + last.ends, 0);
    expect_int((long long)stats_of(&w).depth, 2);
    expect_int((long long)stats_of(&w).bytes, 2 * BLOCK);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(late.rc, 0);
    expect_int(last.rc, 0);
    expect_int(*blocks[0], 0);
    expect_accounted(&w, 5);
    blocks_free(blocks, 4);
    world_close(&w);
    return 0;
}

STORY(a_queue_full_of_bytes_drops_as_many_as_it_must)
{
    struct world w;
    struct handed first, keeps, jobs[3], big;
    int *blocks[3], *large = td_shared_calloc(1, 2 * BLOCK);
    td_scope scope;

    world_open_for_blocks(&w, arg, &scope, &first, TD_DROP_OLDEST);
    blocks_alloc(blocks, 3);
    expect_int(hand(&w, &scope, &keeps, no_task, NULL, (td_offload_opts){.when_full = TD_WAIT}), 0);
    for (int i = 0; i < 2; i++)
        expect_int(hand(&w, &scope, &jobs[i], touch, blocks[i], AS_THE_POOL), 0);
    expect_int(hand(&w, &scope, &jobs[2], touch, blocks[2], AS_THE_POOL), 0);
    expect(td_job_done(&jobs[0].job) && !td_job_done(&jobs[1].job));
    expect_int(td_job_wait(&jobs[0].job), -EBUSY);
    expect_int(jobs[0].report.refusal, TD_REFUSED_DROPPED);
    expect_int(hand(&w, &scope, &big, touch, large, AS_THE_POOL), 0);
    expect(td_job_done(&jobs[1].job) && td_job_done(&jobs[2].job) && !td_job_done(&keeps.job));
    expect_int((long long)stats_of(&w).dropped, 3);
    expect_int((long long)stats_of(&w).refused[TD_REFUSED_DROPPED], 3);
    expect_int((long long)stats_of(&w).bytes, 2 * BLOCK);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(*blocks[0] + *blocks[1] + *blocks[2], 0);
    expect_int(*large, 1);
    expect_accounted(&w, 6);
    blocks_free(blocks, 3);
    td_shared_free(large);
    world_close(&w);
    return 0;
}

STORY(a_dropping_queue_keeps_those_who_were_to_wait)
{
    struct world w;
    struct handed first, keeps[2], late;
    int *blocks[3];
    td_scope scope;

    world_open_for_blocks(&w, arg, &scope, &first, TD_DROP_OLDEST);
    blocks_alloc(blocks, 3);
    for (int i = 0; i < 2; i++)
        expect_int(hand(&w, &scope, &keeps[i], touch, blocks[i], (td_offload_opts){.when_full = TD_WAIT}), 0);
    expect_int(hand(&w, &scope, &late, touch, blocks[2], AS_THE_POOL), -EBUSY);
    expect_int(late.report.refusal, TD_REFUSED_BYTES);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(*blocks[0] + *blocks[1], 2);
    expect_int(*blocks[2], 0);
    expect_accounted(&w, 4);
    blocks_free(blocks, 3);
    world_close(&w);
    return 0;
}

static struct turn *turn_alloc(struct row *row, int who, size_t size)
{
    struct turn *turn = td_shared_calloc(1, size);

    expect(turn != NULL);
    *turn = (struct turn){row, who};
    return turn;
}

/* A large job waits for room. Small ones that come then would always have some, and it never: they go behind it. */
STORY(who_waits_for_many_bytes_is_not_passed)
{
    enum { SMALL, LARGE, LATE, LATER, URGENT, REFUSED, ALL };
    static const size_t sizes[ALL] = {BLOCK, 2 * BLOCK, sizeof(struct turn), BLOCK / 2, sizeof(struct turn), sizeof(struct turn)};
    static const int order[] = {URGENT, SMALL, LARGE, LATE, LATER};
    struct row *row = td_shared_calloc(1, sizeof *row);
    struct handed first, small, urgent, refused, dropper;
    struct turn *turns[ALL];
    struct call calls[3];
    struct world w;
    td_scope scope;

    world_open_for_blocks(&w, arg, &scope, &first, TD_WAIT);
    for (int i = 0; i < ALL; i++)
        turns[i] = turn_alloc(row, i, sizes[i]);
    expect_int(hand(&w, &scope, &small, take_turn, turns[SMALL], AS_THE_POOL), 0);
    for (int i = 0; i < 3; i++) {
        calls[i] = (struct call){w.pool, take_turn, turns[LARGE + i], {.when_full = TD_POOL_DEFAULT}, .rc = 1};
        expect_int(td_spawn(&scope, submit, &calls[i]), 0);
        settle();
        expect_int((long long)stats_of(&w).depth, 1);
    }
    expect_int(hand(&w, &scope, &refused, take_turn, turns[REFUSED], (td_offload_opts){.when_full = TD_REJECT}), -EBUSY);
    expect_int(hand(&w, &scope, &dropper, take_turn, turns[REFUSED], (td_offload_opts){.when_full = TD_DROP_OLDEST}), -EBUSY);
    expect_int(hand(&w, &scope, &urgent, take_turn, turns[URGENT], (td_offload_opts){.priority = TD_PRIORITY_HIGH}), 0);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(atomic_load(&row->count), COUNT(order));
    for (size_t i = 0; i < COUNT(order); i++)
        expect_int(row->who[i], order[i]);
    expect_accounted(&w, 8);
    for (int i = 0; i < ALL; i++)
        td_shared_free(turns[i]);
    td_shared_free(row);
    world_close(&w);
    return 0;
}

/* Law 4: also one that is larger than the limit gets an answer, and does not wait for ever. */
STORY(a_job_larger_than_the_limit_is_answered)
{
    struct world w;
    struct call call;
    int *large = td_shared_calloc(1, 4 * BLOCK);
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .queue_bytes = BLOCK});
    td_scope_open(&scope);
    call = (struct call){w.pool, touch, large, {.when_full = TD_WAIT}, .rc = 1};
    td_spawn(&scope, submit, &call);
    eventually(call.ends == 1);
    expect(call.rc == 0 || (call.rc == -EBUSY && call.report.refusal == TD_REFUSED_BYTES));
    expect_int(*large, call.rc == 0);
    expect_int(td_scope_join(&scope), 0);
    expect_accounted(&w, 1);
    td_shared_free(large);
    world_close(&w);
    return 0;
}

STORY(what_is_unsaid_is_half_of_the_arena)
{
    struct world w;
    td_shared_stats arena;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_shared_statistics(&arena);
    expect_int((long long)stats_of(&w).queue_bytes, (long long)(arena.limit_bytes / 2));
    expect_int((long long)stats_of(&w).queue, 64);
    world_close(&w);
    return 0;
}

/* Until it says otherwise, a job finds its memory as it was when it was submitted. */
struct letter {
    struct gate *gate;
    _Atomic int verdict;
};

struct page {
    struct letter *letter;
    unsigned char ink[8000];
};

static int read_later(void *arg)
{
    struct page *page = arg;
    struct letter *letter = page->letter;
    bool same = true;

    stay_in_gate(letter->gate);
    for (size_t i = 0; i < sizeof page->ink; i++)
        same = same && page->ink[i] == 0x5A;
    atomic_store(&letter->verdict, same ? 1 : -1);
    return 0;
}

/* The program frees the blocks of two jobs, one that runs and one that waits, and writes into what it gets next. */
STORY(a_block_freed_meanwhile_lives_as_long_as_its_job)
{
    struct world w;
    struct handed jobs[2];
    struct letter *letters = td_shared_calloc(2, sizeof *letters);
    void *others[20];
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    for (int i = 0; i < 2; i++) {
        struct page *page = td_shared_alloc(sizeof *page);

        letters[i].gate = w.gate;
        page->letter = &letters[i];
        memset(page->ink, 0x5A, sizeof page->ink);
        hand(&w, &scope, &jobs[i], read_later, page, AS_THE_POOL);
        if (i == 0)
            wait_entered(&w, 1);
        td_shared_free(page);
    }
    expect(stats_of(&w).arena_quarantined_bytes >= 2 * sizeof(struct page));
    for (size_t i = 0; i < COUNT(others); i++) {
        others[i] = td_shared_alloc(sizeof(struct page));
        memset(others[i], 0xFF, sizeof(struct page));
    }
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 2; i++)
        expect_int(atomic_load(&letters[i].verdict), 1);
    for (size_t i = 0; i < COUNT(others); i++)
        td_shared_free(others[i]);
    expect_int((long long)stats_of(&w).arena_quarantined_bytes, 0);
    td_shared_free(letters);
    world_close(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(a_queue_full_of_bytes_rejects), ON_ALL(a_queue_full_of_bytes_holds_the_caller),
        ON_ALL(a_queue_full_of_bytes_drops_as_many_as_it_must), ON_ALL(a_dropping_queue_keeps_those_who_were_to_wait),
        ON_ALL(who_waits_for_many_bytes_is_not_passed),
        ON_ALL(a_job_larger_than_the_limit_is_answered), ON_ALL(what_is_unsaid_is_half_of_the_arena),
        ON_ALL(a_block_freed_meanwhile_lives_as_long_as_its_job),
    };

    return cmocka_run_group_tests_name("pool bytes", tests, NULL, NULL);
}
