/* SPDX-License-Identifier: MIT */
#include "ws/answer.h"

#include <errno.h>
#include <string.h>

#include "http/codec.h"

#define VALUE_MAX 512

/* The fields that the handshake is about; each may come once. */
enum field { UPGRADE, CONNECTION, ACCEPT, PROTOCOL, EXTENSIONS, FIELDS };

static const char *const names[FIELDS] = {"Upgrade", "Connection", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol",
                                          "Sec-WebSocket-Extensions"};

struct fields {
    char value[FIELDS][VALUE_MAX];
    bool have[FIELDS];
};

static bool is_token(const char *text, size_t size)
{
    static const char bytes[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    for (size_t i = 0; i < size; i++)
        if (!text[i] || !strchr(bytes, text[i]))
            return false;
    return size > 0;
}

static bool is_value(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (((unsigned char)text[i] < ' ' && text[i] != '\t') || text[i] == 127)
            return false;
    return true;
}

/* Takes note of a value that matters. Connection may come in several lines, the others may not. */
static int keep(struct fields *fields, enum field which, const char *value, size_t size)
{
    char *kept = fields->value[which];
    size_t used = strlen(kept);

    if (fields->have[which] && which != CONNECTION)
        return -EPROTO;
    if (used + size + 3 > VALUE_MAX)
        return -EPROTO;
    if (fields->have[which])
        used += (size_t)(stpcpy(kept + used, ", ") - (kept + used));
    memcpy(kept + used, value, size);
    kept[used + size] = '\0';
    fields->have[which] = true;
    return 0;
}

/* One line, without its end. A folded one begins with a space, which no name does. */
static int read_line(struct fields *fields, const char *line, size_t size)
{
    const char *colon = memchr(line, ':', size), *value, *end = line + size;

    if (!colon || !is_token(line, (size_t)(colon - line)) || !is_value(colon + 1, (size_t)(end - colon - 1)))
        return -EPROTO;
    for (value = colon + 1; value < end && (*value == ' ' || *value == '\t'); value++)
        ;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    for (int i = 0; i < FIELDS; i++)
        if (http_same(line, (size_t)(colon - line), names[i]))
            return keep(fields, (enum field)i, value, (size_t)(end - value));
    return 0;
}

/* "HTTP/1.1 101 Switching Protocols". Returns the status, or -EPROTO. */
static int read_status(const char *line, size_t size)
{
    static const char version[] = "HTTP/1.1 ";
    const char *digit = line + sizeof version - 1;

    if (size < sizeof version + 2 || memcmp(line, version, sizeof version - 1) != 0)
        return -EPROTO;
    if (digit[0] < '1' || digit[0] > '5' || digit[1] < '0' || digit[1] > '9' || digit[2] < '0' || digit[2] > '9')
        return -EPROTO;
    if (size > sizeof version + 2 && (digit[3] != ' ' || !is_value(digit + 4, size - sizeof version - 3)))
        return -EPROTO;
    return (digit[0] - '0') * 100 + (digit[1] - '0') * 10 + (digit[2] - '0');
}

static int check(const struct fields *fields, const struct ws_asked *asked, struct ws_answer *answer)
{
    const char *protocol = fields->value[PROTOCOL];

    if (!fields->have[UPGRADE] || !http_same(fields->value[UPGRADE], strlen(fields->value[UPGRADE]), "websocket"))
        return -EPROTO;
    if (!fields->have[CONNECTION] || !http_list_has(fields->value[CONNECTION], "upgrade"))
        return -EPROTO;
    if (!fields->have[ACCEPT] || strcmp(fields->value[ACCEPT], asked->accept) != 0)
        return -EPROTO;
    if (fields->have[EXTENSIONS] && !asked->deflate)
        return -EPROTO;
    if (fields->have[EXTENSIONS] && ws_extension_agree(fields->value[EXTENSIONS], asked->deflate, &answer->terms) < 0)
        return -EPROTO;
    answer->deflate = fields->have[EXTENSIONS];
    if (fields->have[PROTOCOL] && (strlen(protocol) >= WS_PROTOCOL_MAX || !ws_protocols_have(asked->protocols, protocol)))
        return -EPROTO;
    memcpy(answer->protocol, protocol, strlen(protocol) + 1);
    return 0;
}

int ws_answer_read(const char *head, size_t size, const struct ws_asked *asked, struct ws_answer *answer)
{
    struct fields fields = {0};
    const char *line = head, *end = head + size, *next;

    *answer = (struct ws_answer){0};
    for (; line < end; line = next + 2) {
        int rc = 0;

        next = memmem(line, (size_t)(end - line), "\r\n", 2);
        if (!next)
            return -EPROTO;
        if (line == head)
            rc = answer->status = read_status(line, (size_t)(next - line));
        else if (next > line)
            rc = read_line(&fields, line, (size_t)(next - line));
        else if (next + 2 != end)
            return -EPROTO;
        if (rc < 0)
            return rc;
    }
    if (answer->status != 101)
        return answer->status ? -EACCES : -EPROTO;
    return check(&fields, asked, answer);
}
