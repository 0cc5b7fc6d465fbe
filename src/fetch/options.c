/* SPDX-License-Identifier: MIT */
/* What the caller wants, in libcurl's words. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fetch/transfer.h"

#define CONNECT_TIMEOUT_MS 30000
#define RATE_SECONDS 30
#define NS_PER_MS 1000000
#define DAY_MS 86400000

#define AGENT "User-Agent: tandem/" TD_VERSION

/* Setting one option after the other, until one cannot be. */
struct setting {
    CURL *easy;
    CURLcode failed;
};

static void set_number(struct setting *setting, CURLoption option, long value)
{
    if (setting->failed == CURLE_OK)
        setting->failed = curl_easy_setopt(setting->easy, option, value);
}

static void set_size(struct setting *setting, CURLoption option, curl_off_t value)
{
    if (setting->failed == CURLE_OK)
        setting->failed = curl_easy_setopt(setting->easy, option, value);
}

static void set_text(struct setting *setting, CURLoption option, const char *value)
{
    if (setting->failed == CURLE_OK)
        setting->failed = curl_easy_setopt(setting->easy, option, value);
}

static void set_optional(struct setting *setting, CURLoption option, const char *value)
{
    if (value)
        set_text(setting, option, value);
}

static bool is_token(const char *text, size_t size)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        bool alnum = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');

        if (!alnum && (c == '\0' || !strchr(marks, c)))
            return false;
    }
    return size > 0;
}

static bool names(const char *line, size_t size, const char *name)
{
    return strlen(name) == size && strncasecmp(line, name, size) == 0;
}

static int add_line(struct transfer *transfer, const char *line)
{
    struct curl_slist *longer = curl_slist_append(transfer->fields, line);

    if (!longer)
        return -ENOMEM;
    transfer->fields = longer;
    return 0;
}

/* "Name: value", of `size` bytes; without a value libcurl wants "Name;". */
static int add_field(struct transfer *transfer, const char *field, size_t size)
{
    const char *colon = memchr(field, ':', size);
    size_t name = colon ? (size_t)(colon - field) : 0, value = name + 1;
    char *line;
    int rc;

    if (!is_token(field, name) || memchr(field, '\r', size) || memchr(field, '\n', size))
        return -EINVAL;
    if (names(field, name, "Content-Length") || names(field, name, "Transfer-Encoding"))
        return -EINVAL;  /* the framing is ours */
    while (value < size && (field[value] == ' ' || field[value] == '\t'))
        value++;
    line = strndup(field, size);
    if (!line)
        return -ENOMEM;
    if (value == size) {
        line[name] = ';';
        line[name + 1] = '\0';
    }
    rc = add_line(transfer, line);
    free(line);
    return rc;
}

static bool has_field(const struct transfer *transfer, const char *name)
{
    for (const struct curl_slist *at = transfer->fields; at; at = at->next)
        if (names(at->data, strcspn(at->data, ":;"), name))
            return true;
    return false;
}

static int add_fields(struct transfer *transfer)
{
    const td_http_fetch_opts *opts = transfer->opts;
    char type[300];
    int rc = 0;

    for (const char *at = opts->fields, *end; at && *at && rc == 0; at = end + 2) {
        end = strstr(at, "\r\n");
        if (!end)
            return -EINVAL;
        rc = add_field(transfer, at, (size_t)(end - at));
    }
    if (rc == 0 && opts->type) {
        int n = snprintf(type, sizeof type, "Content-Type: %s", opts->type);

        rc = n < (int)sizeof type ? add_field(transfer, type, (size_t)n) : -EINVAL;
    }
    /* libcurl has its own ideas of these, which nobody asked for: a form's type, and a second's wait for "100 Continue". */
    if (rc == 0 && !has_field(transfer, "Content-Type"))
        rc = add_line(transfer, "Content-Type:");
    if (rc == 0 && !has_field(transfer, "Expect"))
        rc = add_line(transfer, "Expect:");
    if (rc == 0 && !has_field(transfer, "User-Agent"))
        rc = add_line(transfer, AGENT);
    return rc;
}

static void set_body_size(struct transfer *transfer, struct setting *setting, CURLoption option)
{
    const td_http_fetch_opts *opts = transfer->opts;

    if (!opts->send)
        set_size(setting, option, (curl_off_t)opts->body_size);
    else if (opts->send_size > 0)
        set_size(setting, option, (curl_off_t)opts->send_size);
}

/* In words that let libcurl change the method rightly where it follows a redirect. */
static int set_method(struct transfer *transfer, struct setting *setting)
{
    const td_http_fetch_opts *opts = transfer->opts;
    bool body = opts->body || opts->send;
    const char *method = opts->method ? opts->method : body ? "POST" : "GET";

    if (!is_token(method, strlen(method)) || (opts->body && opts->send) || opts->send_size < 0)
        return -EINVAL;
    if (!opts->body && opts->body_size)
        return -EINVAL;
    if (strcmp(method, "PUT") == 0) {
        set_number(setting, CURLOPT_UPLOAD, 1);
        set_body_size(transfer, setting, CURLOPT_INFILESIZE_LARGE);
    } else if (body || strcmp(method, "POST") == 0) {
        set_number(setting, CURLOPT_POST, 1);
        set_body_size(transfer, setting, CURLOPT_POSTFIELDSIZE_LARGE);
        if (opts->send && opts->send_size == 0 && add_line(transfer, "Transfer-Encoding: chunked") < 0)
            return -ENOMEM;
        if (strcmp(method, "POST") != 0)
            set_text(setting, CURLOPT_CUSTOMREQUEST, method);
    } else if (strcmp(method, "HEAD") == 0) {
        set_number(setting, CURLOPT_NOBODY, 1);
    } else if (strcmp(method, "GET") != 0) {
        set_text(setting, CURLOPT_CUSTOMREQUEST, method);
    }
    if (opts->redirects_max == 0)
        return 0;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0 && strcmp(method, "POST") != 0 && strcmp(method, "PUT") != 0)
        return -EINVAL;
    transfer->follows = true;
    set_number(setting, CURLOPT_FOLLOWLOCATION, 1);
    set_number(setting, CURLOPT_MAXREDIRS, opts->redirects_max < 1000 ? (long)opts->redirects_max : 1000);
    return 0;
}

/*
 * Roots of trust. Where libcurl was built with a folder of them, that is enough, and a handshake reads the one or two files that
 * it needs; the file with all of them would take tens of milliseconds of the loop to parse.
 */
static void set_trust(const td_http_fetch_opts *opts, struct setting *setting)
{
    const curl_version_info_data *libcurl = curl_version_info(CURLVERSION_NOW);

    if (opts->ca_file) {
        set_text(setting, CURLOPT_CAINFO, opts->ca_file);
        set_text(setting, CURLOPT_CAPATH, NULL);
        set_text(setting, CURLOPT_PROXY_CAINFO, opts->ca_file);
        set_text(setting, CURLOPT_PROXY_CAPATH, NULL);
    } else if (libcurl->capath) {
        set_text(setting, CURLOPT_CAINFO, NULL);
        set_text(setting, CURLOPT_PROXY_CAINFO, NULL);
    }
    if (opts->insecure) {
        set_number(setting, CURLOPT_SSL_VERIFYPEER, 0);
        set_number(setting, CURLOPT_SSL_VERIFYHOST, 0);
        set_number(setting, CURLOPT_PROXY_SSL_VERIFYPEER, 0);
        set_number(setting, CURLOPT_PROXY_SSL_VERIFYHOST, 0);
    }
    set_number(setting, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    set_optional(setting, CURLOPT_SSLCERT, opts->cert_file);
    set_optional(setting, CURLOPT_SSLKEY, opts->key_file);
    set_optional(setting, CURLOPT_KEYPASSWD, opts->key_password);
}

static void set_who(const td_http_fetch_opts *opts, struct setting *setting)
{
    if (opts->user || opts->password) {
        set_number(setting, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        set_text(setting, CURLOPT_USERNAME, opts->user ? opts->user : "");
        set_text(setting, CURLOPT_PASSWORD, opts->password ? opts->password : "");
    }
    if (opts->bearer) {
        set_number(setting, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        set_text(setting, CURLOPT_XOAUTH2_BEARER, opts->bearer);
    }
}

static int set_version(const td_http_fetch_opts *opts, struct setting *setting, bool secure)
{
    switch (opts->version) {
    case 0:
        set_number(setting, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
        return 0;
    case 11:
        set_number(setting, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
        return 0;
    case 20:
        set_number(setting, CURLOPT_HTTP_VERSION, secure ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
        if (!secure && curl_version_info(CURLVERSION_NOW)->version_num < HTTP2_WELL_SINCE) {
            set_number(setting, CURLOPT_FRESH_CONNECT, 1);  /* 7.88 says its preface again on a connection that it reuses */
            set_number(setting, CURLOPT_FORBID_REUSE, 1);
        }
        return 0;
    default:
        return -EINVAL;
    }
}

static void set_limits(const td_http_fetch_opts *opts, struct setting *setting)
{
    td_time connect_ms = opts->connect_timeout / NS_PER_MS, rate_s = opts->rate_time / 1000 / NS_PER_MS;

    set_number(setting, CURLOPT_NOSIGNAL, 1);
    set_number(setting, CURLOPT_QUICK_EXIT, 1);  /* a lookup that is not wanted any more ends in its own thread: do not wait */
    set_number(setting, CURLOPT_CONNECTTIMEOUT_MS, connect_ms > 0 && connect_ms < DAY_MS ? (long)connect_ms : CONNECT_TIMEOUT_MS);
    if (opts->rate_min) {
        set_number(setting, CURLOPT_LOW_SPEED_LIMIT, (long)opts->rate_min);
        set_number(setting, CURLOPT_LOW_SPEED_TIME, rate_s > 0 && rate_s < DAY_MS / 1000 ? (long)rate_s : RATE_SECONDS);
    }
    set_number(setting, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1);
    if (!opts->raw)
        set_text(setting, CURLOPT_ACCEPT_ENCODING, "");  /* whatever libcurl can decode */
    set_optional(setting, CURLOPT_PROXY, opts->proxy);
}

/* Refuses what is no URL of ours before anything else is done. */
static int set_url(struct transfer *transfer, struct setting *setting, const char *url)
{
    CURLU *parsed = curl_url();
    char *scheme = NULL;
    CURLUcode rc = CURLUE_OUT_OF_MEMORY;
    bool secure;

    if (parsed)
        rc = curl_url_set(parsed, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);
    if (rc == CURLUE_OK)
        rc = curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0);
    curl_url_cleanup(parsed);
    if (rc == CURLUE_OUT_OF_MEMORY)
        return -ENOMEM;
    secure = rc == CURLUE_OK && strcmp(scheme, "https") == 0;
    if (rc != CURLUE_OK || (!secure && strcmp(scheme, "http") != 0)) {
        transfer->reason = rc == CURLUE_OK ? "only http and https are spoken" : "the URL is none";
        curl_free(scheme);
        return -EINVAL;
    }
    curl_free(scheme);
    set_text(setting, CURLOPT_URL, url);
    set_text(setting, CURLOPT_PROTOCOLS_STR, "http,https");
    set_text(setting, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
    return 0;
}

int transfer_configure(struct transfer *transfer, const char *url)
{
    struct setting setting = {transfer->member.easy, CURLE_OK};
    int rc = set_url(transfer, &setting, url);

    if (rc < 0)
        return rc;
    rc = add_fields(transfer);
    if (rc == 0)
        rc = set_method(transfer, &setting);
    if (rc == 0)
        rc = set_version(transfer->opts, &setting, strncasecmp(url, "https:", 6) == 0);
    if (rc < 0) {
        transfer->reason = rc == -EINVAL ? "an option is none: method, fields, type, body, version or redirects_max" : NULL;
        return rc;
    }
    if (setting.failed == CURLE_OK)
        setting.failed = curl_easy_setopt(setting.easy, CURLOPT_HTTPHEADER, transfer->fields);
    set_trust(transfer->opts, &setting);
    set_who(transfer->opts, &setting);
    set_limits(transfer->opts, &setting);
    return setting.failed == CURLE_OK ? 0 : setting.failed == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
}
