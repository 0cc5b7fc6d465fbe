/* SPDX-License-Identifier: MIT */
#ifndef TANDEM_LAB_COMMAND_H
#define TANDEM_LAB_COMMAND_H

/* `tandem lab`: takes its arguments, the command's name first; returns the exit status. */
int lab_command(int argc, char **argv);

#endif
