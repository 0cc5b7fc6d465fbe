/* SPDX-License-Identifier: MIT */
/*
 * Random trees of scopes against a model: tasks that sleep, open scopes, spawn into theirs and into those around them,
 * cancel scopes and tasks, set deadlines, fail, and join. The model knows when each scope was cancelled, and why; from
 * that it knows what every wait and every join may answer, and at what time, for time is virtual.
 *
 *  1. A wait inside a cancelled scope answers -ECANCELED, and takes no time (law 3).
 *  2. A wait that was not cancelled takes as long as it was told to; one that was ends at that very time.
 *  3. A join answers when the last task has ended, no later and no sooner (law 2), and as its header says.
 *
 * Where two things happen at the same instant, either may have come first.
 */
#include "run/harness.h"

#define TASKS_MAX 48
#define SCOPES_MAX 128
#define NEST_MAX 3
#define TREES (RACES_WATCHED ? 300 : 10000)
#define UNIT td_us(10)
#define NEVER TD_FOREVER

struct tree;

/* What the model knows of a scope. */
struct model {
    td_scope scope;
    struct model *parent;
    struct node *owner;
    bool shielded, collecting, gave_up, gave_up_alone;
    td_time cancelled_at;  /* by td_scope_cancel or a failure */
    td_time asked_at;      /* by td_scope_cancel */
    td_time deadline;
    td_time failed_at, last_end;
    int failure;           /* the first; 0: none */
    size_t failures, alive;
};

/* And of a task. */
struct node {
    struct tree *tree;
    td_handle handle;
    struct model *home, *inner;
    td_time cancelled_at;
    unsigned nested;
    bool ended;
    int result, told;
};

struct tree {
    struct random random;
    uint64_t seed;
    struct node nodes[TASKS_MAX];
    struct model scopes[SCOPES_MAX];
    size_t nodes_used, scopes_used;
    bool wrong;
    unsigned long long waits, joins, cancelled;
};

#define must(tree, condition) must_at((tree), expect(condition))

static void must_at(struct tree *tree, bool holds)
{
    if (!holds && !tree->wrong)
        print_error("in the tree of SEED=%llu\n", (unsigned long long)tree->seed);
    tree->wrong = tree->wrong || !holds;
}

static td_time earlier(td_time a, td_time b)
{
    return a < b ? a : b;
}

/* When the scope itself was cancelled, up to now. */
static td_time cancelled_since(const struct model *m)
{
    return earlier(m->cancelled_at, m->deadline <= td_now() ? m->deadline : NEVER);
}

/* When a cancellation first reached into the scope, from itself or from around it up to the nearest shield. */
static td_time reached_since(const struct model *m)
{
    td_time since = NEVER;

    while (m) {
        since = earlier(since, cancelled_since(m));
        if (m->shielded)
            break;
        if (m->parent == m->owner->home)
            since = earlier(since, m->owner->cancelled_at);
        m = m->parent;
    }
    return since;
}

/* The same of all scopes around the task, its own not counted. */
static td_time task_reached_since(const struct node *node)
{
    return earlier(node->cancelled_at, node->home ? reached_since(node->home) : NEVER);
}

static td_time waits_reached_since(const struct node *node)
{
    return node->inner == node->home ? task_reached_since(node) : reached_since(node->inner);
}

/* What reaches a scope from outside of it, shielded or not. */
static td_time outside_since(const struct model *m)
{
    return m->parent == m->owner->home ? task_reached_since(m->owner) : reached_since(m->parent);
}

static td_time deadline_of(const struct node *node)
{
    td_time earliest = NEVER;

    for (const struct model *m = node->inner; m; m = m->parent) {
        earliest = earlier(earliest, m->deadline);
        if (m->shielded)
            break;
    }
    return earliest;
}

static int wait_somehow(struct node *node)
{
    struct tree *tree = node->tree;
    bool sleeps = random_below(&tree->random, 4) > 0;
    td_time for_ns = sleeps ? (td_time)(1 + random_below(&tree->random, 12)) * UNIT : 0, began = td_now(), since, now;
    bool cancelled = waits_reached_since(node) != NEVER;
    int rc = sleeps ? td_sleep(for_ns) : td_yield();

    now = td_now();
    since = waits_reached_since(node);
    tree->waits++;
    tree->cancelled += rc != 0;
    if (cancelled) {
        must(tree, rc == -ECANCELED && now == began);
    } else if (rc == 0) {
        must(tree, now == began + for_ns);
        must(tree, since >= now);
    } else {
        must(tree, rc == -ECANCELED);
        must(tree, since == now && now <= began + for_ns);
    }
    return rc;
}

static void open_scope(struct node *node)
{
    struct tree *tree = node->tree;
    struct model *m;
    td_time grace;

    if (node->nested == NEST_MAX || tree->scopes_used == SCOPES_MAX)
        return;
    m = &tree->scopes[tree->scopes_used++];
    *m = (struct model){.parent = node->inner, .owner = node, .cancelled_at = NEVER, .asked_at = NEVER, .deadline = NEVER,
                        .failed_at = NEVER};
    m->shielded = random_below(&tree->random, 5) == 0;
    m->collecting = random_below(&tree->random, 4) == 0;
    if (m->shielded) {
        grace = (td_time)(1 + random_below(&tree->random, 30)) * UNIT;
        m->deadline = td_after(grace);
        td_scope_open_shielded(&m->scope, grace);
    } else {
        td_scope_open(&m->scope);
    }
    if (m->collecting)
        td_scope_collect(&m->scope);
    node->inner = m;
    node->nested++;
}

/* One of the scopes around the task, its own among them; NULL when there is none. All of them are open. */
static struct model *choose_scope(struct node *node)
{
    struct model *chosen = node->inner, *m = node->inner;

    for (size_t i = random_below(&node->tree->random, 4); i > 0 && m; i--, m = m->parent)
        chosen = m;
    return chosen;
}

static int live(void *arg);

static void spawn_into(struct node *node, struct model *m)
{
    struct tree *tree = node->tree;
    struct node *child;
    td_spawn_opts opts;

    if (!m || tree->nodes_used == TASKS_MAX)
        return;
    child = &tree->nodes[tree->nodes_used++];
    *child = (struct node){.tree = tree, .home = m, .inner = m, .cancelled_at = NEVER, .result = 12345};
    opts = (td_spawn_opts){.result = &child->result, .handle = &child->handle};
    m->alive++;
    must(tree, td_spawn_with(&m->scope, &opts, live, child) == 0);
}

static void cancel_scope(struct model *m)
{
    if (!m)
        return;
    td_scope_cancel(&m->scope);
    m->cancelled_at = earlier(m->cancelled_at, td_now());
    m->asked_at = earlier(m->asked_at, td_now());
}

static void set_deadline(struct node *node, struct model *m)
{
    td_time at;

    if (!m)
        return;
    at = td_now() + ((td_time)random_below(&node->tree->random, 25) - 2) * UNIT;
    at += at == td_now();
    td_scope_deadline(&m->scope, at);
    m->deadline = earlier(m->deadline, at < td_now() ? td_now() : at);  /* in the past: at once */
}

static void cancel_task(struct node *node)
{
    struct tree *tree = node->tree;
    struct node *other = &tree->nodes[random_below(&tree->random, tree->nodes_used)];

    if (!other->home)
        return;  /* the first task: its cancellation would outlast the tree */
    must(tree, td_alive(other->handle) == !other->ended);
    must(tree, td_cancel(other->handle) == (other->ended ? -ESRCH : 0));
    if (!other->ended)
        other->cancelled_at = earlier(other->cancelled_at, td_now());
}

/* Whether a join may answer this, by what happened before. */
static bool may_answer(const struct model *m, int rc, td_time outside)
{
    td_time now = td_now();
    bool timed_out = m->deadline <= now, reached = outside != NEVER;

    if (m->failure && !timed_out && !reached)
        return rc == m->failure;
    if (rc == -ETIMEDOUT && timed_out)
        return true;
    if (rc == -ECANCELED && (reached || (m->asked_at != NEVER && m->gave_up)))
        return true;
    if (m->failure)
        return rc == m->failure;
    timed_out = timed_out && m->deadline < now && m->deadline < m->cancelled_at;  /* for 0 the first cause counts */
    if (rc == 0 && !timed_out && (!reached || outside == now))
        return m->asked_at == NEVER || !m->gave_up || m->gave_up_alone;
    return false;
}

static int join_scope(struct node *node)
{
    struct model *m = node->inner;
    struct tree *tree = node->tree;
    td_time began = td_now(), outside;
    int rc = td_scope_join(&m->scope);

    outside = outside_since(m);
    tree->joins++;
    must(tree, m->alive == 0);
    must(tree, td_now() == (m->last_end > began ? m->last_end : began));
    must(tree, td_scope_failures(&m->scope) == m->failures);
    if (!may_answer(m, rc, outside)) {
        must(tree, false);
        print_error("a join answers %d: failure %d, deadline %lld, asked %lld, outside %lld, gave up %d, now %lld\n", rc,
                    m->failure, (long long)m->deadline, (long long)m->asked_at, (long long)outside, m->gave_up,
                    (long long)td_now());
    }
    node->inner = m->parent;
    node->nested--;
    return rc;
}

static void look(struct node *node)
{
    struct tree *tree = node->tree;

    must(tree, td_self().id == node->handle.id || !node->home);
    if (waits_reached_since(node) == NEVER)
        must(tree, td_deadline() == deadline_of(node));
    for (const struct model *m = node->inner; m; m = m->parent)
        must(tree, td_scope_cancelled(&m->scope) || cancelled_since(m) == NEVER);
}

static int act(struct node *node)
{
    struct tree *tree = node->tree;

    switch (random_below(&tree->random, 16)) {
    case 0: case 1: case 2: case 3:
        return wait_somehow(node);
    case 4: case 5:
        open_scope(node);
        return 0;
    case 6: case 7: case 8: case 9:
        spawn_into(node, node->nested && random_below(&tree->random, 3) ? node->inner : choose_scope(node));
        return 0;
    case 10:
        set_deadline(node, choose_scope(node));
        return 0;
    case 11:
        if (random_below(&tree->random, 2))
            cancel_scope(choose_scope(node));
        return 0;
    case 12:
        if (random_below(&tree->random, 2))
            cancel_task(node);
        return 0;
    case 13:
        return node->nested ? join_scope(node) : 0;
    default:
        look(node);
        return 0;
    }
}

/* Takes note of how the task ends, as the last thing it does. */
static int end(struct node *node, int rc)
{
    struct model *home = node->home;
    bool reached = task_reached_since(node) != NEVER;

    node->ended = true;
    node->told = rc;
    home->alive--;
    home->last_end = td_now();
    if (rc >= 0)
        return rc;
    if (rc == -ECANCELED && reached) {
        home->gave_up = true;
        home->gave_up_alone = home->gave_up_alone || node->cancelled_at != NEVER;
        return rc;
    }
    home->failures++;
    if (home->collecting)
        return rc;
    if (!home->failure) {
        home->failure = rc;
        home->failed_at = td_now();
    }
    home->cancelled_at = earlier(home->cancelled_at, td_now());
    return rc;
}

static int live(void *arg)
{
    static const int endings[] = {0, 0, 0, 0, 0, 0, 7, -EIO, -EPERM, -ECANCELED};
    struct node *node = arg;
    struct tree *tree = node->tree;
    int rc = 0;

    for (size_t i = random_below(&tree->random, 9); i > 0; i--) {
        rc = act(node);
        if (rc < 0 && random_below(&tree->random, 2))
            break;
    }
    while (node->nested) {
        int join_rc = join_scope(node);

        rc = rc < 0 ? rc : join_rc;
    }
    if (rc >= 0 || random_below(&tree->random, 4) == 0)
        rc = endings[random_below(&tree->random, COUNT(endings))];
    return end(node, rc);
}

static void grow(struct tree *tree, uint64_t seed)
{
    struct node *root = &tree->nodes[0];

    tree->seed = seed;
    tree->random = (struct random){seed};
    tree->nodes_used = 1;
    tree->scopes_used = 0;
    *root = (struct node){.tree = tree, .handle = td_self(), .cancelled_at = NEVER};
    for (int i = 0; i < 3; i++) {
        if (!root->nested)
            open_scope(root);
        for (size_t children = 1 + random_below(&tree->random, 4); children > 0; children--)
            spawn_into(root, root->inner);
        for (size_t acts = random_below(&tree->random, 6); acts > 0; acts--)
            act(root);
    }
    while (root->nested)
        join_scope(root);
    for (size_t i = 1; i < tree->nodes_used; i++) {
        must(tree, tree->nodes[i].ended && !td_alive(tree->nodes[i].handle));
        must(tree, tree->nodes[i].result == tree->nodes[i].told);
    }
    must(tree, td_yield() == 0);
    must(tree, sched_current()->tasks == 1);
    must(tree, sched_current()->timers.count == 0);
}

static int grow_many(void *arg)
{
    struct random random = random_seeded();
    struct tree *tree = calloc(1, sizeof *tree);
    long trees = getenv("TREES") ? strtol(getenv("TREES"), NULL, 10) : TREES;

    if (!expect(tree != NULL))
        return -ENOMEM;
    grow(tree, random.state);  /* so that the SEED a failure names is that of its tree */
    for (long i = 1; i < trees && !tree->wrong; i++)
        grow(tree, random_next(&random));
    expect(tree->wrong || (tree->cancelled > 0 && tree->joins > (unsigned long long)trees));
    free(tree);
    return 0;
}

static void every_answer_is_one_that_the_model_allows(void **state)
{
    assert_int_equal(run_with(state, (td_opts){.virtual_time = true}, grow_many, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {ON_BOTH(every_answer_is_one_that_the_model_allows)};

    return cmocka_run_group_tests_name("task tree", tests, NULL, NULL);
}
