#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""--workers 2: two server processes on one port, and the one that minds them."""
import os
import signal
import subprocess
import sys

from raw import TEXT, Connection, WebSocket, frame
from runner import main
from server import Failed, check, environment, equal, process_state, wait_until

GET = b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n'


def server_processes(server, number=2):
    """The children that hold loops; a server forked a moment ago may have none of its own yet."""
    def found():
        pids = [pid for pid in server.children() if process_state(pid) and process_state(pid).name.startswith('tandem')
                and server.children('tandem-worker', of=pid)]
        return pids if len(pids) == number else None

    return wait_until(found, f'{number} server processes with workers of their own', 10 * server.slack)


def held_by(server, pids, connections):
    """Opens connections until each process has some. Returns them with the growth of descriptors of each process."""
    before = {pid: server.descriptors(pid) for pid in pids}
    held = []
    for _ in range(connections):
        raw = Connection(server)
        equal(raw.ask(GET).status, 200, '/healthz')
        held.append(raw)
    return held, {pid: server.descriptors(pid) - before[pid] for pid in pids}


def both_serve_and_both_end(run):
    with run.serve('--workers', '2', '--pool', '1') as server:
        pids = server_processes(server)
        held, grown = held_by(server, pids, 64)
        run.note(f'64 connections were taken by {sorted(grown.values())}')
        check(all(count > 5 for count in grown.values()), f'one process takes nearly all: {grown}')
        for _ in range(20):
            equal(server.compute('primes', n=1000).body['value'], 168, 'primes')
        sockets = [WebSocket(server) for _ in range(20)]
        for number, echo in enumerate(sockets):
            echo.send(frame(TEXT, b'%d' % number))
            echo.expect_message(b'%d' % number)
        server.signal()
        for echo in sockets:
            echo.expect_close(1001)
            echo.close()
        for raw in held:
            raw.expect_end()
            raw.close()
        equal(server.wait().status, 0, 'exit status')


def one_that_is_killed_is_replaced(run):
    with run.serve('--workers', '2', '--pool', '1') as server:
        pids = server_processes(server)
        with WebSocket(server) as probe:
            probe.leave()
        for _ in range(3):
            held = [Connection(server) for _ in range(32)]
            for raw in held:
                raw.ask(GET)
            victim = pids[0]
            os.kill(victim, signal.SIGKILL)
            fine = lost = 0
            for raw in held:
                try:
                    fine += raw.ask(GET).status == 200
                except Exception:
                    lost += 1
                raw.close()
            check(fine > 0 and lost > 0, f'{fine} connections lived on, {lost} were lost')
            wait_until(lambda: victim not in server.children(), 'the victim to be gone')
            pids = server_processes(server)
            for _ in range(20):
                equal(server.compute('primes', n=1000).status, 200, 'a computation afterwards')
        log = server.log()
        check('starting another' in log, f'the log says nothing of it: {log}')


def a_signal_to_one_process_does_not_end_the_service(run):
    with run.serve('--workers', '2', '--pool', '1') as server:
        pids = server_processes(server)
        os.kill(pids[1], signal.SIGTERM)
        wait_until(lambda: pids[1] not in server.children(), 'the process to end', 15)
        server_processes(server)
        equal(server.get('/healthz').status, 200, '/healthz')


def nobody_survives_the_one_that_minds_them(run):
    with run.serve('--workers', '2', '--pool', '2') as server:
        server_processes(server)
        server.signal(signal.SIGKILL)
        equal(server.child.wait(), -signal.SIGKILL, 'exit status')
        wait_until(lambda: not server.processes(), f'processes left behind: {server.processes()}', 15)
        server.ended = type('Ended', (), {'status': 0})   # as expected, here


def drain_and_signals_reach_all(run):
    with run.serve('--workers', '2', '--pool', '1', '--drain', '8') as server:
        workers = [worker for pid in server_processes(server) for worker in server.children('tandem-worker', of=pid)]
        busy = [Connection(server) for _ in range(6)]
        body = b'{"op":"burn","ms":300}'
        for raw in busy:
            raw.send(b'POST /compute HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n' % len(body) + body)
        wait_until(lambda: server.busy_workers(workers), 'a busy worker')
        server.signal(signal.SIGINT)
        statuses = []
        for raw in busy:
            try:
                statuses.append(raw.answer().status)
            except (Failed, ConnectionResetError):   # nobody had read its request when the signal came
                statuses.append(None)
        check(set(statuses) <= {200, 503, None} and statuses.count(200) >= 1, f'{statuses}')
        equal(server.wait(8).status, 0, 'exit status')
        for raw in busy:
            raw.close()


def a_port_that_is_taken_is_a_failed_start(run):
    """Two services may not share a port by accident: SO_REUSEPORT is for the processes of one service."""
    for first, second in (('2', '2'), ('2', '1'), ('1', '2')):
        with run.serve('--workers', first, '--pool', '1') as server:
            other = subprocess.Popen([run.program, 'serve', '--listen', f'127.0.0.1:{server.port}', '--workers', second],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(server.mark))
            line = other.stdout.readline()   # nothing, once it has ended
            if line:
                other.terminate()
            _, error = other.communicate(timeout=15 * run.slack)
            equal(line, b'', f'what --workers {second} says on the port of --workers {first}')
            equal(other.returncode, 1, f'exit status of --workers {second} on the port of --workers {first}: {error}')


sys.exit(main(both_serve_and_both_end, one_that_is_killed_is_replaced, a_signal_to_one_process_does_not_end_the_service,
              nobody_survives_the_one_that_minds_them, drain_and_signals_reach_all, a_port_that_is_taken_is_a_failed_start))
