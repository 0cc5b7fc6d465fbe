/* SPDX-License-Identifier: MIT */
/*
 * Programming errors end the program with a sentence that says what to do (law 8).
 */
#ifndef TANDEM_BASE_FAIL_H
#define TANDEM_BASE_FAIL_H

#include <stdlib.h>

#include "tandem/log.h"

#define fail(...) (td_log(TD_LOG_ERROR, __VA_ARGS__), abort())

#endif
