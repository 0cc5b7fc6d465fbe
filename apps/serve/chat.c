/* SPDX-License-Identifier: MIT */
/*
 * WS /chat/{room}?name=NAME: a member's conversation. Saying goes to the room; computing goes to the pool as a task
 * of its own, so that one user's maths makes that user wait, and nobody else.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute.h"
#include "json.h"
#include "room.h"

#define JOBS_MAX 64        /* a member may have under way; beyond them it is told `busy` */
#define ID_BYTES_MAX 128

/* A member's connection. It lives as long as the last of its jobs, which may outlive the conversation. */
struct chat {
    struct member member;
    struct chat_job *jobs;
    unsigned refs;
    bool left;
};

struct chat_job {
    struct chat *chat;
    struct chat_job *next, **place;
    td_scope *scope;       /* around its wait in the pool */
    struct compute_request request;
    char id[ID_BYTES_MAX + 1];
};

static void chat_release(struct chat *chat)
{
    if (--chat->refs == 0)
        free(chat);
}

/*
 * session_send for the connection's own task, which may wait; session_post for the tasks of its jobs, which may
 * outlive it.
 */
typedef int (*sender)(struct session *session, const char *text, size_t size);

/* Sends the object and releases it. */
static int send_object(struct chat *chat, sender send, json_t *object)
{
    char *text = object ? json_dumps(object, COMPUTE_JSON) : NULL;
    int rc = text ? send(&chat->member.session, text, strlen(text)) : -ENOMEM;

    free(text);
    json_decref(object);
    return rc;
}

static int send_error(struct chat *chat, sender send, const char *id, const char *error)
{
    if (id)
        return send_object(chat, send, json_pack("{s:s, s:s, s:s}", "type", "error", "id", id, "error", error));
    return send_object(chat, send, json_pack("{s:s, s:s}", "type", "error", "error", error));
}

static int send_busy(struct chat *chat, sender send, const char *id, const char *refused)
{
    return send_object(chat, send, json_pack("{s:s, s:s, s:I, s:s}", "type", "busy", "id", id, "retry_after_ms",
                                       (json_int_t)compute_retry_after_ms(chat->member.session.app), "refused", refused));
}

static void tell(struct chat_job *job, const struct compute_result *result)
{
    json_t *object;

    if (compute_refusal(result) && result->rc != -ECANCELED && result->rc != -EPIPE) {
        send_busy(job->chat, session_post, job->id, compute_refusal(result));
        return;
    }
    if (result->rc < 0) {
        send_error(job->chat, session_post, job->id, compute_failure(result));
        return;
    }
    object = json_pack("{s:s, s:s}", "type", "result", "id", job->id);
    if (object && compute_describe(object, &job->request, result) == 0)
        send_object(job->chat, session_post, json_incref(object));
    json_decref(object);
}

/* A task of the gateway, not of the connection: a job that runs is not cut short because its client left. */
static int chat_job_run(void *arg)
{
    struct chat_job *job = arg;
    struct chat *chat = job->chat;
    struct compute_result result;
    td_scope scope;

    td_scope_open(&scope);
    job->scope = &scope;
    if (chat->left)
        td_scope_cancel(&scope);
    compute_run(chat->member.session.app, NULL, &job->request, &result);
    job->scope = NULL;
    td_scope_join(&scope);
    if (!chat->left)
        tell(job, &result);
    if (!chat->left)
        session_job_ends(&chat->member.session);
    *job->place = job->next;
    if (job->next)
        job->next->place = job->place;
    free(job);
    chat_release(chat);
    return 0;
}

static int start_job(struct chat *chat, const char *id, const struct compute_request *request)
{
    struct chat_job *job = malloc(sizeof *job);
    int rc;

    if (!job)
        return -ENOMEM;
    *job = (struct chat_job){.chat = chat, .request = *request, .next = chat->jobs, .place = &chat->jobs};
    snprintf(job->id, sizeof job->id, "%s", id);
    rc = td_spawn(chat->member.session.app->jobs, chat_job_run, job);
    if (rc < 0) {
        free(job);
        return rc;
    }
    if (job->next)
        job->next->place = &job->next;
    chat->jobs = job;
    chat->refs++;
    session_job_begins(&chat->member.session);
    return 0;
}

static int on_compute(struct chat *chat, const json_t *object)
{
    const json_t *id = json_object_get(object, "id");
    struct compute_request request;
    const char *wrong;

    if (!json_is_string(id) || json_string_length(id) > ID_BYTES_MAX)
        return send_error(chat, session_send, NULL, "compute needs an id: a string of at most 128 bytes");
    wrong = compute_parse(chat->member.session.app, object, &request);
    if (wrong)
        return send_error(chat, session_send, json_string_value(id), wrong);
    if (chat->member.session.app->draining)
        return send_error(chat, session_send, json_string_value(id), "the server is going down");
    if (chat->member.session.under_way >= JOBS_MAX)
        return send_busy(chat, session_send, json_string_value(id), "member");
    if (start_job(chat, json_string_value(id), &request) < 0)
        return send_error(chat, session_send, json_string_value(id), "out of memory");
    return 0;
}

static int on_say(struct chat *chat, const json_t *object)
{
    const json_t *text = json_object_get(object, "text");

    if (!json_is_string(text))
        return send_error(chat, session_send, NULL, "say needs a text: a string");
    if (room_say(&chat->member, json_string_value(text), json_string_length(text)) < 0)
        return send_error(chat, session_send, NULL, "out of memory");
    return 0;
}

static int on_message(struct chat *chat, const td_message *message)
{
    json_error_t why;
    json_t *object = NULL;
    const char *type;
    int rc;

    if (message->kind == TD_WS_TEXT)
        object = json_read(message->data, message->size, &why);
    type = json_string_value(json_object_get(object, "type"));
    if (type && strcmp(type, "say") == 0)
        rc = on_say(chat, object);
    else if (type && strcmp(type, "compute") == 0)
        rc = on_compute(chat, object);
    else
        rc = send_error(chat, session_send, NULL, "a message is JSON text: {\"type\":\"say\",\"text\":…} or "
                                    "{\"type\":\"compute\",\"id\":…,\"op\":…}");
    json_decref(object);
    return rc;
}

static int converse(struct chat *chat)
{
    td_message message;
    int rc;

    while ((rc = session_receive(&chat->member.session, &message)) > 0) {
        rc = on_message(chat, &message);
        if (rc < 0)
            break;
    }
    return rc;
}

/* The name as the room will show it: no control characters, not empty, not too long. Returns NULL or what is wrong. */
static const char *read_name(td_http *http, char name[MEMBER_NAME_BYTES + 1])
{
    int n = td_http_query(http, "name", name, MEMBER_NAME_BYTES + 1);
    json_t *text;

    if (n == -ENOENT || n == 0) {
        snprintf(name, MEMBER_NAME_BYTES + 1, "guest");
        return NULL;
    }
    if (n < 0)
        return n == -ENAMETOOLONG ? "the name is longer than 48 bytes" : "the name is malformed";
    for (const char *at = name; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return "the name has a control character";
    text = json_string(name);  /* refuses what is not UTF-8 */
    json_decref(text);
    return text ? NULL : "the name is not UTF-8";
}

static const char *check_room(const char *name)
{
    json_t *text = json_string(name);

    json_decref(text);
    if (!*name || strlen(name) > ROOM_NAME_BYTES)
        return "a room's name has 1 to 64 bytes";
    return text ? NULL : "the room's name is not UTF-8";
}

/* Leaves the room. Jobs that wait in the queue are taken back; those that run are treated as --cancel-running says. */
static void leave(struct chat *chat)
{
    room_leave(&chat->member);
    session_close(&chat->member.session);
    chat->left = true;
    for (struct chat_job *job = chat->jobs, *next; job; job = next) {
        next = job->next;
        if (job->scope)
            td_scope_cancel(job->scope);
    }
}

int chat_serve(td_http *http, struct app *app, const char *room_name)
{
    char name[MEMBER_NAME_BYTES + 1];
    const char *wrong = check_room(room_name);
    struct chat *chat;
    td_ws *ws;
    int rc;

    if (!wrong)
        wrong = read_name(http, name);
    if (wrong)
        return answer_error(http, 400, NULL, wrong);
    chat = calloc(1, sizeof *chat);
    if (!chat)
        return answer_error(http, 503, "Retry-After: 1\r\n", "out of memory");
    chat->refs = 1;
    rc = td_ws_accept(http, &ws, &(td_ws_opts){.origins = app->options->origins, .deflate = TD_WS_DEFLATE_SHARED});
    if (rc == 0) {
        session_open(&chat->member.session, app, ws);
        rc = room_join(app->rooms, room_name, name, &chat->member);
        if (rc == 0) {
            rc = converse(chat);
            leave(chat);
        } else {
            td_ws_close(ws, 1013, "no room for another room", false);
            session_close(&chat->member.session);
        }
    }
    chat_release(chat);
    return rc == -EPROTO ? 0 : rc;
}
