/* SPDX-License-Identifier: MIT */
/*
 * Jobs that do harm to what their worker shares with its pool: they write over its page, close its descriptors, fork and leave it
 * to two. It costs them; those that come after them have a worker as good as the first.
 */
#include <sys/prctl.h>

#include "pool/jobs.h"
#include "pool/page.h"

/* The page of the worker that the calling job runs in: it is mapped, and the first jobs' descriptors lie in its first 4 KiB. */
static struct worker_page *own_page(void)
{
    return (struct worker_page *)((uintptr_t)job_running() & ~(uintptr_t)4095);
}

static int lift_fence(void *arg)
{
    own_page()->flags &= ~(uint32_t)PAGE_STRICT;
    raise(SIGKILL);
    return 0;
}

static int open_file(void *arg)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int write_input(void *arg)
{
    struct gate *gate = arg;

    (void)signal(SIGSEGV, SIG_DFL);  /* a sanitizer would explain it at length */
    atomic_store(&gate->left, 99);
    return 0;
}

/* What is strict is the pool, and not what a worker says of itself to the next one. */
STORY(a_strict_worker_does_not_lift_the_fence_of_its_successor)
{
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .strict = true});
    for (int i = 0; i < 2; i++) {
        expect_int(td_offload(w.pool, lift_fence, NULL), -EOWNERDEAD);
        expect_int(td_offload(w.pool, open_file, NULL), -EOWNERDEAD);
        expect_int((long long)stats_of(&w).deaths_by[TD_DEATH_FORBIDDEN], i + 1);
        expect_int(td_offload(w.pool, lift_fence, NULL), -EOWNERDEAD);
        expect_int(td_offload(w.pool, write_input, w.gate), -EOWNERDEAD);
        expect_int((long long)stats_of(&w).deaths_by[TD_DEATH_CRASH], i + 1);
        expect_int(td_offload(w.pool, no_task, NULL), 0);
    }
    expect_int(atomic_load(&w.gate->left), 0);
    world_close(&w);
    return 0;
}

/* Which bytes of the page are written over, with what; and whether the worker dies of it, or goes on. */
struct harm {
    size_t from, to;
    int byte;
    bool dies;
};

static int do_harm(void *arg)
{
    struct harm harm = *(struct harm *)arg;

    memset((char *)own_page() + harm.from, harm.byte, harm.to - harm.from);
    if (harm.dies)
        raise(SIGKILL);
    return 0;
}

#define OPTIONS offsetof(struct worker_page, flags)
#define DOORBELL offsetof(struct worker_page, doorbell)
#define SLOTS offsetof(struct worker_page, slots)

STORY(a_page_that_is_written_over_costs_one_job)
{
    static const struct harm harms[] = {
        {OPTIONS, DOORBELL, 0xff, true}, {OPTIONS, DOORBELL, 0, true}, {0, DOORBELL, 0x41, true}, {0, SLOTS, 0xff, true},
        {0, sizeof(struct worker_page), 0xff, false}, {0, sizeof(struct worker_page), 0, false},
        {SLOTS, sizeof(struct worker_page), 0xff, false}, {SLOTS, sizeof(struct worker_page), 0, false},
    };
    struct gate *births = new_gate();
    struct harm *harm = td_shared_alloc(sizeof *harm);
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .worker_init = pass_gate, .worker_arg = births});
    for (int i = 0; i < (int)COUNT(harms); i++) {
        *harm = harms[i];
        expect_int(td_offload(w.pool, do_harm, harm), -EOWNERDEAD);
        for (int j = 0; j < 5; j++)
            expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
        expect_int((long long)stats_of(&w).deaths, i + 1);
        expect_int(atomic_load(&births->entered), i + 2);  /* a worker that is whole: its init has run, too */
    }
    expect_int((long long)stats_of(&w).deaths_by[TD_DEATH_CORRUPT], 4);
    expect_int(atomic_load(&w.gate->left), 5 * COUNT(harms));
    expect_int(td_pool_close(w.pool), 0);
    td_shared_free(w.gate);
    td_shared_free(births);
    td_shared_free(harm);
    expect_nothing_left();
    return 0;
}

#define ASLEEP "tandem-asleep"

static void sleep_for_ever(int signal)
{
    prctl(PR_SET_NAME, ASLEEP);
    for (;;)
        pause();
}

static int wipe_in_the_end(void *arg)
{
    stay_in_gate(arg);
    memset(own_page(), 0, sizeof(struct worker_page));
    return 0;
}

/* Its word is gone, and so is the loop's wish to be told: nobody would hear of it, were it not looked at. */
STORY(a_page_that_is_wiped_after_a_while_is_noticed)
{
    struct world w;
    struct call call;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    call = (struct call){w.pool, wipe_in_the_end, w.gate, {0}, .rc = 1};
    expect_int(td_spawn(&scope, submit, &call), 0);
    wait_entered(&w, 1);
    td_sleep(td_ms(250));  /* the look after 100 ms is over, and others must follow */
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(call.rc, -EOWNERDEAD);
    expect_int((long long)stats_of(&w).deaths_by[TD_DEATH_CORRUPT], 1);
    expect_int(td_offload(w.pool, no_task, NULL), 0);
    world_close(&w);
    return 0;
}

/* From the next SIGUSR1 on its worker sleeps where no ring of the pool's is heard. */
static int take_pills(void *arg)
{
    struct gate *gate = arg;

    atomic_store(&gate->pid, getpid());
    (void)signal(SIGUSR1, sleep_for_ever);
    return 0;
}

static bool is_asleep(int pid)
{
    struct process process;

    return process_look(pid, &process) && strcmp(process.name, ASLEEP) == 0 && process.state == 'S';
}

/* Jobs without a deadline, one for each worker, of which one would never begin its own. */
STORY(a_worker_that_does_not_begin_is_replaced)
{
    for (int workers = 1; workers <= 2; workers++) {
        struct handed jobs[2];
        struct world w;
        td_scope scope;

        world_open(&w, arg, (td_pool_opts){.workers = (unsigned)workers});
        expect_int(td_offload(w.pool, take_pills, w.gate), 0);
        expect_int(kill(atomic_load(&w.gate->pid), SIGUSR1), 0);
        eventually(is_asleep(atomic_load(&w.gate->pid)));
        td_scope_open(&scope);
        td_scope_collect(&scope);
        for (int i = 0; i < workers; i++)
            expect_int(hand(&w, &scope, &jobs[i], stay_in_gate, w.gate, AS_THE_POOL), 0);
        wait_entered(&w, workers);
        open_gate(&w);
        eventually((int)outcomes(&w) == 1 + workers);
        td_pool_cancel(w.pool);  /* who waits for ever is not waited for */
        expect_int(td_scope_join(&scope), 0);
        expect_int((long long)stats_of(&w).deaths, 1);
        expect_int((long long)stats_of(&w).deaths_by[TD_DEATH_STOPPED], 1);
        expect_int((long long)stats_of(&w).ok, 1 + workers);
        world_close(&w);
    }
    return 0;
}

static int close_descriptors(void *arg)
{
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    return 0;
}

/* The numbers that were free are those of its own file now: what it writes there is its own. */
static int take_descriptors(void *arg)
{
    int fd;

    close_descriptors(NULL);
    fd = open((const char *)arg, O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
    for (int i = 0; i < 64; i++)
        (void)dup(fd);
    return fd < 0 ? -errno : 0;
}

static void expect_replaced_after(struct world *w, td_fn fn, void *arg)
{
    unsigned long long deaths = stats_of(w).deaths;
    int jobs = 0, lost = 0, rc = td_offload(w->pool, fn, arg);

    expect(rc == 0 || rc == -EOWNERDEAD);
    while (jobs < 50 && (stats_of(w).deaths == deaths || jobs < 10)) {
        rc = td_offload(w->pool, pass_gate, w->gate);
        expect(rc == 0 || rc == -EOWNERDEAD);
        lost += rc != 0;
        jobs++;
    }
    expect_int((long long)(stats_of(w).deaths - deaths), 1);
    expect(lost <= 1);
}

/* It cannot tell its pool of what it has done. That is found out by itself, and not by each of its jobs being late. */
STORY(a_worker_that_lost_its_descriptors_is_replaced)
{
    char *path = td_shared_calloc(1, 64), bytes[8];
    struct world w;
    int fd;

    snprintf(path, 64, "/tmp/tandem-page-%d", (int)getpid());
    world_open(&w, arg, (td_pool_opts){.workers = 1});
    expect_replaced_after(&w, close_descriptors, NULL);
    expect_replaced_after(&w, take_descriptors, path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    expect(fd >= 0 && read(fd, bytes, sizeof bytes) == 0);  /* notices are not for files */
    close(fd);
    unlink(path);
    td_shared_free(path);
    world_close(&w);
    return 0;
}

/* The child says who it is, and returns as its parent does. */
static int fork_and_return(void *arg)
{
    struct gate *gate = arg;
    pid_t pid = fork();

    if (pid == 0)
        atomic_store(&gate->pid, getpid());
    else
        atomic_fetch_add(&gate->entered, 1);
    return pid < 0 ? -errno : 0;
}

static bool lives(int pid)
{
    struct process process;

    return process_look(pid, &process) && process.state != 'Z' && process.state != 'X';
}

/* Two processes would serve one page, and one of them would be nobody's. */
STORY(a_job_that_returns_twice_leaves_nobody_behind)
{
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    for (int i = 0; i < 5; i++) {
        int rc;

        atomic_store(&w.gate->pid, 0);
        rc = td_offload(w.pool, fork_and_return, w.gate);
        expect(rc == 0 || rc == -EOWNERDEAD);
        for (int j = 0; j < 10; j++)
            expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
        eventually(atomic_load(&w.gate->pid) != 0 && !lives(atomic_load(&w.gate->pid)));
    }
    expect_int(atomic_load(&w.gate->left), 50);
    world_close(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROCESSES(a_strict_worker_does_not_lift_the_fence_of_its_successor),
        WITH_PROCESSES(a_page_that_is_written_over_costs_one_job), WITH_PROCESSES(a_page_that_is_wiped_after_a_while_is_noticed),
        NOT_UNDER_TSAN(WITH_PROCESSES(a_worker_that_does_not_begin_is_replaced))  /* it holds signals back */
        WITH_PROCESSES(a_worker_that_lost_its_descriptors_is_replaced),
        WITH_PROCESSES(a_job_that_returns_twice_leaves_nobody_behind),
    };

    return cmocka_run_group_tests_name("pool page", tests, NULL, NULL);
}
