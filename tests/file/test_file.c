/* SPDX-License-Identifier: MIT */
/* Files: what was written is what is read, and every answer is the system's. */
#include "file/folder.h"

#define MANY 100

static int write_and_read(void *arg)
{
    const char *path = folder_path(arg, "greeting");
    char text[32] = "";
    td_file *file;

    expect_int(td_file_open(&file, path, O_RDWR | O_CREAT | O_EXCL, 0600), 0);
    expect_int(td_file_write(file, "hello ", 6), 6);
    expect_int(td_file_write(file, "world", 5), 5);
    expect_int(td_file_offset(file), 11);
    expect_int(td_file_read(file, text, sizeof text), 0);  /* at the end */
    expect_int(td_file_seek(file, 6), 0);
    expect_int(td_file_read(file, text, sizeof text), 5);
    expect_text(text, "world");
    expect_int(td_file_offset(file), 11);
    expect_int(td_file_read_at(file, text, 5, 0), 5);
    expect_text(text, "hello");
    expect_int(td_file_write_at(file, "W", 1, 6), 1);
    expect_int(td_file_offset(file), 11);  /* reading and writing at a place do not move it */
    expect_int(td_file_sync_data(file), 0);
    expect_int(td_file_sync(file), 0);
    expect_int(td_file_close(file), 0);
    expect_int(td_file_open(&file, path, O_RDWR | O_CREAT | O_EXCL, 0600), -EEXIST);
    return 0;
}

static void what_was_written_is_read(void **state)
{
    assert_int_equal(run_in_folder(state, write_and_read), 0);
}

static int be_refused(void *arg)
{
    struct folder *folder = arg;
    td_file *file;
    char byte;

    expect_int(td_file_open(&file, folder_path(folder, "none"), O_RDONLY, 0), -ENOENT);
    expect(file == NULL);
    expect_int(td_file_open(&file, folder_path(folder, "out"), O_WRONLY | O_CREAT, 0600), 0);
    expect_int(td_file_read(file, &byte, 1), -EBADF);
    expect_int(td_file_write_at(file, "x", 1, -1), -EINVAL);
    expect_int(td_file_seek(file, -1), -EINVAL);
    expect_int(td_file_truncate(file, -1), -EINVAL);
    expect_int(td_file_write(file, NULL, 1), -EFAULT);
    expect_int(td_file_offset(file), 0);
    expect_int(td_file_close(file), 0);
    expect_int(td_file_open(&file, folder->path, O_WRONLY, 0), -EISDIR);
    expect_int(td_unlink(folder_path(folder, "none")), -ENOENT);
    expect_int(td_unlink(folder->path), -EISDIR);
    expect_int(td_mkdir(folder->path, 0700), -EEXIST);
    expect_int(td_rmdir(folder->path), -ENOTEMPTY);
    expect_int(td_rename(folder_path(folder, "none"), folder->path), -ENOENT);
    return 0;
}

static void what_the_system_refuses_is_an_answer(void **state)
{
    assert_int_equal(run_in_folder(state, be_refused), 0);
}

/* A named pipe without a peer would hold a blocking open for good. */
static int open_pipe_as_file(void *arg)
{
    const char *path = folder_path(arg, "pipe");
    td_file *file;

    expect_int(mkfifo(path, 0600), 0);
    expect_int(td_file_open(&file, path, O_RDONLY, 0), -ESPIPE);
    expect_int(td_file_open(&file, path, O_WRONLY, 0), -ENXIO);
    return 0;
}

static void a_named_pipe_is_no_file_and_holds_nobody(void **state)
{
    assert_int_equal(run_in_folder(state, open_pipe_as_file), 0);
}

static int tell_state(void *arg)
{
    struct folder *folder = arg;
    char path[256];
    td_file_info info, again;
    td_file *file;
    struct stat status;

    snprintf(path, sizeof path, "%s", folder_path(folder, "file"));
    expect_int(td_file_open(&file, path, O_RDWR | O_CREAT, 0640), 0);
    expect_int(td_file_write(file, "12345", 5), 5);
    expect_int(td_file_truncate(file, 100), 0);
    expect_int(td_file_stat(file, &info), 0);
    expect_int(stat(path, &status), 0);
    expect(info.kind == TD_FILE_REGULAR && info.size == 100 && info.mode == 0640);
    expect(info.inode == status.st_ino && info.device == status.st_dev && info.links == 1);
    expect_int(info.modified_ns, status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec);
    expect_int(td_stat(path, &again), 0);
    expect(memcmp(&info, &again, sizeof info) == 0);
    expect_int(td_file_close(file), 0);
    expect_int(td_stat(folder->path, &info), 0);
    expect(info.kind == TD_FILE_FOLDER);
    expect_int(td_stat(folder_path(folder, "none"), &info), -ENOENT);
    return 0;
}

static void the_state_of_a_file_is_told(void **state)
{
    assert_int_equal(run_in_folder(state, tell_state), 0);
}

static int rename_and_remove(void *arg)
{
    struct folder *folder = arg;
    char from[256], to[256];
    td_file_info info;
    td_file *file;

    snprintf(from, sizeof from, "%s", folder_path(folder, "from"));
    snprintf(to, sizeof to, "%s", folder_path(folder, "to"));
    expect_int(td_file_open(&file, from, O_WRONLY | O_CREAT, 0600), 0);
    expect_int(td_file_close(file), 0);
    expect_int(td_rename(from, to), 0);
    expect_int(td_stat(from, &info), -ENOENT);
    expect_int(td_unlink(to), 0);
    expect_int(td_stat(to, &info), -ENOENT);
    expect_int(td_mkdir(to, 0700), 0);
    expect_int(td_rmdir(to), 0);
    return 0;
}

static void names_come_and_go(void **state)
{
    assert_int_equal(run_in_folder(state, rename_and_remove), 0);
}

static int append(void *arg)
{
    const char *path = folder_path(arg, "log");
    td_file *file;
    char *data;
    size_t size;

    expect_int(td_file_open(&file, path, O_WRONLY | O_CREAT | O_APPEND, 0600), 0);
    expect_int(td_file_write_all(file, "one\n", 4), 0);
    expect_int(td_file_seek(file, 0), 0);
    expect_int(td_file_write_all(file, "two\n", 4), 0);
    expect_int(td_file_close(file), 0);
    expect_int(td_file_load(path, &data, &size, 100), 0);
    expect_text(data, "one\ntwo\n");
    free(data);
    return 0;
}

static void appending_goes_to_the_end(void **state)
{
    assert_int_equal(run_in_folder(state, append), 0);
}

static int load(void *arg)
{
    const char *path = folder_path(arg, "file");
    char *data, *bytes = calloc(1, 100000);
    td_file *file;
    size_t size;

    if (!bytes)
        return -ENOMEM;
    expect_int(td_file_open(&file, path, O_WRONLY | O_CREAT, 0600), 0);
    expect_int(td_file_write_all(file, bytes, 100000), 0);
    expect_int(td_file_close(file), 0);
    free(bytes);
    expect_int(td_file_load(path, &data, &size, 99999), -EMSGSIZE);
    expect(data == NULL);
    expect_int(td_file_load(path, &data, &size, 100000), 0);
    expect_int((long long)size, 100000);
    free(data);
    expect_int(td_file_load("/proc/self/status", &data, &size, 100000), 0);  /* says that it is empty */
    expect(size > 100 && strlen(data) == size);
    free(data);
    expect_int(td_file_load("/dev/zero", &data, &size, 10000), -EMSGSIZE);
    expect_int(td_file_load("/", &data, &size, 10000), -EISDIR);
    return 0;
}

static void loading_has_a_limit(void **state)
{
    assert_int_equal(run_in_folder(state, load), 0);
}

struct part {
    td_file *file;
    int number;
};

static int write_part(void *arg)
{
    struct part *part = arg;
    char bytes[1000];

    memset(bytes, 'a' + part->number % 26, sizeof bytes);
    expect_int(td_file_write_at(part->file, bytes, sizeof bytes, part->number * 1000), sizeof bytes);
    return 0;
}

/* More tasks than threads, and no two of them in each other's way. */
static int write_together(void *arg)
{
    const char *path = folder_path(arg, "file");
    struct part parts[MANY];
    td_file *file;
    td_scope scope;
    char *data;
    size_t size;

    expect_int(td_file_open(&file, path, O_RDWR | O_CREAT, 0600), 0);
    td_scope_open(&scope);
    for (int i = 0; i < MANY; i++) {
        parts[i] = (struct part){file, i};
        td_spawn(&scope, write_part, &parts[i]);
    }
    expect_int(td_scope_join(&scope), 0);
    expect_int(td_file_close(file), 0);
    expect_int(td_file_load(path, &data, &size, 1 << 20), 0);
    expect_int((long long)size, MANY * 1000);
    for (size_t i = 0; i < size; i++)
        if (!expect_int(data[i], 'a' + (int)(i / 1000) % 26))
            break;
    free(data);
    return 0;
}

static void many_tasks_write_to_one_file(void **state)
{
    assert_int_equal(run_in_folder(state, write_together), 0);
}

static int sync_big_file(void *arg)
{
    td_file *file = arg;

    for (int i = 0; i < 5; i++)
        expect_int(td_file_sync(file), 0);
    return -EINTR;
}

static int count_turns(void *arg)
{
    int *turns = arg, rc;

    while ((rc = td_yield()) == 0)
        ++*turns;
    return rc;
}

/* Whatever the disk does, the others have their turns: at least one for each of the operations. */
static int work_meanwhile(void *arg)
{
    static char bytes[1 << 16];
    td_file *file;
    td_scope scope;
    int turns = 0;

    expect_int(td_file_open(&file, folder_path(arg, "file"), O_RDWR | O_CREAT, 0600), 0);
    for (int i = 0; i < 64; i++)
        expect_int(td_file_write_all(file, bytes, sizeof bytes), 0);
    td_scope_open(&scope);
    td_spawn(&scope, count_turns, &turns);
    td_spawn(&scope, sync_big_file, file);
    expect_int(td_scope_join(&scope), -EINTR);
    expect(turns >= 5);
    expect_int(td_file_close(file), 0);
    return 0;
}

static void the_loop_turns_while_the_disk_works(void **state)
{
    assert_int_equal(run_in_folder(state, work_meanwhile), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(what_was_written_is_read), ON_BOTH(what_the_system_refuses_is_an_answer),
        ON_BOTH(a_named_pipe_is_no_file_and_holds_nobody), ON_BOTH(the_state_of_a_file_is_told), ON_BOTH(names_come_and_go),
        ON_BOTH(appending_goes_to_the_end), ON_BOTH(loading_has_a_limit), ON_BOTH(many_tasks_write_to_one_file),
        ON_BOTH(the_loop_turns_while_the_disk_works),
    };

    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
