/* SPDX-License-Identifier: MIT */
/*
 * The tree: a scope has tasks; a task owns the scopes between its innermost one and the one it was spawned in, each
 * inside the one before.
 */
#include "debug/tree.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define CHUNK 4096          /* no page is smaller */
#define TEXT_MAX 160        /* of a site, a name, or what is waited for */
#define OWN_SCOPES 8       /* of one task, that are shown */
#define SCOPES_MAX 1000    /* of one task: then the chain is in a ring */

struct tree_room *tree_room_open(void)
{
    void *room = mmap(NULL, sizeof(struct tree_room), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                      -1, 0);

    return room == MAP_FAILED ? NULL : room;
}

void tree_room_close(struct tree_room *room)
{
    if (room)
        munmap(room, sizeof *room);
}

/* Copies what stands at `from`. False: nothing does. */
__attribute__((no_sanitize("address", "thread"))) static bool copy(const struct tree *tree, void *to, const void *from,
                                                                   size_t size)
{
    struct iovec here = {to, size}, there = {(void *)(uintptr_t)from, size};

    if (tree->is_checked) {
        ssize_t n = process_vm_readv(getpid(), &here, 1, &there, 1, 0);

        if (n == (ssize_t)size)
            return true;
        if (n >= 0 || (errno != ENOSYS && errno != EPERM))
            return false;
        /* A container forbids the call: then as if the lists were sound, which they nearly always are. */
    }
    for (size_t i = 0; i < size; i++)
        ((char *)to)[i] = ((const volatile char *)from)[i];
    return true;
}

/* A text of which only the first part counts when it is long. Read by pages: each read costs a system call when checked. */
static const char *copy_text(const struct tree *tree, char *to, size_t size, const char *from)
{
    size_t at = 0;

    while (from && at + 1 < size) {
        size_t chunk = tree->is_checked ? CHUNK - (uintptr_t)(from + at) % CHUNK : 1;

        chunk = chunk < size - 1 - at ? chunk : size - 1 - at;
        if (!copy(tree, to + at, from + at, chunk))
            break;
        to[at + chunk] = '\0';
        chunk -= strlen(to + at);
        at = strlen(to);
        if (chunk > 0)  /* its end was in there */
            break;
    }
    to[at] = '\0';
    return at > 0 ? to : "?";
}

enum state { RUNNING, WAITING, READY };

/* A task's copy, with what was found beside it. */
struct view {
    const struct td_task *at;
    struct td_task task;
    struct wait wait;
    enum state state;
    size_t used;                  /* bytes of stack, the task's own struct not counted */
    struct registers registers;
    bool has_registers;
};

static bool look_at(const struct tree *tree, const struct td_task *at, struct view *view)
{
    const char *sp, *low;

    view->at = at;
    view->wait = (struct wait){0};
    view->has_registers = false;
    view->used = 0;
    if (!copy(tree, &view->task, at, sizeof view->task) || view->task.sched != tree->sched)
        return false;
    low = view->task.stack.low;
    sp = context_stack_pointer(&view->task.context);
    if (atomic_load_explicit(&tree->sched->current, memory_order_relaxed) == at)
        view->state = RUNNING;
    else
        view->state = view->task.wait ? WAITING : READY;
    if (view->task.wait && !copy(tree, &view->wait, view->task.wait, sizeof view->wait))
        view->wait = (struct wait){0};
    if (view->state == RUNNING) {
        view->has_registers = tree->running != NULL;
        if (tree->running)
            view->registers = *tree->running;
    } else if (low && sp > low && sp < (const char *)at) {
        registers_of_context(&view->registers, &view->task.context);
        view->has_registers = true;
    }
    if (view->has_registers)
        sp = (const char *)view->registers.at[UNWIND_SP];
    if (low && sp > low && sp < (const char *)at)
        view->used = (size_t)((const char *)at - sp);
    return true;
}

/* The next task of a scope's list, NULL at its end. */
static const struct td_task *task_behind(struct tree *tree, const struct td_list *head, const struct td_list *link)
{
    struct td_list here;

    if (++tree->steps > TREE_STEPS_MAX || !copy(tree, &here, link, sizeof here) || !here.next || here.next == head)
        return NULL;
    return container_of(here.next, struct td_task, sibling);
}

/*
 * The scopes that a task has open, the outermost first: they lie between its innermost one and its home. Returns how many
 * were written to `scopes`; the innermost of more than there is room for are left out.
 */
static size_t scopes_of(const struct tree *tree, const struct td_task *task, const struct td_scope **scopes, size_t room)
{
    const struct td_scope *at;
    struct td_scope scope;
    size_t depth = 0, i = 0;

    for (at = task->scope; at && at != task->home && depth < SCOPES_MAX; at = scope.parent, depth++)
        if (!copy(tree, &scope, at, sizeof scope))
            return 0;
    for (at = task->scope; i < depth; at = scope.parent, i++) {
        if (!copy(tree, &scope, at, sizeof scope))
            return 0;
        if (depth - 1 - i < room)
            scopes[depth - 1 - i] = at;
    }
    return depth < room ? depth : room;
}

static uint64_t mix(uint64_t digest, uint64_t value)
{
    digest ^= value;
    return (digest ^ digest >> 29) * 0x9e3779b97f4a7c15u;
}

/* By what it says: each channel may have a text of its own. */
static uint64_t digest_text(const struct tree *tree, const char *string)
{
    uint64_t digest = 0;
    char text[TEXT_MAX];

    for (const char *at = copy_text(tree, text, sizeof text, string); *at; at++)
        digest = mix(digest, (unsigned char)*at);
    return digest;
}

static uint64_t digest_of(struct tree *tree, const struct view *view, unsigned depth);

static uint64_t digest_scope(struct tree *tree, const struct td_scope *at, unsigned depth)
{
    struct td_scope scope;
    const struct td_task *task;
    struct view view;
    uint64_t sum = 0;

    if (!copy(tree, &scope, at, sizeof scope))
        return 0;
    /* A sum, because the order of the tasks is no difference. */
    for (task = task_behind(tree, &at->tasks, &at->tasks); task && depth < TREE_DEPTH_MAX;
         task = task_behind(tree, &at->tasks, &task->sibling))
        if (look_at(tree, task, &view))
            sum += digest_of(tree, &view, depth + 1);
    return mix(mix(sum, scope.cancelled), scope.cancelled ? scope.cause : (uint64_t)scope.shielded << 8 | scope.deadline.armed);
}

/*
 * Equal for tasks that a reader would call alike. In place of the whole backtrace stand the depth of the stack and the
 * last return address, which hardly ever agree by chance for the same wait in the same kind of task.
 */
static uint64_t digest_of(struct tree *tree, const struct view *view, unsigned depth)
{
    const struct td_scope *scopes[OWN_SCOPES];
    size_t n = scopes_of(tree, &view->task, scopes, OWN_SCOPES);
    const char *site = atomic_load_explicit(&view->task.site, memory_order_relaxed);
    uint64_t digest = mix(mix((uint64_t)view->state + 1, (uintptr_t)site), (uintptr_t)view->task.fn);

    digest = mix(digest, (uintptr_t)view->task.name);
    digest = mix(mix(digest, view->wait.what ? digest_text(tree, view->wait.what) : 0), view->used);
    if (view->has_registers)
        digest = mix(digest, view->registers.at[UNWIND_PC]);
    for (size_t i = 0; i < n; i++)
        digest = mix(digest, digest_scope(tree, scopes[i], depth));
    return digest;
}

/* Adds the task to its group, or begins one. False: there is no room for another group. */
static bool gather(struct tree *tree, struct tree_group *groups, size_t *count, const struct view *view, uint64_t digest)
{
    struct tree_group *group = groups;

    while (group < groups + *count && group->digest != digest)
        group++;
    if (group == groups + *count) {
        if (*count == TREE_GROUPS_A_SCOPE || tree->groups_used == TREE_GROUPS)
            return false;
        tree->groups_used++;
        ++*count;
        *group = (struct tree_group){digest, 0, view->at, view->wait.since, view->wait.since, 0};
    }
    group->count++;
    if (view->wait.since < group->since_min)
        group->since_min = view->wait.since;
    if (view->wait.since > group->since_max)
        group->since_max = view->wait.since;
    if (view->used > group->used_max)
        group->used_max = view->used;
    return true;
}

/* How much of the stack was ever touched, in whole pages: what is resident, and was not given back since. */
static size_t touched(const struct view *view)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), high = (uintptr_t)view->at;
    uintptr_t at = ((uintptr_t)view->task.stack.low + page - 1) & ~(page - 1);
    unsigned char resident[64];

    while (at < high) {
        size_t pages = (high - at + page - 1) / page;

        pages = pages > sizeof resident ? sizeof resident : pages;
        if (mincore((void *)at, pages * page, resident) < 0)
            return 0;
        for (size_t i = 0; i < pages; i++)
            if (resident[i] & 1)
                return high - (at + i * page);
        at += pages * page;
    }
    return 0;
}

static void write_wait(struct tree *tree, const struct tree_group *group, const struct view *view)
{
    struct text *text = &tree->text;
    char what[TEXT_MAX];

    text_add(text, group->count > 1 ? " wait: " : " waits: ");
    text_add(text, copy_text(tree, what, sizeof what, view->wait.what));
    if (!group->since_min)
        return;
    text_add(text, ", for ");
    text_duration(text, tree->now - group->since_max);
    if (group->count > 1) {
        text_add(text, " to ");
        text_duration(text, tree->now - group->since_min);
    }
}

static void write_stack(struct tree *tree, const struct tree_group *group, const struct view *view)
{
    struct text *text = &tree->text;

    text_add(text, group->count > 1 ? "; stack at most " : "; stack ");
    text_bytes(text, group->used_max);
    text_add(text, " of ");
    text_bytes(text, (size_t)((const char *)view->at - view->task.stack.low));
    text_add(text, ", touched ");
    text_bytes(text, touched(view));
}

static void write_frames(struct tree *tree, const struct view *view, unsigned depth)
{
    uintptr_t frames[FRAMES_MAX];
    size_t n = 0;

    if (view->has_registers)
        n = unwind(&view->registers, view->task.stack.low, view->at, frames, FRAMES_MAX);
    for (size_t i = 0; i < n; i++) {
        text_indent(&tree->text, depth + 2);
        text_add(&tree->text, "at ");
        text_address(&tree->text, frames[i], false);
        text_add(&tree->text, "\n");
    }
}

static void write_scope(struct tree *tree, const struct td_scope *at, unsigned depth);

static void write_group(struct tree *tree, const struct tree_group *group, unsigned depth)
{
    static const char *const one[] = {" runs", "", " is ready"}, *const many[] = {" run", "", " are ready"};
    const struct td_scope *scopes[OWN_SCOPES];
    struct text *text = &tree->text;
    struct view view;
    char site[TEXT_MAX];
    size_t n;

    if (!look_at(tree, group->first, &view))
        return;
    text_indent(text, depth);
    if (group->count > 1)
        text_decimal(text, group->count);
    text_add(text, group->count > 1 ? " tasks spawned at " : "task spawned at ");
    text_add(text, copy_text(tree, site, sizeof site, atomic_load_explicit(&view.task.site, memory_order_relaxed)));
    if (view.state == WAITING)
        write_wait(tree, group, &view);
    else
        text_add(text, (group->count > 1 ? many : one)[view.state]);
    text_add(text, "; ");
    text_address(text, (uintptr_t)view.task.fn, true);
    text_add(text, "()");
    if (view.task.name) {
        text_add(text, " \"");
        text_add(text, copy_text(tree, site, sizeof site, view.task.name));
        text_add(text, "\"");
    }
    write_stack(tree, group, &view);
    text_add(text, group->count > 1 ? "; the first is task " : "; task ");
    text_decimal(text, view.task.id);
    text_add(text, "\n");
    write_frames(tree, &view, depth);
    n = scopes_of(tree, &view.task, scopes, OWN_SCOPES);
    for (size_t i = 0; i < n; i++)
        write_scope(tree, scopes[i], depth + 1 + (unsigned)i);
}

static void write_scope_state(struct tree *tree, const struct td_scope *scope)
{
    struct text *text = &tree->text;
    const char *cause = scope_cause(scope);

    text_decimal(text, scope->running);
    text_add(text, scope->running == 1 ? " task" : " tasks");
    if (scope->shielded)
        text_add(text, ", shielded");
    if (scope->deadline.armed) {
        text_add(text, ", deadline in ");
        text_duration(text, scope->deadline.at - tree->now);
    }
    if (cause) {
        text_add(text, ", cancelled: ");
        text_add(text, cause);
    }
    text_add(text, "\n");
}

static void write_scope(struct tree *tree, const struct td_scope *at, unsigned depth)
{
    struct tree_group *groups = tree->room->groups + tree->groups_used;
    size_t count = 0, others = 0, before = tree->groups_used;
    struct td_scope scope;
    struct view view;

    text_indent(&tree->text, depth);
    if (!copy(tree, &scope, at, sizeof scope)) {
        text_add(&tree->text, "a scope that cannot be read\n");
        return;
    }
    text_add(&tree->text, scope.parent ? "scope: " : "root scope: ");
    write_scope_state(tree, &scope);
    if (depth >= TREE_DEPTH_MAX) {
        text_indent(&tree->text, depth + 1);
        text_add(&tree->text, "(nested too deeply for this dump)\n");
        return;
    }
    for (const struct td_task *task = task_behind(tree, &at->tasks, &at->tasks); task;
         task = task_behind(tree, &at->tasks, &task->sibling)) {
        if (!look_at(tree, task, &view))
            break;
        others += !gather(tree, groups, &count, &view, digest_of(tree, &view, depth));
    }
    for (size_t i = 0; i < count; i++)
        write_group(tree, &groups[i], depth + 1);
    if (others > 0) {
        text_indent(&tree->text, depth + 1);
        text_decimal(&tree->text, others);
        text_add(&tree->text, " more tasks, of further kinds\n");
    }
    tree->groups_used = before;
}

void tree_write(struct tree *tree)
{
    static const char cut[] = "(the dump ends here: it is limited to 1 MiB)\n";

    tree->text = (struct text){.data = tree->room->text, .room = sizeof tree->room->text - sizeof cut};
    tree->now = td_now();
    tree->groups_used = tree->steps = 0;
    write_scope(tree, &tree->sched->root, 0);
    if (tree->steps > TREE_STEPS_MAX)
        text_add(&tree->text, "(the dump ends here: its lists do not end, so memory is damaged)\n");
    if (tree->text.is_cut) {
        memcpy(tree->text.data + tree->text.size, cut, sizeof cut - 1);
        tree->text.size += sizeof cut - 1;
    }
}
