#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs a program of ./bench pools with little work, and looks whether its figures can be figures. No time is judged."""
import math
import subprocess
import sys

SIZES = (64, 4 << 10, 256 << 10, 10 << 20, 64 << 20)


def run(program, measure, kind, workers=1, seconds=0.05, what='-'):
    done = subprocess.run([program, measure, kind, str(workers), str(seconds), what, '0'], capture_output=True, text=True, timeout=25)
    print(measure, kind, done.stdout, done.stderr, sep='\n')
    assert done.returncode == 0, f'exit status {done.returncode}'
    found = {name: float(value) for name, value in (line.split() for line in done.stdout.splitlines())}
    assert all(math.isfinite(value) and value >= 0 for value in found.values())
    return found


def trips(program, kind):
    for apart in ('0', '500'):
        found = run(program, 'trip', kind, what=apart)
        assert set(found) == {'p50_us', 'p99_us', 'cpu_us'} and 0 < found['p50_us'] <= found['p99_us']


def hand_over(program, kind):
    """The programs themselves check the sums and the bytes they get back."""
    assert run(program, 'sum', kind)['p50_ms'] > 0
    assert set(run(program, 'hand', kind)) == {f'us_{size}' for size in SIZES}


def handing(program):
    for kind in ('threads', 'processes'):
        trips(program, kind)
        hand_over(program, kind)
        for way, workers in (('tasks', 1), ('tasks', 2), ('submit', 2)):
            found = run(program, 'jobs', kind, workers, what=way)
            assert found['per_s'] > 0 and found['cpu_us'] > 0


def busy(program):
    for kind in ('threads', 'processes', 'inline'):
        for measure in ('ticker', 'beats') if kind != 'inline' else ('beats',):
            found = run(program, measure, kind, 2, 0.15)
            assert 0 <= found['p99_ms'] <= found['max_ms']
    found = run(program, 'crash', 'processes', 2)
    assert 0 < found['p50_ms'] <= found['max_ms']
    assert found['lost'] == 0, 'a crash costs the one job'
    assert found['usable'] == 1


def floor(program):
    for kind in ('spin', 'futex', 'pipe', 'unix', 'inplace'):
        hand_over(program, kind)
        if kind != 'inplace':
            trips(program, kind)
    assert run(program, 'jobs', 'ring')['per_s'] > 0
    assert run(program, 'ticker', 'idle')['max_ms'] >= 0


if __name__ == '__main__':
    {'handing': handing, 'busy': busy, 'floor': floor}[sys.argv[1]](sys.argv[2])
