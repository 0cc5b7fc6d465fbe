#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""One pool computes, another analyses audio: neither disturbs the other."""
import concurrent.futures
import json
import os
import signal
import sys

from raw import BINARY, CLOSE, TEXT, WebSocket, frame
from runner import main
from server import check, equal

WINDOW = bytes(3200)   # 100 ms at 16,000 samples a second
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


sys.exit(main(audio_is_unaffected_while_every_worker_computes, computing_is_unaffected_while_audio_stands_still,
              a_gateway_without_audio_has_no_workers_for_it))
