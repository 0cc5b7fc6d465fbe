/* SPDX-License-Identifier: MIT */
#include "tandem/error.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

/* What a value means here, where the C library's word for it would mislead. */
static const struct {
    int code;
    const char *text;
} meanings[] = {
    {ECANCELED, "cancelled: a scope around the caller was cancelled"},
    {ETIMEDOUT, "the deadline passed"},
    {EBUSY, "the queue is full"},
    {EOWNERDEAD, "the worker process died (or, in a forked child: the loop is the parent's)"},
    {EPIPE, "closed"},
    {EFAULT, "memory that another process cannot see: use td_shared_alloc"},
    {EDEADLK, "deadlock: every task waits and nothing is pending"},
    {EMSGSIZE, "larger than the limit allows"},
};

const char *td_strerror(int rc)
{
    int code;
    const char *text;

    if (rc >= 0)
        return "success";
    code = rc < -INT_MAX ? INT_MAX : -rc;
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (meanings[i].code == code)
            return meanings[i].text;
    text = strerrordesc_np(code);  /* constant, unlike strerror's buffer */
    return text ? text : "unknown error";
}
