/* SPDX-License-Identifier: MIT */
/* Bodies piece by piece, both ways: framing, trailers, pressure, early answers. */
#include "net/pair.h"
#include "talk.h"

#define MEBIBYTE (1024 * 1024)

struct record {
    ssize_t read_rc;
    int begin_rc, write_rc, end_rc;
    size_t got;
    bool intact, waiting;
    td_event go;
    char trailer[32];
    int64_t announced;
    const char *trailers;
};

/* Answers in three pieces, of an announced size or none. */
static int pieces(td_http *http, void *arg)
{
    struct record *record = ((struct talk *)arg)->arg;
    td_http_answer answer = {.type = "text/plain", .size = record->announced};

    record->begin_rc = td_http_begin(http, &answer);
    record->write_rc = td_http_write(http, "one,", 4);
    record->write_rc |= td_http_write(http, "two,", 4);
    record->write_rc |= td_http_write(http, "three", 5);
    record->end_rc = td_http_end(http, record->trailers);
    return record->begin_rc;
}

static void chunks_story(struct talk *talk)
{
    struct record *record = talk->arg;

    record->announced = -1;
    say(talk, GET("/"));
    hear(talk, "Transfer-Encoding: chunked\r\n\r\n4\r\none,\r\n4\r\ntwo,\r\n5\r\nthree\r\n0\r\n\r\n");
    record->trailers = "Digest: abc\r\n";
    say(talk, GET("/"));
    hear(talk, "0\r\nDigest: abc\r\n\r\n");
    record->trailers = "Digest: a\r\n\r\nHTTP/1.1 200 OK";
    say(talk, GET("/"));
    hear(talk, "0\r\n\r\n");
    expect_int(record->end_rc, -EINVAL);  /* and the server ended it, for the handler returned 0 */
    record->trailers = NULL;
    say(talk, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" GET("/"));
    hear(talk, "\r\n\r\nHTTP/1.1 200 OK");
    hear(talk, "0\r\n\r\n");
    ask_alone(talk, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n");
    expect(!strstr(talk->heard, "chunked") && !strstr(talk->heard, "Content-Length"));
    hear(talk, "Connection: close\r\n\r\none,two,three");
    expect_int(talk->size, 0);
}

STORY(what_has_no_size_goes_in_chunks, chunks_story, .handler = pieces, .arg = &(struct record){0})

static void sizes_story(struct talk *talk)
{
    struct record *record = talk->arg;

    record->announced = 13;
    say(talk, GET("/"));
    hear(talk, "Content-Length: 13\r\n\r\none,two,three");
    expect_int(record->begin_rc | record->write_rc | record->end_rc, 0);
    record->announced = 10;   /* "three" is refused whole, and so something is missing */
    say(talk, GET("/"));
    hear_the_end(talk);
    expect_int(times(talk->heard, "three"), 0);
    expect_int(record->write_rc, -EINVAL);
    expect_int(record->end_rc, -EPROTO);
}

STORY(what_was_announced_is_what_is_sent, sizes_story, .handler = pieces, .arg = &(struct record){0})

/* Reads the body in pieces, and keeps what came of it. */
static int read_all_of_it(td_http *http, void *arg)
{
    struct record *record = ((struct talk *)arg)->arg;
    unsigned char piece[3000];
    char answer[32];

    record->intact = true;
    record->got = 0;
    record->waiting = true;
    if (strcmp(td_http_path(http), "/wait") == 0)
        td_event_wait(&record->go);
    while ((record->read_rc = td_http_read(http, piece, sizeof piece)) > 0) {
        record->intact &= intact(piece, (size_t)record->read_rc, record->got);
        record->got += (size_t)record->read_rc;
    }
    snprintf(record->trailer, sizeof record->trailer, "%s", td_http_trailer(http, "X-Sum") ? td_http_trailer(http, "X-Sum") : "");
    if (record->read_rc < 0)
        return (int)record->read_rc;
    snprintf(answer, sizeof answer, "%zu bytes", record->got);
    return td_http_respond(http, 200, NULL, "text/plain", answer, strlen(answer));
}

static void upload_story(struct talk *talk)
{
    struct record *record = talk->arg;
    static unsigned char bytes[MEBIBYTE];
    char line[64];

    fill(bytes, sizeof bytes, 0);
    snprintf(line, sizeof line, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", MEBIBYTE);
    say(talk, line);
    expect_int(td_stream_write(talk->client, bytes, sizeof bytes), MEBIBYTE);
    hear(talk, "1048576 bytes");
    expect(record->intact);
    say(talk, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0; at < 100000; at += 5000) {
        say(talk, "1388;x=y\r\n");
        td_stream_write(talk->client, bytes + at, 5000);
        say(talk, "\r\n");
    }
    say(talk, "0\r\nX-Sum: 17\r\n\r\n" "POST / HTTP/1.1\r\nHost: h\r\n\r\n");
    hear(talk, "100000 bytes");
    hear(talk, "\r\n\r\n0 bytes");
    expect(record->intact);
}

STORY(a_body_is_read_as_it_comes, upload_story, .handler = read_all_of_it, .arg = &(struct record){0},
      .opts.stream_bodies = true, .opts.body_bytes_max = 4 * MEBIBYTE)

static int write_much(void *arg)
{
    struct talk *talk = arg;
    struct record *record = talk->arg;
    static unsigned char bytes[64 * 1024];

    for (size_t at = 0; at < 64 * MEBIBYTE; at += sizeof bytes) {
        fill(bytes, sizeof bytes, at);
        if (!expect_int(td_stream_write(talk->client, bytes, sizeof bytes), sizeof bytes))
            break;
        if (at % (16 * MEBIBYTE) == 0 && record->got > 0)
            expect(record->intact);
    }
    record->waiting = false;
    return 0;
}

/* A handler that does not read holds its client: 64 MiB fit into no socket's buffers. */
static void pressure_story(struct talk *talk)
{
    struct record *record = talk->arg;
    td_scope scope;

    td_event_init(&record->go);
    say(talk, "POST /wait HTTP/1.1\r\nHost: h\r\nContent-Length: 67108864\r\n\r\n");
    eventually(record->waiting);
    td_scope_open(&scope);
    td_spawn(&scope, write_much, talk);
    td_sleep(td_ms(50));  /* for it to write all, if nothing held it */
    expect(record->waiting);
    expect_int(record->got, 0);
    td_event_set(&record->go);
    hear(talk, "67108864 bytes");
    expect_int(td_scope_join(&scope), 0);
    expect(record->intact);
}

STORY(who_does_not_read_holds_his_client, pressure_story, .handler = read_all_of_it, .arg = &(struct record){0},
      .opts.stream_bodies = true, .opts.body_bytes_max = 128 * MEBIBYTE)

static void faults_story(struct talk *talk)
{
    struct record *record = talk->arg;

    ask_alone(talk, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nX\r\n" GET("/smuggled"));
    hear(talk, "HTTP/1.1 400 ");
    expect_int(record->read_rc, -EPROTO);
    expect_int(times(talk->heard, "HTTP/1.1 "), 0);
    ask_alone(talk, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\nabc");
    hear(talk, "HTTP/1.1 413 ");
    expect_int(record->read_rc, -EMSGSIZE);
    ask_alone(talk, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc");
    expect_int(record->read_rc, -ECONNRESET);
}

STORY(a_body_that_fails_is_answered_for_the_handler, faults_story, .handler = read_all_of_it, .arg = &(struct record){0},
      .opts.stream_bodies = true, .opts.body_bytes_max = 1000)

/* RFC 9110, 10.1.1 */
static void continue_story(struct talk *talk)
{
    say(talk, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    hear(talk, "HTTP/1.1 100 Continue\r\n\r\n");
    say(talk, "abc");
    hear(talk, "3 bytes");
    say(talk, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc");
    hear(talk, "3 bytes");
    say(talk, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n");
    hear(talk, "0 bytes");
    ask_alone(talk, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\nContent-Length: 3\r\n\r\n");
    hear(talk, "HTTP/1.1 417 ");
}

STORY(who_waits_to_be_told_to_go_on_is, continue_story, .handler = read_all_of_it, .arg = &(struct record){0})
STORY(who_waits_is_told_when_the_handler_reads, continue_story, .handler = read_all_of_it, .arg = &(struct record){0},
      .opts.stream_bodies = true)

/* Answers without a look at the body. */
static int no_thanks(td_http *http, void *arg)
{
    return td_http_respond(http, 403, NULL, "text/plain", "no", 2);
}

static void early_story(struct talk *talk)
{
    static char much[256 * 1024];

    say(talk, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc");
    hear(talk, "\r\n\r\nno");
    say(talk, "de" GET("/next"));            /* a small rest is passed over */
    hear(talk, "\r\n\r\nno");
    say(talk, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    hear(talk, "Connection: close\r\n\r\nno");  /* it may send the body now, or not: nobody knows what comes next */
    hear_the_end(talk);
    talk_leave(talk);
    talk_connect(talk);
    say(talk, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
    expect_int(td_stream_write(talk->client, much, sizeof much), sizeof much);
    hear(talk, "Connection: close\r\n\r\nno");  /* read, although we went on sending */
}

STORY(an_answer_may_come_before_the_body_has, early_story, .handler = no_thanks, .opts.stream_bodies = true,
      .opts.body_bytes_max = MEBIBYTE)

static int fail_in_the_middle(td_http *http, void *arg)
{
    td_http_begin(http, &(td_http_answer){.size = -1});
    td_http_write(http, "half", 4);
    return -EIO;
}

static void broken_story(struct talk *talk)
{
    say(talk, GET("/") GET("/"));
    hear(talk, "4\r\nhalf\r\n");
    hear_the_end(talk);
    expect_int(talk->size, 0);  /* no last chunk */
}

STORY(half_an_answer_does_not_look_whole, broken_story, .handler = fail_in_the_middle)

static int flood(td_http *http, void *arg)
{
    struct record *record = ((struct talk *)arg)->arg;
    static char piece[64 * 1024];

    record->write_rc = td_http_begin(http, &(td_http_answer){.size = -1});
    for (int i = 0; i < 1024 && record->write_rc == 0; i++) {
        record->write_rc = td_http_write(http, piece, sizeof piece);
        record->got += sizeof piece;
    }
    return record->write_rc;
}

static void slow_reader_story(struct talk *talk)
{
    struct record *record = talk->arg;
    static char sink[1 << 16];
    size_t got = 0;
    ssize_t n;

    say(talk, GET("/"));
    td_sleep(td_ms(50));
    expect(record->got < 16 * MEBIBYTE);   /* held, with what the sockets take */
    while (got < 64 * MEBIBYTE && (n = td_stream_read(talk->client, sink, sizeof sink)) > 0)
        got += (size_t)n;
    expect(got >= 64 * MEBIBYTE);
    expect_int(record->write_rc, 0);
}

STORY(who_reads_slowly_holds_the_handler, slow_reader_story, .handler = flood, .arg = &(struct record){0})

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(what_has_no_size_goes_in_chunks),
        ON_BOTH(what_was_announced_is_what_is_sent),
        ON_BOTH(a_body_is_read_as_it_comes),
        ON_BOTH(who_does_not_read_holds_his_client),
        ON_BOTH(a_body_that_fails_is_answered_for_the_handler),
        ON_BOTH(who_waits_to_be_told_to_go_on_is),
        ON_BOTH(who_waits_is_told_when_the_handler_reads),
        ON_BOTH(an_answer_may_come_before_the_body_has),
        ON_BOTH(half_an_answer_does_not_look_whole),
        ON_BOTH(who_reads_slowly_holds_the_handler),
    };

    return cmocka_run_group_tests_name("http stream", tests, NULL, NULL);
}
