/* SPDX-License-Identifier: MIT */
/* TCP echo: a task per connection. echo uring|epoll. Prints its port. */
#include <stdio.h>
#include <string.h>

#include <tandem.h>

static int serve(void *arg)
{
    td_stream *stream = arg;
    char bytes[4096];
    ssize_t n;

    while ((n = td_stream_read(stream, bytes, sizeof bytes)) > 0)
        if (td_stream_write(stream, bytes, (size_t)n) < n)
            break;
    td_stream_close(stream);
    return 0;
}

static int accept_all(void *arg)
{
    td_listener *listener;
    td_stream *stream;
    td_scope scope;
    int rc = td_listen(&listener, "127.0.0.1:0", NULL);

    if (rc < 0)
        return rc;
    printf("%s\n", strrchr(td_listener_address(listener), ':'));
    fflush(stdout);
    td_scope_open(&scope);
    while ((rc = td_accept(listener, &stream)) == 0)
        td_spawn(&scope, serve, stream);
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    td_listener_close(listener);
    return rc;
}

int main(int argc, char **argv)
{
    td_backend backend = argc > 1 && strcmp(argv[1], "epoll") == 0 ? TD_BACKEND_EPOLL : TD_BACKEND_URING;

    return td_run_with(&(td_opts){.backend = backend}, accept_all, NULL) < 0;
}
