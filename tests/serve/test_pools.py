#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""One pool computes, another analyses audio: neither disturbs the other."""
import concurrent.futures
import json
import os
import random
import signal
import sys
import threading
import time

from raw import BINARY, CLOSE, TEXT, Connection, WebSocket, frame, request
from runner import limit, main
from server import check, equal

WINDOW = bytes(3200)   # 100 ms at 16,000 samples a second
KILLS = 60
STOP = frame(TEXT, b'{"type":"stop"}')


def messages(audio):
    """What the session says until it closes."""
    found = []
    while (one := audio.frame()).opcode != CLOSE:
        found.append(json.loads(one.payload))
    return found


def audio_is_unaffected_while_every_worker_computes(run):
    for kind in ('processes', 'threads'):
        with run.serve('--pool', '2', '--queue', '4', '--pool-kind', kind) as server, \
                concurrent.futures.ThreadPoolExecutor(8) as threads, WebSocket(server, '/audio') as audio:
            burns = [threads.submit(server.compute, 'burn', ms=2000) for _ in range(6)]
            server.wait_pool(busy=2, depth=4)
            for number in range(40):   # more than the session's own queue holds
                audio.send(frame(BINARY, WINDOW))
                one = json.loads(audio.message())
                equal((one['type'], one['at_ms']), ('analysis', 100 * (number + 1)), f'the answer to a window with {kind}')
            metrics = server.metrics()
            check(not any(burn.done() for burn in burns[2:]), 'the analyses took longer than a round of burns')
            equal((metrics.of_pool('audio', 'jobs_total', outcome='ok'), metrics.dropped('audio_late')), (40, 0), 'windows')
            equal(metrics.of_pool('compute', 'queue_depth_peak'), 4, 'those that waited to compute')
            equal(metrics.of_pool('audio', 'queue_limit'), 4, 'the limit of --queue')
            audio.send(STOP)
            equal(messages(audio)[-1]['analysed_ms'], 4000, 'analysed_ms')
            equal([burn.result().status for burn in burns], [200] * 6, 'statuses of the burns')


def computing_is_unaffected_while_audio_stands_still(run):
    with run.serve('--pool', '1', '--audio-pool', '1') as server, WebSocket(server, '/audio') as audio:
        os.kill(server.audio_worker(), signal.SIGSTOP)
        audio.send(frame(BINARY, WINDOW * 8))
        server.wait_metric(lambda m: m.of_pool('audio', 'busy_workers') == 1, 'a window in the worker that stands still')
        for n in range(20):
            equal(server.compute('primes', n=n).status, 200, 'status of a computation')
        equal(server.metrics().of_pool('audio', 'jobs_total', outcome='ok'), 0, 'windows analysed meanwhile')
        os.kill(server.audio_worker(), signal.SIGCONT)
        audio.send(STOP)
        equal([one['type'] for one in messages(audio)], ['analysis'] * 8 + ['summary'], 'messages')


def a_gateway_without_audio_has_no_workers_for_it(run):
    with run.serve('--pool', '2', '--audio-pool', '3') as server:
        server.compute('primes', n=10)
        equal((len(server.workers()), server.metrics().of_pool('audio', 'workers')), (2, 0), 'workers without audio')
        with WebSocket(server, '/audio') as audio:
            audio.send(frame(BINARY, WINDOW) + STOP)
            equal(len(messages(audio)), 2, 'messages')
        check(server.metrics().of_pool('audio', 'workers') > 0, 'no workers for audio')
        equal(server.metrics().of_pool('compute', 'workers'), 2, 'workers that compute')


def session(server, over):
    """Sends one window after the other; each is analysed, or said to be dropped. Returns how many, and the summary."""
    with WebSocket(server, '/audio') as audio:
        windows = 0
        while not over.is_set():
            audio.send(frame(BINARY, WINDOW))
            one = json.loads(audio.message())
            windows += 1
            equal(one[{'analysis': 'at_ms', 'dropped': 'to_ms'}[one['type']]], 100 * windows, f'what {one} is about')
        audio.send(STOP)
        return windows, messages(audio)[-1]


@limit(90)
def kills_under_mixed_load_lose_nothing(run):
    """Every job has one outcome, the one that its client was told, and every window too."""
    with run.serve('--pool', '2', '--audio-pool', '2', '--queue', '200') as server, \
            concurrent.futures.ThreadPoolExecutor(16) as threads:
        dice = random.Random(7)
        over = threading.Event()

        def compute(number):
            found = []
            while not over.is_set():
                found.append(server.compute('burn', ms=number).status)
            return found

        def leave():
            count = 0
            while not over.is_set():
                raw = Connection(server)
                raw.send(request('primes', n=1000000))
                time.sleep(0.002)
                raw.close()
                count += 1
            return count

        computing = [threads.submit(compute, number) for number in range(6)]
        leaving = threads.submit(leave)
        listening = [threads.submit(session, server, over) for _ in range(4)]
        for _ in range(KILLS):
            for pid in dice.sample(server.workers(), 1):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.03)
        over.set()
        for one in listening:
            windows, summary = one.result()
            equal(summary['analysed_ms'] + summary['dropped_ms'], 100 * windows, f'what {summary} adds up to')
        found = [status for one in computing for status in one.result()]
        left = leaving.result()
        server.wait_pool(busy=0)
        metrics = server.wait_metric(lambda m: m.value('connections') == 1 and m, 'the connections to end')
        count = {name: metrics.of_pool('compute', 'jobs_total', outcome=name)
                 for name in ('ok', 'error', 'rejected', 'dropped', 'timeout', 'cancelled', 'died')}
        run.note(f'{len(found)} answers, {left} left, {count}, {metrics.value("pool_worker_deaths_total"):.0f} deaths')
        check(set(found) <= {200, 500}, f'statuses {set(found)}')
        check(found.count(200) <= count['ok'] and found.count(500) <= count['died'], 'more answers than outcomes')
        check(len(found) <= sum(count.values()) <= len(found) + left, 'more or fewer outcomes than jobs')
        equal((count['error'], count['timeout'], count['rejected'], count['dropped']), (0, 0, 0, 0), 'other outcomes')
        check(metrics.of_pool('compute', 'worker_deaths_total', cause='killed') > 0, 'no worker that computes was killed')
        check(metrics.of_pool('audio', 'worker_deaths_total', cause='killed') > 0, 'no worker of audio was killed')
        equal(metrics.value('shared_memory_quarantined_bytes'), 0, 'quarantined bytes')


sys.exit(main(audio_is_unaffected_while_every_worker_computes, computing_is_unaffected_while_audio_stands_still,
              a_gateway_without_audio_has_no_workers_for_it, kills_under_mixed_load_lose_nothing))
