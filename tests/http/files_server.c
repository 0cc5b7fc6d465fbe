/* SPDX-License-Identifier: MIT */
/*
 * files_server BACKEND FOLDER: serves the folder below /files/, and besides /text (compressed piece by piece), /whole (compressed
 * as one), /tagged, /events. Prints its address, and how each handler ended where it failed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tandem.h>

#define PIECES 2000

static int say_text(td_http *http, bool sized)
{
    static const char line[] = "All work and no play makes a dull text, which compresses well.\n";
    td_http_answer answer = {.type = "text/plain", .compress = true, .size = sized ? PIECES * (int64_t)strlen(line) : -1,
                             .fields = "ETag: \"strong\"\r\n"};
    int rc = td_http_begin(http, &answer);

    for (int i = 0; i < PIECES && rc == 0; i++)
        rc = td_http_write(http, line, strlen(line));
    return rc < 0 ? rc : td_http_end(http, NULL);
}

static int say_whole(td_http *http)
{
    size_t size = 5000000;
    char *body = malloc(size);
    int rc;

    if (!body)
        return -ENOMEM;
    for (size_t i = 0; i < size; i++)
        body[i] = "etaoin shrdlu"[(i * i / 7) % 13];
    rc = td_http_respond(http, 200, NULL, "text/plain", body, size);
    free(body);
    return rc;
}

/* Five events, then one each time the client's patience is over, until it has left. */
static int say_events(td_http *http)
{
    td_case gone = td_on_gone(http);
    size_t which;
    td_scope scope;
    int rc = td_http_events(http);

    rc = rc < 0 ? rc : td_http_event_retry(http, td_ms(1500));
    rc = rc < 0 ? rc : td_http_event(http, NULL, NULL, NULL);
    rc = rc < 0 ? rc : td_http_event(http, NULL, "1", "one line");
    rc = rc < 0 ? rc : td_http_event(http, "many", "2", "first\nsecond\r\nthird\rfourth\n");
    rc = rc < 0 ? rc : td_http_event(http, NULL, NULL, "");
    if (rc == 0 && td_http_event(http, "two\nlines", NULL, "x") != -EINVAL)
        return -EDOM;
    if (rc < 0)
        return rc;
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_sec(30)));
    rc = td_select(&gone, 1, &which);
    td_scope_join(&scope);
    printf(rc == 0 ? "gone\n" : "stayed\n");
    return rc;
}

static int handle(td_http *http, void *arg)
{
    const char *path = td_http_path(http);
    int rc;

    if (strncmp(path, "/files/", 7) == 0)
        rc = td_http_send_file(http, arg, path + 7);
    else if (strcmp(path, "/text") == 0)
        rc = say_text(http, false);
    else if (strcmp(path, "/sized") == 0)
        rc = say_text(http, true);
    else if (strcmp(path, "/whole") == 0)
        rc = say_whole(http);
    else if (strcmp(path, "/events") == 0)
        rc = say_events(http);
    else
        rc = td_http_respond(http, 404, NULL, NULL, NULL, 0);
    if (rc < 0)
        printf("failed: %s\n", td_strerror(rc));
    return rc;
}

static int serve(void *arg)
{
    td_http_opts opts = {.compress_min = 1000};
    td_http_server *server;
    td_listener *listener;
    td_http_files *files;
    int rc = td_listen(&listener, "127.0.0.1:0", NULL);

    if (rc < 0)
        return rc;
    rc = td_http_files_open(&files, arg);
    if (rc == 0) {
        rc = td_http_server_open(&server, listener, &opts, handle, files);
        if (rc == 0) {
            printf("%s\n", td_listener_address(listener));
            rc = td_http_server_run(server);
            td_http_server_close(server);
        }
        td_http_files_close(files);
    }
    td_listener_close(listener);
    return rc;
}

int main(int argc, char **argv)
{
    td_opts opts = {.backend = argc == 3 && strcmp(argv[1], "epoll") == 0 ? TD_BACKEND_EPOLL : TD_BACKEND_AUTO};

    setvbuf(stdout, NULL, _IOLBF, 0);
    return argc == 3 ? td_run_with(&opts, serve, argv[2]) != -ECANCELED : 2;
}
