/* SPDX-License-Identifier: MIT */
/* However the program ends, nobody it has started outlives it: workers that were added later, commands, those of every loop. */
#include <sys/prctl.h>

#include "pool/jobs.h"

#define LOOPS 2
#define OP_HANG 1

struct program {
    void **state;
    td_pool_opts opts;
    unsigned loops, workers;     /* that each loop's pool comes to have */
    int tell_fd;
    void (*end)(void);
    _Atomic unsigned busy_loops; /* whose workers all are there, and at work */
};

static void be_killed(void)
{
    raise(SIGKILL);
}

static void crash(void)
{
    (void)signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
}

static void leave_at_once(void)
{
    _exit(0);
}

static unsigned children_wanted(const struct program *program)
{
    return program->loops * (program->workers + 1);  /* each loop has a zygote */
}

/* Each loop keeps its workers at work; the last that is ready tells who the children are, and ends the program. */
static int be_program(void *arg)
{
    static const char *const hanging[] = {WORKER, NULL};
    struct program *program = arg;
    struct call calls[8];
    int pids[CHILDREN_MAX] = {0};
    struct world w;
    td_scope scope;
    bool command = program->opts.command != NULL;

    if (command)
        program->opts.command = hanging;
    world_open(&w, program->state, program->opts);
    td_scope_open(&scope);
    for (unsigned i = 0; i < program->workers; i++)
        spawn_call(&w, &scope, &calls[i], command ? td_op(OP_HANG) : stay_in_gate);
    eventually(stats_of(&w).busy == program->workers);
    if (!command)
        wait_entered(&w, (int)program->workers);
    if (atomic_fetch_add(&program->busy_loops, 1) + 1 < program->loops)
        return td_sleep(PATIENCE);
    eventually(children_list(getpid(), NULL, pids) == (int)children_wanted(program));
    if (!complaint.made && write(program->tell_fd, pids, sizeof pids) == sizeof pids)
        program->end();  /* else nothing is told, and the case fails */
    return -EIO;
}

/* They are ours once their parent is dead, so that we can wait for each of them. */
static void assert_nobody_is_left(struct program program)
{
    int pair[2], pids[CHILDREN_MAX], status;
    pid_t pid;

    if (backend_is_forbidden(program.state))
        skip();
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    alarm(CASE_SECONDS_MAX);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        program.tell_fd = pair[1];
        td_run_with(&(td_opts){.backend = backend_of(program.state), .loops = program.loops}, be_program, &program);
        _exit(1);
    }
    close(pair[1]);
    assert_int_equal(read(pair[0], pids, sizeof pids), sizeof pids);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    for (unsigned i = 0; i < children_wanted(&program); i++)
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
    alarm(0);
    assert_int_equal(children_count(getpid()), 0);
    close(pair[0]);
}

static void after_each_end(struct program program)
{
    static void (*const ends[])(void) = {be_killed, crash, leave_at_once};

    for (size_t i = 0; i < COUNT(ends); i++) {
        program.end = ends[i];
        assert_nobody_is_left(program);
    }
}

static void commands_die_with_the_program(void **state)
{
    static const char *const some[] = {"", NULL};

    after_each_end((struct program){.state = state, .loops = 1, .workers = 3, .opts = {.workers = 3, .command = some}});
}

static void workers_of_every_loop_die_with_it(void **state)
{
    after_each_end((struct program){.state = state, .loops = LOOPS, .workers = 2, .opts = {.workers = 2}});
}

static void those_that_were_added_do(void **state)
{
    assert_nobody_is_left((struct program){.state = state, .loops = 1, .workers = 3, .end = be_killed,
                                           .opts = {.workers = 1, .workers_max = 3}});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROCESSES(commands_die_with_the_program), WITH_PROCESSES(workers_of_every_loop_die_with_it),
        WITH_PROCESSES(those_that_were_added_do),
    };

    return cmocka_run_group_tests_name("pool process orphans", tests, NULL, NULL);
}
