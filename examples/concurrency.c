/* SPDX-License-Identifier: MIT */
/*
 * Three pots, one cook. Each pot needs the cook's hands for a moment and then simmers by itself: 3, 1 and 2 seconds.
 *
 * One after the other that takes 6 seconds. As three tasks on one loop it takes 3: while one pot simmers, the cook sees
 * to the others. Nobody else is hired: all tasks run on the same thread.
 *
 *     cc concurrency.c $(pkg-config --cflags --libs tandem) && ./a.out
 */
#include <pthread.h>
#include <stdio.h>
#include <tandem.h>

struct pot {
    int seconds;
    pthread_t cook;  /* the thread that saw to it */
};

static int simmer(void *arg)
{
    struct pot *pot = arg;
    int rc = td_sleep(td_sec(pot->seconds));

    pot->cook = pthread_self();
    if (rc == 0)
        printf("  pot ready after %d s\n", pot->seconds);
    return rc;
}

static double seconds_since(td_time began)
{
    return (double)(td_now() - began) / 1e9;
}

static int one_after_the_other(struct pot *pots)
{
    int rc = 0;

    for (int i = 0; i < 3 && rc == 0; i++)
        rc = simmer(&pots[i]);
    return rc;
}

static int at_the_same_time(struct pot *pots)
{
    td_scope scope;
    int rc = 0;

    td_scope_open(&scope);
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = td_spawn(&scope, simmer, &pots[i]);
    if (rc < 0)
        td_scope_cancel(&scope);
    return td_scope_join(&scope) < 0 || rc < 0 ? -1 : 0;
}

static int kitchen(void *arg)
{
    struct pot pots[] = {{.seconds = 3}, {.seconds = 1}, {.seconds = 2}};
    td_time began = td_now();
    int rc;

    (void)arg;
    printf("one after the other:\n");
    rc = one_after_the_other(pots);
    printf("  %.1f s: the sum\n", seconds_since(began));
    if (rc < 0)
        return rc;

    began = td_now();
    printf("at the same time:\n");
    rc = at_the_same_time(pots);
    printf("  %.1f s: the longest\n", seconds_since(began));

    for (int i = 0; i < 3; i++)
        if (!pthread_equal(pots[i].cook, pthread_self()))
            return -1;
    printf("all of it on one thread\n");
    return rc;
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    return td_run(kitchen, NULL) < 0;
}
