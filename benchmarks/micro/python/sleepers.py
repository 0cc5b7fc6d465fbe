#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""sleepers.py asyncio|uvloop fire COUNT LEAD_MS | hold COUNT: the same in Python."""
import asyncio
import os
import pathlib
import resource
import sys
import time


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident():
    return int(pathlib.Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize()


async def measure_fire(count, lead):
    began, cpu_began, started, late = time.monotonic(), cpu(), 0.0, []

    async def sleeper(i):
        nonlocal started
        due = began + lead + i * 61803 % count / 1e5
        started = time.monotonic()
        await asyncio.sleep(due - started)
        late.append((time.monotonic() - due) * 1e3)
    await asyncio.gather(*(sleeper(i) for i in range(count)))
    print(f'cpu_ms {(cpu() - cpu_began) * 1e3:.2f}\nstarted_ms {(started - began) * 1e3:.1f}')
    late.sort()
    print(f'late_min_ms {late[0]:.4f}\nlate_p50_ms {late[count // 2]:.4f}')
    print(f'late_p99_ms {late[count * 99 // 100]:.4f}\nlate_max_ms {late[-1]:.4f}')


async def measure_hold(count):
    before, cpu_began, started = resident(), cpu(), 0

    async def sleeper():
        nonlocal started
        started += 1
        await asyncio.sleep(3600)
    tasks = [asyncio.create_task(sleeper()) for _ in range(count)]
    while started < len(tasks):
        await asyncio.sleep(0.01)
    print(f'cpu_ns {(cpu() - cpu_began) * 1e9 / count:.1f}\nbytes {(resident() - before) / count:.1f}', flush=True)
    os._exit(0)  # they are asleep for an hour


if sys.argv[1] == 'uvloop':
    import uvloop
    uvloop.install()
asyncio.run(measure_fire(int(sys.argv[3]), float(sys.argv[4]) / 1e3) if sys.argv[2] == 'fire' else measure_hold(int(sys.argv[3])))
