/* SPDX-License-Identifier: MIT */
/* A stream's queue of blocks: bounded, corked, in order, and gone with its stream. */
#include <sys/socket.h>

#include "net/pair.h"
#include "net/stream.h"

#define BLOCKS 5000
#define LIMIT 100000u

static struct block *block_of(const char *text)
{
    struct block *block = block_new(strlen(text));

    if (block)
        memcpy(block->bytes, text, strlen(text));
    return block;
}

static void expect_bytes(td_stream *stream, const char *wanted)
{
    char bytes[200] = "";
    size_t at = 0, size = strlen(wanted);

    while (at < size && at < sizeof bytes - 1) {
        ssize_t n = td_stream_read(stream, bytes + at, size - at);

        if (!expect(n > 0))
            break;
        at += (size_t)n;
    }
    expect_text(bytes, wanted);
}

static int post_some(void *arg)
{
    struct block *hello = block_of("hello "), *you = block_of("you "), *nothing = block_of("");
    struct pair pair;

    if (!pair_open(&pair))
        return -EIO;
    for (int i = 0; i < 6; i++)
        expect_int(stream_post(pair.near, i % 2 ? you : hello, LIMIT), 0);
    expect_int(stream_post(pair.near, nothing, LIMIT), 0);
    expect_int((long long)hello->refs, 4);
    expect_int((long long)pair.near->bytes, 30);  /* nothing leaves before the turn ends: one call for all */
    expect_int(td_stream_write(pair.near, "there", 5), 5);  /* what is queued goes first */
    expect_bytes(pair.far, "hello you hello you hello you there");
    expect_int((long long)hello->refs + (long long)you->refs + (long long)nothing->refs, 3);
    block_release(hello);
    block_release(you);
    block_release(nothing);
    pair_close(&pair);
    return 0;
}

static void blocks_leave_in_their_order_by_reference(void **state)
{
    assert_int_equal(run(state, post_some, NULL), 0);
}

static int post_too_much(void *arg)
{
    struct block *large = block_new(3 * LIMIT), *small = block_new(LIMIT / 4);
    struct pair pair;
    int posted = 0;

    if (!pair_open(&pair))
        return -EIO;
    memset(large->bytes, 'l', large->size);
    memset(small->bytes, 's', small->size);
    expect_int(stream_post(pair.near, large, LIMIT), 0);  /* the queue is empty: any one block may pass, or it never could */
    while (posted < 10000 && stream_post(pair.near, small, LIMIT) == 0)
        expect(++posted > 0 && stream_charge(pair.near) <= 4 * LIMIT);
    expect(posted > 0 && posted < 10000);  /* the socket took some at once, and then no more */
    expect_int(stream_post(pair.near, small, LIMIT), -EBUSY);
    expect_int((long long)small->refs, pair.near->count + 1 - (large->refs - 1));
    block_release(large);
    block_release(small);
    pair_close(&pair);  /* with a queue: it is given up */
    return 0;
}

/* Law 4. */
static void a_full_queue_refuses(void **state)
{
    assert_int_equal(run(state, post_too_much, NULL), 0);
}

static int drain(void *arg)
{
    td_stream *stream = arg;
    static unsigned char bytes[65536];
    size_t place = 0;
    ssize_t n;

    while ((n = td_stream_read(stream, bytes, sizeof bytes)) > 0) {
        if (!expect(intact(bytes, (size_t)n, place)))
            break;
        place += (size_t)n;
    }
    return place == (size_t)BLOCKS * 1000 ? 0 : -EIO;
}

static int post_many(void *arg)
{
    struct pair pair;
    td_scope scope;

    if (!pair_open(&pair))
        return -EIO;
    td_scope_open(&scope);
    td_spawn(&scope, drain, pair.far);
    for (size_t i = 0; i < BLOCKS; i++) {
        struct block *block = block_new(1000);

        fill(block->bytes, 1000, i * 1000);
        while (stream_post(pair.near, block, LIMIT) == -EBUSY)
            expect_int(stream_wait_sent(pair.near, LIMIT / 2), 0);
        block_release(block);
        expect(pair.near->bytes <= LIMIT);
    }
    expect_int(stream_wait_sent(pair.near, 0), 0);
    expect_int(td_stream_end(pair.near), 0);
    expect_int(td_scope_join(&scope), 0);
    pair_close(&pair);
    return 0;
}

static void a_queue_is_refilled_as_it_empties(void **state)
{
    assert_int_equal(run(state, post_many, NULL), 0);
}

/* Fills the kernel's buffers, so that a send stays under way. */
static struct block *stop_up(struct pair *pair)
{
    struct block *block = block_new(8 * 1024 * 1024);

    if (!block)
        return NULL;
    memset(block->bytes, 'c', block->size);
    expect_int(stream_post(pair->near, block, LIMIT), 0);
    td_sleep(td_ms(2));
    expect(pair->near->sending && pair->near->bytes > 0);
    return block;
}

static int wait_sent(void *arg)
{
    return stream_wait_sent(arg, 0);
}

static int break_while_sending(void *arg)
{
    struct pair pair;
    struct block *block;
    td_scope scope;
    int rc;

    if (!pair_open(&pair))
        return -EIO;
    block = stop_up(&pair);
    td_scope_open(&scope);
    td_spawn(&scope, wait_sent, pair.near);
    settle();
    td_stream_close(pair.far);
    pair.far = NULL;
    rc = td_scope_join(&scope);
    expect(rc == -EPIPE || rc == -ECONNRESET);
    rc = stream_post(pair.near, block, LIMIT);
    expect(rc == -EPIPE || rc == -ECONNRESET);
    expect_int((long long)block->refs, 1);  /* the broken queue is empty */
    block_release(block);
    pair_close(&pair);
    return 0;
}

static void a_broken_stream_tells_who_waits_and_forgets_its_queue(void **state)
{
    assert_int_equal(run(state, break_while_sending, NULL), 0);
}

static int drop_backlog(void *arg)
{
    struct block *word = block_of("word"), *last = block_of("last"), *block;
    struct pair pair;

    if (!pair_open(&pair))
        return -EIO;
    block = stop_up(&pair);
    for (int i = 0; i < 10; i++)
        expect_int(stream_post(pair.near, word, SIZE_MAX), 0);
    expect_int(stream_post(pair.near, last, SIZE_MAX), 0);
    expect_int((long long)word->refs, 11);
    stream_drop_backlog(pair.near, true);
    expect_int((long long)word->refs, 1);
    expect_int((long long)last->refs, 2);
    expect_int((long long)block->refs, 2);  /* it has left in part, so the rest must follow */
    stream_drop_backlog(pair.near, false);
    expect_int((long long)last->refs, 1);
    expect_int((long long)pair.near->count, 1);
    block_release(word);
    block_release(last);
    block_release(block);
    pair_close(&pair);  /* while a send is under way */
    return 0;
}

static void a_dropped_backlog_keeps_what_has_begun_to_leave(void **state)
{
    assert_int_equal(run(state, drop_backlog, NULL), 0);
}

static int cancel_wait_sent(void *arg)
{
    struct pair pair;
    struct block *block;
    td_scope scope;

    if (!pair_open(&pair))
        return -EIO;
    block = stop_up(&pair);
    td_scope_open(&scope);
    td_spawn(&scope, wait_sent, pair.near);
    settle();
    td_scope_cancel(&scope);
    expect_int(td_scope_join(&scope), -ECANCELED);
    block_release(block);
    pair_close(&pair);
    return 0;
}

static void waiting_for_a_queue_can_be_cancelled(void **state)
{
    assert_int_equal(run(state, cancel_wait_sent, NULL), 0);
}

static int last_words(void *arg)
{
    struct block *words = block_of("last words");
    struct pair pair;
    char byte;

    if (!pair_open(&pair))
        return -EIO;
    expect_int(td_stream_write(pair.far, "unread", 6), 6);
    expect_int(td_stream_end(pair.far), 0);
    expect_int(stream_post(pair.near, words, LIMIT), 0);
    stream_close_gently(pair.near, td_sec(1000));  /* reads what is unread: else the peer would be reset */
    pair.near = NULL;
    expect_bytes(pair.far, "last words");
    expect_int(td_stream_read(pair.far, &byte, 1), 0);
    block_release(words);
    pair_close(&pair);
    return 0;
}

static void a_gentle_close_lets_the_last_words_through(void **state)
{
    assert_int_equal(run(state, last_words, NULL), 0);
}

static int silent_peer(void *arg)
{
    struct pair pair;
    td_time began = td_now();
    char byte;

    if (!pair_open(&pair))
        return -EIO;
    stream_close_gently(pair.near, td_ms(10));
    pair.near = NULL;
    expect(td_now() - began >= td_ms(10));
    expect_int(td_stream_read(pair.far, &byte, 1), 0);
    pair_close(&pair);
    return 0;
}

static void a_gentle_close_does_not_wait_for_ever(void **state)
{
    assert_int_equal(run(state, silent_peer, NULL), 0);
}

static void post_letters(td_stream *stream, const char *letters, bool first)
{
    for (; *letters; letters++) {
        struct block *block = block_new(1);

        block->bytes[0] = (unsigned char)*letters;
        expect_int(first ? stream_post_first(stream, block) : stream_post(stream, block, SIZE_MAX), 0);
        block_release(block);
    }
}

static void expect_letters(td_stream *stream, const char *letters)
{
    char bytes[100];
    size_t size = strlen(letters), got = 0;

    while (got < size) {
        ssize_t n = td_stream_read(stream, bytes + got, size - got);

        if (!expect(n > 0))
            return;
        got += (size_t)n;
    }
    bytes[got] = '\0';
    expect_text(bytes, letters);
}

static int post_first(void *arg)
{
    struct pair pair;

    if (!pair_open(&pair))
        return -EIO;
    post_letters(pair.near, "xyz", false);
    post_letters(pair.near, "abc", true);
    post_letters(pair.near, "w", false);
    post_letters(pair.near, "d", true);
    expect_letters(pair.far, "abcdxyzw");
    post_letters(pair.near, "xyz", false);
    post_letters(pair.near, "ab", true);
    expect_int((long long)stream_drop_oldest(pair.near), 1);
    post_letters(pair.near, "c", true);
    expect_letters(pair.far, "abcyz");
    post_letters(pair.near, "x", false);
    post_letters(pair.near, "abcdefghijklmnopqrst", true);   /* no more than 16 wait: the newest is the last of them */
    expect_letters(pair.far, "abcdefghijklmnotx");
    post_letters(pair.near, "a", true);
    post_letters(pair.near, "x", false);
    stream_drop_backlog(pair.near, true);
    post_letters(pair.near, "b", true);
    expect_letters(pair.far, "bx");
    expect_int((long long)stream_charge(pair.near), 0);
    pair_close(&pair);
    return 0;
}

static void what_is_posted_first_leaves_first_and_in_order(void **state)
{
    assert_int_equal(run(state, post_first, NULL), 0);
}

static int post_a_burst(void *arg)
{
    struct pair pair;
    struct block *block = block_new(3000);
    unsigned char bytes[3000];
    size_t got = 0;

    memset(block->bytes, 'x', block->size);
    if (!pair_open(&pair))
        return -EIO;
    for (int i = 0; i < 200; i++)   /* in one turn; the sockets have room for all of it */
        expect_int(stream_post(pair.near, block, 256 * 1024), 0);
    block_release(block);
    while (got < 600000) {
        ssize_t n = td_stream_read(pair.far, bytes, sizeof bytes);

        if (!expect(n > 0))
            break;
        got += (size_t)n;
    }
    pair_close(&pair);
    return 0;
}

static void a_burst_is_no_slow_peer(void **state)
{
    assert_int_equal(run(state, post_a_burst, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(blocks_leave_in_their_order_by_reference),
        ON_BOTH(what_is_posted_first_leaves_first_and_in_order),
        ON_BOTH(a_burst_is_no_slow_peer), ON_BOTH(a_full_queue_refuses),
        ON_BOTH(a_queue_is_refilled_as_it_empties), ON_BOTH(a_broken_stream_tells_who_waits_and_forgets_its_queue),
        ON_BOTH(a_dropped_backlog_keeps_what_has_begun_to_leave), ON_BOTH(waiting_for_a_queue_can_be_cancelled),
        ON_BOTH(a_gentle_close_lets_the_last_words_through), ON_BOTH(a_gentle_close_does_not_wait_for_ever),
    };

    return cmocka_run_group_tests_name("net queue", tests, NULL, NULL);
}
