#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`tandem lab` as a user has it: test_lab.py TANDEM usage|NAME."""
import os
import re
import signal
import subprocess
import sys

NAMES = ['map', 'copytax', 'fifth-user', 'autoscale']


def lab(*arguments):
    done = subprocess.run([sys.argv[1], 'lab', *arguments], capture_output=True, text=True, timeout=110)
    print(done.stdout, done.stderr, sep='')
    for line in done.stdout.splitlines():
        assert len(line) <= 80 and line == line.rstrip(), f'a terminal has 80 columns: {line!r}'
    return done


def usage():
    listed = lab('--list')
    assert listed.returncode == 0 and [line.split()[0] for line in listed.stdout.splitlines()] == NAMES
    assert lab('--help').returncode == 0
    for wrong in (['nonsense'], ['--nonsense'], ['map', 'nonsense'], ['--list=x']):
        done = lab(*wrong)
        assert done.returncode == 2 and done.stderr and not done.stdout, wrong
    interrupted()


def interrupted():
    """Ctrl-C in the middle of an experiment ends the lab, and whom it started."""
    with subprocess.Popen([sys.argv[1], 'lab', 'copytax', 'autoscale'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          start_new_session=True) as running:
        while 'Theory' not in running.stdout.readline():
            pass
        os.killpg(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=30)
        print(out, err, running.returncode)
        assert running.returncode != 0 and 'Verdict' not in out


def experiment(name):
    done = lab(name)
    assert done.returncode == 0, f'exit status {done.returncode}'
    assert done.stdout.startswith(f'{name}: ')
    for word in ('Theory', 'Measured', 'Verdict', 'Why'):
        assert re.search(f'^  {word}', done.stdout, re.M), word
    assert not done.stderr, 'and it has nothing to complain about'


if __name__ == '__main__':
    usage() if sys.argv[2] == 'usage' else experiment(sys.argv[2])
