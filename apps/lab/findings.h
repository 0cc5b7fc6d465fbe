/* SPDX-License-Identifier: MIT */
/*
 * What an experiment has found: lines of figures for people, and claims, each a number that was measured beside the
 * one that was predicted. An experiment writes them down and prints nothing; how they look is another room's business.
 */
#ifndef TANDEM_LAB_FINDINGS_H
#define TANDEM_LAB_FINDINGS_H

#include <stdbool.h>
#include <stddef.h>

#define FINDINGS_COLUMNS 68  /* of a line */
#define FINDINGS_WHAT 28     /* of a claim's words */
#define FINDINGS_LINES 48
#define FINDINGS_CLAIMS 12

/*
 * How sure a claim is. What is counted must be so on every run. What is timed can be disturbed by whatever else the
 * machine does, and gets a second chance.
 */
enum claim_kind { COUNTED, TIMED };

enum claim_relation { EXACTLY, AT_LEAST, AT_MOST };

struct claim {
    enum claim_kind kind;
    const char *what;     /* a constant */
    const char *unit;     /* "times", "s"; may be ""; a constant */
    enum claim_relation relation;
    double predicted, measured;
};

struct findings {
    size_t lines, claims;
    char line[FINDINGS_LINES][FINDINGS_COLUMNS + 1];
    struct claim claim[FINDINGS_CLAIMS];
};

void findings_clear(struct findings *findings);

/* Adds a line, cut where it is too long. A line too many is a mistake in the experiment, and aborts; so with claims. */
void findings_line(struct findings *findings, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds a claim. A measured value that is no number holds nothing. */
void findings_claim(struct findings *findings, struct claim claim);

bool claim_holds(const struct claim *claim);

/* Whether all held; with none at all nothing was shown, and it is false. */
bool findings_hold(const struct findings *findings);

/* Whether what did not hold was timed, all of it: then it may be worth another try. */
bool findings_worth_repeating(const struct findings *findings);

/* A number for people: whole with commas from 100 up ("1,000,000"), three digits or so below ("9.25"). Returns `text`. */
char *number(char *text, size_t size, double value);

/* The value that `share` (0 to 1) of them are below; sorts them. Of times a low one shows the thing, not its neighbours. */
double quantile(double *values, size_t count, double share);

#endif
