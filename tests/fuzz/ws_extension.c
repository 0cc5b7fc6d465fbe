/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the parser of Sec-WebSocket-Extensions. An input is one byte of wishes and a field's value. What is answered must
 * be an answer that a client takes, with the same terms.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ws/extension.h"

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_terms(const struct ws_deflate_wish *wish, const struct ws_deflate_terms *terms)
{
    require(terms->server_bits >= 8 && terms->server_bits <= 15 && terms->client_bits >= 8 && terms->client_bits <= 15);
    require(wish->keep_context || !terms->client_keeps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ws_deflate_wish anything = {true, 15};
    struct ws_deflate_terms terms, theirs;
    struct ws_deflate_wish wish;
    char answer[WS_EXTENSION_MAX], *value;
    int rc;

    if (size < 1)
        return 0;
    wish = (struct ws_deflate_wish){(data[0] & 1) != 0, (uint8_t)(9 + (data[0] >> 1) % 7)};
    value = malloc(size);
    require(value != NULL);
    memcpy(value, data + 1, size - 1);
    value[size - 1] = '\0';
    rc = ws_extension_answer(value, &wish, &terms, answer);
    require(rc == 0 || rc == 1 || rc == -EPROTO);
    if (rc == 1) {
        check_terms(&wish, &terms);
        require(strlen(answer) < WS_EXTENSION_MAX && terms.server_bits <= wish.window_bits);
        require(ws_extension_agree(answer, &anything, &theirs) == 1);
        require(theirs.server_keeps == terms.server_keeps && theirs.server_bits == terms.server_bits);
        require(theirs.client_keeps == terms.client_keeps && theirs.client_bits == terms.client_bits);
    }
    rc = ws_extension_agree(value, &wish, &theirs);
    require(rc == 1 || rc == -EPROTO);
    if (rc == 1) {
        check_terms(&wish, &theirs);
        require(ws_extension_answer(value, &anything, &terms, answer) == 1);
    }
    free(value);
    return 0;
}
