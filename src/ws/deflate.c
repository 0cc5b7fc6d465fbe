/* SPDX-License-Identifier: MIT */
/*
 * A message's payload is DEFLATE data that ends with an empty stored block, without that block's last four bytes
 * (RFC 7692, 7.2): what zlib writes for Z_SYNC_FLUSH.
 *
 * Windows of 2^8 bytes: zlib has no raw compressor for them. One for 2^9 serves, because its matches reach back 512 less
 * 262 bytes at the most, which is what zlib keeps free for looking ahead; tests/ws/test_deflate.c holds that against a
 * decompressor with 256 bytes. Peers use the same trick with less care, so we decompress with 2^9 bytes.
 */
#include "ws/deflate.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#define BITS_MIN 9
#define BITS_MAX 15
#define LEVEL 1               /* 16 KB of text: 8 % larger than by zlib's 6, in a quarter of the time */
#define MEMORY_MAX 8          /* of zlib's 9 */
#define SCRATCH_KEPT (64 * 1024)
#define MESSAGE_MAX (1u << 30)  /* bytes; what is larger is not compressed: zlib counts in 32 bits */
#define IDLE_MAX 4
#define TAIL_SIZE 4

#define BETWEEN_BLOCKS 128    /* zlib's data_type: not inside a block */
#define BITS_LEFT 63          /* and so many bits of the last byte belong to what comes next */

static const uint8_t tail[TAIL_SIZE] = {0x00, 0x00, 0xFF, 0xFF};

struct ws_deflater {
    z_stream zlib;
    uint8_t *scratch;
    size_t room;
    bool keeps;
};

struct ws_inflater {
    z_stream zlib;
    uint64_t left;               /* bytes the message may still have */
    struct ws_inflater *next;    /* idle ones, in a struct ws_deflate_shared */
    uint8_t spare, tail_at;      /* a byte that had no room; bytes of the tail already fed */
    bool keeps, has_spare;
    bool begun;                  /* some payload came */
    bool ended, between;         /* the data so far ends with a final block; with a whole block, on a byte's end */
};

/* zlib's memory is ours as well: counted, and made to fail, by the same tests as all other. */
static voidpf take_memory(voidpf opaque, uInt items, uInt size)
{
    return malloc((size_t)items * size);
}

static void give_memory(voidpf opaque, voidpf memory)
{
    free(memory);
}

/* Compressing */

static int at_least_9(int window_bits)
{
    return window_bits < BITS_MIN ? BITS_MIN : window_bits;
}

struct ws_deflater *ws_deflater_new(int window_bits, bool keeps)
{
    struct ws_deflater *deflater = calloc(1, sizeof *deflater);
    int bits = at_least_9(window_bits), memory = bits - 7 < MEMORY_MAX ? bits - 7 : MEMORY_MAX;

    if (!deflater)
        return NULL;
    deflater->keeps = keeps;
    deflater->zlib.zalloc = take_memory;
    deflater->zlib.zfree = give_memory;
    if (deflateInit2(&deflater->zlib, LEVEL, Z_DEFLATED, -bits, memory, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(deflater);
        return NULL;
    }
    return deflater;
}

void ws_deflater_free(struct ws_deflater *deflater)
{
    if (!deflater)
        return;
    deflateEnd(&deflater->zlib);
    free(deflater->scratch);
    free(deflater);
}

/* Makes the scratch hold `room` bytes. Large ones are not kept from message to message. */
static bool scratch_ready(struct ws_deflater *deflater, size_t room)
{
    if (room <= deflater->room && (room > SCRATCH_KEPT || deflater->room <= SCRATCH_KEPT))
        return true;
    free(deflater->scratch);
    deflater->scratch = malloc(room);
    deflater->room = deflater->scratch ? room : 0;
    return deflater->scratch != NULL;
}

ssize_t ws_deflate(struct ws_deflater *deflater, const void *data, size_t size, const uint8_t **payload)
{
    z_stream *zlib = &deflater->zlib;
    size_t room = size + TAIL_SIZE, made;

    if (size == 0 || size > MESSAGE_MAX)
        return 0;
    if (!scratch_ready(deflater, room))
        return -ENOMEM;
    if (!deflater->keeps)
        deflateReset(zlib);
    zlib->next_in = (Bytef *)(uintptr_t)data;
    zlib->avail_in = (uInt)size;
    zlib->next_out = deflater->scratch;
    zlib->avail_out = (uInt)room;
    deflate(zlib, Z_SYNC_FLUSH);
    if (zlib->avail_out == 0) {
        deflateReset(zlib);  /* the peer will not see this, so nothing may refer to it */
        return 0;
    }
    made = room - zlib->avail_out;
    assert(made > TAIL_SIZE && memcmp(deflater->scratch + made - TAIL_SIZE, tail, TAIL_SIZE) == 0);
    *payload = deflater->scratch;
    return (ssize_t)(made - TAIL_SIZE);
}

/* Decompressing */

struct ws_inflater *ws_inflater_new(int window_bits, bool keeps)
{
    struct ws_inflater *inflater = calloc(1, sizeof *inflater);

    if (!inflater)
        return NULL;
    inflater->keeps = keeps;
    inflater->zlib.zalloc = take_memory;
    inflater->zlib.zfree = give_memory;
    if (inflateInit2(&inflater->zlib, -at_least_9(window_bits)) != Z_OK) {
        free(inflater);
        return NULL;
    }
    return inflater;
}

void ws_inflater_free(struct ws_inflater *inflater)
{
    if (!inflater)
        return;
    inflateEnd(&inflater->zlib);
    free(inflater);
}

void ws_inflater_begin(struct ws_inflater *inflater, uint64_t message_max)
{
    if (!inflater->keeps)
        inflateReset(&inflater->zlib);
    inflater->left = message_max;
    inflater->tail_at = 0;
    inflater->has_spare = inflater->begun = inflater->ended = inflater->between = false;
}

static uInt to_uint(uint64_t size)
{
    return size < UINT32_MAX ? (uInt)size : UINT32_MAX;
}

/* Gives zlib what input there is: the piece, then the tail that the sender left out. */
static void input_set(struct ws_inflater *inflater, const struct ws_inflate_io *io)
{
    bool at_tail = io->in_left == 0 && io->last && inflater->begun && !(inflater->ended && inflater->tail_at == 0);

    inflater->zlib.next_in = (Bytef *)(uintptr_t)(at_tail ? tail + inflater->tail_at : io->in);
    inflater->zlib.avail_in = at_tail ? (uInt)TAIL_SIZE - inflater->tail_at : to_uint(io->in_left);
}

static void input_used(struct ws_inflater *inflater, struct ws_inflate_io *io, size_t used)
{
    if (used == 0)
        return;
    inflater->ended = false;
    inflater->begun = true;
    if (io->in_left == 0) {
        inflater->tail_at += (uint8_t)used;
        return;
    }
    io->in += used;
    io->in_left -= used;
}

/* Runs zlib once. Where there is no room it makes one byte at the most, the spare. Returns zlib's code. */
static int run(struct ws_inflater *inflater, struct ws_inflate_io *io, size_t *made)
{
    z_stream *zlib = &inflater->zlib;
    uint64_t room = io->out_left < inflater->left ? io->out_left : inflater->left;
    uInt in_size, out_size = room > 0 ? to_uint(room) : 1;
    int rc;

    input_set(inflater, io);
    in_size = zlib->avail_in;
    zlib->next_out = room > 0 ? io->out : &inflater->spare;
    zlib->avail_out = out_size;
    rc = inflate(zlib, Z_SYNC_FLUSH);
    *made = out_size - zlib->avail_out;
    if (*made > 0 || zlib->avail_in < in_size)  /* a call that does nothing forgets where it stood */
        inflater->between = (zlib->data_type & (BETWEEN_BLOCKS | BITS_LEFT)) == BETWEEN_BLOCKS;
    input_used(inflater, io, in_size - zlib->avail_in);
    if (room > 0) {
        io->out += *made;
        io->out_left -= *made;
        inflater->left -= *made;
    } else {
        inflater->has_spare = *made > 0;
    }
    if (rc == Z_STREAM_END) {
        /* RFC 7692, 7.2.3.4: what follows a final block is the same message, and may refer to what was before it. */
        inflateResetKeep(zlib);
        inflater->ended = true;
    }
    return rc;
}

/* All input is used and no output pending. Is that the message's end? */
static int at_end(const struct ws_inflater *inflater, const struct ws_inflate_io *io)
{
    if (!io->last)
        return WS_INFLATE_INPUT;
    if (!inflater->begun || (inflater->ended && inflater->tail_at == 0))
        return WS_INFLATE_DONE;  /* some send no payload at all for an empty message; some end with a final block */
    return inflater->between ? WS_INFLATE_DONE : -EBADMSG;
}

int ws_inflate(struct ws_inflater *inflater, struct ws_inflate_io *io)
{
    size_t made;
    int rc;

    if (inflater->has_spare) {
        if (io->out_left == 0)
            return WS_INFLATE_ROOM;
        *io->out++ = inflater->spare;
        io->out_left--;
        inflater->left--;
        inflater->has_spare = false;
    }
    for (;;) {
        rc = run(inflater, io, &made);
        if (inflater->has_spare && inflater->left == 0)
            return -EMSGSIZE;  /* whatever is wrong behind that byte, it came first */
        if (rc == Z_MEM_ERROR)
            return -ENOMEM;
        if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
            return -EBADMSG;
        if (inflater->has_spare)
            return WS_INFLATE_ROOM;
        if (inflater->zlib.avail_in > 0 || inflater->zlib.avail_out == 0)
            continue;
        input_set(inflater, io);
        if (inflater->zlib.avail_in == 0)
            return at_end(inflater, io);
    }
}

/* Shared ones */

void ws_deflate_shared_fini(struct ws_deflate_shared *shared)
{
    struct ws_inflater *inflater;

    for (size_t i = 0; i < sizeof shared->deflaters / sizeof *shared->deflaters; i++)
        ws_deflater_free(shared->deflaters[i]);
    while ((inflater = shared->idle) != NULL) {
        shared->idle = inflater->next;
        ws_inflater_free(inflater);
    }
    *shared = (struct ws_deflate_shared){.idle = NULL};
}

struct ws_deflater *ws_deflate_shared_deflater(struct ws_deflate_shared *shared, int window_bits)
{
    int bits = at_least_9(window_bits);

    assert(bits <= BITS_MAX);
    if (!shared->deflaters[bits])
        shared->deflaters[bits] = ws_deflater_new(bits, false);
    return shared->deflaters[bits];
}

struct ws_inflater *ws_deflate_shared_borrow(struct ws_deflate_shared *shared)
{
    struct ws_inflater *inflater = shared->idle;

    if (!inflater)
        return ws_inflater_new(BITS_MAX, false);
    shared->idle = inflater->next;
    shared->idle_count--;
    return inflater;
}

void ws_deflate_shared_return(struct ws_deflate_shared *shared, struct ws_inflater *inflater)
{
    if (!inflater || shared->idle_count == IDLE_MAX) {
        ws_inflater_free(inflater);
        return;
    }
    inflater->next = shared->idle;
    shared->idle = inflater;
    shared->idle_count++;
}
