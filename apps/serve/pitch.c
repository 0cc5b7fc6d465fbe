/* SPDX-License-Identifier: MIT */
/*
 * Pitch by YIN: A. de Cheveigné, H. Kawahara, "YIN, a fundamental frequency estimator for speech and music",
 * J. Acoust. Soc. Am. 111 (4), 2002. Its equations are cited as (n) below. Three things differ from the paper:
 *
 *  - The difference at a lag sums all pairs of samples the signal has and is divided by their energy. So lags up
 *    to half the signal are usable, and compare. (1 - ours is the normalised square difference function of
 *    P. McLeod, G. Wyvill, "A smarter way to find pitch", Proc. ICMC 2005.)
 *  - The threshold is relative to the deepest dip. In clean sound that is YIN's absolute one; in noise, which
 *    lifts all dips alike, it still takes the first of several equals and so keeps the octave.
 *  - The period is read off several periods away: a dip at k periods, divided by k, divides its error by k.
 *
 * Invariant: lags in use stay below half the signal, so at least half of it speaks for each of them.
 */
#include "pitch.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include <kiss_fftr.h>

/* 60 to 1,100 Hz and a little more, so that a tone on the edge does not flicker. */
#define PITCH_MIN_HZ 58.0
#define PITCH_MAX_HZ 1130.0

/*
 * Where sound becomes voiced, in terms of (8): 0 for a perfect period, 1 for none. Gliding voices are at 0.4 and more
 * in 100 ms, a sine with white noise 3 dB below it at 0.2. Pink noise begins to pass at 0.7 only, because the mean
 * in (8) tells its slow swings from a period; by the plain difference 6 % of it would pass this (tests/audio).
 */
#define VOICED_DEPTH_MAX 0.45f

/* Shallower is noise, where interpolation between three points may also shoot far over their level. */
#define DIP_DIFFERENCE_MAX 0.75f

/*
 * YIN, step 4: a dip is the period when it comes this close to the deepest one. The paper takes 0.1. Of 24,000
 * vowels like those of tests/audio, 0.1 put 38 an octave or more too high, where a formant sat on a partial; 0.08
 * puts 25. Less would put naive sawtooths at low rates too low.
 */
#define DIP_TOLERANCE 0.08f

/* How much less alike two stretches of sound may be several periods apart than one period apart. */
#define DRIFT_MAX 0.05

/* One allocation, carved up. */
struct workspace {
    const float *signal;
    size_t count;
    double rate;
    size_t lags;
    float *difference;        /* [0 .. lags]: 0 the same, 1 unrelated, 2 opposite */
    float *depth;             /* [0 .. lags]: of the dips among them */
    kiss_fftr_cfg plan;
    int fft_size;
    float *time;              /* fft_size */
    kiss_fft_cpx *spectrum;   /* fft_size / 2 + 1 */
};

struct dip {
    double lag;               /* in samples, and between them */
    double difference;
};

/* The plan comes first because it holds pointers. The signal is padded so that no lag in use wraps around. */
static struct workspace *workspace_new(const float *signal, size_t count, double rate)
{
    size_t lags = count / 2;
    int fft_size = kiss_fftr_next_fast_size_real((int)(count + lags + 1));
    size_t bins = (size_t)fft_size / 2 + 1;
    size_t plan_bytes = 0;
    size_t plan_room;
    struct workspace *work;

    kiss_fftr_alloc(fft_size, 0, NULL, &plan_bytes);
    plan_room = (plan_bytes + 15) / 16 * 16;
    work = malloc(sizeof *work + plan_room + bins * sizeof *work->spectrum +
        ((size_t)fft_size + 2 * (lags + 1)) * sizeof(float));
    if (work == NULL)
        return NULL;
    *work = (struct workspace){.signal = signal, .count = count, .rate = rate, .lags = lags, .fft_size = fft_size};
    work->plan = kiss_fftr_alloc(fft_size, 0, work + 1, &plan_bytes);
    assert(work->plan != NULL);
    work->spectrum = (void *)((char *)(work + 1) + plan_room);
    work->time = (float *)(work->spectrum + bins);
    work->difference = work->time + fft_size;
    work->depth = work->difference + lags + 1;
    return work;
}

/*
 * Autocorrelation over all pairs (2) by Wiener-Khinchin: the transform of the power spectrum. That is real and even,
 * so the forward transform is its own inverse and one plan does both. The result, fft_size times too large, is left
 * in the real parts of `spectrum`.
 */
static void correlate(struct workspace *work)
{
    int half = work->fft_size / 2;

    for (size_t i = 0; i < (size_t)work->fft_size; i++)
        work->time[i] = i < work->count ? work->signal[i] : 0;
    kiss_fftr(work->plan, work->time, work->spectrum);
    for (int i = 0; i <= half; i++) {
        kiss_fft_cpx bin = work->spectrum[i];

        work->time[i] = bin.r * bin.r + bin.i * bin.i;
    }
    for (int i = 1; i < half; i++)
        work->time[work->fft_size - i] = work->time[i];
    kiss_fftr(work->plan, work->time, work->spectrum);
}

/*
 * The difference function (6), from the autocorrelation by (7), over the pairs' energy. A constant cancels in it,
 * so the offset that a broken period leaves after DC is removed does not move the dips.
 */
static void compare(struct workspace *work)
{
    const float *x = work->signal;
    size_t n = work->count;
    double energy = work->spectrum[0].r / (double)work->fft_size;
    double pairs_energy = 2 * energy;

    work->difference[0] = 0;
    for (size_t lag = 1; lag <= work->lags; lag++) {
        double correlation = work->spectrum[lag].r / (double)work->fft_size;

        pairs_energy -= (double)x[lag - 1] * x[lag - 1] + (double)x[n - lag] * x[n - lag];
        work->difference[lag] = pairs_energy > energy * 1e-3 ? (float)(1 - 2 * correlation / pairs_energy) : 1;
    }
}

static bool is_dip(const struct workspace *work, size_t lag)
{
    const float *d = work->difference;

    return lag >= 2 && lag < work->lags && d[lag] < DIP_DIFFERENCE_MAX && d[lag] <= d[lag - 1] && d[lag] < d[lag + 1];
}

/*
 * The dip between samples. 1 - difference of a sine is a cosine of the lag, and three points of a cosine give its
 * rate w, and its height and offset x from the middle one, exactly: y[-1] + y[1] = 2 y[0] cos w, and
 * y[1] - y[-1] = 2 height sin w sin wx. The paper's parabola (step 5) is a hertz off at 1,000 Hz and 8,000 samples
 * a second.
 */
static struct dip dip_at(const struct workspace *work, size_t lag)
{
    double before = 1 - (double)work->difference[lag - 1];
    double here = 1 - (double)work->difference[lag];
    double after = 1 - (double)work->difference[lag + 1];
    double cos_w = (before + after) / (2 * here);
    double w, angle;

    if (cos_w >= 1 || cos_w <= -1)
        return (struct dip){(double)lag, 1 - here};
    w = acos(cos_w);
    angle = atan((after - before) / (2 * here * sin(w)));
    return (struct dip){(double)lag + angle / w, 1 - here / cos(angle)};
}

/*
 * YIN, step 3 (8): how deep the dips up to lag_max are against the mean difference up to there, which tells a dip
 * from the slope of lag 0. Infinite where there is no dip. Returns the least.
 */
static float rate_dips(struct workspace *work, size_t lag_max)
{
    float deepest = INFINITY;
    double sum = 0;

    assert(lag_max < work->lags);
    for (size_t lag = 1; lag <= lag_max; lag++) {
        sum += work->difference[lag];
        work->depth[lag] = INFINITY;
        if (is_dip(work, lag)) {
            struct dip dip = dip_at(work, lag);

            work->depth[lag] = (float)(dip.difference * dip.lag / sum);
            deepest = fminf(deepest, work->depth[lag]);
        }
    }
    return deepest;
}

/* YIN, step 4: the first of the dips that are about as deep as the deepest. There is none in noise. */
static bool first_deep_dip(struct workspace *work, struct dip *dip)
{
    size_t lag_max = (size_t)(work->rate / PITCH_MIN_HZ) + 1;
    float enough = fminf(rate_dips(work, lag_max) + DIP_TOLERANCE, VOICED_DEPTH_MAX);

    for (size_t lag = 1; lag <= lag_max; lag++) {
        if (work->depth[lag] <= enough) {
            *dip = dip_at(work, lag);
            return true;
        }
    }
    return false;
}

/* The deepest point within a sixteenth of a period of where a dip should be: in noise its floor is rough. */
static size_t lowest_around(const struct workspace *work, double lag, double period)
{
    size_t reach = (size_t)(period / 16) + 1;
    size_t middle = (size_t)lround(lag);
    size_t lowest = middle;

    for (size_t i = middle - reach; i <= middle + reach && i <= work->lags; i++) {
        if (work->difference[i] < work->difference[lowest])
            lowest = i;
    }
    return lowest;
}

/* The period, read off two, four, eight ... periods away while the sound stays alike. */
static double refined_period(const struct workspace *work, struct dip first)
{
    double period = first.lag;

    for (unsigned k = 2; k * period < (double)work->lags - 1; k *= 2) {
        size_t lag = lowest_around(work, k * period, period);
        struct dip dip;

        if (!is_dip(work, lag))
            break;
        dip = dip_at(work, lag);
        if (dip.difference > first.difference + DRIFT_MAX)
            break;
        period = dip.lag / k;
    }
    return period;
}

/* 0 without a period, or with one out of range: a whistle's third period is in range, and not its pitch. */
static double pitch_of(struct workspace *work)
{
    struct dip dip;
    double pitch_hz;

    correlate(work);
    compare(work);
    if (!first_deep_dip(work, &dip))
        return 0;
    pitch_hz = work->rate / refined_period(work, dip);
    return pitch_hz >= PITCH_MIN_HZ && pitch_hz <= PITCH_MAX_HZ ? pitch_hz : 0;
}

int pitch_find(const float *signal, size_t count, double rate, double *pitch_hz)
{
    struct workspace *work;

    *pitch_hz = 0;
    if ((double)count < 2 * (rate / PITCH_MIN_HZ + 2))
        return 0;
    work = workspace_new(signal, count, rate);
    if (work == NULL)
        return -ENOMEM;
    *pitch_hz = pitch_of(work);
    free(work);
    return 0;
}
