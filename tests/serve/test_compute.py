#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""POST /compute: values, full queues, deadlines, and workers that die."""
import concurrent.futures
import json
import os
import pathlib
import signal
import sys
import threading
import time

from raw import Connection
from runner import main
from server import check, equal, wait_until

BUSY_SECONDS = 0.05   # the issue: told busy in under 50 ms
PRIMES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 2, 9: 4, 100: 25, 65536: 6542, 65537: 6543, 131073: 12251, 10000000: 664579, 20000000: 1270607}


def request(body):
    body = json.dumps(body).encode()
    return b'POST /compute HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n' % len(body) + body


class Jobs:
    """Requests under way, each in a thread."""

    def __init__(self, server):
        self.server = server
        self.threads = concurrent.futures.ThreadPoolExecutor(32)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.threads.shutdown(cancel_futures=True)

    def start(self, op, **members):
        return self.threads.submit(self.server.compute, op, **members)


def statuses(futures):
    return [future.result().status for future in futures]


def is_refused(answer, reason):
    """Checks that it was, and that the sentence says why."""
    equal((answer.status, answer.body.get('refused')), (503, reason), f'the refusal {answer.body}')
    check(len(answer.body['error'].split()) > 3, f'no sentence: {answer.body}')
    check(1 <= int(answer.fields['Retry-After']) <= 60, f'Retry-After {answer.fields["Retry-After"]}')


def values_and_times_are_right(run):
    with run.serve('--pool', '2') as server:
        for n, value in PRIMES.items():
            answer = server.compute('primes', n=n)
            equal((answer.status, answer.fields['Content-Type']), (200, 'application/json'), f'primes {n}')
            equal(set(answer.body), {'op', 'n', 'value', 'queued_ms', 'ran_ms'}, 'members')
            equal((answer.body['op'], answer.body['n'], answer.body['value']), ('primes', n, value), f'primes {n}')
            check(answer.body['queued_ms'] >= 0 and answer.body['ran_ms'] >= 0, f'{answer.body}')
            check(answer.body['queued_ms'] + answer.body['ran_ms'] <= answer.seconds * 1000 + 0.2, f'{answer}')
        burnt = server.compute('burn', ms=300).body
        equal((burnt['op'], burnt['ms'], burnt['value']), ('burn', 300, 300), 'burn')
        check(burnt['ran_ms'] >= 300, f'{burnt}')
        equal(server.compute('burn', ms=0).body['value'], 0, 'burn 0')
        equal(server.metrics().jobs('ok'), len(PRIMES) + 2, 'jobs that are ok')


def queued_ms_is_the_time_in_the_queue(run):
    with run.serve('--pool', '1') as server, Jobs(server) as jobs:
        first = jobs.start('burn', ms=400)
        server.wait_pool(busy=1)
        second = jobs.start('primes', n=10)
        server.wait_pool(busy=1, depth=1)
        first, second = first.result(), second.result()
        check(second.body['queued_ms'] > 50 and second.body['ran_ms'] < 200, f'{second.body}')
        check(second.body['queued_ms'] < first.seconds * 1000, f'{second.body}, the first took {first.seconds}')


def the_fifth_of_five_burns_is_told_busy_at_once(run):
    with run.serve('--pool', '2', '--queue', '2') as server:
        def five():
            held = [Connection(server) for _ in range(5)]
            for raw in held[:4]:
                raw.send(request({'op': 'burn', 'ms': 400}))
            server.wait_pool(busy=2, depth=2)
            begin = time.monotonic()
            refused = held[4].ask(request({'op': 'burn', 'ms': 400}))
            took = time.monotonic() - begin
            equal(refused.status, 503, 'status of the fifth')
            check(1 <= int(refused.fields['retry-after']) <= 60, f'Retry-After {refused.fields["retry-after"]}')
            equal(json.loads(refused.body), {'error': 'busy: as many jobs wait as may', 'refused': 'queue'}, 'body of the fifth')
            for raw in held[:4]:
                equal(raw.answer().status, 200, 'status of one of four')
            for raw in held:
                raw.close()
            return took

        server.compute('primes', n=10)
        run.measured(five, BUSY_SECONDS, 'seconds until the fifth is told busy')
        equal(server.metrics().jobs('rejected') > 0, True, 'rejected jobs')


def of_five_at_once_one_is_refused(run):
    with run.serve('--pool', '2', '--queue', '2') as server:
        server.compute('primes', n=10)

        def five():
            held = [Connection(server) for _ in range(5)]
            times, answers = {}, {}

            def take(raw):
                answers[raw] = raw.answer()
                times[raw] = time.monotonic()

            readers = [threading.Thread(target=take, args=(raw,)) for raw in held]
            for reader in readers:
                reader.start()
            begin = time.monotonic()
            for raw in held:
                raw.send(request({'op': 'burn', 'ms': 400}))
            for reader in readers:
                reader.join()
            equal(sorted(answer.status for answer in answers.values()), [200, 200, 200, 200, 503], 'statuses')
            for raw in held:
                raw.close()
            return min(times[raw] - begin for raw in held if answers[raw].status == 503)

        run.measured(five, BUSY_SECONDS, 'seconds until one of five at once is told busy')


def when_full_wait_holds_back(run):
    with run.serve('--pool', '1', '--queue', '1', '--when-full', 'wait') as server, Jobs(server) as jobs:
        equal(statuses([jobs.start('burn', ms=100) for _ in range(6)]), [200] * 6, 'statuses')
        equal(server.metrics().value('pool_queue_depth_peak') <= 1, True, 'the queue stayed within its limit')
        first = jobs.start('burn', ms=1000)
        server.wait_pool(busy=1)
        queued = jobs.start('burn', ms=10)
        server.wait_pool(busy=1, depth=1)
        late = server.compute('primes', n=10, deadline_ms=300)   # it waits for room, and not for ever
        equal((late.status, first.done()), (504, False), 'the deadline of one that waits for room')
        equal(statuses([first, queued]), [200, 200], 'the others')


def when_full_drop_oldest_lets_the_oldest_give_way(run):
    with run.serve('--pool', '1', '--queue', '1', '--when-full', 'drop-oldest') as server, Jobs(server) as jobs:
        running = jobs.start('burn', ms=800)
        server.wait_pool(busy=1)
        oldest = jobs.start('primes', n=10)
        server.wait_pool(busy=1, depth=1)
        newest = jobs.start('primes', n=20)
        dropped = oldest.result()
        is_refused(dropped, 'dropped')
        check(not running.done(), 'the oldest was told when the running one ended')
        equal((running.result().status, newest.result().body['value']), (200, 8), 'the running and the newest')


def queue_0_holds_nothing(run):
    with run.serve('--pool', '1', '--queue', '0') as server, Jobs(server) as jobs:
        equal(server.compute('primes', n=10).status, 200, 'status with a free worker')
        running = jobs.start('burn', ms=500)
        server.wait_pool(busy=1)
        is_refused(server.compute('primes', n=10), 'queue')
        equal(running.result().status, 200, 'the one that ran')
        equal(server.compute('primes', n=10).status, 200, 'status with a free worker')
    with run.serve('--pool', '1', '--queue', '0', '--when-full', 'wait') as server, Jobs(server) as jobs:
        equal(statuses([jobs.start('burn', ms=50) for _ in range(4)]), [200] * 4, 'statuses of those who wait')


def what_waiting_jobs_hold_is_bounded(run):
    with run.serve('--pool', '1', '--queue-bytes', '1') as server, Jobs(server) as jobs:
        running = jobs.start('burn', ms=1000)
        server.wait_pool(busy=1)
        waiting = jobs.start('primes', n=10)   # the first may be of any size
        server.wait_pool(busy=1, depth=1)
        is_refused(server.compute('primes', n=10), 'bytes')
        check(server.metrics().of_pool('compute', 'queue_bytes') > 1, 'bytes that wait')
        equal(statuses([running, waiting]), [200, 200], 'the others')
        found = server.metrics()
        equal((found.of_pool('compute', 'queue_bytes'), found.of_pool('compute', 'queue_bytes_limit')), (0, 1), 'bytes')
        equal(found.of_pool('compute', 'refused_total', reason='bytes'), 1, 'refusals')


def what_cannot_be_in_time_is_refused_at_once(run):
    with run.serve('--pool', '1') as server, Jobs(server) as jobs:
        server.compute('burn', ms=1000)   # now it is known what a burn takes
        burns = [jobs.start('burn', ms=1000) for _ in range(2)]
        server.wait_pool(busy=1, depth=1)
        is_refused(server.compute('primes', n=10, deadline_ms=500), 'deadline')
        check(not any(burn.done() for burn in burns), 'it was not said at once')
        equal(server.compute('primes', n=10, deadline_ms=60000).status, 200, 'one that has time')
        equal(statuses(burns), [200, 200], 'the others')
        equal(server.compute('primes', n=10, deadline_ms=500).status, 200, 'the same later')
        found = server.metrics()
        equal((found.of_pool('compute', 'refused_total', reason='deadline'), found.jobs('rejected')), (1, 1), 'refusals')


def waiting_too_long_for_too_long_is_overload(run):
    for target, overloaded in (('1', True), (None, False)):
        with run.serve('--pool', '1', '--queue', '200', *(('--delay-target', target) if target else ())) as server:
            server.compute('primes', n=10)
            held = [Connection(server) for _ in range(60)]
            for raw in held:
                raw.send(request({'op': 'burn', 'ms': 10}))
            answers = [raw.answer() for raw in held]
            reasons = [json.loads(answer.body).get('refused') for answer in answers if answer.status == 503]
            equal(set(reasons), {'delay'} if overloaded else set(), f'reasons for a target of {target}')
            check(len(reasons) < 60, 'all were refused')
            equal(server.compute('primes', n=10).status, 200, 'one that comes later')
            for raw in held:
                raw.close()


def worker_after_worker_that_dies_breaks_the_pool_for_a_moment(run):
    with run.serve('--pool', '1', '--enable-test-ops') as server:
        equal(server.compute('burn', ms=30).status, 200, 'a job that tells what jobs take')

        def refused():
            answer = server.compute('crash')
            return answer if answer.status == 503 else None

        is_refused(wait_until(refused, 'a pool that rests', 20 * run.slack), 'broken')
        equal(server.metrics().of_pool('compute', 'broken'), 1, 'broken')
        wait_until(lambda: server.compute('primes', n=10).status == 200, 'a pool that is well again', 20 * run.slack)
        found = server.metrics()
        equal(found.of_pool('compute', 'broken'), 0, 'broken')
        check(found.of_pool('compute', 'worker_deaths_total', cause='crash') >= 10, 'deaths')
        check(found.of_pool('compute', 'refused_total', reason='broken') >= 1, 'refusals')


def a_worker_has_the_memory_it_is_given(run):
    with run.serve('--pool', '1', '--enable-test-ops', '--worker-memory', '64M') as server:
        equal(server.compute('eat', mib=16).body.get('value'), 16, 'eat 16')
        answer = server.compute('eat', mib=500)
        equal((answer.status, 'memory' in answer.body['error']), (500, True), f'eat 500: {answer.body}')
        equal(server.compute('primes', n=100).body['value'], 25, 'the next')
        equal(server.metrics().jobs('died'), 0, 'dead workers')


def strict_workers_compute(run):
    with run.serve('--pool', '2', '--strict-workers') as server:
        for n in (0, 100, 10000000):
            equal(server.compute('primes', n=n).body['value'], PRIMES[n], f'primes {n}')
        equal(server.compute('burn', ms=50).body['value'], 50, 'burn')
        for pid in server.workers():
            check('Seccomp:\t2\n' in pathlib.Path(f'/proc/{pid}/status').read_text(), f'no filter around worker {pid}')
        equal(server.metrics().value('pool_worker_deaths_total'), 0, 'deaths')


def the_times_of_jobs_are_in_histograms(run):
    with run.serve('--pool', '1') as server, Jobs(server) as jobs:
        statuses([jobs.start('burn', ms=50) for _ in range(4)])
        found = server.metrics()
        equal(found.of_pool('compute', 'service_seconds_count'), 4, 'jobs that ran')
        equal(found.of_pool('compute', 'sojourn_seconds_count'), 4, 'jobs that waited')
        check(found.of_pool('compute', 'service_seconds_sum') >= 0.2, 'the time they ran')
        check(found.of_pool('compute', 'sojourn_seconds_sum') >= 0.05 * 3, 'the time they waited')
        below = {dict(labels)['le']: count for (name, labels), count in found.values.items()
                 if name == 'tandem_named_pool_service_seconds_bucket' and ('pool', 'compute') in labels}
        check(all(count == 0 for bound, count in below.items() if float(bound) < 0.05), f'too quick: {below}')


def deadlines_are_504(run):
    with run.serve('--pool', '1', '--enable-test-ops') as server, Jobs(server) as jobs:
        for op, members in (('burn', {'ms': 10000}), ('hang', {})):
            answer = server.compute(op, deadline_ms=200, **members)
            equal((answer.status, 'error' in answer.body), (504, True), op)
            check(0.19 < answer.seconds < 2 * run.slack, f'{op} with 200 ms took {answer.seconds} s')
            equal(server.compute('primes', n=10).body['value'], 4, f'the next after {op}')
        equal(server.compute('primes', n=10, deadline_ms=20000).status, 200, 'one that is in time')
        running = jobs.start('burn', ms=1000)
        server.wait_pool(busy=1)
        answer = server.compute('burn', ms=1, deadline_ms=400)   # it passes in the queue
        equal((answer.status, running.done()), (504, False), 'the one in the queue, which is not waited for')
        equal(running.result().status, 200, 'the one that ran is not harmed')
        equal(server.metrics().jobs('timeout'), 3, 'timeouts')


def a_crash_costs_one_job(run):
    with run.serve('--pool', '2', '--enable-test-ops') as server, Jobs(server) as jobs:
        running = jobs.start('burn', ms=600)
        server.wait_pool(busy=1)
        for _ in range(5):
            answer = server.compute('crash')
            equal((answer.status, answer.body), (500, {'error': 'worker died'}), 'the one that crashed')
        equal(server.compute('primes', n=100).body['value'], 25, 'the next')
        equal(running.result().status, 200, 'the one beside it')
        equal((server.metrics().jobs('died'), server.metrics().dropped('worker_died')), (5, 5), 'metrics')


def many_crashes_leave_nothing_behind(run):
    with run.serve('--pool', '2', '--queue', '64', '--enable-test-ops') as server, Jobs(server) as jobs:
        def round_of_crashes():
            # They come in any order; after ten crashes in a row the pool would refuse.
            found = statuses([jobs.start(op, **members) for _ in range(4)
                              for op, members in (('crash', {}), ('primes', {'n': 1000}), ('crash', {}))])
            equal(found, [500, 200, 500] * 4, 'statuses')
            equal(server.compute('primes', n=10).status, 200, 'the next')
            wait_until(lambda: len(server.workers()) == 2, f'two workers, not {server.workers()}')
            wait_until(lambda: server.metrics().value('connections') == 1, 'the connections to end')
            return server.descriptors()

        first = round_of_crashes()
        for _ in range(6):
            last = round_of_crashes()
        check(last <= first + 2, f'descriptors rose from {first} to {last}')


def sigkill_mid_job_costs_that_job_only(run):
    with run.serve('--pool', '2') as server, Jobs(server) as jobs:
        server.compute('primes', n=10)
        doomed = jobs.start('burn', ms=20000)
        server.wait_pool(busy=1)
        busy = wait_until(lambda: server.busy_workers(), 'a busy worker')
        equal(len(busy), 1, 'busy workers')
        fine = jobs.start('burn', ms=500)   # on the other worker
        server.wait_pool(busy=2)
        os.kill(busy[0], signal.SIGKILL)
        answer = doomed.result()
        equal((answer.status, answer.body), (500, {'error': 'worker died'}), 'the one that was killed')
        equal(server.get('/healthz').status, 200, '/healthz')
        equal(server.compute('primes', n=100).status, 200, 'the next job')
        equal(fine.result().status, 200, 'the other job')
        wait_until(lambda: len(server.workers()) == 2, 'another worker in its place')
        both = [jobs.start('burn', ms=300) for _ in range(2)]
        server.wait_pool(busy=2)   # the new one works, too
        equal(statuses(both), [200, 200], 'two at a time')


def all_children_may_be_killed(run):
    with run.serve('--pool', '2') as server, Jobs(server) as jobs:
        for _ in range(5):
            doomed = [jobs.start('burn', ms=20000) for _ in range(2)]
            wait_until(lambda: len(server.busy_workers()) == 2, 'two busy workers')
            for pid in server.children():
                os.kill(pid, signal.SIGKILL)
            equal(statuses(doomed), [500, 500], 'those that ran')
            equal(server.compute('primes', n=100).status, 200, 'the next')
        lost = 0
        for _ in range(5):   # now nothing runs: a job that comes meanwhile may be lost, the one after it not
            wait_until(lambda: len(server.workers()) == 2 and len(server.children()) == 3, 'a full house')
            before = server.children()
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            found = [server.compute('primes', n=100).status for _ in range(3)]
            lost += found.count(500)
            check(set(found) <= {200, 500} and found[-1] == 200, f'statuses after the kill: {found}')
            wait_until(lambda: not set(before) & set(server.children()), f'the dead of {before} to be gone')
        run.note(f'{lost} of 15 jobs lost that came just after all children were killed')
        equal(server.get('/healthz').status, 200, '/healthz')


def stopped_workers_do_not_hold_the_loop(run):
    """A worker that is stopped (SIGSTOP) is noticed when it does not begin its job, and ended; in its job, by the deadline."""
    with run.serve('--pool', '1') as server, Jobs(server) as jobs:
        server.compute('primes', n=10)
        os.kill(server.workers()[0], signal.SIGSTOP)
        equal(server.compute('primes', n=10).status, 200, 'the job it held, which another ran')
        equal(server.metrics().of_pool('compute', 'worker_deaths_total', cause='stopped'), 1, 'deaths by that cause')
        held = jobs.start('burn', ms=2000, deadline_ms=500)
        server.wait_pool(busy=1)
        wait_until(server.busy_workers, 'the job to begin')
        os.kill(server.workers()[0], signal.SIGSTOP)
        equal(held.result().status, 504, 'the job it was stopped in')
        equal(server.compute('primes', n=10).status, 200, 'the next')


def clients_that_leave_cost_nothing(run):
    with run.serve('--pool', '1', '--queue', '8') as server:
        server.compute('primes', n=10)
        for _ in range(3):
            held = [Connection(server) for _ in range(9)]
            for raw in held:
                raw.send(request({'op': 'burn', 'ms': 60}))
            server.wait_pool(busy=1, depth=8)
            for number, raw in enumerate(held):
                (raw.reset if number % 2 else raw.close)()
            server.wait_pool(busy=0)
            equal(server.compute('primes', n=100).body['value'], 25, 'the next')


def threads_compute_too(run):
    with run.serve('--pool', '2', '--queue', '2', '--pool-kind', 'threads', '--enable-test-ops') as server, Jobs(server) as jobs:
        equal(server.compute('primes', n=10000000).body['value'], 664579, 'primes')
        for op in ('crash', 'hang'):
            equal(server.compute(op).status, 400, f'{op}, which would take the server with it')
        late = jobs.start('burn', ms=3000)
        equal(server.compute('burn', ms=3000, deadline_ms=100).status, 504, 'a thread past its deadline')
        check(not late.done(), 'its answer waited for the thread')
        equal(server.metrics().of_pool('compute', 'stuck_workers'), 1, 'threads left behind')
        equal(server.compute('primes', n=10).body['value'], 4, 'the next, on a thread in its place')
        equal(late.result().status, 200, 'the one beside it')
        server.wait_metric(lambda m: m.of_pool('compute', 'stuck_workers') == 0, 'the thread to come back')
        burns = [jobs.start('burn', ms=400) for _ in range(4)]
        server.wait_pool(busy=2, depth=2)
        equal(server.compute('primes', n=1).status, 503, 'the fifth')
        equal(statuses(burns), [200] * 4, 'the four')
        equal(server.workers(), [], 'worker processes')


def a_storm_of_small_jobs_is_answered(run):
    with run.serve('--pool', '2', '--queue', '4096') as server:
        ways = [Connection(server) for _ in range(8)]
        begin = time.monotonic()
        for raw in ways:
            raw.send(b''.join(request({'op': 'primes', 'n': n}) for n in range(500)))
        for raw in ways:
            for n in range(500):
                answer = raw.answer()
                equal((answer.status, json.loads(answer.body)['n']), (200, n), 'the answer')
            raw.close()
        run.note(f'{4000 / (time.monotonic() - begin):.0f} small jobs/s')
        equal(server.metrics().jobs('ok'), 4000, 'jobs that are ok')


sys.exit(main(values_and_times_are_right, queued_ms_is_the_time_in_the_queue, the_fifth_of_five_burns_is_told_busy_at_once,
              of_five_at_once_one_is_refused, when_full_wait_holds_back, when_full_drop_oldest_lets_the_oldest_give_way,
              queue_0_holds_nothing, what_waiting_jobs_hold_is_bounded, what_cannot_be_in_time_is_refused_at_once,
              waiting_too_long_for_too_long_is_overload, worker_after_worker_that_dies_breaks_the_pool_for_a_moment,
              a_worker_has_the_memory_it_is_given, strict_workers_compute, the_times_of_jobs_are_in_histograms,
              deadlines_are_504, a_crash_costs_one_job, many_crashes_leave_nothing_behind, sigkill_mid_job_costs_that_job_only,
              all_children_may_be_killed, stopped_workers_do_not_hold_the_loop, clients_that_leave_cost_nothing,
              threads_compute_too, a_storm_of_small_jobs_is_answered))
