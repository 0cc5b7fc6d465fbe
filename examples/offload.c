/* SPDX-License-Identifier: MIT */
/*
 * What a task is told about work that it hands to a worker: the result, or which way it ended.
 *
 * Five jobs go to worker processes: one that succeeds, one that fails, one that crashes, one that takes too long, and one for
 * which there is no room. Each costs its own caller something, and nobody else: a heartbeat goes on beside them, and
 * the worker that crashed is replaced.
 *
 *     cc offload.c $(pkg-config --cflags --libs tandem) && ./a.out
 */
#include <stdio.h>
#include <stdlib.h>
#include <tandem.h>

struct kitchen {
    td_pool *chefs;
    bool done;
};

/* The jobs. They run in a worker process, on a number in shared memory. */
static int count_primes(void *arg)
{
    int *number = arg, primes = 0;

    for (int n = 2; n < *number; n++) {
        int d = 2;

        while (d * d <= n && n % d)
            d++;
        primes += d * d > n;
    }
    *number = primes;
    return 0;
}

static int burn_the_sauce(void *arg)
{
    (void)arg;
    return -EDOM;
}

static int drop_the_plates(void *arg)
{
    (void)arg;
    abort();
}

static int watch_the_pot(void *arg)
{
    (void)arg;
    while (!td_job_cancelled())
        ;
    return -ECANCELED;  /* asked in time to end, it spares its worker; otherwise it would be killed a second later */
}

static int beat(void *arg)
{
    struct kitchen *kitchen = arg;
    int rc = 0, beats = 0;

    for (; rc == 0 && !kitchen->done; beats++)
        rc = td_sleep(td_ms(10));
    printf("the loop's heart beat %s all the while\n", beats > 10 ? "on" : "hardly");
    return rc;
}

static int one_after_the_other(struct kitchen *kitchen, int *number)
{
    td_job_report report;
    int rc = td_offload(kitchen->chefs, count_primes, number);  /* the task waits, the loop does not */

    if (rc < 0)
        return rc;
    printf("primes below two million: %d\n", *number);
    rc = td_offload(kitchen->chefs, burn_the_sauce, NULL);
    printf("a job that fails: %s\n", td_strerror(rc));
    rc = td_offload_with(kitchen->chefs, drop_the_plates, NULL, &(td_offload_opts){.report = &report});
    printf("a job that crashes: %s (signal %d)\n", td_strerror(rc), report.signal);
    rc = td_offload_with(kitchen->chefs, watch_the_pot, NULL, &(td_offload_opts){.deadline = td_ms(200)});
    printf("a job that takes too long: %s\n", td_strerror(rc));
    return rc == -ETIMEDOUT ? 0 : -EPROTO;
}

/* A worker each for two jobs, one that waits, and no room for the fourth. */
static int all_at_once(struct kitchen *kitchen)
{
    td_job_report report;
    td_job jobs[3], refused;
    td_scope scope;
    int rc;

    td_scope_open(&scope);
    for (int i = 0; i < 3; i++)
        if (td_submit(&scope, &jobs[i], kitchen->chefs, watch_the_pot, NULL, NULL) < 0)
            td_scope_cancel(&scope);
    rc = td_submit(&scope, &refused, kitchen->chefs, watch_the_pot, NULL,
                   &(td_offload_opts){.when_full = TD_REJECT, .report = &report});
    printf("a job too many: %s (%s)\n", td_strerror(rc), td_refusal_name(report.refusal));
    td_scope_cancel(&scope);  /* nobody wants the others: the one that waits is taken back, the running ones are asked to end */
    return td_scope_join(&scope) == -ECANCELED && rc == -EBUSY ? 0 : -EPROTO;
}

static int serve(void *arg)
{
    struct kitchen *kitchen = arg;
    int *number = td_shared_alloc(sizeof *number);
    td_scope scope;
    int rc = -ENOMEM, joined;

    if (!number)
        return rc;
    *number = 2000000;
    td_scope_open(&scope);
    if (td_spawn(&scope, beat, kitchen) == 0)
        rc = one_after_the_other(kitchen, number);
    if (rc == 0)
        rc = all_at_once(kitchen);
    kitchen->done = true;
    joined = td_scope_join(&scope);
    td_shared_free(number);
    return rc < 0 ? rc : joined;
}

static int open_kitchen(void *arg)
{
    struct kitchen kitchen = {0};
    td_pool_opts opts = {.kind = TD_PROCESSES, .workers = 2, .queue = 1, .kill_grace_ns = td_sec(1)};
    int rc = td_pool_open(&kitchen.chefs, &opts);

    (void)arg;
    if (rc < 0)
        return rc;
    rc = serve(&kitchen);
    td_pool_close(kitchen.chefs);
    return rc;
}

int main(void)
{
    return td_run(open_kitchen, NULL) < 0;
}
