/* SPDX-License-Identifier: MIT */
/*
 * The storm's jobs on threads, which do not die: what remains is that the two sides of a ring meet at every instant. It is for
 * ThreadSanitizer above all.
 */
#include "pool/proof/load.h"

#define CUSTOMERS 200
#define WORKERS 4
#define OUTCOMES (SANITIZED ? 3000 : 15000)

struct bustle {
    struct random random;
    struct ledger ledger;
    _Atomic unsigned progress;
    _Atomic bool enough;
};

static int bustle(void *arg)
{
    struct bustle *bustle = arg;
    struct customer customer = {.random = &bustle->random, .ledger = &bustle->ledger, .enough = &bustle->enough,
                                .progress = &bustle->progress};
    td_scope scope;

    expect_int(td_pool_open(&customer.pool, &(td_pool_opts){.workers = WORKERS, .queue = CUSTOMERS, .workers_reserved = 1}), 0);
    td_scope_open(&scope);
    for (int i = 0; i < CUSTOMERS; i++)
        expect_int(td_spawn(&scope, be_customer, &customer), 0);
    while (atomic_load(&bustle->progress) < OUTCOMES && !complaint.made && bustle->ledger.wrong == 0)
        td_sleep(td_ms(1));
    atomic_store(&bustle->enough, true);
    expect_int(td_scope_join(&scope), 0);
    expect_balance(&bustle->ledger, customer.pool);
    expect_int((long long)(bustle->ledger.died + bustle->ledger.again), 0);
    expect_int(td_pool_close(customer.pool), 0);
    expect_no_memory_left();
    return 0;
}

static void every_job_ends_once_and_as_it_went(void **state)
{
    struct bustle b = {.random = random_seeded()};

    assert_int_equal(run(state, bustle, &b), 0);
    print_message("%llu jobs: %llu ok, %llu failed, %llu refused, %llu cancelled, %llu past their deadline\n", b.ledger.outcomes,
                  b.ledger.ok, b.ledger.error, b.ledger.refused, b.ledger.cancelled, b.ledger.timeout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_THREADS(every_job_ends_once_and_as_it_went),
    };

    return cmocka_run_group_tests_name("pool threads", tests, NULL, NULL);
}
