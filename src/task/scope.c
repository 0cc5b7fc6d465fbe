/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. Every task's innermost scope is open. 2. A scope inside a cancelled one is cancelled, unless it or
 * one between is shielded. 3. `running` is the length of `tasks`. 4. A scope's children are opened by its owner or
 * by its tasks, so its subtree holds every task it concerns.
 */
#include <assert.h>
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
    *scope = (struct td_scope){.parent = parent, .owner = owner, .open = true};
    list_init(&scope->tasks);
    list_init(&scope->children);
    list_init(&scope->sibling);
    timer_init(&scope->deadline, deadline_passed);
    if (!parent)
        return;
    list_push_back(&parent->children, &scope->sibling);
    if (parent->cancelled) {
        scope->cancelled = true;
        scope->cause = CAUSE_PARENT;
    }
}

/* A scope as an argument: the caller is a task, and the scope is open on its loop. */
static struct td_task *user_of(const struct td_scope *scope, const char *function)
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

int td_spawn_at(td_scope *scope, td_fn fn, void *arg, const char *site)
{
    struct td_task *self = user_of(scope, "td_spawn");

    if (!fn)
        return -EINVAL;
    if (self->sched->forked)
        return -EOWNERDEAD;
    return task_create(self->sched, scope, fn, arg, site);
}

int scope_refusal(const struct td_task *task)
{
    return task->sched->forked ? -EOWNERDEAD : -ECANCELED;
}

/* Ends the wait of a task whose innermost scope was cancelled. */
void scope_interrupt(struct td_task *task)
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

static void cancel_one(struct td_scope *scope, enum cause cause)
{
    scope->cancelled = true;
    scope->cause = (unsigned char)cause;
    for (struct td_list *at = scope->tasks.next; at != &scope->tasks; at = at->next) {
        struct td_task *task = container_of(at, struct td_task, sibling);

        if (task->scope == scope)
            scope_interrupt(task);
    }
    if (scope->owner && scope->owner->scope == scope)
        scope_interrupt(scope->owner);
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
    if (!user_of(scope, __func__)->sched->forked)  /* a child would end the parent's jobs */
        cancel_tree(scope, CAUSE_ASKED);
}

void sched_cancel(struct sched *sched)
{
    struct td_scope *root = &sched->root;

    for (struct td_scope *at = root; at; at = walk_next(root, at, true))
        if (!at->cancelled)
            cancel_one(at, at == root ? CAUSE_ASKED : CAUSE_PARENT);
}

void td_scope_deadline(td_scope *scope, td_time at)
{
    struct td_task *self = user_of(scope, __func__);
    struct timers *timers = &self->sched->timers;

    if (self->sched->forked || scope->cancelled || (scope->deadline.armed && scope->deadline.at <= at))
        return;
    timers_disarm(timers, &scope->deadline);
    if (at <= td_now())
        cancel_tree(scope, CAUSE_DEADLINE);
    else if (at != TD_FOREVER)
        timers_arm(timers, &scope->deadline, at);
}

bool td_scope_cancelled(const td_scope *scope)
{
    return scope->cancelled;
}

void scope_task_done(struct td_scope *scope, struct td_task *task, int rc)
{
    list_remove(&task->sibling);
    scope->running--;
    if (rc == -ECANCELED && scope->cancelled) {
        scope->declined = true;  /* an effect of the cancellation, not a failure of its own */
    } else if (rc < 0) {
        if (!scope->failure)
            scope->failure = rc;
        cancel_tree(scope, CAUSE_FAILURE);
    }
    if (scope->running == 0 && scope->joining) {
        scope->joining = false;
        task_unpark(scope->owner, 0);
    }
}

static int verdict(const struct td_scope *scope)
{
    if (scope->cause == CAUSE_DEADLINE)
        return -ETIMEDOUT;
    if (scope->failure)
        return scope->failure;
    if (scope->declined || (scope->parent && scope->parent->cancelled))
        return -ECANCELED;
    return 0;
}

int td_scope_join(td_scope *scope)
{
    struct td_task *self = user_of(scope, __func__);
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
    assert(self->sched->forked || (scope->running == 0 && list_empty(&scope->children)));
    timers_disarm(&self->sched->timers, &scope->deadline);
    list_remove(&scope->sibling);
    scope->open = false;
    self->scope = scope->parent;
    return self->sched->forked ? -EOWNERDEAD : verdict(scope);
}
