#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs a program of ./bench micro with little work, and looks whether its figures can be figures. No time is judged."""
import math
import subprocess
import sys


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=25)
    print(' '.join(command), done.stdout, done.stderr, sep='\n')
    assert done.returncode == 0, f'exit status {done.returncode}'
    found = {name: float(value) for name, value in (line.split() for line in done.stdout.splitlines())}
    assert all(math.isfinite(value) for value in found.values())
    return found


def tasks(program):
    for command in ('switch', 'spawn', 'channel'):
        found = run(program, command, '20000')
        assert set(found) == {'cpu_ns', 'wall_ns'} and found['wall_ns'] > 0
    assert run(program, 'switch', '20000', '100')['wall_ns'] > 0


def sleepers(program):
    found = run(program, 'fire', '1000', '100')
    assert found['late_min_ms'] >= 0, 'nobody wakes up before its time'
    assert found['late_min_ms'] <= found['late_p50_ms'] <= found['late_p99_ms'] <= found['late_max_ms']
    assert found['cpu_ms'] > 0
    assert run(program, 'hold', '2000')['bytes'] >= 1024, 'a task with a stack has memory'


def guarded(program):
    assert run(program, 'stacks', '1000')['stacks'] == 1000


if __name__ == '__main__':
    {'tasks': tasks, 'sleepers': sleepers, 'guarded': guarded}[sys.argv[1]](sys.argv[2])
