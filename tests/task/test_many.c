/* SPDX-License-Identifier: MIT */
/* A hundred thousand tasks at once with the kernel's default settings, each stack with its guard; and nothing of it stays. */
#include "task/memory.h"

#define MANY (SANITIZED ? 10000 : 100000)
#define MIB (1024 * 1024)

struct many {
    td_handle *handles;
    td_event leave;
    size_t ended, cancelled;
    bool by_cancelling;
};

static int stay(void *arg)
{
    struct many *many = arg;
    int rc = td_event_wait(&many->leave);

    many->ended += rc == 0;
    many->cancelled += rc == -ECANCELED;
    return rc;
}

static size_t count_mappings(void)
{
    FILE *file = fopen("/proc/self/maps", "re");
    size_t count = 0;
    int c;

    while (file && (c = getc(file)) != EOF)
        count += c == '\n';
    if (file)
        fclose(file);
    return count;
}

/* The kernel answers EFAULT where a write by the program would be a signal. */
static void every_guard_holds(const struct many *many)
{
    size_t unguarded = 0, wrong = 0;
    int pair[2];

    if (!expect_int(pipe2(pair, O_CLOEXEC | O_NONBLOCK), 0))
        return;
    expect_int(write(pair[1], "xy", 2), 2);
    for (size_t i = 0; i < MANY; i++) {
        const struct stack *stack = &many->handles[i].task->stack;

        unguarded += read(pair[0], stack->low - 1, 1) != -1 || errno != EFAULT;
        unguarded += read(pair[0], stack->low - stack->pool->guard_size, 1) != -1 || errno != EFAULT;
        wrong += sched_guard_owner(sched_current(), stack->low - 1) != stack;
    }
    expect_int((long long)unguarded, 0);
    expect_int((long long)wrong, 0);
    expect_int(read(pair[0], many->handles[MANY / 2].task->stack.low, 1), 1);  /* above it there is a stack */
    close(pair[0]);
    close(pair[1]);
}

/* A child that writes there dies. */
static void a_write_is_deadly(const struct many *many, size_t i)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        (void)signal(SIGSEGV, SIG_DFL);
        *(volatile char *)(many->handles[i].task->stack.low - 1) = 1;
        _exit(0);
    }
    expect(pid > 0 && waitpid(pid, &status, 0) == pid);
    expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static int spawn_many(void *arg)
{
    struct many *many = arg;
    size_t mappings = count_mappings(), spawned = 0;
    td_scope scope;

    td_event_init(&many->leave);
    td_scope_open(&scope);
    while (spawned < MANY) {
        td_spawn_opts opts = {.handle = &many->handles[spawned]};

        if (td_spawn_with(&scope, &opts, stay, many) < 0)
            break;
        spawned++;
    }
    if (sched_current()->guards.kind != STACK_GUARD_MPROTECT && expect_int((long long)spawned, MANY)) {
        settle();
        expect_int((long long)sched_current()->tasks, MANY + 1);
        expect(count_mappings() - mappings < MANY / 10);
        every_guard_holds(many);
        for (size_t i = 0; i < 3; i++)
            a_write_is_deadly(many, i * (MANY / 2 - 1));
    }
    if (many->by_cancelling)
        td_scope_cancel(&scope);
    else
        td_event_set(&many->leave);
    expect_int(td_scope_join(&scope), many->by_cancelling ? -ECANCELED : 0);
    expect_int((long long)(many->by_cancelling ? many->cancelled : many->ended), (long long)spawned);
    expect_int((long long)sched_current()->tasks, 1);
    for (size_t i = 0; i < spawned; i += 97)
        expect(!td_alive(many->handles[i]));
    return 0;
}

static void run_many(void **state, bool by_cancelling)
{
    struct many many = {.by_cancelling = by_cancelling};
    size_t mappings, memory;

    many.handles = calloc(MANY, sizeof *many.handles);
    assert_non_null(many.handles);
    memset(many.handles, 0, MANY * sizeof *many.handles);
    assert_int_equal(run(state, no_task, NULL), 0);  /* what a run leaves behind anyway */
    mappings = count_mappings();
    memory = memory_in_use();
    assert_int_equal(run(state, spawn_many, &many), 0);
    free(many.handles);
    if (!SANITIZED)
        assert_in_range(memory_in_use(), 0, memory + 8 * MIB);
    assert_in_range(count_mappings(), 0, mappings + 10);
}

static void a_hundred_thousand_are_woken(void **state)
{
    run_many(state, false);
}

static void a_hundred_thousand_are_cancelled(void **state)
{
    run_many(state, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {ON_BOTH(a_hundred_thousand_are_woken), ON_BOTH(a_hundred_thousand_are_cancelled)};

    return cmocka_run_group_tests_name("task many", tests, NULL, NULL);
}
