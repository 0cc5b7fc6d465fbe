/* SPDX-License-Identifier: MIT */
/*
 * How a pool's loop looks at what its workers have done (loop/poller.h).
 */
#include "pool/pool.h"

#include "pool/queue.h"

#define SOON_NS 50000  /* of a job of which nothing is known yet */

static void disarm(td_pool *pool)
{
    pool->armed = false;
    for (struct td_list *at = pool->watched.next; at != &pool->watched; at = at->next)
        atomic_store_explicit(&container_of(at, struct worker, link)->page->notify, 0, memory_order_relaxed);
}

bool pool_look(struct loop_poller *poller)
{
    td_pool *pool = container_of(poller, td_pool, poller);
    struct td_list rest, *at;
    bool some = false;

    if (pool->armed)
        disarm(pool);
    list_move_all(&rest, &pool->watched);  /* an outcome may cancel jobs of other workers, and so change either list */
    while ((at = list_pop_front(&rest))) {
        struct worker *worker = container_of(at, struct worker, link);

        list_push_back(&pool->watched, at);
        if (worker->phase == WORKER_STARTING)
            some |= worker_check_birth(worker);
        else if (worker->phase == WORKER_RETIRING)
            some |= worker_check_end(worker);
        else
            some |= worker_collect(worker);
    }
    if (!list_empty(&pool->watched) && !list_linked(&poller->link))
        list_push_back(&pool->loop->pollers, &poller->link);
    if (some || (pool->queued > 0 && !list_empty(&pool->idle[0])) || (pool->closer && !pool_has_work(pool)))
        some |= pool_dispatch(pool);
    return some;
}

bool pool_arm(struct loop_poller *poller)
{
    td_pool *pool = container_of(poller, td_pool, poller);
    bool some;

    pool->armed = false;
    for (struct td_list *at = pool->watched.next; at != &pool->watched; at = at->next)
        atomic_store_explicit(&container_of(at, struct worker, link)->page->notify, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);  /* page_ring has the other half of the proof */
    some = pool_look(poller);
    pool->armed = true;
    return some;
}

td_time pool_expects(struct loop_poller *poller)
{
    td_pool *pool = container_of(poller, td_pool, poller);

    if (pool->busy == 0 || pool_cores_free(pool) < 0 || pool->kind->one_job)
        return TD_FOREVER;
    return pool->estimates.mean ? pool->estimates.mean : SOON_NS;
}
