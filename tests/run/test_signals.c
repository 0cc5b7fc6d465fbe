/* SPDX-License-Identifier: MIT */
/* SIGINT and SIGTERM cancel the run, once, and only where the program has left them alone. */
#include <stdatomic.h>

#include "run/harness.h"

#define LOOPS 3

struct guests {
    int signal;
    atomic_int seated, left;
};

/* Waits to be cancelled, and cleans up within a grace time. */
static int stay(void *arg)
{
    struct guests *guests = arg;
    td_scope scope;
    int rc;

    if (atomic_fetch_add(&guests->seated, 1) + 1 == (int)td_loop_count())
        kill(getpid(), guests->signal);
    rc = td_sleep(td_sec(1000));
    expect_int(rc, -ECANCELED);
    td_scope_open_shielded(&scope, td_sec(20));
    expect_int(td_sleep(td_ms(1)), 0);
    td_scope_join(&scope);
    atomic_fetch_add(&guests->left, 1);
    return rc;
}

static bool is_default(int signal)
{
    struct sigaction now;

    sigaction(signal, NULL, &now);
    return now.sa_handler == SIG_DFL;
}

static int run_guests(void **state, unsigned loops, int signal)
{
    struct guests guests = {.signal = signal};
    int rc = td_run_with(&(td_opts){.backend = backend_of(state), .loops = loops}, stay, &guests);

    expect_int(guests.left, loops);
    expect(is_default(SIGINT) && is_default(SIGTERM));
    return rc;
}

static int cancel_all(void **state)
{
    static const int asked[] = {SIGINT, SIGTERM};

    for (size_t i = 0; i < COUNT(asked); i++) {
        (void)signal(asked[i], SIG_DFL);
        expect_int(run_guests(state, 1, asked[i]), -ECANCELED);
        expect_int(run_guests(state, LOOPS, asked[i]), -ECANCELED);
        expect_int(run_guests(state, LOOPS, asked[i]), -ECANCELED);  /* the next run has its own first signal */
    }
    return 0;
}

static void a_signal_cancels_the_roots_of_all_loops(void **state)
{
    struct ending ending = in_child(state, cancel_all);

    assert_ended_well(&ending);
}

static int ask_twice(void *arg)
{
    kill(getpid(), SIGTERM);
    expect_int(td_sleep(td_sec(1000)), -ECANCELED);
    expect(is_default(SIGTERM) && !is_default(SIGINT));
    kill(getpid(), SIGTERM);
    return -ECANCELED;
}

static int run_twice(void **state)
{
    (void)signal(SIGINT, SIG_DFL);
    return td_run_with(&(td_opts){.backend = backend_of(state)}, ask_twice, NULL);
}

static void the_second_of_a_kind_ends_the_program(void **state)
{
    struct ending ending = in_child(state, run_twice);

    assert_killed_by(&ending, SIGTERM);
}

/* tidy: allow, because a handler of the test's own has nowhere else to write */
static atomic_int caught;

static void catch(int signal)
{
    atomic_fetch_add(&caught, 1);
}

static int ask_in_vain(void *arg)
{
    kill(getpid(), SIGTERM);
    kill(getpid(), SIGINT);
    return td_sleep(td_ms(5));
}

static int run_with_own(void **state)
{
    struct sigaction now;

    (void)signal(SIGTERM, catch);
    (void)signal(SIGINT, SIG_IGN);
    expect_int(td_run_with(&(td_opts){.backend = backend_of(state)}, ask_in_vain, NULL), 0);
    expect_int(caught, 1);
    sigaction(SIGTERM, NULL, &now);
    expect(now.sa_handler == catch);
    sigaction(SIGINT, NULL, &now);
    expect(now.sa_handler == SIG_IGN);
    return 0;
}

static void a_program_with_its_own_handling_keeps_it(void **state)
{
    struct ending ending = in_child(state, run_with_own);

    assert_ended_well(&ending);
}

static int run_keeping(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state), .keep_signals = true}, ask_in_vain, NULL);
}

static void keep_signals_leaves_them_alone(void **state)
{
    struct ending ending = in_child(state, run_keeping);

    assert_killed_by(&ending, SIGTERM);
}

static int fork_and_ask(void *arg)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        raise(SIGTERM);
        _exit(0);
    }
    expect_int(waitpid(pid, &status, 0), pid);
    expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    expect(!is_default(SIGTERM));
    return td_sleep(td_ms(2));  /* it did not reach us */
}

static void a_forked_childs_signal_is_its_own(void **state)
{
    if (!is_default(SIGTERM))
        skip();
    assert_int_equal(run(state, fork_and_ask, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_signal_cancels_the_roots_of_all_loops), ON_BOTH(the_second_of_a_kind_ends_the_program),
        ON_BOTH(a_program_with_its_own_handling_keeps_it), ON_BOTH(keep_signals_leaves_them_alone),
        ON_BOTH(a_forked_childs_signal_is_its_own),
    };

    return cmocka_run_group_tests_name("run signals", tests, NULL, NULL);
}
