/* SPDX-License-Identifier: MIT */
#include "debug/inspect.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define NOTE_PATIENCE_NS 100000000
#define SIGNAL_PATIENCE_NS 2000000000   /* on a busy machine; it is answered when the thread next runs */
#define FRAMES_PATIENCE_NS 50000000

enum { REQUEST_NONE, REQUEST_TREE, REQUEST_FRAMES, REQUEST_TAKEN };

static bool take(struct inspected *inspected, int request)
{
    return atomic_compare_exchange_strong(&inspected->request, &request, REQUEST_TAKEN);
}

static void answered(struct inspected *inspected)
{
    atomic_store(&inspected->request, REQUEST_NONE);
    sem_post(&inspected->answered);
}

/* On which stack the registers are: the current task's, or the thread's. In the middle of a switch it is neither. */
static void write_frames(struct inspected *inspected, const struct registers *registers)
{
    struct sched *sched = &inspected->loop->sched;
    const struct td_task *task = atomic_load_explicit(&sched->current, memory_order_relaxed);
    uintptr_t sp = registers->at[UNWIND_SP], low = inspected->low, high = inspected->high;

    if (task && sp >= (uintptr_t)task->stack.low && sp < (uintptr_t)task) {
        low = (uintptr_t)task->stack.low;
        high = (uintptr_t)task;
    }
    if (sp < low || sp >= high)
        low = high = sp;
    inspected->frames_count = unwind(registers, (void *)low, (void *)high, inspected->frames, FRAMES_MAX);
}

static void write_tree(struct inspected *inspected, const struct registers *registers, bool is_checked)
{
    inspected->tree.running = registers;
    inspected->tree.is_checked = is_checked;
    tree_write(&inspected->tree);
    inspected->tree.running = NULL;
}

static void asked_by_note(struct loop_note *note)
{
    struct inspected *inspected = container_of(note, struct inspected, note);

    atomic_store(&inspected->note_is_out, false);
    if (!take(inspected, REQUEST_TREE))
        return;  /* it came too late, and was answered otherwise */
    write_tree(inspected, NULL, false);
    answered(inspected);
}

/* A tree needs more stack than a task may have left: without the alternate one the asker has to look from outside. */
static bool is_on_alternate_stack(void)
{
    stack_t stack;

    return sigaltstack(NULL, &stack) == 0 && (stack.ss_flags & SS_ONSTACK);
}

static void interrupted(int signal, siginfo_t *info, void *context)
{
    int saved = errno;
    struct loop *loop = loop_current();
    struct inspected *inspected = loop ? loop->inspected : NULL;
    struct registers registers;

    (void)signal;
    (void)info;
    if (inspected) {
        registers_of_signal(&registers, context);
        if (is_on_alternate_stack() && take(inspected, REQUEST_TREE)) {
            write_tree(inspected, &registers, true);
            answered(inspected);
        } else if (take(inspected, REQUEST_FRAMES)) {
            write_frames(inspected, &registers);
            answered(inspected);
        }
    }
    errno = saved;
}

int inspect_signal_open(void)
{
    struct sigaction action = {.sa_sigaction = interrupted, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART}, before;

    sigfillset(&action.sa_mask);
    for (int signal = SIGRTMAX - 1; signal >= SIGRTMIN; signal--) {
        if (sigaction(signal, NULL, &before) < 0 || (before.sa_flags & SA_SIGINFO) || before.sa_handler != SIG_DFL)
            continue;
        if (sigaction(signal, &action, NULL) == 0)
            return signal;
    }
    return 0;
}

void inspect_signal_close(int signal)
{
    struct sigaction standard = {.sa_handler = SIG_IGN};

    if (!signal)
        return;
    sigaction(signal, &standard, NULL);  /* drops what may still be under way, of which the default is death */
    standard.sa_handler = SIG_DFL;
    sigaction(signal, &standard, NULL);
}

void inspect_attach(struct inspected *inspected, struct loop *loop, int signal)
{
    pthread_attr_t attr;
    void *low = NULL;
    size_t size = 0;
    sigset_t set;

    memset(inspected, 0, sizeof *inspected);
    inspected->loop = loop;
    inspected->thread = pthread_self();
    inspected->tid = gettid();
    inspected->signal = signal;
    inspected->note.receive = asked_by_note;
    sem_init(&inspected->answered, 0, 0);
    if (pthread_getattr_np(inspected->thread, &attr) == 0) {
        pthread_attr_getstack(&attr, &low, &size);
        pthread_attr_destroy(&attr);
    }
    inspected->low = (uintptr_t)low;
    inspected->high = (uintptr_t)low + size;
    loop->inspected = inspected;
    if (!signal)
        return;
    sigemptyset(&set);
    sigaddset(&set, signal);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void inspect_detach(struct inspected *inspected)
{
    inspected->loop->inspected = NULL;
    sem_destroy(&inspected->answered);
}

static bool wait_for_answer(struct inspected *inspected, td_time patience_ns)
{
    td_time at = clock_real() + patience_ns;
    struct timespec until = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};
    int rc;

    do
        rc = sem_clockwait(&inspected->answered, CLOCK_MONOTONIC, &until);
    while (rc < 0 && errno == EINTR);
    /* What `answered` stored there orders the answer before us, for ThreadSanitizer too: it does not know sem_clockwait. */
    (void)atomic_load(&inspected->request);
    return rc == 0;
}

/* Interrupts the thread. False: it did not answer in time, and the request is the asker's again. */
static bool ask_by_signal(struct inspected *inspected, int request, td_time patience_ns)
{
    if (inspected->signal && pthread_kill(inspected->thread, inspected->signal) == 0 &&
        wait_for_answer(inspected, patience_ns))
        return true;
    if (take(inspected, request))
        return false;
    while (!wait_for_answer(inspected, SIGNAL_PATIENCE_NS))
        ;  /* it answers at this moment */
    return true;
}

enum inspected_how inspect_tree(struct inspected *inspected, struct tree_room *room)
{
    struct registers registers;
    struct thread_look look;

    inspected->tree = (struct tree){.sched = &inspected->loop->sched, .room = room};
    atomic_store(&inspected->request, REQUEST_TREE);
    if (!atomic_exchange(&inspected->note_is_out, true))  /* else it has one from the last time, when it was stuck */
        loop_notify(inspected->loop, &inspected->note);
    if (wait_for_answer(inspected, NOTE_PATIENCE_NS))
        return INSPECTED_BY_NOTE;
    thread_look(inspected->tid, &look);
    if (look.is_in_call) {
        if (!take(inspected, REQUEST_TREE)) {
            while (!wait_for_answer(inspected, SIGNAL_PATIENCE_NS))
                ;
            return INSPECTED_BY_NOTE;
        }
    } else if (ask_by_signal(inspected, REQUEST_TREE, SIGNAL_PATIENCE_NS)) {
        return INSPECTED_BY_SIGNAL;
    }
    registers_of_look(&registers, &look);
    write_tree(inspected, look.is_in_call ? &registers : NULL, true);
    atomic_store(&inspected->request, REQUEST_NONE);
    return INSPECTED_FROM_OUTSIDE;
}

void inspect_frames(struct inspected *inspected, const struct thread_look *look)
{
    struct registers registers;

    inspected->frames_count = 0;
    if (look->is_in_call) {
        registers_of_look(&registers, look);
        write_frames(inspected, &registers);
        return;
    }
    atomic_store(&inspected->request, REQUEST_FRAMES);
    if (!ask_by_signal(inspected, REQUEST_FRAMES, FRAMES_PATIENCE_NS))
        atomic_store(&inspected->request, REQUEST_NONE);
}
