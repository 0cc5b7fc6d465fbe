# SPDX-License-Identifier: MIT
"""Runs test functions, each on both backends.

    tests/serve/test_TOPIC.py PROGRAM [--backend NAME] [TEST...]

A test is a function, or an asyncio coroutine function, of one argument: the run, whose `serve(*flags)` starts a server. It
fails by raising. The exit status is 0, 1 when a test failed, 77 when a client that the tests need is missing.
"""
import argparse
import asyncio
import importlib.util
import inspect
import os
import shutil
import signal
import time
import traceback

from server import Failed, Server, slack_of

LIMIT_SECONDS = 60
TRIES = 3   # of a measurement: the machine may be busy with something else


class Skip(Exception):
    """The machine cannot run this test."""


class Run:
    def __init__(self, program, backend):
        self.program = program
        self.backend = backend
        self.slack = slack_of(program)
        self.sanitized = self.slack > 1
        self.notes = []

    def serve(self, *flags, **keywords):
        return Server(self.program, self.backend, *flags, **keywords)

    def note(self, text):
        """A figure to print with the result."""
        self.notes.append(text)

    def measured(self, measure, limit, what):
        """Calls measure() up to TRIES times until what it returns is below the limit (stretched where all is slow)."""
        found = []
        for _ in range(TRIES):
            found.append(measure())
            if found[-1] < limit * self.slack:
                break
        self.tried(found, limit, what)

    async def measured_async(self, measure, limit, what):
        found = []
        for _ in range(TRIES):
            found.append(await measure())
            if found[-1] < limit * self.slack:
                break
        self.tried(found, limit, what)

    def tried(self, found, limit, what):
        self.note(f'{what}: ' + ', '.join(f'{value:.4g}' for value in found) + f' (limit {limit * self.slack:g})')
        if found[-1] >= limit * self.slack:
            raise Failed(f'{what}: {found}, limit {limit * self.slack:g}')


def limit(seconds):
    """Decorates a test that may take longer than LIMIT_SECONDS."""
    def decorate(test):
        test.limit_seconds = seconds
        return test
    return decorate


def out_of_time(_signal, _frame):
    raise Failed('the test took too long')


def run_one(test, program, backend):
    """Returns 'ok', 'FAIL' or 'skip'."""
    run = Run(program, backend)
    begin = time.monotonic()
    outcome = 'ok'
    signal.signal(signal.SIGALRM, out_of_time)
    signal.setitimer(signal.ITIMER_REAL, getattr(test, 'limit_seconds', LIMIT_SECONDS) * run.slack)
    try:
        if inspect.iscoroutinefunction(test):
            asyncio.run(test(run))
        else:
            test(run)
    except Skip as reason:
        outcome = 'skip'
        run.note(str(reason))
    except Exception:
        outcome = 'FAIL'
        traceback.print_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    print(f'{outcome:4} {backend:5} {test.__name__} ({time.monotonic() - begin:.1f} s)', flush=True)
    for text in run.notes:
        print(f'           {text}', flush=True)
    return outcome


def missing(needs):
    for name in needs:
        found = importlib.util.find_spec(name) if name == 'websockets' else shutil.which(name)
        if not found:
            return name
    return None


def main(*tests, needs=(), backends=('uring', 'epoll')):
    parser = argparse.ArgumentParser()
    parser.add_argument('program')
    parser.add_argument('--backend', choices=('uring', 'epoll', 'auto'))
    parser.add_argument('--repeat', type=int, default=1)
    parser.add_argument('names', nargs='*', metavar='TEST')
    args = parser.parse_intermixed_args()
    if missing(needs):
        print(f'skipped: {missing(needs)} is not installed')
        return 77
    one = args.backend or os.environ.get('TANDEM_TEST_BACKEND')
    failed = []
    count = 0
    for _ in range(args.repeat):
        for test in tests:
            if args.names and test.__name__ not in args.names:
                continue
            for backend in [one] if one else backends:
                count += 1
                if run_one(test, args.program, backend) == 'FAIL':
                    failed.append(f'{test.__name__} ({backend})')
    print(f'{count} run, {len(failed)} failed' + (': ' + ', '.join(failed) if failed else ''))
    return 1 if failed or not count else 0
