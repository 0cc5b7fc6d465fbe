/* SPDX-License-Identifier: MIT */
/* A listener without descriptors, under a flood, and on the files of Unix sockets. */
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "net/pair.h"

#define FLOOD 100
#define FAREWELL "come back later\n"

/* In a child, which has its parent's limit. */
static int connect_plainly(const char *address)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtol(strrchr(address, ':') + 1, NULL, 10)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct rlimit limit;
    int fd;

    getrlimit(RLIMIT_NOFILE, &limit);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){limit.rlim_max, limit.rlim_max});
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) < 0)
        _exit(9);
    return fd;
}

/* A client of its own process: connects `count` times one after the other, and exits with how many heard the farewell. */
static pid_t start_clients(const char *address, int count)
{
    pid_t pid = fork();
    char text[100];

    if (pid != 0)
        return pid;
    for (int i = 0; i < count; i++) {
        int fd = connect_plainly(address);

        if (read(fd, text, sizeof text) != (ssize_t)strlen(FAREWELL) || memcmp(text, FAREWELL, strlen(FAREWELL)) != 0 ||
            read(fd, text, sizeof text) != 0)
            _exit(8);
        close(fd);
    }
    _exit(0);
}

static int wait_for_child(pid_t pid)
{
    int status = 0;
    pid_t gone;

    while ((gone = waitpid(pid, &status, WNOHANG)) == 0 && td_sleep(td_ms(2)) == 0)
        ;
    return gone == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Takes every descriptor that is left. Returns one of them. */
static int use_up_descriptors(void)
{
    int spare = dup(0), more;
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)spare + 8, limit.rlim_max});
    while ((more = dup(0)) >= 0)
        ;
    return spare;
}

struct hall {
    td_listener *listener;
    int accepted;
};

static int accept_always(void *arg)
{
    struct hall *hall = arg;
    td_stream *stream;
    int rc;

    while ((rc = td_accept(hall->listener, &stream)) == 0) {
        hall->accepted++;
        expect_int(td_stream_write(stream, "in\n", 3), 3);
        td_stream_close(stream);
    }
    return rc == -ECANCELED ? 0 : rc;
}

static td_time cpu_time(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1000000000 + now.tv_nsec;
}

static int flood_body(void *arg)
{
    struct hall hall = {0};
    td_listener_stats stats;
    td_scope scope;
    td_time began;
    char text[4] = "";
    int spare, late;
    pid_t pid;

    expect_int(td_listen(&hall.listener, "127.0.0.1:0", &(td_listen_opts){.farewell = FAREWELL,
                                                                         .farewell_size = strlen(FAREWELL)}), 0);
    td_scope_open(&scope);
    td_spawn(&scope, accept_always, &hall);
    settle();
    late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    spare = use_up_descriptors();
    pid = start_clients(td_listener_address(hall.listener), FLOOD);
    expect_int(wait_for_child(pid), 0);  /* each was told at once, and none was left to wait */
    td_listener_statistics(hall.listener, &stats);
    expect_int((long long)stats.turned_away, FLOOD);
    expect_int(hall.accepted, 0);
    began = cpu_time();
    expect_int(td_sleep(td_ms(300)), 0);
    expect(cpu_time() - began < td_ms(150));  /* nobody comes: it waits, and does not spin */
    close(spare);
    close(late);
    pid = fork();
    if (pid == 0) {
        late = connect_plainly(td_listener_address(hall.listener));
        _exit(read(late, text, 3) == 3 && memcmp(text, "in\n", 3) == 0 ? 0 : 7);
    }
    expect_int(wait_for_child(pid), 0);  /* the first that there is a place for */
    expect_int(hall.accepted, 1);
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    td_listener_close(hall.listener);
    return 0;
}

static int run_flood(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, flood_body, NULL);
}

static int occurrences(const char *text, const char *of)
{
    int count = 0;

    while ((text = strstr(text, of))) {
        count++;
        text += strlen(of);
    }
    return count;
}

/* A reserve descriptor: who comes is told, the loop does not spin, the log is not flooded, and it recovers at once. */
static void without_descriptors_those_who_come_are_turned_away(void **state)
{
    struct ending ending = in_child(state, run_flood);

    assert_ended_well(&ending);
    assert_int_equal(occurrences(ending.text, "no descriptor for a new connection"), 1);
}

static int lost_body(void *arg)
{
    struct hall hall = {0};
    td_scope scope;
    int spare;
    pid_t pid;
    char text[4];

    spare = use_up_descriptors();
    close(spare);
    spare = dup(0);
    close(spare);  /* the one place that is left goes to the listening socket: there is none for a reserve */
    expect_int(td_listen(&hall.listener, "127.0.0.1:0", NULL), 0);
    td_scope_open(&scope);
    td_spawn(&scope, accept_always, &hall);
    settle();
    pid = fork();
    if (pid == 0) {
        int fd = connect_plainly(td_listener_address(hall.listener));

        _exit(read(fd, text, 3) == 3 ? 0 : 7);
    }
    expect_int(td_sleep(td_ms(50)), 0);
    expect_int(hall.accepted, 0);
    close(0);
    close(1);  /* one for the connection, one for the reserve */
    expect_int(wait_for_child(pid), 0);
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    td_listener_close(hall.listener);
    return 0;
}

static int run_lost(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, lost_body, NULL);
}

static void without_a_reserve_they_wait_until_there_is_one(void **state)
{
    struct ending ending = in_child(state, run_lost);

    assert_ended_well(&ending);
}

static int count_turns(void *arg)
{
    while (td_yield() == 0)
        ++*(int *)arg;
    return 0;
}

static int burst_body(void *arg)
{
    td_listener *listener;
    td_stream *clients[FLOOD], *stream;
    td_scope scope;
    int turns = 0;

    expect_int(td_listen(&listener, "127.0.0.1:0", NULL), 0);
    for (int i = 0; i < FLOOD; i++)
        expect_int(td_connect(&clients[i], td_listener_address(listener)), 0);
    td_scope_open(&scope);
    td_spawn(&scope, count_turns, &turns);
    for (int i = 0; i < FLOOD; i++) {
        expect_int(td_accept(listener, &stream), 0);
        td_stream_close(stream);
    }
    expect(turns >= FLOOD / 16 - 1);
    expect(turns < FLOOD);  /* and yet not one turn of the loop for each of them */
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    for (int i = 0; i < FLOOD; i++)
        td_stream_close(clients[i]);
    td_listener_close(listener);
    return 0;
}

/* Law 5: however many wait to be accepted, others get their turn; and a wake-up takes more than one of them. */
static void a_burst_is_taken_in_pieces(void **state)
{
    assert_int_equal(run(state, burst_body, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(without_descriptors_those_who_come_are_turned_away), ON_BOTH(without_a_reserve_they_wait_until_there_is_one),
        ON_BOTH(a_burst_is_taken_in_pieces),
    };

    return cmocka_run_group_tests_name("net listener", tests, NULL, NULL);
}
