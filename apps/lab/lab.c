/* SPDX-License-Identifier: MIT */
/*
 * `tandem lab`: runs experiments one after the other, and says whether this machine did what theory predicts.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <tandem.h>

#include "command.h"
#include "experiment.h"
#include "print.h"

static const char usage[] =
    "usage: tandem lab [NAME...]\n"
    "       tandem lab --list\n"
    "\n"
    "Each experiment is a law of concurrency: what theory predicts, what this\n"
    "machine did, and whether they agree. Without names all of them run.\n"
    "\n"
    "  --list       the names, a line each\n"
    "  --help\n"
    "\n"
    "Exit status: 0 all predictions held, 1 one failed, 2 wrong usage.\n";

enum verdict { HELD, FAILED, NOT_DONE, STOPPED };

static enum verdict measure(const struct experiment *experiment, struct findings *findings)
{
    int rc;

    findings_clear(findings);
    rc = experiment->run(findings);
    if (rc == -ECANCELED) {  /* SIGINT, SIGTERM: whoever sent it does not want the next one either */
        fprintf(stderr, "tandem: the experiment %s was stopped\n", experiment->name);
        return STOPPED;
    }
    if (rc < 0) {
        fprintf(stderr, "tandem: the experiment %s could not be done: %s\n", experiment->name, td_strerror(rc));
        return NOT_DONE;
    }
    print_findings(findings);
    return findings_hold(findings) ? HELD : FAILED;
}

static enum verdict perform(const struct experiment *experiment)
{
    struct findings findings;
    enum verdict verdict;

    print_beginning(experiment);
    verdict = measure(experiment, &findings);
    if (verdict == FAILED && findings_worth_repeating(&findings)) {
        print_paragraph("Again", "Only times failed, and a busy machine disturbs those: once more, and that counts.");
        verdict = measure(experiment, &findings);
    }
    if (verdict == HELD || verdict == FAILED)
        print_paragraph("Why", experiment->because);
    return verdict;
}

static const struct experiment *find(const struct experiment *const *all, const char *name)
{
    for (; *all; all++)
        if (strcmp((*all)->name, name) == 0)
            return *all;
    return NULL;
}

static int conclude(unsigned held, unsigned performed)
{
    if (held == performed)
        printf("%u of %u: this machine did what theory predicts.\n", held, performed);
    else
        printf("%u of %u held; look for FAILED above.\n", held, performed);
    return held == performed ? 0 : 1;
}

static int perform_named(const struct experiment *const *all, int count, char **names)
{
    unsigned held = 0, performed = 0;
    enum verdict verdict = HELD;

    for (int i = 0; i < count; i++) {
        if (!find(all, names[i])) {
            fprintf(stderr, "tandem: there is no experiment \"%s\"\n        tandem lab --list has the names\n", names[i]);
            return 2;
        }
    }
    for (int i = 0; verdict != STOPPED && (count > 0 ? i < count : all[i] != NULL); i++, performed++) {
        verdict = perform(count > 0 ? find(all, names[i]) : all[i]);
        held += verdict == HELD;
    }
    return verdict == STOPPED ? 1 : conclude(held, performed);
}

int lab_main(const struct experiment *const *all, int argc, char **argv)
{
    static const struct option options[] = {{"list", no_argument, NULL, 'l'}, {"help", no_argument, NULL, 'h'}, {0}};
    int option;

    optind = 1;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'l':
            print_list(all);
            return 0;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fprintf(stderr, "tandem: lab does not take \"%s\"\n        tandem lab --help tells more\n", argv[optind - 1]);
            return 2;
        }
    }
    return perform_named(all, argc - optind, argv + optind);
}
