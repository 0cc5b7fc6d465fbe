/* SPDX-License-Identifier: MIT */
/*
 * Errors are values: negative errno numbers. `errno` itself is never part of the interface.
 */
#ifndef TANDEM_ERROR_H
#define TANDEM_ERROR_H

#include <errno.h>  /* for the names of what functions return */

#ifdef __cplusplus
extern "C" {
#endif

/* A sentence for a return value, in Tandem's sense of it; never NULL, and constant. Any thread. */
const char *td_strerror(int rc);

#ifdef __cplusplus
}
#endif
#endif
