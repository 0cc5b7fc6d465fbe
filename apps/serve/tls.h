/* SPDX-License-Identifier: MIT */
/* The server's certificates: --tls-cert and its like. */
#ifndef TANDEM_SERVE_TLS_H
#define TANDEM_SERVE_TLS_H

#include "app.h"

/* Opens app->tls, where the options have certificates. What is wrong is logged. Returns 0 or a negative errno. */
int tls_open(struct app *app);

/* SIGHUP: reads the files again, and keeps what was when they are no good. */
void tls_reload(struct app *app);

#endif
