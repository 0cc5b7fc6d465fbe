/* SPDX-License-Identifier: MIT */
/*
 * The fundamental frequency of one stretch of sound, between about 60 and 1,100 Hz.
 */
#ifndef TANDEM_SERVE_PITCH_H
#define TANDEM_SERVE_PITCH_H

#include <stddef.h>

/*
 * Finds the pitch of a signal without DC at `rate` samples a second, 8,000 or more. *pitch_hz is 0 when there is
 * none in range, and when the signal is shorter than two periods of the lowest pitch (34 ms).
 * Returns 0; -ENOMEM.
 */
int pitch_find(const float *signal, size_t count, double rate, double *pitch_hz);

#endif
