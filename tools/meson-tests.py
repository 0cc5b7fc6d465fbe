#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What ./test needs to know about Meson's tests.

select FOLDER FLAVOUR [--suite S] [--built] [--part P]... [--names NAME...]
    prints the names of the tests configured in FOLDER, one a line: those of the suite, without those of the suite
    `once` for --built, whose name contains one of the parts, and whose full name FLAVOUR/TEST contains one of the NAMEs.
results FOLDER FLAVOUR --names TEST...
    prints OK, FAIL or SKIP, a tab and the full name for every test that was to run. One without a result has failed. A
    case that a test program skipped by itself is a line SKIP too, behind its program's.
enabled FOLDER
    exits 0 when the folder is configured with tests.
"""
import argparse
import collections
import json
import pathlib
import re
import sys

CASE_SKIPPED = re.compile(r'^\[  SKIPPED \] (?!\d+ test)(\S.*)', re.M)  # cmocka's line; the other ones are its summary
OUTCOMES = {'OK': 'OK', 'EXPECTEDFAIL': 'OK', 'SKIP': 'SKIP'}


def configured(folder):
    """Yields (name, suites) of each test; Meson writes a suite as `quick` or `tandem:quick`."""
    tests = json.loads((folder / 'meson-info/intro-tests.json').read_text(encoding='utf-8'))
    for test in tests:
        yield test['name'], {suite.rsplit(':', 1)[-1] for suite in test['suite']}


def select(args):
    seen = []
    for name, suites in configured(args.folder):
        wanted = (args.suite is None or args.suite in suites) and not (args.built and 'once' in suites)
        wanted = wanted and (not args.part or any(part in name for part in args.part))
        full = f'{args.flavour}/{name}'
        if wanted and name not in seen and (not args.names or any(part in full for part in args.names)):
            seen.append(name)
    for name in seen:
        print(name)
    return 0


def results(args):
    expected = collections.Counter(name for name, _ in configured(args.folder) if name in args.names)
    expected.update(set(args.names) - set(expected))
    log = args.folder / 'meson-logs/testlog.json'
    for line in log.read_text(encoding='utf-8', errors='replace').splitlines() if log.exists() else ():
        test = json.loads(line)
        name = test['name'].rsplit(' / ', 1)[-1]
        expected[name] -= 1
        print(f"{OUTCOMES.get(test['result'], 'FAIL')}\t{args.flavour}/{name}")
        for case in sorted(set(CASE_SKIPPED.findall(test.get('stdout', '')))):
            print(f'SKIP\t{args.flavour}/{name}: {case}')
    for name, count in expected.items():
        for _ in range(count):
            print(f'FAIL\t{args.flavour}/{name}')
    return 0


def enabled(args):
    options = json.loads((args.folder / 'meson-info/intro-buildoptions.json').read_text(encoding='utf-8'))
    return 0 if any(option['name'] == 'tests' and option['value'] for option in options) else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(required=True)
    for action in (select, results, enabled):
        sub = actions.add_parser(action.__name__)
        sub.set_defaults(action=action)
        sub.add_argument('folder', type=pathlib.Path)
        if action is enabled:
            continue
        sub.add_argument('flavour')
        if action is select:
            sub.add_argument('--suite')
            sub.add_argument('--built', action='store_true')
            sub.add_argument('--part', action='append', default=[])
        sub.add_argument('--names', nargs='*', default=[])
    args = parser.parse_args()
    return args.action(args)


if __name__ == '__main__':
    sys.exit(main())
