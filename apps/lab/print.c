/* SPDX-License-Identifier: MIT */
#include "print.h"

#include <stdio.h>
#include <string.h>

#define MARGIN 10
#define WIDTH 78

void print_list(const struct experiment *const *all)
{
    for (; *all; all++)
        printf("  %-14s%s\n", (*all)->name, (*all)->summary);
}

/* One line's worth of words: how many characters of `text` go on it. */
static size_t fitting(const char *text)
{
    size_t length = strlen(text), fits = WIDTH - MARGIN - 2;

    if (length <= fits)
        return length;
    while (fits > 0 && text[fits] != ' ')
        fits--;
    return fits > 0 ? fits : WIDTH - MARGIN - 2;
}

void print_paragraph(const char *margin, const char *text)
{
    while (*text) {
        size_t length = fitting(text);

        printf("  %-*s%.*s\n", MARGIN, margin, (int)length, text);
        text += length;
        text += strspn(text, " ");
        margin = "";
    }
    putchar('\n');
    fflush(stdout);
}

void print_beginning(const struct experiment *experiment)
{
    printf("%s: %s\n\n", experiment->name, experiment->summary);
    print_paragraph("Theory", experiment->theory);
}

static void print_claim(const char *margin, const struct claim *claim)
{
    static const char *const relations[] = {[EXACTLY] = "exactly", [AT_LEAST] = "at least", [AT_MOST] = "at most"};
    char measured[32], predicted[32], seen[48];

    number(measured, sizeof measured, claim->measured);
    number(predicted, sizeof predicted, claim->predicted);
    snprintf(seen, sizeof seen, "%s%s%s", measured, *claim->unit ? " " : "", claim->unit);
    printf("  %-*s%-7s%-29s%12s  %s %s\n", MARGIN, margin, claim_holds(claim) ? "held" : "FAILED", claim->what, seen,
           relations[claim->relation], predicted);
}

void print_findings(const struct findings *findings)
{
    const char *margin = "Measured";

    for (size_t i = 0; i < findings->lines; i++, margin = "") {
        if (*findings->line[i])
            printf("  %-*s%s\n", MARGIN, margin, findings->line[i]);
        else
            putchar('\n');
    }
    putchar('\n');
    margin = "Verdict";
    for (size_t i = 0; i < findings->claims; i++, margin = "")
        print_claim(margin, &findings->claim[i]);
    putchar('\n');
    fflush(stdout);
}
