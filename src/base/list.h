/* SPDX-License-Identifier: MIT */
/*
 * Intrusive doubly linked lists. A list is a node that points to itself when it is empty; a member that is in no list
 * points to itself too, so that removing it twice is harmless and `list_linked` can be asked.
 */
#ifndef TANDEM_BASE_LIST_H
#define TANDEM_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/list.h"

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

static inline void list_init(struct td_list *list)
{
    list->next = list->prev = list;
}

static inline bool list_empty(const struct td_list *list)
{
    return list->next == list;
}

static inline bool list_linked(const struct td_list *node)
{
    return node->next != node;
}

static inline void list_insert_before(struct td_list *at, struct td_list *node)
{
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}

static inline void list_push_back(struct td_list *list, struct td_list *node)
{
    list_insert_before(list, node);
}

static inline void list_push_front(struct td_list *list, struct td_list *node)
{
    list_insert_before(list->next, node);
}

static inline void list_remove(struct td_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* Removes and returns the first node; NULL when the list is empty. */
static inline struct td_list *list_pop_front(struct td_list *list)
{
    struct td_list *first = list->next;

    if (first == list)
        return NULL;
    list_remove(first);
    return first;
}

/* Moves all nodes to `to`, which need not be a list yet; `from` is empty then. */
static inline void list_move_all(struct td_list *to, struct td_list *from)
{
    list_init(to);
    if (list_empty(from))
        return;
    *to = *from;
    to->next->prev = to->prev->next = to;
    list_init(from);
}

#endif
