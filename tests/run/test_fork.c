/* SPDX-License-Identifier: MIT */
/*
 * A fork in a program that runs loops: the child is told -EOWNERDEAD, touches nothing of its parent's, and has to end with
 * _exit or exec; the parent does not notice.
 */
#include "base/forks.h"
#include "net/stream.h"
#include "run/harness.h"

#define FOLLOWERS 50
#define FLOOD (8u << 20)  /* more than a socket holds */

/* What a task of the parent holds when it forks. */
struct home {
    td_chan *chan;
    td_event event;
    td_pool *threads, *processes;
    td_listener *listener;
    td_stream *ours, *theirs;
    td_scope scope;
    char *block;
    int woken;
};

/* Waits for a child and returns its wait status. */
static int end_of(pid_t pid)
{
    int status = -1;

    expect_int(waitpid(pid, &status, 0), pid);
    return status;
}

static int follow(void *arg)
{
    struct home *home = arg;
    int rc = td_event_wait(&home->event);

    home->woken++;
    return rc;
}

static int accept_one(void *arg)
{
    struct home *home = arg;

    return td_accept(home->listener, &home->theirs);
}

static int thrice(void *arg)
{
    *(int *)arg *= 3;
    return 0;
}

static void furnish(struct home *home)
{
    memset(home, 0, sizeof *home);
    td_event_init(&home->event);
    expect_int(td_chan_open(&home->chan, &(td_chan_opts){.item_size = 1, .capacity = 1}), 0);
    expect_int(td_pool_open(&home->threads, &(td_pool_opts){.kind = TD_THREADS, .workers = 1}), 0);
    expect_int(td_pool_open(&home->processes, &(td_pool_opts){.kind = TD_PROCESSES, .workers = 1}), 0);
    expect_int(td_listen(&home->listener, "127.0.0.1:0", NULL), 0);
    home->block = td_shared_calloc(1, 64);
    expect(home->block != NULL);
    td_scope_open(&home->scope);
    expect_int(td_spawn(&home->scope, accept_one, home), 0);
    expect_int(td_connect(&home->ours, td_listener_address(home->listener)), 0);
    eventually(home->theirs != NULL);
    for (int i = 0; i < FOLLOWERS; i++)
        expect_int(td_spawn(&home->scope, follow, home), 0);
    settle();
}

/* Uses everything once more, and puts it away. */
static void live_on(struct home *home)
{
    int *number = (int *)(void *)home->block;
    char byte = 'x';

    *number = 7;
    expect_int(td_offload(home->processes, thrice, number), 0);
    expect_int(td_offload(home->threads, thrice, number), 0);
    expect_int(*number, 63);
    expect_int(td_chan_send(home->chan, &byte), 0);
    expect_int(td_chan_receive(home->chan, &byte), 0);
    expect_int(td_stream_write(home->ours, "hello", 5), 5);
    expect_int(td_stream_read(home->theirs, &byte, 1), 1);
    expect_int(byte, 'h');
    td_event_set(&home->event);
    expect_int(td_scope_join(&home->scope), 0);
    expect_int(home->woken, FOLLOWERS);
    td_stream_close(home->ours);
    td_stream_close(home->theirs);
    td_listener_close(home->listener);
    td_shared_free(home->block);
    td_chan_free(home->chan);
    expect_int(td_pool_close(home->threads), 0);
    expect_int(td_pool_close(home->processes), 0);
}

static void try_waits(struct home *home)
{
    char byte = 'c';

    expect_int(td_sleep(td_ms(1)), -EOWNERDEAD);
    expect_int(td_sleep(0), -EOWNERDEAD);
    for (int i = 0; i < 1000; i++)  /* more than a task may pass before it gives way to others */
        expect_int(i % 2 ? td_yield() : td_sleep(1), -EOWNERDEAD);
    expect_int(td_chan_send(home->chan, &byte), -EOWNERDEAD);
    expect_int(td_chan_receive(home->chan, &byte), -EOWNERDEAD);
    expect_int(td_event_wait(&home->event), -EOWNERDEAD);
    expect_int(td_wait_readable(STDIN_FILENO), -EOWNERDEAD);
    expect_int(td_stream_read(home->ours, &byte, 1), -EOWNERDEAD);
    expect_int(td_stream_write(home->ours, "child", 5), -EOWNERDEAD);
    expect_int(td_offload(home->threads, thrice, home->block), -EOWNERDEAD);
    expect_int(td_offload(home->processes, thrice, home->block), -EOWNERDEAD);
    expect_int(td_pool_map(home->processes, thrice, home->block, 2, sizeof(int)), -EOWNERDEAD);
}

static void try_to_begin(struct home *home)
{
    td_listener *listener;
    td_stream *stream;
    td_pool *pool;
    td_scope scope;

    expect_int(td_spawn(&home->scope, follow, home), -EOWNERDEAD);
    td_scope_open(&scope);
    expect_int(td_spawn(&scope, follow, home), -EOWNERDEAD);
    expect_int(td_scope_join(&scope), -EOWNERDEAD);
    td_scope_open_shielded(&scope, td_sec(1));
    expect_int(td_yield(), -EOWNERDEAD);
    expect_int(td_scope_join(&scope), -EOWNERDEAD);
    expect_int(td_run(no_task, NULL), -EOWNERDEAD);
    expect_int(td_pool_open(&pool, &(td_pool_opts){.kind = TD_THREADS}), -EOWNERDEAD);
    expect_int(td_listen(&listener, "127.0.0.1:0", NULL), -EOWNERDEAD);
    expect_int(td_connect(&stream, td_listener_address(home->listener)), -EOWNERDEAD);
    expect_int(td_stream_end(home->ours), -EOWNERDEAD);
    expect(td_shared_alloc(1) == NULL);
}

static void try_to_end(struct home *home)
{
    td_scope_cancel(&home->scope);
    td_scope_deadline(&home->scope, td_now());
    expect_int(td_scope_join(&home->scope), -EOWNERDEAD);
    td_event_set(&home->event);
    td_pool_cancel(home->threads);
    td_pool_cancel(home->processes);
    expect_int(td_pool_close(home->threads), -EOWNERDEAD);
    expect_int(td_pool_close(home->processes), -EOWNERDEAD);
    td_stream_close(home->ours);
    td_stream_close(home->theirs);
    td_listener_close(home->listener);
    td_shared_free(home->block);
    expect_int(td_yield(), -EOWNERDEAD);
    expect_int(home->woken, 0);  /* no task but ours has run here */
}

static int fork_at_home(void *arg)
{
    struct home home;
    pid_t pid;

    furnish(&home);
    pid = fork();
    if (pid == 0) {
        close(STDERR_FILENO);  /* td_shared_alloc complains, and is meant to be called here */
        try_waits(&home);
        try_to_begin(&home);
        try_to_end(&home);
        _exit(complaint.made);
    }
    expect_int(end_of(pid), 0);
    live_on(&home);
    return 0;
}

static void every_call_of_a_forked_child_is_refused_and_its_parent_lives_on(void **state)
{
    assert_int_equal(run(state, fork_at_home, NULL), 0);
}


struct pond {
    td_stream *stream;
    size_t seen;
};

static int drink(void *arg)
{
    struct pond *pond = arg;
    char sink[16384];
    ssize_t n;

    while (pond->seen < FLOOD && (n = td_stream_read(pond->stream, sink, sizeof sink)) > 0)
        pond->seen += (size_t)n;
    return 0;
}

/* The kernel sends from the parent's memory while the child ends the same send in its own. */
static int fork_while_sending(void *arg)
{
    struct block *block = block_new(FLOOD);
    struct pond pond = {0};
    struct home home;
    td_scope scope;
    pid_t pid;

    furnish(&home);
    memset(block->bytes, 'b', FLOOD);
    expect_int(stream_post(home.ours, block, SIZE_MAX), 0);
    block_release(block);
    settle();
    eventually(home.ours->sending);
    pid = fork();
    if (pid == 0) {
        td_stream_close(home.ours);
        td_stream_close(home.theirs);
        _exit(complaint.made);
    }
    expect_int(end_of(pid), 0);
    pond.stream = home.theirs;
    td_scope_open(&scope);
    td_spawn(&scope, drink, &pond);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)pond.seen, FLOOD);
    live_on(&home);
    return 0;
}

static void a_child_that_closes_its_copies_takes_nothing_from_the_parent(void **state)
{
    assert_int_equal(run(state, fork_while_sending, NULL), 0);
}

static int fork_and_return(void *arg)
{
    pid_t pid = fork();
    int status;

    if (pid == 0)
        return 0;
    status = end_of(pid);
    expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    return td_yield();
}

static int run_and_return(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, fork_and_return, NULL);
}

static void a_child_that_returns_from_its_task_is_told_how_to_end(void **state)
{
    struct ending ending = in_child(state, run_and_return);

    assert_ended_well(&ending);
    assert_says(&ending, "a forked child returned from the task spawned at td_run; end it with _exit, or with one of the exec");
}

static int fork_in_job(void *arg)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        close(STDERR_FILENO);
        _exit(td_shared_alloc(64) != NULL || td_shared_has(arg, 1));
    }
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -EIO;
}

/* The arena's lock may have been held by another thread, and its blocks are the parent's to hand out. */
static int offload_forks(void *arg)
{
    char *block = td_shared_alloc(64);
    td_pool *pool;

    expect_int(td_pool_open(&pool, &(td_pool_opts){.kind = TD_THREADS, .workers = 2}), 0);
    expect_int(td_pool_map(pool, fork_in_job, block, 8, 1), 0);
    td_shared_free(block);
    return td_pool_close(pool);
}

static void a_child_of_a_pools_thread_gets_no_shared_memory(void **state)
{
    assert_int_equal(run(state, offload_forks, NULL), 0);
}

static _Atomic int *job_flag(void)
{
    _Atomic int *flag = td_shared_calloc(1, sizeof *flag);

    expect(flag != NULL);
    return flag;
}

/* A job. Tells how far it is, and waits to be let go. */
static int tell_and_stay(void *arg)
{
    _Atomic int *flag = arg;

    td_job_progress(7);
    atomic_store(flag, 1);
    for (int i = 0; i < 300000 && atomic_load(flag) != 2; i++)
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    return 0;
}

/* Calls that do not wait are answered, though the page between a worker and its pool is the parent's. */
static int fork_and_look(void *arg)
{
    static const td_pool_kind kinds[] = {TD_THREADS, TD_PROCESSES};
    _Atomic int *flag = job_flag();

    for (size_t i = 0; i < COUNT(kinds); i++) {
        td_pool_stats stats;
        td_histogram sojourn;
        td_scope scope;
        td_pool *pool;
        td_job job;
        pid_t pid;

        expect_int(td_pool_open(&pool, &(td_pool_opts){.kind = kinds[i], .workers = 2}), 0);
        td_scope_open(&scope);
        atomic_store(flag, 0);
        expect_int(td_submit(&scope, &job, pool, tell_and_stay, (void *)(uintptr_t)flag, NULL), 0);
        eventually(atomic_load(flag) == 1);
        pid = fork();
        if (pid == 0) {
            (void)signal(SIGSEGV, SIG_DFL);  /* cmocka would go on with the next test */
            td_pool_statistics(pool, &stats);
            td_pool_histograms(pool, &sojourn, NULL);
            expect_int((long long)stats.ok, 0);
            expect(!td_job_done(&job));
            (void)td_job_progress_of(&job);
            _exit(complaint.made);
        }
        expect_int(end_of(pid), 0);
        expect_int(td_job_progress_of(&job), 7);
        atomic_store(flag, 2);
        expect_int(td_scope_join(&scope), 0);
        expect_int(td_pool_close(pool), 0);
    }
    td_shared_free((void *)(uintptr_t)flag);
    return 0;
}

static void a_forked_child_may_look_at_its_parents_pools(void **state)
{
    assert_int_equal(run(state, fork_and_look, NULL), 0);
}

/* Runs a program that lists its descriptors; returns how many it has besides those of its standard streams. */
static int descriptors_after_exec(void)
{
    char text[4096], path[16];
    int pair[2], count = 0;
    pid_t pid;

    expect_int(pipe2(pair, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        dup2(pair[1], STDOUT_FILENO);
        execl("/bin/ls", "ls", "/proc/self/fd", (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    read_all(pair[0], text, sizeof text);
    close(pair[0]);
    expect_int(end_of(pid), 0);
    for (int fd = 3; fd < 1000; fd++) {
        char *found;

        snprintf(path, sizeof path, "%d\n", fd);
        found = strstr(text, path);
        count += found && (found == text || found[-1] == '\n');
    }
    return count;
}

static int exec_at_home(void *arg)
{
    struct home home;

    furnish(&home);
    expect_int(descriptors_after_exec(), *(int *)arg);
    live_on(&home);
    return 0;
}

static void nothing_of_ours_goes_through_an_exec(void **state)
{
    int before = descriptors_after_exec();

    assert_int_equal(run(state, exec_at_home, &before), 0);
}

static int fork_often(void *arg)
{
    struct home home;

    furnish(&home);
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();

        if (pid == 0)
            _exit(td_sleep(td_sec(1)) != -EOWNERDEAD || forks_count() == 0);
        expect_int(end_of(pid), 0);
        expect_int(td_sleep(td_us(100)), 0);
    }
    live_on(&home);
    return 0;
}

static void a_task_may_fork_again_and_again(void **state)
{
    assert_int_equal(run(state, fork_often, NULL), 0);
}

/* A child made outside of any loop is a program like any other: it may run its own. */
static int run_in_child(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, offload_forks, NULL);
}

static void a_child_of_a_program_without_a_loop_may_run_one(void **state)
{
    struct ending ending = in_child(state, run_in_child);

    assert_ended_well(&ending);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(every_call_of_a_forked_child_is_refused_and_its_parent_lives_on),
        ON_BOTH(a_child_that_closes_its_copies_takes_nothing_from_the_parent),
        ON_BOTH(a_child_that_returns_from_its_task_is_told_how_to_end),
        ON_BOTH(a_child_of_a_pools_thread_gets_no_shared_memory), ON_BOTH(a_forked_child_may_look_at_its_parents_pools),
        ON_BOTH(nothing_of_ours_goes_through_an_exec),
        ON_BOTH(a_task_may_fork_again_and_again), ON_BOTH(a_child_of_a_program_without_a_loop_may_run_one),
    };

    return cmocka_run_group_tests_name("run fork", tests, NULL, NULL);
}
