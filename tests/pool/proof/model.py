#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checks the protocol of a pool's ring in ring.pml: every state is visited.

model.py            the worlds in which everything must hold, then each broken rule, which must be found
model.py NAME=N...  one world, with pan's own words; BROKEN=n breaks a rule; the trail of an error is shown
"""
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

MODEL = pathlib.Path(__file__).with_name('ring.pml')
DEPTH_MAX = 100000

# Small worlds, each with what the others leave out: how many workers, jobs, deaths, jobs taken back, jobs asked to end, timers
# that wake the pool for nothing, and attempts beyond the first. With two workers the stores are seen at once and only one
# of them dies: the buffers are between the pool and one worker, and the other is there to see that it is not disturbed.
WORLDS = {
    'a death, and a job taken back': {'JOBS': 3, 'DEATHS': 1, 'TAKES': 1},
    'two deaths, and a second attempt': {'JOBS': 2, 'DEATHS': 2, 'RETRIES': 1},
    'jobs taken back, slots used again': {'JOBS': 3, 'TAKES': 2},
    'a job asked to end, and a timer': {'JOBS': 3, 'TAKES': 1, 'ASKS': 1, 'TIMERS': 1},
    'a job asked to end, and a death': {'JOBS': 2, 'DEATHS': 1, 'ASKS': 1, 'RETRIES': 1},
    'a neighbour': {'WORKERS': 2, 'JOBS': 2, 'DEATHS': 1, 'CREDIT': 1, 'BUFFERED': 0, 'CLOSES': 0},
    'a neighbour that retires': {'WORKERS': 2, 'JOBS': 2, 'RETIRES': 1, 'BUFFERED': 0},
}
CYCLES = {'JOBS': 2, 'DEATHS': 1, 'ASKS': 1}

# What each broken rule leads to.
STUCK = 'invalid end state'
WRONG = 'assertion violated'
SMALL = {'JOBS': 2}
MORTAL = {'JOBS': 2, 'DEATHS': 1}
TAKING = {'JOBS': 3, 'TAKES': 1}
BROKEN = {
    1: ('the pool gives without a fence', SMALL, STUCK),
    2: ('the worker sleeps without a fence', SMALL, STUCK),
    3: ('the pool waits without a fence', SMALL, STUCK),
    4: ('DONE by a store', SMALL, STUCK),
    5: ('RUNNING by a store', TAKING, STUCK),
    6: ('TAKEN by a store', TAKING, WRONG),
    7: ('ASKED by a store', {'JOBS': 2, 'ASKS': 1}, STUCK),
    8: ('no generation in the word', TAKING, STUCK),
    9: ('reclaimed before it was dead', MORTAL, WRONG),
    10: ('a successor begins at ticket 0', MORTAL, WRONG + '|' + STUCK),
    11: ('the result is written after DONE', SMALL, WRONG),
    12: ('the doorbell is read after the second look', SMALL, STUCK),
    13: ('the worker sleeps without a second look', SMALL, STUCK),
    14: ('the pool waits without a second look', SMALL, STUCK),
    15: ('what ran is run again', MORTAL, WRONG),
    16: ('what was done is lost with its worker', MORTAL, WRONG),
    17: ('the word is written before the job', SMALL, WRONG),
}


def build(folder):
    """Makes the checker `pan`, and `cycles` that looks for endless ways."""
    subprocess.run(['spin', '-a', MODEL], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    common = ['gcc', '-w', '-DMEMLIM=4000', 'pan.c']
    builds = [common + ['-O2', '-DSAFETY', '-o', 'pan'], common + ['-O1', '-DNP', '-o', 'cycles']]
    for process in [subprocess.Popen(command, cwd=folder) for command in builds]:
        if process.wait() != 0:
            sys.exit('model.py: pan.c does not compile')


def check(folder, world, program='pan', options=(), **more):
    """Returns what pan said: its complaint or '' when the world was searched to its end, and the number of states."""
    settings = {name: str(value) for name, value in {'DEATHS': 0, 'TAKES': 0, **world, **more}.items()}
    with tempfile.TemporaryDirectory(dir=folder) as own:
        run = subprocess.run([f'{folder}/{program}', f'-m{DEPTH_MAX}', '-w22', *options], cwd=own, text=True, check=False,
                             env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    complaint = re.search(r'^pan:1: (.*)', run.stdout, re.M)
    if not complaint and re.search(r'errors: 0$', run.stdout, re.M) and 'depth too small' not in run.stdout \
            and 'Search not completed' not in run.stdout:
        states = re.search(r'([\d.e+]+) states, (stored|visited)', run.stdout)
        return '', int(float(states.group(1)))
    return (complaint.group(1) if complaint else run.stdout), 0


def all_worlds(folder):
    failed = 0
    jobs = [(name, world, 'pan', ()) for name, world in WORLDS.items()]
    jobs.append(('no endless way', CYCLES, 'cycles', ('-l',)))
    with concurrent.futures.ThreadPoolExecutor(2) as two:
        for (name, *_), (complaint, states) in zip(jobs, two.map(lambda job: check(folder, *job[1:]), jobs)):
            print(f'holds: {name}: ' + (complaint or f'{states} states'))
            failed += complaint != ''
        found = two.map(lambda rule: check(folder, BROKEN[rule][1], BROKEN=rule)[0], BROKEN)
        for (name, _, wanted), complaint in zip(BROKEN.values(), found):
            good = re.match(wanted, complaint) is not None
            print(f'broken: {name}: ' + ('' if good else 'NOT FOUND, but: ') + (complaint or 'nothing'))
            failed += not good
    return failed


def one_world(folder, settings):
    env = {**os.environ, 'DEATHS': '0', 'TAKES': '0', **dict(setting.split('=', 1) for setting in settings)}
    subprocess.run(['./pan', f'-m{DEPTH_MAX}', '-w24', '-n'], cwd=folder, env=env, check=False)
    if (pathlib.Path(folder) / 'ring.pml.trail').exists():
        subprocess.run(['./pan', '-r'], cwd=folder, env=env, check=False)
        return 1
    return 0


def main():
    if not shutil.which('spin'):
        print('model.py: there is no spin here; Debian has it in the package of that name')
        return 77
    with tempfile.TemporaryDirectory() as folder:
        build(folder)
        failed = one_world(folder, sys.argv[1:]) if len(sys.argv) > 1 else all_worlds(folder)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
