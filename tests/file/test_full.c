/* SPDX-License-Identifier: MIT */
/* A disk that is full, and a file that may not grow: answers, not the end of the program. */
#include <sys/mount.h>
#include <sys/resource.h>

#include "file/folder.h"

#define ROOM (256 * 1024)

static int fill_up(void *arg)
{
    static char bytes[ROOM * 2];
    struct folder *folder = arg;
    td_file_info info;
    td_file *file;
    int64_t written;
    int rc;

    expect_int(td_file_open(&file, folder_path(folder, "file"), O_RDWR | O_CREAT, 0600), 0);
    rc = td_file_write_all(file, bytes, sizeof bytes);
    written = td_file_offset(file);
    expect(rc == -ENOSPC || rc == -EFBIG);
    expect(written > 0 && written <= ROOM);
    expect_int(td_file_stat(file, &info), 0);
    expect_int((long long)info.size, written);  /* what was reported is what is there */
    expect_int(td_file_write(file, "x", 1), rc);
    expect_int(td_file_offset(file), written);
    expect_int(td_file_truncate(file, 0), 0);
    expect_int(td_file_seek(file, 0), 0);
    expect_int(td_file_write(file, "x", 1), 1);
    expect_int(td_file_close(file), 0);
    return 0;
}

static void a_full_disk_is_an_answer(void **state)
{
    struct folder folder = folder_make();
    int rc;

    if (mount("none", folder.path, "tmpfs", 0, "size=256k") < 0) {
        folder_remove(&folder);
        skip();  /* not root */
    }
    rc = run(state, fill_up, &folder);
    umount2(folder.path, MNT_DETACH);
    rmdir(folder.path);
    assert_int_equal(rc, 0);
}

/* SIGXFSZ ends a program by default. The limit comes when the run's shared memory is there already: that counts, too. */
static int fill_up_to_limit(void *arg)
{
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){ROOM, RLIM_INFINITY});
    fill_up(arg);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
    return 0;
}

static int with_limit(void **state)
{
    struct folder folder = folder_make();
    int rc;

    rc = td_run_with(&(td_opts){.backend = backend_of(state), .stall_after = TD_FOREVER}, fill_up_to_limit, &folder);
    folder_remove(&folder);
    return rc;
}

static void a_limit_on_file_size_is_an_answer(void **state)
{
    struct ending ending = in_child(state, with_limit);

    assert_ended_well(&ending);
}

int main(void)
{
    const struct CMUnitTest tests[] = {ON_BOTH(a_full_disk_is_an_answer), ON_BOTH(a_limit_on_file_size_is_an_answer)};

    return cmocka_run_group_tests_name("file full", tests, NULL, NULL);
}
