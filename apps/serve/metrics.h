/* SPDX-License-Identifier: MIT */
/*
 * The Prometheus text format, version 0.0.4: what its parts look like.
 */
#ifndef TANDEM_SERVE_METRICS_H
#define TANDEM_SERVE_METRICS_H

#include <stdio.h>

#include "app.h"

/* The two lines before the samples of a name. `type` is gauge, counter or histogram. */
void metrics_begin(FILE *out, const char *name, const char *type, const char *help);

/* A metric of one sample. */
void metrics_gauge(FILE *out, const char *name, const char *help, double value);
void metrics_counter(FILE *out, const char *name, const char *help, double value);

/* All that is known about the pools, and the shared memory they work on. */
void metrics_of_pools(FILE *out, struct app *app);

#endif
