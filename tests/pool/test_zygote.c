/* SPDX-License-Identifier: MIT */
/* Births under every hardship: a zygote that is killed, stopped or short of everything; and ends that are late. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "pool/jobs.h"

#define NOBODY 65531     /* a user with no other processes */
#define LEFT_OPEN 50     /* a descriptor that the program was born with */

static int end_itself(void *arg)
{
    raise(SIGKILL);
    return 0;
}

static int zygote_pid(void)
{
    int pids[CHILDREN_MAX];

    return children_list(getpid(), "tandem-zygote", pids) == 1 ? pids[0] : 0;
}

static int stop_zygote(void *arg)
{
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    expect_int(children_signal("tandem-zygote", SIGSTOP), 1);
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);  /* the worker does not need it */
    expect_int(td_offload(w.pool, end_itself, NULL), -EOWNERDEAD);
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);  /* the next one does: the zygote is ended, and replaced */
    world_close(&w);
    return 0;
}

static void a_stopped_zygote_is_replaced(void **state)
{
    assert_int_equal(run(state, stop_zygote, state), 0);
}

static int kill_zygote_anywhere(void *arg)
{
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    for (int i = 0; i < 40; i++) {
        struct call call;
        td_scope scope;
        td_time until;

        expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
        td_scope_open(&scope);
        spawn_call(&w, &scope, &call, end_itself);
        eventually(call.ends == 1);  /* its successor has been asked for, and the zygote is at work on it */
        for (until = td_now() + i * 15000; td_now() < until;)
            ;
        children_signal("tandem-zygote", SIGKILL);
        expect_int(td_scope_join(&scope), 0);
        expect_int(call.rc, -EOWNERDEAD);
    }
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    expect_int((long long)outcomes(&w), 81);
    world_close(&w);
    return 0;
}

static void a_zygote_may_be_killed_at_any_moment(void **state)
{
    assert_int_equal(run(state, kill_zygote_anywhere, state), 0);
}

/* While it is short of something the job waits, or is told so; afterwards all is well. */
static void starve_zygote(struct world *w, __rlimit_resource_t what, rlim_t few)
{
    struct rlimit before;
    int pid;

    expect_int(td_offload(w->pool, pass_gate, w->gate), 0);
    pid = zygote_pid();
    expect_int(prlimit(pid, what, NULL, &before), 0);
    expect_int(prlimit(pid, what, &(struct rlimit){few, before.rlim_max}, NULL), 0);
    expect_int(td_offload(w->pool, end_itself, NULL), -EOWNERDEAD);
    expect(td_offload(w->pool, pass_gate, w->gate) < 0);
    expect_int(prlimit(zygote_pid(), what, &before, NULL), 0);
    expect_int(td_offload(w->pool, pass_gate, w->gate), 0);
    expect_int((long long)stats_of(w).deaths, 1);
}

static int be_short_of_descriptors(void *arg)
{
    for (rlim_t few = 4; few < 8; few++) {  /* so that none, the first, or both of those it is sent find no room */
        struct world w;

        world_open(&w, arg, (td_pool_opts){.workers = 1});
        starve_zygote(&w, RLIMIT_NOFILE, few);
        world_close(&w);
    }
    return 0;
}

static void a_zygote_without_descriptors_is_an_error_for_a_while(void **state)
{
    assert_int_equal(run(state, be_short_of_descriptors, state), 0);
}

static int be_short_of_pids(void *arg)
{
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    starve_zygote(&w, RLIMIT_NPROC, 2);  /* the program, and itself */
    world_close(&w);
    return 0;
}

static int run_as_nobody(void **state)
{
    if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
        return -errno;
    return td_run_with(&(td_opts){.backend = backend_of(state), .stall_after = TD_FOREVER}, be_short_of_pids, state);
}

static void a_machine_without_pids_is_an_error_for_a_while(void **state)
{
    struct ending ending;

    if (geteuid() != 0)
        skip();  /* and for root there are always some */
    ending = in_child(state, run_as_nobody);
    assert_ended_well(&ending);
}

static int look_at_descriptor(void *arg)
{
    return fcntl(LEFT_OPEN, F_GETFD) < 0 ? 0 : 1;
}

static int look_in_worker(void *arg)
{
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    expect_int(td_offload(w.pool, look_at_descriptor, NULL), 0);
    expect_int(td_offload(w.pool, end_itself, NULL), -EOWNERDEAD);
    expect_int(children_signal("tandem-zygote", SIGKILL) >= 0, 1);
    expect_int(td_offload(w.pool, look_at_descriptor, NULL), 0);
    world_close(&w);
    return 0;
}

/* As a sandbox does that does not know the call. */
static int forbid_close_range(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT(code), code};

    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? -errno : 0;
}

static int run_in_sandbox(void **state)
{
    int rc = forbid_close_range();

    if (rc < 0 || dup2(STDERR_FILENO, LEFT_OPEN) < 0)
        return -EIO;
    expect_int(close_range(1000, 1001, 0), -1);
    return td_run_with(&(td_opts){.backend = backend_of(state)}, look_in_worker, state);
}

static int run_in_bare_sandbox(void **state)
{
    char folder[] = "/tmp/tandem-bare-XXXXXX";

    if (!mkdtemp(folder) || chroot(folder) < 0)
        return -errno;
    return run_in_sandbox(state);  /* without /proc as well */
}

static void a_sandbox_without_close_range_leaks_no_descriptors(void **state)
{
    struct ending ending = in_child(state, run_in_sandbox);

    assert_ended_well(&ending);
}

static void nor_does_one_without_proc(void **state)
{
    struct ending ending;

    if (geteuid() != 0)
        skip();
    ending = in_child(state, run_in_bare_sandbox);
    assert_ended_well(&ending);
}

/* Late ends. */

static int stop_workers(void *arg)
{
    struct world w;
    td_time began;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    eventually(stats_of(&w).workers == 2 && children_signal("tandem-worker", SIGSTOP) == 2);
    began = td_now();
    world_close(&w);
    expect(td_now() - began < PATIENCE);
    return 0;
}

static void a_pool_closes_though_its_workers_are_stopped(void **state)
{
    assert_int_equal(run(state, stop_workers, state), 0);
}

static void note_end(void *arg)
{
    atomic_fetch_add(&((struct gate *)arg)->left, 1);
}

static void never_end(void *arg)
{
    for (;;)
        pause();
}

static int end_in_peace(void *arg)
{
    struct gate *gate = td_shared_calloc(1, sizeof *gate);
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 2, .worker_exit = note_end, .worker_arg = gate});
    expect_int(td_offload(w.pool, end_itself, NULL), -EOWNERDEAD);
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    eventually(stats_of(&w).workers == 2);
    expect_int(atomic_load(&gate->left), 0);  /* who is killed does not end in peace */
    expect_int(td_pool_close(w.pool), 0);
    expect_int(atomic_load(&gate->left), 2);
    td_shared_free(gate);
    td_shared_free(w.gate);
    world_open(&w, arg, (td_pool_opts){.workers = 1, .worker_exit = never_end});
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    world_close(&w);
    return 0;
}

static void workers_end_in_peace_and_not_for_ever(void **state)
{
    assert_int_equal(run(state, end_in_peace, state), 0);
}

/* Its third attempt succeeds. */
static int begin_with_difficulty(void *arg)
{
    struct gate *gate = arg;

    return atomic_fetch_add(&gate->entered, 1) < 2 ? -EIO : 0;
}

static int never_begin(void *arg)
{
    atomic_fetch_add(&((struct gate *)arg)->entered, 1);
    return -EPROTO;
}

static int retry_init(void *arg)
{
    struct gate *gate = td_shared_calloc(1, sizeof *gate);
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .worker_init = begin_with_difficulty, .worker_arg = gate});
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    expect_int(atomic_load(&gate->entered), 3);
    expect_int((long long)stats_of(&w).deaths, 0);
    expect_int(td_pool_close(w.pool), 0);
    td_shared_free(w.gate);
    atomic_store(&gate->entered, 0);
    world_open(&w, arg, (td_pool_opts){.workers = 1, .worker_init = never_begin, .worker_arg = gate});
    expect_int(td_offload(w.pool, pass_gate, w.gate), -EPROTO);
    expect(atomic_load(&gate->entered) < 100);  /* with pauses */
    td_shared_free(gate);
    world_close(&w);
    return 0;
}

static void an_init_that_fails_is_tried_again_and_told(void **state)
{
    assert_int_equal(run(state, retry_init, state), 0);
}

#define CROWD 60

static int stop_one_of_two(void *arg)
{
    struct call calls[CROWD];
    struct gate *side = td_shared_calloc(1, sizeof *side);
    struct world w;
    td_scope scope;
    int late = 0, ok = 0;

    world_open(&w, arg, (td_pool_opts){.workers = 2, .queue = CROWD});
    td_scope_open(&scope);
    spawn_call(&w, &scope, &calls[0], stay_in_gate);
    wait_entered(&w, 1);
    expect_int(kill(atomic_load(&w.gate->pid), SIGSTOP), 0);
    for (int i = 1; i < CROWD; i++) {
        calls[i] = (struct call){w.pool, pass_gate, side, {.when_full = TD_POOL_DEFAULT}, .rc = 1};
        expect_int(td_spawn(&scope, submit, &calls[i]), 0);
    }
    eventually(atomic_load(&side->left) == CROWD - 1);  /* the other worker takes them all, whoever had been given them */
    expect_int(calls[0].ends, 0);
    expect_int(td_offload_with(w.pool, pass_gate, side, &(td_offload_opts){.deadline = td_sec(20)}), 0);
    td_scope_cancel(&scope);
    (void)td_scope_join(&scope);
    for (int i = 0; i < CROWD; i++) {
        ok += calls[i].rc == 0;
        late += calls[i].rc == -ECANCELED;
    }
    expect_int(ok, CROWD - 1);
    expect_int(late, 1);
    eventually(stats_of(&w).deaths_by[TD_DEATH_CANCEL] == 1);
    td_shared_free(side);
    world_close(&w);
    return 0;
}

static void a_stopped_worker_costs_its_own_job(void **state)
{
    assert_int_equal(run(state, stop_one_of_two, state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROCESSES(a_stopped_zygote_is_replaced), WITH_PROCESSES(a_zygote_may_be_killed_at_any_moment),
        WITH_PROCESSES(a_zygote_without_descriptors_is_an_error_for_a_while),
        WITH_PROCESSES(a_machine_without_pids_is_an_error_for_a_while),
        WITH_PROCESSES(a_sandbox_without_close_range_leaks_no_descriptors), WITH_PROCESSES(nor_does_one_without_proc),
        WITH_PROCESSES(a_pool_closes_though_its_workers_are_stopped), WITH_PROCESSES(workers_end_in_peace_and_not_for_ever),
        WITH_PROCESSES(an_init_that_fails_is_tried_again_and_told), WITH_PROCESSES(a_stopped_worker_costs_its_own_job),
    };

    return cmocka_run_group_tests_name("pool zygote", tests, NULL, NULL);
}
