/* SPDX-License-Identifier: MIT */
/*
 * The simulation's sockets: what operations on them do, and what travels between them.
 *
 * Invariants: 1. A connection is two sockets that are each other's peer, until one is closed. 2. Bytes that a send
 * took are in the peer's pipe, in order, until they are read, or the connection is reset. 3. A pipe's arrival is armed
 * while something is on its way.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "loop/sim.h"
#include "loop/sim_net.h"

#define SYN_TRIES 7                 /* 1 s, 2 s, 4 s ...: 127 s, as Linux has it */
#define DATA_TRIES 15               /* 0.2 s doubled up to 120 s: about a quarter of an hour */
#define DATA_RETRY_FIRST_NS 200000000
#define DATA_RETRY_MAX_NS 120000000000

struct sim_socket *sim_socket_of(struct backend *sim, int fd)
{
    size_t number = (size_t)(fd - SIM_FD_FIRST);

    if (number >= sim->socket_count || !sim->sockets[number])
        fail("simulation: descriptor %zu is used, and is not open; this is a defect of the library", number);
    return sim->sockets[number];
}

/* Makes what is on its way to the socket arrive a while from now. */
static void send_off(struct sim_socket *socket)
{
    struct backend *sim = socket->sim;

    if (!socket->in.arrival.armed)
        timers_arm(&sim->events, &socket->in.arrival, sim->loop->virtual_now + sim_delay(sim, socket->slow));
}

/* Ends a connection for this side: what has arrived can still be read, then comes the error, then the end. */
static void break_socket(struct sim_socket *socket, int error)
{
    if (socket->broken)
        return;
    socket->broken = true;
    socket->error = error;
    socket->in.count = socket->in.arrived;
    timers_disarm(&socket->sim->events, &socket->in.arrival);
    sim_slot_try(&socket->reading);
    sim_slot_try(&socket->writing);
}

static void reset_both(struct sim_socket *socket)
{
    if (socket->peer)
        break_socket(socket->peer, -ECONNRESET);
    break_socket(socket, -ECONNRESET);
}

/* The way is cut: TCP tries again, later each time, and gives up in the end. */
static void retry_arrival(struct sim_socket *socket)
{
    struct sim_pipe *in = &socket->in;
    td_time wait_ns = in->tries > 9 ? DATA_RETRY_MAX_NS : (td_time)DATA_RETRY_FIRST_NS << in->tries;

    if (++in->tries <= DATA_TRIES) {
        timers_arm(&socket->sim->events, &in->arrival, socket->sim->loop->virtual_now + wait_ns);
    } else {
        in->count = in->arrived;
        if (socket->peer)
            break_socket(socket->peer, -ETIMEDOUT);
    }
}

static void arrival_due(struct td_timer *timer)
{
    struct sim_socket *socket = container_of(timer, struct sim_socket, in.arrival);
    struct sim_pipe *in = &socket->in;
    size_t coming = in->count - in->arrived;

    if (sim_is_cut(socket->sim, socket)) {
        retry_arrival(socket);
        return;
    }
    in->tries = 0;
    if (coming > 0 && sim_chance(socket->sim, sim_partial(socket->sim), NULL))
        coming = 1 + (size_t)dice_below(&socket->sim->net, coming);
    in->arrived += coming;
    sim_note(socket->sim, "arrive", socket->fd - SIM_FD_FIRST, (long long)coming);
    if (in->arrived < in->count)
        send_off(socket);
    else if (in->reset_sent)
        break_socket(socket, -ECONNRESET);
    else
        in->end_arrived = in->end_sent;
    sim_slot_try(&socket->reading);
}

/* Makes a socket. Returns NULL when memory is short. */
static struct sim_socket *socket_new(struct backend *sim)
{
    struct sim_socket *socket;

    if (sim->socket_count == sim->socket_room) {
        size_t room = sim->socket_room ? sim->socket_room * 2 : 64;
        struct sim_socket **larger = realloc(sim->sockets, room * sizeof *larger);

        if (!larger)
            return NULL;
        sim->sockets = larger;
        sim->socket_room = room;
    }
    socket = calloc(1, sizeof *socket);
    if (!socket)
        return NULL;
    socket->sim = sim;
    socket->fd = SIM_FD_FIRST + (int)sim->socket_count;
    list_init(&socket->link);
    list_init(&socket->backlog);
    sim_slot_init(&socket->reading, socket);
    sim_slot_init(&socket->writing, socket);
    timer_init(&socket->in.arrival, arrival_due);
    sim->sockets[sim->socket_count++] = socket;
    sim->stats.sockets++;
    return socket;
}

static void socket_free(struct sim_socket *socket)
{
    struct backend *sim = socket->sim;

    assert(!socket->reading.op && !socket->writing.op);
    timers_disarm(&sim->events, &socket->reading.timer);
    timers_disarm(&sim->events, &socket->writing.timer);
    timers_disarm(&sim->events, &socket->in.arrival);
    sim->sockets[socket->fd - SIM_FD_FIRST] = NULL;
    sim->stats.sockets--;
    free(socket->in.bytes);
    free(socket);
}

/* How large a connection's window is, each way. */
static size_t window(struct backend *sim, bool slow)
{
    if (slow)
        return 1 + (size_t)dice_below(&sim->net, 64);
    return (size_t)1 << (9 + dice_below(&sim->net, 8));  /* half a KiB to 64 KiB */
}

static struct sim_socket *listener_at(struct backend *sim, const struct sockaddr_storage *address)
{
    for (size_t i = 0; i < sim->socket_count; i++) {
        struct sim_socket *socket = sim->sockets[i];

        if (socket && socket->state == SIM_LISTENING && sim_port(&socket->local) == sim_port(address) &&
            (sim_same_host(&socket->local, address) || sim_is_any(&socket->local)))
            return socket;
    }
    return NULL;
}

/* Joins the socket to a new one in the listener's backlog. Returns 0 or -ENOBUFS. */
static int join(struct sim_socket *socket, struct sim_socket *listener)
{
    struct backend *sim = socket->sim;
    bool slow = sim_chance(sim, sim->faults.slow_peer, &sim->stats.slow_peers);
    size_t there = window(sim, slow), back = window(sim, slow);
    struct sim_socket *made = socket_new(sim);

    if (!made)
        return -ENOBUFS;
    made->in.bytes = malloc(there);
    socket->in.bytes = malloc(back);
    if (!made->in.bytes || !socket->in.bytes) {
        socket_free(made);
        free(socket->in.bytes);
        socket->in.bytes = NULL;
        return -ENOBUFS;
    }
    made->in.room = there;
    socket->in.room = back;
    made->slow = socket->slow = slow;
    made->local = socket->remote;
    made->remote = socket->local;
    made->peer = socket;
    socket->peer = made;
    made->state = SIM_CONNECTED;
    list_push_back(&listener->backlog, &made->link);
    listener->waiting++;
    sim_slot_try(&listener->reading);
    return 0;
}

static void give_address(struct sim_socket *socket, const struct sockaddr_storage *remote)
{
    struct backend *sim = socket->sim;

    socket->remote = *remote;
    socket->local = sim->host.ss_family == remote->ss_family ? sim->host : *remote;
    sim_set_port(&socket->local, htons(sim->next_port++));
    if (sim->next_port == 0)
        sim->next_port = 32768;
}

/* Nobody answers: once more later, until it is enough. */
static int retry_connect(struct sim_socket *socket)
{
    struct sim_slot *slot = &socket->writing;

    if (socket->tries >= SYN_TRIES)
        return -ETIMEDOUT;
    timers_arm(&socket->sim->events, &slot->timer, socket->sim->loop->virtual_now + (td_sec(1) << socket->tries++));
    return -EAGAIN;
}

/* First the request travels there, and the connection stands on that side; then the answer comes back. */
static int connect_step(struct sim_socket *socket, const struct io_op *op)
{
    static const int no_way[] = {-ECONNREFUSED, -EHOSTUNREACH, -ENETUNREACH, -EADDRNOTAVAIL, -ETIMEDOUT};
    struct backend *sim = socket->sim;
    struct sockaddr_storage remote = {0};
    struct sim_socket *listener;
    int rc;

    if (socket->state == SIM_CONNECTED)
        return -EISCONN;
    if (socket->state == SIM_FRESH) {
        memcpy(&remote, op->address.at, op->address.size);
        give_address(socket, &remote);
        socket->state = SIM_CONNECTING;
    }
    if (socket->broken) {  /* the other side closed or reset it before the answer came */
        rc = socket->error ? socket->error : -ECONNRESET;
        socket->error = 0;
        return rc;
    }
    if (sim_is_cut(sim, socket))
        return retry_connect(socket);
    if (socket->in.room > 0) {
        socket->state = SIM_CONNECTED;
        return 0;
    }
    if (sim_chance(sim, sim->faults.refused, &sim->stats.refused))
        return no_way[dice_below(&sim->net, sizeof no_way / sizeof *no_way)];
    listener = listener_at(sim, &socket->remote);
    if (!listener)
        return -ECONNREFUSED;
    if (listener->waiting >= listener->waiting_max)
        return retry_connect(socket);
    rc = join(socket, listener);
    if (rc < 0)
        return rc;
    sim_slot_try(&socket->writing);
    return -EAGAIN;
}

static int accept_one(struct sim_socket *listener)
{
    static const int short_of[] = {-EMFILE, -ENFILE, -ENOBUFS, -ENOMEM};
    struct backend *sim = listener->sim;
    struct sim_socket *made;

    if (list_empty(&listener->backlog))
        return -EAGAIN;
    if (sim_chance(sim, sim->faults.shortage, &sim->stats.shortages))
        return short_of[dice_below(&sim->net, 4)];
    made = container_of(list_pop_front(&listener->backlog), struct sim_socket, link);
    listener->waiting--;
    if (!sim_chance(sim, sim->faults.aborted, &sim->stats.aborted))
        return made->fd;
    sim_net_close(made);
    return -ECONNABORTED;
}

static int tell_error(struct sim_socket *socket)
{
    int error = socket->error;

    socket->error = 0;
    return error;
}

static int receive_some(struct sim_socket *socket, void *data, size_t size)
{
    struct sim_pipe *in = &socket->in;
    size_t n = in->arrived < size ? in->arrived : size, to_end;

    if (n == 0) {
        if (socket->error)
            return tell_error(socket);
        return in->end_arrived || socket->broken || socket->read_shut || size == 0 ? 0 : -EAGAIN;
    }
    if (sim_chance(socket->sim, sim_partial(socket->sim), &socket->sim->stats.partials))
        n = 1 + (size_t)dice_below(&socket->sim->net, n);
    to_end = in->room - in->first < n ? in->room - in->first : n;
    memcpy(data, in->bytes + in->first, to_end);
    memcpy((char *)data + to_end, in->bytes, n - to_end);
    in->first = (in->first + n) % in->room;
    in->count -= n;
    in->arrived -= n;
    if (socket->peer)
        sim_slot_try(&socket->peer->writing);
    return (int)n;
}

static void put(struct sim_pipe *in, const unsigned char *bytes, size_t n)
{
    size_t at = (in->first + in->count) % in->room, to_end = in->room - at < n ? in->room - at : n;

    memcpy(in->bytes + at, bytes, to_end);
    memcpy(in->bytes, bytes + to_end, n - to_end);
    in->count += n;
}

static int send_some(struct sim_socket *socket, const struct msghdr *message)
{
    struct sim_socket *peer = socket->peer;
    size_t total = 0, room, left;

    if (socket->error)
        return tell_error(socket);
    if (socket->broken || socket->write_shut)
        return -EPIPE;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        total += message->msg_iov[i].iov_len;
    if (!peer) {  /* it is closed and does not know us any more: the bytes vanish, and a reset will come back */
        socket->in.reset_sent = true;
        send_off(socket);
        return (int)total;
    }
    room = peer->in.room - peer->in.count;
    if (room == 0 && total > 0)
        return -EAGAIN;
    left = total < room ? total : room;
    if (left > 0 && sim_chance(socket->sim, sim_partial(socket->sim), &socket->sim->stats.partials))
        left = 1 + (size_t)dice_below(&socket->sim->net, left);
    total = left;
    for (size_t i = 0; left > 0; i++) {
        size_t n = message->msg_iov[i].iov_len < left ? message->msg_iov[i].iov_len : left;

        put(&peer->in, message->msg_iov[i].iov_base, n);
        left -= n;
    }
    send_off(peer);
    return (int)total;
}

/* Whether an accept, a receive or a send would have something to say. */
static bool poll_ready(const struct sim_socket *socket, short events)
{
    if (socket->state == SIM_LISTENING)
        return !list_empty(&socket->backlog);
    if (socket->broken || socket->error)
        return true;
    if (events & POLLOUT)
        return socket->write_shut || !socket->peer || socket->peer->in.count < socket->peer->in.room;
    return socket->in.end_arrived || socket->read_shut || socket->in.arrived > 0;
}

int sim_net_attempt(struct sim_socket *socket, struct io_op *op)
{
    struct backend *sim = socket->sim;

    if (op->kind == IO_CONNECT)
        return connect_step(socket, op);
    if (op->kind == IO_POLL)
        return poll_ready(socket, op->events) ? 0 : -EAGAIN;
    if (sim_chance(sim, sim->faults.interrupted, &sim->stats.interrupted))
        return -EINTR;
    if (op->kind == IO_ACCEPT)
        return socket->state == SIM_LISTENING ? accept_one(socket) : -EINVAL;
    if (socket->state != SIM_CONNECTED)
        return -ENOTCONN;
    if (!socket->broken && sim_chance(sim, sim->faults.reset, &sim->stats.resets))
        reset_both(socket);
    if (op->kind == IO_RECEIVE)
        return receive_some(socket, op->buffer.data, op->buffer.size);
    if (op->kind == IO_SEND)
        return sim_net_send(socket, op->message);
    return -EOPNOTSUPP;
}

int sim_net_send(struct sim_socket *socket, const struct msghdr *message)
{
    struct backend *sim = socket->sim;

    if (sim_chance(sim, sim->faults.shortage, &sim->stats.shortages))
        return dice_below(&sim->net, 2) ? -ENOBUFS : -ENOMEM;
    return send_some(socket, message);
}

struct sim_socket *sim_net_open(struct backend *sim)
{
    return socket_new(sim);
}

bool sim_net_in_use(struct backend *sim, const struct sockaddr_storage *address)
{
    return listener_at(sim, address) != NULL;
}

int sim_net_shutdown(struct sim_socket *socket, int how)
{
    if (socket->state != SIM_CONNECTED || socket->broken)
        return -ENOTCONN;
    if (how != SHUT_RD && !socket->write_shut) {
        socket->write_shut = true;
        sim_slot_try(&socket->writing);
        if (socket->peer) {
            socket->peer->in.end_sent = true;
            send_off(socket->peer);
        }
    }
    if (how != SHUT_WR) {
        socket->read_shut = true;
        sim_slot_try(&socket->reading);
    }
    return 0;
}

/* The peer learns of a close behind the bytes that are on their way: the end, or a reset when bytes stay unread here. */
static void part(struct sim_socket *socket)
{
    struct sim_socket *peer = socket->peer;

    if (!peer)
        return;
    peer->peer = NULL;
    socket->peer = NULL;
    if (socket->in.count > 0)
        peer->in.reset_sent = true;
    else
        peer->in.end_sent = true;
    if (!peer->broken)
        send_off(peer);
    sim_slot_try(&peer->writing);
}

void sim_net_close(struct sim_socket *socket)
{
    while (!list_empty(&socket->backlog))
        sim_net_close(container_of(list_pop_front(&socket->backlog), struct sim_socket, link));
    list_remove(&socket->link);
    part(socket);
    socket_free(socket);
}

void sim_net_disconnect(struct sim_socket *socket)
{
    part(socket);
    socket->broken = true;
}

void sim_net_mended(struct backend *sim)
{
    sim_note(sim, "mend", sim->cut_count, 0);
    for (size_t i = 0; i < sim->socket_count; i++) {
        struct sim_socket *socket = sim->sockets[i];

        if (!socket || !socket->in.arrival.armed)
            continue;
        timers_disarm(&sim->events, &socket->in.arrival);
        send_off(socket);
    }
}

void sim_net_close_all(struct backend *sim)
{
    for (size_t i = 0; i < sim->socket_count; i++)
        if (sim->sockets[i])
            sim_net_close(sim->sockets[i]);
}
