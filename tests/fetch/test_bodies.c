/* SPDX-License-Identifier: MIT */
/* Bodies, streamed and collected: nobody is given more than he takes, and nothing is lost on the way. */
#include <malloc.h>

#include "place.h"

#define PIECE 16384
#define BIG (SANITIZED ? 24 : 64)  /* MiB: more than a loopback connection holds in the kernel */
#define BIG_BYTES ((size_t)BIG << 20)

/* Numbers that tell each byte's place. */
static void fill(unsigned char *bytes, size_t size, uint64_t at)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)((at + i) * 2654435761u >> 13);
}

struct stream {
    struct place place;
    size_t written, produced, taken;
    uint32_t sum, sum_taken;
    bool hold;
    size_t held_at, memory;
    int fail_with;
};

static void give_big(struct place *place, td_stream *stream)
{
    struct stream *story = place->arg;
    unsigned char piece[PIECE];
    char head[100];

    hear(place, stream);
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", BIG_BYTES);
    if (say(stream, head) < 0)
        return;
    while (story->written < BIG_BYTES) {
        fill(piece, sizeof piece, story->written);
        if (td_stream_write(stream, piece, sizeof piece) < 0)
            return;
        story->written += sizeof piece;
        story->sum = sum(story->sum, piece, sizeof piece);
    }
}

/* Waits until *moving stands still. */
static void wait_until_it_stands(const size_t *moving)
{
    size_t before;
    int still = 0;

    while (still < 5) {
        before = *moving;
        if (td_sleep(td_ms(10)) < 0)
            return;
        still = *moving == before ? still + 1 : 0;
    }
}

static int take(const void *data, size_t size, void *arg)
{
    struct stream *story = arg;

    if (story->hold && story->taken > 4 * PIECE) {
        size_t before = mallinfo2().uordblks;

        story->hold = false;
        wait_until_it_stands(&story->written);
        story->held_at = story->written;
        story->memory = mallinfo2().uordblks - before;
    }
    story->taken += size;
    story->sum_taken = sum(story->sum_taken, data, size);
    return story->taken > BIG_BYTES / 2 ? story->fail_with : 0;
}

static int download(void *arg)
{
    struct stream story = {.hold = true};
    td_http_response *answer;
    size_t size;

    place_open(&story.place, give_big);
    story.place.arg = &story;
    if (expect_int(fetch(&story.place, &answer, "/", &(td_http_fetch_opts){.receive = take, .arg = &story}), 0)) {
        td_http_response_body(answer, &size);
        expect_int((int)size, 0);
        td_http_response_free(answer);
    }
    expect_int((long long)story.taken, (long long)BIG_BYTES);
    expect_int(story.sum_taken, story.sum);
    expect(story.held_at > 0 && story.held_at < BIG_BYTES / 2);
    expect((ptrdiff_t)story.memory < 1 << 20);
    place_close(&story.place);
    return 0;
}

static void a_slow_taker_holds_the_peer(void **state)
{
    assert_int_equal(run(state, download, NULL), 0);
}

static int taker_fails(void *arg)
{
    struct stream story = {.fail_with = -EDOM};
    char reason[100] = "";
    td_http_fetch_opts opts = {.receive = take, .arg = &story, .reason = reason, .reason_size = sizeof reason};

    place_open(&story.place, give_big);
    story.place.arg = &story;
    expect_int(fail_to_fetch(&story.place, "/", &opts), -EDOM);
    expect(strstr(reason, "receive") != NULL);
    eventually(story.place.ended == 1);
    expect(story.written < BIG_BYTES);
    place_close(&story.place);
    return 0;
}

static void a_taker_that_fails_ends_it(void **state)
{
    assert_int_equal(run(state, taker_fails, NULL), 0);
}

static ssize_t produce(void *data, size_t size, void *arg)
{
    struct stream *story = arg;
    size_t n = size < BIG_BYTES - story->produced ? size : BIG_BYTES - story->produced;

    if (story->fail_with && story->produced > BIG_BYTES / 2)
        return story->fail_with;
    if (story->produced % (64 * PIECE) == 0 && td_yield() < 0)
        return -ECANCELED;
    fill(data, n, story->produced);
    story->produced += n;
    story->sum = sum(story->sum, data, n);
    return (ssize_t)n;
}

static void take_late(struct place *place, td_stream *stream)
{
    struct stream *story = place->arg;

    wait_until_it_stands(&story->produced);
    story->held_at = story->produced;
    if (hear(place, stream))
        say(stream, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
}

static void upload_once(const char *method, int64_t size)
{
    struct stream story = {0};
    td_http_response *answer;
    td_http_fetch_opts opts = {.method = method, .send = produce, .send_size = size, .arg = &story};

    place_open(&story.place, take_late);
    story.place.arg = &story;
    if (expect_int(fetch(&story.place, &answer, "/", &opts), 0)) {
        expect_int(td_http_response_status(answer), 201);
        td_http_response_free(answer);
    }
    expect_int((long long)story.place.body, (long long)BIG_BYTES);
    expect_int(story.place.body_sum, story.sum);
    expect(story.held_at < BIG_BYTES / 2);
    place_close(&story.place);
}

static int upload(void *arg)
{
    upload_once("POST", 0);
    upload_once("PUT", (int64_t)BIG_BYTES);
    return 0;
}

static void a_slow_peer_holds_the_sender(void **state)
{
    assert_int_equal(run(state, upload, NULL), 0);
}

static void just_hear(struct place *place, td_stream *stream)
{
    if (hear(place, stream))
        say(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

/* The peer must not take what came so far for all of it. */
static int sender_fails(void *arg)
{
    struct stream story = {.fail_with = -ENODATA};
    td_http_fetch_opts opts = {.send = produce, .arg = &story};

    place_open(&story.place, just_hear);
    story.place.arg = &story;
    expect_int(fail_to_fetch(&story.place, "/", &opts), -ENODATA);
    eventually(story.place.ended == 1);
    expect(story.place.body < BIG_BYTES);
    story.fail_with = 0;
    opts.send_size = (int64_t)BIG_BYTES + 1;
    story.produced = 0;
    expect_int(fail_to_fetch(&story.place, "/", &opts), -EIO);
    place_close(&story.place);
    return 0;
}

static void a_sender_that_fails_or_gives_too_little_ends_it(void **state)
{
    assert_int_equal(run(state, sender_fails, NULL), 0);
}

static ssize_t never_send(void *data, size_t size, void *arg)
{
    ((struct stream *)arg)->produced++;
    return td_sleep(TD_FOREVER);
}

static void refuse_early(struct place *place, td_stream *stream)
{
    read_head(place, stream);
    eventually(((struct stream *)place->arg)->produced == 1);
    say(stream, "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
}

/* The sender waits for something that will never be; the answer is there all the same. */
static int early(void *arg)
{
    struct stream story = {0};
    td_http_response *answer;

    place_open(&story.place, refuse_early);
    story.place.arg = &story;
    if (expect_int(fetch(&story.place, &answer, "/", &(td_http_fetch_opts){.send = never_send, .arg = &story}), 0)) {
        expect_int(td_http_response_status(answer), 413);
        td_http_response_free(answer);
    }
    place_close(&story.place);
    return 0;
}

static void an_early_answer_ends_the_sending(void **state)
{
    assert_int_equal(run(state, early, NULL), 0);
}

/* Chunks with extensions and trailers; a body of exactly the limit, and one byte more; gzip. */
static void various(struct place *place, td_stream *stream)
{
    static const unsigned char gzipped[] = {31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 203, 72, 205, 201, 201, 7, 0, 134, 166, 16, 54, 5, 0,
                                            0, 0};  /* hello */
    char head[100];

    while (hear(place, stream)) {
        const char *path = strchr(place->head, '/');

        if (strncmp(path, "/chunks", 7) == 0) {
            say(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-After\r\n\r\n"
                "2;ext=1\r\nhe\r\n3\r\nllo\r\n0\r\nX-After: all\r\n\r\n");
        } else if (strncmp(path, "/gzip", 5) == 0) {
            snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n",
                     sizeof gzipped);
            say(stream, head);
            td_stream_write(stream, gzipped, sizeof gzipped);
        } else {
            say(stream, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        }
    }
}

static void expect_hello(struct place *place, const char *path, size_t max)
{
    td_http_response *answer;

    if (!expect_int(fetch(place, &answer, path, &(td_http_fetch_opts){.body_bytes_max = max}), 0))
        return;
    expect_text(td_http_response_body(answer, NULL), "hello");
    expect(strncmp(path, "/chunks", 7) != 0 || td_http_response_trailer(answer, "x-after"));
    expect(!td_http_response_field(answer, "x-after"));
    td_http_response_free(answer);
}

static int limits(void *arg)
{
    static const char *const paths[] = {"/", "/chunks", "/gzip"};
    struct place place;
    td_http_response *answer;
    char reason[TD_HTTP_FETCH_REASON_SIZE] = "";
    td_http_fetch_opts tight = {.body_bytes_max = 4, .reason = reason, .reason_size = sizeof reason};
    size_t size;

    place_open(&place, various);
    for (size_t i = 0; i < COUNT(paths); i++) {
        expect_hello(&place, paths[i], 5);
        expect_int(fail_to_fetch(&place, paths[i], &tight), -EMSGSIZE);
        expect(strstr(reason, "body_bytes_max") != NULL);
    }
    expect(strstr(place.head, "\r\nAccept-Encoding: ") && strstr(place.head, "gzip"));
    if (expect_int(fetch(&place, &answer, "/gzip", &(td_http_fetch_opts){.raw = true}), 0)) {
        td_http_response_body(answer, &size);
        expect_int((int)size, 25);
        td_http_response_free(answer);
    }
    expect(!strstr(place.head, "Accept-Encoding"));
    place_close(&place);
    return 0;
}

static void a_collected_body_has_its_limit_to_the_byte(void **state)
{
    assert_int_equal(run(state, limits, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_slow_taker_holds_the_peer),
        ON_BOTH(a_taker_that_fails_ends_it),
        ON_BOTH(a_slow_peer_holds_the_sender),
        ON_BOTH(a_sender_that_fails_or_gives_too_little_ends_it),
        ON_BOTH(an_early_answer_ends_the_sending),
        ON_BOTH(a_collected_body_has_its_limit_to_the_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
