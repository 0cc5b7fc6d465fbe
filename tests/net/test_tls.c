/* SPDX-License-Identifier: MIT */
/* An encrypted stream is a stream: every byte arrives, in its order, until the end is said or the connection breaks. */
#include "net/stream.h"
#include "net/tls.h"
#include "net/tls_pair.h"

const char *certificates;

#define MEBIBYTE (1024u * 1024)
#define PIECE_MAX 70000u

struct flow {
    td_stream *stream;
    size_t size, done, place;
    uint64_t seed;
    ssize_t rc;
};

static int write_all(void *arg)
{
    struct flow *flow = arg;
    unsigned char *bytes = malloc(PIECE_MAX);
    struct random random = {flow->seed};

    if (!bytes)
        return -ENOMEM;
    while (flow->done < flow->size) {
        size_t n = 1 + random_below(&random, PIECE_MAX);

        n = n < flow->size - flow->done ? n : flow->size - flow->done;
        fill(bytes, n, flow->place + flow->done);
        flow->rc = td_stream_write(flow->stream, bytes, n);
        if (!expect_int(flow->rc, (ssize_t)n))
            break;
        flow->done += n;
    }
    free(bytes);
    return 0;
}

static int read_all_of_it(void *arg)
{
    struct flow *flow = arg;
    unsigned char *bytes = malloc(PIECE_MAX);
    struct random random = {flow->seed};

    if (!bytes)
        return -ENOMEM;
    while (flow->done < flow->size) {
        flow->rc = td_stream_read(flow->stream, bytes, 1 + random_below(&random, PIECE_MAX));
        if (!expect(flow->rc > 0) || !expect(intact(bytes, (size_t)flow->rc, flow->place + flow->done)))
            break;
        flow->done += (size_t)flow->rc;
    }
    free(bytes);
    return 0;
}

static int both_ways(void *arg)
{
    td_tls *server = server_tls("server", (td_tls_server_opts){.version_min = *(int *)arg});
    td_tls *client = client_tls((td_tls_client_opts){0});
    struct pair pair;
    td_scope scope;

    if (!tls_pair_open(&pair, client, server))
        return -EIO;
    td_scope_open(&scope);
    {
        struct flow flows[4] = {{pair.near, MEBIBYTE, 0, 0, 1, 0}, {pair.far, MEBIBYTE, 0, 0, 2, 0},
                                {pair.far, MEBIBYTE, 0, 5000000, 3, 0}, {pair.near, MEBIBYTE, 0, 5000000, 4, 0}};

        for (int i = 0; i < 4; i++)
            td_spawn(&scope, i % 2 ? read_all_of_it : write_all, &flows[i]);
        expect_int(td_scope_join(&scope), 0);
        for (int i = 0; i < 4; i++)
            expect_int((long long)flows[i].done, MEBIBYTE);
    }
    pair_close(&pair);
    td_tls_close(server);
    td_tls_close(client);
    return 0;
}

static void a_mebibyte_each_way_at_once(void **state)
{
    int version = 13;

    assert_int_equal(run(state, both_ways, &version), 0);
}

static int half_close(void *arg)
{
    td_tls *server = server_tls("server", (td_tls_server_opts){0}), *client = client_tls((td_tls_client_opts){0});
    struct pair pair;
    char byte = 0;

    if (!tls_pair_open(&pair, client, server))
        return -EIO;
    expect_int(td_stream_write(pair.near, "ab", 2), 2);
    expect_int(td_stream_end(pair.near), 0);
    expect_int(td_stream_read(pair.far, &byte, 1), 1);
    expect_int(td_stream_read(pair.far, &byte, 1), 1);
    for (int i = 0; i < 3; i++)
        expect_int(td_stream_read(pair.far, &byte, 1), 0);  /* and again */
    expect_int(td_stream_write(pair.far, "c", 1), 1);       /* the other way is open */
    expect_int(td_stream_read(pair.near, &byte, 1), 1);
    expect_int(byte, 'c');
    pair_close(&pair);
    td_tls_close(server);
    td_tls_close(client);
    return 0;
}

static void an_end_closes_one_way_only(void **state)
{
    assert_int_equal(run(state, half_close, NULL), 0);
}

static int write_and_close(void *arg)
{
    td_tls *server = server_tls("server", (td_tls_server_opts){0}), *client = client_tls((td_tls_client_opts){0});
    struct pair pair;
    char text[10];

    if (!tls_pair_open(&pair, client, server))
        return -EIO;
    expect_int(td_stream_write(pair.near, "farewell", 8), 8);
    td_stream_close(pair.near);
    pair.near = NULL;
    expect_int(td_stream_read(pair.far, text, sizeof text), 8);
    expect_int(td_stream_read(pair.far, text, sizeof text), 0);
    pair_close(&pair);
    td_tls_close(server);
    td_tls_close(client);
    return 0;
}

/* What was written before a close arrives, and the peer can tell that it was all. */
static void a_close_says_the_end(void **state)
{
    assert_int_equal(run(state, write_and_close, NULL), 0);
}

static int cut_off(void *arg)
{
    td_tls *server = server_tls("server", (td_tls_server_opts){0}), *client = client_tls((td_tls_client_opts){0});
    struct pair pair;
    char text[10];

    if (!tls_pair_open(&pair, client, server))
        return -EIO;
    expect_int(td_stream_write(pair.near, "half", 4), 4);
    expect_int(td_stream_end(container_of(pair.near, struct tls_stream, base)->lower), 0);  /* what an attacker can do, too */
    expect_int(td_stream_read(pair.far, text, sizeof text), 4);
    expect_int(td_stream_read(pair.far, text, sizeof text), -ECONNRESET);
    expect_int(td_stream_read(pair.far, text, sizeof text), -ECONNRESET);
    pair_close(&pair);
    td_tls_close(server);
    td_tls_close(client);
    return 0;
}

/* RFC 8446, 6.1: without a close_notify the data may have been truncated. */
static void being_cut_off_is_no_end(void **state)
{
    assert_int_equal(run(state, cut_off, NULL), 0);
}

static int slow_peer(void *arg)
{
    td_tls *server = server_tls("server", (td_tls_server_opts){0}), *client = client_tls((td_tls_client_opts){0});
    struct pair pair;
    struct block *block = block_new(256 * 1024);
    struct flow flow = {.size = 64 * 256 * 1024, .seed = 5};
    struct tls_stream *far;

    if (!block || !tls_pair_open(&pair, client, server))
        return -EIO;
    far = container_of(pair.far, struct tls_stream, base);
    for (int i = 0; i < 64; i++) {
        memset(block->bytes, 'x', block->size);
        expect_int(stream_post(pair.far, block, SIZE_MAX), 0);
    }
    expect_int((long long)block->refs, 1 + (long long)pair.far->count);  /* references, no copies */
    expect_int(td_sleep(td_ms(50)), 0);      /* as long as the peer does not read */
    expect(pair.far->bytes > 8 * MEBIBYTE);
    expect(stream_charge(far->lower) < 80 * 1024);
    while (flow.done < flow.size) {
        char bytes[8192];

        flow.rc = td_stream_read(pair.near, bytes, sizeof bytes);
        if (!expect(flow.rc > 0))
            break;
        flow.done += (size_t)flow.rc;
    }
    expect_int(stream_wait_sent(pair.far, 0), 0);
    expect_int((long long)block->refs, 1);
    block_release(block);
    pair_close(&pair);
    td_tls_close(server);
    td_tls_close(client);
    return 0;
}

/* Law 6: a slow peer holds references and one batch of ciphertext, not a second copy of everything. */
static void a_slow_peer_costs_one_batch(void **state)
{
    assert_int_equal(run(state, slow_peer, NULL), 0);
}

static int many_small(void *arg)
{
    td_tls *server = server_tls("server", (td_tls_server_opts){0}), *client = client_tls((td_tls_client_opts){0});
    struct pair pair;
    struct tls_stream *near;
    struct block *block = block_new(10);
    char bytes[2000];
    size_t done = 0, before;

    if (!block || !tls_pair_open(&pair, client, server))
        return -EIO;
    memset(block->bytes, 'y', 10);
    near = container_of(pair.near, struct tls_stream, base);
    eventually(near->lower->count == 0);
    for (int i = 0; i < 100; i++)
        expect_int(stream_post(pair.near, block, SIZE_MAX), 0);
    before = near->lower->count;
    pair.near->kind->flush(pair.near);
    expect_int((long long)(near->lower->count - before), 1);  /* one record */
    while (done < 1000) {
        ssize_t n = td_stream_read(pair.far, bytes, sizeof bytes);

        if (!expect(n > 0))
            break;
        done += (size_t)n;
    }
    expect_int((long long)done, 1000);
    block_release(block);
    pair_close(&pair);
    td_tls_close(server);
    td_tls_close(client);
    return 0;
}

static void small_writes_of_a_turn_share_a_record(void **state)
{
    assert_int_equal(run(state, many_small, NULL), 0);
}

static int read_cancelled(void *arg)
{
    td_tls *server = server_tls("server", (td_tls_server_opts){0}), *client = client_tls((td_tls_client_opts){0});
    struct pair pair;
    td_scope scope;
    char text[8];

    if (!tls_pair_open(&pair, client, server))
        return -EIO;
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_ms(5)));
    expect_int(td_stream_read(pair.far, text, sizeof text), -ECANCELED);
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    expect_int(td_stream_write(pair.near, "later", 5), 5);
    expect_int(td_stream_read(pair.far, text, sizeof text), 5);
    pair_close(&pair);
    td_tls_close(server);
    td_tls_close(client);
    return 0;
}

/* Law 3. */
static void a_cancelled_read_loses_nothing(void **state)
{
    assert_int_equal(run(state, read_cancelled, NULL), 0);
}

static int write_cancelled(void *arg)
{
    td_tls *server = server_tls("server", (td_tls_server_opts){0}), *client = client_tls((td_tls_client_opts){0});
    struct pair pair;
    td_scope scope;
    size_t size = 32 * MEBIBYTE, got = 0;
    unsigned char *bytes = malloc(size), some[8192];
    ssize_t written, n;

    if (!bytes || !tls_pair_open(&pair, client, server))
        return -EIO;
    fill(bytes, size, 0);
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_ms(100)));
    written = td_stream_write(pair.far, bytes, size);
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    expect(written > 0 && (size_t)written < size);
    td_scope_open(&scope);
    {
        struct flow more = {.stream = pair.far, .size = MEBIBYTE, .place = (size_t)written, .seed = 9};

        td_spawn(&scope, write_all, &more);
        while (got < (size_t)written + MEBIBYTE && (n = td_stream_read(pair.near, some, sizeof some)) > 0) {
            if (!expect(intact(some, (size_t)n, got)))
                break;
            got += (size_t)n;
        }
        expect_int(td_scope_join(&scope), 0);
    }
    expect_int((long long)got, (long long)written + MEBIBYTE);
    free(bytes);
    pair_close(&pair);
    td_tls_close(server);
    td_tls_close(client);
    return 0;
}

/* Law 3: a write that is cut short says how much has left, to the byte, so that another can go on behind it. */
static void a_cancelled_write_says_how_much(void **state)
{
    assert_int_equal(run(state, write_cancelled, NULL), 0);
}

static void take_everything(td_stream *stream)
{
    size_t size;

    (void)stream_peek(stream, &size);
    stream_consume(stream, size);
}

/* More was there than one go decrypts, so the rest is due at the turn's end: the close's own wait has such ends, too. */
static int close_before_the_rest(void *arg)
{
    td_tls *server = server_tls("server", (td_tls_server_opts){0}), *client = client_tls((td_tls_client_opts){0});
    struct pair pair;

    (void)arg;
    if (!tls_pair_open(&pair, client, server))
        return -EIO;
    expect_int(td_stream_write(pair.near, "ab", 2), 2);
    stream_on_input(pair.far, take_everything, NULL);
    loop_at_turn_end(pair.far->loop, &container_of(pair.far, struct tls_stream, base)->pump);
    td_stream_close(pair.far);
    pair.far = NULL;
    pair_close(&pair);
    td_tls_close(server);
    td_tls_close(client);
    return 0;
}

static void a_close_leaves_nothing_to_decrypt(void **state)
{
    assert_int_equal(run(state, close_before_the_rest, NULL), 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        ON_BOTH(a_mebibyte_each_way_at_once),
        ON_BOTH(an_end_closes_one_way_only),
        ON_BOTH(a_close_says_the_end),
        ON_BOTH(being_cut_off_is_no_end),
        ON_BOTH(a_close_leaves_nothing_to_decrypt),
        ON_BOTH(a_slow_peer_costs_one_batch),
        ON_BOTH(small_writes_of_a_turn_share_a_record),
        ON_BOTH(a_cancelled_read_loses_nothing),
        ON_BOTH(a_cancelled_write_says_how_much),
    };

    certificates = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
