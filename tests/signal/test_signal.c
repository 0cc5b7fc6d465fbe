/* SPDX-License-Identifier: MIT */
/* Signals as waits: none lost, every stream served, dispositions restored. */
#include <pthread.h>

#include "run/harness.h"

#ifdef __SANITIZE_THREAD__
#define MANY 1     /* it holds signals back, and of one kind only the latest */
#else
#define MANY 500
#endif

static struct sigaction disposition_of(int signal)
{
    struct sigaction action;

    sigaction(signal, NULL, &action);
    return action;
}

static int wait_for_signals(void *arg)
{
    struct sigaction before = disposition_of(SIGUSR1);
    td_signal_info info;
    td_signals *signals;
    td_scope scope;

    expect_int(td_signals_open(&signals, (const int[]){SIGUSR1, SIGUSR2, 0}), 0);
    kill(getpid(), SIGUSR1);
    expect_int(td_signals_wait(signals, &info), 0);
    expect(info.signal == SIGUSR1 && info.process == getpid() && info.user == getuid() && info.lost == 0);
    sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 42});
    expect_int(td_signals_wait(signals, &info), 0);
    expect(info.signal == SIGUSR2 && info.value == 42);
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_ms(2)));
    expect_int(td_signals_wait(signals, &info), -ECANCELED);
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    kill(getpid(), SIGUSR1);  /* comes while nobody waits */
    expect_int(td_sleep(td_ms(1)), 0);
    expect_int(td_signals_wait(signals, NULL), 0);
    td_signals_close(signals);
    expect(disposition_of(SIGUSR1).sa_handler == before.sa_handler);
    return 0;
}

static void signals_are_waited_for(void **state)
{
    assert_int_equal(run(state, wait_for_signals, NULL), 0);
}

static void nothing(int signal)
{
    (void)signal;
}

/* The last of several streams restores what was there before the first. */
static int share(void *arg)
{
    struct sigaction action = {.sa_handler = nothing}, before;
    td_signals *one, *two;
    td_signal_info info;

    sigaction(SIGUSR1, &action, &before);
    expect_int(td_signals_open(&one, (const int[]){SIGUSR1, 0}), 0);
    expect_int(td_signals_open(&two, (const int[]){SIGUSR1, 0}), 0);
    kill(getpid(), SIGUSR1);
    expect_int(td_signals_wait(one, &info), 0);
    expect_int(td_signals_wait(two, &info), 0);
    td_signals_close(one);
    kill(getpid(), SIGUSR1);
    expect_int(td_signals_wait(two, &info), 0);
    td_signals_close(two);
    expect(disposition_of(SIGUSR1).sa_handler == nothing);
    sigaction(SIGUSR1, &before, NULL);
    return 0;
}

static void several_streams_have_each_signal(void **state)
{
    assert_int_equal(run(state, share, NULL), 0);
}

static int be_refused(void *arg)
{
    static const int never[][2] = {{SIGKILL, 0}, {SIGSTOP, 0}, {SIGSEGV, 0}, {-1, 0}, {65, 0}, {0, 0}};
    td_signals *many[64];
    size_t count = 0;
    int rc = 0;

    for (size_t i = 0; i < COUNT(never); i++) {
        expect_int(td_signals_open(&many[0], never[i]), -EINVAL);
        expect(many[0] == NULL);
    }
    while (count < COUNT(many) && (rc = td_signals_open(&many[count], (const int[]){SIGUSR1, 0})) == 0)
        count++;
    expect_int(rc, -EBUSY);
    expect_int((long long)count, 32);
    while (count > 0)
        td_signals_close(many[--count]);
    expect(disposition_of(SIGUSR1).sa_handler == SIG_DFL);
    return 0;
}

static void what_cannot_be_had_is_refused(void **state)
{
    assert_int_equal(run(state, be_refused, NULL), 0);
}

static void *send_many(void *arg)
{
    for (int i = 0; i < MANY; i++)
        while (sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = i}) < 0)
            ;  /* the system's queue is full: the loop takes them out */
    return NULL;
}

/* Queued signals come all, and in order: the handler loses none. */
static int take_many(void *arg)
{
    td_signal_info info;
    td_signals *signals;
    pthread_t thread;

    expect_int(td_signals_open(&signals, (const int[]){SIGRTMIN + 3, 0}), 0);
    expect_int(pthread_create(&thread, NULL, send_many, NULL), 0);
    for (int i = 0; i < MANY; i++) {
        if (!expect_int(td_signals_wait(signals, &info), 0) || !expect_int(info.lost, 0))
            break;
        /* Two threads may each run the handler, so neighbours may change places, but none is missing. */
        expect(info.value >= 0 && info.value < MANY);
    }
    pthread_join(thread, NULL);
    td_signals_close(signals);
    return 0;
}

static void queued_signals_all_come(void **state)
{
    assert_int_equal(run(state, take_many, NULL), 0);
}

/* A full stream drops, and says how many. */
static int overflow(void *arg)
{
    td_signal_info info;
    td_signals *signals;
    int sent = 20000, taken = 0;

    expect_int(td_signals_open(&signals, (const int[]){SIGUSR1, 0}), 0);
    for (int i = 0; i < sent; i++)
        raise(SIGUSR1);
    expect_int(td_signals_wait(signals, &info), 0);
    expect(info.lost > 0 && info.lost < (unsigned)sent);
    for (taken = 1; taken + (int)info.lost < sent; taken++) {
        td_signal_info next;

        if (!expect_int(td_signals_wait(signals, &next), 0))
            break;
        expect_int(next.lost, 0);
    }
    expect(taken >= 100);  /* a page of them: all that a user with many pipes gets */
    td_signals_close(signals);
    return 0;
}

static void a_full_stream_says_what_it_lost(void **state)
{
    assert_int_equal(run(state, overflow, NULL), 0);
}

struct storm {
    _Atomic bool over;
};

static void *make_storm(void *arg)
{
    struct storm *storm = arg;

    while (!storm->over)
        kill(getpid(), SIGUSR1);
    return NULL;
}

/* A handler that runs while its stream closes must not write where it may not. */
static int open_and_close(void *arg)
{
    struct storm storm = {.over = false};
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    pthread_t thread;

    sigaction(SIGUSR1, &ignore, &before);
    expect_int(pthread_create(&thread, NULL, make_storm, &storm), 0);
    for (int i = 0; i < 300; i++) {
        td_signals *signals;
        td_fd *reader, *writer;
        char byte[64];

        expect_int(td_signals_open(&signals, (const int[]){SIGUSR1, 0}), 0);
        if (i % 2)
            expect_int(td_signals_wait(signals, NULL), 0);
        td_signals_close(signals);
        expect_int(td_pipe(&reader, &writer), 0);  /* has the same descriptors */
        expect_int(td_fd_write(writer, "x", 1), 1);
        expect_int(td_fd_read(reader, byte, sizeof byte), 1);
        td_fd_close(reader);
        td_fd_close(writer);
    }
    storm.over = true;
    pthread_join(thread, NULL);
    sigaction(SIGUSR1, &before, NULL);
    return 0;
}

static void a_handler_never_outlives_its_stream(void **state)
{
    assert_int_equal(run(state, open_and_close, NULL), 0);
}

struct other {
    td_backend backend;
    _Atomic int ready, got;
};

static int wait_on_other_loop(void *arg)
{
    struct other *other = arg;
    td_signals *signals;

    expect_int(td_signals_open(&signals, (const int[]){SIGUSR2, 0}), 0);
    other->ready = 1;
    expect_int(td_signals_wait(signals, NULL), 0);
    other->got = 1;
    td_signals_close(signals);
    return 0;
}

static void *run_other_loop(void *arg)
{
    struct other *other = arg;

    expect_int(td_run_with(&(td_opts){.backend = other->backend, .stall_after = TD_FOREVER, .keep_signals = true},
                           wait_on_other_loop, other), 0);
    return NULL;
}

static int signal_both(void *arg)
{
    struct other *other = arg;
    td_signals *signals;
    pthread_t thread;

    expect_int(td_signals_open(&signals, (const int[]){SIGUSR2, 0}), 0);
    expect_int(pthread_create(&thread, NULL, run_other_loop, other), 0);
    eventually(other->ready);
    kill(getpid(), SIGUSR2);
    expect_int(td_signals_wait(signals, NULL), 0);
    eventually(other->got);
    pthread_join(thread, NULL);
    td_signals_close(signals);
    return 0;
}

static void loops_of_two_threads_have_the_same_signal(void **state)
{
    struct other other = {.backend = backend_of(state)};

    assert_int_equal(run(state, signal_both, &other), 0);
}

/* What a forked child gets is not the parent's. */
static int fork_with_stream(void *arg)
{
    td_signals *signals;
    td_scope scope;
    pid_t pid;

    expect_int(td_signals_open(&signals, (const int[]){SIGUSR1, 0}), 0);
    pid = fork();
    if (pid == 0) {
        raise(SIGUSR1);
        _exit(0);
    }
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_ms(2)));
    expect_int(td_signals_wait(signals, NULL), -ECANCELED);
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    td_signals_close(signals);
    return 0;
}

static void a_forked_child_s_signals_are_its_own(void **state)
{
    assert_int_equal(run(state, fork_with_stream, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(signals_are_waited_for), ON_BOTH(several_streams_have_each_signal), ON_BOTH(what_cannot_be_had_is_refused),
        ON_BOTH(queued_signals_all_come), ON_BOTH(a_full_stream_says_what_it_lost), ON_BOTH(a_handler_never_outlives_its_stream),
        ON_BOTH(loops_of_two_threads_have_the_same_signal), ON_BOTH(a_forked_child_s_signals_are_its_own),
    };

    return cmocka_run_group_tests_name("signal", tests, NULL, NULL);
}
