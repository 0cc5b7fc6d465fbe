/* SPDX-License-Identifier: MIT */
#include "fetch/client.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "loop/sim.h"

#define CONNECTIONS_MAX 128
#define PER_HOST_MAX 16
#define IDLE_MAX 32
#define TRY_LATER_NS 10000000   /* a socket could not be watched: its transfer looks for itself so often */

/* The key of loop_kept. */
static const char client_key;

/*
 * A socket of libcurl's. Each direction that is wanted has an operation under way, or is in `ready`. What is ready and not
 * wanted any more is forgotten: told of it, libcurl would read for a transfer that is paused.
 */
struct watch {
    struct td_list link;     /* in client->ready */
    struct client *client;
    struct io_file file;
    struct io_op ops[2];     /* CURL_POLL_IN, CURL_POLL_OUT */
    bool active[2];
    int wanted, ready;       /* of CURL_POLL_IN | CURL_POLL_OUT, which are CURL_CSELECT_IN | CURL_CSELECT_OUT */
    bool dropped, held;      /* libcurl does not know it any more; it must not be freed yet */
};

_Static_assert(CURL_POLL_IN == CURL_CSELECT_IN && CURL_POLL_OUT == CURL_CSELECT_OUT, "the same bits for what is wanted and is");

static void watch_free(struct watch *watch)
{
    if (!watch->dropped || watch->held || watch->active[0] || watch->active[1])
        return;
    watch->client->watches--;
    free(watch);
}

static void mark_ready(struct watch *watch, int direction)
{
    watch->ready |= direction ? CURL_POLL_OUT : CURL_POLL_IN;
    if (!list_linked(&watch->link))
        list_push_back(&watch->client->ready, &watch->link);
}

static void look_again(struct client *client, td_time after)
{
    struct timers *timers = &client->loop->sched.timers;

    if (!client->again.armed)
        timers_arm(timers, &client->again, td_after(after));
}

static void polled(struct io_op *op, int result)
{
    struct watch *watch = op->owner;
    int direction = op == &watch->ops[1];

    watch->active[direction] = false;
    if (watch->dropped) {
        watch_free(watch);
        return;
    }
    mark_ready(watch, direction);
    if (result < 0)
        look_again(watch->client, TRY_LATER_NS);
    else
        loop_at_turn_end(watch->client->loop, &watch->client->turn_end);
}

static void watch_arm(struct watch *watch)
{
    for (int direction = 0; direction < 2; direction++) {
        int bit = direction ? CURL_POLL_OUT : CURL_POLL_IN;
        struct io_op *op = &watch->ops[direction];

        if (!(watch->wanted & bit) || (watch->ready & bit) || watch->active[direction])
            continue;
        *op = (struct io_op){.kind = IO_POLL, .file = &watch->file, .events = direction ? POLLOUT : POLLIN,
                             .done = polled, .owner = watch};
        if (!loop_io_start(watch->client->loop, op)) {
            watch->active[direction] = true;
            continue;
        }
        mark_ready(watch, direction);
        look_again(watch->client, op->result < 0 ? TRY_LATER_NS : 0);
    }
}

/* libcurl is about to close the socket, or to keep it for later. */
static void watch_drop(struct watch *watch)
{
    list_remove(&watch->link);
    if (watch->client->told == watch)
        watch->client->told = NULL;
    watch->dropped = watch->held = true;
    for (int direction = 0; direction < 2; direction++)
        if (watch->active[direction])
            loop_io_cancel(watch->client->loop, &watch->ops[direction]);  /* epoll: is done with it at once */
    loop_forget(watch->client->loop, &watch->file);
    watch->held = false;
    watch_free(watch);
}

static struct watch *watch_new(struct client *client, curl_socket_t fd)
{
    struct watch *watch = calloc(1, sizeof *watch);

    if (!watch)
        return NULL;
    watch->client = client;
    io_file_init(&watch->file, fd);
    list_init(&watch->link);
    client->watches++;
    return watch;
}

static int socket_wanted(CURL *easy, curl_socket_t fd, int what, void *owner, void *known)
{
    struct client *client = owner;
    struct watch *watch = known;

    if (what == CURL_POLL_REMOVE) {
        if (watch)
            watch_drop(watch);
        return 0;
    }
    if (!watch) {
        watch = watch_new(client, fd);
        if (!watch) {
            /* It may carry several transfers; nobody would ever wake them. */
            for (struct td_list *at = client->members.next; at != &client->members; at = at->next) {
                struct member *member = container_of(at, struct member, link);

                member->starve(member);
            }
            return 0;
        }
        (void)curl_multi_assign(client->multi, fd, watch);  /* fails for unknown sockets alone */
    }
    watch->wanted = what & (CURL_POLL_IN | CURL_POLL_OUT);
    watch_arm(watch);
    return 0;
}

static int timer_wanted(CURLM *multi, long after_ms, void *owner)
{
    struct client *client = owner;
    struct timers *timers = &client->loop->sched.timers;

    timers_disarm(timers, &client->timer);
    if (after_ms >= 0)
        timers_arm(timers, &client->timer, td_after(td_ms(after_ms)));
    return 0;
}

/* Takes it out of the multi: after this libcurl does not know it. */
static void end_member(struct member *member, CURLcode code)
{
    struct client *client = member->client;

    (void)curl_multi_remove_handle(client->multi, member->easy);  /* fails for what is no member alone */
    list_remove(&member->link);
    list_remove(&member->errand);
    list_remove(&member->nudge);
    client->stats.running--;
    member->over(member, code);
}

static void hear_ends(struct client *client)
{
    struct CURLMsg *message;
    struct member *member;
    int left;

    while ((message = curl_multi_info_read(client->multi, &left))) {
        CURLcode code = message->data.result;

        if (message->msg != CURLMSG_DONE)
            continue;
        member = NULL;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&member);
        end_member(member, code);
    }
}

/* Tells libcurl of the sockets that were ready when this began; those that become ready meanwhile have the next turn. */
static void tell_ready(struct client *client)
{
    struct td_list now, *link;
    int running;

    if (list_empty(&client->ready))
        return;
    list_move_all(&now, &client->ready);
    while ((link = list_pop_front(&now))) {
        struct watch *watch = container_of(link, struct watch, link);
        int ready = watch->ready & watch->wanted;

        watch->ready = 0;
        client->told = watch;
        if (ready)
            (void)curl_multi_socket_action(client->multi, watch->file.fd, ready, &running);
        if (client->told)  /* it was not dropped */
            watch_arm(watch);
    }
    client->told = NULL;
    for (struct td_list *at = client->nudges.next; at != &client->nudges; at = at->next) {
        struct member *member = container_of(at, struct member, nudge);

        (void)curl_easy_pause(member->easy, member->paused(member, true));
    }
}

static void run_errands(struct client *client)
{
    struct td_list now, *link;

    list_move_all(&now, &client->errands);
    while ((link = list_pop_front(&now))) {
        struct member *member = container_of(link, struct member, errand);
        unsigned wanted = member->wanted;

        member->wanted = 0;
        if (wanted & ERRAND_REMOVE)
            end_member(member, CURL_LAST);
        else
            (void)curl_easy_pause(member->easy, member->paused(member, false));  /* its failure ends the transfer, as any other */
    }
}

/* Ends are heard first: what is over has its outcome, even if somebody wanted it removed. */
static void work(struct client *client)
{
    tell_ready(client);
    hear_ends(client);
    run_errands(client);
    hear_ends(client);
}

static void work_at_turn_end(struct turn_end *end)
{
    work(container_of(end, struct client, turn_end));
}

static void work_again(struct td_timer *timer)
{
    work(container_of(timer, struct client, again));
}

static void time_is_over(struct td_timer *timer)
{
    struct client *client = container_of(timer, struct client, timer);
    int running;

    (void)curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    work(client);
}

/* The connections that were kept are closed, and the kernel is waited for where it still polls one of them. */
static void client_close(struct loop_keep *keep)
{
    struct client *client = container_of(keep, struct client, keep);
    struct loop *loop = client->loop;

    assert(list_empty(&client->members));
    (void)curl_multi_cleanup(client->multi);
    while (client->watches > 0 && loop->table->poll(loop->backend, TD_FOREVER) == 0)
        ;
    timers_disarm(&loop->sched.timers, &client->timer);
    timers_disarm(&loop->sched.timers, &client->again);
    list_remove(&client->turn_end.link);
    free(client);
    curl_global_cleanup();
}

static void set_limits(struct client *client, const td_http_fetch_limits *limits)
{
    CURLM *multi = client->multi;

    (void)curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
                            (long)(limits->connections_max ? limits->connections_max : CONNECTIONS_MAX));
    (void)curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS,
                            (long)(limits->connections_per_host_max ? limits->connections_per_host_max : PER_HOST_MAX));
    (void)curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)(limits->idle_max ? limits->idle_max : IDLE_MAX));
}

static struct client *client_new(struct loop *loop)
{
    struct client *client = calloc(1, sizeof *client);

    if (!client)
        return NULL;
    client->multi = curl_multi_init();
    if (!client->multi) {
        free(client);
        return NULL;
    }
    client->keep.key = &client_key;
    client->keep.close = client_close;
    client->loop = loop;
    client->turn_end.run = work_at_turn_end;
    list_init(&client->turn_end.link);
    list_init(&client->ready);
    list_init(&client->errands);
    list_init(&client->members);
    list_init(&client->nudges);
    timer_init(&client->timer, time_is_over);
    timer_init(&client->again, work_again);
    (void)curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, socket_wanted);
    (void)curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    (void)curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, timer_wanted);
    (void)curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    /*
     * Streams beside each other on one connection of HTTP/2 get lost or break it with libcurl 7.88 ("Error in the HTTP2 framing
     * layer"); before its 8.1 each fetch has a connection to itself.
     */
    if (curl_version_info(CURLVERSION_NOW)->version_num < HTTP2_WELL_SINCE)
        (void)curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    set_limits(client, &(td_http_fetch_limits){0});
    return client;
}

int client_of(struct loop *loop, struct client **out)
{
    struct loop_keep *keep = loop_kept(loop, &client_key);

    if (keep) {
        *out = container_of(keep, struct client, keep);
        return 0;
    }
    if (loop_is_simulated(loop))
        return -EOPNOTSUPP;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)  /* counted, and safe beside other threads */
        return -ENOMEM;
    *out = client_new(loop);
    if (!*out) {
        curl_global_cleanup();
        return -ENOMEM;
    }
    loop_keep(loop, &(*out)->keep);
    return 0;
}

int client_add(struct client *client, struct member *member)
{
    if (curl_multi_add_handle(client->multi, member->easy) != CURLM_OK)
        return -ENOMEM;
    list_init(&member->errand);
    list_init(&member->nudge);
    list_push_back(&client->members, &member->link);
    client->stats.running++;
    return 0;
}

void client_nudge(struct member *member)
{
    if (!list_linked(&member->nudge))
        list_push_back(&member->client->nudges, &member->nudge);
}

void client_errand(struct member *member, enum errand what)
{
    struct client *client = member->client;

    member->wanted |= what;
    if (!list_linked(&member->errand))
        list_push_back(&client->errands, &member->errand);
    loop_at_turn_end(client->loop, &client->turn_end);
}

int td_http_fetch_limit(const td_http_fetch_limits *limits)
{
    struct client *client;
    int rc = client_of(loop_of(task_self(__func__)), &client);

    if (rc == 0)
        set_limits(client, limits);
    return rc;
}

void td_http_fetch_statistics(td_http_fetch_stats *stats)
{
    struct loop_keep *keep = loop_kept(loop_of(task_self(__func__)), &client_key);

    *stats = keep ? container_of(keep, struct client, keep)->stats : (td_http_fetch_stats){0};
}
