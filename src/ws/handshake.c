/* SPDX-License-Identifier: MIT */
#include "ws/codec.h"

#include <errno.h>
#include <string.h>

#include <openssl/evp.h>

#define KEY_SIZE 24  /* 16 bytes in base64: 22 characters and two '=' */

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  /* RFC 6455, 1.3 */

static bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/*
 * Whether the key decodes to 16 bytes. The last character's four spare bits may be anything: the sample key of
 * RFC 6455, 4.1 ("AQIDBAUGBwgJCgsMDQ4PEC==") itself has some set.
 */
static bool key_valid(const char *key, size_t size)
{
    if (size != KEY_SIZE || key[KEY_SIZE - 2] != '=' || key[KEY_SIZE - 1] != '=')
        return false;
    for (size_t i = 0; i < KEY_SIZE - 2; i++)
        if (!is_base64(key[i]))
            return false;
    return true;
}

int ws_accept_key(const char *key, size_t key_size, char out[WS_ACCEPT_SIZE])
{
    char text[KEY_SIZE + sizeof guid - 1];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int digest_size = 0;

    if (!key_valid(key, key_size))
        return -EINVAL;
    memcpy(text, key, KEY_SIZE);
    memcpy(text + KEY_SIZE, guid, sizeof guid - 1);
    if (EVP_Digest(text, sizeof text, digest, &digest_size, EVP_sha1(), NULL) != 1)
        return -EIO;
    EVP_EncodeBlock((unsigned char *)out, digest, (int)digest_size);
    return 0;
}
