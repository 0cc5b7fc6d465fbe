/* SPDX-License-Identifier: MIT */
/* Listing a folder: every entry once, however many. */
#include "file/folder.h"

#define MANY 1500  /* several batches */

static int list_many(void *arg)
{
    struct folder *folder = arg;
    static char seen[MANY];
    td_dir_entry entry;
    int count = 0, rc;
    td_dir *dir;

    memset(seen, 0, sizeof seen);
    for (int i = 0; i < MANY; i++) {
        char name[64];

        snprintf(name, sizeof name, "an entry with quite a long name %d", i);
        expect_int(close(open(folder_path(folder, name), O_WRONLY | O_CREAT, 0600)), 0);
    }
    expect_int(td_dir_open(&dir, folder->path), 0);
    while ((rc = td_dir_next(dir, &entry)) == 1) {
        int number = -1;

        expect_int(sscanf(entry.name, "an entry with quite a long name %d", &number), 1);
        if (!expect(number >= 0 && number < MANY && !seen[number]))
            break;
        seen[number] = 1;
        expect(entry.kind == TD_FILE_REGULAR || entry.kind == TD_FILE_UNKNOWN);
        count++;
    }
    expect_int(rc, 0);
    expect_int(td_dir_next(dir, &entry), 0);  /* the end stays */
    expect_int(count, MANY);
    td_dir_close(dir);
    return 0;
}

static void every_entry_is_listed_once(void **state)
{
    assert_int_equal(run_in_folder(state, list_many), 0);
}

static int list_kinds(void *arg)
{
    struct folder *folder = arg;
    td_dir_entry entry;
    int found = 0;
    td_dir *dir;

    expect_int(td_mkdir(folder_path(folder, "folder"), 0700), 0);
    expect_int(mkfifo(folder_path(folder, "pipe"), 0600), 0);
    expect_int(symlink("nowhere", folder_path(folder, "link")), 0);
    expect_int(td_dir_open(&dir, folder->path), 0);
    while (td_dir_next(dir, &entry) == 1) {
        if (strcmp(entry.name, "folder") == 0)
            expect(++found && (entry.kind == TD_FILE_FOLDER || entry.kind == TD_FILE_UNKNOWN));
        if (strcmp(entry.name, "pipe") == 0)
            expect(++found && (entry.kind == TD_FILE_PIPE || entry.kind == TD_FILE_UNKNOWN));
        if (strcmp(entry.name, "link") == 0)
            expect(++found && (entry.kind == TD_FILE_LINK || entry.kind == TD_FILE_UNKNOWN));
    }
    expect_int(found, 3);
    td_dir_close(dir);
    expect_int(td_dir_open(&dir, folder_path(folder, "pipe")), -ENOTDIR);
    expect_int(td_dir_open(&dir, folder_path(folder, "none")), -ENOENT);
    return 0;
}

static void kinds_are_told(void **state)
{
    assert_int_equal(run_in_folder(state, list_kinds), 0);
}

/* Law 3: a cancelled listing goes on answering so, and closes all the same. */
static int list_cancelled(void *arg)
{
    struct folder *folder = arg;
    td_dir_entry entry;
    td_dir *dir, *other;
    td_scope scope;

    expect_int(td_dir_open(&dir, folder->path), 0);
    td_scope_open(&scope);
    td_scope_cancel(&scope);
    expect_int(td_dir_next(dir, &entry), -ECANCELED);
    expect_int(td_dir_open(&other, folder->path), -ECANCELED);
    expect(other == NULL);
    td_dir_close(dir);
    expect_int(td_scope_join(&scope), 0);
    return 0;
}

static void a_cancelled_listing_closes(void **state)
{
    assert_int_equal(run_in_folder(state, list_cancelled), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(every_entry_is_listed_once), ON_BOTH(kinds_are_told), ON_BOTH(a_cancelled_listing_closes),
    };

    return cmocka_run_group_tests_name("file dir", tests, NULL, NULL);
}
