/* SPDX-License-Identifier: MIT */
/*
 * The page between a pool and one of its workers: a ring of job descriptors, each with a word that says whose turn it is.
 *
 * The word is the truth: generation (32 bits), owner (16), flags (8), state (8). Jobs are numbered by tickets; ticket t
 * lies in slot t % PAGE_SLOTS, with generation t / PAGE_SLOTS. There are no shared cursors: each side counts for itself, and
 * finds in the slot whether its turn has come. So nothing can be half-moved when one side dies:
 *
 *     pool    (free)  -> READY            a store: the slot's last job is over, nobody else looks at it
 *     worker  READY   -> RUNNING          compare-and-swap: arbitrates with
 *     pool    READY   -> TAKEN            compare-and-swap: the pool takes the job back
 *     pool    RUNNING -> RUNNING|ASKED    compare-and-swap: the job is asked to end
 *     worker  RUNNING -> DONE             compare-and-swap: fails by itself when the generation is another
 *     pool    (free)  -> STOP             a store: the retire token, behind the last job
 *
 * A worker takes its tickets in order. Where it finds TAKEN, or a newer generation than its own (the slot was taken back and
 * given again), it goes on to the next ticket. READY at a worker's death: never begun. RUNNING: lost with it. DONE: the result
 * counts. What the worker writes is believed by the pool only within what the pool knows itself.
 *
 * The same page serves threads, in private memory. Workers in other languages have none: they are sent messages
 * (docs/shared-memory.md), and their page is the pool's own.
 */
#ifndef TANDEM_POOL_PAGE_H
#define TANDEM_POOL_PAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/scope.h"
#include "tandem/time.h"

#define PAGE_SLOTS 128

enum job_state { JOB_FREE, JOB_READY, JOB_RUNNING, JOB_DONE, JOB_TAKEN, JOB_STOP };

enum job_flag {
    JOB_ASKED = 1,    /* the job is asked to end */
    JOB_ITEMS = 2,    /* it is a chunk of a map: `count` items of `size` bytes */
    JOB_COLLECT = 4,  /* ... and an error of one item does not end the rest */
};

/* One line of the cache: it travels to the worker, and back. */
struct job_slot {
    _Alignas(64) _Atomic uint64_t word;
    td_fn fn;
    char *items;
    uint32_t count;             /* items */
    uint32_t size;              /* bytes of an item; without JOB_ITEMS: of the output */
    char *extra;                /* the results of items, or NULL; without JOB_ITEMS: the output's block, or NULL */
    _Atomic td_time started, ended;  /* the worker writes these three */
    _Atomic int32_t rc;
    _Atomic uint32_t progress;
};

#define PAGE_ENDED 2  /* in `up`: it has ended in peace */

enum page_flag {
    PAGE_PRIVATE = 1,  /* of a thread */
    PAGE_STRICT = 2,
    PAGE_QUIET = 4,    /* a worker that cannot be what it is to be does not log it: another has */
};

struct worker_page {
    /* The pool writes before the worker is born. */
    _Alignas(64) uint64_t first_ticket;  /* of this incarnation: a multiple of PAGE_SLOTS */
    uint32_t flags;             /* enum page_flag */
    uint16_t owner;
    uint64_t memory_max;        /* bytes; 0: any */
    td_time cpu_max_ns;         /* of a job; 0: any */
    int (*init)(void *arg);
    void (*exit)(void *arg);
    void *arg;
    /* The pool writes. */
    _Alignas(64) _Atomic uint32_t doorbell;  /* futex: moves when the pool has something for a sleeping worker */
    _Atomic uint32_t spin_ns;                /* how long the worker may look for work before it sleeps */
    _Alignas(64) _Atomic uint32_t notify;    /* the pool's loop waits: the worker swaps in 0, and writes to its eventfd */
    /* The worker writes. */
    _Alignas(64) _Atomic uint32_t sleeping;  /* the pool swaps in 0, and rings */
    _Atomic int32_t pid;                     /* of a worker process: the kernel writes it when the process first runs */
    _Atomic int32_t up;                      /* 1: init is done; PAGE_ENDED; a negative errno: what init failed with */
    _Atomic uint32_t notices;                /* how often it wrote to the eventfd */
    struct job_slot slots[PAGE_SLOTS];
};

_Static_assert(sizeof(struct job_slot) == 64, "a descriptor is one line of the cache");
_Static_assert(offsetof(struct worker_page, doorbell) == 64 && offsetof(struct worker_page, notify) == 128 &&
               offsetof(struct worker_page, sleeping) == 192 && offsetof(struct worker_page, slots) == 256,
               "who writes a line of the cache does not disturb the others");

static inline uint64_t word_make(uint32_t generation, uint16_t owner, unsigned flags, enum job_state state)
{
    return (uint64_t)generation << 32 | (uint64_t)owner << 16 | (uint64_t)(flags & 0xff) << 8 | (uint64_t)state;
}

static inline enum job_state word_state(uint64_t word)
{
    return (enum job_state)(word & 0xff);
}

static inline unsigned word_flags(uint64_t word)
{
    return (unsigned)(word >> 8) & 0xff;
}

static inline uint32_t word_generation(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

/* The same word in another state. */
static inline uint64_t word_with(uint64_t word, enum job_state state)
{
    return (word & ~UINT64_C(0xff)) | (uint64_t)state;
}

static inline uint32_t ticket_generation(uint64_t ticket)
{
    return (uint32_t)(ticket / PAGE_SLOTS);
}

static inline struct job_slot *page_slot(struct worker_page *page, uint64_t ticket)
{
    return &page->slots[ticket % PAGE_SLOTS];
}

static inline bool slot_move(struct job_slot *slot, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong(&slot->word, &from, to);
}

/* Makes a page good for a worker that is about to be born; the one before, if any, is dead. Keeps options and counters. */
void page_reset(struct worker_page *page, uint64_t first_ticket);

/* Wakes the worker if it sleeps, after the pool stored a word; true when it had to. */
bool page_ring(struct worker_page *page);

/*
 * The worker's life: init, jobs as they come, exit. Returns when told to stop, or a negative errno that init returned. Tells
 * event_fd, where the pool's loop listens, of what the loop waits for.
 */
int page_serve(struct worker_page *page, int event_fd);

/* What it does first. Returns 0 or what init failed with. */
int page_init(struct worker_page *page);

/*
 * The parts of it. slot_begin moves the READY word that was found to RUNNING; false when the pool took the job back first.
 * slot_run runs what stands there; slot_end says how it ended, if the word is still that job's.
 */
bool slot_begin(struct job_slot *slot, uint64_t ready);
int slot_run(struct job_slot *slot);
void slot_end(struct job_slot *slot, uint64_t ready, int rc);

/* The descriptor of the job that runs on the calling thread, and what is known of it; NULL outside of jobs. */
struct job_slot *job_running(void);

/* Whether the calling thread is inside a job or a worker's init. */
bool job_inside(void);

#endif
