/* SPDX-License-Identifier: MIT */
/* WebSocket echo by libwebsockets. echo PORT, for it does not tell which free one it took. */
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM (LWS_PRE + 8192)

struct session {
    size_t size;
    int binary;
    unsigned char bytes[ROOM];
};

static int heard(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t size)
{
    struct session *session = user;

    if (reason == LWS_CALLBACK_RECEIVE && session->size + size <= ROOM - LWS_PRE) {
        memcpy(session->bytes + LWS_PRE + session->size, in, size);
        session->size += size;
        session->binary = lws_frame_is_binary(wsi);
        if (lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0)
            lws_callback_on_writable(wsi);
    } else if (reason == LWS_CALLBACK_SERVER_WRITEABLE && session->size > 0) {
        int n = lws_write(wsi, session->bytes + LWS_PRE, session->size, session->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);

        session->size = 0;
        return n < 0 ? -1 : 0;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct lws_protocols protocols[] = {{"", heard, sizeof(struct session), 8192, 0, NULL, 0}, {0}};
    struct lws_context_creation_info info = {.port = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0,
                                             .protocols = protocols, .iface = "127.0.0.1",
                                             .fd_limit_per_thread = 16000};
    struct lws_context *context;

    lws_set_log_level(0, NULL);
    context = lws_create_context(&info);
    if (!context)
        return 1;
    printf(":%d\n", info.port);
    fflush(stdout);
    while (lws_service(context, 0) >= 0)
        ;
    return 0;
}
