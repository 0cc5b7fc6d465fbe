/* SPDX-License-Identifier: MIT */
#include "http/accept.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#define NOT_NAMED (-1)

/* A weight of 0 to 1000 (RFC 9110, 12.4.2); one that is malformed counts as 0: better the plain bytes. */
static int weight(const char *at)
{
    int value, scale = 100;

    at += strspn(at, " \t");
    if (*at != ';')
        return 1000;
    at++;
    at += strspn(at, " \t");
    if ((*at | 32) != 'q' || at[1] != '=' || (at[2] != '0' && at[2] != '1'))
        return 0;
    value = (at[2] - '0') * 1000;
    if (at[3] == '.')
        for (at += 4; *at >= '0' && *at <= '9' && scale > 0; at++, scale /= 10)
            value += (*at - '0') * scale;
    return value > 1000 ? 0 : value;
}

bool http_accepts_gzip(const char *accept_encoding)
{
    int gzip = NOT_NAMED, identity = NOT_NAMED, others = NOT_NAMED;

    for (const char *at = accept_encoding; at && *at; at += strcspn(at, ",")) {
        size_t size;

        at += strspn(at, " \t,");
        size = strcspn(at, " \t;,");
        if ((size == 4 && strncasecmp(at, "gzip", 4) == 0) || (size == 6 && strncasecmp(at, "x-gzip", 6) == 0))
            gzip = weight(at + size);
        else if (size == 8 && strncasecmp(at, "identity", 8) == 0)
            identity = weight(at + size);
        else if (size == 1 && *at == '*')
            others = weight(at + size);
    }
    if (gzip == NOT_NAMED)
        gzip = others;
    return gzip > 0 && gzip >= identity;
}

static const struct { const char *ending, *type; } types[] = {
    {"html", "text/html; charset=utf-8"}, {"htm", "text/html; charset=utf-8"}, {"css", "text/css; charset=utf-8"},
    {"js", "text/javascript; charset=utf-8"}, {"mjs", "text/javascript; charset=utf-8"}, {"json", "application/json"},
    {"map", "application/json"}, {"webmanifest", "application/manifest+json"}, {"txt", "text/plain; charset=utf-8"},
    {"md", "text/markdown; charset=utf-8"}, {"csv", "text/csv; charset=utf-8"}, {"xml", "application/xml"},
    {"rss", "application/rss+xml"}, {"atom", "application/atom+xml"}, {"svg", "image/svg+xml"}, {"png", "image/png"},
    {"jpg", "image/jpeg"}, {"jpeg", "image/jpeg"}, {"gif", "image/gif"}, {"webp", "image/webp"}, {"avif", "image/avif"},
    {"ico", "image/x-icon"}, {"bmp", "image/bmp"}, {"woff", "font/woff"}, {"woff2", "font/woff2"}, {"ttf", "font/ttf"},
    {"otf", "font/otf"}, {"wasm", "application/wasm"}, {"pdf", "application/pdf"}, {"zip", "application/zip"},
    {"gz", "application/gzip"}, {"tar", "application/x-tar"}, {"wav", "audio/wav"}, {"mp3", "audio/mpeg"},
    {"ogg", "audio/ogg"}, {"opus", "audio/ogg"}, {"flac", "audio/flac"}, {"m4a", "audio/mp4"}, {"aac", "audio/aac"},
    {"mp4", "video/mp4"}, {"webm", "video/webm"}, {"mov", "video/quicktime"}, {"mkv", "video/x-matroska"},
};

const char *http_type_of(const char *path)
{
    const char *name = strrchr(path, '/'), *dot = strrchr(name ? name : path, '.');

    for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++)
        if (strcasecmp(dot + 1, types[i].ending) == 0)
            return types[i].type;
    return "application/octet-stream";
}

bool http_type_compresses(const char *type)
{
    static const char *const names[] = {"application/json", "application/javascript", "application/xml", "application/wasm",
                                        "application/x-ndjson", "image/svg+xml", "image/bmp", "font/ttf", "font/otf"};
    size_t size = type ? strcspn(type, "; \t") : 0;

    if (size >= 5 && strncasecmp(type, "text/", 5) == 0)
        return strncasecmp(type, "text/event-stream", 17) != 0;  /* each event is to leave at once */
    if (size > 5 && (strncasecmp(type + size - 5, "+json", 5) == 0 || strncasecmp(type + size - 4, "+xml", 4) == 0))
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == size && strncasecmp(type, names[i], size) == 0)
            return true;
    return false;
}
