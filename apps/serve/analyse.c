/* SPDX-License-Identifier: MIT */
/*
 * Level, and the conditioning before pitch: the window is smoothed and brought down to 8 to 16 kHz. No pitch needs
 * more; the transforms get up to six times shorter, and hiss, and what naive synthesis aliases, weigh less.
 */
#include "analyse.h"
#include "pitch.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define FULL_SCALE 32768.0

/* Quieter than 1.5 steps of 16 bits is rounding or dither, whose period, if any, nobody can hear. */
#define PITCHED_POWER_MIN (1.5 / FULL_SCALE * 1.5 / FULL_SCALE)

/* With less than this share of the window's power left after smoothing, that is folded treble, not a pitch. */
#define SMOOTHED_SHARE_MIN 0.005

struct level {
    double mean;
    double square;   /* mean square, DC included */
};

static struct level level_of(const int16_t *samples, size_t count)
{
    int64_t sum = 0;
    int64_t squares = 0;

    if (count == 0)
        return (struct level){0, 0};
    for (size_t i = 0; i < count; i++) {
        sum += samples[i];
        squares += (int32_t)samples[i] * samples[i];
    }
    return (struct level){
        .mean = (double)sum / (double)count / FULL_SCALE,
        .square = (double)squares / (double)count / (FULL_SCALE * FULL_SCALE),
    };
}

/* Samples that remain when each is a weighted mean of 4 * factor - 1 and every factor-th is kept. */
static size_t smoothed_count(size_t count, size_t factor)
{
    size_t width = 4 * factor - 1;

    return count < width ? 0 : (count - width) / factor + 1;
}

/*
 * Smooths with a Hann-shaped kernel, four output samples wide. Its spectrum is down 6 dB at half the new Nyquist
 * frequency, zero at it, and down some 30 dB and more above (F. J. Harris, "On the use of windows for harmonic
 * analysis with the discrete Fourier transform", Proc. IEEE 66, 1978, table I): one kernel keeps treble from
 * folding over and favours the low partials, where pitch is.
 */
static void smooth(const int16_t *samples, size_t count, size_t factor, float *out)
{
    float kernel[4 * (ANALYSE_RATE_MAX / ANALYSE_RATE_MIN) - 1];
    size_t width = 4 * factor - 1;
    size_t out_count = smoothed_count(count, factor);

    assert(width <= sizeof kernel / sizeof kernel[0]);
    for (size_t i = 0; i < width; i++) {
        double hann = 1 - cos(2 * M_PI * (double)(i + 1) / (double)(width + 1));

        kernel[i] = (float)(hann / ((double)(width + 1) * FULL_SCALE));   /* their sum is 1 / FULL_SCALE */
    }
    for (size_t i = 0; i < out_count; i++) {
        const int16_t *in = samples + i * factor;
        float sum = 0;

        for (size_t j = 0; j < width; j++)
            sum += kernel[j] * (float)in[j];
        out[i] = sum;
    }
}

/* Removes DC and returns the power that is left. */
static double remove_mean(float *signal, size_t count)
{
    double sum = 0;
    double squares = 0;

    for (size_t i = 0; i < count; i++)
        sum += signal[i];
    for (size_t i = 0; i < count; i++) {
        signal[i] -= (float)(sum / (double)count);
        squares += (double)signal[i] * signal[i];
    }
    return squares / (double)count;
}

static bool worth_a_search(double power, struct level original)
{
    return power > PITCHED_POWER_MIN &&
        power > SMOOTHED_SHARE_MIN * (original.square - original.mean * original.mean);
}

static int find_pitch(const int16_t *samples, size_t count, unsigned rate, struct level level, double *pitch_hz)
{
    size_t factor = rate / ANALYSE_RATE_MIN;
    size_t signal_count = smoothed_count(count, factor);
    float *signal;
    int rc = 0;

    *pitch_hz = 0;
    if (signal_count == 0)
        return 0;
    signal = malloc(signal_count * sizeof *signal);
    if (signal == NULL)
        return -ENOMEM;
    smooth(samples, count, factor, signal);
    if (worth_a_search(remove_mean(signal, signal_count), level))
        rc = pitch_find(signal, signal_count, (double)rate / (double)factor, pitch_hz);
    free(signal);
    return rc;
}

int analyse_window(const int16_t *samples, size_t count, unsigned rate, struct analysis *result)
{
    struct level level;
    double pitch_hz;
    int rc;

    if (rate < ANALYSE_RATE_MIN || rate > ANALYSE_RATE_MAX || count > ANALYSE_SAMPLES_MAX)
        return -EINVAL;
    level = level_of(samples, count);
    rc = find_pitch(samples, count, rate, level, &pitch_hz);
    if (rc < 0)
        return rc;
    *result = (struct analysis){.rms = sqrt(level.square), .pitch_hz = pitch_hz, .voiced = pitch_hz > 0};
    return 0;
}
