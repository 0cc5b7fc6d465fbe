/* SPDX-License-Identifier: MIT */
/*
 * Child processes: other programs, started, fed, listened to and ended.
 *
 *     td_child_output output;
 *     int rc = td_child_run(&(td_child_opts){.argv = (const char *const[]){"sox", "-", "-t", "wav", "-", NULL}},
 *                           audio, audio_size, &output, 1 << 20);
 *
 * A child begins with no signal blocked and all dispositions at their defaults, and with no descriptor but the standard
 * ones. It does not outlive its td_child: td_child_close ends it, which one calls on every path, as one does when a scope
 * is cancelled. No process stays behind unreaped.
 *
 * Everything here is for tasks; a child belongs to the loop that started it.
 */
#ifndef TANDEM_CHILD_H
#define TANDEM_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "tandem/io.h"
#include "tandem/time.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_child td_child;

typedef enum td_child_stdio_kind {
    TD_CHILD_INHERIT = 0,  /* the program's own */
    TD_CHILD_NULL,         /* /dev/null */
    TD_CHILD_PIPE,         /* a pipe: td_child_stdin, td_child_stdout, td_child_stderr have our end */
    TD_CHILD_FD,           /* the descriptor `fd`, which stays the caller's */
    TD_CHILD_STDOUT,       /* for standard error: where standard output goes */
} td_child_stdio_kind;

typedef struct td_child_stdio {
    td_child_stdio_kind kind;
    int fd;
} td_child_stdio;

typedef struct td_child_opts {
    const char *const *argv;     /* ends with NULL; argv[0] is looked for in PATH unless it has a slash */
    const char *const *env;      /* ends with NULL; NULL: the program's own */
    const char *cwd;             /* the folder to start in, also for an argv[0] with a slash; NULL: the program's own */
    td_child_stdio in, out, err; /* standard input, output, error */
    bool new_group;              /* a process group of its own: signals go to all of it, a terminal's Ctrl-C does not */
    td_time grace_ns;            /* from SIGTERM to SIGKILL in td_child_close; 0: 2 seconds; negative: no SIGTERM */
} td_child_opts;

/*
 * Starts a program. A thread does it, so the loop goes on.
 *
 * Checkpoint: yes.  Returns 0 and *child; -ENOENT, -EACCES, -ENOEXEC, ... when the program cannot be executed (the log
 * says which); -EINVAL for options that make no sense; -EAGAIN at the system's limit of processes; -EMFILE, -ENFILE,
 * -ENOMEM; -ECANCELED. On an error there is no process.
 */
int td_child_spawn(td_child **child, const td_child_opts *opts);

/* How a child ended. */
typedef struct td_child_exit {
    int status;        /* what it gave to exit; -1 when a signal ended it */
    int signal;        /* the signal that ended it; 0 when it called exit */
    bool core_dumped;
} td_child_exit;

/*
 * Waits until the child has ended. Again afterwards, it says the same. Any number of tasks may wait.
 *
 * Checkpoint: yes.  Returns 0 and *exit (which may be NULL); -ECANCELED, and then the child goes on; -ECHILD when
 * somebody else took its end (the program ignores SIGCHLD, or waits for any child), so that nobody knows.
 */
int td_child_wait(td_child *child, td_child_exit *exit);

/* Sends a signal, never to another process. Not a checkpoint. Returns 0; -ESRCH when its end was taken; -EINVAL; -EPERM. */
int td_child_signal(td_child *child, int signal);

/* Its number, for messages. Not a checkpoint. */
pid_t td_child_pid(const td_child *child);

/* Our ends of the pipes; NULL where there is none. They are the child's: td_child_close closes them. Not checkpoints. */
td_fd *td_child_stdin(td_child *child);
td_fd *td_child_stdout(td_child *child);
td_fd *td_child_stderr(td_child *child);

/* Closes our end of its standard input: no more comes. Harmless when there is none. Not a checkpoint. */
void td_child_end_input(td_child *child);

/*
 * Frees it. A child that has not ended is ended: SIGTERM, and after the grace time SIGKILL. With `new_group` that goes for
 * its whole group.
 *
 * Waits for the child's end, cancelled or not.
 */
void td_child_close(td_child *child);

/* What a child wrote to its pipes (each followed by a zero byte that does not count), and how it ended. */
typedef struct td_child_output {
    char *out, *err;        /* NULL where there is no pipe */
    size_t out_size, err_size;
    td_child_exit exit;
} td_child_output;

/*
 * Feeds the child's standard input and ends it, reads standard output and error until their ends, all at the same time,
 * and waits for the child. That it does not read all of its input is no error.
 *
 * Checkpoint: yes.  Returns 0 and *output, to be given to td_child_output_free; -EMSGSIZE when one of the outputs has more
 * than `bytes_max` bytes; -EINVAL when bytes_max is 0, or there is input and no pipe for it; -ENOMEM; -ECANCELED; as
 * td_child_wait. On an error *output is empty, and the child may be running: td_child_close ends it.
 */
int td_child_communicate(td_child *child, const void *input, size_t input_size, td_child_output *output, size_t bytes_max);

/*
 * Starts a program, communicates, and ends it whatever comes. What opts inherits is a pipe here, for standard input only
 * when there is something to feed, otherwise nothing.
 *
 * Checkpoint: yes.  Returns as td_child_spawn and td_child_communicate. A program that fails is a success: see output->exit.
 */
int td_child_run(const td_child_opts *opts, const void *input, size_t input_size, td_child_output *output, size_t bytes_max);

/* Frees what it holds, and empties it. Harmless when repeated. Not a checkpoint; any thread. */
void td_child_output_free(td_child_output *output);

#ifdef __cplusplus
}
#endif
#endif
