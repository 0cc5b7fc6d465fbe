/* SPDX-License-Identifier: MIT */
#include "tls.h"

int tls_open(struct app *app)
{
    const struct serve_options *options = app->options;
    td_tls_server_opts tls = {.certificates = options->certificates, .certificate_count = options->certificate_count,
                              .alpn = "h2, http/1.1"};

    if (options->certificate_count == 0)
        return 0;
    if (options->client_ca) {
        tls.clients = TD_TLS_MUST_PROVE;
        tls.client_ca = options->client_ca;
    }
    if (options->workers > 1)  /* a client that comes back may meet another process */
        tls.ticket_secret = options->ticket_secret;
    return td_tls_server(&app->tls, &tls);
}

void tls_reload(struct app *app)
{
    int rc;

    if (!app->tls)
        return;
    rc = td_tls_reload(app->tls, NULL, 0);
    if (rc < 0)
        td_log(TD_LOG_ERROR, "the certificates were not renewed: %s\n        mend the files and send SIGHUP again; until "
               "then the former ones are used", td_strerror(rc));
    else
        td_log(TD_LOG_INFO, "the certificates have been read again");
}
