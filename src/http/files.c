/* SPDX-License-Identifier: MIT */
#include "tandem/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/accept.h"
#include "http/exchange.h"
#include "http/files_open.h"
#include "http/range.h"
#include "http/validators.h"

#define PATH_BYTES 4096
#define PIECE (64 * 1024)
#define FIELDS_BYTES 700

struct td_http_files {
    int root;
};

/* A file that is being sent. */
struct sending {
    td_http *http;
    struct td_task *self;
    int fd;
    struct stat status;
    const char *type;
    bool gzip, varies;                /* it is the .gz of what was asked for; there is one */
    struct http_validators validators;
    char fields[FIELDS_BYTES];
};

int td_http_files_open(td_http_files **out, const char *root)
{
    struct td_task *self = task_self(__func__);
    struct io_call call = {.path = root, .flags = O_PATH | O_DIRECTORY | O_CLOEXEC};
    td_http_files *files = malloc(sizeof *files);

    *out = NULL;
    if (!files)
        return -ENOMEM;
    files->root = file_call(self, IO_OPEN, &call, "a folder to open");
    if (files->root < 0) {
        int rc = files->root;

        free(files);
        return rc;
    }
    *out = files;
    return 0;
}

void td_http_files_close(td_http_files *files)
{
    (void)file_close_descriptor(task_self(__func__), files->root);
    free(files);
}

static int say(td_http *http, int status, const char *fields)
{
    char text[64];
    int n = snprintf(text, sizeof text, "%d %s\n", status, http_reason(status));

    return td_http_respond(http, status, fields, "text/plain", text, (size_t)n);
}

/* Hidden files are: versions, keys, settings. And ".." is one of them. */
static bool is_hidden(const char *path)
{
    for (const char *at = path; *at; at += strcspn(at, "/")) {
        at += strspn(at, "/");
        if (*at == '.' && (strncmp(at, ".well-known", 11) != 0 || (at[11] != '/' && at[11] != '\0')))
            return true;
    }
    return false;
}

static int say_error(td_http *http, int error)
{
    switch (error) {
    case -EACCES:
    case -EPERM:
        return say(http, 403, NULL);
    case -ENOENT:
    case -ENOTDIR:
    case -EXDEV:
    case -ELOOP:
    case -ENAMETOOLONG:
    case -ENXIO:
    case -ENODEV:
    case -EISDIR:
        return say(http, 404, NULL);
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
        return say(http, 503, "Retry-After: 1\r\n");
    default:
        return error;
    }
}

/* To the same name with a slash, so that the links in its index lead where they should. Relative: who knows what is before it. */
static int say_folder(td_http *http, const char *path)
{
    static const char plain[] = "-._~!$&'()*+,;=@";
    const char *name = strrchr(path, '/');
    char fields[3 * NAME_MAX + 32], *at = fields;

    name = name ? name + 1 : path;
    if (strlen(name) > NAME_MAX)
        return say(http, 404, NULL);
    at = stpcpy(at, "Location: ./");
    for (; *name; name++) {
        unsigned char c = (unsigned char)*name;
        bool letter = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');

        if (letter || strchr(plain, c))
            *at++ = (char)c;
        else
            at += snprintf(at, 4, "%%%02X", c);
    }
    stpcpy(at, "/\r\n");
    return say(http, 301, fields);
}

/* NAME.gz, where there is one that is no older: takes the file's place if the client likes that. Returns 0 or -ECANCELED. */
static int choose_gzip(struct sending *sending, int root, const char *path)
{
    char other[PATH_BYTES + 4];
    struct stat status;
    int fd;

    if (!http_type_compresses(sending->type))
        return 0;
    snprintf(other, sizeof other, "%s.gz", path);
    fd = files_open_below(sending->self, root, other, &status);
    if (fd < 0)
        return fd == -ECANCELED ? fd : 0;
    sending->varies = S_ISREG(status.st_mode) && status.st_mtime >= sending->status.st_mtime;
    sending->gzip = sending->varies && http_accepts_gzip(td_http_field(sending->http, "Accept-Encoding"));
    if (sending->gzip) {
        int plain = sending->fd;

        sending->fd = fd;
        sending->status = status;
        fd = plain;
    }
    (void)file_close_descriptor(sending->self, fd);
    return 0;
}

static void describe(struct sending *sending)
{
    const struct stat *status = &sending->status;
    char date[HTTP_DATE_BYTES];

    http_etag_of_file(sending->validators.etag, status->st_ino, (uint64_t)status->st_size,
                      (int64_t)status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec);
    sending->validators.modified = status->st_mtime;
    http_format_date(date, status->st_mtime);
    snprintf(sending->fields, sizeof sending->fields, "ETag: %s\r\nLast-Modified: %s\r\nAccept-Ranges: bytes\r\n"
             "X-Content-Type-Options: nosniff\r\n%s%s", sending->validators.etag, date,
             sending->gzip ? "Content-Encoding: gzip\r\n" : "", sending->varies ? "Vary: Accept-Encoding\r\n" : "");
}

/* A piece of the file. The buffer is of PIECE bytes. */
static int send_bytes(struct sending *sending, char *buffer, int64_t begin, int64_t size)
{
    while (size > 0) {
        struct io_call call = {.fd = sending->fd, .data = buffer, .size = size < PIECE ? (size_t)size : PIECE, .offset = begin};
        int n = file_call(sending->self, IO_READ_AT, &call, "bytes of a file");
        int rc;

        if (n <= 0)
            return n < 0 ? n : -EIO;  /* it is shorter than it was when its size was told */
        rc = td_http_write(sending->http, buffer, (size_t)n);
        if (rc < 0)
            return rc;
        begin += n;
        size -= n;
    }
    return 0;
}

static const char *boundary_of(const struct sending *sending, char out[HTTP_ETAG_BYTES])
{
    snprintf(out, HTTP_ETAG_BYTES, "tandem-%llx-%llx", (unsigned long long)sending->status.st_ino,
             (unsigned long long)sending->status.st_mtim.tv_nsec);
    return out;
}

/* The lines before a part of several, and their length. */
static int part_head(const struct sending *sending, const struct http_range *range, char *out, size_t size)
{
    char boundary[HTTP_ETAG_BYTES];

    return snprintf(out, size, "\r\n--%s\r\nContent-Type: %s\r\nContent-Range: bytes %lld-%lld/%lld\r\n\r\n",
                    boundary_of(sending, boundary), sending->type, (long long)range->begin,
                    (long long)(range->begin + range->size - 1), (long long)sending->status.st_size);
}

static int send_parts(struct sending *sending, char *buffer, const struct http_range *ranges, int count)
{
    char text[400], boundary[HTTP_ETAG_BYTES], type[HTTP_ETAG_BYTES + 40];
    td_http_answer answer = {.status = 206, .fields = sending->fields, .type = type};
    int rc, n;

    boundary_of(sending, boundary);
    snprintf(type, sizeof type, "multipart/byteranges; boundary=%s", boundary);
    for (int i = 0; i < count; i++)
        answer.size += part_head(sending, &ranges[i], NULL, 0) + ranges[i].size;
    answer.size += (int64_t)strlen(boundary) + 8;
    rc = td_http_begin(sending->http, &answer);
    for (int i = 0; i < count && rc == 0; i++) {
        n = part_head(sending, &ranges[i], text, sizeof text);
        rc = td_http_write(sending->http, text, (size_t)n);
        if (rc == 0)
            rc = send_bytes(sending, buffer, ranges[i].begin, ranges[i].size);
    }
    n = snprintf(text, sizeof text, "\r\n--%s--\r\n", boundary);
    return rc == 0 ? td_http_write(sending->http, text, (size_t)n) : rc;
}

static int send_one(struct sending *sending, char *buffer, const struct http_range *range)
{
    struct http_range whole = {0, sending->status.st_size};
    td_http_answer answer = {.status = range ? 206 : 200, .fields = sending->fields, .type = sending->type};
    size_t used = strlen(sending->fields);
    int rc;

    if (range)
        snprintf(sending->fields + used, sizeof sending->fields - used, "Content-Range: bytes %lld-%lld/%lld\r\n",
                 (long long)range->begin, (long long)(range->begin + range->size - 1), (long long)whole.size);
    range = range ? range : &whole;
    answer.size = range->size;
    rc = td_http_begin(sending->http, &answer);
    if (rc < 0 || strcmp(td_http_method(sending->http), "HEAD") == 0)
        return rc;
    return send_bytes(sending, buffer, range->begin, range->size);
}

static int send_ranges(struct sending *sending, char *buffer)
{
    struct http_range ranges[HTTP_RANGES_MAX];
    const char *range = td_http_field(sending->http, "Range");
    char fields[64];
    int count = 0;

    if (range && strcmp(td_http_method(sending->http), "GET") == 0 &&
        http_if_range_holds(td_http_field(sending->http, "If-Range"), &sending->validators))
        count = http_ranges(range, sending->status.st_size, ranges);
    if (count < 0) {
        snprintf(fields, sizeof fields, "Content-Range: bytes */%lld\r\n", (long long)sending->status.st_size);
        return say(sending->http, 416, fields);
    }
    return count > 1 ? send_parts(sending, buffer, ranges, count) : send_one(sending, buffer, count ? ranges : NULL);
}

static int answer(struct sending *sending)
{
    td_http *http = sending->http;
    struct http_conditions conditions = {
        .if_match = td_http_field(http, "If-Match"),
        .if_none_match = td_http_field(http, "If-None-Match"),
        .if_modified_since = td_http_field(http, "If-Modified-Since"),
        .if_unmodified_since = td_http_field(http, "If-Unmodified-Since"),
    };
    char *buffer;
    int rc;

    describe(sending);
    rc = http_evaluate(&conditions, &sending->validators);
    if (rc == 304) {
        rc = td_http_begin(http, &(td_http_answer){.status = 304, .fields = sending->fields, .size = -1});
        return rc < 0 ? rc : td_http_end(http, NULL);
    }
    if (rc == 412)
        return say(http, 412, NULL);
    buffer = malloc(PIECE);
    if (!buffer)
        return say_error(http, -ENOMEM);
    rc = send_ranges(sending, buffer);
    free(buffer);
    return rc == 0 && http->phase == ANSWERING ? td_http_end(http, NULL) : rc;
}

int td_http_send_file(td_http *http, td_http_files *files, const char *path)
{
    struct sending sending = {.http = http, .self = task_self(__func__)};
    const char *method = td_http_method(http);
    char full[PATH_BYTES];
    size_t size;
    int rc;

    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return say(http, 405, "Allow: GET, HEAD\r\n");
    path += strspn(path, "/");
    size = strlen(path);
    if (size + sizeof "index.html" > sizeof full || is_hidden(path))
        return say(http, 404, NULL);
    snprintf(full, sizeof full, "%s%s", path, size == 0 || path[size - 1] == '/' ? "index.html" : "");
    sending.fd = files_open_below(sending.self, files->root, full, &sending.status);
    if (sending.fd < 0)
        return say_error(http, sending.fd);
    sending.type = http_type_of(full);
    if (S_ISDIR(sending.status.st_mode))
        rc = say_folder(http, full);
    else if (!S_ISREG(sending.status.st_mode))
        rc = say(http, 404, NULL);
    else if ((rc = choose_gzip(&sending, files->root, full)) == 0)
        rc = answer(&sending);
    (void)file_close_descriptor(sending.self, sending.fd);
    return rc;
}
