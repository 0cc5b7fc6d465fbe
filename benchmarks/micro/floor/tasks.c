/* SPDX-License-Identifier: MIT */
/*
 * tasks switch|spawn COUNT [TASKS]: the least that does a switch, and the start and end of a task: no scheduler, no
 * waits, no scopes. Contexts jump to each other in a fixed ring.
 */
#include "../measure.h"

/* Saves the callee's registers and the stack in *save, and leaves for another stack by a jump. */
void floor_jump(void **save, void *load);
__asm__(".text\n"
        "floor_jump:\n"
        "    push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15\n"
        "    mov %rsp, (%rdi)\n"
        "    mov %rsi, %rsp\n"
        "    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; pop %rcx\n"
        "    jmp *%rcx\n");

struct context {
    void *sp;
    struct context *next;
};

static struct context caller, *current;

static void *fresh(char *top, void (*entry)(void))
{
    void **sp = (void **)(top - 64);

    sp[6] = (void *)entry;  /* six registers below it */
    return sp;
}

static void go_on(struct context *to)
{
    struct context *from = current;

    current = to;
    floor_jump(&from->sp, to->sp);
}

static void turn(void)
{
    for (;;)
        go_on(current->next);
}

static void measure_switch(long count, long tasks)
{
    struct context *ring = calloc((size_t)tasks, sizeof *ring);
    char *stacks = malloc((size_t)tasks * 65536);

    if (!ring || !stacks)
        exit(1);
    for (long i = 1; i < tasks; i++)  /* the caller is the first of them */
        ring[i] = (struct context){fresh(stacks + (i + 1) * 65536, turn), ring + i + 1};
    ring[tasks - 1].next = &caller;
    caller.next = &ring[1];
    current = &caller;
    for (long i = 0; i < count; i += tasks)
        go_on(caller.next);
    free(stacks);
    free(ring);
}

static void end_at_once(void)
{
    go_on(&caller);
}

static void measure_spawn(long count, long tasks)
{
    struct context task;
    char *stack = malloc(65536);

    (void)tasks;
    if (!stack)
        exit(1);
    current = &caller;
    for (long i = 0; i < count; i++) {
        task.sp = fresh(stack + 65536, end_at_once);
        go_on(&task);
    }
    free(stack);
}

int main(int argc, char **argv)
{
    long count = argc > 2 ? strtol(argv[2], NULL, 10) : 0, tasks = argc > 3 ? strtol(argv[3], NULL, 10) : 2;
    void (*run)(long, long) = argc > 1 && strcmp(argv[1], "switch") == 0 ? measure_switch : measure_spawn;
    struct stopwatch watch;

    if (count < 1 || tasks < 2)
        return 1;
    run(count / 10, tasks);
    watch = start_watch();
    run(count, tasks);
    print_each(watch, count);
    return 0;
}
