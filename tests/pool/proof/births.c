/* SPDX-License-Identifier: MIT */
/*
 * The zygote dies at each step of forking a worker, and the newborn at each step of its birth: before and after every system
 * call, from the request until the zygote waits for the next one, and from the fork until the worker sleeps for want of
 * jobs. What either does between two calls, nobody else can see. So the library needs no marks where to die: a tracer
 * knows them all.
 *
 * Jobs wait for that worker, and more of them than there is room for, under each policy; a neighbour's job runs on. Each
 * has its one outcome, what was refused never ran, and in the end there are as many processes as before.
 */
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/user.h>

#include "pool/jobs.h"

#define CALLS 4
#define ROOM 2                /* of them, under TD_REJECT and TD_DROP_OLDEST */
#define STOPS_MAX 1000        /* more than either way has */
#define STOPS_ROUND 40        /* deaths that one run of the loop sees */
#define FUTEX_COMMAND 127
#define FUTEX_WAIT 0

#ifdef __x86_64__

enum victim { ZYGOTE, NEWBORN };

/* What the program asks of the tracer, and what that answers: first that it watches, then that the victim is dead. */
struct message {
    int zygote;
    enum victim victim;
    unsigned stops;        /* before the death */
    bool at_end, failed;   /* that was the last stop of its way; tracing is not possible */
};

static bool wait_stopped(int pid, int *status)
{
    return waitpid(pid, status, __WALL) == pid && WIFSTOPPED(*status);
}

/* Attaches to it where it waits for a request, and lets it wait on. */
static bool watch(int zygote)
{
    const long options = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACESYSGOOD;
    struct user_regs_struct regs;
    int status;

    if (ptrace(PTRACE_SEIZE, zygote, 0, options) < 0)
        return false;
    for (int tries = 0; tries < 100000; tries++) {
        if (ptrace(PTRACE_INTERRUPT, zygote, 0, 0) < 0 || !wait_stopped(zygote, &status) ||
            ptrace(PTRACE_GETREGS, zygote, 0, &regs) < 0)
            return false;
        if (regs.orig_rax == SYS_recvmsg)
            break;
        ptrace(PTRACE_CONT, zygote, 0, 0);
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
    /* The kernel begins the interrupted call again, which is a stop of its own. */
    return ptrace(PTRACE_SYSCALL, zygote, 0, 0) == 0 && wait_stopped(zygote, &status) &&
           ptrace(PTRACE_SYSCALL, zygote, 0, 0) == 0;
}

static void kill_and_reap(int pid)
{
    int status;

    kill(pid, SIGKILL);
    while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
        ;
}

/* The worker that the zygote has just forked, stopped; 0: there is none. */
static int newborn_of(int zygote, int status)
{
    unsigned long child = 0;
    int event = status >> 16, stop;

    if (event != PTRACE_EVENT_CLONE && event != PTRACE_EVENT_FORK)
        return 0;
    if (ptrace(PTRACE_GETEVENTMSG, zygote, 0, &child) < 0 || !wait_stopped((int)child, &stop))
        return 0;
    return (int)child;
}

/* Whether it is about to wait for what comes next, at the end of its way. */
static bool about_to_wait(int pid, enum victim victim)
{
    struct user_regs_struct regs;

    if (ptrace(PTRACE_GETREGS, pid, 0, &regs) < 0 || regs.rax != (unsigned long long)-ENOSYS)  /* no entry into a call */
        return false;
    if (victim == ZYGOTE)
        return regs.orig_rax == SYS_recvmsg;
    return regs.orig_rax == SYS_futex && (regs.rsi & FUTEX_COMMAND) == FUTEX_WAIT;
}

/* Waits for its stops until the one that it is to die at. */
static struct message trace_and_kill(const struct message *request)
{
    struct message answer = {.victim = request->victim};
    int traced = request->zygote, status;

    for (;;) {
        int newborn;

        if (!wait_stopped(traced, &status)) {
            answer.failed = true;
            return answer;
        }
        newborn = traced == request->zygote ? newborn_of(traced, status) : 0;
        if (newborn && request->victim == NEWBORN) {
            ptrace(PTRACE_DETACH, traced, 0, 0);
            ptrace(PTRACE_SYSCALL, newborn, 0, 0);
            traced = newborn;
            continue;
        }
        if (newborn)
            ptrace(PTRACE_DETACH, newborn, 0, 0);
        if (request->victim == ZYGOTE || traced != request->zygote) {
            answer.at_end = about_to_wait(traced, request->victim);
            if (answer.at_end || answer.stops == request->stops)
                break;
            answer.stops++;
        }
        ptrace(PTRACE_SYSCALL, traced, 0, 0);
    }
    kill_and_reap(traced);
    return answer;
}

_Noreturn static void be_tracer(int socket)
{
    struct message request, answer;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (recv(socket, &request, sizeof request, 0) == sizeof request) {
        answer = (struct message){.failed = !watch(request.zygote)};
        if (send(socket, &answer, sizeof answer, 0) < 0 || answer.failed)
            break;
        answer = trace_and_kill(&request);
        if (send(socket, &answer, sizeof answer, 0) < 0)
            break;
    }
    _exit(0);
}

struct nursery {
    struct world w;
    td_when_full policy;
    enum victim victim;
    int socket;
    unsigned next, deaths;    /* the stop that the victim dies at next; and all of them */
    bool at_end, cannot;
};

static bool hear(struct nursery *n, struct message *answer)
{
    *answer = (struct message){.failed = true};
    expect_int(td_wait_readable(n->socket), 0);
    (void)!recv(n->socket, answer, sizeof *answer, 0);
    return !answer->failed;
}

static int only(const char *name)
{
    int pids[CHILDREN_MAX];

    eventually(children_list(getpid(), name, pids) == 1);
    return pids[0];
}

/* Another job than the neighbour's, so by the other worker. */
static int tell_pid(void *arg)
{
    *(_Atomic int *)arg = getpid();
    return 0;
}

static int other_worker(struct nursery *n)
{
    _Atomic int *pid = td_shared_calloc(1, sizeof *pid);
    int found;

    expect_int(td_offload_with(n->w.pool, tell_pid, (void *)pid, &(td_offload_opts){.when_full = TD_WAIT}), 0);
    found = *pid;
    td_shared_free((void *)pid);
    return found;
}

static void judge(struct nursery *n, const struct call calls[CALLS], int passed_before)
{
    int ok = 0, refused = 0;

    for (int i = 0; i < CALLS; i++) {
        expect_int(calls[i].ends, 1);
        ok += calls[i].rc == 0 && !calls[i].report.refusal;
        refused += calls[i].rc == -EBUSY && calls[i].report.refusal && !calls[i].report.ran_ns;
    }
    expect_int(ok + refused, CALLS);
    expect_int(ok, n->policy == TD_WAIT ? CALLS : ROOM);
    expect_int(atomic_load(&n->w.gate->entered), passed_before + ok);
}

/* One worker dies, so that another is born; and one of those concerned dies at its nth stop. */
static void give_birth(struct nursery *n, unsigned stops)
{
    struct call calls[CALLS];
    struct message answer;
    int worker = other_worker(n), entered = atomic_load(&n->w.gate->entered);
    struct message request = {only("tandem-zygote"), n->victim, .stops = stops};
    td_scope scope;

    expect_int(send(n->socket, &request, sizeof request, 0), sizeof request);
    if (!hear(n, &answer)) {
        n->cannot = true;
        return;
    }
    td_scope_open(&scope);
    kill(worker, SIGKILL);
    while (stats_of(&n->w).deaths == n->deaths)
        td_yield();
    for (int i = 0; i < CALLS; i++)
        spawn_call(&n->w, &scope, &calls[i], pass_gate);
    expect(hear(n, &answer));
    expect_int(td_scope_join(&scope), 0);
    judge(n, calls, entered);
    n->at_end = answer.at_end;
    (void)other_worker(n);  /* there is one again, and after it no death is to come */
    n->deaths = (unsigned)stats_of(&n->w).deaths;
    expect_int(atomic_load(&n->w.gate->left), atomic_load(&n->w.gate->entered) - 1);  /* all but the neighbour */
}

/* There is one, so that a worker is born only when it has told. */
static int init(void *arg)
{
    return arg != NULL;
}

static int be_nursery(void *arg)
{
    struct nursery *n = arg;
    struct call neighbour;
    td_scope scope;

    n->deaths = 0;
    world_open(&n->w, n->w.state, (td_pool_opts){.workers = 2, .queue = ROOM - 1, .when_full = n->policy,
                                                  .worker_init = init});
    td_scope_open(&scope);
    spawn_call(&n->w, &scope, &neighbour, stay_in_gate);
    wait_entered(&n->w, 1);
    for (int i = 0; i < STOPS_ROUND && !n->at_end && !n->cannot && !complaint.made; i++)
        give_birth(n, n->next++);
    open_gate(&n->w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(neighbour.rc, 0);
    expect_int(neighbour.report.deaths, 0);
    world_close(&n->w);
    return 0;
}

static void die_at_each_stop(void **state, enum victim victim)
{
    int pair[2], status;
    pid_t tracer;

    if (backend_is_forbidden(state))
        skip();
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    fflush(NULL);
    tracer = fork();
    assert_true(tracer >= 0);
    if (tracer == 0) {
        close(pair[0]);
        be_tracer(pair[1]);
    }
    close(pair[1]);
    for (td_when_full policy = TD_WAIT; policy <= TD_DROP_OLDEST; policy++) {
        struct nursery n = {.w.state = state, .policy = policy, .victim = victim, .socket = pair[0]};

        while (!n.at_end && !n.cannot && n.next < STOPS_MAX)
            assert_int_equal(run(state, be_nursery, &n), 0);
        if (n.cannot)
            skip();  /* a sandbox that forbids ptrace */
        print_message("policy %d: %u deaths\n", (int)policy, n.next);
        assert_true(n.at_end && n.next > 8);
    }
    close(pair[0]);
    assert_int_equal(waitpid(tracer, &status, 0), tracer);
}

static void the_zygote_may_die_at_each_step_of_a_fork(void **state)
{
    die_at_each_stop(state, ZYGOTE);
}

static void a_newborn_may_die_at_each_step_of_its_birth(void **state)
{
    die_at_each_stop(state, NEWBORN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROCESSES(the_zygote_may_die_at_each_step_of_a_fork),
        WITH_PROCESSES(a_newborn_may_die_at_each_step_of_its_birth),
    };

    return cmocka_run_group_tests_name("pool births", tests, NULL, NULL);
}

#else

int main(void)
{
    return 77;  /* the tracer reads registers of x86-64 */
}

#endif
