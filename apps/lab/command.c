/* SPDX-License-Identifier: MIT */
#include "command.h"

#include "experiment.h"

int lab_command(int argc, char **argv)
{
    static const struct experiment *const all[] = {&experiment_map, &experiment_copytax, &experiment_fifth_user,
                                                   &experiment_autoscale, NULL};

    return lab_main(all, argc, argv);
}
