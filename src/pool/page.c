/* SPDX-License-Identifier: MIT */
#include "pool/page.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

static void futex(_Atomic uint32_t *word, int op, uint32_t value, bool private)
{
    syscall(SYS_futex, word, private ? op | FUTEX_PRIVATE_FLAG : op, value, NULL, NULL, 0);
}

/*
 * Sleeping without a lost wake-up (the two-fence proof): the worker says that it sleeps, then looks at the word;
 * the pool moves the word, then looks whether the worker sleeps. With a full fence between the two steps on both
 * sides, one of them sees the other.
 */
void page_ring(struct worker_page *page, bool private)
{
    atomic_fetch_add(&page->doorbell, 1);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&page->sleeping))
        futex(&page->doorbell, FUTEX_WAKE, 1, private);
}

static uint64_t wait_for_word(struct worker_page *page, bool private)
{
    for (;;) {
        uint32_t seen = atomic_load(&page->doorbell);
        uint64_t word = atomic_load(&page->word);

        if (word_state(word) == JOB_READY || word_state(word) == JOB_STOP)
            return word;
        atomic_store(&page->sleeping, 1);
        atomic_thread_fence(memory_order_seq_cst);
        word = atomic_load(&page->word);
        if (word_state(word) != JOB_READY && word_state(word) != JOB_STOP)
            futex(&page->doorbell, FUTEX_WAIT, seen, private);
        atomic_store(&page->sleeping, 0);
    }
}

int page_run(const struct worker_page *page)
{
    int rc = page->fn(page->items);

    for (size_t i = 1; i < page->count && rc >= 0; i++)
        rc = page->fn(page->items + i * page->item_size);
    return rc;
}

void page_serve(struct worker_page *page, int event_fd, bool private)
{
    const uint64_t one = 1;

    for (;;) {
        uint64_t ready = wait_for_word(page, private), running, done;

        if (word_state(ready) == JOB_STOP)
            return;
        running = word_make(word_generation(ready), (uint16_t)(ready >> 16), JOB_RUNNING);
        done = word_make(word_generation(ready), (uint16_t)(ready >> 16), JOB_DONE);
        if (!page_move(page, ready, running))
            continue;  /* taken back in the meantime */
        atomic_store(&page->started, td_now());
        atomic_store(&page->rc, page_run(page));
        atomic_store(&page->ended, td_now());
        if (!page_move(page, running, done))
            continue;
        while (write(event_fd, &one, sizeof one) < 0 && errno == EINTR)
            ;
    }
}
