#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The library's static probes are there, for whoever attaches to them.

    test_probes.py PROGRAM PROBES
"""
import re
import subprocess
import sys

WANTED = {'task_spawn': 2, 'task_switch': 2, 'task_park': 2, 'task_unpark': 2, 'task_done': 2, 'loop_turn': 2, 'pool_submit': 2,
          'pool_done': 3}
SKIPPED = 77


def main():
    program, built = sys.argv[1:3]
    if built != 'yes':
        print('built without <sys/sdt.h>')
        return SKIPPED
    notes = subprocess.run(['readelf', '--notes', '--wide', program], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = {}
    for provider, name, arguments in re.findall(r'Provider: (\w+)\s+Name: (\w+)\s+Location:.*\s+Arguments: (.*)', notes):
        if provider == 'tandem':
            found[name] = len(arguments.split())
    if found != WANTED:
        print(f'the probes are {found}, not {WANTED}')
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
