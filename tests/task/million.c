/* SPDX-License-Identifier: MIT */
/*
 * A million tasks at once: spawns them, lets each wait, wakes them all, joins them; and says what one costs.
 * Arguments: how many tasks (1,000,000), and the bytes of a stack (65,536). Ends with 77 where there is too little memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tandem.h"

#define SECONDS_MAX 60  /* of the processor */
#define BYTES_NEEDED (8ull << 30)
#define SKIPPED 77

struct million {
    size_t count, began, ended, memory_before;
    td_event wake;
};

/* A line of /proc, "Name:   N kB", in bytes. */
static unsigned long long bytes_of(const char *path, const char *name)
{
    unsigned long long kilobytes = 0;
    FILE *file = fopen(path, "re");
    char line[200];

    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0)
            kilobytes = strtoull(line + strlen(name), NULL, 10);
    if (file)
        fclose(file);
    return kilobytes * 1024;
}

static int wait_for_all(void *arg)
{
    struct million *million = arg;
    int rc;

    million->began++;
    rc = td_event_wait(&million->wake);
    million->ended++;
    return rc;
}

static double ns_each(td_time since, size_t count)
{
    return (double)(td_now() - since) / (double)count;
}

static int run_million(void *arg)
{
    struct million *million = arg;
    unsigned long long memory = bytes_of("/proc/self/status", "VmRSS:");
    td_time began = td_now();
    td_scope scope;
    int rc = 0;

    td_event_init(&million->wake);
    td_scope_open(&scope);
    for (size_t i = 0; i < million->count && rc == 0; i++)
        rc = td_spawn(&scope, wait_for_all, million);
    if (rc < 0) {
        printf("no more tasks: %s\n", td_strerror(rc));
        td_scope_cancel(&scope);
        td_scope_join(&scope);
        return rc;
    }
    printf("%zu tasks; spawn: %.0f ns each\n", million->count, ns_each(began, million->count));
    began = td_now();
    while (million->began < million->count)
        td_yield();
    printf("first wait: %.0f ns each\n", ns_each(began, million->count));
    printf("memory: %.0f bytes each in VmRSS, %.0f in page tables\n",
           (double)(bytes_of("/proc/self/status", "VmRSS:") - memory) / (double)million->count,
           (double)bytes_of("/proc/self/status", "VmPTE:") / (double)million->count);
    began = td_now();
    td_event_set(&million->wake);
    rc = td_scope_join(&scope);
    printf("wake, end, join: %.0f ns each\n", ns_each(began, million->count));
    return rc;
}

int main(int argc, char **argv)
{
    struct million million = {.count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000};
    size_t stack_size = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    int rc;

    if (bytes_of("/proc/meminfo", "MemAvailable:") < BYTES_NEEDED && argc == 1) {
        printf("skipped: less than 8 GiB of memory are free\n");
        return SKIPPED;
    }
    setrlimit(RLIMIT_CPU, &(struct rlimit){SECONDS_MAX, SECONDS_MAX});  /* not of the clock: others may keep the machine busy */
    rc = td_run_with(&(td_opts){.stack_size = stack_size, .stall_after = TD_FOREVER}, run_million, &million);
    if (rc != 0 || million.ended != million.count) {
        printf("%zu of %zu tasks ended: %s\n", million.ended, million.count, td_strerror(rc));
        return 1;
    }
    return 0;
}
