/* SPDX-License-Identifier: MIT */
/*
 * The page between a pool and one of its workers: a job's descriptor, and the word that says whose turn it is.
 *
 * The word is the truth: generation (32 bits), owner (16), flags (8), state (8), moved by compare-and-swap alone.
 * The pool moves FREE to READY, the worker READY to RUNNING to DONE, the pool DONE to FREE with the next
 * generation. A worker that is late finds another generation, and its finish fails by itself. There is no lock: a
 * death leaves nothing to repair.
 *
 * A worker has one job at a time (credit one), so the page needs no ring: the word is its own queue of length one.
 * The same page serves threads, in private memory.
 */
#ifndef TANDEM_POOL_PAGE_H
#define TANDEM_POOL_PAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tandem/scope.h"
#include "tandem/time.h"

enum job_state { JOB_FREE, JOB_READY, JOB_RUNNING, JOB_DONE, JOB_STOP };

struct worker_page {
    /* The pool writes. */
    _Alignas(64) _Atomic uint64_t word;
    td_fn fn;
    char *items;
    size_t count, item_size;
    _Atomic uint32_t doorbell;    /* futex: moves when the word does */
    /* The worker writes; the pool believes nothing of it that could harm. */
    _Alignas(64) _Atomic uint32_t sleeping;
    _Atomic int32_t rc;
    _Atomic int32_t pid;          /* of a worker process: the kernel writes it when the process first runs */
    _Atomic td_time started, ended;
};

static inline uint64_t word_make(uint32_t generation, uint16_t owner, enum job_state state)
{
    return (uint64_t)generation << 32 | (uint64_t)owner << 16 | (uint64_t)state;
}

static inline enum job_state word_state(uint64_t word)
{
    return (enum job_state)(word & 0xff);
}

static inline uint32_t word_generation(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static inline bool page_move(struct worker_page *page, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong(&page->word, &from, to);
}

/* Wakes the worker if it sleeps. Called by the pool, after it moved the word. `private`: the worker is a thread. */
void page_ring(struct worker_page *page, bool private);

/* Runs the job in the page. Returns its result: the first negative one, or the last. */
int page_run(const struct worker_page *page);

/* The worker's life: runs jobs as they come, tells event_fd about each, returns when told to stop. */
void page_serve(struct worker_page *page, int event_fd, bool private);

#endif
