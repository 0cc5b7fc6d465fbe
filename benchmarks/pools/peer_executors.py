#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The same work as pools.c, less often, by asyncio's run_in_executor with threads and with processes."""
import asyncio
import concurrent.futures
import time

ROUND_TRIPS, JOBS, IN_FLIGHT = 2000, 20000, 1000


def empty():
    return 0


def add_up(data):
    return sum(memoryview(data).cast('I'))


def burn():
    until = time.monotonic() + 2
    while time.monotonic() < until:
        pass


async def ticker(loop, pool, kind):
    late, began = [], time.monotonic()
    burns = [loop.run_in_executor(pool, burn) for _ in range(4)]
    tick = began + 0.001
    while tick < began + 2:
        await asyncio.sleep(max(0, tick - time.monotonic()))
        late.append(time.monotonic() - tick)
        tick += 0.001
    await asyncio.gather(*burns)
    late.sort()
    print(f'{kind}_ticker_late_p99_ms {late[len(late) * 99 // 100] * 1000}')
    print(f'{kind}_ticker_late_max_ms {late[-1] * 1000}')


async def measure(kind, pool):
    loop, took = asyncio.get_running_loop(), []
    for _ in range(ROUND_TRIPS):
        began = time.perf_counter()
        await loop.run_in_executor(pool, empty)
        took.append(time.perf_counter() - began)
    print(f'{kind}_round_trip_p50_us {sorted(took)[ROUND_TRIPS // 2] * 1e6}')

    async def feeder():
        for _ in range(JOBS // IN_FLIGHT):
            await loop.run_in_executor(pool, empty)
    began = time.perf_counter()
    await asyncio.gather(*(feeder() for _ in range(IN_FLIGHT)))
    print(f'{kind}_jobs_per_s {JOBS / (time.perf_counter() - began)}')

    data, best = bytes(10 * 1024 * 1024), 1e9
    for _ in range(5):
        began = time.perf_counter()
        await loop.run_in_executor(pool, add_up, data)
        best = min(best, time.perf_counter() - began)
    print(f'{kind}_sum_10_mb_ms {best * 1000}')
    await ticker(loop, pool, kind)


async def main():
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        await measure('thread', pool)
    with concurrent.futures.ProcessPoolExecutor(4) as pool:
        await measure('process', pool)

if __name__ == '__main__':
    asyncio.run(main())
