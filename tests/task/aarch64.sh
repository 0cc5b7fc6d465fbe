#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The context switch for aarch64: compiled for it, and run by an emulator.
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../run/aarch64.sh"
cat >"$folder/switch.c" <<'END'
#include "task/switch.h"

int main(void)
{
    int line = switch_all();

    if (line)
        printf("tests/task/switch.h:%d does not hold\n", line);
    return line != 0;
}
END
aarch64-linux-gnu-gcc -static -O2 -Wall -Wextra -Werror -Wno-unused-parameter -D_GNU_SOURCE -DTD_SWITCH_ASM \
    -I"$root/src" -I"$root/include" -I"$root/tests" "$folder/switch.c" "$root/src/task/context.c" \
    "$root/src/task/context_switch.S" -o "$folder/switch"
qemu-aarch64 "$folder/switch"
