#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The library's calls out of itself, as tests/faults/calls.h lists them.

calls.py copy CALLS_H NM OBJCOPY LIBRARY COPY
    copies the library's archive, with fault_NAME for each NAME that calls.h wants replaced.
calls.py check CALLS_H NM LIBRARY
    compares calls.h with what the library calls. Exit status 1: it calls something that calls.h does not know.
"""
import re
import subprocess
import sys

ENTRY = re.compile(r'\b(CALL\([^,()]+,|OWN\(|SAFE\()\s*(\w+)\s*[,)]')
COMMENT = re.compile(r'/\*.*?\*/', re.DOTALL)
NOT_OURS = re.compile(r'^(_GLOBAL_OFFSET_TABLE_|_Unwind_\w+|__stack_chk_fail|__tls_get_addr|__(asan|ubsan|tsan|lsan|msan|sanitizer)_\w+)$')


def listed(path):
    """Names in calls.h: {name: whether it is replaced}."""
    with open(path, encoding='utf-8') as file:
        text = COMMENT.sub('', file.read())
    return {name: not kind.startswith('SAFE') for kind, name in ENTRY.findall(text)}


def called(nm, library):
    """What the library's objects need and none of them defines."""
    out = subprocess.run([nm, library], check=True, capture_output=True, text=True).stdout
    needs, has = set(), set()
    for line in out.splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[-2] in 'Uwv':
            needs.add(fields[-1])
        elif len(fields) == 3:
            has.add(fields[-1])
    return {name for name in needs - has if not NOT_OURS.match(name)}


def copy(calls, nm, objcopy, library, result):
    names = [name for name, replaced in listed(calls).items() if replaced]
    arguments = [f'--redefine-sym={name}=fault_{name}' for name in names]
    subprocess.run([objcopy, *arguments, library, result], check=True)


def check(calls, nm, library):
    known = listed(calls)
    unknown = sorted(called(nm, library) - set(known))
    for name in unknown:
        print(f'{name}: the library calls it, and tests/faults/calls.h does not say how it can fail; add a line there')
    return 1 if unknown or not known else 0


def main():
    action, *arguments = sys.argv[1:]
    return {'copy': copy, 'check': check}[action](*arguments) or 0


if __name__ == '__main__':
    sys.exit(main())
