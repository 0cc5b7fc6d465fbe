/* SPDX-License-Identifier: MIT */
/*
 * Two philosophers, two forks. Each takes the fork on the left, and waits for the one on the right: for ever. With
 * threads this program would hang and say nothing. Here the loop sees that every task waits and that nothing is
 * pending; it names both with what they wait for, ends their waits, and td_run returns -EDEADLK.
 *
 * The second table shows what tasks of one loop cannot do to each other: both count guests in the same variable, without a
 * lock and without a lost guest, because a task runs until it waits.
 *
 *     cc deadlock.c $(pkg-config --cflags --libs tandem) && ./a.out
 */
#include <errno.h>
#include <stdio.h>
#include <tandem.h>

#define GUESTS 100000

struct table {
    td_mutex left, right;
    long guests;
};

struct philosopher {
    td_mutex *first, *second;
};

static int dine(void *arg)
{
    struct philosopher *me = arg;
    int rc = td_mutex_lock(me->first);

    if (rc < 0)
        return rc;
    rc = td_sleep(td_ms(10));  /* so that the other has a fork too */
    if (rc == 0)
        rc = td_mutex_lock(me->second);
    if (rc == 0)
        td_mutex_unlock(me->second);
    td_mutex_unlock(me->first);
    return rc;
}

static int a_table_for_two(void *arg)
{
    struct table *table = arg;
    struct philosopher plato = {&table->left, &table->right}, hume = {&table->right, &table->left};
    td_scope scope;

    td_mutex_init(&table->left);
    td_mutex_init(&table->right);
    td_scope_open(&scope);
    td_spawn(&scope, dine, &plato);
    td_spawn(&scope, dine, &hume);
    return td_scope_join(&scope);
}

static int welcome(void *arg)
{
    struct table *table = arg;

    for (int i = 0; i < GUESTS; i++) {
        table->guests = table->guests + 1;
        if (i % 100 == 0)
            td_yield();
    }
    return 0;
}

static int two_doors(void *arg)
{
    td_call doors[] = {{welcome, arg, 0}, {welcome, arg, 0}};

    return td_gather(doors, 2);
}

int main(void)
{
    struct table table = {.guests = 0};
    int rc = td_run(a_table_for_two, &table);

    printf("the philosophers: %s\n", td_strerror(rc));
    if (rc != -EDEADLK)
        return 1;
    rc = td_run(two_doors, &table);
    printf("the doors: %ld of %d guests counted\n", table.guests, 2 * GUESTS);
    return rc < 0;
}
