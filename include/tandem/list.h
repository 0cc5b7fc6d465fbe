/* SPDX-License-Identifier: MIT */
/*
 * The link that public structures embed. Its fields belong to the library.
 */
#ifndef TANDEM_LIST_H
#define TANDEM_LIST_H

struct td_list {
    struct td_list *next, *prev;
};

#endif
