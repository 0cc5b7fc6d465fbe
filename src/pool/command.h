/* SPDX-License-Identifier: MIT */
/*
 * Workers in other languages: a program of its own, told of its jobs through a socket. The data stays in shared memory.
 *
 * Its page is there as any worker's, and the pool treats it so; but it is this side that takes the jobs from the page
 * and sends them, one call at a time: an item of a map is a message of its own. What comes back is believed as far as it can be
 * checked; whoever sends anything else is killed. docs/shared-memory.md describes the messages for those who write workers.
 *
 * Messages are packets of a SOCK_SEQPACKET socket, little-endian, one structure below each.
 */
#ifndef TANDEM_POOL_COMMAND_H
#define TANDEM_POOL_COMMAND_H

#include <stddef.h>
#include <stdint.h>

#include "pool/pool.h"

#define COMMAND_FD 3                                /* where a worker finds its socket */
#define COMMAND_MAGIC UINT64_C(0x726b726f77646e74)  /* "tndworkr" */
#define COMMAND_VERSION 1
#define COMMAND_BYTES_MAX (128u * 1024)             /* of the argument vector */

/* To the worker, first: with it come two descriptors, of the arena's main file and of the one for outputs. */
struct command_hello {
    uint64_t magic;
    uint32_t version;
    uint32_t job_bytes;      /* of the messages that follow */
    uint64_t main_size;      /* bytes of the main file; both files begin with the header that docs/shared-memory.md describes */
    uint64_t output_offset;  /* offsets are counted through both files: from here on they lie in the second */
    uint64_t output_size;
    uint32_t worker;         /* its number in its pool, from 0 */
    uint32_t nothing;
};

/* From the worker, first: it is ready for jobs. */
struct command_ready {
    uint64_t magic;
    uint32_t version;        /* that it speaks: what it was told, or less */
    uint32_t nothing;
};

/* To the worker: call the function of this number. */
struct command_job {
    uint64_t ticket;         /* to be sent back */
    uint32_t op;
    uint32_t output_size;    /* bytes of room for what it makes; 0: none */
    uint64_t arg;            /* offset of the argument */
    uint64_t arg_size;       /* bytes from there to the end of its block, or of its item of a map; 0: no argument */
    uint64_t output;         /* offset of that room */
};

/* From the worker: the job is done. */
struct command_done {
    uint64_t ticket;
    int32_t rc;              /* 0 or more; or a negative errno, as numbered by Linux */
    uint32_t nothing;
};

_Static_assert(sizeof(struct command_hello) == 48 && sizeof(struct command_ready) == 16 && sizeof(struct command_job) == 40 &&
               sizeof(struct command_done) == 16, "see docs/shared-memory.md");

/* The bytes of an argument vector (ends with NULL) as one text, each string with its 0; 0 when there are none, or too many. */
size_t command_bytes(const char *const *arguments);
void command_write(char *text, const char *const *arguments);

/* The vector again, whose strings lie in the text; to be freed. NULL: no memory. */
char **command_arguments(char *text, size_t bytes);

/* Whether the workers of the pool can run fn: those of a command what td_op made, others anything else but NULL. */
bool command_fits(const td_pool *pool, td_fn fn);

/*
 * One incarnation of a worker. Opened (0 or a negative errno) before it is asked for; `born` when it is; `give` when there
 * is a job in its page; `hang_up` asks it to end; `close` when it is dead, or was never born.
 */
int command_open(struct worker *worker, struct command **command);
int command_far_end(const struct command *command);  /* for the worker */
bool command_distrusted(const struct command *command);  /* we kill it: it sent what no worker sends */
void command_born(struct command *command);
void command_give(struct command *command);
void command_hang_up(struct command *command);
void command_close(struct command *command);

#endif
