/* SPDX-License-Identifier: MIT */
/*
 * WS /audio?rate=16000: an audio session. The bytes of 100 ms are unmasked straight into a window in shared memory,
 * and a worker analyses them there.
 *
 * The connection's task fills windows, another task takes them through the pool in order. Between them lies a queue
 * of a second of audio. When it is full the connection stops reading, and when its oldest window has waited for a
 * second as well, the pool does not keep up with live audio: that window is dropped, and the client told. Audio
 * that comes faster than live is thus held back by TCP, not dropped.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyse.h"
#include "json.h"
#include "pools.h"
#include "session.h"

#define WINDOW_MS 100
#define QUEUE_WINDOWS 10
#define LATE_NS 1000000000
#define CONTROL_BYTES 1024
#define RATE_DEFAULT 16000
#define JOB_DEADLINE_NS INT64_C(5000000000)  /* a window that is not back by then is given up */

/* In shared memory, and only read by the worker. */
struct window {
    unsigned rate;
    size_t count;              /* samples */
    int16_t samples[];
};

struct queued {
    struct window *window;
    int64_t index;             /* the session's first is 0 */
    td_time complete;          /* when its last byte came */
};

struct audio {
    struct session session;
    td_pool *pool;
    unsigned rate;
    struct queued queue[QUEUE_WINDOWS];
    unsigned first, count;
    td_event arrived, taken;   /* the queue's two ends */
    struct window *filling;
    size_t filled;             /* bytes */
    int64_t windows;           /* complete so far */
    int64_t bytes;             /* of audio received */
    int64_t analysed, dropped; /* windows */
    bool ended, stopped;
    char control[CONTROL_BYTES];
    size_t control_size;
};

static int analyse_job(void *arg)
{
    const struct window *window = arg;
    size_t size;
    struct analysis *output = td_job_output(&size);

    if (!output || size < sizeof *output)
        return -EINVAL;
    return analyse_window(window->samples, window->count, window->rate, output);
}

/* Samples before the end of window `index`: windows begin at exact multiples of 100 ms whatever the rate. */
static int64_t samples_until(const struct audio *audio, int64_t index)
{
    return (index + 1) * audio->rate / 10;
}

static int open_window(struct audio *audio)
{
    int64_t count = samples_until(audio, audio->windows) - samples_until(audio, audio->windows - 1);

    audio->filling = td_shared_alloc(sizeof *audio->filling + (size_t)count * sizeof(int16_t));
    if (!audio->filling)
        return -ENOMEM;
    *audio->filling = (struct window){.rate = audio->rate, .count = (size_t)count};
    audio->filled = 0;
    return 0;
}

static int send_dropped(struct audio *audio, int64_t from, int64_t to)
{
    char text[96];
    int n = snprintf(text, sizeof text, "{\"type\":\"dropped\",\"from_ms\":%lld,\"to_ms\":%lld}", (long long)from * WINDOW_MS,
                     (long long)to * WINDOW_MS);

    return session_send(&audio->session, text, (size_t)n);
}

static int send_analysis(struct audio *audio, const struct queued *item, const struct analysis *result)
{
    char pitch[32] = "null", text[160];
    int n;

    if (result->voiced)
        snprintf(pitch, sizeof pitch, "%.2f", result->pitch_hz);
    n = snprintf(text, sizeof text, "{\"type\":\"analysis\",\"at_ms\":%lld,\"rms\":%.4f,\"pitch_hz\":%s,\"voiced\":%s}",
                 (long long)(item->index + 1) * WINDOW_MS, result->rms, pitch, result->voiced ? "true" : "false");
    return session_send(&audio->session, text, (size_t)n);
}

static struct queued take(struct audio *audio)
{
    struct queued item = audio->queue[audio->first];

    audio->first = (audio->first + 1) % QUEUE_WINDOWS;
    audio->count--;
    td_event_set(&audio->taken);
    return item;
}

/* Drops what has waited too long, and says so. */
static int drop_late(struct audio *audio)
{
    int64_t from = audio->queue[audio->first].index, to = from;

    while (audio->count > 0 && td_now() - audio->queue[audio->first].complete >= LATE_NS) {
        struct queued item = take(audio);

        td_shared_free(item.window);
        to = item.index + 1;
    }
    audio->dropped += to - from;
    audio->session.app->counters.audio_late += (unsigned long long)(to - from);
    return to > from ? send_dropped(audio, from, to) : 0;
}

/* Waits for room in the queue, at most until its oldest window is late. */
static int wait_for_room(struct audio *audio)
{
    while (audio->count == QUEUE_WINDOWS) {
        td_time late = audio->queue[audio->first].complete + LATE_NS;
        td_scope scope;
        int rc, joined;

        td_event_clear(&audio->taken);
        td_scope_open(&scope);
        td_scope_deadline(&scope, late);
        rc = td_event_wait(&audio->taken);
        joined = td_scope_join(&scope);
        if (rc < 0 && joined == -ETIMEDOUT)
            rc = drop_late(audio);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int window_complete(struct audio *audio)
{
    int rc = wait_for_room(audio);

    if (rc < 0)
        return rc;
    audio->queue[(audio->first + audio->count++) % QUEUE_WINDOWS] =
        (struct queued){audio->filling, audio->windows++, td_now()};
    audio->filling = NULL;
    td_event_set(&audio->arrived);
    return 0;
}

/* One window through the pool. It waits there however long the queue is: the session's own queue speaks for it. */
static int analyse_next(struct audio *audio)
{
    struct queued item = take(audio);
    void *output = NULL;
    td_offload_opts opts = {.when_full = TD_WAIT, .deadline = JOB_DEADLINE_NS, .output_bytes = sizeof(struct analysis),
                            .output = &output};
    int rc;

    session_job_begins(&audio->session);
    rc = td_offload_with(audio->pool, analyse_job, item.window, &opts);
    if (rc == 0) {
        audio->analysed++;
        rc = send_analysis(audio, &item, output);
    } else if (rc != -ECANCELED) {  /* late, or its worker died: this window is lost, and the session goes on */
        audio->dropped++;
        if (rc == -ETIMEDOUT)
            audio->session.app->counters.audio_late++;
        else
            audio->session.app->counters.worker_died++;
        rc = send_dropped(audio, item.index, item.index + 1);
    }
    td_shared_free(output);
    td_shared_free(item.window);
    session_job_ends(&audio->session);
    return rc;
}

static int analyser(void *arg)
{
    struct audio *audio = arg;
    int rc = 0;

    while (rc == 0 && (audio->count > 0 || !audio->ended)) {
        if (audio->count > 0) {
            rc = analyse_next(audio);
            continue;
        }
        td_event_clear(&audio->arrived);
        rc = td_event_wait(&audio->arrived);
    }
    return rc == -EPIPE ? 0 : rc;
}

static int send_error(struct audio *audio, const char *error)
{
    char text[160];
    int n = snprintf(text, sizeof text, "{\"type\":\"error\",\"error\":\"%s\"}", error);

    return session_send(&audio->session, text, (size_t)n);
}

/* A text message is complete. */
static int on_control(struct audio *audio)
{
    json_t *object = NULL;
    json_error_t why;
    const char *type;

    if (audio->control_size <= CONTROL_BYTES)
        object = json_read(audio->control, audio->control_size, &why);
    type = json_string_value(json_object_get(object, "type"));
    audio->stopped = type && strcmp(type, "stop") == 0;
    json_decref(object);
    audio->control_size = 0;
    return audio->stopped ? 0 : send_error(audio, "a text message is {\\\"type\\\":\\\"stop\\\"}; audio is binary");
}

/*
 * Text landed where audio would have: move it to where it belongs. More than fits is counted only: it is refused
 * anyhow.
 */
static int keep_control(struct audio *audio, const char *bytes, const td_ws_part *part)
{
    if (audio->control_size + part->size <= CONTROL_BYTES)
        memcpy(audio->control + audio->control_size, bytes, part->size);
    else
        audio->control_size = CONTROL_BYTES + 1 - part->size;
    audio->control_size += part->size;
    return part->end ? on_control(audio) : 0;
}

/*
 * Receives until the client stops or leaves. Returns 0 after a stop, or when the connection ended; else a negative
 * errno.
 */
static int receive_audio(struct audio *audio)
{
    while (!audio->stopped) {
        td_ws_part part;
        size_t room;
        char *at;
        int rc = audio->filling ? 0 : open_window(audio);

        if (rc < 0)
            return rc;
        at = (char *)audio->filling->samples + audio->filled;
        room = audio->filling->count * sizeof(int16_t) - audio->filled;
        rc = td_ws_read(audio->session.ws, at, room, &part);
        if (rc <= 0)
            return rc;
        audio->session.app->counters.messages_in += part.end;
        if (part.kind == TD_WS_TEXT) {
            rc = keep_control(audio, at, &part);
        } else {
            audio->filled += part.size;
            audio->bytes += (int64_t)part.size;
            if (part.size == room)
                rc = window_complete(audio);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int send_summary(struct audio *audio)
{
    char text[128];
    int n = snprintf(text, sizeof text, "{\"type\":\"summary\",\"duration_ms\":%lld,\"analysed_ms\":%lld,\"dropped_ms\":%lld}",
                     (long long)(audio->bytes / 2 * 1000 / audio->rate), (long long)audio->analysed * WINDOW_MS,
                     (long long)audio->dropped * WINDOW_MS);

    return session_send(&audio->session, text, (size_t)n);
}

static int converse(struct audio *audio)
{
    td_scope scope;
    int rc, joined;

    td_scope_open(&scope);
    rc = td_spawn(&scope, analyser, audio);
    if (rc == 0)
        rc = receive_audio(audio);
    audio->ended = true;
    td_event_set(&audio->arrived);
    if (!audio->stopped)
        td_scope_cancel(&scope);  /* nobody is left to tell */
    joined = td_scope_join(&scope);
    if (audio->stopped && rc == 0 && joined == 0)
        return send_summary(audio);
    return joined < 0 && joined != -ECANCELED ? joined : rc;
}

static int read_rate(td_http *http, unsigned *rate)
{
    char text[8], *end;
    int n = td_http_query(http, "rate", text, sizeof text);

    *rate = RATE_DEFAULT;
    if (n == -ENOENT)
        return 0;
    if (n <= 0 || strspn(text, "0123456789") != (size_t)n)
        return -EINVAL;
    *rate = (unsigned)strtoul(text, &end, 10);
    return *rate >= ANALYSE_RATE_MIN && *rate <= ANALYSE_RATE_MAX ? 0 : -EINVAL;
}

static void audio_free(struct audio *audio)
{
    while (audio->count > 0)
        td_shared_free(take(audio).window);
    td_shared_free(audio->filling);
    free(audio);
}

int audio_serve(td_http *http, struct app *app)
{
    struct audio *audio;
    unsigned rate;
    td_ws *ws;
    int rc = read_rate(http, &rate);

    if (rc < 0)
        return answer_error(http, 400, NULL, "rate must be a number of samples a second from 8000 to 48000");
    audio = calloc(1, sizeof *audio);
    if (!audio)
        return answer_error(http, 503, "Retry-After: 1\r\n", "out of memory");
    audio->rate = rate;
    rc = pools_for_audio(app, &audio->pool);
    if (rc < 0) {
        free(audio);
        return answer_error(http, 503, "Retry-After: 1\r\n", "no workers for audio could be started");
    }
    td_event_init(&audio->arrived);
    td_event_init(&audio->taken);
    /* Messages of any size: their parts are taken as they come, so that size costs no memory. */
    rc = td_ws_accept(http, &ws, &(td_ws_opts){.message_bytes_max = INT64_MAX, .origins = app->options->origins});
    if (rc == 0) {
        session_open(&audio->session, app, ws);
        rc = converse(audio);
        session_close(&audio->session);
    }
    audio_free(audio);
    return rc == -EPROTO ? 0 : rc;
}
