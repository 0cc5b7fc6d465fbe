/* SPDX-License-Identifier: MIT */
#include "pool/page.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/forks.h"
#include "pool/limits.h"
#include "pool/strict.h"

#define SPIN_LOOKS 32       /* between two looks at the clock */
#define SPIN_GAP_NS 10000   /* the clock jumped while we spun: somebody else wants this core */
#define NOTICE_NS 20000
#define NO_SPIN_NS 2000000  /* so long we leave it to them */

/* tidy: allow, because td_job_output and its like take no argument that could say which job is meant */
static _Thread_local struct job_slot *running;
/* tidy: allow, because td_in_job takes no argument either */
static _Thread_local unsigned inside;

struct job_slot *job_running(void)
{
    return running;
}

bool job_inside(void)
{
    return inside > 0;
}

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* The kind that processes share, for threads as well: nothing that a worker can write over decides which kind it is. */
static void futex(_Atomic uint32_t *word, int op, uint32_t value)
{
    syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

void page_reset(struct worker_page *page, uint64_t first_ticket)
{
    page->first_ticket = first_ticket;
    for (unsigned i = 0; i < PAGE_SLOTS; i++)
        atomic_store(&page->slots[i].word, word_make(ticket_generation(first_ticket) - 1, page->owner, 0, JOB_FREE));
    atomic_store(&page->doorbell, 0);
    atomic_store(&page->notify, 0);
    atomic_store(&page->sleeping, 0);
    atomic_store(&page->pid, 0);
    atomic_store(&page->up, 0);
    atomic_store(&page->notices, 0);
}

/*
 * Sleeping without a lost wake-up (the two-fence proof): the worker says that it sleeps, then looks at the word;
 * the pool stores the word, then looks whether the worker sleeps. With a full fence between the two steps on both
 * sides, one of them sees the other. `notify` works the same way in the other direction.
 */
bool page_ring(struct worker_page *page)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&page->sleeping, memory_order_relaxed) || !atomic_exchange(&page->sleeping, 0))
        return false;
    atomic_fetch_add(&page->doorbell, 1);
    futex(&page->doorbell, FUTEX_WAKE, 1);
    return true;
}

/* True when the pool's loop waited. */
static bool notify(struct worker_page *page, int event_fd)
{
    const uint64_t one = 1;

    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&page->notify, memory_order_relaxed) || !atomic_exchange(&page->notify, 0))
        return false;
    atomic_fetch_add_explicit(&page->notices, 1, memory_order_relaxed);
    while (write(event_fd, &one, sizeof one) < 0) {
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && !(page->flags & PAGE_PRIVATE))
            _exit(1);  /* a job has closed the descriptor: nobody would hear of this worker again in time */
        break;
    }
    return true;
}

enum sight { NOT_YET, READY, SKIP, STOP };

/* What a ticket's slot says to its worker. */
static enum sight look(const struct job_slot *slot, uint32_t generation, uint64_t *word)
{
    int32_t newer;

    *word = atomic_load_explicit(&slot->word, memory_order_acquire);
    newer = (int32_t)(word_generation(*word) - generation);
    if (newer != 0)
        return newer > 0 ? SKIP : NOT_YET;
    switch (word_state(*word)) {
    case JOB_READY: return READY;
    case JOB_TAKEN: return SKIP;
    case JOB_STOP: return STOP;
    default: return NOT_YET;
    }
}

/* Looks for as long as the pool allows; then, or when the core is wanted by others, gives up. */
static enum sight spin(struct worker_page *page, const struct job_slot *slot, uint32_t generation, uint64_t *word,
                       td_time *no_spin_until)
{
    td_time limit = atomic_load_explicit(&page->spin_ns, memory_order_relaxed), began, last, now;
    enum sight sight = NOT_YET;

    if (limit == 0 || (began = clock_real()) < *no_spin_until)
        return NOT_YET;
    for (now = last = began; now - began < limit; last = now) {
        for (int i = 0; i < SPIN_LOOKS; i++) {
            sight = look(slot, generation, word);
            if (sight != NOT_YET)
                return sight;
            relax();
        }
        now = clock_real();
        if (now - last > SPIN_GAP_NS) {
            *no_spin_until = now + NO_SPIN_NS;
            break;
        }
    }
    return sight;
}

static enum sight wait_for(struct worker_page *page, uint64_t ticket, uint64_t *word, td_time *no_spin_until)
{
    const struct job_slot *slot = page_slot(page, ticket);
    uint32_t generation = ticket_generation(ticket);
    enum sight sight = look(slot, generation, word);

    if (sight == NOT_YET)
        sight = spin(page, slot, generation, word, no_spin_until);
    while (sight == NOT_YET) {
        uint32_t seen = atomic_load(&page->doorbell);

        atomic_store(&page->sleeping, 1);
        atomic_thread_fence(memory_order_seq_cst);
        sight = look(slot, generation, word);
        if (sight == NOT_YET)
            futex(&page->doorbell, FUTEX_WAIT, seen);
        atomic_store_explicit(&page->sleeping, 0, memory_order_relaxed);
        sight = look(slot, generation, word);
    }
    return sight;
}

bool slot_begin(struct job_slot *slot, uint64_t ready)
{
    return slot_move(slot, ready, word_with(ready, JOB_RUNNING));
}

static bool asked_to_end(const struct job_slot *slot)
{
    return word_flags(atomic_load_explicit(&slot->word, memory_order_relaxed)) & JOB_ASKED;
}

static int run_items(struct job_slot *slot, unsigned flags)
{
    int *results = (int *)(void *)slot->extra, rc = 0;

    for (size_t i = 0; i < slot->count; i++) {
        int one;

        if (asked_to_end(slot))
            return -ECANCELED;
        one = slot->fn(slot->items + i * slot->size);
        if (results)
            results[i] = one;
        if (one < 0 && !(flags & JOB_COLLECT))
            return one;
        rc = one < 0 ? rc : one;
    }
    return rc;
}

int slot_run(struct job_slot *slot)
{
    unsigned flags = word_flags(atomic_load_explicit(&slot->word, memory_order_relaxed));
    struct job_slot *outer = running;
    int rc;

    running = slot;
    inside++;
    rc = flags & JOB_ITEMS ? run_items(slot, flags) : slot->fn(slot->items);
    inside--;
    running = outer;
    return rc;
}

/*
 * The pool may ask the job to end at the same moment: then the word has one flag more, and is still ours. Anything else is
 * another's, and stays as it is.
 */
void slot_end(struct job_slot *slot, uint64_t ready, int rc)
{
    uint64_t word = word_with(ready, JOB_RUNNING);

    atomic_store_explicit(&slot->rc, rc, memory_order_relaxed);
    while (!slot_move(slot, word, word_with(word, JOB_DONE))) {
        uint64_t asked = word | (uint64_t)JOB_ASKED << 8;

        if (word == asked)
            return;
        word = asked;
    }
}

/*
 * Who waits is told when there is nothing more to do, or NOTICE_NS after the first job it was not told of: a wake-up costs as
 * much as a hundred short jobs. That none waits for long behind a job that turns out long is the pool's to see to (its
 * patience).
 */
static void serve_jobs(struct worker_page *page, int event_fd)
{
    td_time no_spin_until = 0, now = clock_real(), owed_since = 0;
    unsigned forks = forks_count();
    uint64_t word;

    for (uint64_t ticket = page->first_ticket;; ticket++) {
        struct job_slot *slot = page_slot(page, ticket);
        enum sight sight = look(slot, ticket_generation(ticket), &word);
        int rc;

        if (owed_since && (sight != READY || now - owed_since > NOTICE_NS)) {
            owed_since = 0;
            if (notify(page, event_fd))
                now = clock_real();  /* the loop may have run on this core meanwhile */
        }
        if (sight == NOT_YET) {
            sight = wait_for(page, ticket, &word, &no_spin_until);
            now = clock_real();
        }
        if (sight == STOP)
            return;
        if (sight == SKIP || !slot_begin(slot, word))
            continue;
        if (page->cpu_max_ns)
            limits_arm_cpu(page->cpu_max_ns);
        atomic_store_explicit(&slot->started, now, memory_order_relaxed);
        rc = slot_run(slot);
        if (forks_count() != forks)
            _exit(0);  /* the job forked, and this is the child, which came back too: one of us is enough */
        now = clock_real();
        atomic_store_explicit(&slot->ended, now, memory_order_relaxed);
        slot_end(slot, word, rc);
        owed_since = owed_since ? owed_since : now;
    }
}

static int run_init(struct worker_page *page)
{
    int rc = 0;

    inside++;
    if (page->init)
        rc = page->init(page->arg);
    inside--;
    return rc;
}

static int tell_up(struct worker_page *page, int rc)
{
    atomic_store(&page->up, rc < 0 ? rc : 1);
    return rc < 0 ? rc : 0;
}

int page_init(struct worker_page *page)
{
    return tell_up(page, run_init(page));
}

int page_serve(struct worker_page *page, int event_fd)
{
    int rc = run_init(page);

    if (rc >= 0 && page->flags & PAGE_STRICT)
        rc = strict_fence(event_fd, page->cpu_max_ns != 0);
    rc = tell_up(page, rc);
    (void)notify(page, event_fd);
    if (rc < 0)
        return rc;
    serve_jobs(page, event_fd);
    if (page->exit)
        page->exit(page->arg);
    atomic_store(&page->up, PAGE_ENDED);
    (void)notify(page, event_fd);
    return 0;
}
