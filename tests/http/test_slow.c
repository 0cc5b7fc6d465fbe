/* SPDX-License-Identifier: MIT */
/* Peers that are slow on purpose: each is cut off, and what it cost comes back. In virtual time. */
#include "talk.h"

#define MEBIBYTE (1024 * 1024)

static int thanks(td_http *http, void *arg)
{
    return td_http_respond(http, 200, NULL, "text/plain", "thanks", 6);
}

static void silent_story(struct talk *talk)
{
    td_time began = td_now();

    hear_the_end(talk);
    expect_int(talk->size, 0);
    expect(td_now() - began >= td_sec(75) && td_now() - began < td_sec(80));
    talk_leave(talk);
    talk_connect(talk);
    td_sleep(td_sec(70));
    say(talk, GET("/"));
    hear(talk, "thanks");
    td_sleep(td_sec(70));
    say(talk, GET("/"));
    hear(talk, "thanks");
    hear_the_end(talk);
    expect_int(talk->size, 0);
    expect_int(talk_stats(talk).timeouts_idle, 2);
}

STORY_IN_NO_TIME(who_says_nothing_is_let_go, silent_story, .handler = thanks)

/* A byte every half second, until the end. Returns how long that took. */
static td_time dribble(struct talk *talk, const char *text)
{
    td_time began = td_now();

    for (; *text && !talk->ended; text++) {
        say(talk, (char[]){*text, '\0'});
        td_sleep(td_ms(500));
        if (strstr(talk->heard, "408"))
            break;
        if (talk_stats(talk).timeouts_head + talk_stats(talk).timeouts_body > 0)
            hear_the_end(talk);
    }
    return td_now() - began;
}

static void head_story(struct talk *talk)
{
    td_time took = dribble(talk, "GET /abcdefghijklmnopqrstuvwxyz HTTP/1.1\r\nHost: hhhhhhhhhhhhhhhhhhh\r\n\r\n");

    hear(talk, "HTTP/1.1 408 ");
    expect(took >= td_sec(10) && took < td_sec(14));
    expect_int(talk_stats(talk).timeouts_head, 1);
    expect_int(talk_stats(talk).requests, 0);
}

STORY_IN_NO_TIME(a_head_has_ten_seconds, head_story, .handler = thanks)

static void body_story(struct talk *talk)
{
    static char text[200];
    td_time took;

    memset(text, 'x', sizeof text - 1);
    say(talk, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n");
    took = dribble(talk, text);
    hear(talk, "HTTP/1.1 408 ");
    expect(took >= td_sec(29) && took < td_sec(34));
    expect_int(talk_stats(talk).timeouts_body, 1);
}

STORY_IN_NO_TIME(a_body_has_its_rate, body_story, .handler = thanks)

static void fair_story(struct talk *talk)
{
    static char piece[2049];

    memset(piece, 'x', sizeof piece - 1);
    say(talk, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 204800\r\n\r\n");
    for (int i = 0; i < 100; i++) {   /* 2 KiB a second: for much longer than 30 seconds */
        td_sleep(td_sec(1));
        say(talk, piece);
    }
    hear(talk, "thanks");
    expect_int(talk_stats(talk).timeouts_body, 0);
}

STORY_IN_NO_TIME(who_keeps_the_rate_may_take_his_time, fair_story, .handler = thanks, .opts.body_bytes_max = MEBIBYTE)

static int large(td_http *http, void *arg)
{
    static char body[32 * MEBIBYTE];
    int rc = td_http_respond(http, 200, NULL, "text/plain", body, sizeof body);

    *(int *)((struct talk *)arg)->arg = rc;
    return rc;
}

static void reader_story(struct talk *talk)
{
    td_time began = td_now();

    say(talk, GET("/"));
    eventually(talk_stats(talk).timeouts_send == 1);
    expect(td_now() - began < td_sec(40));
    eventually(*(int *)talk->arg == -ETIMEDOUT);
}

static int large_main(void *arg)
{
    return talk_with(arg, reader_story);
}

/* Patience is longer than the harness's: in virtual time that costs nothing. */
static void who_does_not_read_is_cut_off(void **state)
{
    struct talk *talk = calloc(1, sizeof *talk);
    int rc = 0;

    assert_non_null(talk);
    *talk = (struct talk){.handler = large, .arg = &rc, .opts.send_timeout = td_sec(10)};
    assert_int_equal(run_with(state, (td_opts){.virtual_time = true}, large_main, talk), 0);
    assert_int_equal(rc, -ETIMEDOUT);
    free(talk);
}

/* What is queued when the handler is done is not waited for by a task, but not forever either. */
static int close_after(td_http *http, void *arg)
{
    static char body[8 * MEBIBYTE];

    td_http_begin(http, &(td_http_answer){.size = -1});
    for (size_t at = 0; at < sizeof body && td_http_write(http, body, 100 * 1024) == 0; at += 100 * 1024)
        if (at > 3 * MEBIBYTE)
            break;
    return td_http_end(http, NULL);
}

static void queue_story(struct talk *talk)
{
    say(talk, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    eventually(talk_stats(talk).requests == 1);
    for (int i = 0; i < 400 && talk_stats(talk).connections > 0; i++)
        td_sleep(td_ms(500));
    expect_int(talk_stats(talk).connections, 0);
}

STORY_IN_NO_TIME(last_words_that_nobody_reads_are_dropped, queue_story, .handler = close_after)

/* Many at once, who all stop in the middle of a head. */
static void crowd_story(struct talk *talk)
{
    td_stream *clients[200];
    char answer[512];

    for (size_t i = 0; i < COUNT(clients); i++) {
        expect_int(td_connect(&clients[i], td_listener_address(talk->listener)), 0);
        expect(td_stream_write(clients[i], "GET / HT", 8) == 8);
    }
    eventually(talk_stats(talk).leased == COUNT(clients));
    for (size_t i = 0; i < COUNT(clients); i++) {
        ssize_t n = td_stream_read(clients[i], answer, sizeof answer - 1);

        expect(n > 0 && memcmp(answer, "HTTP/1.1 408 ", 13) == 0);
        td_stream_close(clients[i]);
    }
    expect_int(talk_stats(talk).timeouts_head, COUNT(clients));
}

STORY_IN_NO_TIME(a_crowd_of_them_is_cut_off_too, crowd_story, .handler = thanks)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(who_says_nothing_is_let_go),
        ON_BOTH(a_head_has_ten_seconds),
        ON_BOTH(a_body_has_its_rate),
        ON_BOTH(who_keeps_the_rate_may_take_his_time),
        ON_BOTH(who_does_not_read_is_cut_off),
        ON_BOTH(last_words_that_nobody_reads_are_dropped),
        ON_BOTH(a_crowd_of_them_is_cut_off_too),
    };

    return cmocka_run_group_tests_name("http slow", tests, NULL, NULL);
}
