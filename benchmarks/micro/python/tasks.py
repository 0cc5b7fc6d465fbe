#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""tasks.py asyncio|uvloop switch|spawn|channel COUNT [TASKS]: the same in Python."""
import asyncio
import resource
import sys
import time


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def measure_switch(count, tasks):
    async def yielder():
        for _ in range(count // tasks):
            await asyncio.sleep(0)
    await asyncio.gather(*(yielder() for _ in range(tasks)))


async def measure_spawn(count, _):
    async def nothing():
        pass
    for _ in range(count):
        await asyncio.create_task(nothing())


async def measure_channel(count, _):
    there, back = asyncio.Queue(1), asyncio.Queue(1)

    async def answer():
        while True:
            await back.put(await there.get())
    task = asyncio.create_task(answer())
    for i in range(count):
        await there.put(i)
        await back.get()
    task.cancel()


async def main(name, count, tasks):
    run = {'switch': measure_switch, 'spawn': measure_spawn, 'channel': measure_channel}[name]
    await run(count // 10, tasks)
    began, cpu_began = time.perf_counter(), cpu()
    await run(count, tasks)
    print(f'cpu_ns {(cpu() - cpu_began) * 1e9 / count:.1f}')
    print(f'wall_ns {(time.perf_counter() - began) * 1e9 / count:.1f}')


if sys.argv[1] == 'uvloop':
    import uvloop
    uvloop.install()
asyncio.run(main(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 2))
