/* SPDX-License-Identifier: MIT */
/*
 * Children for the tests: shell scripts.
 */
#ifndef TANDEM_TESTS_CHILD_SHELL_H
#define TANDEM_TESTS_CHILD_SHELL_H

#include "run/harness.h"

#define SHELL(script) (const char *const[]){"/bin/sh", "-c", script, NULL}

/* Whether no process has this number, zombies included. */
UNUSED static bool process_is_gone(pid_t pid)
{
    return kill(pid, 0) < 0 && errno == ESRCH;
}

UNUSED static bool starts_with(const char *text, const char *start)
{
    return text && strncmp(text, start, strlen(start)) == 0;
}

#endif
