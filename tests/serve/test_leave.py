#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Clients that leave before their job is done: what waits is taken back, what runs goes on unless --cancel-running."""
import concurrent.futures
import json
import socket
import sys
import threading

from raw import TEXT, Connection, WebSocket, frame, request
from runner import main
from server import check, equal, wait_channels, wait_until

LONG_MS = 50000   # no test waits for it


def outcomes(server):
    """Of the jobs that computed, by name; those that never happened left out."""
    metrics = server.metrics()
    found = {name: metrics.of_pool('compute', 'jobs_total', outcome=name)
             for name in ('ok', 'error', 'rejected', 'dropped', 'timeout', 'cancelled', 'died')}
    return {name: count for name, count in found.items() if count}


def asks(server, op, **members):
    raw = Connection(server)
    raw.send(request(op, **members))
    return raw


def leave_with_requests_ahead(raw):
    """Closes behind requests that nobody has read yet."""
    raw.send(request('primes', n=10) * 3)
    raw.close()


WAYS = (Connection.close, Connection.reset, leave_with_requests_ahead)


def a_waiting_job_is_taken_back_at_once(run):
    for kind in ('processes', 'threads'):
        with run.serve('--pool', '1', '--pool-kind', kind) as server, asks(server, 'burn', ms=1500) as running:
            server.wait_pool(busy=1)
            for number, way in enumerate(WAYS):
                waiting = asks(server, 'burn', ms=LONG_MS)
                server.wait_pool(busy=1, depth=1)
                way(waiting)
                server.wait_pool(busy=1, depth=0)   # long before the worker could have had it
                equal(outcomes(server), {'cancelled': number + 1}, f'outcomes with {kind}')
            equal(running.answer().status, 200, 'the one that ran')
            equal(outcomes(server), {'cancelled': len(WAYS), 'ok': 1}, f'outcomes with {kind}')


def others_keep_their_places(run):
    with run.serve('--pool', '1') as server:
        running = asks(server, 'burn', ms=1000)
        server.wait_pool(busy=1)
        waiting = []
        for n in range(8):
            waiting.append(asks(server, 'primes', n=n))
            server.wait_pool(busy=1, depth=n + 1)
        for raw in waiting[::2]:
            raw.close()
        server.wait_pool(busy=1, depth=4)
        equal([json.loads(raw.answer().body)['n'] for raw in waiting[1::2]], [1, 3, 5, 7], 'those who stayed')
        equal(running.answer().status, 200, 'the one that ran')
        equal(outcomes(server), {'ok': 5, 'cancelled': 4}, 'outcomes')


def who_waits_for_room_may_leave_too(run):
    with run.serve('--pool', '1', '--queue', '1', '--when-full', 'wait') as server:
        running = asks(server, 'burn', ms=1500)
        server.wait_pool(busy=1)
        waiting = asks(server, 'primes', n=10)
        server.wait_pool(busy=1, depth=1)
        outside = asks(server, 'burn', ms=LONG_MS)
        while server.metrics().value('http_requests_total') < 4:   # it is in the handler, beyond the queue
            pass
        outside.close()
        server.wait_metric(lambda m: m.of_pool('compute', 'jobs_total', outcome='cancelled') == 1, 'a cancelled job')
        equal([running.answer().status, waiting.answer().status], [200, 200], 'the others')


def further_requests_are_no_leaving(run):
    with run.serve('--pool', '1') as server, asks(server, 'burn', ms=600):
        server.wait_pool(busy=1)
        with asks(server, 'primes', n=100) as raw:
            server.wait_pool(busy=1, depth=1)
            for n in range(3):
                raw.send(request('primes', n=n))
            found = [json.loads(raw.answer().body)['n'] for _ in range(4)]
            equal(found, [100, 0, 1, 2], 'all four answers')
        equal(outcomes(server).get('cancelled'), None, 'cancelled jobs')


def a_running_job_goes_on(run):
    for kind in ('processes', 'threads'):
        with run.serve('--pool', '1', '--pool-kind', kind) as server:
            for number, way in enumerate((Connection.close, Connection.reset)):
                ticks = server.working_ticks()
                raw = asks(server, 'burn', ms=300)
                server.wait_begun(ticks)
                way(raw)
                server.wait_pool(busy=0)
                equal(outcomes(server), {'ok': number + 1}, f'outcomes with {kind}')
            equal(server.metrics().value('pool_worker_deaths_total'), 0, 'deaths')


def deaths(server, cause):
    return server.metrics().of_pool('compute', 'worker_deaths_total', cause=cause)


def with_cancel_running_it_is_asked_and_then_killed(run):
    with run.serve('--pool', '1', '--cancel-running', '--enable-test-ops') as server:
        for number, op in enumerate((('burn', {'ms': LONG_MS}), ('primes', {'n': 10 ** 10}))):
            raw = asks(server, op[0], **op[1])
            server.wait_pool(busy=1)
            raw.close()
            server.wait_pool(busy=0)
            equal(outcomes(server), {'cancelled': number + 1}, f'outcomes after {op}')
        equal(server.metrics().value('pool_worker_deaths_total'), 0, 'deaths of workers whose jobs listen')
        raw = asks(server, 'hang')
        server.wait_pool(busy=1)
        wait_until(lambda: any('futex' not in channel for pid in server.workers() for channel in wait_channels(pid)),
                   'a worker that hangs, and does not wait for work')
        raw.reset()
        server.wait_pool(busy=0)
        equal((outcomes(server), deaths(server, 'cancel')), ({'cancelled': 3}, 1), 'a job that does not listen')
        equal(server.compute('primes', n=100).body['value'], 25, 'the next')


def with_cancel_running_threads_are_asked(run):
    with run.serve('--pool', '1', '--cancel-running', '--pool-kind', 'threads') as server:
        raw = asks(server, 'burn', ms=LONG_MS)
        server.wait_pool(busy=1)
        raw.close()
        server.wait_pool(busy=0)
        equal(outcomes(server), {'cancelled': 1}, 'outcomes')


def with_cancel_running_deadlines_are_still_504(run):
    with run.serve('--pool', '1', '--cancel-running', '--enable-test-ops') as server:
        for op, members in (('burn', {'ms': LONG_MS}), ('primes', {'n': 10 ** 10}), ('hang', {})):
            answer = server.compute(op, deadline_ms=150, **members)
            equal((answer.status, answer.body), (504, {'error': 'deadline passed'}), op)
        equal((outcomes(server), deaths(server, 'deadline')), ({'timeout': 3}, 1), 'outcomes, and deaths of those that did not listen')


def half(server, op, **members):
    """Asks, ends its own side, and reads on, as `nc -N` does."""
    raw = asks(server, op, **members)
    raw.socket.shutdown(socket.SHUT_WR)
    return raw


def half_a_close_is_answered(run):
    with run.serve('--pool', '1') as server:
        server.compute('primes', n=10)
        for members in ({'op': 'primes', 'n': 1000}, {'op': 'burn', 'ms': 300}):
            with half(server, **members) as raw:
                equal(raw.answer().status, 200, f'status of {members}, which found a worker')
                raw.expect_end()
        with asks(server, 'burn', ms=LONG_MS):
            server.wait_pool(busy=1)
            with half(server, 'primes', n=10) as raw:   # taken for somebody who has left, and told so
                answer = raw.answer()
                equal((answer.status, json.loads(answer.body)['refused']), (503, 'left'), 'one that waits')
                check('retry-after' in answer.fields, f'{answer}')
            server.signal()   # twice, for the burn is long
            server.wait_metric(lambda m: m.value('draining') == 1, 'a drain')
            server.signal()


def who_leaves_a_chat_takes_its_jobs_along(run):
    for flags, running in (((), {'ok': 1}), (('--cancel-running',), {})):
        with run.serve('--pool', '1', *flags) as server:
            chat = WebSocket(server, '/chat/r?name=ann')
            ticks = server.working_ticks()
            for number in range(4):
                chat.send(frame(TEXT, json.dumps({'type': 'compute', 'id': str(number), 'op': 'burn', 'ms': 800}).encode()))
            server.wait_begun(ticks, depth=3)
            chat.reset()
            server.wait_pool(busy=0)
            equal(outcomes(server), {'cancelled': 4 - running.get('ok', 0), **running}, f'outcomes with {flags}')
            equal(server.metrics().value('pool_worker_deaths_total'), 0, 'deaths')


def a_crowd_that_leaves_leaves_nothing(run):
    """Hundreds come and go while others are answered; each job has one outcome."""
    with run.serve('--pool', '2', '--queue', '32') as server, concurrent.futures.ThreadPoolExecutor(4) as threads:
        server.compute('primes', n=10)
        memory = server.metrics().value('shared_memory_used_bytes')
        over = threading.Event()

        def stay():
            found = set()
            while not over.is_set():
                found.add(server.compute('primes', n=10000).status)
            return found

        staying = threads.submit(stay)
        for number in range(300):
            raw = asks(server, 'burn', ms=number % 30)
            (raw.reset if number % 3 else raw.close)()
        over.set()
        check(staying.result() <= {200, 503}, f'{staying.result()}')
        server.wait_pool(busy=0)
        server.wait_metric(lambda m: m.value('connections') == 1, 'the connections to end')
        server.wait_metric(lambda m: m.value('shared_memory_used_bytes') <= memory, 'the memory to come back')
        equal(outcomes(server).get('died'), None, 'jobs that died')


sys.exit(main(a_waiting_job_is_taken_back_at_once, others_keep_their_places, who_waits_for_room_may_leave_too,
              further_requests_are_no_leaving, a_running_job_goes_on, with_cancel_running_it_is_asked_and_then_killed,
              with_cancel_running_threads_are_asked, with_cancel_running_deadlines_are_still_504, half_a_close_is_answered,
              who_leaves_a_chat_takes_its_jobs_along, a_crowd_that_leaves_leaves_nothing))
