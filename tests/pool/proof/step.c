/* SPDX-License-Identifier: MIT */
/*
 * A worker process dies before each single instruction of its way: from its waking for two jobs in its ring, through the
 * first and the second of them, until it has told the pool and is about to sleep again. A tracer, a process of its own, steps
 * it that far and kills it; then the pool must have the right outcome for each job.
 *
 * What the dead worker had done counts, one job at the most is lost with it, and the others are run elsewhere. A neighbour's
 * job, in the pool's other worker, goes on all the while.
 */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>

#include "pool/jobs.h"
#include "pool/pool.h"

#define JOBS 2
#define OUTPUT 200
#define ROUND_NS td_sec(5)    /* then a run of the loop ends: no job and no case may stay for ever, however busy the machine */
#define STEPS_MAX 20000       /* more than the way has */
#define BEATEN_MAX 500
#define SHORT_JOBS 40         /* until the pool believes that jobs are short, and gives several at a time */
#define FUTEX_COMMAND 127
#define FUTEX_WAIT 0

#ifdef __x86_64__

enum word { SEIZE, STEP, LEAVE };

/* What comes of a job that was given to a worker which died. */
enum fate { DONE_THERE, LOST, RUN_ELSEWHERE, UNKNOWN };

/* What the program asks of the tracer, and what that answers. */
struct message {
    enum word word;
    int pid;
    unsigned steps;       /* instructions before the death; and how many there were */
    bool asleep, failed;  /* the way was shorter; tracing is not possible */
    bool beaten;          /* the pool thought that it was stopped, as it often is, and was the first to kill it */
    const struct job *jobs[JOBS];  /* where the program has them */
    enum fate fates[JOBS];  /* what must come of them, by the words that the worker left */
};

/* Seen by the program, its workers and the tracer. */
struct stage {
    _Atomic int over;     /* jobs that have returned, in this attempt */
};

struct parcel {
    struct stage *stage;
    int number;
    _Atomic int begun, pid;
};

static bool stopped(int pid)
{
    int status;

    return waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status);
}

static bool interrupt(int pid)
{
    return ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0 && stopped(pid);
}

/* Stops it where it sleeps. Returns the address of that system call's instruction, or 0. */
static unsigned long long stop_asleep(int pid)
{
    struct user_regs_struct regs;

    if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0)
        return 0;
    for (int tries = 0; tries < 100000; tries++) {
        if (!interrupt(pid) || ptrace(PTRACE_GETREGS, pid, 0, &regs) < 0)
            return 0;
        if (regs.orig_rax == SYS_futex && (regs.rsi & FUTEX_COMMAND) == FUTEX_WAIT)
            return regs.rip - 2;  /* when it goes on, the kernel begins the call again */
        ptrace(PTRACE_CONT, pid, 0, 0);
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
    return 0;
}

static bool about_to_sleep(int pid, unsigned long long call)
{
    struct user_regs_struct regs;

    return ptrace(PTRACE_GETREGS, pid, 0, &regs) == 0 && regs.rip == call && regs.rax == SYS_futex &&
           (regs.rsi & FUTEX_COMMAND) == FUTEX_WAIT;
}

/* Reads the program's memory. */
static bool peek(void *to, const void *at, size_t size)
{
    struct iovec here = {to, size}, there = {(void *)(uintptr_t)at, size};

    return process_vm_readv(getppid(), &here, 1, &there, 1, 0) == (ssize_t)size;
}

/* The worker is dead, and the pool has not been told: whatever the pool does meanwhile, a job has this fate now. */
static enum fate fate_of(const struct job *at)
{
    struct worker_page *page;
    struct job job;
    uint64_t word;

    if (!peek(&job, at, sizeof job) || job.place == PLACE_DONE || (job.place == PLACE_GIVEN && !job.worker))
        return UNKNOWN;  /* it is over already, or just being answered */
    if (job.place != PLACE_GIVEN || !peek(&page, &job.worker->page, sizeof page) ||
        !peek(&word, &page_slot(page, job.ticket)->word, sizeof word))
        return RUN_ELSEWHERE;
    return word_state(word) == JOB_DONE ? DONE_THERE : word_state(word) == JOB_RUNNING ? LOST : RUN_ELSEWHERE;
}

/* Lets it make so many steps, or go to sleep when all is done; then it dies. */
static struct message step_and_kill(struct stage *stage, const struct message *request, unsigned long long call)
{
    struct message answer = {.word = STEP, .fates = {UNKNOWN, UNKNOWN}};
    siginfo_t info;
    int pid = request->pid, status;

    while (answer.steps < request->steps && !answer.asleep) {
        (void)ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
        if (!stopped(pid)) {
            answer.beaten = true;
            return answer;
        }
        answer.steps++;
        answer.asleep = atomic_load(&stage->over) == JOBS && about_to_sleep(pid, call);
    }
    kill(pid, SIGKILL);
    (void)waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | __WALL);
    for (int i = 0; i < JOBS; i++)
        answer.fates[i] = fate_of(request->jobs[i]);
    while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
        ;
    return answer;
}

_Noreturn static void be_tracer(struct stage *stage, int socket)
{
    unsigned long long call = 0;
    struct message request;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (recv(socket, &request, sizeof request, 0) == sizeof request && request.word != LEAVE) {
        struct message answer = {.word = request.word};

        if (request.word == SEIZE) {
            call = stop_asleep(request.pid);
            answer.failed = call == 0;
        } else {
            answer = step_and_kill(stage, &request, call);
        }
        if (send(socket, &answer, sizeof answer, 0) < 0)
            break;
    }
    _exit(0);
}

/* A job. */
static int be_short(void *arg)
{
    struct parcel *parcel = arg;

    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);  /* where only ancestors may trace */
    return atomic_exchange(&parcel->pid, getpid()) < 0;
}

/* A job. */
static int deliver(void *arg)
{
    struct parcel *parcel = arg;
    unsigned char *output;
    size_t size;

    atomic_fetch_add(&parcel->begun, 1);
    output = td_job_output(&size);
    for (size_t i = 0; i < size; i += 64)
        output[i] = (unsigned char)parcel->number;
    atomic_store(&parcel->pid, getpid());
    atomic_fetch_add(&parcel->stage->over, 1);
    return parcel->number;
}

struct world_of_steps {
    struct world w;
    struct stage *stage;
    struct parcel *parcels[JOBS];
    int socket, traced;
    unsigned next, last;      /* the step before which the worker dies next; the last one, once it is known */
    unsigned stride;          /* from one death to the next, in instructions */
    unsigned done;            /* jobs that the worker had done when it died, the last time */
    unsigned deaths[JOBS + 1][2];  /* by how many it had done, and whether one was lost with it */
    unsigned unknown;         /* jobs whose outcome came before the death */
    unsigned beaten;          /* deaths by the pool's hand */
    bool cannot;
};

static struct message ask(struct world_of_steps *s, struct message request)
{
    struct message answer = {.failed = true};

    expect_int(send(s->socket, &request, sizeof request, 0), sizeof request);
    expect_int(td_wait_readable(s->socket), 0);
    expect_int(recv(s->socket, &answer, sizeof answer, 0), sizeof answer);
    return answer;
}

/* The worker that is not in the neighbour's job gets to run; it has been resolved and warmed up then. */
static void find_worker(struct world_of_steps *s)
{
    for (int i = 0; i < SHORT_JOBS; i++)
        expect_int(td_offload(s->w.pool, be_short, s->parcels[0]), 0);
    s->traced = atomic_load(&s->parcels[0]->pid);
}

/* What came of it. */
static enum fate judge(struct world_of_steps *s, struct parcel *parcel, int rc, const td_job_report *report,
                       unsigned char *output)
{
    int begun = atomic_load(&parcel->begun);

    expect_int(td_shared_has(output, OUTPUT), rc >= 0);
    if (rc == -EOWNERDEAD) {
        expect(begun <= 1 && report->deaths == 1 && report->signal == SIGKILL);
        return LOST;
    }
    expect_int(rc, parcel->number);
    expect_int(begun, 1);
    expect_int(report->deaths, 0);
    if (output)
        expect_int(output[OUTPUT / 64 * 64], parcel->number);
    return atomic_load(&parcel->pid) == s->traced ? DONE_THERE : RUN_ELSEWHERE;
}

static void judge_all(struct world_of_steps *s, const struct message *death, td_job jobs[JOBS], td_job_report reports[JOBS],
                      void *outputs[JOBS])
{
    unsigned count[UNKNOWN + 1] = {0};

    for (int i = 0; i < JOBS; i++) {
        enum fate wanted = death->fates[i];
        enum fate fate = judge(s, s->parcels[i], td_job_wait(&jobs[i]), &reports[i], outputs[i]);

        if (wanted != UNKNOWN)
            expect_int(fate, wanted);
        s->unknown += wanted == UNKNOWN;
        count[fate]++;
        td_shared_free(outputs[i]);
    }
    expect(count[LOST] <= 1);
    s->done = count[DONE_THERE];
    s->deaths[s->done][count[LOST]]++;
}

/* One death, `steps` instructions after the worker woke up. */
static void die_after(struct world_of_steps *s, unsigned steps)
{
    struct message request = {.word = STEP, .steps = steps}, answer;
    td_job_report reports[JOBS];
    void *outputs[JOBS];
    td_job jobs[JOBS];
    td_shared_stats memory;
    td_scope scope;

    find_worker(s);
    if (ask(s, (struct message){SEIZE, .pid = s->traced}).failed) {
        s->cannot = true;
        return;
    }
    atomic_store(&s->stage->over, 0);
    td_scope_open(&scope);
    td_scope_collect(&scope);
    for (int i = 0; i < JOBS; i++) {
        const td_offload_opts opts = {.output_bytes = OUTPUT, .output = &outputs[i], .report = &reports[i]};

        atomic_store(&s->parcels[i]->begun, 0);
        atomic_store(&s->parcels[i]->pid, 0);
        expect_int(td_submit(&scope, &jobs[i], s->w.pool, deliver, s->parcels[i], &opts), 0);
    }
    settle();  /* they are in its ring now */
    request.pid = s->traced;
    for (int i = 0; i < JOBS; i++)
        request.jobs[i] = (const struct job *)(const void *)&jobs[i];
    answer = ask(s, request);
    (void)td_scope_join(&scope);
    expect_int(answer.failed, 0);
    judge_all(s, &answer, jobs, reports, outputs);
    s->beaten += answer.beaten;
    if (!answer.beaten)
        s->next += s->stride;
    if (answer.asleep) {
        s->last = answer.steps;
        expect_int(s->done, JOBS);
    }
    td_shared_statistics(&memory);
    expect_int((long long)(memory.owned_bytes + memory.quarantined_bytes), 0);
    expect_int(atomic_load(&s->w.gate->left), 0);
}

static int die_and_die(void *arg)
{
    struct world_of_steps *s = arg;
    struct call neighbour;
    td_scope scope;
    int neighbour_pid;
    td_time end = td_after(ROUND_NS);

    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);  /* the tracer reads the words */
    world_open(&s->w, s->w.state, (td_pool_opts){.workers = 2, .queue = 10});
    td_scope_open(&scope);
    spawn_call(&s->w, &scope, &neighbour, stay_in_gate);
    wait_entered(&s->w, 1);
    neighbour_pid = atomic_load(&s->w.gate->pid);
    for (int i = 0; i < JOBS; i++) {
        s->parcels[i] = td_shared_calloc(1, sizeof *s->parcels[i]);
        s->parcels[i]->stage = s->stage;
        s->parcels[i]->number = 100 + i;
    }
    while (td_now() < end && !s->last && !s->cannot && !complaint.made && s->next < STEPS_MAX)
        die_after(s, s->next);
    open_gate(&s->w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(neighbour.rc, 0);
    expect_int(neighbour.report.deaths, 0);
    expect_int(atomic_load(&s->w.gate->pid), neighbour_pid);
    for (int i = 0; i < JOBS; i++)
        td_shared_free(s->parcels[i]);
    world_close(&s->w);
    return 0;
}

static void a_worker_may_die_before_any_instruction(void **state)
{
    /* What a worker does is the same on both; the pool's side of it has fewer ways. */
    struct world_of_steps s = {.w.state = state, .stride = backend_of(state) == TD_BACKEND_EPOLL ? 1 : 4};

    if (SANITIZED)  /* whose ways are long, and others */
        s.stride *= 64;
    int pair[2], status;
    pid_t tracer;

    if (backend_is_forbidden(state))
        skip();
    s.stage = mmap(NULL, sizeof *s.stage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(s.stage != MAP_FAILED);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    fflush(NULL);
    tracer = fork();
    assert_true(tracer >= 0);
    if (tracer == 0) {
        close(pair[0]);
        be_tracer(s.stage, pair[1]);
    }
    close(pair[1]);
    s.socket = pair[0];
    while (!s.last && !s.cannot && s.next < STEPS_MAX && s.beaten < BEATEN_MAX)
        assert_int_equal(run(state, die_and_die, &s), 0);
    assert_int_equal(send(s.socket, &(struct message){LEAVE}, sizeof(struct message), 0), sizeof(struct message));
    close(s.socket);
    assert_int_equal(waitpid(tracer, &status, 0), tracer);
    munmap(s.stage, sizeof *s.stage);
    if (s.cannot)
        skip();  /* a sandbox that forbids ptrace */
    assert_true(s.last > 0);
    print_message("%u instructions; %u jobs were over before the death; the pool was first %u times\n", s.last, s.unknown,
                  s.beaten);
    for (int i = 0; i <= JOBS; i++)
        print_message("%u deaths when %d jobs were done, %u when one more had begun\n", s.deaths[i][0] + s.deaths[i][1], i,
                      s.deaths[i][1]);
    for (int i = 0; i < JOBS && !SANITIZED; i++)  /* whose steps may pass over one or the other */
        assert_true(s.deaths[i][0] > 0 && s.deaths[i][1] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROCESSES(a_worker_may_die_before_any_instruction),
    };

    return cmocka_run_group_tests_name("pool steps", tests, NULL, NULL);
}

#else

int main(void)
{
    return 77;  /* the tracer reads registers of x86-64 */
}

#endif
