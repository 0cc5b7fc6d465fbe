/* SPDX-License-Identifier: MIT */
#include "findings.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void findings_clear(struct findings *findings)
{
    findings->lines = findings->claims = 0;
}

/* The library's own assertions may be compiled out; a lab that loses a claim would say that all is well. */
static void must(bool fits, const char *what)
{
    if (fits)
        return;
    fprintf(stderr, "tandem: an experiment has more %s than the lab has room for; see apps/lab/findings.h\n", what);
    abort();
}

void findings_line(struct findings *findings, const char *format, ...)
{
    va_list args;

    must(findings->lines < FINDINGS_LINES, "lines");
    va_start(args, format);
    vsnprintf(findings->line[findings->lines], sizeof findings->line[0], format, args);
    va_end(args);
    findings->lines++;
}

void findings_claim(struct findings *findings, struct claim claim)
{
    must(findings->claims < FINDINGS_CLAIMS && strlen(claim.what) <= FINDINGS_WHAT, "claims, or words in one,");
    findings->claim[findings->claims++] = claim;
}

bool claim_holds(const struct claim *claim)
{
    switch (claim->relation) {
    case EXACTLY: return claim->measured == claim->predicted;
    case AT_LEAST: return claim->measured >= claim->predicted;
    case AT_MOST: return claim->measured <= claim->predicted;
    }
    return false;
}

bool findings_hold(const struct findings *findings)
{
    for (size_t i = 0; i < findings->claims; i++)
        if (!claim_holds(&findings->claim[i]))
            return false;
    return findings->claims > 0;
}

bool findings_worth_repeating(const struct findings *findings)
{
    for (size_t i = 0; i < findings->claims; i++)
        if (findings->claim[i].kind != TIMED && !claim_holds(&findings->claim[i]))
            return false;
    return findings->claims > 0 && !findings_hold(findings);
}

/* "1234567" becomes "1,234,567", in place. */
static void group(char *text, size_t size)
{
    size_t length = strlen(text), begin = text[0] == '-';

    for (size_t at = length; at > begin + 3; at -= 3, length++) {
        if (length + 2 > size)
            return;
        memmove(text + at - 2, text + at - 3, length - at + 4);
        text[at - 3] = ',';
    }
}

char *number(char *text, size_t size, double value)
{
    double amount = fabs(value);

    if (!isfinite(value)) {
        snprintf(text, size, "no number");
    } else if (amount >= 99.5 || amount == floor(amount)) {
        snprintf(text, size, "%.0f", value);
        group(text, size);
    } else {
        snprintf(text, size, "%.*f", amount >= 9.95 ? 1 : amount >= 0.995 ? 2 : 3, value);
    }
    return text;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

double quantile(double *values, size_t count, double share)
{
    assert(count > 0);
    qsort(values, count, sizeof *values, compare);
    return values[(size_t)((double)(count - 1) * share + 0.5)];
}
