/* SPDX-License-Identifier: MIT */
#include "http/h2_guard.h"

#include <string.h>

#define PREFACE_BYTES 24
#define TOKEN 1000
#define PIECES_MAX 8             /* CONTINUATION frames of one header block; nghttp2 takes no more either */
#define BYTES_A_WINDOW_FRAME 256 /* of data sent, for one WINDOW_UPDATE: clients that answer each frame twice are not rare */

/* RFC 9113, 6 */
enum frame_type { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION };
enum { PROTOCOL_ERROR = 0x1, STREAM_CLOSED = 0x5 };   /* 7 */
enum frame_flag { END_STREAM = 0x1, ACK = 0x1, END_HEADERS = 0x4, PADDED = 0x8 };

struct rule {
    const char *name;
    int burst, per_second;
};

static const struct rule rules[H2_BRAKES] = {
    [H2_RESET] = {"rapid resets", 250, 33},
    [H2_MADE_RESET] = {"provoked resets", 100, 10},
    [H2_CONTINUATION] = {"an endless header block", 0, 0},
    [H2_SETTINGS] = {"a flood of SETTINGS", 50, 2},
    [H2_PING] = {"a flood of PING", 250, 50},
    [H2_EMPTY] = {"a flood of empty frames", 100, 5},
    [H2_PRIORITY] = {"a flood of priorities", 400, 50},
    [H2_WINDOW] = {"a flood of WINDOW_UPDATE", 1000, 100},
    [H2_HEADERS] = {"a header bomb", 0, 0},
};

const char *h2_brake_name(enum h2_brake brake)
{
    return rules[brake].name;
}

void h2_guard_init(struct h2_guard *guard, size_t head_bytes_max)
{
    *guard = (struct h2_guard){.skip = PREFACE_BYTES, .fresh = true, .block_bytes_max = head_bytes_max + 16384};
    for (int i = 0; i < H2_BRAKES; i++)
        guard->buckets[i].tokens = (int64_t)rules[i].burst * TOKEN;
}

static void fill(struct h2_guard *guard, enum h2_brake brake, td_time now)
{
    struct h2_bucket *bucket = &guard->buckets[brake];
    int64_t full = (int64_t)rules[brake].burst * TOKEN, elapsed_us = (now - bucket->filled_at) / 1000;
    int64_t more = elapsed_us > 1000000000 ? full : elapsed_us * rules[brake].per_second * TOKEN / 1000000;

    if (more <= 0)
        return;  /* less than a thousandth: the time is kept, not lost */
    bucket->filled_at = now;
    if (bucket->tokens < full)
        bucket->tokens = bucket->tokens + more < full ? bucket->tokens + more : full;
}

enum h2_brake h2_guard_count(struct h2_guard *guard, enum h2_brake brake, td_time now)
{
    struct h2_bucket *bucket = &guard->buckets[brake];

    guard->counts[brake]++;
    if (guard->fresh) {
        guard->fresh = false;
        for (int i = 0; i < H2_BRAKES; i++)
            guard->buckets[i].filled_at = now;
    }
    fill(guard, brake, now);
    if (bucket->tokens < TOKEN)
        return brake;
    bucket->tokens -= TOKEN;
    return H2_CALM;
}

void h2_guard_sent(struct h2_guard *guard, size_t data_bytes)
{
    int64_t full = (int64_t)rules[H2_WINDOW].burst * TOKEN * 4;
    int64_t more = data_bytes > (1 << 24) ? full : (int64_t)data_bytes * TOKEN / BYTES_A_WINDOW_FRAME;
    struct h2_bucket *bucket = &guard->buckets[H2_WINDOW];

    bucket->tokens = bucket->tokens + more < full ? bucket->tokens + more : full;
}

/* A header block goes on. Its bytes are bounded for the memory, its pieces for the time. */
static enum h2_brake block_goes_on(struct h2_guard *guard, uint32_t size, unsigned flags, td_time now)
{
    if (guard->block_bytes + size > guard->block_bytes_max || guard->pieces > PIECES_MAX) {
        guard->counts[H2_CONTINUATION]++;
        return H2_CONTINUATION;
    }
    guard->block_bytes += size;
    return size == 0 && !(flags & END_HEADERS) ? h2_guard_count(guard, H2_EMPTY, now) : H2_CALM;
}

/* RFC 9113, 5.1 and 5.1.1: who resets a stream sends no more on it, and numbers rise. Returns the connection's error, or 0. */
static uint32_t misplaced(struct h2_guard *guard, unsigned type, uint32_t id)
{
    if (type == PRIORITY)
        return id == 0 ? PROTOCOL_ERROR : 0;
    if (type == RST_STREAM)
        guard->reset[guard->resets++ % H2_RESETS_KEPT] = id;
    if (type != HEADERS && type != DATA)
        return 0;
    for (unsigned i = 0; i < guard->resets && i < H2_RESETS_KEPT; i++)
        if (guard->reset[i] == id)
            return STREAM_CLOSED;
    if (type == DATA)
        return 0;
    if (id >= guard->gap_begin && id < guard->gap_end)
        return PROTOCOL_ERROR;
    if (id > guard->last_id + 2) {
        guard->gap_begin = guard->last_id + 1;
        guard->gap_end = id;
    }
    if (id > guard->last_id)
        guard->last_id = id;
    return 0;
}

static enum h2_brake judge(struct h2_guard *guard, td_time now)
{
    const unsigned char *header = guard->header;
    uint32_t size = (uint32_t)header[0] << 16 | (uint32_t)header[1] << 8 | header[2];
    uint32_t id = (uint32_t)header[5] << 24 | (uint32_t)header[6] << 16 | (uint32_t)header[7] << 8 | header[8];
    unsigned type = header[3], flags = header[4];

    guard->skip = size;
    guard->error = misplaced(guard, type, id & INT32_MAX);
    switch (type) {
    case DATA:
        guard->pad_next = (flags & PADDED) && !(flags & END_STREAM) && size > 0;
        return size == 0 && !(flags & END_STREAM) ? h2_guard_count(guard, H2_EMPTY, now) : H2_CALM;
    case HEADERS:
        guard->block_bytes = guard->pieces = 0;
        return block_goes_on(guard, size, flags, now);
    case CONTINUATION:
        guard->pieces++;
        return block_goes_on(guard, size, flags, now);
    case RST_STREAM:
        return h2_guard_count(guard, H2_RESET, now);
    case SETTINGS:
        return flags & ACK ? H2_CALM : h2_guard_count(guard, H2_SETTINGS, now);
    case PING:
        return flags & ACK ? H2_CALM : h2_guard_count(guard, H2_PING, now);
    case WINDOW_UPDATE:
        return h2_guard_count(guard, H2_WINDOW, now);
    case PUSH_PROMISE:
    case GOAWAY:
        return H2_CALM;  /* the first is an error, the second news; neither is worth repeating */
    default:
        return h2_guard_count(guard, H2_PRIORITY, now);
    }
}

enum h2_brake h2_guard_look(struct h2_guard *guard, const uint8_t *bytes, size_t size, td_time now)
{
    enum h2_brake brake = H2_CALM;

    while (size > 0 && brake == H2_CALM && !guard->error) {
        size_t step = guard->skip < size ? guard->skip : size;

        if (guard->pad_next) {
            guard->pad_next = false;
            if (*bytes + 1u >= guard->skip)
                brake = h2_guard_count(guard, H2_EMPTY, now);
        }
        if (step == 0) {
            guard->header[guard->have++] = *bytes;
            step = 1;
            if (guard->have == sizeof guard->header) {
                guard->have = 0;
                brake = judge(guard, now);
            }
        } else {
            guard->skip -= (uint32_t)step;
        }
        bytes += step;
        size -= step;
    }
    return brake;
}
