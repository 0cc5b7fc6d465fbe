/* SPDX-License-Identifier: MIT */
/*
 * Server-sent events: an answer that does not end, of events that a browser's EventSource takes apart.
 *
 *     td_http_events(http);
 *     while ((rc = wait_for_news(&news)) == 0)
 *         rc = td_http_event(http, "news", news.id, news.text);
 *
 * A client that left is noticed by the next event, or at once by td_on_gone. One that does not read holds the sender when its
 * buffers are full, and ends it after the server's send_timeout. Proxies like to see something now and then: td_http_event with
 * all NULL sends a comment.
 */
#ifndef TANDEM_EVENTS_H
#define TANDEM_EVENTS_H

#include "tandem/http.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Begins the answer. Checkpoint: yes. Returns as td_http_begin; -EPERM for a client that does not ask by GET, which was not
 * answered.
 */
int td_http_events(td_http *http);

/*
 * Sends one event. `event` is its name (NULL: "message"), `id` what the client says in Last-Event-ID when it comes again (NULL:
 * as before); neither may have a line end in it. `data` may have many lines; NULL: none, and then a name or an id alone changes
 * only what the client remembers. Checkpoint: yes.
 * Returns 0; -EINVAL for a line end where none may be, or when td_http_events was not called; -ENOMEM; and as td_http_write.
 */
int td_http_event(td_http *http, const char *event, const char *id, const char *data);

/* Tells the client how long to wait before it comes again, in whole milliseconds. Checkpoint: yes. Returns as td_http_event. */
int td_http_event_retry(td_http *http, td_time after);

#ifdef __cplusplus
}
#endif
#endif
