/* SPDX-License-Identifier: MIT */
/*
 * probe [-b epoll] [-n TIMES] [-OPTION VALUE]... URL: fetches a URL, TIMES times at once, and prints for each a line of what
 * came of it: "STATUS VERSION BYTES" or "error NUMBER REASON". Then "connections N". For test_real.py.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tandem.h>

struct probe {
    const char *url;
    td_http_fetch_opts opts;
    int times, connections;
};

static int fetch(void *arg)
{
    const struct probe *probe = arg;
    char reason[TD_HTTP_FETCH_REASON_SIZE] = "";
    td_http_fetch_opts opts = probe->opts;
    td_http_response *response;
    size_t size;
    int rc;

    opts.reason = reason;
    opts.reason_size = sizeof reason;
    rc = td_http_fetch(&response, probe->url, &opts);
    if (rc < 0) {
        printf("error %d %s\n", -rc, reason);
        return 0;
    }
    td_http_response_body(response, &size);
    printf("%d %d %zu\n", td_http_response_status(response), td_http_response_version(response), size);
    td_http_response_free(response);
    return 0;
}

static int probe_all(void *arg)
{
    struct probe *probe = arg;
    td_http_fetch_stats stats;
    td_scope scope;
    int rc = 0;

    rc = td_http_fetch_limit(&(td_http_fetch_limits){.connections_per_host_max = (unsigned)probe->connections});
    td_scope_open(&scope);
    for (int i = 0; i < probe->times && rc == 0; i++)
        rc = td_spawn(&scope, fetch, probe);
    rc = td_scope_join(&scope);
    td_http_fetch_statistics(&stats);
    printf("connections %llu\n", stats.connections);
    return rc;
}

int main(int argc, char **argv)
{
    struct probe probe = {.times = 1};
    td_backend backend = TD_BACKEND_AUTO;
    const char *const *const texts[] = {&probe.opts.ca_file, &probe.opts.cert_file, &probe.opts.key_file, &probe.opts.proxy,
                                        &probe.opts.user, &probe.opts.password, &probe.opts.method};
    static const char letters[] = "ackxupm";

    for (int i = 1; i + 1 < argc; i += 2) {
        const char *at = strchr(letters, argv[i][1]);

        if (at)
            *(const char **)(uintptr_t)texts[at - letters] = argv[i + 1];
        else if (argv[i][1] == 'b')
            backend = strcmp(argv[i + 1], "epoll") == 0 ? TD_BACKEND_EPOLL : TD_BACKEND_URING;
        else if (argv[i][1] == 'n')
            probe.times = (int)strtol(argv[i + 1], NULL, 10);
        else if (argv[i][1] == 'l')
            probe.connections = (int)strtol(argv[i + 1], NULL, 10);
        else if (argv[i][1] == 'v')
            probe.opts.version = (int)strtol(argv[i + 1], NULL, 10);
        else if (argv[i][1] == 'i')
            probe.opts.insecure = true;
        else if (argv[i][1] == 'r')
            probe.opts.redirects_max = (unsigned)strtol(argv[i + 1], NULL, 10);
    }
    probe.url = argc > 1 ? argv[argc - 1] : "";
    return td_run_with(&(td_opts){.backend = backend}, probe_all, &probe) < 0;
}
