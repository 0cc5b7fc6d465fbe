/* SPDX-License-Identifier: MIT */
#include "pools.h"

const char *const pool_names[POOLS] = {"compute", "audio"};

static int open_pool(struct app *app, unsigned which, const td_pool_opts *opts)
{
    int rc = td_pool_open(&app->pools[which], opts);

    if (rc < 0) {
        app->pools[which] = NULL;
        td_log(TD_LOG_ERROR, "cannot start the pool \"%s\": %s\n        fewer workers may help: --pool N", pool_names[which],
               td_strerror(rc));
    }
    return rc;
}

int pools_open(struct app *app)
{
    const struct serve_options *options = app->options;

    return open_pool(app, POOL_COMPUTE, &(td_pool_opts){
        .kind = options->pool_kind, .workers = options->pool, .queue = options->queue, .when_full = options->when_full,
        .on_cancel = TD_CANCEL_FINISH, .name = pool_names[POOL_COMPUTE]});
}

int pools_for_audio(struct app *app, td_pool **pool)
{
    const struct serve_options *options = app->options;
    int rc = 0;

    if (!app->pools[POOL_AUDIO])
        rc = open_pool(app, POOL_AUDIO, &(td_pool_opts){
            .kind = options->pool_kind, .workers = options->audio_pool, .queue = options->queue, .when_full = TD_WAIT,
            .on_cancel = TD_CANCEL_FINISH, .name = pool_names[POOL_AUDIO]});
    *pool = app->pools[POOL_AUDIO];
    return rc;
}

void pools_cancel(struct app *app)
{
    for (unsigned i = 0; i < POOLS; i++)
        if (app->pools[i])
            td_pool_cancel(app->pools[i]);
}

void pools_close(struct app *app)
{
    for (unsigned i = 0; i < POOLS; i++)
        if (app->pools[i])
            td_pool_close(app->pools[i]);
}

void pools_statistics(struct app *app, unsigned which, td_pool_stats *stats)
{
    *stats = (td_pool_stats){0};
    if (app->pools[which])
        td_pool_statistics(app->pools[which], stats);
}
