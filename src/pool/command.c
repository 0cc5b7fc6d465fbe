/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. `busy` exactly while a message was sent that is not answered; then a slot of the page is RUNNING with
 * `word`. 2. The poll is under way (`listening`), or `again` or `farewell` is due, or the worker is being killed. 3. A command
 * without a worker waits for its poll to end, and is a grave to its pool until then.
 */
#include "pool/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pool/limits.h"
#include "pool/zygote_wire.h"
#include "shared/arena.h"
#include "tandem/error.h"
#include "tandem/log.h"

#define OP_MARK (UINT64_C(0xfade) << 48)  /* no address of a function looks like that */
#define FAREWELL_NS 1000000000
#define MESSAGE_ROOM 64                   /* more than any message from a worker has, so that a longer one is seen */

struct command {
    td_pool *pool;
    struct worker *worker;       /* NULL once it is dead */
    struct io_file file;         /* our end */
    struct io_op op;
    struct turn_end again;       /* there is something to read already */
    struct td_timer farewell;    /* it has closed its end, and may take so long to die */
    int far_end;                 /* -1 once the worker has it */
    bool listening, ready, busy, distrusted;
    uint64_t serial;             /* of the message it has, or had last */
    uint64_t ticket, word;       /* of the job in the page */
    uint32_t item;               /* of its items, the one that runs */
    int rc;                      /* of those before it */
};

td_fn td_op(unsigned number)
{
    return (td_fn)(uintptr_t)(OP_MARK | number);  /* NOLINT: the pool never calls it */
}

bool command_fits(const td_pool *pool, td_fn fn)
{
    bool is_op = ((uint64_t)(uintptr_t)fn & ~(uint64_t)UINT32_MAX) == OP_MARK;

    return fn && is_op == (pool->opts.command != NULL);
}

size_t command_bytes(const char *const *arguments)
{
    size_t bytes = 0;

    for (; arguments && *arguments && bytes <= COMMAND_BYTES_MAX; arguments++)
        bytes += strlen(*arguments) + 1;
    return bytes <= COMMAND_BYTES_MAX ? bytes : 0;
}

void command_write(char *text, const char *const *arguments)
{
    for (; *arguments; arguments++) {
        size_t bytes = strlen(*arguments) + 1;

        memcpy(text, *arguments, bytes);
        text += bytes;
    }
}

char **command_arguments(char *text, size_t bytes)
{
    size_t count = 0;
    char **arguments;

    for (size_t at = 0; at < bytes; at++)
        count += text[at] == '\0';
    arguments = calloc(count + 1, sizeof *arguments);
    if (!arguments)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        arguments[i] = text;
        text += strlen(text) + 1;
    }
    return arguments;
}

static void look_again(struct turn_end *again);
static void still_there(struct td_timer *timer);

int command_open(struct worker *worker, struct command **out)
{
    struct command *command = calloc(1, sizeof *command);
    int pair[2], rc;

    if (!command)
        return -ENOMEM;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        rc = -errno;
        free(command);
        return rc;
    }
    command->pool = worker->pool;
    command->worker = worker;
    command->far_end = pair[1];
    list_init(&command->again.link);
    command->again.run = look_again;
    timer_init(&command->farewell, still_there);
    io_file_init(&command->file, pair[0]);
    *out = command;
    return 0;
}

bool command_distrusted(const struct command *command)
{
    return command->distrusted;
}

int command_far_end(const struct command *command)
{
    return command->far_end;
}

static void bury(struct command *command)
{
    list_remove(&command->again.link);
    loop_forget(command->pool->loop, &command->file);
    close(command->file.fd);
    if (command->far_end >= 0)
        close(command->far_end);
    free(command);
}

void command_close(struct command *command)
{
    command->worker = NULL;
    timers_disarm(&command->pool->loop->sched.timers, &command->farewell);
    if (!command->listening) {
        bury(command);
        return;
    }
    command->pool->graves++;
    loop_io_cancel(command->pool->loop, &command->op);  /* message_came follows, or came */
}

void command_hang_up(struct command *command)
{
    shutdown(command->file.fd, SHUT_WR);
}

/* The worker does not keep to what it was told: it is of no use any more, and may be of harm. */
static void distrust(struct command *command, const char *why)
{
    struct worker *worker = command->worker;

    td_log(TD_LOG_ERROR, "%s: worker %u (pid %d) %s; ending it", pool_name(command->pool), worker->index, (int)worker->pid,
           why);
    command->distrusted = true;
    if (worker->phase == WORKER_BUSY || worker->phase == WORKER_IDLE)
        worker_kill(worker, 0, TD_DEATH_CORRUPT);
    else if (worker->phase != WORKER_DYING)
        worker->pool->kind->kill(worker);
}

static void still_there(struct td_timer *timer)
{
    distrust(container_of(timer, struct command, farewell),
             "has closed its socket (an empty message looks the same), and does not end");
}

/* A process that ends closes its socket first, a moment before we are told of its death and of the cause. */
static void expect_death(struct command *command)
{
    if (!command->farewell.armed)
        timers_arm(&command->pool->loop->sched.timers, &command->farewell, td_after(FAREWELL_NS));
}

static void fill_argument(const struct arena *arena, const struct job_slot *slot, unsigned flags, uint32_t item,
                          struct command_job *job)
{
    void *block;
    size_t size;

    if (flags & JOB_ITEMS) {
        job->arg = td_shared_offset(slot->items) + (uint64_t)item * slot->size;
        job->arg_size = slot->size;
        return;
    }
    if (slot->items && (size = arena_pin((struct arena *)arena, slot->items, 1, &block)) > 0) {
        arena_unpin((struct arena *)arena, block);
        job->arg = td_shared_offset(slot->items);
        job->arg_size = (uint64_t)((char *)block + size - slot->items);
    }
    if (slot->extra) {
        job->output = td_shared_offset(slot->extra);
        job->output_size = slot->size;
    }
}

/* When the worker is dead already, what comes of the job is decided when that is noticed. */
static void send_call(struct command *command)
{
    struct job_slot *slot = page_slot(command->worker->page, command->ticket);
    struct command_job job = {.ticket = ++command->serial, .op = (uint32_t)(uintptr_t)slot->fn};
    int rc;

    fill_argument(arena_current(), slot, word_flags(command->word), command->item, &job);
    rc = wire_send(command->file.fd, &job, sizeof job, NULL, 0, MSG_DONTWAIT);
    if (rc == -EPIPE || rc == -ECONNRESET) {
        if (command->item == 0 && slot_move(slot, word_with(command->word, JOB_RUNNING), command->word))
            command->busy = false;  /* it never got to know of the job: another will */
        expect_death(command);
    } else if (rc < 0) {
        distrust(command, "takes no message");
    }
}

void command_give(struct command *command)
{
    struct worker *worker = command->worker;
    struct job_slot *slot = page_slot(worker->page, worker->head);
    uint64_t ready = atomic_load(&slot->word);

    if (command->busy || command->distrusted || word_state(ready) != JOB_READY || !slot_begin(slot, ready))
        return;
    command->busy = true;
    command->ticket = worker->head;
    command->word = ready;
    command->item = 0;
    command->rc = 0;
    if (worker->pool->opts.cpu_max_ns)
        (void)limits_cpu(worker->pid, worker->pool->opts.cpu_max_ns);
    atomic_store(&slot->started, td_now());
    send_call(command);
}

static void end_job(struct command *command, struct job_slot *slot, int rc)
{
    command->busy = false;
    atomic_store(&slot->ended, td_now());
    slot_end(slot, command->word, rc);
    pool_worker_done(command->worker);
}

/* What page.c does with the items of a map, spread over messages. */
static void next_item(struct command *command, struct job_slot *slot, int one)
{
    int *results = (int *)(void *)slot->extra;
    bool collect = word_flags(command->word) & JOB_COLLECT;

    if (results)
        results[command->item] = one;
    command->item++;
    if (one < 0 && !collect)
        end_job(command, slot, one);
    else if (command->item == slot->count)
        end_job(command, slot, one < 0 ? command->rc : one);
    else if (word_flags(atomic_load(&slot->word)) & JOB_ASKED)
        end_job(command, slot, -ECANCELED);
    else {
        command->rc = one < 0 ? command->rc : one;
        send_call(command);
    }
}

static bool take_done(struct command *command, const void *message, size_t size)
{
    struct job_slot *slot = page_slot(command->worker->page, command->ticket);
    struct command_done done;

    if (size != sizeof done)
        return false;
    memcpy(&done, message, sizeof done);
    if (!command->busy || done.ticket != command->serial)
        return false;
    if (word_flags(command->word) & JOB_ITEMS)
        next_item(command, slot, done.rc);
    else
        end_job(command, slot, done.rc);
    return true;
}

static bool take_ready(struct command *command, const void *message, size_t size)
{
    struct worker *worker = command->worker;
    struct command_ready ready;
    int rc;

    if (size != sizeof ready)
        return false;
    memcpy(&ready, message, sizeof ready);
    if (ready.magic != COMMAND_MAGIC || ready.version != COMMAND_VERSION)
        return false;
    if (worker->pool->opts.memory_max && (rc = limits_memory(worker->pid, worker->pool->opts.memory_max)) < 0) {
        td_log(TD_LOG_ERROR, "%s: a worker process cannot be limited in its memory (memory_max), so it runs no jobs: %s",
               pool_name(command->pool), td_strerror(rc));
        return false;
    }
    command->ready = true;
    atomic_store(&worker->page->up, 1);
    worker_check_birth(worker);
    return true;
}

/* Takes what has come. False when nothing more is to be expected. */
static bool take_message(struct command *command)
{
    _Alignas(8) char message[MESSAGE_ROOM];
    ssize_t n = recv(command->file.fd, message, sizeof message, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0) {
        expect_death(command);
        return false;
    }
    if (command->ready ? take_done(command, message, (size_t)n) : take_ready(command, message, (size_t)n))
        return true;
    distrust(command, command->ready ? "sent something that is no answer to a job" : "did not answer as a worker does");
    return false;
}

static void listen_to(struct command *command);

static void message_came(struct io_op *op, int result)
{
    struct command *command = container_of(op, struct command, op);
    td_pool *pool = command->pool;

    command->listening = false;
    if (!command->worker) {
        bury(command);
        pool_grave_closed(pool);
    } else if (result < 0) {
        distrust(command, "cannot be listened to");
    } else if (take_message(command)) {
        listen_to(command);
    }
}

static void look_again(struct turn_end *again)
{
    struct command *command = container_of(again, struct command, again);

    if (take_message(command))
        listen_to(command);
}

static void listen_to(struct command *command)
{
    command->op = (struct io_op){.kind = IO_POLL, .file = &command->file, .done = message_came, .events = POLLIN,
                                 .background = true};
    if (!loop_io_start(command->pool->loop, &command->op))
        command->listening = true;
    else if (command->op.result >= 0)
        loop_at_turn_end(command->pool->loop, &command->again);
    else
        distrust(command, "cannot be listened to");
}

void command_born(struct command *command)
{
    const struct arena_region *regions = arena_current()->heap.pages.regions;
    struct command_hello hello = {
        .magic = COMMAND_MAGIC, .version = COMMAND_VERSION, .job_bytes = sizeof(struct command_job),
        .main_size = regions[ARENA_MAIN].size, .output_offset = regions[ARENA_MAIN].size,
        .output_size = regions[ARENA_OUTPUT].size, .worker = command->worker->index,
    };
    int fds[] = {regions[ARENA_MAIN].fd, regions[ARENA_OUTPUT].fd};

    close(command->far_end);
    command->far_end = -1;
    if (wire_send(command->file.fd, &hello, sizeof hello, fds, 2, MSG_DONTWAIT) < 0) {
        expect_death(command);
        return;
    }
    listen_to(command);
}
