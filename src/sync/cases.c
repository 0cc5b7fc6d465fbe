/* SPDX-License-Identifier: MIT */
#include "sync/cases.h"

#include <poll.h>

#include "sync/queues.h"

static bool item_ready(const td_case *one)
{
    return chan_may_receive(one->on);
}

static int receive_item(td_case *one)
{
    return chan_receive_now(one->on, one->item);
}

static struct td_list *among_receivers(td_case *one)
{
    return chan_receivers(one->on);
}

td_case td_on_receive(td_chan *chan, void *item)
{
    static const struct td_case_kind kind = {.ready = item_ready, .happen = receive_item, .queue = among_receivers};

    return (td_case){.kind = &kind, .on = chan, .item = item};
}

static bool room_ready(const td_case *one)
{
    return chan_may_send(one->on);
}

static int send_item(td_case *one)
{
    return chan_send_now(one->on, one->item);
}

static struct td_list *among_senders(td_case *one)
{
    return chan_senders(one->on);
}

td_case td_on_send(td_chan *chan, const void *item)
{
    static const struct td_case_kind kind = {.ready = room_ready, .happen = send_item, .queue = among_senders};

    return (td_case){.kind = &kind, .on = chan, .item = (void *)(uintptr_t)item};
}

static bool news_ready(const td_case *one)
{
    return subscriber_may_receive(one->on);
}

static int receive_news(td_case *one)
{
    return subscriber_receive_now(one->on, one->item);
}

static struct td_list *in_subscription(td_case *one)
{
    return subscriber_waiters(one->on);
}

td_case td_on_broadcast(td_subscriber *subscriber, void *item)
{
    static const struct td_case_kind kind = {.ready = news_ready, .happen = receive_news, .queue = in_subscription};

    return (td_case){.kind = &kind, .on = subscriber, .item = item};
}

static int nothing_to_take(td_case *one)
{
    return 0;
}

static bool time_ready(const td_case *one)
{
    return one->at != TD_FOREVER && one->at <= td_now();
}

td_case td_on_time(td_time at)
{
    static const struct td_case_kind kind = {.ready = time_ready, .happen = nothing_to_take, .queue = NULL};

    return (td_case){.kind = &kind, .at = at};
}

const struct td_case_kind case_readable = {.events = POLLIN}, case_writable = {.events = POLLOUT};

td_case td_on_readable(int fd)
{
    return (td_case){.kind = &case_readable, .fd = fd};
}

td_case td_on_writable(int fd)
{
    return (td_case){.kind = &case_writable, .fd = fd};
}

static bool event_ready(const td_case *one)
{
    return ((const td_event *)one->on)->set;
}

static struct td_list *at_event(td_case *one)
{
    td_event *event = one->on;

    event->waits++;
    return &event->waiters;
}

td_case td_on_event(td_event *event)
{
    static const struct td_case_kind kind = {.ready = event_ready, .happen = nothing_to_take, .queue = at_event};

    return (td_case){.kind = &kind, .on = event};
}

static bool future_ready(const td_case *one)
{
    return ((const td_future *)one->on)->set;
}

static int value_of_future(td_case *one)
{
    return td_future_try_wait(one->on, one->item);
}

static struct td_list *at_future(td_case *one)
{
    td_future *future = one->on;

    future->waits++;
    return &future->waiters;
}

td_case td_on_future(td_future *future, void **value)
{
    static const struct td_case_kind kind = {.ready = future_ready, .happen = value_of_future, .queue = at_future};

    return (td_case){.kind = &kind, .on = future, .item = value};
}

static bool permit_ready(const td_case *one)
{
    return ((const td_sem *)one->on)->permits > 0;
}

static int take_permit(td_case *one)
{
    return td_sem_try_take(one->on);
}

static struct td_list *for_permit(td_case *one)
{
    td_sem *sem = one->on;

    sem->waits++;
    return &sem->waiters;
}

td_case td_on_permit(td_sem *sem)
{
    static const struct td_case_kind kind = {.ready = permit_ready, .happen = take_permit, .queue = for_permit};

    return (td_case){.kind = &kind, .on = sem};
}
