/* SPDX-License-Identifier: MIT */
/* td_dump and SIGQUIT: every task with what it does, alike ones told once, also when a loop is stuck. */
#include "debug/dump.h"

#define MANY (SANITIZED ? 1000 : 10000)
#define DEEP 40

struct house {
    td_chan *door;
    td_event bell;
    struct dump dump;
};

static int at_the_door(void *arg)
{
    struct house *house = arg;

    return td_chan_receive(house->door, &(int){0});
}

static int for_the_bell(void *arg)
{
    struct house *house = arg;
    td_scope scope;

    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_sec(49)));
    td_spawn_at(&scope, at_the_door, house, "porch.c:2");
    td_event_wait(&house->bell);
    return td_scope_join(&scope);
}

static int cleaning(void *arg)
{
    struct house *house = arg;
    td_scope scope;

    td_scope_open_shielded(&scope, td_sec(39));
    td_event_wait(&house->bell);
    td_scope_cancel(&scope);
    return td_scope_join(&scope);
}

static int show_house(void *arg)
{
    struct house house;
    const char *text;
    td_scope scope;

    dump_open(&house.dump);
    td_event_init(&house.bell);
    td_chan_open(&house.door, &(td_chan_opts){.item_size = sizeof(int), .capacity = 1, .name = "the front door"});
    td_scope_open(&scope);
    td_spawn_at(&scope, for_the_bell, &house, "hall.c:1");
    td_spawn_at(&scope, cleaning, &house, "attic.c:3");
    settle();
    expect_int(td_dump(house.dump.fd), 0);
    text = dump_read(&house.dump);
    expect_says(text, "root scope: 1 task\n");
    expect_says(text, "task spawned at td_run waits: a dump of all tasks");
    expect_says(text, "scope: 2 tasks\n");
    expect_says(text, "task spawned at hall.c:1 waits: ");
    expect_says(text, "for_the_bell()");
    expect_says(text, "scope: 1 task, deadline in 4");
    expect_says(text, "task spawned at porch.c:2 waits: receive from channel the front door, for ");
    expect_says(text, "at at_the_door+");
    expect_says(text, "at td_chan_receive+");
    expect_says(text, "scope: 0 tasks, shielded, deadline in 3");
    expect(depth_of(text, "porch.c:2") > depth_of(text, "deadline in 4"));
    expect(depth_of(text, "deadline in 4") > depth_of(text, "hall.c:1"));
    expect_int(depth_of(text, "hall.c:1"), depth_of(text, "attic.c:3"));
    td_scope_cancel(&scope);
    expect_int(td_yield(), -ECANCELED);  /* all but the cleaner end */
    expect_int(td_dump(house.dump.fd), 0);
    expect_says(dump_read(&house.dump), "cancelled: asked for");
    td_event_set(&house.bell);
    expect_int(td_scope_join(&scope), -ECANCELED);
    td_chan_free(house.door);
    dump_close(&house.dump);
    return 0;
}

static void a_dump_is_the_tree_of_scopes_and_tasks(void **state)
{
    assert_int_equal(run(state, show_house, NULL), 0);
}

static int nap(void *arg)
{
    return td_sleep(td_sec(100));
}

static int serve_one(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_spawn_at(&scope, nap, NULL, "timeout.c:4");
    return td_scope_join(&scope);
}

static int show_crowd(void *arg)
{
    char line[100];
    struct dump dump;
    td_scope scope;

    dump_open(&dump);
    td_scope_open(&scope);
    for (int i = 0; i < MANY; i++)
        td_spawn_at(&scope, i % 2 ? nap : serve_one, NULL, i % 2 ? "idle.c:1" : "busy.c:2");
    settle();
    expect_int(td_dump(dump.fd), 0);
    snprintf(line, sizeof line, "%d tasks spawned at idle.c:1 wait: sleep, for ", MANY / 2);
    expect_says(dump_read(&dump), line);
    snprintf(line, sizeof line, "%d tasks spawned at busy.c:2 wait: the tasks of a scope, for ", MANY / 2);
    expect_says(dump.text, line);
    expect_int(count_of(dump.text, "timeout.c:4"), 1);
    expect(count_of(dump.text, "\n") < 60);
    td_scope_cancel(&scope);
    expect_int(td_scope_join(&scope), -ECANCELED);
    dump_close(&dump);
    return 0;
}

static void alike_tasks_are_told_once(void **state)
{
    assert_int_equal(run(state, show_crowd, NULL), 0);
}

static int descend(void *arg)
{
    td_scope scope;

    if ((uintptr_t)arg == 0)
        return td_sleep(td_sec(100));
    td_scope_open(&scope);
    td_spawn(&scope, descend, (void *)((uintptr_t)arg - 1));
    return td_scope_join(&scope);
}

static int show_depths(void *arg)
{
    struct dump dump;
    td_scope scope;

    dump_open(&dump);
    td_scope_open(&scope);
    td_spawn(&scope, descend, (void *)(uintptr_t)DEEP);
    settle();
    expect_int(td_dump(dump.fd), 0);
    expect_says(dump_read(&dump), "(nested too deeply for this dump)");
    td_scope_cancel(&scope);
    expect_int(td_scope_join(&scope), -ECANCELED);
    dump_close(&dump);
    return 0;
}

static void a_deep_nest_is_cut_and_said_to_be(void **state)
{
    assert_int_equal(run(state, show_depths, NULL), 0);
}

/* Who looks at a stuck loop: another thread. */
struct visit {
    struct dump dump;
    pthread_t thread;
    _Atomic bool is_stuck, is_over;
    int pipe[2];
    td_scope *damaged;
    int rc;
};

static void *look_from_outside(void *arg)
{
    struct visit *visit = arg;

    while (!atomic_load(&visit->is_stuck))
        sched_yield();
    visit->rc = td_dump(visit->dump.fd);
    atomic_store(&visit->is_over, true);
    if (visit->pipe[1] > 0)
        expect_int(write(visit->pipe[1], "x", 1), 1);
    return NULL;
}

static int compute(void *arg)
{
    struct visit *visit = arg;

    atomic_store(&visit->is_stuck, true);
    while (!atomic_load(&visit->is_over))
        ;
    return 0;
}

static int block(void *arg)
{
    struct visit *visit = arg;
    char byte;

    atomic_store(&visit->is_stuck, true);
    return read(visit->pipe[0], &byte, 1) == 1 ? 0 : -EIO;
}

/* A list that leads nowhere, as stray writes leave behind. */
static int damage(void *arg)
{
    struct visit *visit = arg;
    struct td_list *next = visit->damaged->tasks.next->next;

    visit->damaged->tasks.next->next = (struct td_list *)(uintptr_t)4096;
    compute(arg);
    visit->damaged->tasks.next->next = next;
    return 0;
}

static int visit_with(td_fn fn, struct visit *visit)
{
    td_scope scope;

    dump_open(&visit->dump);
    td_scope_open(&scope);
    visit->damaged = &scope;
    td_spawn_at(&scope, nap, NULL, "bed.c:5");
    settle();
    expect_int(pthread_create(&visit->thread, NULL, look_from_outside, visit), 0);
    td_spawn_at(&scope, fn, visit, "stove.c:6");
    expect_int(td_yield(), 0);
    pthread_join(visit->thread, NULL);
    expect_int(visit->rc, 0);
    dump_read(&visit->dump);
    td_scope_cancel(&scope);
    expect_int(td_scope_join(&scope), -ECANCELED);
    return 0;
}

static int visit_computing(void *arg)
{
    struct visit visit = {.rc = 1};

    visit_with(compute, &visit);
    expect_says(visit.dump.text, "it did not answer, and was interrupted");
    expect_says(visit.dump.text, "task spawned at stove.c:6 runs; compute()");
    expect_says(visit.dump.text, "at compute+");
    expect_says(visit.dump.text, "task spawned at bed.c:5 waits: sleep");
    expect_says(visit.dump.text, "at td_sleep+");
    dump_close(&visit.dump);
    return 0;
}

static void a_computing_loop_is_dumped(void **state)
{
    if (SIGNALS_WAIT)
        skip();
    assert_int_equal(run(state, visit_computing, NULL), 0);
}

static int visit_blocked(void *arg)
{
    struct visit visit = {.rc = 1};

    expect_int(pipe2(visit.pipe, O_CLOEXEC), 0);
    visit_with(block, &visit);
    expect_says(visit.dump.text, "read from outside");
    expect_says(visit.dump.text, "task spawned at stove.c:6 runs; block()");
    expect_says(visit.dump.text, "task spawned at bed.c:5 waits: sleep");
    close(visit.pipe[0]);
    close(visit.pipe[1]);
    dump_close(&visit.dump);
    return 0;
}

static void a_blocked_loop_is_dumped_and_its_call_goes_on(void **state)
{
    assert_int_equal(run(state, visit_blocked, NULL), 0);
}

static int visit_damaged(void *arg)
{
    struct visit visit = {.rc = 1};

    visit_with(damage, &visit);
    expect_says(visit.dump.text, "scope: 2 tasks\n");
    dump_close(&visit.dump);
    return 0;
}

static void damaged_lists_end_the_dump_and_not_the_program(void **state)
{
    if (SIGNALS_WAIT)
        skip();
    assert_int_equal(run(state, visit_damaged, NULL), 0);
}

static int quit_and_go_on(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_spawn_at(&scope, nap, NULL, "bed.c:5");
    settle();
    expect_int(kill(getpid(), SIGQUIT), 0);
    expect_int(td_sleep(td_ms(1)), 0);
    /* The same thread serves this after the signal, so all is written then. */
    expect_int(td_dump(open("/dev/null", O_RDONLY | O_CLOEXEC)), -EBADF);
    td_scope_cancel(&scope);
    expect_int(td_scope_join(&scope), -ECANCELED);
    return 0;
}

static int run_quit(void **state)
{
    int rc = td_run_with(&(td_opts){.backend = backend_of(state), .stall_after = TD_FOREVER}, quit_and_go_on, NULL);
    struct sigaction now;

    sigaction(SIGQUIT, NULL, &now);
    expect(now.sa_handler == SIG_DFL);
    return rc;
}

static void sigquit_prints_the_tasks_and_the_program_goes_on(void **state)
{
    struct ending ending = in_child(state, run_quit);

    assert_ended_well(&ending);
    assert_says(&ending, "SIGQUIT: here are the tasks");
    assert_says(&ending, "the loop (thread ");
    assert_says(&ending, "task spawned at bed.c:5 waits: sleep");
}

static int run_quit_kept(void **state)
{
    td_run_with(&(td_opts){.backend = backend_of(state), .keep_signals = true}, quit_and_go_on, NULL);
    return 0;
}

static void kept_signals_are_left_alone(void **state)
{
    struct ending ending = in_child(state, run_quit_kept);

    assert_killed_by(&ending, SIGQUIT);
}

static int run_quit_ignored(void **state)
{
    (void)signal(SIGQUIT, SIG_IGN);
    return td_run_with(&(td_opts){.backend = backend_of(state)}, quit_and_go_on, NULL) != 0 ||
           signal(SIGQUIT, SIG_DFL) != SIG_IGN;
}

static void a_program_that_ignores_sigquit_goes_on_ignoring_it(void **state)
{
    struct ending ending = in_child(state, run_quit_ignored);

    assert_ended_well(&ending);
    assert_null(strstr(ending.text, "task spawned at"));
}

static int quit_in_child(void *arg)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        raise(SIGQUIT);
        _exit(0);
    }
    expect_int(waitpid(pid, &status, 0), pid);
    expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGQUIT);
    return 0;
}

/* Nobody would answer it there. */
static void a_forked_child_dies_of_sigquit(void **state)
{
    assert_int_equal(run(state, quit_in_child, NULL), 0);
}

static void without_a_loop_there_is_nothing_to_dump(void **state)
{
    assert_int_equal(td_dump(STDERR_FILENO), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_dump_is_the_tree_of_scopes_and_tasks), ON_BOTH(alike_tasks_are_told_once),
        ON_BOTH(a_deep_nest_is_cut_and_said_to_be), ON_BOTH(a_computing_loop_is_dumped),
        ON_BOTH(a_blocked_loop_is_dumped_and_its_call_goes_on), ON_BOTH(damaged_lists_end_the_dump_and_not_the_program),
        ON_BOTH(sigquit_prints_the_tasks_and_the_program_goes_on), ON_BOTH(kept_signals_are_left_alone),
        ON_BOTH(a_program_that_ignores_sigquit_goes_on_ignoring_it), ON_BOTH(a_forked_child_dies_of_sigquit),
        cmocka_unit_test(without_a_loop_there_is_nothing_to_dump),
    };

    signal(SIGQUIT, SIG_DFL);  /* shells start programs in the background with it ignored */
    signal(SIGINT, SIG_DFL);
    return cmocka_run_group_tests_name("debug dump", tests, NULL, NULL);
}
