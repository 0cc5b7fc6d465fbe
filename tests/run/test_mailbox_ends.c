/* SPDX-License-Identifier: MIT */
/* How a mailbox ends: closed, freed before its senders, waited in by all there are, forgotten, forked away. */
#include "run/office.h"

static int close_on_the_queue(void *arg)
{
    struct office office = {.box = open_box(1, TD_WAIT)};
    struct clerk clerks[SENDERS];
    struct letter letter;
    td_scope scope;

    expect_int(td_mailbox_send(office.box, &(struct letter){0, 41}), 0);
    td_scope_open(&scope);
    let_them_queue(&office, &scope, clerks, SENDERS);
    td_mailbox_close(office.box);
    td_mailbox_close(office.box);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 1; i < SENDERS; i += 2)
        pthread_join(office.threads[i], NULL);
    expect_int(office.pipes, SENDERS);
    expect_int(td_mailbox_send(office.box, &letter), -EPIPE);
    expect_int(td_mailbox_try_send(office.box, &letter), -EPIPE);
    expect_int(td_mailbox_receive(office.box, &letter), 0);
    expect_int(letter.number, 41);
    expect_int(td_mailbox_receive(office.box, &letter), -EPIPE);
    td_mailbox_free(office.box);
    return 0;
}

static void a_close_ends_the_waits_of_senders_and_leaves_what_was_sent(void **state)
{
    assert_int_equal(run(state, close_on_the_queue, NULL), 0);
}

static void *send_few_and_close(void *arg)
{
    struct office *office = arg;
    td_mailbox *box = office->box;

    for (int i = 0; i < 10; i++)
        expect_int(td_mailbox_send(box, &(struct letter){0, i}), 0);
    td_mailbox_close(box);
    td_mailbox_release(box);
    return NULL;
}

static int receive_to_the_end(void *arg)
{
    struct office office = {.box = open_box(3, TD_WAIT)};
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < 3; i++)
        td_spawn(&scope, receive_signed, &office);
    settle();
    td_mailbox_retain(office.box);
    pthread_create(&office.threads[0], NULL, send_few_and_close, &office);
    expect_int(td_scope_join(&scope), 0);
    pthread_join(office.threads[0], NULL);
    expect_int(office.received, 10);
    td_mailbox_free(office.box);
    return 0;
}

static void a_thread_that_closes_ends_the_waits_of_all_receivers(void **state)
{
    assert_int_equal(run(state, receive_to_the_end, NULL), 0);
}

static void *send_at_leisure(void *arg)
{
    struct office *office = arg;
    td_mailbox *box = office->box;
    int rc;

    for (int i = 0; (rc = td_mailbox_send(box, &(struct letter){0, i})) == 0; i++)
        ;
    expect_int(rc, -EPIPE);
    atomic_fetch_add(&office->signs, 1);
    while (office->signs < 2)  /* the loop is gone by now, and its td_run has returned */
        sched_yield();
    expect_int(td_mailbox_send(box, &(struct letter){0, 0}), -EPIPE);
    td_mailbox_close(box);
    td_mailbox_release(box);
    return NULL;
}

static int free_early(void *arg)
{
    struct office *office = arg;
    struct letter letter;

    office->box = open_box(2, TD_WAIT);
    td_mailbox_retain(office->box);
    pthread_create(&office->threads[0], NULL, send_at_leisure, office);
    for (int i = 0; i < 100; i++)
        expect_int(td_mailbox_receive(office->box, &letter), 0);
    td_mailbox_free(office->box);
    return 0;
}

static void a_reference_outlives_the_loop(void **state)
{
    struct office office = {NULL};

    if (backend_is_forbidden(state))
        skip();
    complaint.made = false;
    assert_int_equal(td_run_with(&(td_opts){.backend = backend_of(state)}, free_early, &office), 0);
    atomic_fetch_add(&office.signs, 1);
    pthread_join(office.threads[0], NULL);
    assert_false(complaint.made);
}

static int receive_alone(void *arg)
{
    td_mailbox *box = open_box(1, TD_WAIT);
    struct letter letter;
    int rc = td_mailbox_receive(box, &letter);

    td_mailbox_free(box);
    return rc;
}

static int send_to_oneself(void *arg)
{
    td_mailbox *box = open_box(1, TD_WAIT);
    int rc = 0;

    for (int i = 0; i < 2; i++)
        rc = td_mailbox_send(box, &(struct letter){0, 0});
    td_mailbox_free(box);
    return rc;
}

static int receive_in_child(void **state)
{
    td_opts opts = {.backend = backend_of(state)};

    expect_int(td_run_with(&opts, receive_alone, NULL), -EDEADLK);
    expect_int(td_run_with(&opts, send_to_oneself, NULL), -EDEADLK);
    opts.loops = 3;
    expect_int(td_run_with(&opts, receive_alone, NULL), -EDEADLK);  /* on all of them */
    return 0;
}

static void when_nobody_is_left_who_could_send_it_is_a_deadlock(void **state)
{
    struct ending ending = in_child(state, receive_in_child);

    assert_ended_well(&ending);
    assert_says(&ending, "deadlock: all 1 tasks wait");
    assert_says(&ending, "receive from mailbox the office");
    assert_says(&ending, "send to mailbox the office");
    assert_says(&ending, "deadlock: all 1 tasks of loop 0 wait");
    assert_says(&ending, "deadlock: all 1 tasks of loop 2 wait");
}

static int be_late(void *arg)
{
    struct office *office = arg;

    if (td_loop_index() == 0) {
        struct letter letter;
        int rc;

        office->box = open_box(1, TD_WAIT);
        rc = td_mailbox_receive(office->box, &letter);
        td_mailbox_free(office->box);
        return rc;
    }
    eventually(office->box != NULL);
    expect_int(td_sleep(td_ms(5)), 0);
    return td_mailbox_send(office->box, &(struct letter){0, 0});
}

static void a_busy_loop_may_still_send(void **state)
{
    struct office office = {NULL};

    assert_int_equal(run_with(state, (td_opts){.loops = 2}, be_late, &office), 0);
}

/* Comes late, or leaves without a word. */
static void *hesitate(void *arg)
{
    struct office *office = arg;

    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    if (office->signs == 0)
        expect_int(td_mailbox_send(office->box, &(struct letter){0, 0}), 0);
    td_mailbox_release(office->box);
    return NULL;
}

static int wait_for_thread(void *arg)
{
    struct office *office = arg;
    struct letter letter;
    int rc;

    office->box = open_box(1, TD_WAIT);
    td_mailbox_retain(office->box);
    pthread_create(&office->threads[0], NULL, hesitate, office);
    rc = td_mailbox_receive(office->box, &letter);
    pthread_join(office->threads[0], NULL);
    td_mailbox_free(office->box);
    return rc;
}

static int run_hesitation(void **state)
{
    struct office office = {.signs = 1};

    return td_run_with(&(td_opts){.backend = backend_of(state)}, wait_for_thread, &office) != -EDEADLK;
}

static void a_reference_keeps_a_wait_from_being_a_deadlock_until_it_is_given_back(void **state)
{
    struct office office = {NULL};
    struct ending ending;

    assert_int_equal(run(state, wait_for_thread, &office), 0);
    ending = in_child(state, run_hesitation);
    assert_ended_well(&ending);
    assert_says(&ending, "deadlock: all 1 tasks wait");
}

static int forget_to_free(void *arg)
{
    open_box(1, TD_WAIT);
    return 0;
}

static int run_forgetful(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, forget_to_free, NULL);
}

static int receive_elsewhere(void *arg)
{
    struct office *office = arg;
    struct letter letter;

    if (td_loop_index() == 0)
        office->box = open_box(1, TD_WAIT);
    eventually(office->box != NULL);
    return td_loop_index() == 0 ? td_sleep(td_sec(10)) : td_mailbox_receive(office->box, &letter);
}

static int run_elsewhere(void **state)
{
    struct office office = {NULL};

    return td_run_with(&(td_opts){.backend = backend_of(state), .loops = 2}, receive_elsewhere, &office);
}

static void misuse_ends_the_program_with_a_sentence(void **state)
{
    assert_aborts_saying(state, run_forgetful, "1 mailboxes were not freed before the loop ended");
    assert_aborts_saying(state, run_elsewhere, "td_mailbox_receive: the mailbox belongs to another loop");
}

static int send_in_forked_child(void *arg)
{
    struct office office = {.box = open_box(1, TD_WAIT)};
    struct letter letter = {0, 0};
    td_mailbox *second;
    td_mailbox_stats stats;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        expect_int(td_mailbox_send(office.box, &letter), -EOWNERDEAD);
        expect_int(td_mailbox_try_send(office.box, &letter), -EOWNERDEAD);
        expect_int(td_mailbox_receive(office.box, &letter), -EOWNERDEAD);
        expect_int(td_mailbox_open(&second, &(td_mailbox_opts){.item_size = 1, .capacity = 1}), -EOWNERDEAD);
        td_mailbox_retain(office.box);
        td_mailbox_close(office.box);
        td_mailbox_release(office.box);
        td_mailbox_free(office.box);
        _exit(complaint.made);
    }
    expect_int(waitpid(pid, &status, 0), pid);
    expect_int(status, 0);
    td_mailbox_statistics(office.box, &stats);
    expect(stats.sent == 0 && stats.count == 0);
    td_mailbox_free(office.box);
    return 0;
}

static void a_forked_child_has_no_part_in_it(void **state)
{
    assert_int_equal(run(state, send_in_forked_child, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_close_ends_the_waits_of_senders_and_leaves_what_was_sent),
        ON_BOTH(a_thread_that_closes_ends_the_waits_of_all_receivers), ON_BOTH(a_reference_outlives_the_loop),
        ON_BOTH(when_nobody_is_left_who_could_send_it_is_a_deadlock), ON_BOTH(a_busy_loop_may_still_send),
        ON_BOTH(a_reference_keeps_a_wait_from_being_a_deadlock_until_it_is_given_back),
        ON_BOTH(misuse_ends_the_program_with_a_sentence), ON_BOTH(a_forked_child_has_no_part_in_it),
    };

    return cmocka_run_group_tests_name("run mailbox ends", tests, NULL, NULL);
}
