/* SPDX-License-Identifier: MIT */
/*
 * A folder of its own for each test, and what is left in it at the end.
 */
#ifndef TANDEM_TESTS_FILE_FOLDER_H
#define TANDEM_TESTS_FILE_FOLDER_H

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "run/harness.h"

struct folder {
    char path[64];
    char text[256];  /* of the latest folder_path */
};

static struct folder folder_make(void)
{
    struct folder folder = {.path = "/tmp/tandem-test-XXXXXX"};

    assert_non_null(mkdtemp(folder.path));
    return folder;
}

/* Valid until the next call. */
UNUSED static const char *folder_path(struct folder *folder, const char *name)
{
    snprintf(folder->text, sizeof folder->text, "%s/%s", folder->path, name);
    return folder->text;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    return remove(path);
}

static void folder_remove(struct folder *folder)
{
    (void)nftw(folder->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Runs fn(folder) as a task on the case's backend, in a folder of its own. */
UNUSED static int run_in_folder(void **state, td_fn fn)
{
    struct folder folder = folder_make();
    int rc = run(state, fn, &folder);

    folder_remove(&folder);
    return rc;
}

#endif
