/* SPDX-License-Identifier: MIT */
/* What the analysis hears in sounds whose pitch is known, and in sounds that have none. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../apps/serve/analyse.h"

#define ENTRIES(table) (sizeof(table) / sizeof((table)[0]))
#define QUIET 0.00316   /* -50 dB of full scale */

static const unsigned rates[] = {8000, 11025, 16000, 22050, 44100, 48000};

/* The allocator between the analysis and the C library's (the linker's --wrap), with as much memory as a test allows. */
static struct {
    size_t allocations_left;
    size_t held;
} memory = {.allocations_left = SIZE_MAX};

void *__real_malloc(size_t size);
void __real_free(void *old);
void *__wrap_malloc(size_t size);
void __wrap_free(void *old);

void *__wrap_malloc(size_t size)
{
    void *new;

    if (memory.allocations_left == 0)
        return NULL;
    memory.allocations_left--;
    new = __real_malloc(size);
    memory.held += new != NULL;
    return new;
}

void __wrap_free(void *old)
{
    memory.held -= old != NULL;
    __real_free(old);
}

struct random {
    uint64_t state;
};

/* splitmix64 */
static uint64_t random_next(struct random *random)
{
    uint64_t z = random->state += 0x9E3779B97F4A7C15u;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static double random_between(struct random *random, double low, double high)
{
    return low + (high - low) * (double)(random_next(random) >> 11) * 0x1p-53;
}

/* 100 ms of sound, first as it is made and then as 16 bits. */
struct sound {
    unsigned rate;
    size_t count;
    double wave[ANALYSE_SAMPLES_MAX];
    int16_t samples[ANALYSE_SAMPLES_MAX];
};

static void begin(struct sound *sound, unsigned rate)
{
    sound->rate = rate;
    sound->count = rate / 10;
    memset(sound->wave, 0, sizeof sound->wave);
}

static void add_partial(struct sound *sound, double hz, double amplitude, double cycles)
{
    for (size_t i = 0; i < sound->count; i++)
        sound->wave[i] += amplitude * sin(2 * M_PI * (hz * (double)i / sound->rate + cycles));
}

static void scale_to_peak(struct sound *sound, double peak)
{
    double loudest = 0;

    for (size_t i = 0; i < sound->count; i++)
        loudest = fmax(loudest, fabs(sound->wave[i]));
    for (size_t i = 0; i < sound->count && loudest > 0; i++)
        sound->wave[i] *= peak / loudest;
}

/* Like a converter: rounds, and clips what is beyond full scale. */
static struct analysis heard(struct sound *sound)
{
    struct analysis result;

    for (size_t i = 0; i < sound->count; i++)
        sound->samples[i] = (int16_t)fmax(-32768, fmin(32767, rint(sound->wave[i] * 32768)));
    assert_int_equal(analyse_window(sound->samples, sound->count, sound->rate, &result), 0);
    assert_int_equal(result.voiced, result.pitch_hz > 0);
    return result;
}

/* A sound made of partials `first`, first + step ... `last` whose amplitudes go as their number to the `slope`. */
struct timbre {
    const char *name;
    int first, last, step;
    double slope;
    double cycles;           /* 0 for sines, 0.25 for cosines */
    double peak;             /* above 1 is clipped */
    double low_hz, high_hz;
    double tolerance_hz;
};

static const struct timbre timbres[] = {
    {"sine", 1, 1, 1, 0, 0, 1, 80, 1000, 0.05},
    {"sine, quiet", 1, 1, 1, 0, 0, QUIET, 80, 1000, 0.05},
    {"sine, clipped", 1, 1, 1, 0, 0, 4, 80, 1000, 0.3},
    {"sine, edges of the range", 1, 1, 1, 0, 0, 0.5, 60, 1100, 0.05},
    {"sawtooth", 1, 40, 1, -1, 0, 0.9, 60, 1000, 0.3},
    {"sawtooth, quiet", 1, 40, 1, -1, 0, QUIET, 60, 1000, 0.3},
    {"square", 1, 39, 2, -1, 0, 0.9, 60, 1000, 0.3},
    {"pulses", 1, 60, 1, 0, 0.25, 0.9, 60, 1000, 0.3},
    {"pulses, quiet", 1, 60, 1, 0, 0.25, QUIET, 60, 1000, 0.3},
    {"partials 2 to 4", 2, 4, 1, 0, 0, 0.5, 70, 900, 0.3},
    {"partials 3 to 5", 3, 5, 1, 0, 0, 0.5, 70, 700, 0.3},
    {"partials 3 to 8", 3, 8, 1, 0, 0, 0.5, 70, 450, 0.3},
    {"partials 6 to 10", 6, 10, 1, 0, 0, 0.5, 70, 350, 0.3},
    {"strong second partial", 1, 2, 1, 1, 0, 0.5, 70, 1000, 0.3},
};

/* Partials the rate cannot hold are left out, as a converter's filter does. */
static void play(struct sound *sound, const struct timbre *timbre, double hz, double cycles)
{
    for (int k = timbre->first; k <= timbre->last && k * hz < 0.45 * sound->rate; k += timbre->step)
        add_partial(sound, k * hz, pow(k, timbre->slope), k * cycles + timbre->cycles);
    scale_to_peak(sound, timbre->peak);
}

static double pitch_error(struct sound *sound, const char *name, double hz, double tolerance_hz)
{
    double pitch_hz = heard(sound).pitch_hz;

    if (!(fabs(pitch_hz - hz) <= tolerance_hz))
        fail_msg("%s of %.3f Hz at %u samples a second was heard as %.3f Hz", name, hz, sound->rate, pitch_hz);
    return fabs(pitch_hz - hz);
}

static void tones_have_their_pitch(void **state)
{
    struct random random = {1};
    struct sound sound;

    for (size_t i = 0; i < ENTRIES(timbres); i++) {
        const struct timbre *timbre = &timbres[i];
        double worst = 0;

        for (size_t j = 0; j < ENTRIES(rates); j++) {
            for (int draw = 0; draw < 40; draw++) {
                double hz = random_between(&random, timbre->low_hz, timbre->high_hz);

                begin(&sound, rates[j]);
                play(&sound, timbre, hz, random_between(&random, 0, 1));
                worst = fmax(worst, pitch_error(&sound, timbre->name, hz, timbre->tolerance_hz));
            }
        }
        print_message("%-26s off by %.3f Hz at most\n", timbre->name, worst);
    }
}

static void sines_have_their_pitch_at_every_step_and_phase(void **state)
{
    static const double peaks[] = {4, 1, 0.1, QUIET};
    struct sound sound;

    for (size_t i = 0; i < ENTRIES(rates); i++) {
        for (int hz = 80; hz <= 1000; hz += 23) {
            for (int eighth = 0; eighth < 8; eighth++) {
                begin(&sound, rates[i]);
                add_partial(&sound, hz, peaks[eighth % 4], eighth / 8.0);
                pitch_error(&sound, "sine", hz, 0.3);
            }
        }
    }
}

/* Tones as simple programs make them, jumping between samples. What that aliases is part of the sound. */
static void naive_tones_have_their_pitch(void **state)
{
    struct random random = {2};
    struct sound sound;

    for (int draw = 0; draw < 600; draw++) {
        double hz = random_between(&random, 60, 500);
        double cycles = random_between(&random, 0, 1);
        bool square = draw % 2;

        begin(&sound, rates[draw % ENTRIES(rates)]);
        for (size_t i = 0; i < sound.count; i++) {
            double at = fmod(hz * (double)i / sound.rate + cycles, 1);

            sound.wave[i] = square ? (at < 0.5 ? 0.8 : -0.8) : 2 * at - 1;
        }
        pitch_error(&sound, square ? "naive square" : "naive sawtooth", hz, 1);
    }
}

/* How loud a resonance of this frequency and bandwidth lets a partial through: a pair of poles. */
static double formant(double hz, double formant_hz, double width_hz)
{
    double in_tune = formant_hz * formant_hz - hz * hz;

    return formant_hz * formant_hz / sqrt(in_tune * in_tune + width_hz * width_hz * hz * hz);
}

/* A glottal buzz through three formants, with a hint of breath. */
static void sing(struct sound *sound, double hz, struct random *random)
{
    double first = random_between(random, 250, 850);
    double second = random_between(random, 900, 2300);
    double third = random_between(random, 2300, 3000);
    double slope = random_between(random, -2, -1);

    for (int k = 1; k * hz < fmin(0.45 * sound->rate, 6000); k++) {
        double gain = formant(k * hz, first, 90) * formant(k * hz, second, 110) * formant(k * hz, third, 140);

        add_partial(sound, k * hz, pow(k, slope) * gain, random_between(random, 0, 1));
    }
    scale_to_peak(sound, 0.5);
    for (size_t i = 0; i < sound->count; i++)
        sound->wave[i] += random_between(random, -0.003, 0.003);
}

/* A narrow formant right on a partial may be taken for the pitch, by ears too; it must stay a rarity. */
static void vowels_have_the_pitch_of_the_voice(void **state)
{
    struct random random = {3};
    struct sound sound;
    int off = 0;

    for (int draw = 0; draw < 1200; draw++) {
        double hz = random_between(&random, 80, 350);

        begin(&sound, rates[draw % ENTRIES(rates)]);
        sing(&sound, hz, &random);
        off += fabs(heard(&sound).pitch_hz - hz) > 1;
    }
    print_message("%d of 1200 vowels off by more than 1 Hz\n", off);
    assert_in_range(off, 0, 6);
}

static void dc_does_not_matter(void **state)
{
    struct random random = {4};
    struct sound sound;

    for (int draw = 0; draw < 300; draw++) {
        double hz = random_between(&random, 80, 1000);
        double offset = random_between(&random, -0.9, 0.9);

        begin(&sound, rates[draw % ENTRIES(rates)]);
        add_partial(&sound, hz, QUIET, random_between(&random, 0, 1));
        for (size_t i = 0; i < sound.count; i++)
            sound.wave[i] += offset;
        pitch_error(&sound, "quiet sine on DC", hz, 0.3);
    }
}

static void tones_survive_noise(void **state)
{
    struct random random = {5};
    struct sound sound;
    const double amplitude = 0.3;
    const double noise_peak = amplitude * sqrt(0.75);   /* 3 dB below: the mean squares are peak^2 / 3 and amplitude^2 / 2 */

    for (int draw = 0; draw < 600; draw++) {
        double hz = random_between(&random, 80, 1000);

        begin(&sound, rates[draw % ENTRIES(rates)]);
        add_partial(&sound, hz, amplitude, random_between(&random, 0, 1));
        for (size_t i = 0; i < sound.count; i++)
            sound.wave[i] += random_between(&random, -noise_peak, noise_peak);
        pitch_error(&sound, "sine in noise", hz, 3);
    }
}

/* A tone that begins or ends halfway is heard, a little less exactly; its level is that of the whole window. */
static void half_a_window_of_tone_has_its_pitch(void **state)
{
    struct random random = {6};
    struct sound sound;

    for (int draw = 0; draw < 600; draw++) {
        double hz = random_between(&random, 80, 1000);
        struct analysis whole, half;

        begin(&sound, rates[draw % ENTRIES(rates)]);
        add_partial(&sound, hz, 0.7, random_between(&random, 0, 1));
        whole = heard(&sound);
        memset(sound.wave + (draw & 8 ? sound.count / 2 : 0), 0, sound.count / 2 * sizeof sound.wave[0]);
        pitch_error(&sound, "half a window of sine", hz, 1.5);
        half = heard(&sound);
        assert_true(fabs(half.rms / whole.rms - sqrt(0.5)) < 0.05);
    }
}

static void level_is_root_mean_square_of_full_scale(void **state)
{
    struct analysis result;
    struct sound sound;

    for (size_t i = 0; i < ENTRIES(rates); i++) {
        begin(&sound, rates[i]);
        assert_true(heard(&sound).rms == 0);
        add_partial(&sound, 440, 0.5, 0);   /* 44 whole periods */
        assert_true(fabs(heard(&sound).rms - 0.5 * sqrt(0.5)) < 1e-4);
        for (size_t j = 0; j < sound.count; j++)
            sound.samples[j] = INT16_MIN;
        assert_int_equal(analyse_window(sound.samples, sound.count, sound.rate, &result), 0);
        assert_true(result.rms == 1);
        assert_false(result.voiced);   /* DC has no pitch */
    }
}

static void expect_unvoiced(struct sound *sound, const char *name)
{
    struct analysis result = heard(sound);

    if (result.voiced)
        fail_msg("%s at %u samples a second was heard as %.3f Hz", name, sound->rate, result.pitch_hz);
}

static void silence_and_dc_have_no_pitch(void **state)
{
    static const double offsets[] = {0, 1 / 32768.0, -1 / 32768.0, 0.1, -0.5, 1, -1};
    struct sound sound;

    for (size_t i = 0; i < ENTRIES(rates) * ENTRIES(offsets); i++) {
        begin(&sound, rates[i % ENTRIES(rates)]);
        for (size_t j = 0; j < sound.count; j++)
            sound.wave[j] = offsets[i / ENTRIES(rates)];
        expect_unvoiced(&sound, "DC");
    }
}

/* Below the least significant bit even a clean tone is no more than dither. */
static void the_last_bit_has_no_pitch(void **state)
{
    struct sound sound;

    for (size_t i = 0; i < ENTRIES(rates); i++) {
        begin(&sound, rates[i]);
        add_partial(&sound, 200, 1 / 32768.0, 0.1);
        expect_unvoiced(&sound, "a sine of one step");
    }
}

/* Rumble below the range is no pitch, and neither is a whistle above it, though its second period would be in range. */
static void tones_out_of_range_have_no_pitch(void **state)
{
    struct random random = {7};
    struct sound sound;

    for (int draw = 0; draw < 1200; draw++) {
        bool rumble = draw % 4 == 0;

        begin(&sound, rates[draw % ENTRIES(rates)]);
        add_partial(&sound, rumble ? random_between(&random, 1, 50) : random_between(&random, 1200, 0.49 * sound.rate),
                    0.5, random_between(&random, 0, 1));
        expect_unvoiced(&sound, rumble ? "rumble" : "whistle");
    }
}

static void make_dither(struct sound *sound, double amplitude, struct random *random)
{
    for (size_t i = 0; i < sound->count; i++)
        sound->wave[i] = (double)(random_next(random) % 3) / 32768 - 1 / 32768.0;
}

static void make_white(struct sound *sound, double amplitude, struct random *random)
{
    for (size_t i = 0; i < sound->count; i++)
        sound->wave[i] = amplitude * random_between(random, -1, 1);
}

/*
 * Voss's pink noise (M. Gardner, "White and brown music, fractal curves and one-over-f fluctuations", Scientific
 * American, April 1978): row k of the sum is drawn anew every 2^k samples. The slowest changes 12 times a second.
 */
static void make_pink(struct sound *sound, double amplitude, struct random *random)
{
    double rows[13];

    for (size_t k = 0; k < ENTRIES(rows); k++)
        rows[k] = random_between(random, -1, 1);
    for (size_t i = 0; i < sound->count; i++) {
        double sum = random_between(random, -1, 1);
        unsigned k = i == 0 ? 0 : (unsigned)__builtin_ctzll(i);

        if (k < ENTRIES(rows))
            rows[k] = random_between(random, -1, 1);
        for (size_t j = 0; j < ENTRIES(rows); j++)
            sum += rows[j];
        sound->wave[i] = amplitude * sum / 4;
    }
}

static void noise_has_no_pitch(void **state)
{
    static const struct {
        const char *name;
        void (*make)(struct sound *sound, double amplitude, struct random *random);
        double amplitude;
    } noises[] = {
        {"dither", make_dither, 0},
        {"white, loud", make_white, 1},
        {"white, clipped", make_white, 4},
        {"white, quiet", make_white, QUIET},
        {"pink, loud", make_pink, 0.5},
        {"pink, quiet", make_pink, QUIET},
    };
    struct sound sound;

    for (size_t i = 0; i < ENTRIES(noises); i++) {
        struct random random = {100 + i};
        const int windows = 6000;
        int voiced = 0;

        for (int seed = 0; seed < windows; seed++) {
            begin(&sound, rates[(size_t)seed % ENTRIES(rates)]);
            noises[i].make(&sound, noises[i].amplitude, &random);
            voiced += heard(&sound).voiced;
        }
        print_message("%-26s %d of %d windows voiced\n", noises[i].name, voiced, windows);
        assert_in_range(voiced, 0, windows / 200 - 1);   /* under 0.5 % */
    }
}

/* Exactly as much memory as there are samples, so that a sanitizer sees a look beyond. */
static void short_windows_have_a_level_and_no_pitch(void **state)
{
    struct sound sound;
    struct analysis result;

    for (size_t i = 0; i < ENTRIES(rates); i++) {
        size_t two_periods = 2 * rates[i] / 60;

        begin(&sound, rates[i]);
        add_partial(&sound, 500, 0.5, 0.25);
        heard(&sound);
        for (size_t count = 0; count <= sound.count; count += count < 40 ? 1 : 7) {
            int16_t *exactly = test_malloc(count * sizeof *exactly + 1);

            assert_non_null(exactly);
            memcpy(exactly, sound.samples, count * sizeof *exactly);
            assert_int_equal(analyse_window(exactly, count, rates[i], &result), 0);
            assert_true(count == 0 ? result.rms == 0 : result.rms > 0.1);
            if (count < two_periods)
                assert_false(result.voiced);
            else if (result.voiced)
                assert_true(fabs(result.pitch_hz - 500) < 1);
            test_free(exactly);
        }
        assert_true(result.voiced);
    }
}

/* The most samples at a low rate are a long window, six tenths of a second: the same answer. */
static void long_windows_have_their_pitch(void **state)
{
    struct sound sound;

    for (size_t i = 0; i < ENTRIES(rates); i++) {
        begin(&sound, rates[i]);
        sound.count = ANALYSE_SAMPLES_MAX;
        add_partial(&sound, 123.4, 0.5, 0.25);
        pitch_error(&sound, "long sine", 123.4, 0.05);
    }
}

static void what_is_out_of_limits_is_refused(void **state)
{
    static const int16_t samples[ANALYSE_SAMPLES_MAX + 1];
    struct analysis result = {.rms = 7, .pitch_hz = 7, .voiced = true};

    assert_int_equal(analyse_window(samples, 800, ANALYSE_RATE_MIN - 1, &result), -EINVAL);
    assert_int_equal(analyse_window(samples, 800, ANALYSE_RATE_MAX + 1, &result), -EINVAL);
    assert_int_equal(analyse_window(samples, 800, 0, &result), -EINVAL);
    assert_int_equal(analyse_window(samples, ANALYSE_SAMPLES_MAX + 1, 48000, &result), -EINVAL);
    assert_true(result.rms == 7 && result.pitch_hz == 7 && result.voiced);
    assert_int_equal(analyse_window(samples, ANALYSE_SAMPLES_MAX, 48000, &result), 0);
    assert_false(result.voiced);
}

/* Whichever allocation fails, the caller hears of it, keeps its result as it was, and nothing is left behind. */
static void lack_of_memory_is_reported_and_leaks_nothing(void **state)
{
    struct analysis result = {.rms = 7};
    struct sound sound;
    size_t allowed = 0;
    int rc;

    begin(&sound, 16000);
    add_partial(&sound, 200, 0.5, 0);
    heard(&sound);
    memory.held = 0;
    for (;;) {
        memory.allocations_left = allowed;
        rc = analyse_window(sound.samples, sound.count, sound.rate, &result);
        memory.allocations_left = SIZE_MAX;
        assert_int_equal(memory.held, 0);
        if (rc == 0)
            break;
        assert_int_equal(rc, -ENOMEM);
        assert_true(result.rms == 7);
        allowed++;
    }
    assert_in_range(allowed, 1, 10);
    assert_true(result.voiced);
}

/* No window leaves a trace in the next one's result. */
static void the_same_window_has_the_same_result(void **state)
{
    struct random random = {8};
    struct sound tone, noise;
    struct analysis first, again;

    begin(&tone, 22050);
    add_partial(&tone, 314.15, 0.5, 0.3);
    first = heard(&tone);
    begin(&noise, 48000);
    make_white(&noise, 1, &random);
    heard(&noise);
    again = heard(&tone);
    assert_true(first.rms == again.rms && first.pitch_hz == again.pitch_hz);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tones_have_their_pitch),
        cmocka_unit_test(sines_have_their_pitch_at_every_step_and_phase),
        cmocka_unit_test(naive_tones_have_their_pitch),
        cmocka_unit_test(vowels_have_the_pitch_of_the_voice),
        cmocka_unit_test(dc_does_not_matter),
        cmocka_unit_test(tones_survive_noise),
        cmocka_unit_test(half_a_window_of_tone_has_its_pitch),
        cmocka_unit_test(level_is_root_mean_square_of_full_scale),
        cmocka_unit_test(silence_and_dc_have_no_pitch),
        cmocka_unit_test(the_last_bit_has_no_pitch),
        cmocka_unit_test(tones_out_of_range_have_no_pitch),
        cmocka_unit_test(noise_has_no_pitch),
        cmocka_unit_test(short_windows_have_a_level_and_no_pitch),
        cmocka_unit_test(long_windows_have_their_pitch),
        cmocka_unit_test(what_is_out_of_limits_is_refused),
        cmocka_unit_test(lack_of_memory_is_reported_and_leaks_nothing),
        cmocka_unit_test(the_same_window_has_the_same_result),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
