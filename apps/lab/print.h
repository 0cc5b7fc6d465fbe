/* SPDX-License-Identifier: MIT */
/*
 * How the lab looks in a terminal of 80 columns: a word in the margin, and what it is about beside it. No colours, so
 * that it reads the same in a file.
 */
#ifndef TANDEM_LAB_PRINT_H
#define TANDEM_LAB_PRINT_H

#include "experiment.h"

/* The name and the summary of each, for --list. */
void print_list(const struct experiment *const *all);

/* The experiment's name, summary, and theory; at once, since measuring takes a while. */
void print_beginning(const struct experiment *experiment);

/* What was measured, and the verdict on each claim. */
void print_findings(const struct findings *findings);

/* A paragraph beside a word in the margin. */
void print_paragraph(const char *margin, const char *text);

#endif
