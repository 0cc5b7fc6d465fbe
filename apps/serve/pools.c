/* SPDX-License-Identifier: MIT */
#include "pools.h"

#define ASKED_NS 100000000  /* a running job has to end by itself, when its client has left or its deadline passed */

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

/* What is the same for both. */
static td_pool_opts common(const struct serve_options *options, unsigned which)
{
    return (td_pool_opts){.kind = options->pool_kind, .queue = options->queue, .queue_bytes = options->queue_bytes,
                          .memory_max = options->worker_memory, .strict = options->strict_workers, .name = pool_names[which]};
}

int pools_open(struct app *app)
{
    const struct serve_options *options = app->options;
    td_pool_opts opts = common(options, POOL_COMPUTE);
    bool cancel = options->cancel_running;

    opts.workers = options->pool;
    opts.when_full = options->when_full;
    opts.on_cancel = cancel ? TD_CANCEL_KILL : TD_CANCEL_FINISH;
    opts.kill_grace_ns = cancel && options->pool_kind == TD_PROCESSES ? ASKED_NS : 0;  /* else nobody listens */
    opts.stuck_max = options->pool_kind == TD_THREADS ? options->pool : 0;  /* all that jobs touch is shared memory */
    opts.delay_target_ns = options->delay_target_ns;
    opts.admit_by_deadline = true;
    return open_pool(app, POOL_COMPUTE, &opts);
}

int pools_for_audio(struct app *app, td_pool **pool)
{
    td_pool_opts opts = common(app->options, POOL_AUDIO);
    int rc = 0;

    opts.workers = (app->options->audio_pool + 1) / 2;
    opts.workers_max = app->options->audio_pool;
    opts.when_full = TD_WAIT;  /* each session has a queue of its own that speaks for it */
    opts.on_cancel = TD_CANCEL_FINISH;
    if (!app->pools[POOL_AUDIO])
        rc = open_pool(app, POOL_AUDIO, &opts);
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

void pools_histograms(struct app *app, unsigned which, td_histogram *sojourn, td_histogram *service)
{
    *sojourn = *service = (td_histogram){0};
    if (app->pools[which])
        td_pool_histograms(app->pools[which], sojourn, service);
}

void pools_statistics(struct app *app, unsigned which, td_pool_stats *stats)
{
    *stats = (td_pool_stats){0};
    if (app->pools[which])
        td_pool_statistics(app->pools[which], stats);
}
