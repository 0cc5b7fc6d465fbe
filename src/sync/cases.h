/* SPDX-License-Identifier: MIT */
/*
 * The kinds of cases of a select. There are three: those that wait in an object's queue, times, and descriptors.
 */
#ifndef TANDEM_SYNC_CASES_H
#define TANDEM_SYNC_CASES_H

#include "base/list.h"
#include "tandem/select.h"

struct td_case_kind {
    bool (*ready)(const td_case *one);       /* it need not wait; NULL for a descriptor, of which only the kernel knows */
    int (*happen)(td_case *one);             /* when ready: does it, and returns its result */
    struct td_list *(*queue)(td_case *one);  /* where it waits, with `item` for its slot; NULL for a time or descriptor */
    short events;                            /* of a descriptor: POLLIN or POLLOUT */
    /*
     * Not NULL: what it waits for comes from outside. Called when it is in its queue, and asks for it; the case may be ready
     * then, without having been woken.
     */
    void (*begin)(td_case *one);
};

/* Of descriptors. Upper floors use the first with `on` for an io_file of theirs, which nobody else reads meanwhile. */
extern const struct td_case_kind case_readable, case_writable;

#endif
