/* SPDX-License-Identifier: MIT */
/*
 * The tree of scopes and tasks of one scheduler, as text. Tasks of a scope that are alike (where they were spawned,
 * what they wait for, how deep they stand) are told once, with their number, so that a dump of 10,000 connections is
 * read in a minute.
 *
 * It allocates nothing and locks nothing, and it reads what it walks with care when asked to, so that it can be
 * written in a signal handler that interrupted the loop anywhere, and from another thread while the loop is stuck.
 */
#ifndef TANDEM_DEBUG_TREE_H
#define TANDEM_DEBUG_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "debug/text.h"
#include "debug/unwind.h"
#include "task/task.h"

#define TREE_TEXT_BYTES (1024 * 1024)
#define TREE_GROUPS 4096         /* in use at one time */
#define TREE_GROUPS_A_SCOPE 256
#define TREE_DEPTH_MAX 20        /* scopes inside each other; deeper ones are counted */
#define TREE_STEPS_MAX 4000000   /* tasks looked at, again for each scope around them: then the lists are in a ring */

struct tree_group {
    uint64_t digest;
    size_t count;
    const struct td_task *first;
    td_time since_min, since_max;
    size_t used_max;             /* bytes of stack */
};

/* The room a dump is made in; too large for a task's stack. */
struct tree_room {
    struct tree_group groups[TREE_GROUPS];
    char text[TREE_TEXT_BYTES];
};

/* Memory for a dump, untouched until it is used; NULL when there is none. */
struct tree_room *tree_room_open(void);
void tree_room_close(struct tree_room *room);

struct tree {
    const struct sched *sched;
    struct tree_room *room;
    struct text text;                   /* the result */
    td_time now;
    bool is_checked;                    /* read through the kernel, which refuses what is not there */
    const struct registers *running;    /* of the current task's thread, when known */
    size_t groups_used, steps;
};

/* Writes the tree to tree->text. The caller sets sched, room, is_checked and running before, the rest to zero. */
void tree_write(struct tree *tree);

#endif
