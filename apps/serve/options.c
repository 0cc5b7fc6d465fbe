/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>

#define FILES_MAX 100000000   /* containers may have no limit to speak of */
#define DESCRIPTORS_KEPT 256  /* for pipes, refused connections and the like, of those a process may have */
#define DESCRIPTORS_WORKER 3  /* for each pool worker */
#define WORKER_MEMORY_MIN (1024 * 1024)

static const char usage[] =
    "usage: tandem serve [OPTION...]\n"
    "\n"
    "  --listen ADDR:PORT       where to listen (127.0.0.1:8080; port 0: any free one)\n"
    "  --workers N|auto         server processes on the port (1; auto: one for each core)\n"
    "  --pool N                 pool workers of each, for computing (cores divided by workers, at least 1)\n"
    "  --audio-pool N           more of them for audio alone (as many as --pool)\n"
    "  --pool-kind KIND         processes or threads (processes)\n"
    "  --queue N                jobs a pool holds beyond those running (64)\n"
    "  --when-full POLICY       reject, wait or drop-oldest (reject)\n"
    "  --queue-bytes SIZE       and the shared memory they may hold (half of what there is)\n"
    "  --delay-target MS        refuse jobs while all have waited longer than this (none)\n"
    "  --cancel-running         end running jobs whose client has left, too\n"
    "  --worker-memory SIZE     bytes that a worker process may add to what it begins with (any)\n"
    "  --strict-workers         worker processes may only compute: no files, no sockets, inputs read-only\n"
    "  --backend NAME           auto, uring or epoll (auto)\n"
    "  --tls-cert FILE          speak TLS with this certificate, PEM, its intermediates behind it; several, each with its key:\n"
    "                           the client's wish (SNI) decides\n"
    "  --tls-key FILE           the key of the certificate before it\n"
    "  --tls-client-ca FILE     only clients with a certificate from one of these\n"
    "  --allow-origin LIST      whose web pages may open WebSockets: https://a.example,https://b.example, or * for all\n"
    "                           (those that this server itself gave out)\n"
    "  --max-connections N      more are answered 503 (what the limit on open files allows)\n"
    "  --drain SECONDS          time to finish after SIGTERM (10)\n"
    "  --log FORMAT             text or json (text)\n"
    "  --enable-test-ops        also allow the operations crash, eat and hang\n"
    "  --help\n";

struct word {
    const char *text;
    int value;
};

static int wrong(const char *option, const char *value, const char *expected)
{
    fprintf(stderr, "tandem: --%s cannot be \"%s\"\n        give it %s; tandem serve --help lists all options\n", option, value,
            expected);
    return 2;
}

/* Decimal digits only: strtoul alone would accept signs, spaces and what follows. */
static bool read_number(const char *text, unsigned long max, unsigned long *value)
{
    if (!*text || strspn(text, "0123456789") != strlen(text) || strlen(text) > 18)
        return false;
    *value = strtoul(text, NULL, 10);
    return *value <= max;
}

/* Bytes, or with a suffix K, M or G their multiples by 1024. */
static bool read_size(const char *text, size_t min, size_t *size)
{
    static const char suffixes[] = "KMG";
    size_t digits = strspn(text, "0123456789");
    const char *suffix = text[digits] ? strchr(suffixes, text[digits]) : NULL;
    unsigned shift = suffix ? 10 * (unsigned)(suffix - suffixes + 1) : 0;

    if (digits == 0 || digits > 15 || (text[digits] && (!suffix || text[digits + 1])))
        return false;
    *size = strtoull(text, NULL, 10);
    if (*size > SIZE_MAX >> (shift + 1))
        return false;
    *size <<= shift;
    return *size >= min;
}

static bool read_word(const char *text, const struct word *words, int *value)
{
    for (; words->text; words++) {
        if (strcmp(words->text, text) == 0) {
            *value = words->value;
            return true;
        }
    }
    return false;
}

static bool read_seconds(const char *text, td_time *ns)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end || !(seconds >= 0 && seconds <= 86400))
        return false;
    *ns = (td_time)(seconds * 1e9);
    return true;
}

static unsigned cores(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

enum { OPT_LISTEN = 1, OPT_WORKERS, OPT_POOL, OPT_AUDIO_POOL, OPT_POOL_KIND, OPT_QUEUE, OPT_WHEN_FULL, OPT_QUEUE_BYTES,
       OPT_DELAY_TARGET, OPT_CANCEL_RUNNING, OPT_WORKER_MEMORY, OPT_STRICT_WORKERS, OPT_BACKEND, OPT_TLS_CERT,
       OPT_TLS_KEY, OPT_TLS_CLIENT_CA, OPT_ALLOW_ORIGIN, OPT_MAX_CONNECTIONS,
       OPT_DRAIN, OPT_LOG, OPT_TEST_OPS, OPT_HELP };

static const struct option long_options[] = {
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"workers", required_argument, NULL, OPT_WORKERS},
    {"pool", required_argument, NULL, OPT_POOL},
    {"audio-pool", required_argument, NULL, OPT_AUDIO_POOL},
    {"pool-kind", required_argument, NULL, OPT_POOL_KIND},
    {"queue", required_argument, NULL, OPT_QUEUE},
    {"when-full", required_argument, NULL, OPT_WHEN_FULL},
    {"queue-bytes", required_argument, NULL, OPT_QUEUE_BYTES},
    {"delay-target", required_argument, NULL, OPT_DELAY_TARGET},
    {"cancel-running", no_argument, NULL, OPT_CANCEL_RUNNING},
    {"worker-memory", required_argument, NULL, OPT_WORKER_MEMORY},
    {"strict-workers", no_argument, NULL, OPT_STRICT_WORKERS},
    {"backend", required_argument, NULL, OPT_BACKEND},
    {"tls-cert", required_argument, NULL, OPT_TLS_CERT},
    {"tls-key", required_argument, NULL, OPT_TLS_KEY},
    {"tls-client-ca", required_argument, NULL, OPT_TLS_CLIENT_CA},
    {"allow-origin", required_argument, NULL, OPT_ALLOW_ORIGIN},
    {"max-connections", required_argument, NULL, OPT_MAX_CONNECTIONS},
    {"drain", required_argument, NULL, OPT_DRAIN},
    {"log", required_argument, NULL, OPT_LOG},
    {"enable-test-ops", no_argument, NULL, OPT_TEST_OPS},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

static int apply_words(struct serve_options *options, int option, const char *value)
{
    static const struct word kinds[] = {{"processes", TD_PROCESSES}, {"threads", TD_THREADS}, {0}};
    static const struct word policies[] = {{"reject", TD_REJECT}, {"wait", TD_WAIT}, {"drop-oldest", TD_DROP_OLDEST}, {0}};
    static const struct word backends[] = {{"auto", TD_BACKEND_AUTO}, {"uring", TD_BACKEND_URING},
                                           {"epoll", TD_BACKEND_EPOLL}, {0}};
    static const struct word formats[] = {{"text", TD_LOG_TEXT}, {"json", TD_LOG_JSON}, {0}};
    int word;

    switch (option) {
    case OPT_POOL_KIND:
        if (!read_word(value, kinds, &word))
            return wrong("pool-kind", value, "processes or threads");
        options->pool_kind = (td_pool_kind)word;
        return -1;
    case OPT_WHEN_FULL:
        if (!read_word(value, policies, &word))
            return wrong("when-full", value, "reject, wait or drop-oldest");
        options->when_full = (td_when_full)word;
        return -1;
    case OPT_BACKEND:
        if (!read_word(value, backends, &word))
            return wrong("backend", value, "auto, uring or epoll");
        options->backend = (td_backend)word;
        return -1;
    default:
        if (!read_word(value, formats, &word))
            return wrong("log", value, "text or json");
        td_log_set_format((td_log_format)word);
        return -1;
    }
}

static int apply_numbers(struct serve_options *options, int option, const char *value)
{
    unsigned long number = 0;

    switch (option) {
    case OPT_WORKERS:
        if (strcmp(value, "auto") == 0)
            number = cores();
        else if (!read_number(value, 256, &number) || number == 0)
            return wrong("workers", value, "auto, or a number from 1 to 256");
        options->workers = (unsigned)number;
        return -1;
    case OPT_POOL:
        if (!read_number(value, 1024, &number) || number == 0)
            return wrong("pool", value, "a number from 1 to 1024");
        options->pool = (unsigned)number;
        return -1;
    case OPT_AUDIO_POOL:
        if (!read_number(value, 1024, &number) || number == 0)
            return wrong("audio-pool", value, "a number from 1 to 1024");
        options->audio_pool = (unsigned)number;
        return -1;
    case OPT_QUEUE:
        if (!read_number(value, 1000000, &number))
            return wrong("queue", value, "a number from 0 to 1000000");
        options->queue = number ? number : TD_QUEUE_NONE;
        return -1;
    case OPT_QUEUE_BYTES:
        if (!read_size(value, 1, &options->queue_bytes))
            return wrong("queue-bytes", value, "a number of bytes, as 500000, 64K, 16M or 1G");
        return -1;
    case OPT_DELAY_TARGET:
        if (!read_number(value, 60000, &number) || number == 0)
            return wrong("delay-target", value, "milliseconds from 1 to 60000");
        options->delay_target_ns = td_ms((int64_t)number);
        return -1;
    case OPT_WORKER_MEMORY:
        if (!read_size(value, WORKER_MEMORY_MIN, &options->worker_memory))
            return wrong("worker-memory", value, "a number of bytes from 1M, as 500M or 2G");
        return -1;
    case OPT_MAX_CONNECTIONS:
        if (!read_number(value, 100000000, &number) || number == 0)
            return wrong("max-connections", value, "a number from 1");
        options->connections_max = number;
        return -1;
    default:
        return read_seconds(value, &options->drain_ns) ? -1 : wrong("drain", value, "seconds from 0 to 86400");
    }
}

socklen_t listen_parse(const char *text, struct sockaddr_storage *address)
{
    const char *colon = strrchr(text, ':');
    bool bracketed = text[0] == '[' && colon && colon > text && colon[-1] == ']';
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM,
                             .ai_family = bracketed ? AF_INET6 : AF_INET}, *found;
    char host[TD_ADDRESS_MAX];
    unsigned long port;
    socklen_t size;

    if (!colon || !read_number(colon + 1, 65535, &port) || colon - text >= TD_ADDRESS_MAX)
        return 0;
    snprintf(host, sizeof host, "%.*s", (int)(colon - text) - 2 * bracketed, text + bracketed);
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return 0;
    memcpy(address, found->ai_addr, found->ai_addrlen);
    size = found->ai_addrlen;
    freeaddrinfo(found);
    return size;
}

/* Scheme and host, perhaps a port, and no path: a list that no origin can equal would shut everybody out. */
static bool origins_parse(const char *text)
{
    if (strcmp(text, "*") == 0)
        return true;
    do {
        size_t size, scheme;

        text += strspn(text, ", ");
        size = strcspn(text, ", ");
        scheme = strncmp(text, "https://", 8) == 0 ? 8 : strncmp(text, "http://", 7) == 0 ? 7 : 0;
        if (scheme == 0 || size <= scheme || memchr(text + scheme, '/', size - scheme) || memchr(text, '*', size))
            return false;
        text += size;
        text += strspn(text, ", ");
    } while (*text);
    return true;
}

/* Certificates and keys take turns; which comes first of a pair is all the same. */
static int add_certificate(struct serve_options *options, bool is_key, const char *file)
{
    td_tls_certificate *last = options->certificate_count ? &options->certificates[options->certificate_count - 1] : NULL;
    const char **place;

    if (!last || (last->chain && last->key)) {
        if (options->certificate_count == SERVE_CERTIFICATES) {
            fprintf(stderr, "tandem: more than %d certificates\n        give one with several names\n", SERVE_CERTIFICATES);
            return 2;
        }
        last = &options->certificates[options->certificate_count++];
    }
    place = is_key ? &last->key : &last->chain;
    if (*place) {
        fprintf(stderr, "tandem: the %s before \"%s\" lacks its other half\n        give --tls-cert and --tls-key in pairs\n",
                is_key ? "key" : "certificate", file);
        return 2;
    }
    *place = file;
    return -1;
}

/* TLS is whole or not there. The secret is for processes that are to know each other's tickets. */
static int check_tls(struct serve_options *options)
{
    const td_tls_certificate *last = options->certificate_count ? &options->certificates[options->certificate_count - 1] : NULL;

    if (last && (!last->chain || !last->key)) {
        fprintf(stderr, "tandem: --tls-%s is missing\n"
                "        TLS takes a certificate and its key: --tls-cert FILE --tls-key FILE\n", last->chain ? "key" : "cert");
        return 2;
    }
    if (options->client_ca && !last) {
        fputs("tandem: --tls-client-ca without a certificate\n        add --tls-cert FILE --tls-key FILE\n", stderr);
        return 2;
    }
    if (last && getrandom(options->ticket_secret, sizeof options->ticket_secret, 0) != (ssize_t)sizeof options->ticket_secret) {
        fputs("tandem: the system gives no random numbers\n        TLS cannot be without\n", stderr);
        return 1;
    }
    return -1;
}

static int apply(struct serve_options *options, int option, const char *value)
{
    switch (option) {
    case OPT_LISTEN: {
        struct sockaddr_storage address;

        if (strlen(value) >= sizeof options->listen || listen_parse(value, &address) == 0)
            return wrong("listen", value, "an address and a port, as 127.0.0.1:8080 or [::1]:8080");
        snprintf(options->listen, sizeof options->listen, "%s", value);
        return -1;
    }
    case OPT_TLS_CERT:
    case OPT_TLS_KEY:
        return add_certificate(options, option == OPT_TLS_KEY, value);
    case OPT_ALLOW_ORIGIN:
        if (!origins_parse(value))
            return wrong("allow-origin", value, "origins as a browser names them, https://a.example, between commas, or *");
        options->origins = value;
        return -1;
    case OPT_TLS_CLIENT_CA:
        options->client_ca = value;
        return -1;
    case OPT_POOL_KIND:
    case OPT_WHEN_FULL:
    case OPT_BACKEND:
    case OPT_LOG:
        return apply_words(options, option, value);
    case OPT_TEST_OPS:
        options->test_ops = true;
        return -1;
    case OPT_CANCEL_RUNNING:
        options->cancel_running = true;
        return -1;
    case OPT_STRICT_WORKERS:
        options->strict_workers = true;
        return -1;
    case OPT_HELP:
        fputs(usage, stdout);
        return 0;
    case '?':
    case ':':
        fputs("        tandem serve --help lists all options\n", stderr);
        return 2;
    default:
        return apply_numbers(options, option, value);
    }
}

/* Every connection takes a descriptor, so ask for as many as we may have. */
static size_t descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1024;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1024;
    return limit.rlim_cur > FILES_MAX ? FILES_MAX : limit.rlim_cur;
}

int options_read(struct serve_options *options, int argc, char **argv)
{
    size_t files = descriptors(), kept;
    int option, status;

    *options = (struct serve_options){.listen = "127.0.0.1:8080", .workers = 1, .pool_kind = TD_PROCESSES, .queue = 64,
                                      .when_full = TD_REJECT, .drain_ns = td_sec(10)};
    argv[0] = (char *)(uintptr_t)"tandem serve";  /* getopt begins its sentences with it */
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        status = apply(options, option, optarg);
        if (status >= 0)
            return status;
    }
    if (optind < argc) {
        fprintf(stderr, "tandem: serve does not take \"%s\"\n        tandem serve --help lists all options\n", argv[optind]);
        return 2;
    }
    status = check_tls(options);
    if (status >= 0)
        return status;
    if (options->pool_kind == TD_THREADS && (options->worker_memory || options->strict_workers)) {
        fputs("tandem: threads cannot be kept from memory and files of the server\n"
              "        leave out --worker-memory and --strict-workers, or --pool-kind threads\n", stderr);
        return 2;
    }
    if (options->pool == 0)
        options->pool = cores() / options->workers ? cores() / options->workers : 1;
    if (options->audio_pool == 0)
        options->audio_pool = options->pool;
    kept = DESCRIPTORS_KEPT + DESCRIPTORS_WORKER * ((size_t)options->pool + options->audio_pool);
    kept = kept < files / 2 ? files - kept : files / 2;
    if (options->connections_max == 0 || options->connections_max > kept)
        options->connections_max = kept;
    return -1;
}
