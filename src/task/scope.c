/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. Every task's innermost scope is open. 2. A scope inside a cancelled one is cancelled, unless it or
 * one between is shielded. 3. `running` is the length of `tasks` and
 * `guests` together. 4. A scope's children are opened by its owner or
 * by its tasks, so its subtree holds every task it concerns.
 */
#include <errno.h>

#include "base/fail.h"
#include "task/task.h"

enum cause { CAUSE_NONE, CAUSE_FAILURE, CAUSE_DEADLINE, CAUSE_ASKED, CAUSE_PARENT };

static void cancel_tree(struct td_scope *root, enum cause cause);

static void deadline_passed(struct td_timer *timer)
{
    cancel_tree(container_of(timer, struct td_scope, deadline), CAUSE_DEADLINE);
}

void scope_init(struct td_scope *scope, struct td_scope *parent, struct td_task *owner)
{
    scope->parent = parent;
    scope->owner = owner;
    scope->running = scope->failures = 0;
    scope->failure = 0;
    scope->cause = CAUSE_NONE;
    scope->open = true;
    scope->cancelled = scope->joining = scope->declined = scope->shielded = scope->collecting = false;
    list_init(&scope->tasks);
    list_init(&scope->guests);
    list_init(&scope->children);
    list_init(&scope->sibling);
    timer_init(&scope->deadline, deadline_passed);
    scope->deadline.at = TD_FOREVER;
    if (!parent)
        return;
    list_push_back(&parent->children, &scope->sibling);
    if (parent->cancelled || (owner && owner->cancelled && task_verdict(owner) < 0)) {
        scope->cancelled = true;
        scope->cause = CAUSE_PARENT;
    }
}

/* A scope as an argument: the caller is a task, and the scope is open on its loop. */
inline struct td_task *scope_user(const struct td_scope *scope, const char *function)
{
    struct td_task *self = task_self(function);

    if (!scope->open)
        fail("%s: the scope is not open; open it with td_scope_open, and use it no more after td_scope_join", function);
    if (scope->owner && scope->owner->sched != self->sched)
        fail("%s: the scope belongs to another loop; a task and its scopes live on one loop", function);
    return self;
}

void td_scope_open(td_scope *scope)
{
    struct td_task *self = task_self(__func__);

    scope_init(scope, self->scope, self);
    self->scope = scope;
}

void td_scope_open_shielded(td_scope *scope, td_time grace_ns)
{
    td_scope_open(scope);
    scope->shielded = true;
    scope->cancelled = scope->owner->sched->forked;
    scope->cause = CAUSE_NONE;
    td_scope_deadline(scope, td_after(grace_ns));
}

/* What a spawn answers before it looks for a stack. */
static int spawn_refusal(const struct td_task *self, td_fn fn)
{
    return !fn ? -EINVAL : self->sched->forked ? -EOWNERDEAD : 0;
}

int td_spawn_at(td_scope *scope, td_fn fn, void *arg, const char *site)
{
    struct td_task *self = scope_user(scope, "td_spawn");
    int rc = spawn_refusal(self, fn);

    if (rc == 0 && !task_create(self->sched, &self->sched->stacks, scope, fn, arg, site))
        rc = -ENOMEM;
    return rc;
}

int td_spawn_with_at(td_scope *scope, const td_spawn_opts *opts, td_fn fn, void *arg, const char *site)
{
    struct td_task *self = scope_user(scope, "td_spawn_with"), *task;
    struct stack_pool *pool = task_stack_pool(self->sched, opts->stack_size);
    int rc = spawn_refusal(self, fn);

    if (rc < 0 || !pool)
        return rc < 0 ? rc : -EINVAL;
    task = task_create(self->sched, pool, scope, fn, arg, site);
    if (!task)
        return -ENOMEM;
    atomic_store_explicit(&task->name, opts->name, memory_order_relaxed);
    task->result = opts->result;
    if (opts->handle)
        *opts->handle = (td_handle){task, task->id};
    return 0;
}

/* Ends the wait of a task whose innermost scope was cancelled. */
static void interrupt(struct td_task *task)
{
    struct wait *wait = task->wait;

    if (wait && wait->abort)
        wait->abort(wait);
}

/*
 * The scope after `at` in a walk over what a cancellation of root reaches, parents first; NULL at the end. No
 * recursion: scopes nest deeply.
 */
static struct td_scope *walk_next(struct td_scope *root, struct td_scope *at, bool shields_too)
{
    if (!list_empty(&at->children) && (at == root || shields_too || !at->shielded))
        return container_of(at->children.next, struct td_scope, sibling);
    for (; at != root; at = at->parent)
        if (at->sibling.next != &at->parent->children)
            return container_of(at->sibling.next, struct td_scope, sibling);
    return NULL;
}

struct td_scope *scope_walk(struct td_scope *root, struct td_scope *at)
{
    return walk_next(root, at, true);
}

/* One that ends may end others, so that no link is to be trusted. Each is asked once. */
static void cancel_guests(struct td_scope *scope)
{
    struct td_list asked;

    list_init(&asked);
    while (!list_empty(&scope->guests)) {
        struct scope_guest *guest = container_of(scope->guests.next, struct scope_guest, link);

        list_remove(&guest->link);
        list_push_back(&asked, &guest->link);
        guest->cancel(guest);
    }
    while (!list_empty(&asked))
        list_push_back(&scope->guests, list_pop_front(&asked));
}

static void cancel_one(struct td_scope *scope, enum cause cause)
{
    scope->cancelled = true;
    scope->cause = (unsigned char)cause;
    for (struct td_list *at = scope->tasks.next; at != &scope->tasks; at = at->next) {
        struct td_task *task = container_of(at, struct td_task, sibling);

        if (task->scope == scope)
            interrupt(task);
    }
    if (scope->owner && scope->owner->scope == scope)
        interrupt(scope->owner);
    if (!list_empty(&scope->guests))
        cancel_guests(scope);
}

static void cancel_tree(struct td_scope *root, enum cause cause)
{
    if (root->cancelled)
        return;  /* and so is all inside it, by invariant 2 */
    for (struct td_scope *at = root; at; at = walk_next(root, at, false)) {
        if (!at->cancelled && (at == root || !at->shielded))
            cancel_one(at, at == root ? cause : CAUSE_PARENT);
    }
}

const char *scope_cause(const struct td_scope *scope)
{
    if (!scope->cancelled)
        return NULL;
    switch (scope->cause) {
    case CAUSE_FAILURE: return "a task failed";
    case CAUSE_DEADLINE: return "its deadline passed";
    case CAUSE_PARENT: return "the scope around it was";
    default: return "asked for";
    }
}

void td_scope_cancel(td_scope *scope)
{
    if (!scope_user(scope, __func__)->sched->forked)  /* a child would end the parent's jobs */
        cancel_tree(scope, CAUSE_ASKED);
}

void sched_cancel_root(struct sched *sched)
{
    cancel_tree(&sched->root, CAUSE_ASKED);
}

void sched_cancel(struct sched *sched)
{
    struct td_scope *root = &sched->root;

    for (struct td_scope *at = root; at; at = scope_walk(root, at))
        if (!at->cancelled)
            cancel_one(at, at == root ? CAUSE_ASKED : CAUSE_PARENT);
}

void td_scope_deadline(td_scope *scope, td_time at)
{
    struct td_task *self = scope_user(scope, __func__);
    struct timers *timers = &self->sched->timers;

    if (self->sched->forked || scope->cancelled || scope->deadline.at <= at)
        return;
    timers_disarm(timers, &scope->deadline);
    scope->deadline.at = at;
    if (at <= td_now())
        cancel_tree(scope, CAUSE_DEADLINE);
    else if (at != TD_FOREVER)
        timers_arm(timers, &scope->deadline, at);
}

bool td_scope_cancelled(const td_scope *scope)
{
    return scope->cancelled;
}

static void count_failure(struct td_scope *scope, int rc, bool cancelled_alone)
{
    if (rc == -ECANCELED && scope->cancelled) {
        scope->declined = true;  /* an effect of the cancellation, not a failure of its own */
        return;
    }
    if (rc == -ECANCELED && cancelled_alone)
        return;  /* whoever cancelled it alone knows */
    scope->failures++;
    if (!scope->failure)
        scope->failure = rc;
    if (!scope->collecting)
        cancel_tree(scope, CAUSE_FAILURE);
}

void td_scope_collect(td_scope *scope)
{
    scope_user(scope, __func__);
    scope->collecting = true;
}

size_t td_scope_failures(const td_scope *scope)
{
    return scope->failures;
}

/* A scope's cancellation is for all inside it; a task's own ends at a shield inside the task. */
int scope_verdict(const struct td_task *self)
{
    if (self->sched->forked)
        return -EOWNERDEAD;
    if (self->scope->cancelled)
        return -ECANCELED;
    for (const struct td_scope *at = self->scope; at != self->home; at = at->parent)
        if (at->shielded)
            return 0;
    return -ECANCELED;
}

td_handle td_self(void)
{
    struct td_task *self = task_self(__func__);

    return (td_handle){self, self->id};
}

bool td_alive(td_handle handle)
{
    struct td_task *self = task_self(__func__);

    return handle.task && handle.task->sched == self->sched && handle.task->id == handle.id;
}

int td_cancel(td_handle handle)
{
    struct td_task *task = handle.task;

    if (!td_alive(handle))
        return -ESRCH;
    if (task->sched->forked)
        return -EOWNERDEAD;
    if (task->cancelled)
        return 0;
    task->cancelled = true;
    for (struct td_list *at = task->home->children.next; at != &task->home->children; at = at->next) {
        struct td_scope *scope = container_of(at, struct td_scope, sibling);

        if (scope->owner == task && !scope->shielded)
            cancel_tree(scope, CAUSE_PARENT);
    }
    if (task->scope == task->home)
        interrupt(task);
    return 0;
}

td_time td_deadline(void)
{
    td_time earliest = TD_FOREVER;

    for (const struct td_scope *at = task_self(__func__)->scope; at; at = at->shielded ? NULL : at->parent)
        if (at->deadline.at < earliest)
            earliest = at->deadline.at;
    return earliest;
}

static inline void one_less(struct td_scope *scope, int rc, bool cancelled_alone)
{
    scope->running--;
    if (rc < 0)
        count_failure(scope, rc, cancelled_alone);
    if (scope->running == 0 && scope->joining) {
        scope->joining = false;
        task_unpark(scope->owner, 0);
    }
}

void scope_task_done(struct td_scope *scope, struct td_task *task, int rc)
{
    task->sibling.prev->next = task->sibling.next;
    task->sibling.next->prev = task->sibling.prev;
    one_less(scope, rc, task->cancelled);
}

void scope_guest_enter(td_scope *scope, struct scope_guest *guest)
{
    guest->scope = scope;
    list_push_back(&scope->guests, &guest->link);
    scope->running++;
}

void scope_guest_done(struct scope_guest *guest, int rc, bool alone)
{
    list_remove(&guest->link);
    one_less(guest->scope, rc, alone);
}

/* What a joined scope's tasks have come to; its owner is in the scope around it again. */
static int verdict(const struct td_scope *scope)
{
    if (scope->cause == CAUSE_DEADLINE)
        return -ETIMEDOUT;
    if (scope->failure && (!scope->collecting || scope->cause == CAUSE_FAILURE))
        return scope->failure;
    if (scope->declined || task_verdict(scope->owner) < 0)
        return -ECANCELED;
    return 0;
}

int td_scope_join(td_scope *scope)
{
    struct td_task *self = scope_user(scope, __func__);
    struct wait wait = {NULL, "the tasks of a scope", 0};

    if (scope->owner != self)
        fail("td_scope_join: only the task that opened a scope may join it (it was opened by the task spawned at %s)",
             scope->owner->site);
    if (self->scope != scope)
        fail("td_scope_join: a scope opened inside this one is still open; join scopes in the reverse order of opening");
    if (scope->running == 0)
        (void)task_checkpoint(self);  /* for its turn only: the verdict tells of cancellation */
    while (scope->running > 0 && !self->sched->forked) {  /* again when a task outside spawned another before this one ran */
        scope->joining = true;
        task_park(self, &wait);
    }
    if (!list_empty(&scope->children) && !self->sched->forked)
        fail("td_scope_join: the scope was opened a second time while it was open; each td_scope_open needs a scope of its own");
    timers_disarm(&self->sched->timers, &scope->deadline);
    list_remove(&scope->sibling);
    scope->open = false;
    self->scope = scope->parent;
    return self->sched->forked ? -EOWNERDEAD : verdict(scope);
}
