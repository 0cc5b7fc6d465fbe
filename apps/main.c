/* SPDX-License-Identifier: MIT */
/*
 * The tandem program: a command, and its arguments.
 */
#include <stdio.h>
#include <string.h>

#include "lab/command.h"
#include "serve/command.h"

static const char usage[] =
    "usage: tandem COMMAND [ARG...]\n"
    "\n"
    "  serve       run the gateway: chat rooms, audio sessions, heavy work offloaded\n"
    "  lab         see the laws of concurrency measured on this machine\n"
    "\n"
    "tandem COMMAND --help tells more; tandem --version says which tandem this is.\n";

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";

    if (strcmp(command, "serve") == 0)
        return serve_command(argc - 1, argv + 1);
    if (strcmp(command, "lab") == 0)
        return lab_command(argc - 1, argv + 1);
    if (strcmp(command, "--version") == 0) {
        puts("tandem " TD_VERSION);
        return 0;
    }
    if (strcmp(command, "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (*command)
        fprintf(stderr, "tandem: there is no command \"%s\"\n\n", command);
    fputs(usage, stderr);
    return 2;
}
