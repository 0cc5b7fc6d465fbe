/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. A watched connection lies in one list of the wheel, none that is further away than WS_WHEEL - 1 ticks.
 * 2. While connections are watched, the timer is armed. 3. The place is entered if and only if connections are parked.
 */
#include "ws/endpoint.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ws/connection.h"

#define MESSAGE_MAX_DEFAULT (64 * 1024)
#define IDLE_PING_NS 30000000000
#define DEFLATE_MIN_DEFAULT 1024
#define SHARED_BITS 15
#define OWN_BITS 11
#define TICKS_IN_IDLE 16         /* so exact is idle_ping, one part in so many */
#define TICK_MIN_NS 10000000
#define TICK_MAX_NS 250000000

static void look(struct td_timer *timer);
static void cancelled(struct http_place *place);
static void draining(struct http_place *place);

/* Options */

static td_ws_opts with_defaults(const td_ws_opts *given)
{
    td_ws_opts opts = given ? *given : (td_ws_opts){0};

    opts.message_bytes_max = opts.message_bytes_max ? opts.message_bytes_max : MESSAGE_MAX_DEFAULT;
    opts.queue_bytes_max = opts.queue_bytes_max ? opts.queue_bytes_max : WS_QUEUE_BYTES;
    opts.idle_ping = opts.idle_ping ? opts.idle_ping : IDLE_PING_NS;
    opts.deflate_bytes_min = opts.deflate_bytes_min ? opts.deflate_bytes_min : DEFLATE_MIN_DEFAULT;
    opts.deflate = TD_WS_DEFLATE_OFF;  /* what was agreed on counts */
    opts.deflate_window_bits = 0;
    opts.origins = opts.protocols = NULL;
    opts.authenticate = NULL;
    opts.authenticate_arg = NULL;
    return opts;
}

static bool same_opts(const td_ws_opts *a, const td_ws_opts *b)
{
    return a->message_bytes_max == b->message_bytes_max && a->queue_bytes_max == b->queue_bytes_max &&
           a->queue_messages_max == b->queue_messages_max && a->queue_age_max == b->queue_age_max &&
           a->when_full == b->when_full && a->idle_ping == b->idle_ping &&
           a->deflate_bytes_min == b->deflate_bytes_min && a->shared_messages == b->shared_messages;
}

static bool same_agreement(const struct ws_agreement *a, const struct ws_agreement *b)
{
    if (a->protocol && b->protocol ? strcmp(a->protocol, b->protocol) != 0 : a->protocol != b->protocol)
        return false;
    return a->deflate == b->deflate && a->terms.server_keeps == b->terms.server_keeps &&
           a->terms.client_keeps == b->terms.client_keeps && a->terms.server_bits == b->terms.server_bits &&
           a->terms.client_bits == b->terms.client_bits;
}

struct ws_deflate_wish endpoint_wish(td_ws_deflate deflate, int window_bits)
{
    int bits = window_bits ? window_bits : deflate == TD_WS_DEFLATE_OWN ? OWN_BITS : SHARED_BITS;

    return (struct ws_deflate_wish){deflate == TD_WS_DEFLATE_OWN, (uint8_t)(bits < 9 ? 9 : bits > 15 ? 15 : bits)};
}

static struct ws_endpoint *find(td_http_server *server, const td_ws_handler *handler, const td_ws_opts *opts,
                                const struct ws_agreement *agreed)
{
    for (struct td_list *at = server->ws_endpoints.next; at != &server->ws_endpoints; at = at->next) {
        struct ws_endpoint *endpoint = container_of(at, struct ws_endpoint, link);

        if (endpoint->handler == handler && same_opts(&endpoint->opts, opts) && same_agreement(&endpoint->agreed, agreed))
            return endpoint;
    }
    return NULL;
}

/* The server's compressors, if another endpoint has them; else new ones. */
static struct ws_press *press_of(td_http_server *server)
{
    struct ws_press *press = NULL;

    if (server)
        for (struct td_list *at = server->ws_endpoints.next; at != &server->ws_endpoints && !press; at = at->next)
            press = container_of(at, struct ws_endpoint, link)->press;
    if (!press)
        press = calloc(1, sizeof *press);
    if (press)
        press->refs++;
    return press;
}

static void press_put(struct ws_press *press)
{
    if (!press || --press->refs > 0)
        return;
    ws_deflate_shared_fini(&press->shared);
    free(press);
}

static struct block *ping_block(void)
{
    struct block *block = block_new(WS_HEADER_MAX);

    if (block)
        block->size = ws_encode_header(block->bytes, WS_PING, 0);
    return block;
}

static td_time tick_of(td_time idle_ns)
{
    td_time tick = idle_ns / TICKS_IN_IDLE;

    return tick < 0 || tick > TICK_MAX_NS ? TICK_MAX_NS : tick < TICK_MIN_NS ? TICK_MIN_NS : tick;
}

static void unmake(struct ws_endpoint *endpoint)
{
    list_remove(&endpoint->link);
    block_release(endpoint->ping);
    press_put(endpoint->press);
    free((char *)(uintptr_t)endpoint->agreed.protocol);
    free(endpoint);
}

static struct ws_endpoint *make(td_http_server *server, struct loop *loop, const td_ws_handler *handler,
                                const td_ws_opts *opts, const struct ws_agreement *agreed)
{
    struct ws_endpoint *endpoint = calloc(1, sizeof *endpoint);

    if (!endpoint)
        return NULL;
    endpoint->loop = loop;
    endpoint->server = server;
    endpoint->handler = handler;
    endpoint->opts = *opts;
    endpoint->agreed = *agreed;
    endpoint->tick_ns = tick_of(opts->idle_ping);
    endpoint->idle_ticks = opts->idle_ping < 0 ? 0 : (uint32_t)((opts->idle_ping + endpoint->tick_ns - 1) / endpoint->tick_ns);
    list_init(&endpoint->link);
    timer_init(&endpoint->timer, look);
    for (unsigned i = 0; i < WS_WHEEL; i++)
        list_init(&endpoint->wheel[i]);
    endpoint->ping = ping_block();
    endpoint->press = agreed->deflate ? press_of(server) : NULL;
    endpoint->agreed.protocol = agreed->protocol ? strdup(agreed->protocol) : NULL;
    if (!endpoint->ping || (agreed->deflate && !endpoint->press) || (agreed->protocol && !endpoint->agreed.protocol)) {
        unmake(endpoint);
        return NULL;
    }
    if (server)
        list_push_front(&server->ws_endpoints, &endpoint->link);
    return endpoint;
}

struct ws_endpoint *endpoint_get(td_http_server *server, struct loop *loop, const td_ws_handler *handler,
                                 const td_ws_opts *opts, const struct ws_agreement *agreed)
{
    td_ws_opts filled = with_defaults(opts);
    struct ws_endpoint *endpoint = server ? find(server, handler, &filled, agreed) : NULL;

    if (!endpoint)
        endpoint = make(server, loop, handler, &filled, agreed);
    if (endpoint)
        endpoint->refs++;
    return endpoint;
}

void endpoint_put(struct ws_endpoint *endpoint)
{
    if (--endpoint->refs > 0)
        return;
    assert(endpoint->parked == 0);
    timers_disarm(&endpoint->loop->sched.timers, &endpoint->timer);
    unmake(endpoint);
}

/* The wheel */

/* Arms the timer for the nearest list that is not empty. */
static void arm(struct ws_endpoint *endpoint)
{
    struct timers *timers = &endpoint->loop->sched.timers;
    unsigned first = (endpoint->at + 1) % WS_WHEEL;
    uint32_t turned = first ? endpoint->taken >> first | endpoint->taken << (WS_WHEEL - first) : endpoint->taken;
    td_time at;

    if (!turned)
        return;
    at = endpoint->at_ns + (td_time)(__builtin_ctz(turned) + 1) * endpoint->tick_ns;
    if (endpoint->timer.armed && endpoint->timer.at <= at)
        return;
    timers_disarm(timers, &endpoint->timer);
    timers_arm(timers, &endpoint->timer, at);
}

static uint32_t due(const td_ws *ws)
{
    const struct ws_endpoint *endpoint = ws->endpoint;

    if (ws->close_sent)
        return ws->tick;
    if (ws->waits_for_task)
        return endpoint->at + 1;
    return endpoint->idle_ticks ? ws->tick + endpoint->idle_ticks * (ws->pinged ? 2 : 1) : endpoint->at + WS_WHEEL;
}

static void put(td_ws *ws)
{
    struct ws_endpoint *endpoint = ws->endpoint;
    int32_t ahead = (int32_t)(due(ws) - endpoint->at);
    unsigned slot;

    ahead = ahead < 1 ? 1 : ahead > WS_WHEEL - 1 ? WS_WHEEL - 1 : ahead;
    slot = (endpoint->at + (uint32_t)ahead) % WS_WHEEL;
    list_push_back(&endpoint->wheel[slot], &ws->link);
    endpoint->taken |= UINT32_C(1) << slot;
    arm(endpoint);
}

/* Nothing came for idle_ping: asks whether the peer is there; for twice that: it is not. */
static void look_at_quiet(td_ws *ws)
{
    struct ws_endpoint *endpoint = ws->endpoint;
    uint32_t quiet = endpoint->at - ws->tick;

    if (ws->stream->input) {
        ws->tick = endpoint->at;  /* it spoke, and we have not listened */
    } else if (ws->pinged && quiet >= 2 * endpoint->idle_ticks) {
        ws->tick = endpoint->at;
        stream_break(ws->stream);
    } else if (!ws->pinged && quiet >= endpoint->idle_ticks) {
        ws->pinged = true;
        if (ws->client)
            (void)ws_send_control(ws, WS_PING, NULL, 0);  /* masked, so a frame of its own */
        else
            (void)stream_post_first(ws->stream, endpoint->ping);
    }
}

static void look_at(td_ws *ws)
{
    if (ws->waits_for_task)
        ws_attend(ws);
    if (!ws->close_sent && ws->endpoint->idle_ticks)
        look_at_quiet(ws);
    else if (ws->close_sent && (int32_t)(ws->endpoint->at - ws->tick) >= 0)
        ws_close_overdue(ws);
}

/* Takes all connections of so many next lists off the wheel. */
static void take_lists(struct ws_endpoint *endpoint, uint32_t lists, struct td_list *taken)
{
    list_init(taken);
    for (uint32_t i = 1; i <= lists && i <= WS_WHEEL; i++) {
        unsigned slot = (endpoint->at + i) % WS_WHEEL;

        while (!list_empty(&endpoint->wheel[slot]))
            list_push_back(taken, list_pop_front(&endpoint->wheel[slot]));
        endpoint->taken &= ~(UINT32_C(1) << slot);
    }
}

/* Each of them is put back before its turn: a close puts it elsewhere. */
static td_ws *next_of(struct td_list *taken)
{
    struct td_list *first = list_pop_front(taken);

    return first ? container_of(first, td_ws, link) : NULL;
}

static void look(struct td_timer *timer)
{
    struct ws_endpoint *endpoint = container_of(timer, struct ws_endpoint, timer);
    td_time steps = (td_now() - endpoint->at_ns) / endpoint->tick_ns;
    struct td_list taken;
    td_ws *ws;

    take_lists(endpoint, steps > WS_WHEEL ? WS_WHEEL : (uint32_t)steps, &taken);
    endpoint->at += (uint32_t)steps;
    endpoint->at_ns += steps * endpoint->tick_ns;
    while ((ws = next_of(&taken))) {
        look_at(ws);
        list_remove(&ws->link);
        put(ws);
    }
    arm(endpoint);
}

void endpoint_watch(td_ws *ws)
{
    struct ws_endpoint *endpoint = ws->endpoint;

    if (!endpoint->timer.armed)
        endpoint->at_ns = td_now();
    list_init(&ws->link);
    ws->tick = endpoint->at + (uint32_t)((td_now() - endpoint->at_ns) / endpoint->tick_ns);
    put(ws);
    if (ws->parked && endpoint->parked++ == 0) {
        http_place_enter(&endpoint->place, endpoint->server, false);
        endpoint->place.cancelled = cancelled;
        endpoint->place.draining = draining;
    }
}

void endpoint_unwatch(td_ws *ws)
{
    struct ws_endpoint *endpoint = ws->endpoint;

    list_remove(&ws->link);
    if (ws->parked && --endpoint->parked == 0)
        http_place_leave(&endpoint->place);
    if (endpoint->refs == 1)
        timers_disarm(&endpoint->loop->sched.timers, &endpoint->timer);
}

void endpoint_heard(td_ws *ws)
{
    struct ws_endpoint *endpoint = ws->endpoint;

    ws->pinged = false;
    if (!ws->close_sent)  /* then the tick is the close's */
        ws->tick = endpoint->at + (uint32_t)((endpoint->loop->sched.looked_at - endpoint->at_ns) / endpoint->tick_ns);
}

void endpoint_expect_close(td_ws *ws, td_time wait_ns)
{
    struct ws_endpoint *endpoint = ws->endpoint;
    td_time since = td_now() - endpoint->at_ns + wait_ns;

    ws->tick = endpoint->at + (uint32_t)((since + endpoint->tick_ns - 1) / endpoint->tick_ns);
    if (list_linked(&ws->link)) {
        list_remove(&ws->link);
        put(ws);
    }
}

/* The server's end */

/* Calls `say` for every parked connection. */
static void for_parked(struct ws_endpoint *endpoint, void (*say)(td_ws *ws))
{
    struct td_list taken;
    td_ws *ws;

    take_lists(endpoint, WS_WHEEL, &taken);
    while ((ws = next_of(&taken))) {
        put(ws);
        if (ws->parked)
            say(ws);
    }
}

static void say_cancelled(td_ws *ws)
{
    td_ws_close(ws, WS_CLOSE_GOING_AWAY, "the server is going down", true);
}

static void say_draining(td_ws *ws)
{
    if (!ws->attended)  /* else when it has been, in parked.c */
        td_ws_close(ws, WS_CLOSE_GOING_AWAY, "the server is going down", false);
}

static void cancelled(struct http_place *place)
{
    for_parked(container_of(place, struct ws_endpoint, place), say_cancelled);
}

static void draining(struct http_place *place)
{
    for_parked(container_of(place, struct ws_endpoint, place), say_draining);
}
