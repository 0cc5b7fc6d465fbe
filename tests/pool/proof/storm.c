/* SPDX-License-Identifier: MIT */
/*
 * A storm: worker processes die at random instants, by the hand of a process that knows nothing of the pool, while a thousand
 * tasks have jobs under way. Every job ends exactly once, and what its caller is told is what it did. In the end nothing is
 * left: no descriptor, no shared memory, no child, no zombie; and every worker is there.
 *
 *     storm [--kills N]     so many deaths, shared among the cases; `./test storm --kills 100000` is the long run
 */
#include <getopt.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "pool/proof/load.h"

#define KILLS (SANITIZED ? 400 : 10000)
#define KILLS_ROUND 500       /* deaths that one run of the loop sees */
#define CUSTOMERS 1000
#define WORKERS 8
#define PAUSE_US 1200         /* between two kills, at the most */
#define UNLUCKY_MS 20         /* how long the killer waits for a job to be finished between two kills, at the most */

/* What the killer and the program share. */
struct sky {
    _Atomic bool calm;             /* the killer is to stop */
    _Atomic unsigned progress;     /* outcomes */
    _Atomic unsigned hits[4];      /* signals sent, by kind */
};

struct storm {
    struct sky *sky;
    struct random random;
    struct ledger ledger;
    bool zygote_too;
    unsigned long long deaths_wanted;
    _Atomic bool enough;
    td_pool_stats stats;
};

/* Signals the process, if it is still a child of the program: a pid may be another's by now, a descriptor is not. */
static bool hit(int pid, int parent, int signal)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct process process;
    bool sent = false;

    if (fd < 0)
        return false;
    if (process_look(pid, &process) && process.parent == parent)
        sent = syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0) == 0;
    close(fd);
    return sent;
}

static bool named(int pid, const char *name)
{
    struct process process;

    return process_look(pid, &process) && strcmp(process.name, name) == 0;
}

/* Children of a process by the kernel's own list. */
static int children_now(int parent, int pids[CHILDREN_MAX])
{
    char path[64], text[4096], *at = text, *end;
    int fd, count = 0;
    ssize_t n;

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", parent, parent);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return children_list(parent, NULL, pids);  /* a kernel without it */
    for (text[n] = '\0'; count < CHILDREN_MAX && (pids[count] = (int)strtol(at, &end, 10)) > 0; at = end)
        count++;
    return count;
}

static void pause_us(unsigned microseconds)
{
    nanosleep(&(struct timespec){.tv_nsec = microseconds * 1000L}, NULL);
}

static void strike(struct sky *sky, struct random *random, int parent, int pid)
{
    size_t kind = random_below(random, 10);

    if (kind < 6) {
        sky->hits[0] += hit(pid, parent, SIGKILL);
    } else if (kind < 8) {
        sky->hits[1] += hit(pid, parent, SIGSEGV);
    } else {  /* it stands still, is thought to be slow, and goes on or dies */
        sky->hits[2] += hit(pid, parent, SIGSTOP);
        pause_us((unsigned)random_below(random, 3000));
        hit(pid, parent, kind == 8 ? SIGKILL : SIGCONT);
        hit(pid, parent, SIGCONT);
    }
}

/* Between two blows some job must be finished: ten deaths without one, and the pool gives up, as it should. */
static void wait_for_progress(struct sky *sky, unsigned seen)
{
    for (int i = 0; i < UNLUCKY_MS * 10 && atomic_load(&sky->progress) == seen && !atomic_load(&sky->calm); i++)
        pause_us(100);
}

_Noreturn static void be_killer(struct sky *sky, struct random random, bool zygote_too)
{
    int parent = getppid(), pids[CHILDREN_MAX], count, pid;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "killer");
    while (!atomic_load(&sky->calm)) {
        unsigned seen = atomic_load(&sky->progress);

        pause_us((unsigned)random_below(&random, PAUSE_US));
        count = children_now(parent, pids);
        if (count == 0)
            continue;
        pid = pids[random_below(&random, (size_t)count)];
        if (named(pid, "tandem-worker") || (zygote_too && named(pid, "tandem-zygote") && chance(&random, 20)))
            strike(sky, &random, parent, pid);
        else
            continue;
        wait_for_progress(sky, seen);
    }
    _exit(0);
}

/* A job that ends when all of its kind have begun: so many workers live. */
struct roll_call {
    _Atomic int present, wanted;
};

static int answer_roll_call(void *arg)
{
    struct roll_call *call = arg;

    atomic_fetch_add(&call->present, 1);
    for (int i = 0; i < 100000 && atomic_load(&call->present) < atomic_load(&call->wanted); i++)
        pause_us(100);
    return atomic_load(&call->present) >= atomic_load(&call->wanted) ? 0 : -ETIME;
}

static void expect_all_workers(td_pool *pool)
{
    const td_offload_opts high = {.priority = TD_PRIORITY_HIGH};  /* for the reserved one, too */
    struct roll_call *call = td_shared_calloc(1, sizeof *call);
    td_job jobs[WORKERS];
    td_scope scope;

    atomic_store(&call->wanted, WORKERS);
    td_scope_open(&scope);
    for (int i = 0; i < WORKERS; i++)
        expect_int(td_submit(&scope, &jobs[i], pool, answer_roll_call, call, &high), 0);
    expect_int(td_scope_join(&scope), 0);
    td_shared_free(call);
}

static unsigned long long deaths_of(td_pool *pool)
{
    td_pool_stats stats;

    td_pool_statistics(pool, &stats);
    return stats.deaths;
}

static int be_ready(void *arg)
{
    return arg != NULL;
}

/* Each round has another pool: whatever differs in how it refuses, asks and kills. */
static td_pool_opts some_opts(struct random *random)
{
    return (td_pool_opts){
        .kind = TD_PROCESSES,
        .workers = WORKERS,
        .workers_reserved = (unsigned)random_below(random, 2),
        .queue = CUSTOMERS,
        .when_full = (td_when_full)random_below(random, 3),
        .on_cancel = (td_on_cancel)random_below(random, 2),
        .kill_grace_ns = chance(random, 50) ? td_us(500) : 0,
        .worker_init = chance(random, 50) ? be_ready : NULL,
    };
}

static int weather(void *arg)
{
    struct storm *storm = arg;
    td_pool_opts opts = some_opts(&storm->random);
    struct customer customer = {.random = &storm->random, .ledger = &storm->ledger, .enough = &storm->enough,
                                .progress = &storm->sky->progress, .processes = true};
    td_scope scope;

    expect_int(td_pool_open(&customer.pool, &opts), 0);
    td_scope_open(&scope);
    for (int i = 0; i < CUSTOMERS; i++)
        expect_int(td_spawn(&scope, be_customer, &customer), 0);
    while (deaths_of(customer.pool) < storm->deaths_wanted && !complaint.made && storm->ledger.wrong == 0)
        td_sleep(td_ms(5));
    atomic_store(&storm->sky->calm, true);
    atomic_store(&storm->enough, true);
    expect_int(td_scope_join(&scope), 0);
    expect_balance(&storm->ledger, customer.pool);
    td_pool_statistics(customer.pool, &storm->stats);
    expect_int(storm->stats.broken, false);
    expect_all_workers(customer.pool);
    expect_int(td_pool_close(customer.pool), 0);
    expect_no_memory_left();
    return 0;
}

static struct sky *sky_open(void)
{
    struct sky *sky = mmap(NULL, sizeof *sky, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(sky != MAP_FAILED);
    return sky;
}

/* One run of the loop. `run` itself checks that descriptors and children are as many as before. */
static void one_round(void **state, struct random *random, unsigned long long deaths, bool zygote_too, struct ledger *sum,
                      td_pool_stats *stats)
{
    struct storm storm = {.sky = sky_open(), .random = {random_next(random)}, .zygote_too = zygote_too, .deaths_wanted = deaths};
    struct random killers = {random_next(random)};
    pid_t killer;
    int status;

    fflush(NULL);
    killer = fork();
    assert_true(killer >= 0);
    if (killer == 0)
        be_killer(storm.sky, killers, zygote_too);
    assert_int_equal(run(state, weather, &storm), 0);
    assert_int_equal(waitpid(killer, &status, 0), killer);
    assert_int_equal(status, 0);
    munmap(storm.sky, sizeof *storm.sky);
    sum->ok += storm.ledger.ok;
    sum->again += storm.ledger.again;
    sum->died += storm.ledger.died;
    sum->close += storm.ledger.close;
    sum->outcomes += storm.ledger.outcomes;
    stats->deaths += storm.stats.deaths;
    for (int i = 0; i < TD_DEATHS; i++)
        stats->deaths_by[i] += storm.stats.deaths_by[i];
}

/* A case is its backend, whether the zygote is hit as well, and how many deaths there are to be. */
#define PLAN(backend, zygote_too, deaths) ((uintptr_t)(backend) + 16 * (uintptr_t)(zygote_too) + 32 * (uintptr_t)(deaths))

static void every_job_ends_once_and_as_it_went(void **state)
{
    unsigned long long wanted = (uintptr_t)*state / 32, step = wanted < KILLS_ROUND ? wanted : KILLS_ROUND;
    bool zygote_too = (uintptr_t)*state / 16 % 2;
    struct random random = random_seeded();
    td_pool_stats stats = {0};
    struct ledger sum = {0};

    if (backend_is_forbidden(state))
        skip();
    while (stats.deaths < wanted)
        one_round(state, &random, step, zygote_too, &sum, &stats);
    /* Between a word and what it stands for lie a few instructions, out of as many as take a tenth of a millisecond. */
    assert_true(sum.close <= 5 + sum.died / 10);
    print_message("%llu deaths (%llu by SIGKILL, %llu by SIGSEGV, %llu by deadlines and cancellations), %llu jobs: %llu ok "
                  "(%llu after a death), %llu lost with their worker, %llu of them by a hair\n", stats.deaths,
                  stats.deaths_by[TD_DEATH_KILLED], stats.deaths_by[TD_DEATH_CRASH],
                  stats.deaths_by[TD_DEATH_DEADLINE] + stats.deaths_by[TD_DEATH_CANCEL], sum.outcomes, sum.ok, sum.again,
                  sum.died, sum.close);
    assert_true(stats.deaths >= wanted && sum.again > 0 && sum.died > 0);
}

/* A line in the log for each death would be all that one sees: they are kept from standard error. */
static FILE *keep_log_aside(void)
{
    int log = SANITIZED ? -1 : memfd_create("log", MFD_CLOEXEC);

    return log < 0 || dup2(log, STDERR_FILENO) < 0 ? NULL : fdopen(log, "r");
}

/* What else was in the log. */
static void show_log(FILE *log)
{
    char line[500];

    rewind(log);
    while (fgets(line, sizeof line, log))
        if (!strstr(line, "; starting another"))
            fputs(line, stdout);
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"kills", required_argument, NULL, 'k'}, {0}};
    unsigned long long kills = KILLS;
    int c, failed;
    FILE *log;

    while ((c = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
        if (c != 'k') {
            fprintf(stderr, "usage: storm [--kills N]\n");
            return 2;
        }
        kills = strtoull(optarg, NULL, 0);
    }
    kills = (kills + 3) / 4;
    const struct CMUnitTest tests[] = {
        ON(PLAN(TD_BACKEND_URING, false, kills), "uring: ", every_job_ends_once_and_as_it_went),
        ON(PLAN(TD_BACKEND_EPOLL, false, kills), "epoll: ", every_job_ends_once_and_as_it_went),
        ON(PLAN(TD_BACKEND_URING, true, kills), "uring, zygote: ", every_job_ends_once_and_as_it_went),
        ON(PLAN(TD_BACKEND_EPOLL, true, kills), "epoll, zygote: ", every_job_ends_once_and_as_it_went),
    };

    log = keep_log_aside();
    failed = cmocka_run_group_tests_name("pool kills", tests, NULL, NULL);
    if (failed && log)
        show_log(log);
    return failed;
}
