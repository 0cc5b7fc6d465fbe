/* SPDX-License-Identifier: MIT */
#include "ws/codec.h"

#include <assert.h>
#include <string.h>

#include "ws/mask.h"

#define CONTROL 0x08
#define MASKED 0x80
#define LENGTH_16 126
#define LENGTH_64 127

static void write_big_endian(uint8_t *bytes, size_t size, uint64_t value)
{
    for (size_t i = size; i-- > 0; value >>= 8)
        bytes[i] = (uint8_t)value;
}

size_t ws_encode_head(uint8_t out[WS_HEADER_MAX], unsigned first, uint64_t size, const uint8_t mask[WS_MASK_SIZE])
{
    size_t at = size < LENGTH_16 ? 2 : size <= UINT16_MAX ? 4 : 10;

    assert(size <= ((first & CONTROL) != 0 ? WS_CONTROL_MAX : INT64_MAX));
    out[0] = (uint8_t)first;
    out[1] = at == 2 ? (uint8_t)size : at == 4 ? LENGTH_16 : LENGTH_64;
    write_big_endian(out + 2, at - 2, size);
    if (mask == NULL)
        return at;
    out[1] |= MASKED;
    memcpy(out + at, mask, WS_MASK_SIZE);
    return at + WS_MASK_SIZE;
}

size_t ws_encode_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, uint64_t size)
{
    return ws_encode_head(out, WS_FIN | (unsigned)opcode, size, NULL);
}

size_t ws_encode_frame(uint8_t *out, unsigned first, const uint8_t mask[WS_MASK_SIZE], const void *payload, size_t size)
{
    size_t at = ws_encode_head(out, first, size, mask);

    if (size > 0)
        ws_mask(out + at, payload, size, mask != NULL ? ws_key_read(mask) : 0);
    return at + size;
}

size_t ws_encode_close_payload(uint8_t out[WS_CONTROL_MAX], uint16_t code, const char *reason)
{
    size_t size = strnlen(reason, WS_CONTROL_MAX - 1);

    if (code == WS_CLOSE_NO_CODE)
        return 0;
    assert(ws_close_code_valid(code));
    if (size > WS_CONTROL_MAX - 2)
        for (size--; size > 0 && ((uint8_t)reason[size] & 0xC0) == 0x80;)
            size--;
    write_big_endian(out, 2, code);
    memcpy(out + 2, reason, size);
    return 2 + size;
}

size_t ws_encode_close(uint8_t out[2 + WS_CONTROL_MAX], uint16_t code, const char *reason)
{
    size_t size = ws_encode_close_payload(out + 2, code, reason);

    return ws_encode_header(out, WS_CLOSE, size) + size;
}

/* 1004 to 1006 and 1015 never travel; IANA registered 1012 to 1014 later; 3000 to 4999 are anyone's: RFC 6455, 7.4. */
bool ws_close_code_valid(uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}
