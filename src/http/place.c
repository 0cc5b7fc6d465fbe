/* SPDX-License-Identifier: MIT */
/*
 * The places of connections, and what they wait for.
 *
 * Invariant: the sweep's timer is armed while something is watched, for no later than the first deadline, give or take SWEEP_NS.
 */
#include "http/server.h"

#define SWEEP_NS 100000000   /* so late may a deadline be noticed: it is a peer's patience that is measured, not time */

static void cancel(struct scope_guest *guest)
{
    struct http_place *place = container_of(guest, struct http_place, guest);

    if (place->cancelled)
        place->cancelled(place);
}

void http_place_enter(struct http_place *place, td_http_server *server, bool counted)
{
    place->server = server;
    place->counted = counted;
    place->before_drain = counted && !server->draining;
    place->guest.cancel = cancel;
    list_init(&place->guest.link);
    list_init(&place->link);
    list_push_back(&server->places, &place->link);
    scope_guest_enter(server->scope, &place->guest);
    server->stats.connections += counted;
    server->stats.connections_before_drain += place->before_drain;
}

void http_place_move(struct http_place *to, struct http_place *from)
{
    *to = *from;
    to->cancelled = to->draining = NULL;
    list_init(&to->link);
    list_init(&to->guest.link);
    list_insert_before(&from->link, &to->link);
    list_remove(&from->link);
    list_insert_before(&from->guest.link, &to->guest.link);
    list_remove(&from->guest.link);
}

void http_place_uncount(struct http_place *place)
{
    place->server->stats.connections -= place->counted;
    place->counted = false;
}

static void one_less_before_drain(td_http_server *server)
{
    if (--server->stats.connections_before_drain == 0 && server->draining)
        td_event_set(&server->drained);
}

void http_place_leave(struct http_place *place)
{
    http_place_uncount(place);
    list_remove(&place->link);
    if (place->before_drain)
        one_less_before_drain(place->server);
    scope_guest_done(&place->guest, 0, false);
}

enum { COUNTED = 1, BEFORE_DRAIN = 2 };

uint8_t http_place_fold(struct http_place *place)
{
    uint8_t count = (uint8_t)((place->counted ? COUNTED : 0) | (place->before_drain ? BEFORE_DRAIN : 0));

    list_remove(&place->link);
    scope_guest_done(&place->guest, 0, false);
    return count;
}

void http_count_leave(td_http_server *server, uint8_t count)
{
    server->stats.connections -= (count & COUNTED) != 0;
    if (count & BEFORE_DRAIN)
        one_less_before_drain(server);
}

static td_time deadline_of(const td_http_server *server, int what)
{
    const struct td_list *first = server->watched[what].next;
    td_time at;

    if (first == &server->watched[what] ||
        __builtin_add_overflow(container_of(first, struct http_watch, link)->since, server->patience[what], &at))
        return TD_FOREVER;
    return at;
}

static void arm(td_http_server *server, td_time at)
{
    struct timers *timers = &server->loop->sched.timers;

    if (at == TD_FOREVER || (server->sweep.armed && server->sweep.at <= at + SWEEP_NS))
        return;
    timers_disarm(timers, &server->sweep);
    timers_arm(timers, &server->sweep, at + SWEEP_NS);
}

void http_sweep(struct td_timer *timer)
{
    td_http_server *server = container_of(timer, struct td_http_server, sweep);
    td_time now = td_now();

    for (int what = 0; what < HTTP_WAITINGS; what++) {
        while (deadline_of(server, what) <= now) {
            struct http_watch *watch = container_of(server->watched[what].next, struct http_watch, link);

            list_remove(&watch->link);
            watch->overdue(watch);
        }
    }
    for (int what = 0; what < HTTP_WAITINGS; what++)
        arm(server, deadline_of(server, what));
}

void http_watch(td_http_server *server, struct http_watch *watch, enum http_waiting what)
{
    list_remove(&watch->link);
    watch->since = task_running ? server->loop->sched.looked_at : td_now();  /* not old while tasks run, and for nothing */
    list_push_back(&server->watched[what], &watch->link);
    if (server->watched[what].next == &watch->link)
        arm(server, deadline_of(server, what));
}

void http_watch_end(struct http_watch *watch)
{
    list_remove(&watch->link);
}
