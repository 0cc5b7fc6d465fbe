/* SPDX-License-Identifier: MIT */
/*
 * What tests of mailboxes share: an office with a mailbox, and clerks (tasks, and threads of the test's own) who send.
 */
#ifndef TANDEM_TESTS_RUN_OFFICE_H
#define TANDEM_TESTS_RUN_OFFICE_H

#include <pthread.h>
#include <stdatomic.h>

#include "run/harness.h"

#define SENDERS 4

struct letter {
    int from, number;
};

struct office {
    td_mailbox *_Atomic box, *_Atomic other;
    pthread_t threads[SENDERS];
    atomic_int signs, sent, refused, pipes, gave_up;
    int next[2 * SENDERS];
    int received;
};

/* What a thread that the test started is to do, and as whom. */
struct clerk {
    struct office *office;
    int number;
};

UNUSED static td_mailbox *open_box(size_t capacity, td_when_full when_full)
{
    td_mailbox *box = NULL;

    expect_int(td_mailbox_open(&box, &(td_mailbox_opts){.item_size = sizeof(struct letter), .capacity = capacity,
                                                        .when_full = when_full, .name = "the office"}), 0);
    return box;
}

UNUSED static int send_signed(void *arg)
{
    struct clerk *clerk = arg;
    int rc = td_mailbox_send(clerk->office->box, &(struct letter){0, clerk->number});

    atomic_fetch_add(rc == 0 ? &clerk->office->sent : rc == -EPIPE ? &clerk->office->pipes : &clerk->office->gave_up, 1);
    return 0;
}

UNUSED static void *send_signed_on_thread(void *arg)
{
    struct clerk *clerk = arg;

    send_signed(clerk);
    td_mailbox_release(clerk->office->box);
    return NULL;
}

UNUSED static size_t senders_waiting(td_mailbox *box)
{
    td_mailbox_stats stats;

    td_mailbox_statistics(box, &stats);
    return stats.senders_waiting;
}

/* Spawns tasks and threads in turns that each wait for room. */
UNUSED static void let_them_queue(struct office *office, td_scope *scope, struct clerk *clerks, int count)
{
    for (int i = 0; i < count; i++) {
        clerks[i] = (struct clerk){office, i};
        if (i % 2) {
            td_mailbox_retain(office->box);
            expect_int(pthread_create(&office->threads[i], NULL, send_signed_on_thread, &clerks[i]), 0);
        } else {
            td_spawn(scope, send_signed, &clerks[i]);
        }
        eventually(senders_waiting(office->box) == (size_t)i + 1);
    }
}

UNUSED static int receive_signed(void *arg)
{
    struct office *office = arg;
    struct letter letter;
    int rc;

    while ((rc = td_mailbox_receive(office->box, &letter)) == 0)
        office->received++;
    expect_int(rc, -EPIPE);
    return 0;
}

#endif
