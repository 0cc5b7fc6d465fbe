/* SPDX-License-Identifier: MIT */
/*
 * The grammar of RFC 6455, 9.1, in the notation of RFC 2616 it refers to (white space between any two words, empty
 * elements of a list):
 *
 *   list = 1#(token *(";" token ["=" (token | quoted-string)])), and a quoted string holds a token
 */
#include "ws/extension.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BITS_MAX 15
#define VALUE_MAX 3  /* characters of a value that are looked at: none of ours has more than two */

enum {
    SERVER_NO_CONTEXT = 1,
    CLIENT_NO_CONTEXT = 2,
    SERVER_BITS = 4,
    CLIENT_BITS = 8,
};

static const struct {
    const char *name;
    unsigned flag;
} parameters[] = {
    {"server_no_context_takeover", SERVER_NO_CONTEXT},
    {"client_no_context_takeover", CLIENT_NO_CONTEXT},
    {"server_max_window_bits", SERVER_BITS},
    {"client_max_window_bits", CLIENT_BITS},
};

/* One element of the list. */
struct element {
    bool is_deflate;
    bool flawed;             /* an unknown parameter, one given twice, or a bad value */
    unsigned given;          /* flags */
    uint8_t server_bits, client_bits;  /* 0: no value */
};

struct word {
    const char *at;
    size_t size;
};

static bool is_token_char(char c)
{
    return c > ' ' && c < 0x7F && !strchr("()<>@,;:\\\"/[]?={}", c);
}

static void skip_space(const char **at)
{
    while (**at == ' ' || **at == '\t')
        (*at)++;
}

static bool read_token(const char **at, struct word *word)
{
    skip_space(at);
    word->at = *at;
    while (is_token_char(**at))
        (*at)++;
    word->size = (size_t)(*at - word->at);
    skip_space(at);
    return word->size > 0;
}

/* Reads a value to `value`, the rest of a long one left out. */
static bool read_value(const char **at, char value[VALUE_MAX + 1])
{
    size_t size = 0, kept;
    bool quoted;

    skip_space(at);
    quoted = **at == '"';
    if (quoted)
        (*at)++;
    for (; ; (*at)++, size++) {
        if (quoted && **at == '\\')
            (*at)++;
        if (!is_token_char(**at))
            break;
        if (size < VALUE_MAX)
            value[size] = **at;
    }
    kept = size < VALUE_MAX ? size : VALUE_MAX;
    value[kept] = '\0';
    if (quoted && *(*at)++ != '"')
        return false;
    skip_space(at);
    return size > 0;
}

/* "8" to "15", without leading zeros; 0 for anything else. */
static uint8_t bits_of(const char *value)
{
    if ((value[0] == '8' || value[0] == '9') && value[1] == '\0')
        return (uint8_t)(value[0] - '0');
    if (value[0] == '1' && value[1] >= '0' && value[1] <= '5' && value[2] == '\0')
        return (uint8_t)(10 + value[1] - '0');
    return 0;
}

/* Notes a parameter. `value` is NULL when it has none. */
static void note(struct element *element, const struct word *name, const char *value)
{
    uint8_t bits = value ? bits_of(value) : 0;
    unsigned flag = 0;

    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++)
        if (strlen(parameters[i].name) == name->size && memcmp(parameters[i].name, name->at, name->size) == 0)
            flag = parameters[i].flag;
    if (flag == 0 || (element->given & flag) != 0)
        element->flawed = true;
    else if ((flag & (SERVER_NO_CONTEXT | CLIENT_NO_CONTEXT)) != 0 ? value != NULL : value != NULL && bits == 0)
        element->flawed = true;
    element->given |= flag;
    if (flag == SERVER_BITS)
        element->server_bits = bits;
    if (flag == CLIENT_BITS)
        element->client_bits = bits;
}

/* Reads the next element of the list. Returns 1; 0 at the list's end; -EPROTO. */
static int read_element(const char **at, struct element *element)
{
    static const char deflate[] = "permessage-deflate";
    char value[VALUE_MAX + 1];
    struct word word;

    *element = (struct element){.given = 0};
    for (skip_space(at); **at == ','; skip_space(at))
        (*at)++;
    if (**at == '\0')
        return 0;
    if (!read_token(at, &word))
        return -EPROTO;
    element->is_deflate = word.size == sizeof deflate - 1 && memcmp(word.at, deflate, word.size) == 0;
    while (**at == ';') {
        bool has_value;

        (*at)++;
        if (!read_token(at, &word))
            return -EPROTO;
        has_value = **at == '=';
        if (has_value) {
            (*at)++;
            if (!read_value(at, value))
                return -EPROTO;
        }
        note(element, &word, has_value ? value : NULL);
    }
    return **at == '\0' || **at == ',' ? 1 : -EPROTO;
}

static uint8_t smaller(uint8_t a, uint8_t b)
{
    return a < b ? a : b;
}

/* What a server makes of an acceptable offer. */
static void terms_of(const struct element *offer, const struct ws_deflate_wish *wish, struct ws_deflate_terms *terms)
{
    terms->server_keeps = wish->keep_context && (offer->given & SERVER_NO_CONTEXT) == 0;
    terms->client_keeps = wish->keep_context && (offer->given & CLIENT_NO_CONTEXT) == 0;
    terms->server_bits = smaller(offer->server_bits ? offer->server_bits : BITS_MAX, wish->window_bits);
    terms->client_bits = BITS_MAX;
    if ((offer->given & CLIENT_BITS) != 0)  /* only then the answer may limit it: RFC 7692, 7.1.2.2 */
        terms->client_bits = smaller(offer->client_bits ? offer->client_bits : BITS_MAX, wish->window_bits);
}

static void write_answer(const struct element *offer, const struct ws_deflate_terms *terms, char answer[WS_EXTENSION_MAX])
{
    char server_bits[32] = "", client_bits[32] = "";

    if ((offer->given & SERVER_BITS) != 0 || terms->server_bits < BITS_MAX)
        snprintf(server_bits, sizeof server_bits, "; server_max_window_bits=%d", terms->server_bits);
    if (terms->client_bits < BITS_MAX)
        snprintf(client_bits, sizeof client_bits, "; client_max_window_bits=%d", terms->client_bits);
    snprintf(answer, WS_EXTENSION_MAX, "permessage-deflate%s%s%s%s",
             terms->server_keeps ? "" : "; server_no_context_takeover",
             terms->client_keeps ? "" : "; client_no_context_takeover", server_bits, client_bits);
}

int ws_extension_answer(const char *offers, const struct ws_deflate_wish *wish, struct ws_deflate_terms *terms,
                        char answer[WS_EXTENSION_MAX])
{
    struct element element;
    int agreed = 0, count = 0, rc;

    for (const char *at = offers; (rc = read_element(&at, &element)) > 0; count++) {
        if (agreed || !element.is_deflate || element.flawed ||
            ((element.given & SERVER_BITS) != 0 && element.server_bits == 0))
            continue;  /* go on: whatever follows must be well-formed too */
        terms_of(&element, wish, terms);
        write_answer(&element, terms, answer);
        agreed = 1;
    }
    return rc < 0 || count == 0 ? -EPROTO : agreed;
}

void ws_extension_offer(const struct ws_deflate_wish *wish, char offer[WS_EXTENSION_MAX])
{
    char bits[64] = "; client_max_window_bits";

    if (wish->window_bits < BITS_MAX)
        snprintf(bits, sizeof bits, "; server_max_window_bits=%d; client_max_window_bits=%d", wish->window_bits,
                 wish->window_bits);
    snprintf(offer, WS_EXTENSION_MAX, "permessage-deflate%s%s",
             wish->keep_context ? "" : "; server_no_context_takeover; client_no_context_takeover", bits);
}

int ws_extension_agree(const char *answer, const struct ws_deflate_wish *wish, struct ws_deflate_terms *terms)
{
    struct element element, more;

    if (read_element(&answer, &element) <= 0 || read_element(&answer, &more) != 0)
        return -EPROTO;
    if (!element.is_deflate || element.flawed)
        return -EPROTO;
    if (((element.given & SERVER_BITS) != 0 && element.server_bits == 0) ||
        ((element.given & CLIENT_BITS) != 0 && element.client_bits == 0))
        return -EPROTO;
    if (!wish->keep_context && (element.given & SERVER_NO_CONTEXT) == 0)
        return -EPROTO;
    if (wish->window_bits < BITS_MAX && (element.server_bits == 0 || element.server_bits > wish->window_bits))
        return -EPROTO;
    terms->server_keeps = (element.given & SERVER_NO_CONTEXT) == 0;
    terms->client_keeps = wish->keep_context && (element.given & CLIENT_NO_CONTEXT) == 0;
    terms->server_bits = element.server_bits ? element.server_bits : BITS_MAX;
    terms->client_bits = smaller(element.client_bits ? element.client_bits : BITS_MAX, wish->window_bits);
    return 1;
}
