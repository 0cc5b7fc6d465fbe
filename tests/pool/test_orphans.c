/* SPDX-License-Identifier: MIT */
/* Workers die with their program, however it ends. */
#include <sys/prctl.h>

#include "pool/jobs.h"

#define WORKERS 3

struct program {
    void **state;
    int tell_fd;
    bool busy;
    void (*end)(void);
};

static void be_killed(void)
{
    raise(SIGKILL);
}

static void leave_at_once(void)
{
    _exit(0);
}

static int tell_children(struct program *program)
{
    int pids[CHILDREN_MAX] = {0};

    eventually(children_list(getpid(), NULL, pids) == WORKERS + 1);
    return write(program->tell_fd, pids, sizeof pids) == sizeof pids ? 0 : -EIO;
}

/* Ends with its workers in the middle of a job, or idle. */
static int be_program(void *arg)
{
    struct program *program = arg;
    struct call calls[WORKERS];
    struct world w;
    td_scope scope;

    world_open(&w, program->state, (td_pool_opts){.workers = WORKERS});
    td_scope_open(&scope);
    for (int i = 0; i < WORKERS; i++)
        spawn_call(&w, &scope, &calls[i], stay_in_gate);
    wait_entered(&w, WORKERS);
    if (!program->busy) {
        open_gate(&w);
        eventually(calls[0].ends + calls[1].ends + calls[2].ends == WORKERS);
    }
    if (tell_children(program) == 0)
        program->end();
    return -EIO;
}

/* They are ours once their parent is dead, so that we can wait for each of them. */
static void assert_children_die_with(void **state, bool busy, void (*end)(void))
{
    struct program program = {.state = state, .busy = busy, .end = end};
    int pair[2], pids[CHILDREN_MAX], status;
    pid_t pid;

    if (backend_is_forbidden(state))
        skip();
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    alarm(CASE_SECONDS_MAX);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        program.tell_fd = pair[1];
        td_run_with(&(td_opts){.backend = backend_of(state)}, be_program, &program);
        _exit(1);
    }
    close(pair[1]);
    assert_int_equal(read(pair[0], pids, sizeof pids), sizeof pids);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    for (int i = 0; i < WORKERS + 1; i++)
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
    alarm(0);
    assert_int_equal(children_count(getpid()), 0);
    close(pair[0]);
}

static void idle_workers_die_with_a_killed_program(void **state)
{
    assert_children_die_with(state, false, be_killed);
}

static void busy_workers_die_with_a_killed_program(void **state)
{
    assert_children_die_with(state, true, be_killed);
}

static void workers_die_with_a_program_that_just_leaves(void **state)
{
    assert_children_die_with(state, true, leave_at_once);
}

static int ignore_terminal(void *arg)
{
    struct call call;
    struct world w;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    spawn_call(&w, &scope, &call, stay_in_gate);
    wait_entered(&w, 1);
    for (int i = 0; i < 5; i++)
        expect_int(children_signal(NULL, (int[]){SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP}[i]), 2);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(call.rc, 0);
    expect_int((long long)stats_of(&w).deaths, 0);
    world_close(&w);
    return 0;
}

/* What a terminal or a service manager sends to the whole group is for the program to answer. */
static void a_signal_to_the_group_does_not_cost_jobs(void **state)
{
    assert_int_equal(run(state, ignore_terminal, state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROCESSES(idle_workers_die_with_a_killed_program), WITH_PROCESSES(busy_workers_die_with_a_killed_program),
        WITH_PROCESSES(workers_die_with_a_program_that_just_leaves),
        WITH_PROCESSES(a_signal_to_the_group_does_not_cost_jobs),
    };

    return cmocka_run_group_tests_name("pool orphans", tests, NULL, NULL);
}
