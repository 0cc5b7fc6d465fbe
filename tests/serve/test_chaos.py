#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Everything at once: clients of all kinds that come, work, misbehave and vanish, and workers that are killed meanwhile.

What it does is drawn from a seed, which TANDEM_SEED changes; afterwards the server must be as it was. Worth most under a
sanitizer, with --repeat.
"""
import asyncio
import json
import logging
import os
import random
import signal
import sys
import time

import swarm
from raw import BINARY, CONTINUATION, PING, TEXT, close_frame, frame
from runner import limit, main
from server import check, equal, wait_until

SECONDS = 4
CLIENTS = 60
SEED = os.environ.get('TANDEM_SEED', '1')


def text(**members):
    return frame(TEXT, json.dumps(members).encode())


def something_said(dice):
    """What a chat or audio client may send, more or less well."""
    return dice.choice((
        lambda: text(type='say', text='x' * dice.choice((1, 100, 3000))),
        lambda: text(type='compute', id=str(dice.random()), op='burn', ms=dice.randrange(20)),
        lambda: text(type='compute', id='p', op='primes', n=dice.randrange(100000)),
        lambda: text(type='compute', id='c', op='crash'),
        lambda: text(type='compute', id='h', op='hang', deadline_ms=dice.randrange(1, 50)),
        lambda: text(type='stop'),
        lambda: frame(BINARY, dice.randbytes(dice.choice((1, 640, 3200, 50000)))),
        lambda: frame(PING, b'p'),
        lambda: frame(TEXT, b'{"type":', fin=False) + frame(PING) + frame(CONTINUATION, b'"say","text":"a"}'),
        lambda: text(nonsense=True),
    ))()


def something_wrong(dice):
    """What ends a conversation."""
    return dice.choice((frame(TEXT, b'x', mask=None), frame(BINARY, b'', length=10 << 30), frame(TEXT, b'\xff'),
                        frame(BINARY, b'half', length=5000), close_frame(1000), close_frame(4000) + b'junk', dice.randbytes(50)))


async def talker(server, dice, until):
    """One WebSocket client after the other."""
    while time.monotonic() < until:
        path = dice.choice(('/echo', '/chat/a', '/chat/a', '/chat/b?name=ann', '/audio', '/audio?rate=8000'))
        peer = await swarm.connect(server.address, path)
        for _ in range(dice.randrange(30)):
            peer.send(something_said(dice))
            if dice.random() < 0.5:
                await asyncio.sleep(dice.random() * 0.01)
            if peer.ended.done():
                break
        end = dice.random()
        if end < 0.4:
            peer.send(something_wrong(dice))
        elif end < 0.6:
            peer.transport.pause_reading()
            for _ in range(20):
                peer.send(something_said(dice))
            await asyncio.sleep(dice.random() * 0.05)
        if end < 0.8:
            peer.transport.abort()
        else:
            peer.transport.close()
        await peer.ended


async def asker(server, dice, until):
    """HTTP requests, pipelined, and not always waited for."""
    while time.monotonic() < until:
        reader, writer = await asyncio.open_connection(*server.address)
        for _ in range(dice.randrange(1, 10)):
            body = json.dumps(dice.choice(({'op': 'primes', 'n': dice.randrange(200000)}, {'op': 'burn', 'ms': dice.randrange(10)},
                                           {'op': 'crash'}, {'op': 'hang', 'deadline_ms': 20}, {'op': 'no'}))).encode()
            writer.write(dice.choice((b'POST /compute HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n' % len(body) + body,
                                      b'GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n', b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n')))
        if dice.random() < 0.5:
            writer.write(dice.randbytes(20))
        try:
            if dice.random() < 0.7:
                await asyncio.wait_for(reader.read(dice.choice((1, 1000, 1 << 20))), dice.random() * 0.1)
        except (TimeoutError, OSError):
            pass
        if dice.random() < 0.5:
            writer.transport.abort()
        else:
            writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            pass


async def killer(server, dice, until):
    """Kills a worker now and then, and the process that makes them; no other child, such as a sanitizer's tracer."""
    while time.monotonic() < until:
        await asyncio.sleep(0.1 + dice.random() * 0.3)
        victims = server.workers() + server.children('tandem-zygote')
        for pid in dice.sample(victims, 1) if victims else ():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


async def chaos(server, seed, seconds):
    dice = random.Random(seed)
    until = time.monotonic() + seconds
    roles = [talker] * CLIENTS + [asker] * (CLIENTS // 4) + [killer]
    await asyncio.gather(*(role(server, random.Random(dice.random()), until) for role in roles))


FLAGS = (('--pool', '2', '--queue', '8'), ('--pool', '1', '--queue', '2', '--when-full', 'drop-oldest', '--cancel-running'),
         ('--pool', '3', '--queue', '4', '--when-full', 'wait', '--strict-workers'))


@limit(90)
def after_chaos_all_is_as_before(run):
    for number, flags in enumerate(FLAGS):
        seed = f'{SEED} {number} {run.backend}'
        with run.serve(*flags, '--enable-test-ops') as server:
            server.compute('primes', n=1000)
            memory = shared = None
            for part in range(2):
                asyncio.run(chaos(server, f'{seed} {part}', SECONDS / 2 / len(FLAGS)))
                wait_until(lambda: server.metrics().value('connections') == 1, 'connections that do not end', 10 * run.slack)
                server.wait_pool(busy=0)
                wait_until(lambda: server.compute('primes', n=1000).status == 200, 'a computation')
                found = server.metrics()
                if part == 0:
                    memory, shared, descriptors = server.rss_kib(), found.value('shared_memory_used_bytes'), server.descriptors()
            wait_until(lambda: server.descriptors() <= descriptors + 1, f'{server.descriptors()} descriptors, {descriptors} before')
            check(found.value('shared_memory_used_bytes') <= shared,
                  f'shared memory in use: {shared} and then {found.value("shared_memory_used_bytes")} bytes')
            run.note(f'{found.value("connections_accepted_total"):.0f} connections, '
                     f'{found.value("messages_total"):.0f} messages, {found.value("pool_worker_deaths_total"):.0f} deaths, '
                     f'RSS {memory} and then {server.rss_kib()} KiB')


@limit(90)
def a_stop_in_the_middle_of_chaos_is_clean(run):
    async def stop_in_the_middle(server, seed):
        under_way = asyncio.create_task(chaos(server, seed, 30))
        await asyncio.sleep(0.7)
        server.signal()
        ended = await asyncio.to_thread(server.wait, 8)
        equal(ended.status, 0, 'exit status')
        under_way.cancel()
        await asyncio.gather(under_way, return_exceptions=True)
        return ended.seconds

    took = []
    for number, flags in enumerate(FLAGS):
        with run.serve(*flags, '--enable-test-ops', '--drain', '6') as server:
            took.append(asyncio.run(stop_in_the_middle(server, f'stop {SEED} {number} {run.backend}')))
    run.note('drained in ' + ', '.join(f'{seconds:.2f}' for seconds in took) + ' s')


logging.getLogger('asyncio').setLevel(logging.CRITICAL)   # it complains of sends to connections that broke
sys.exit(main(after_chaos_all_is_as_before, a_stop_in_the_middle_of_chaos_is_clean))
