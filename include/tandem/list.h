/* SPDX-License-Identifier: MIT */
/*
 * The links that public structures embed. Their fields belong to the library.
 */
#ifndef TANDEM_LIST_H
#define TANDEM_LIST_H

struct td_list {
    struct td_list *next, *prev;
};

/* What a task has to give back before it ends, linked to its others; `what` names it when it does not. */
struct td_held {
    struct td_held *next;
    const char *what;
};

#endif
