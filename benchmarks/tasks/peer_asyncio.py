#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The same work as tasks.c, a tenth as often, by Python's asyncio."""
import asyncio
import resource
import time

SWITCHES, SPAWNS, MESSAGES, SLEEPERS = 200000, 100000, 100000, 100000


async def switch():
    async def yielder():
        for _ in range(SWITCHES // 2):
            await asyncio.sleep(0)
    began = time.perf_counter_ns()
    await asyncio.gather(yielder(), yielder())
    print(f'switch_ns {(time.perf_counter_ns() - began) / SWITCHES}')


async def spawn():
    async def nothing():
        pass
    began = time.perf_counter_ns()
    for _ in range(SPAWNS):
        await asyncio.create_task(nothing())
    print(f'spawn_join_ns {(time.perf_counter_ns() - began) / SPAWNS}')


async def channel():
    there, back = asyncio.Queue(1), asyncio.Queue(1)

    async def answer():
        while True:
            await back.put(await there.get())
    task = asyncio.create_task(answer())
    began = time.perf_counter_ns()
    for i in range(MESSAGES):
        await there.put(i)
        await back.get()
    print(f'channel_round_trip_ns {(time.perf_counter_ns() - began) / MESSAGES}')
    task.cancel()


async def sleepers():
    late = []

    async def sleeper(i):
        until = time.perf_counter() + 1 + i % 1000 / 1000
        await asyncio.sleep(until - time.perf_counter())
        late.append(time.perf_counter() - until)
    before = resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.gather(*(sleeper(i) for i in range(SLEEPERS)))
    after = resource.getrusage(resource.RUSAGE_SELF)
    print(f'sleepers_cpu_ms {(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1000}')
    print(f'sleepers_late_p99_ms {sorted(late)[SLEEPERS * 99 // 100] * 1000}')


async def main():
    await switch()
    await spawn()
    await channel()
    await sleepers()

asyncio.run(main())
