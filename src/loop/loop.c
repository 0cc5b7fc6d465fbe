/* SPDX-License-Identifier: MIT */
#include "loop/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "debug/report.h"
#include "loop/fleet.h"
#include "loop/keep.h"
#include "loop/mask.h"
#include "loop/receive.h"
#include "task/census.h"

#define STALL_AFTER_DEFAULT_NS 25000000
#define LAG_BUCKET_NS 64000
#define TURN_ENDS 128
#define UNSEEN_TIMES 4            /* as long as the watchdog needs to see a stall, with a margin */
#define CROWD 1024                /* timers: from so many on, the loop wakes up */
#define CROWD_EVERY_NS 200000     /* for timers alone no more often than this */

struct loop *loop_current(void)
{
    struct sched *sched = sched_current();

    return sched ? container_of(sched, struct loop, sched) : NULL;
}

static void take_notes(struct loop *loop)
{
    struct loop_note *note, *in_order = NULL;

    fleet_woken(loop);
    note = atomic_exchange(&loop->notes, NULL);
    while (note) {  /* the stack has the newest on top */
        struct loop_note *next = note->next;

        note->next = in_order;
        in_order = note;
        note = next;
    }
    while (in_order) {
        note = in_order;
        in_order = note->next;
        note->receive(note);
    }
}

static int wait_for_notes(struct loop *loop);

static void woken(struct io_op *op, int result)
{
    struct loop *loop = container_of(op, struct loop, wake_op);

    if (result == -ECANCELED || loop->closing) {
        op->file = NULL;  /* the loop closes; a late note may have come before the cancel */
        return;
    }
    take_notes(loop);
    (void)wait_for_notes(loop);  /* only its first time can fail: that is when epoll gets to know the descriptor */
}

/* Returns 0 or a negative errno. */
static int wait_for_notes(struct loop *loop)
{
    loop->wake_op = (struct io_op){.kind = IO_READ, .file = &loop->wake_file, .done = woken, .background = true,
                                   .buffer = {&loop->wake_count, sizeof loop->wake_count}};
    while (loop_io_start(loop, &loop->wake_op)) {
        if (loop->wake_op.result < 0)
            return loop->wake_op.result;
        take_notes(loop);
    }
    return 0;
}

void loop_notify(struct loop *loop, struct loop_note *note)
{
    uint64_t one = 1;
    struct loop_note *top = atomic_load(&loop->notes);

    do
        note->next = top;
    while (!atomic_compare_exchange_weak(&loop->notes, &top, note));
    /* Whoever put the first note on an empty stack wakes the loop; the others find it awake or about to be. */
    if (!top && write(loop->wake_file.fd, &one, sizeof one) < 0)
        assert(errno == EAGAIN);  /* the counter is full, so the loop has been woken */
}

void loop_order(struct loop *loop, enum loop_order order)
{
    int saved = errno;

    if (atomic_fetch_or(&loop->orders, order) == 0)
        loop_notify(loop, &loop->order_note);
    errno = saved;
}

static void declare_deadlock(struct loop *loop);

static void carry_out(struct loop_note *note)
{
    struct loop *loop = container_of(note, struct loop, order_note);
    unsigned orders = atomic_exchange(&loop->orders, 0);  /* from now on the note may be sent again */

    if (orders & LOOP_CANCEL)
        sched_cancel_root(&loop->sched);
    if ((orders & LOOP_DEADLOCK) && !loop->deadlocked && loop->sched.tasks > 0)
        declare_deadlock(loop);
}

static int open_backend(struct loop *loop, td_backend wanted)
{
    const char *why = "";
    int rc;

    if (wanted == TD_BACKEND_SIM) {
        loop->table = &backend_sim;
        return loop->table->open(&loop->backend, &why);
    }
    if (wanted != TD_BACKEND_EPOLL) {
        loop->table = &backend_uring;
        rc = loop->table->open(&loop->backend, &why);
        if (rc == 0)
            return 0;
        if (wanted == TD_BACKEND_URING || (rc != -ENOSYS && rc != -EPERM && rc != -EACCES)) {
            td_log(TD_LOG_ERROR, "cannot set up io_uring: %s: %s", why, strerrordesc_np(-rc));
            return rc;
        }
        td_log(TD_LOG_INFO, "io_uring is not available here (%s: %s); using epoll", why, strerrordesc_np(-rc));
    }
    loop->table = &backend_epoll;
    rc = loop->table->open(&loop->backend, &why);
    if (rc < 0)
        td_log(TD_LOG_ERROR, "cannot set up epoll: %s: %s", why, strerrordesc_np(-rc));
    return rc;
}

static int open_seed(struct loop *loop, uint64_t wanted)
{
    loop->seed = wanted;
    while (loop->seed == 0)
        if (getrandom(&loop->seed, sizeof loop->seed, 0) < 0 && errno != EINTR)
            return -errno;
    dice_seed(&loop->dice, loop->seed, STREAM_PROGRAM);
    return 0;
}

int loop_open(struct loop *loop, const td_opts *opts)
{
    size_t stack_size = opts->stack_size ? opts->stack_size : STACK_SIZE_DEFAULT;
    int rc, fd;

    if (stack_size < STACK_SIZE_MIN || stack_size > STACK_SIZE_MAX) {
        td_log(TD_LOG_ERROR, "a stack of %zu bytes is out of range: choose %d to %d", stack_size, STACK_SIZE_MIN,
               STACK_SIZE_MAX);
        return -EINVAL;
    }
    memset(loop, 0, sizeof *loop);
    list_init(&loop->turn_ends);
    list_init(&loop->pollers);
    list_init(&loop->keeps);
    memcpy(loop->name, "the loop", sizeof "the loop");
    loop->order_note.receive = carry_out;
    loop->keep_signals = opts->keep_signals;
    loop->receive_one_shot = opts->receive_one_shot;
    loop->stall_after_ns = opts->stall_after > 0 ? opts->stall_after : STALL_AFTER_DEFAULT_NS;
    rc = open_seed(loop, opts->seed);
    if (rc == 0)
        rc = sched_open(&loop->sched, stack_size);
    if (rc < 0)
        return rc;
    loop->virtual = opts->virtual_time || opts->backend == TD_BACKEND_SIM;
    loop->virtual_now = CLOCK_VIRTUAL_START;
    if (loop->virtual) {
        clock_adopt(&loop->virtual_now);
        loop->sched.virtual_clock = true;
        timers_init(&loop->sched.timers, loop->virtual_now);
    }
    mask_writers_signals(&loop->signals_before);
    rc = open_backend(loop, opts->backend);
    if (rc < 0)
        goto close_sched;
    loop->stats.backend = loop->table->name;
    if (loop->table->attach)
        loop->table->attach(loop->backend, loop);
    fd = eventfd(0, EFD_CLOEXEC | loop->table->file_flags);
    if (fd < 0) {
        rc = -errno;
        td_log(TD_LOG_ERROR, "cannot set up a loop: eventfd: %s", strerrordesc_np(-rc));
        goto close_backend;
    }
    io_file_init(&loop->wake_file, fd);
    blocking_init(&loop->blocking, loop);
    rc = wait_for_notes(loop);
    if (rc == 0)
        return 0;
    td_log(TD_LOG_ERROR, "cannot wait for other threads: %s", strerrordesc_np(-rc));
    close(fd);

close_backend:
    loop->table->close(loop->backend);
close_sched:
    clock_adopt(NULL);
    mask_restore(&loop->signals_before);
    sched_close(&loop->sched);
    return rc;
}

void loop_close(struct loop *loop)
{
    struct io_sender *sender;

    if (loop->mailboxes > 0)
        fail("%zu mailboxes were not freed before %s ended, and others could still send to it; call td_mailbox_free on every "
             "path", loop->mailboxes, loop->name);
    keeps_close(loop);
    blocking_close(&loop->blocking);  /* before the rest: its threads write to the wake-up file */
    loop->closing = true;
    loop_io_cancel(loop, &loop->wake_op);
    while (loop->wake_op.file && loop->table->poll(loop->backend, TD_FOREVER) == 0)
        ;
    loop_forget(loop, &loop->wake_file);
    loop->table->close(loop->backend);
    while ((sender = loop->senders)) {
        loop->senders = sender->next;
        free(sender);
    }
    close(loop->wake_file.fd);
    take_notes(loop);  /* to tasks that have ended since: what sent them counts on their return */
    clock_adopt(NULL);
    mask_restore(&loop->signals_before);
    sched_close(&loop->sched);
}

void loop_at_turn_end(struct loop *loop, struct turn_end *end)
{
    if (!list_linked(&end->link))
        list_push_back(&loop->turn_ends, &end->link);
}

/* A bounded number: a broadcast to thousands is many writes, and timers and I/O are to have their turn in between. */
static void run_turn_ends(struct loop *loop)
{
    struct td_list *link;

    for (int n = 0; n < TURN_ENDS && (link = list_pop_front(&loop->turn_ends)); n++) {
        struct turn_end *end = container_of(link, struct turn_end, link);

        end->run(end);
    }
}

/* Nobody can make any task ready any more: say who waits for what, and end all waits. */
static void declare_deadlock(struct loop *loop)
{
    if (loop->deadlocked)
        fail("deadlock: %zu tasks wait on although they were cancelled: to lock a mutex again after a condition, maybe; "
             "otherwise this is a defect of the library", loop->sched.tasks);
    loop->deadlocked = true;
    if (loop->fleet && loop->fleet->count > 1)
        td_log(TD_LOG_ERROR, "deadlock: all %zu tasks of %s wait for each other or for another loop, and nothing else is "
               "pending", loop->sched.tasks, loop->name);
    else
        td_log(TD_LOG_ERROR, "deadlock: all %zu tasks wait for each other and nothing else is pending", loop->sched.tasks);
    report_to_log(loop);
    sched_cancel(&loop->sched);
}

/* Nothing can go on without a timer, a completion or a note. */
static bool nothing_is_ready(const struct loop *loop)
{
    return !loop->sched.ready && list_empty(&loop->turn_ends) && loop->sched.tasks > 0;
}

/*
 * With thousands of timers a few microseconds apart, a wake-up for each would cost several times what the tasks do
 * (decision 20): they are gathered.
 */
static td_time gathered(const struct loop *loop, td_time next)
{
    td_time allowed = loop->timers_fired_at + CROWD_EVERY_NS;

    return loop->sched.timers.count >= CROWD && next < allowed ? allowed : next;
}

static td_time wait_time(struct loop *loop, td_time now)
{
    td_time next;

    if (!nothing_is_ready(loop))
        return 0;
    next = timers_next(&loop->sched.timers);
    if (next == TD_FOREVER && loop->io_pending == 0 && loop->outside_pending == 0 && !fleet_may_wake(loop)) {
        declare_deadlock(loop);
        return 0;
    }
    if (!loop->virtual && next > now) {
        census_sweep(&loop->sched, now);  /* nothing better to do */
        next = next < census_due(&loop->sched) ? next : census_due(&loop->sched);
        next = gathered(loop, next);
    }
    return next == TD_FOREVER ? TD_FOREVER : next > now ? next - now : 0;
}

/* Tells of a long stall that the watchdog had no chance to see, because it was held up too. */
static void tell_of_stall(struct loop *loop, td_time length)
{
    if (!atomic_exchange_explicit(&loop->stall_seen, false, memory_order_relaxed) && length / UNSEEN_TIMES > loop->stall_after_ns)
        td_log(TD_LOG_WARNING, "%s was held for %.0f ms, and nobody could look meanwhile: the process was stopped, or not "
               "scheduled by the kernel", loop->name, (double)length / 1e6);
}

static void measure_turn(struct loop *loop, td_time length)
{
    unsigned bucket = 0;

    loop->stats.turns++;
    loop->stats.lag_sum_ns += length;
    while (bucket < 15 && length > ((td_time)LAG_BUCKET_NS << bucket))
        bucket++;
    loop->stats.lag_bucket[bucket]++;
    if (length > loop->stall_after_ns) {
        loop->stats.stalls++;
        loop->stats.stalled_ns += length;
        tell_of_stall(loop, length);
    }
}

/*
 * Virtual time on a real backend: the clock stands while anything moves, and jumps to the next timer when nothing
 * does. A job in a pool is not in our time: it is waited for as long as the timer is away, and the clock stands. So a
 * job is done "at once", and yet one that hangs meets its deadline.
 */
static int poll_virtual(struct loop *loop)
{
    td_time asked, wait_ns;
    int rc, looks = 0;

    do  /* twice, because a completion may follow from what the first look submitted */
        rc = loop->table->poll(loop->backend, 0);
    while (rc == 0 && ++looks < 2 && nothing_is_ready(loop));
    wait_ns = wait_time(loop, loop->virtual_now);
    if (rc < 0 || wait_ns == 0)
        return rc;
    if (wait_ns == TD_FOREVER)
        return loop->table->poll(loop->backend, TD_FOREVER);
    if (loop->outside_pending > 0 && wait_ns > loop->stood_ns) {
        asked = clock_real();
        rc = loop->table->poll(loop->backend, wait_ns - loop->stood_ns);
        loop->stood_ns += clock_real() - asked;
        if (rc < 0 || loop->stood_ns < wait_ns)
            return rc;
    }
    loop->virtual_now += wait_ns;
    loop->stood_ns = 0;
    return 0;
}

static void fire_timers(struct loop *loop)
{
    td_time now = td_now();

    if (timers_fire(&loop->sched.timers, now))
        loop->timers_fired_at = now;
}

int loop_run(struct loop *loop)
{
    td_time turn_began = clock_real(), now;
    bool settled;
    int rc;

    while (loop->sched.tasks > 0) {
        atomic_store_explicit(&loop->busy_since, turn_began, memory_order_relaxed);
        sched_run(&loop->sched);
        if (!list_empty(&loop->pollers))
            (void)loop_look(loop);
        fire_timers(loop);
        run_turn_ends(loop);
        now = clock_real();
        measure_turn(loop, now - turn_began);
        probe2(loop_turn, loop, now - turn_began);
        atomic_store_explicit(&loop->busy_since, 0, memory_order_relaxed);
        if (!list_empty(&loop->pollers) && nothing_is_ready(loop))
            settled = loop_settle(loop, timers_next(&loop->sched.timers));
        else
            settled = true;
        if (!settled)
            rc = loop->table->poll(loop->backend, 0);
        else if (loop->virtual && loop->table != &backend_sim)  /* that one moves the clock itself */
            rc = poll_virtual(loop);
        else
            rc = loop->table->poll(loop->backend, wait_time(loop, loop->virtual ? loop->virtual_now : now));
        if (rc == -EDEADLK)
            declare_deadlock(loop);
        else if (rc < 0)
            fail("the %s backend failed: %s", loop->table->name, strerrordesc_np(-rc));
        fleet_woken(loop);
        turn_began = clock_real();
    }
    return loop->deadlocked ? -EDEADLK : 0;
}

bool loop_io_start(struct loop *loop, struct io_op *op)
{
    if (loop->sched.forked) {
        op->result = -EOWNERDEAD;
        return true;
    }
    list_init(&op->link);
    op->cancelled = op->held = false;
    op->pending = op->background ? NULL : &loop->io_pending;
    if (loop->table->start(loop->backend, op))
        return true;
    if (op->pending)
        ++*op->pending;
    return false;
}

void loop_io_cancel(struct loop *loop, struct io_op *op)
{
    if (op->cancelled)
        return;
    op->cancelled = true;
    if (loop->sched.forked)
        io_finish(op, -EOWNERDEAD);  /* the parent goes on with its copy of it */
    else
        loop->table->cancel(loop->backend, op);
}

struct task_io {
    struct wait wait;
    struct io_op *op;
    struct td_task *task;
};

static void task_io_done(struct io_op *op, int result)
{
    struct task_io *io = op->owner;

    task_unpark(io->task, result);
}

static void task_io_abort(struct wait *wait)
{
    struct task_io *io = container_of(wait, struct task_io, wait);

    loop_io_cancel(loop_of(io->task), io->op);
}

int loop_io(struct td_task *self, struct io_op *op, const char *what)
{
    struct task_io io = {.wait = {op->to_the_end ? NULL : task_io_abort, what, 0}, .op = op, .task = self};
    int rc = task_checkpoint(self);

    if (rc < 0 && !op->to_the_end)
        return rc;
    op->done = task_io_done;
    op->owner = &io;
    op->background = false;
    if (loop_io_start(loop_of(self), op)) {
        if (op->kind >= IO_CALLS && op->result == -ENOSYS)
            return blocking_run(&loop_of(self)->blocking, self, op, what);
        return op->result;
    }
    return task_park(self, &io.wait);
}

void loop_forget(struct loop *loop, struct io_file *file)
{
    if (!loop->sched.forked)
        loop->table->forget(loop->backend, file);
}

void td_loop_statistics(td_loop_stats *stats)
{
    struct loop *loop = loop_of(task_self(__func__));

    *stats = loop->stats;
    stats->tasks = loop->sched.tasks;
    stats->switches = atomic_load_explicit(&loop->sched.switches, memory_order_relaxed);
}

void td_blocking_statistics(td_blocking_stats *stats)
{
    blocking_statistics(&loop_of(task_self(__func__))->blocking, stats);
}
