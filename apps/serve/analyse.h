/* SPDX-License-Identifier: MIT */
/*
 * Audio analysis of one window: level and pitch. Pure functions of their input: no state, safe in a worker process.
 */
#ifndef TANDEM_SERVE_ANALYSE_H
#define TANDEM_SERVE_ANALYSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ANALYSE_RATE_MIN 8000    /* samples a second */
#define ANALYSE_RATE_MAX 48000
#define ANALYSE_SAMPLES_MAX (ANALYSE_RATE_MAX / 10)

struct analysis {
    double rms;        /* of full scale 1.0, DC included */
    double pitch_hz;   /* 60 to 1,100 or so; 0 when unvoiced */
    bool voiced;
};

/*
 * Analyses up to ANALYSE_SAMPLES_MAX samples (usually 100 ms) of mono PCM at `rate` samples a second. An
 * empty window has level 0; one shorter than 34 ms is never voiced. 100 ms cost some 40 us of CPU at any rate.
 * Returns 0; -EINVAL for a rate or count out of range; -ENOMEM. On any error *result is as it was.
 */
int analyse_window(const int16_t *samples, size_t count, unsigned rate, struct analysis *result);

#endif
