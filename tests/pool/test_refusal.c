/* SPDX-License-Identifier: MIT */
/* Each refusal says why, to the caller and in the statistics; and a pool held full for a while still accounts for every job. */
#include "pool/jobs.h"

STORY(a_full_queue_is_named)
{
    struct world w;
    struct handed first, jobs[3];
    struct call refused = {0};
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .queue = 2, .when_full = TD_REJECT});
    td_scope_open(&scope);
    td_scope_collect(&scope);
    hand(&w, &scope, &first, stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    for (int i = 0; i < 2; i++)
        expect_int(hand(&w, &scope, &jobs[i], pass_gate, w.gate, AS_THE_POOL), 0);
    refused = (struct call){w.pool, pass_gate, w.gate, {.when_full = TD_POOL_DEFAULT}};
    submit(&refused);
    expect_int(refused.rc, -EBUSY);
    expect_int(refused.report.refusal, TD_REFUSED_QUEUE);
    refused.opts.when_full = TD_DROP_OLDEST;  /* gives up one of those who did not insist */
    td_spawn(&scope, submit, &refused);
    settle();
    expect_int(td_job_wait(&jobs[0].job), -EBUSY);
    expect_int(jobs[0].report.refusal, TD_REFUSED_DROPPED);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(refused.rc, 0);
    expect_int(refused.report.refusal, TD_REFUSED_NOT);
    expect_int(jobs[1].report.refusal, TD_REFUSED_NOT);
    expect_int((long long)stats_of(&w).refused[TD_REFUSED_QUEUE], 1);
    expect_int((long long)stats_of(&w).refused[TD_REFUSED_DROPPED], 1);
    expect_accounted(&w, 5);
    world_close(&w);
    return 0;
}

STORY(each_reason_has_a_name)
{
    expect_text(td_refusal_name(TD_REFUSED_QUEUE), "queue");
    expect_text(td_refusal_name(TD_REFUSED_BYTES), "bytes");
    expect_text(td_refusal_name(TD_REFUSED_DROPPED), "dropped");
    expect_text(td_death_name(TD_DEATH_CRASH), "crash");
    expect_text(td_death_name(TD_DEATH_KILLED), "killed");
    for (int i = 0; i < TD_REFUSALS; i++)
        for (int j = 0; j < i; j++)
            expect(strcmp(td_refusal_name((td_refusal)i), td_refusal_name((td_refusal)j)) != 0);
    for (int i = 0; i < TD_DEATHS; i++)
        for (int j = 0; j < i; j++)
            expect(strcmp(td_death_name((td_death)i), td_death_name((td_death)j)) != 0);
    expect(td_refusal_name((td_refusal)4711) != NULL && td_death_name((td_death)4711) != NULL);
    return 0;
}

/* A pool whose options are wrong is not opened, and nothing of it is left. */
STORY(wrong_options_are_refused)
{
    const td_pool_opts wrong[] = {
        {.workers = 2, .workers_max = 1}, {.workers = 2, .workers_reserved = 2}, {.workers = 2, .workers_reserved = 3},
        {.workers = 1, .workers_reserved = 1}, {.workers = 1, .deadline = -1}, {.workers = 1, .kill_grace_ns = -1},
        {.workers = 1, .delay_target_ns = -1}, {.workers = 1, .cpu_max_ns = -1},
        {.workers = 1, .when_full = (td_when_full)9}, {.workers = 1, .on_cancel = (td_on_cancel)9},
        {.kind = (td_pool_kind)9, .workers = 1}, {.workers = 1, .queue = TD_QUEUE_NONE - 1},
    };
    const td_pool_opts for_processes[] = {{.memory_max = 1 << 30}, {.cpu_max_ns = td_sec(1)}, {.strict = true},
                                            {.kill_grace_ns = 1}};
    td_pool *pool;

    for (size_t i = 0; i < COUNT(wrong); i++) {
        td_pool_opts opts = wrong[i];

        opts.kind = opts.kind ? opts.kind : kind_of(arg);
        expect_int_at(td_pool_open(&pool, &opts), -EINVAL, "wrong options", (char[]){(char)('a' + i), 0});
    }
    for (size_t i = 0; kind_of(arg) == TD_THREADS && i < COUNT(for_processes); i++)
        expect_int_at(td_pool_open(&pool, &for_processes[i]), -EINVAL, "for processes", (char[]){(char)('a' + i), 0});
    if (kind_of(arg) == TD_PROCESSES)
        expect_int(td_pool_open(&pool, &(td_pool_opts){.kind = TD_PROCESSES, .workers = 1, .stuck_max = 1}), -EINVAL);
    return 0;
}

STORY(wrong_options_of_a_job_are_refused)
{
    const td_offload_opts wrong[] = {
        {.attempts = TD_ATTEMPTS_MAX + 1}, {.deadline = -1}, {.when_full = (td_when_full)9}, {.priority = (td_priority)9},
    };
    const td_map_opts wrong_maps[] = {{.priority = (td_priority)9}, {.deadline = -1}};
    struct world w;
    struct handed job;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        char which[] = {(char)('a' + i), '\0'};

        expect_int_at(td_offload_with(w.pool, pass_gate, w.gate, &wrong[i]), -EINVAL, "offload", which);
        expect_int_at(hand(&w, &scope, &job, pass_gate, w.gate, wrong[i]), -EINVAL, "submit", which);
    }
    expect_int(td_scope_join(&scope), 0);
    for (size_t i = 0; i < COUNT(wrong_maps); i++)
        expect_int(td_pool_map_with(w.pool, pass_gate, w.gate, 1, sizeof *w.gate, &wrong_maps[i]), -EINVAL);
    expect_int(atomic_load(&w.gate->entered), 0);
    expect_int((long long)outcomes(&w), 0);
    expect_int(td_offload_with(w.pool, pass_gate, w.gate, &(td_offload_opts){0}), 0);
    world_close(&w);
    return 0;
}

/* "Filled in whatever the outcome", and a caller that frees its output after an error frees nothing. */
STORY(a_refused_job_has_its_report_and_no_output)
{
    static const td_offload_opts wrong[] = {
        {.attempts = TD_ATTEMPTS_MAX + 1}, {.when_full = TD_POOL_DEFAULT}, {.when_full = TD_REJECT, .deadline = -1},
    };
    struct world w;
    int private = 0;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    for (size_t i = 0; i < COUNT(wrong); i++) {
        td_job_report report = {-1, -1, -1, 77, TD_REFUSED_QUEUE};
        void *output = &private;
        td_offload_opts opts = wrong[i];

        opts.report = &report;
        opts.output = &output;
        opts.output_bytes = 100;
        expect_int(td_offload_with(w.pool, i == 1 ? NULL : pass_gate, w.gate, &opts), -EINVAL);
        expect(report.queued_ns >= 0 && report.ran_ns == 0 && report.deaths == 0 && report.refusal == TD_REFUSED_NOT);
        expect(output == NULL);
    }
    world_close(&w);
    return 0;
}

#define CALLERS 40
#define CALLS_EACH (SANITIZED ? 8 : 25)
#define BLOCK 4096

/* The model: what the callers were told, by outcome and by reason. */
struct ledger {
    struct world w;
    struct random random;
    unsigned long long asked, ok, busy, timeout, cancelled, refused[TD_REFUSALS];
    void *blocks[CALLERS];
};

static int work_briefly(void *arg)
{
    nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    return 0;
}

static void note_outcome(struct ledger *ledger, int rc, td_refusal refusal)
{
    ledger->asked++;
    ledger->ok += rc == 0;
    ledger->busy += rc == -EBUSY;
    ledger->timeout += rc == -ETIMEDOUT;
    ledger->refused[refusal]++;
    expect(rc == 0 || rc == -EBUSY || rc == -ETIMEDOUT);
    expect_int(refusal != TD_REFUSED_NOT, rc == -EBUSY);
}

static int crowd_in(void *arg)
{
    struct ledger *ledger = arg;

    for (int i = 0; i < CALLS_EACH; i++) {
        td_job_report report;
        td_offload_opts opts = {.when_full = (td_when_full)random_below(&ledger->random, 4), .report = &report,
                                .priority = (td_priority)random_below(&ledger->random, 3),
                                .deadline = random_below(&ledger->random, 8) ? 0 : td_us(500)};
        void *block = random_below(&ledger->random, 2) ? ledger->blocks[random_below(&ledger->random, CALLERS)] : NULL;

        int rc = td_offload_with(ledger->w.pool, work_briefly, block, &opts);

        note_outcome(ledger, rc, report.refusal);
    }
    return 0;
}

static void hold_full(void **state, td_pool_opts opts)
{
    struct ledger *ledger = calloc(1, sizeof *ledger);
    td_pool_stats stats;
    td_scope scope;

    if (!expect(ledger != NULL))
        return;
    ledger->random = random_seeded();
    world_open(&ledger->w, state, opts);
    for (int i = 0; i < CALLERS; i++)
        ledger->blocks[i] = td_shared_alloc(BLOCK);
    td_scope_open(&scope);
    for (int i = 0; i < CALLERS; i++)
        td_spawn(&scope, crowd_in, ledger);
    expect_int(td_scope_join(&scope), 0);
    stats = stats_of(&ledger->w);
    expect_int((long long)ledger->asked, CALLERS * CALLS_EACH);
    expect_int((long long)stats.ok, (long long)ledger->ok);
    expect_int((long long)stats.timeout, (long long)ledger->timeout);
    expect_int((long long)(stats.rejected + stats.dropped), (long long)ledger->busy);
    for (int i = 1; i < TD_REFUSALS; i++)
        expect_int_at((long long)stats.refused[i], (long long)ledger->refused[i], "refused", td_refusal_name((td_refusal)i));
    expect(stats.depth_peak <= stats.queue && stats.bytes_peak <= stats.queue_bytes);
    expect_accounted(&ledger->w, ledger->asked);
    for (int i = 0; i < CALLERS; i++)
        td_shared_free(ledger->blocks[i]);
    world_close(&ledger->w);
    free(ledger);
}

STORY(a_pool_held_full_accounts_for_every_job)
{
    for (int policy = TD_WAIT; policy <= TD_DROP_OLDEST; policy++) {
        hold_full(arg, (td_pool_opts){.workers = 2, .queue = 5, .when_full = (td_when_full)policy});
        hold_full(arg, (td_pool_opts){.workers = 1, .queue = TD_QUEUE_NONE, .when_full = (td_when_full)policy});
        hold_full(arg, (td_pool_opts){.workers = 2, .queue_bytes = 3 * BLOCK, .when_full = (td_when_full)policy});
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(a_full_queue_is_named), WITH_THREADS(each_reason_has_a_name), ON_ALL(wrong_options_are_refused),
        ON_ALL(wrong_options_of_a_job_are_refused), ON_ALL(a_refused_job_has_its_report_and_no_output),
        ON_ALL(a_pool_held_full_accounts_for_every_job),
    };

    return cmocka_run_group_tests_name("pool refusal", tests, NULL, NULL);
}
