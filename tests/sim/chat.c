/* SPDX-License-Identifier: MIT */
/*
 * A chat room over WebSockets: what one says, all hear. Every member hears numbers that rise by one from the first on,
 * for as long as it is connected, and each speaker's words in their order; a member too slow for the room is sent away,
 * and misses nothing in silence.
 */
#include "sim/scenario.h"

#include "ws/codec.h"

#define MEMBERS_MAX 5
#define WORDS_MAX 12
#define INPUT_BYTES 4096
#define ADDRESS "10.0.0.1:80"
#define PATIENCE td_sec(10000)

struct saying {
    uint32_t number, member, word;
};

struct room {
    struct world *world;
    td_listener *listener;
    td_http_server *server;
    td_ws *present[MEMBERS_MAX + 1];
    uint32_t said;
    td_time closes_at;
    bool harsh, narrow;
};

struct member {
    struct room *room;
    td_stream *stream;
    uint32_t index, words, sent, heard, first, own;
    unsigned char input[INPUT_BYTES];
    size_t begin, end;
    bool broken;
};

static void publish(struct room *room, struct saying *saying)
{
    td_ws_frame *frame;

    saying->number = room->said++;
    frame = td_ws_frame_new(TD_WS_BINARY, saying, sizeof *saying);
    if (!frame)
        return;
    for (size_t i = 0; i <= MEMBERS_MAX; i++) {
        int rc = room->present[i] ? td_ws_post(room->present[i], frame) : 0;

        must(room->world, rc != -EBUSY || room->narrow, "a wide queue was full");
        if (rc == -EBUSY) {
            td_ws_close(room->present[i], 1008, "too slow", true);
            room->present[i] = NULL;
        }
    }
    td_ws_frame_release(frame);
}

static int host(td_http *http, void *arg)
{
    struct room *room = arg;
    td_ws_opts opts = {.queue_bytes_max = room->narrow ? 400 : 0};
    td_message message;
    size_t place = 0;
    td_ws *ws;
    int rc = td_ws_accept(http, &ws, &opts);

    if (rc < 0)
        return rc;
    while (place < MEMBERS_MAX && room->present[place])
        place++;
    room->present[place] = ws;
    while ((rc = td_ws_receive(ws, &message)) > 0) {
        struct saying saying;

        if (!must(room->world, message.size == sizeof saying, "a message of %zu bytes", message.size))
            break;
        memcpy(&saying, message.data, sizeof saying);
        publish(room, &saying);
    }
    if (room->present[place] == ws)
        room->present[place] = NULL;
    must(room->world, rc != -EPROTO, "a member was said to break the protocol");
    return rc;
}

static int serve(void *arg)
{
    struct room *room = arg;
    td_scope scope;

    td_scope_open(&scope);
    td_scope_deadline(&scope, room->closes_at);
    td_http_server_run(room->server);
    td_scope_join(&scope);
    td_listener_close(room->listener);
    return 0;
}

static bool write_whole(struct member *member, const void *bytes, size_t size)
{
    return td_stream_write(member->stream, bytes, size) == (ssize_t)size;
}

static bool send_frame(struct member *member, enum ws_opcode opcode, const void *payload, size_t size)
{
    uint8_t frame[WS_HEADER_MAX + WS_CONTROL_MAX];
    size_t at = ws_encode_header(frame, opcode, size);
    uint32_t mask = (uint32_t)td_random();

    frame[1] |= 0x80;
    memcpy(frame + at, &mask, 4);
    for (size_t i = 0; i < size; i++)
        frame[at + 4 + i] = ((const uint8_t *)payload)[i] ^ frame[at + i % 4];
    return write_whole(member, frame, at + 4 + size);
}

static ssize_t read_more(struct member *member)
{
    ssize_t n;

    if (member->begin == member->end)
        member->begin = member->end = 0;
    n = td_stream_read(member->stream, member->input + member->end, INPUT_BYTES - member->end - 1);
    member->end += n > 0 ? (size_t)n : 0;
    member->input[member->end] = '\0';
    return n;
}

static bool shake_hands(struct member *member)
{
    static const char request[] = "GET /room HTTP/1.1\r\nHost: sim\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                                  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    char *end = NULL;

    if (!write_whole(member, request, sizeof request - 1))
        return false;
    while (!end) {
        if (read_more(member) <= 0)
            return false;
        end = strstr((char *)member->input, "\r\n\r\n");
    }
    member->begin = (size_t)(end + 4 - (char *)member->input);
    return must(member->room->world, strncmp((char *)member->input, "HTTP/1.1 101", 12) == 0, "%.60s", (char *)member->input);
}

static void hear(struct member *member, const struct saying *saying)
{
    struct world *world = member->room->world;

    if (member->heard++ == 0)
        member->first = saying->number;
    must(world, saying->number == member->first + member->heard - 1, "number %u came after %u", saying->number,
         member->first + member->heard - 2);
    if (saying->member == member->index)
        must(world, saying->word == member->own++, "word %u came back after %u", saying->word, member->own - 2);
}

static int speak(void *arg)
{
    struct member *member = arg;

    for (uint32_t i = 0; i < member->words; i++) {
        struct saying saying = {0, member->index, i};

        if (one_in(3))
            td_sleep(td_us((int64_t)pick(20000)));
        if (!send_frame(member, WS_BINARY, &saying, sizeof saying)) {
            member->broken = true;
            td_stream_end(member->stream);  /* the room may not know yet, and would wait for the rest */
            break;
        }
        member->sent++;
    }
    return 0;
}

/* Hears until the end, or until all it said itself has come back. Returns whether the connection stands. */
static bool hear_words(struct member *member, struct ws_decoder *decoder)
{
    uint8_t message[sizeof(struct saying)];
    size_t used, size = 0;
    struct ws_event event;

    ws_decoder_init(decoder, WS_CLIENT, sizeof message);
    while (member->own < member->words) {
        ws_decode(decoder, member->input + member->begin, member->end - member->begin, &used, message + size,
                  sizeof message - size, &event);
        member->begin += used;
        if (event.kind == WS_EVENT_MORE && read_more(member) <= 0)
            return false;
        must(member->room->world, event.kind != WS_EVENT_FAIL, "%s", event.why);
        if (event.kind == WS_EVENT_CLOSE || event.kind == WS_EVENT_FAIL)
            return false;
        if (event.kind != WS_EVENT_DATA)
            continue;
        size += event.size;
        if (!event.end)
            continue;
        must(member->room->world, size == sizeof message, "a message of %zu bytes", size);
        hear(member, &(struct saying){((struct saying *)(void *)message)->number, ((struct saying *)(void *)message)->member,
                                      ((struct saying *)(void *)message)->word});
        size = 0;
    }
    return true;
}

static bool hear_all(struct member *member)
{
    struct ws_decoder decoder;
    bool heard = hear_words(member, &decoder);

    ws_decoder_fini(&decoder);
    return heard;
}

static int take_part(void *arg)
{
    struct member *member = arg;
    struct room *room = member->room;
    bool stands;
    td_scope scope;
    int rc;

    td_sleep(td_us((int64_t)pick(20000)));
    rc = td_connect(&member->stream, ADDRESS);
    if (!must(room->world, rc == 0 || (room->harsh && is_network_error(rc)), "td_connect answered %d", rc) || rc < 0)
        return 0;
    if (shake_hands(member)) {
        td_scope_open(&scope);
        rc = td_spawn(&scope, speak, member);
        stands = rc == 0 && hear_all(member);
        must(room->world, stands || room->harsh || room->narrow, "%u of %u words came back", member->own, member->words);
        td_scope_cancel(&scope);
        td_scope_join(&scope);
        if (stands && !member->broken && one_in(2))
            send_frame(member, WS_CLOSE, "\x03\xe8", 2);
    } else {
        must(room->world, room->harsh, "no handshake");
    }
    td_stream_close(member->stream);
    return 0;
}

static int run(void *arg)
{
    struct room room = {.world = arg, .narrow = one_in(3)};
    td_http_opts opts = {.head_timeout = PATIENCE, .body_timeout = PATIENCE, .idle_timeout = PATIENCE, .send_timeout = PATIENCE};
    size_t count = 1 + pick(MEMBERS_MAX);
    td_scope server, scope;
    int rc = td_listen(&room.listener, ADDRESS, NULL);
    struct member *members = calloc(MEMBERS_MAX, sizeof *members);

    if (!members || !must(room.world, rc == 0, "td_listen answered %d", rc))
        return -ENOMEM;
    rc = td_http_server_open(&room.server, room.listener, &opts, host, &room);
    must(room.world, rc == 0, "td_http_server_open answered %d", rc);
    room.harsh = draw_faults();
    room.closes_at = TD_FOREVER;
    if (one_in(4)) {
        room.harsh = true;  /* the server goes down while they talk */
        room.closes_at = td_after(td_us((int64_t)pick(60000)));
    }
    td_scope_open(&server);
    td_spawn(&server, serve, &room);
    td_scope_open(&scope);
    for (size_t i = 0; i < count; i++) {
        members[i].room = &room;
        members[i].index = (uint32_t)i;
        members[i].words = 1 + (uint32_t)pick(WORDS_MAX);
        td_spawn(&scope, take_part, &members[i]);
    }
    rc = td_scope_join(&scope);
    must(room.world, rc == 0, "the members' scope answered %d", rc);
    td_scope_cancel(&server);
    td_scope_join(&server);
    for (size_t i = 0; i <= MEMBERS_MAX; i++)
        must(room.world, !room.present[i], "member %zu is still in the room", i);
    td_http_server_close(room.server);
    free(members);
    return 0;
}

const struct scenario scenario_chat = {"chat", run};
