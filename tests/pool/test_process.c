/* SPDX-License-Identifier: MIT */
/* What a worker process may use and do, and what its death is called. */
#include <sys/mman.h>
#include <sys/socket.h>

#include "pool/jobs.h"

static int score(void)
{
    FILE *file = fopen("/proc/self/oom_score_adj", "re");
    int value = -1;

    if (file && fscanf(file, "%d", &value) != 1)
        value = -1;
    if (file)
        fclose(file);
    return value;
}

static int score_of_worker(void *arg)
{
    return score();
}

static int ask_score(void *arg)
{
    int wanted = score() + 500;
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    expect_int(td_offload(w.pool, score_of_worker, NULL), wanted < 1000 ? wanted : 1000);
    expect_int(score() + 500, wanted);
    world_close(&w);
    return 0;
}

static void the_kernel_short_of_memory_takes_a_worker_first(void **state)
{
    assert_int_equal(run(state, ask_score, state), 0);
}

static int eat(void *arg)
{
    const size_t *bytes = arg;
    char *some = malloc(*bytes);

    if (!some)
        return -ENOMEM;
    for (size_t i = 0; i < *bytes; i += 4096)
        some[i] = 1;
    free(some);
    return 0;
}

static int map_more(void *arg)
{
    const size_t *bytes = arg;
    void *at = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return at == MAP_FAILED ? -errno : munmap(at, *bytes);
}

static int lift_limit(void *arg)
{
    return setrlimit(RLIMIT_DATA, &(struct rlimit){1 << 30, 1 << 30}) < 0 ? -errno : 0;
}

static int eat_and_eat(void *arg)
{
    struct world w;
    size_t *bytes;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .memory_max = 64 << 20});
    bytes = td_shared_calloc(1, sizeof *bytes);
    for (int i = 0; i < 3; i++) {
        *bytes = 48 << 20;
        expect_int(td_offload(w.pool, SANITIZED ? map_more : eat, bytes), 0);  /* a sanitizer's malloc has needs of its own, */
        *bytes = 100 << 20;
        expect_int(td_offload(w.pool, SANITIZED ? map_more : eat, bytes), -ENOMEM);  /* and ends the program rather than say so */
        expect_int(td_offload(w.pool, map_more, bytes), -ENOMEM);
    }
    if (geteuid() != 0)  /* root may */
        expect_int(td_offload(w.pool, lift_limit, bytes), -EPERM);
    expect_int((long long)stats_of(&w).deaths, 0);
    td_shared_free(bytes);
    world_close(&w);
    return 0;
}

static void memory_beyond_the_limit_is_refused_and_nobody_dies(void **state)
{
    if (RACES_WATCHED)
        skip();  /* its shadow has no room for a limit */
    assert_int_equal(run(state, eat_and_eat, state), 0);
}

static int burn(void *arg)
{
    struct timespec used, end;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    end.tv_nsec += 400000000;
    do
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    while (arg || (used.tv_sec - end.tv_sec) * 1000000000 + used.tv_nsec < end.tv_nsec);
    return 0;
}

static int burn_and_burn(void *arg)
{
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .cpu_max_ns = td_ms(900)});
    for (int i = 0; i < 6; i++)  /* 2.4 s, by 0.4 s a job */
        expect_int(td_offload(w.pool, burn, NULL), 0);
    expect_int((long long)stats_of(&w).deaths, 0);
    expect_int(td_offload(w.pool, burn, w.gate), -EOWNERDEAD);
    expect_int((long long)stats_of(&w).deaths_by[TD_DEATH_CPU], 1);
    expect_int(td_offload(w.pool, burn, NULL), 0);
    world_close(&w);
    return 0;
}

/* Of each job, not of the worker's life. */
static void processor_time_is_limited_for_each_job(void **state)
{
    assert_int_equal(run(state, burn_and_burn, state), 0);
}

static int fault(void *arg)
{
    volatile uintptr_t nowhere = 16;

    (void)signal(SIGSEGV, SIG_DFL);  /* a sanitizer would explain it at length */
    *(volatile int *)nowhere = 1;
    return 0;
}

static int leave(void *arg)
{
    _exit(7);
}

static int end_itself(void *arg)
{
    raise(SIGKILL);
    return 0;
}

static int use_processor(void *arg)
{
    raise(SIGXCPU);  /* without a limit that is a crash as any other */
    return 0;
}

static int call_forbidden(void *arg)
{
    raise(SIGSYS);  /* likewise, in a pool that is not strict */
    return 0;
}

static int die_of_causes(void *arg)
{
    static const struct { td_fn fn; td_death cause; int rc; } ways[] = {
        {fault, TD_DEATH_CRASH, -EOWNERDEAD}, {end_itself, TD_DEATH_KILLED, -EOWNERDEAD}, {leave, TD_DEATH_EXIT, -EOWNERDEAD},
        {stay_in_gate, TD_DEATH_DEADLINE, -ETIMEDOUT}, {use_processor, TD_DEATH_CRASH, -EOWNERDEAD},
        {call_forbidden, TD_DEATH_CRASH, -EOWNERDEAD},
    };
    unsigned long long counted[TD_DEATHS] = {0};
    struct world w;
    struct call call;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    for (size_t i = 0; i < COUNT(ways); i++) {
        td_offload_opts opts = {.deadline = ways[i].rc == -ETIMEDOUT ? td_ms(20) : 0};

        expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
        expect_int(td_offload_with(w.pool, ways[i].fn, w.gate, &opts), ways[i].rc);
        counted[ways[i].cause]++;
    }
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    td_scope_open(&scope);
    atomic_store(&w.gate->entered, 0);
    spawn_call(&w, &scope, &call, stay_in_gate);
    wait_entered(&w, 1);
    td_scope_cancel(&scope);
    (void)td_scope_join(&scope);
    counted[TD_DEATH_CANCEL]++;
    eventually(stats_of(&w).deaths == COUNT(ways) + 1);
    for (int i = 0; i < TD_DEATHS; i++)
        expect_at(stats_of(&w).deaths_by[i] == counted[i], __FILE__, td_death_name(i), (long long)stats_of(&w).deaths_by[i],
                  (long long)counted[i]);
    world_close(&w);
    return 0;
}

static void deaths_have_causes(void **state)
{
    assert_int_equal(run(state, die_of_causes, state), 0);
}

/* Jobs and init of strict workers. */

static int load_model(void *arg)
{
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    char byte;
    bool read_some = fd >= 0 && read(fd, &byte, 1) == 1;

    if (fd >= 0)
        close(fd);
    return read_some ? 0 : -EIO;
}

static int compute(void *arg)
{
    const struct gate *gate = arg;
    size_t size;
    int *output = td_job_output(&size);
    char *scratch = malloc(1 << 20);

    if (!scratch || !output || size < sizeof *output)
        return -ENOMEM;
    memset(scratch, 3, 1 << 20);
    *output = scratch[77] + atomic_load(&gate->left);
    free(scratch);
    return 0;
}

static int write_input(void *arg)
{
    struct gate *gate = arg;

    (void)signal(SIGSEGV, SIG_DFL);
    atomic_store(&gate->left, 99);
    return 0;
}

static int open_file(void *arg)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int connect_somewhere(void *arg)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int signal_program(void *arg)
{
    return kill(getppid(), 0);
}

static int compute_strictly(struct world *w)
{
    void *output;
    int rc = td_offload_with(w->pool, compute, w->gate, &(td_offload_opts){.output_bytes = sizeof(int), .output = &output});

    if (rc == 0)
        expect_int(*(int *)output, 3 + 42);
    td_shared_free(output);
    return rc;
}

static int live_strictly(void *arg)
{
    static const td_fn forbidden[] = {open_file, connect_somewhere, signal_program};
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .strict = true, .worker_init = load_model, .cpu_max_ns = td_sec(5),
                                       .memory_max = 256 << 20});
    atomic_store(&w.gate->left, 42);
    for (int i = 0; i < 5; i++)
        expect_int(compute_strictly(&w), 0);
    for (size_t i = 0; i < COUNT(forbidden); i++) {
        expect_int(td_offload(w.pool, forbidden[i], NULL), -EOWNERDEAD);
        expect_int(compute_strictly(&w), 0);
    }
    expect_int((long long)stats_of(&w).deaths_by[TD_DEATH_FORBIDDEN], COUNT(forbidden));
    expect_int(td_offload(w.pool, write_input, w.gate), -EOWNERDEAD);
    expect_int((long long)stats_of(&w).deaths_by[TD_DEATH_CRASH], 1);
    expect_int(atomic_load(&w.gate->left), 42);
    expect_int(td_pool_map_with(w.pool, compute, w.gate, 1, sizeof *w.gate, &(td_map_opts){.results = (int *)(void *)w.gate}),
               -EINVAL);
    expect_int(children_signal("tandem-zygote", SIGKILL), 1);  /* a zygote that was forked later makes them as strict */
    expect_int(td_offload(w.pool, open_file, NULL), -EOWNERDEAD);
    expect_int(td_offload(w.pool, write_input, w.gate), -EOWNERDEAD);
    expect_int(compute_strictly(&w), 0);
    expect_int((long long)stats_of(&w).deaths_by[TD_DEATH_FORBIDDEN], COUNT(forbidden) + 1);
    expect_int((long long)stats_of(&w).deaths_by[TD_DEATH_CRASH], 2);
    expect_int((long long)stats_of(&w).deaths, COUNT(forbidden) + 3);
    world_close(&w);
    return 0;
}

static void a_strict_worker_computes_and_does_nothing_else(void **state)
{
    assert_int_equal(run(state, live_strictly, state), 0);
}

static int be_refused(void *arg)
{
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .strict = true});
    expect_int(td_offload(w.pool, pass_gate, w.gate), -ENOENT);
    expect_int(atomic_load(&w.gate->entered), 0);
    world_close(&w);
    return 0;
}

static int run_without_proc(void **state)
{
    char folder[] = "/tmp/tandem-bare-XXXXXX";

    if (!mkdtemp(folder) || chroot(folder) < 0)
        return -errno;
    return td_run_with(&(td_opts){.backend = backend_of(state)}, be_refused, state);
}

/* Where strictness cannot be had, there are no workers rather than others. */
static void what_cannot_be_strict_runs_no_jobs(void **state)
{
    struct ending ending;

    if (geteuid() != 0)
        skip();
    ending = in_child(state, run_without_proc);
    assert_ended_well(&ending);
    assert_says(&ending, "cannot be kept from writing to shared memory (strict), so it runs no jobs");
    assert_says(&ending, "no worker can be started");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROCESSES(the_kernel_short_of_memory_takes_a_worker_first),
        WITH_PROCESSES(memory_beyond_the_limit_is_refused_and_nobody_dies),
        WITH_PROCESSES(processor_time_is_limited_for_each_job), WITH_PROCESSES(deaths_have_causes),
        WITH_PROCESSES(a_strict_worker_computes_and_does_nothing_else), WITH_PROCESSES(what_cannot_be_strict_runs_no_jobs),
    };

    return cmocka_run_group_tests_name("pool process", tests, NULL, NULL);
}
