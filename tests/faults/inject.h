/* SPDX-License-Identifier: MIT */
/*
 * Faults by counter: the library's calls out of itself go through wrappers (its archive is copied with other names for
 * them), which count them, let one of them fail, and keep account of what was taken and not given back.
 *
 * A fault is named by who calls (the loop's thread, other threads of the program, its child processes), what is called,
 * the how-manieth such call it is, the error, and whether the calls after it fail alike. All of that is shared with
 * the processes that the library forks.
 */
#ifndef TANDEM_TESTS_FAULTS_INJECT_H
#define TANDEM_TESTS_FAULTS_INJECT_H

#include <stdbool.h>
#include <stddef.h>

enum fault_role { ROLE_LOOP, ROLE_THREAD, ROLE_CHILD, FAULT_ROLES };

#define CALL(type, name, ...) FAULT_##name,
#define OWN(name, ...) FAULT_##name,
#define RING(name, ...) FAULT_RING_##name,
#define SAFE(name)
enum fault_call {
#include "faults/calls.h"
    FAULT_CALLS
};
#undef CALL
#undef OWN
#undef RING
#undef SAFE

struct fault {
    enum fault_role role;
    enum fault_call call;
    unsigned nth;   /* from 1; 0: none fails */
    int error;      /* an errno */
    bool on;        /* and all such calls after it */
};

const char *fault_role_name(enum fault_role role);
const char *fault_call_name(enum fault_call call);

/* The errors a call may fail with, ended by 0. */
const int *fault_errors(enum fault_call call);

/* Once in a process, before everything else. Nothing fails yet. Aborts when there is no memory. */
void faults_open(void);

/* From here to faults_end calls are counted, and the given one fails; the calling thread is the loop's. */
void faults_begin(const struct fault *fault);
void faults_end(void);

/* Whether the last run met its fault. */
bool faults_hit(void);

/* What the last run's library logged; a window on it at least. */
const char *faults_log(void);

/* Describes what the library took since faults_begin and holds still. Returns how many things. */
unsigned faults_left(char *text, size_t size);

/* For the wrappers. */

/* Counts a call. True: it is to fail, and errno says how. */
bool fault_due(enum fault_call call);

enum fault_thing { BLOCK, MAPPING, FILE_HANDLE, THREAD, RING_THING };

/* What the library took and gave back, by its address; `caller` is the code that took it. */
void fault_take_note(const void *at, enum fault_thing kind, size_t size, const void *caller);
void fault_strike_out(const void *at, enum fault_thing kind);

int faults_error(void);
void faults_keep_log(const char *data, size_t size);
void faults_ring_begin(void);

#endif
