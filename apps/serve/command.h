/* SPDX-License-Identifier: MIT */
#ifndef TANDEM_SERVE_COMMAND_H
#define TANDEM_SERVE_COMMAND_H

/* `tandem serve`: takes its arguments, the command's name first; returns the exit status. */
int serve_command(int argc, char **argv);

#endif
