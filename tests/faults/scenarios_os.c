/* SPDX-License-Identifier: MIT */
/* Scenarios of files, pipes, signals and child processes. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faults/scenarios.h"

#define BYTES 5000

void fault_free(void *block);  /* what td_file_load gave counts as the library's until then */

struct place {
    char folder[48], file[64], other[64];
};

static int list(const char *path, int wanted)
{
    td_dir_entry entry;
    int count = 0, rc;
    td_dir *dir;

    rc = td_dir_open(&dir, path);
    if (rc < 0)
        return rc;
    while ((rc = td_dir_next(dir, &entry)) > 0)
        count++;
    truth(rc < 0 || count == wanted);
    td_dir_close(dir);
    return rc;
}

static int write_file(struct place *place, const char *bytes)
{
    td_file_info info;
    td_file *file;
    int rc = td_file_open(&file, place->file, O_RDWR | O_CREAT, 0600), closed;

    if (rc < 0)
        return rc;
    rc = td_file_write_all(file, bytes, BYTES);
    truth(rc < 0 || td_file_offset(file) == BYTES);
    if (rc == 0)
        rc = td_file_sync_data(file);
    if (rc == 0)
        rc = td_file_stat(file, &info);
    truth(rc < 0 || info.size == BYTES);
    if (rc == 0)
        rc = td_file_truncate(file, BYTES - 1);
    closed = td_file_close(file);
    return rc < 0 ? rc : closed;
}

static int read_file(struct place *place, const char *bytes)
{
    size_t size;
    char *data;
    int rc = td_rename(place->file, place->other);

    if (rc == 0)
        rc = td_file_load(place->other, &data, &size, 10 * BYTES);
    if (rc < 0)
        return rc;
    truth(size == BYTES - 1 && memcmp(data, bytes, size) == 0);
    fault_free(data);
    rc = list(place->folder, 1);
    return rc < 0 ? rc : td_unlink(place->other);
}

static int use_files(void *arg)
{
    struct place place = {.folder = "/tmp/tandem-faults-XXXXXX"};
    char bytes[BYTES];
    int rc;

    if (!truth(mkdtemp(place.folder) != NULL))
        return -EIO;
    rmdir(place.folder);
    snprintf(place.file, sizeof place.file, "%s/file", place.folder);
    snprintf(place.other, sizeof place.other, "%s/other", place.folder);
    memset(bytes, 'f', sizeof bytes);
    rc = td_mkdir(place.folder, 0700);
    if (rc == 0)
        rc = write_file(&place, bytes);
    if (rc == 0)
        rc = read_file(&place, bytes);
    if (rc == 0)
        rc = td_rmdir(place.folder);
    unlink(place.file);
    unlink(place.other);
    rmdir(place.folder);
    return rc;
}

static int send_on(void *arg)
{
    ssize_t n = td_fd_write(arg, "hello", 5);

    return n < 0 ? (int)n : 0;
}

static int use_fd(td_fd *reader, td_fd *writer)
{
    char text[8];
    td_scope scope;
    int rc, joined;

    td_scope_open(&scope);
    rc = td_spawn(&scope, send_on, writer);
    if (rc == 0)
        rc = (int)td_fd_read(reader, text, sizeof text);
    truth(rc < 0 || (rc == 5 && memcmp(text, "hello", 5) == 0));
    if (rc < 0)
        td_scope_cancel(&scope);
    joined = td_scope_join(&scope);
    return rc < 0 ? rc : joined;
}

/* A pipe of our own, one that others made, and a wake-up. */
static int use_pipes(void *arg)
{
    td_fd *reader, *writer, *adopted = NULL;
    td_wakeup *wakeup;
    int ends[2], rc = td_pipe(&reader, &writer);

    if (rc < 0)
        return rc;
    rc = use_fd(reader, writer);
    td_fd_close(reader);
    td_fd_close(writer);
    if (rc < 0)
        return rc;
    if (!truth(pipe2(ends, O_CLOEXEC) == 0))
        return -EIO;
    truth(write(ends[1], "x", 1) == 1);
    rc = td_fd_adopt(&adopted, ends[0]);
    if (rc == 0) {
        char byte;

        rc = (int)td_fd_read(adopted, &byte, 1);
        td_fd_release(adopted);
    }
    close(ends[0]);
    close(ends[1]);
    if (rc < 0 || (rc = td_wakeup_open(&wakeup)) < 0)
        return rc;
    td_wakeup_trigger(wakeup);
    rc = td_wakeup_wait(wakeup);
    td_wakeup_close(wakeup);
    return rc;
}

static int use_signals(void *arg)
{
    td_signal_info info;
    td_signals *signals;
    struct sigaction now;
    td_scope scope;
    int rc = td_signals_open(&signals, (const int[]){SIGUSR1, SIGUSR2, 0});

    if (rc == 0) {
        td_scope_open(&scope);
        td_scope_deadline(&scope, td_after(td_ms(200)));  /* where the handler cannot write, none comes */
        raise(SIGUSR2);
        rc = td_signals_wait(signals, &info);
        truth(rc < 0 || info.signal == SIGUSR2);
        td_scope_join(&scope);
        td_signals_close(signals);
    }
    sigaction(SIGUSR1, NULL, &now);
    truth(now.sa_handler == SIG_DFL);
    return rc;
}

static int use_children(void *arg)
{
    td_child_opts opts = {.argv = (const char *const[]){"/bin/cat", NULL}, .cwd = "/", .grace_ns = -1};
    td_child_output output;
    td_child *child;
    int rc = td_child_run(&opts, "fed", 3, &output, 1000);

    truth(rc < 0 || (strncmp(output.out, "fed", output.out_size) == 0 && output.exit.status == 0));  /* fed in vain: "" */
    truth(rc == 0 || !output.out);
    td_child_output_free(&output);
    if (rc < 0)
        return rc;
    opts.in.kind = opts.out.kind = TD_CHILD_PIPE;
    opts.err.kind = TD_CHILD_NULL;
    rc = td_child_spawn(&child, &opts);
    if (rc == 0)
        td_child_close(child);  /* in the middle of everything */
    return rc;
}

const struct scenario scenarios_os[] = {
    {"files", use_files},
    {"pipes", use_pipes},
    {"signals", use_signals},
    {"children", use_children},
    {NULL},
};
