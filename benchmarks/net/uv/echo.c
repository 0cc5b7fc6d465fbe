/* SPDX-License-Identifier: MIT */
/* TCP echo on libuv: tries to write at once, as its users do who want it quick. Prints its port. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <uv.h>

static char bytes[65536];

static void give(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    *buf = uv_buf_init(bytes, sizeof bytes);
}

static void closed(uv_handle_t *handle)
{
    free(handle);
}

static void came(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    uv_buf_t out = uv_buf_init(buf->base, n > 0 ? (unsigned)n : 0);

    if (n < 0 || (n > 0 && uv_try_write(stream, &out, 1) != n))
        uv_close((uv_handle_t *)stream, closed);
}

static void accepted(uv_stream_t *listener, int status)
{
    uv_tcp_t *tcp = malloc(sizeof *tcp);

    uv_tcp_init(listener->loop, tcp);
    uv_tcp_nodelay(tcp, 1);
    if (uv_accept(listener, (uv_stream_t *)tcp) < 0 || uv_read_start((uv_stream_t *)tcp, give, came) < 0)
        uv_close((uv_handle_t *)tcp, closed);
}

int main(void)
{
    struct sockaddr_in at;
    struct rlimit files = {20000, 20000};
    int size = sizeof at;
    uv_tcp_t listener;

    setrlimit(RLIMIT_NOFILE, &files);
    uv_ip4_addr("127.0.0.1", 0, &at);
    uv_tcp_init(uv_default_loop(), &listener);
    uv_tcp_bind(&listener, (struct sockaddr *)&at, 0);
    if (uv_listen((uv_stream_t *)&listener, 4096, accepted) < 0)
        return 1;
    uv_tcp_getsockname(&listener, (struct sockaddr *)&at, &size);
    printf(":%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
