/* SPDX-License-Identifier: MIT */
/* Listening and connecting on Unix sockets: what becomes of their files. */
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "net/pair.h"

struct place {
    char folder[64], path[80], address[96];
};

static struct place place_new(void)
{
    struct place place = {"/tmp/tandem-unix-XXXXXX", "", ""};

    assert_non_null(mkdtemp(place.folder));
    snprintf(place.path, sizeof place.path, "%s/s", place.folder);
    snprintf(place.address, sizeof place.address, "unix:%s", place.path);
    return place;
}

static void place_end(struct place *place)
{
    (void)unlink(place->path);
    assert_int_equal(rmdir(place->folder), 0);
}

static void run_at_place(void **state, td_fn body)
{
    struct place place = place_new();

    assert_int_equal(run(state, body, &place), 0);
    place_end(&place);
}

static bool exists(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0;
}

/* What a server leaves that was killed. */
static void leave_socket(const struct place *place, int type)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    snprintf(at.sun_path, sizeof at.sun_path, "%s", place->path);
    expect(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0);
    if (type == SOCK_STREAM)
        expect_int(listen(fd, 1), 0);
    close(fd);
}

static void talk_over(const char *address)
{
    struct pair pair = {0};
    char byte = 0;

    if (!expect_int(td_listen(&pair.listener, address, NULL), 0))
        return;
    expect_text(td_listener_address(pair.listener), address);
    expect_int(td_connect(&pair.near, address), 0);
    expect_int(td_accept(pair.listener, &pair.far), 0);
    expect_int(td_stream_write(pair.near, "x", 1), 1);
    expect_int(td_stream_read(pair.far, &byte, 1), 1);
    expect_int(byte, 'x');
    expect_int(td_stream_end(pair.far), 0);
    expect_int(td_stream_read(pair.near, &byte, 1), 0);
    pair_close(&pair);
}

static int conversation_body(void *arg)
{
    struct place *place = arg;
    char abstract[100];

    talk_over(place->address);
    expect(!exists(place->path));
    talk_over(place->address);
    snprintf(abstract, sizeof abstract, "unix:@%s", place->path);
    talk_over(abstract);
    expect(!exists(place->path));
    return 0;
}

static void a_path_is_gone_when_its_listener_is(void **state)
{
    run_at_place(state, conversation_body);
}

static int stale_body(void *arg)
{
    struct place *place = arg;
    td_listener *listener;
    td_stream *stream;

    leave_socket(place, SOCK_STREAM);
    expect(exists(place->path));
    expect_int(td_connect(&stream, place->address), -ECONNREFUSED);
    expect_int(td_listen(&listener, place->address, NULL), 0);
    expect_int(td_connect(&stream, place->address), 0);
    td_stream_close(stream);
    td_listener_close(listener);
    expect(!exists(place->path));
    return 0;
}

static void a_dead_socket_is_replaced(void **state)
{
    run_at_place(state, stale_body);
}

static int living_body(void *arg)
{
    struct place *place = arg;
    td_listener *first, *second = NULL;
    td_stream *stream;

    expect_int(td_listen(&first, place->address, NULL), 0);
    expect_int(td_listen(&second, place->address, NULL), -EADDRINUSE);
    expect(second == NULL);
    expect_int(td_connect(&stream, place->address), 0);  /* and it is still there */
    td_stream_close(stream);
    td_listener_close(first);
    return 0;
}

static void a_living_one_is_not(void **state)
{
    run_at_place(state, living_body);
}

static int file_body(void *arg)
{
    struct place *place = arg;
    td_listener *listener;
    int fd = open(place->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    close(fd);
    expect_int(td_listen(&listener, place->address, NULL), -EADDRINUSE);
    expect(exists(place->path));
    unlink(place->path);
    expect_int(symlink("/nowhere/at/all", place->path), 0);
    expect_int(td_listen(&listener, place->address, NULL), -EADDRINUSE);
    expect(exists(place->path));
    return 0;
}

static void what_is_no_socket_is_never_removed(void **state)
{
    run_at_place(state, file_body);
}

static int locked_body(void *arg)
{
    struct place *place = arg;
    td_listener *listener;
    int lock = open(place->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    leave_socket(place, SOCK_STREAM);
    expect_int(flock(lock, LOCK_EX), 0);
    expect_int(td_listen(&listener, place->address, NULL), -EADDRINUSE);
    unlink(place->path);
    expect_int(td_listen(&listener, place->address, NULL), 0);  /* what is in nobody's way needs no lock */
    td_listener_close(listener);
    close(lock);
    return 0;
}

/* Two servers that start at once must not remove each other's socket: one at a time looks for a dead one. */
static void nothing_is_removed_while_another_looks(void **state)
{
    run_at_place(state, locked_body);
}

static int taken_body(void *arg)
{
    struct place *place = arg;
    td_listener *first, *second;

    expect_int(td_listen(&first, place->address, NULL), 0);
    expect_int(unlink(place->path), 0);
    expect_int(td_listen(&second, place->address, NULL), 0);
    td_listener_close(first);
    expect(exists(place->path));
    td_listener_close(second);
    expect(!exists(place->path));
    return 0;
}

static void a_listener_removes_its_own_file_alone(void **state)
{
    run_at_place(state, taken_body);
}

static int mode_body(void *arg)
{
    static const unsigned modes[] = {0600, 0660, 0666, 0777};
    struct place *place = arg;
    td_listener *listener;
    struct stat status = {0};
    mode_t before = umask(077);

    for (size_t i = 0; i < COUNT(modes); i++) {
        expect_int(td_listen(&listener, place->address, &(td_listen_opts){.mode = modes[i]}), 0);
        expect_int(lstat(place->path, &status), 0);
        expect_int(status.st_mode & 0777, modes[i]);
        td_listener_close(listener);
    }
    expect_int(td_listen(&listener, place->address, NULL), 0);
    expect_int(lstat(place->path, &status), 0);
    expect_int(status.st_mode & 0777, 0700);
    td_listener_close(listener);
    umask(before);
    return 0;
}

static void a_mode_is_exact(void **state)
{
    run_at_place(state, mode_body);
}

static int nowhere_body(void *arg)
{
    td_listener *listener;
    td_stream *stream;

    expect_int(td_listen(&listener, "unix:/nowhere/at/all", NULL), -ENOENT);
    expect_int(td_connect(&stream, "unix:/nowhere/at/all"), -ENOENT);
    expect_int(td_connect(&stream, "unix:@nobody listens to this name"), -ECONNREFUSED);
    return 0;
}

static void errors_are_the_systems(void **state)
{
    assert_int_equal(run(state, nowhere_body, NULL), 0);
}

static int connect_one(void *arg)
{
    td_stream *stream;
    int rc = td_connect(&stream, arg);

    if (rc == 0)
        td_stream_close(stream);
    return rc;
}

static int full_body(void *arg)
{
    struct place *place = arg;
    td_listener *listener;
    td_stream *stream;
    td_scope scope, patient;

    expect_int(td_listen(&listener, place->address, &(td_listen_opts){.backlog = 1}), 0);
    td_scope_open(&patient);
    for (int i = 0; i < 6; i++)
        td_spawn(&patient, connect_one, place->address);
    settle();
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_ms(20)));
    expect_int(td_connect(&stream, place->address), -ECANCELED);
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    for (int i = 0; i < 6; i++) {
        expect_int(td_accept(listener, &stream), 0);
        td_stream_close(stream);
    }
    expect_int(td_scope_join(&patient), 0);
    td_listener_close(listener);
    return 0;
}

static void a_full_backlog_is_waited_for(void **state)
{
    run_at_place(state, full_body);
}

static int simulated_body(void *arg)
{
    td_listener *listener, *second;

    talk_over("unix:/simulated");
    talk_over("unix:@simulated");
    expect_int(td_listen(&listener, "unix:/a", NULL), 0);
    expect_int(td_listen(&second, "unix:/a", NULL), -EADDRINUSE);
    expect_int(td_listen(&second, "unix:/b", NULL), 0);
    expect(!exists("/a") && !exists("/b"));
    td_listener_close(listener);
    td_listener_close(second);
    return 0;
}

static void a_simulated_path_is_no_file(void **state)
{
    assert_int_equal(run(state, simulated_body, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_path_is_gone_when_its_listener_is), ON_BOTH(a_dead_socket_is_replaced), ON_BOTH(a_living_one_is_not),
        ON_BOTH(what_is_no_socket_is_never_removed), ON_BOTH(nothing_is_removed_while_another_looks),
        ON_BOTH(a_listener_removes_its_own_file_alone), ON_BOTH(a_mode_is_exact), ON_BOTH(errors_are_the_systems),
        ON_BOTH(a_full_backlog_is_waited_for), ON(TD_BACKEND_SIM, "sim: ", a_simulated_path_is_no_file),
    };

    return cmocka_run_group_tests_name("net unix", tests, NULL, NULL);
}
