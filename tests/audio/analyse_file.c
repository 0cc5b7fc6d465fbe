/* SPDX-License-Identifier: MIT */
/*
 * Analyses raw 16-bit mono PCM from standard input, a window of 100 ms at a time: `analyse_file RATE`. Prints a line
 * each: at_ms rms pitch voiced. What is left at the end is a window too, a shorter one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../apps/serve/analyse.h"

int main(int argc, char **argv)
{
    unsigned rate = argc == 2 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    int16_t samples[ANALYSE_SAMPLES_MAX];
    size_t count;

    if (rate < ANALYSE_RATE_MIN || rate > ANALYSE_RATE_MAX) {
        fprintf(stderr, "analyse_file: no rate it could analyse\n"
                        "        give samples a second, %d to %d: sox in.wav -t raw - | analyse_file 16000\n",
                ANALYSE_RATE_MIN, ANALYSE_RATE_MAX);
        return 2;
    }
    for (unsigned at_ms = 0; (count = fread(samples, sizeof samples[0], rate / 10, stdin)) > 0; at_ms += 100) {
        struct analysis result;
        int rc = analyse_window(samples, count, rate, &result);

        if (rc < 0) {
            fprintf(stderr, "analyse_file: cannot analyse the window at %u ms: %s\n", at_ms, strerror(-rc));
            return 1;
        }
        printf("%u %.6f %.3f %d\n", at_ms, result.rms, result.pitch_hz, result.voiced);
    }
    return ferror(stdin) || fflush(stdout) != 0;
}
