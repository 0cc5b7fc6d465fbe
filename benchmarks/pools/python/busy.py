#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""ticker|beats|crash threads|processes WORKERS SECONDS WHAT PIN: what else is late, or fails, by run_in_executor."""
import asyncio
import time

import executors
import measure
from measure import BEATERS, COMPUTATIONS, CRASHES, WORK

BEAT, TICK = 0.1, 0.001


def burn(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def crash():
    WORK.work_crash()


async def beat(first, until, period, late):
    due = first
    while due < until:
        await asyncio.sleep(max(0, due - time.monotonic()))
        late.append(time.monotonic() - due)
        due += period


async def ticker(loop, pool, call):
    late, began = [], time.monotonic()
    burns = [loop.run_in_executor(pool, burn, call.seconds) for _ in range(COMPUTATIONS)]
    await beat(began + TICK, began + call.seconds, TICK, late)
    await asyncio.gather(*burns)
    measure.print_late(late)


async def beats(loop, pool, call):
    late, began = [], time.monotonic() + BEAT
    until = began + call.seconds
    tasks = [asyncio.create_task(beat(began + i * BEAT / BEATERS, until, BEAT, late)) for i in range(BEATERS)]
    await asyncio.sleep(began - time.monotonic())
    burns = [loop.run_in_executor(pool, burn, call.seconds) for _ in range(call.workers)]
    await asyncio.gather(*tasks, *burns)
    measure.print_late(late)


async def crashes(loop, call):
    """Each time with a pool of its own, because the last one's is broken for good."""
    took, lost, usable = [], 0, 0
    for _ in range(CRASHES):
        with executors.executor(call) as pool:
            await asyncio.gather(*(loop.run_in_executor(pool, burn, 0.02) for _ in range(call.workers)))
            bystander = loop.run_in_executor(pool, burn, 0.02)
            await asyncio.sleep(0.01)
            began = time.perf_counter()
            await asyncio.gather(loop.run_in_executor(pool, crash), return_exceptions=True)
            took.append(time.perf_counter() - began)
            lost += isinstance((await asyncio.gather(bystander, return_exceptions=True))[0], Exception)
            try:
                await loop.run_in_executor(pool, executors.empty)
                usable += 1
            except RuntimeError:
                pass
    print(f'p50_ms {measure.percentile(took, 50) * 1e3:.3f}\nmax_ms {max(took) * 1e3:.3f}')
    print(f'lost {lost}\nusable {int(usable == CRASHES)}\ncrashes {CRASHES}')


async def main():
    call, loop = measure.Call(), asyncio.get_running_loop()
    if call.measure == 'crash':
        await crashes(loop, call)
        return
    with executors.executor(call) as pool:
        await asyncio.gather(*(loop.run_in_executor(pool, burn, 0.02) for _ in range(call.workers)))
        await {'ticker': ticker, 'beats': beats}[call.measure](loop, pool, call)

if __name__ == '__main__':
    asyncio.run(main())
