#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""trip|jobs|sum|own-sum|hand threads|processes WORKERS SECONDS WHAT PIN: the same by asyncio's run_in_executor."""
import asyncio
import concurrent.futures
import os
import time

import measure
from measure import BYTES, IN_FLIGHT, SIZES


def empty():
    return 0


def touch(data):
    return data[0]


async def trips(loop, pool, call):
    gap, course, more = float(call.what) / 1e6, measure.Course(call.seconds), True
    while more:
        if gap:
            await asyncio.sleep(gap)
        began = time.perf_counter()
        await loop.run_in_executor(pool, empty)
        more = course.add(began)
    course.print_trips()


async def jobs(loop, pool, call):
    stop, done = False, 0

    async def feeder():
        nonlocal done
        while not stop:
            await loop.run_in_executor(pool, empty)
            done += 1
    feeders = [asyncio.create_task(feeder()) for _ in range(IN_FLIGHT)]
    await asyncio.sleep(call.seconds * 0.2)
    cpu, before, began = measure.tree_cpu(), done, time.perf_counter()
    await asyncio.sleep(call.seconds * 0.8)
    count = max(done - before, 1)
    print(f'per_s {count / (time.perf_counter() - began):.1f}\ncpu_us {(measure.tree_cpu() - cpu) / count * 1e6:.4f}')
    stop = True
    await asyncio.gather(*feeders)


async def sums(loop, pool, call):
    add_up = measure.own_sum if call.measure == 'own-sum' else measure.sum_of_bytes
    course, more, byte = measure.Course(call.seconds), True, 0
    while more:
        byte = (byte + 1) % 256
        data = bytes([byte]) * BYTES
        began = time.perf_counter()
        total = await loop.run_in_executor(pool, add_up, data)
        more = course.add(began)
        assert total == measure.WORK.work_sum_of(byte, BYTES)
    print(f'p50_ms {course.p50() * 1e3:.4f}')


async def hands(loop, pool, call):
    for size in SIZES:
        data, course, more = bytes([7]) * size, measure.Course(call.seconds / len(SIZES)), True
        while more:
            began = time.perf_counter()
            assert await loop.run_in_executor(pool, touch, data) == 7
            more = course.add(began)
        print(f'us_{size} {course.p50() * 1e6:.3f}')


def executor(call):
    makes = {'threads': concurrent.futures.ThreadPoolExecutor, 'processes': concurrent.futures.ProcessPoolExecutor}[call.kind]
    initializer = (lambda: os.sched_setaffinity(0, {1})) if call.pin and call.workers == 1 else None
    return makes(call.workers, initializer=initializer)


async def main():
    call, loop = measure.Call(), asyncio.get_running_loop()
    with executor(call) as pool:
        await asyncio.gather(*(loop.run_in_executor(pool, empty) for _ in range(4 * call.workers)))  # they are up
        if call.pin:
            os.sched_setaffinity(0, {0})
        await {'trip': trips, 'jobs': jobs, 'sum': sums, 'own-sum': sums, 'hand': hands}[call.measure](loop, pool, call)

if __name__ == '__main__':
    asyncio.run(main())
