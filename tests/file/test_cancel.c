/* SPDX-License-Identifier: MIT */
/* Law 3 on files: a call that a thread has begun is waited for, one that waits for a thread ends at once. */
#include <pthread.h>
#include <sched.h>

#include "file/folder.h"
#include "loop/loop.h"

#define TASKS (BLOCKING_THREADS_MAX + 40)

struct gate {
    int pipe[2];
    _Atomic int begun;
    int finished, cancelled;
};

static int read_gate(struct io_call *call)
{
    struct gate *gate = call->data;
    char byte;

    gate->begun++;
    return read(gate->pipe[0], &byte, 1) == 1 ? 1 : -EIO;
}

/* A call that holds its thread until somebody writes to the gate. */
static int hold_thread(void *arg)
{
    struct gate *gate = arg;
    struct io_call call = {.data = gate, .run = read_gate};
    int rc = loop_io(task_self(__func__), &(struct io_op){.kind = IO_RUN, .call = &call}, "a gate");

    gate->finished += rc == 1;
    gate->cancelled += rc == -ECANCELED;
    expect(rc == 1 || rc == -ECANCELED);
    return rc < 0 ? rc : 0;
}

static int cancel_waiting(void *arg)
{
    struct gate gate = {.begun = 0};
    td_scope scope;

    expect_int(pipe2(gate.pipe, O_CLOEXEC), 0);
    td_scope_open(&scope);
    for (int i = 0; i < TASKS; i++)
        td_spawn(&scope, hold_thread, &gate);
    while (gate.begun < BLOCKING_THREADS_MAX && expect_int(td_yield(), 0))
        ;
    td_scope_cancel(&scope);
    for (int i = 0; i < BLOCKING_THREADS_MAX; i++)
        expect_int(write(gate.pipe[1], "x", 1), 1);
    expect_int(td_scope_join(&scope), -ECANCELED);
    expect_int(gate.finished, BLOCKING_THREADS_MAX);  /* their outcome came, and was not thrown away */
    expect_int(gate.cancelled, TASKS - BLOCKING_THREADS_MAX);
    expect_int(gate.begun, BLOCKING_THREADS_MAX);     /* and of the others none began */
    close(gate.pipe[0]);
    close(gate.pipe[1]);
    return 0;
}

static void what_waits_for_a_thread_is_cancelled_and_what_runs_is_not(void **state)
{
    assert_int_equal(run(state, cancel_waiting, NULL), 0);
}

static int open_and_close(void *arg)
{
    struct folder *folder = arg;
    struct random random = random_seeded();
    int descriptors = descriptors_count(), opened = 0, cancelled = 0;

    for (int i = 0; i < 500; i++) {
        td_file *file;
        td_scope scope;
        int rc;

        td_scope_open(&scope);
        td_scope_deadline(&scope, td_after(td_us((int64_t)random_below(&random, 80))));
        rc = td_file_open(&file, folder_path(folder, "file"), O_RDWR | O_CREAT, 0600);
        if (rc == 0)
            expect_int(td_file_close(file), 0);  /* cancelled or not */
        td_scope_join(&scope);
        expect(rc == 0 || rc == -ECANCELED);
        opened += rc == 0;
        cancelled += rc == -ECANCELED;
    }
    expect(cancelled > 0);
    print_message("%d opened, %d cancelled\n", opened, cancelled);
    expect_int(descriptors_count(), descriptors);
    return 0;
}

static void a_cancelled_open_leaves_no_descriptor(void **state)
{
    assert_int_equal(run_in_folder(state, open_and_close), 0);
}

/* Level-triggered: nothing is done in a cancelled scope but closing. */
static int work_cancelled(void *arg)
{
    struct folder *folder = arg;
    td_file_info info;
    td_file *file, *other;
    td_scope scope;
    char byte;

    expect_int(td_file_open(&file, folder_path(folder, "file"), O_RDWR | O_CREAT, 0600), 0);
    td_scope_open(&scope);
    td_scope_cancel(&scope);
    expect_int(td_file_write(file, "x", 1), -ECANCELED);
    expect_int(td_file_write_all(file, "x", 1), -ECANCELED);
    expect_int(td_file_read(file, &byte, 1), -ECANCELED);
    expect_int(td_file_sync(file), -ECANCELED);
    expect_int(td_file_truncate(file, 1), -ECANCELED);
    expect_int(td_file_stat(file, &info), -ECANCELED);
    expect_int(td_unlink(folder_path(folder, "file")), -ECANCELED);
    expect_int(td_mkdir(folder_path(folder, "folder"), 0700), -ECANCELED);
    expect_int(td_file_open(&other, folder_path(folder, "other"), O_RDWR | O_CREAT, 0600), -ECANCELED);
    expect_int(td_file_close(file), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int(td_stat(folder_path(folder, "file"), &info), 0);
    expect_int((long long)info.size, 0);
    expect_int(td_stat(folder_path(folder, "other"), &info), -ENOENT);
    return 0;
}

static void a_cancelled_scope_touches_no_file(void **state)
{
    assert_int_equal(run_in_folder(state, work_cancelled), 0);
}

static void nothing(int signal)
{
    (void)signal;
}

struct storm {
    pthread_t loop;
    _Atomic bool over;
};

static void *make_storm(void *arg)
{
    struct storm *storm = arg;

    while (!storm->over) {
        pthread_kill(storm->loop, SIGUSR1);
        sched_yield();
    }
    return NULL;
}

/* Handlers without SA_RESTART interrupt the loop's system calls: no answer may show it. */
static int work_in_storm(void *arg)
{
    struct storm storm = {.loop = pthread_self()};
    struct sigaction action = {.sa_handler = nothing}, before;
    char bytes[3000], *data;
    pthread_t thread;
    td_file *file;
    size_t size;

    sigaction(SIGUSR1, &action, &before);
    expect_int(pthread_create(&thread, NULL, make_storm, &storm), 0);
    memset(bytes, 'b', sizeof bytes);
    expect_int(td_file_open(&file, folder_path(arg, "file"), O_RDWR | O_CREAT, 0600), 0);
    for (int i = 0; i < 100; i++) {
        expect_int(td_file_write(file, bytes, sizeof bytes), sizeof bytes);
        if (i % 20 == 0)
            expect_int(td_file_sync_data(file), 0);
    }
    expect_int(td_file_close(file), 0);
    expect_int(td_file_load(folder_path(arg, "file"), &data, &size, 1 << 20), 0);
    expect_int((long long)size, 100 * (long long)sizeof bytes);
    free(data);
    storm.over = true;
    pthread_join(thread, NULL);
    sigaction(SIGUSR1, &before, NULL);
    return 0;
}

static void a_storm_of_signals_changes_no_answer(void **state)
{
    assert_int_equal(run_in_folder(state, work_in_storm), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(what_waits_for_a_thread_is_cancelled_and_what_runs_is_not), ON_BOTH(a_cancelled_open_leaves_no_descriptor),
        ON_BOTH(a_cancelled_scope_touches_no_file), ON_BOTH(a_storm_of_signals_changes_no_answer),
    };

    return cmocka_run_group_tests_name("file cancel", tests, NULL, NULL);
}
