#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""SIGTERM: whatever is under way ends well, every client is told, and the program is gone in time with status 0."""
import asyncio
import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import time

import websockets

import swarm
from raw import BINARY, TEXT, Connection, WebSocket, frame
from runner import limit, main
from server import check, equal, process_state, wait_until

GET = 'GET {} HTTP/1.1\r\nHost: h\r\n\r\n'
MORE = 1.0   # seconds beside --drain, for a machine that is busy


def is_draining(server):
    return server.get('/readyz').status == 503


def in_time(run, server, seconds, since):
    """Waits for the end; fails when it came later than that many seconds after `since`."""
    ended = server.wait(seconds + 5)
    took = time.monotonic() - since
    equal(ended.status, 0, 'exit status')
    check(took < seconds + MORE * run.slack, f'--drain {seconds}, and it took {took:.2f} s')
    return took


def an_idle_server_ends_at_once(run):
    for number in (signal.SIGTERM, signal.SIGINT):
        with run.serve('--pool', '2', '--drain', '10') as server:
            with Connection(server) as idle, Connection(server) as fresh:   # neither holds it
                equal(idle.ask(GET.format('/healthz').encode()).status, 200, '/healthz')
                begin = time.monotonic()
                server.signal(number)
                idle.expect_end()
                fresh.expect_end()
                took = in_time(run, server, 10, begin)
            check(took < 2 * run.slack, f'nothing was under way, and it took {took:.2f} s')
    for wait in (0, 0.002, 0.01, 0.05):   # in the middle of its start: after the line, while workers start
        with run.serve('--pool', '4') as server:
            time.sleep(wait)
            check(server.stop(10).seconds < 5 * run.slack, 'the end')


def what_is_under_way_is_finished_and_the_rest_refused(run):
    with run.serve('--pool', '2', '--drain', '10') as server, concurrent.futures.ThreadPoolExecutor(8) as threads:
        kept = Connection(server)
        equal(kept.ask(GET.format('/healthz').encode()).status, 200, '/healthz before')
        jobs = [threads.submit(server.compute, 'burn', ms=1000) for _ in range(4)]   # two run, two wait
        server.wait_pool(busy=2, depth=2)
        begin = time.monotonic()
        server.signal()
        wait_until(lambda: is_draining(server), 'the drain')
        kept.expect_end()
        for path, status, body in (('/healthz', 200, b'ok'), ('/readyz', 503, None), ('/metrics', 200, None), ('/', 503, None)):
            answer = server.get(path)
            equal(answer.status, status, path)
            check(body in (None, answer.body), f'{path}: {answer.body}')
        equal(server.metrics().value('draining'), 1, 'tandem_draining')
        refused = server.compute('primes', n=10)
        equal((refused.status, refused.fields['Retry-After'] is not None), (503, True), 'new work')
        with Connection(server) as raw:   # told to come another time, on each new connection
            answer = raw.ask(GET.format('/readyz').encode())
            equal((answer.status, answer.fields['connection']), (503, 'close'), '/readyz')
            raw.expect_end()
        for path in ('/echo', '/chat/r', '/audio'):
            try:
                WebSocket(server, path)
                check(False, f'{path} was opened while draining')
            except Exception as error:
                check('503' in str(error), f'{path}: {error}')
        check(not any(job.done() for job in jobs), 'the jobs ended too early for this test')
        equal([job.result().status for job in jobs], [200] * 4, 'what was under way, the waiting included')
        took = in_time(run, server, 10, begin)
        check(took < 5 * run.slack, f'two seconds of work, and it took {took:.2f} s')


def what_takes_too_long_is_ended(run):
    """A job that never ends, and clients that never answer a close or read nothing, hold it no longer than --drain."""
    with run.serve('--pool', '2', '--drain', '3', '--enable-test-ops') as server:
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            hangs = [threads.submit(server.compute, 'hang'), threads.submit(server.compute, 'burn', ms=60000)]
            server.wait_pool(busy=2)
            waits = threads.submit(server.compute, 'primes', n=10)
            server.wait_pool(busy=2, depth=1)
            deaf = [WebSocket(server, path) for path in ('/echo', '/chat/r', '/audio')]
            blind = WebSocket(server, '/echo', receive_buffer=4096)
            blind.socket.setblocking(False)
            message = frame(BINARY, bytes(100000))
            try:
                while True:
                    blind.send(message)
            except BlockingIOError:
                pass
            half = Connection(server)
            half.send(b'POST /compute HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{')
            begin = time.monotonic()
            server.signal()
            for client in deaf:
                equal(client.close_code(), 1001, 'close code')
            took = in_time(run, server, 3, begin)
            run.note(f'--drain 3 took {took:.2f} s')
            for hang in hangs + [waits]:
                check(hang.exception() is None, f'a job that was cut off got no answer: {hang.exception()!r}')
                check(hang.result().status in (500, 503, 504), f'a job that was cut off: {hang.result()}')
            for client in deaf + [blind, half]:
                client.close()


def a_second_signal_hurries(run):
    with run.serve('--pool', '1', '--drain', '30') as server, concurrent.futures.ThreadPoolExecutor(2) as threads:
        job = threads.submit(server.compute, 'burn', ms=50000)
        server.wait_pool(busy=1)
        with WebSocket(server) as echo:
            server.signal()
            wait_until(lambda: is_draining(server), 'the drain')
            echo.expect_close(1001)
        check(not job.done(), 'the job ended by itself')
        begin = time.monotonic()
        server.signal()
        ended = server.wait(10)
        took = time.monotonic() - begin
        equal(ended.status, 0, 'exit status')
        check(took < 6 * run.slack, f'the second signal took {took:.2f} s')
        run.note(f'{took:.2f} s from the second signal to the end')
        check(job.exception() is None and job.result().status == 503, f'the job: {job}')


def control_c_reaches_all_and_harms_no_job(run):
    """A terminal sends SIGINT to every process of the group, workers too; what is under way ends well all the same."""
    for workers in ('1', '2'):
        with run.serve('--workers', workers, '--pool', '1', process_group=0) as server, \
                concurrent.futures.ThreadPoolExecutor(1) as threads:
            equal(server.compute('primes', n=10).status, 200, 'primes')
            ticks = server.working_ticks()
            job = threads.submit(server.compute, 'burn', ms=1500)
            wait_until(lambda: server.working_ticks() >= ticks + 5, 'a busy worker')
            os.killpg(server.pid, signal.SIGINT)
            equal(job.result().status, 200, f'the job under way, with --workers {workers}')
            equal(server.wait(8).status, 0, 'exit status')


async def chat_results_arrive_before_the_good_bye(run):
    with run.serve('--pool', '1', '--drain', '10') as server:
        async with websockets.connect(server.url('/chat/r?name=ann')) as ann, websockets.connect(server.url('/chat/r')) as bob:
            await ann.recv()
            await bob.recv()
            await ann.send(json.dumps({'type': 'compute', 'id': 'x', 'op': 'burn', 'ms': 700}))
            await asyncio.to_thread(server.wait_pool, 1)
            server.signal()
            try:
                await asyncio.wait_for(bob.recv(), 10)
                check(False, 'a message for bob')
            except websockets.exceptions.ConnectionClosed:
                equal(bob.close_code, 1001, 'close code of one who waits for nothing')
            found = []
            try:
                while True:
                    found.append(json.loads(await asyncio.wait_for(ann.recv(), 10)))
            except websockets.exceptions.ConnectionClosed:
                equal(ann.close_code, 1001, 'close code of one who got her result')
            check(any(one['type'] == 'result' and one['value'] == 700 for one in found), f'what ann got: {found}')
        equal((await asyncio.to_thread(server.wait, 10)).status, 0, 'exit status')


def a_slow_upload_is_waited_for(run):
    body = b'{"op":"primes","n":1000}'
    with run.serve('--pool', '1', '--drain', '10') as server, Connection(server) as raw:
        raw.send(b'POST /compute HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n' % len(body) + body[:5])
        with WebSocket(server):
            pass
        server.signal()
        wait_until(lambda: is_draining(server), 'the drain')
        raw.send(body[5:])
        answer = raw.answer()
        check(answer.status in (200, 503), f'{answer}')
        equal(answer.fields['connection'], 'close', 'Connection')
        raw.expect_end()
        equal(server.wait(10).status, 0, 'exit status')


async def flood(server, counts):
    """Clients of every kind, all at work; returns the peers."""
    peers = []
    payload = frame(BINARY, b'e' * 2000)
    say = frame(TEXT, b'{"type":"say","text":"hello, hello"}')
    audio = frame(BINARY, bytes(640))
    for _ in range(counts[0]):   # echo: eight messages under way, always
        peer = await swarm.connect(server.address, '/echo')
        peer.on_frame = lambda _opcode, _payload, peer=peer: peer.close_code or peer.send(payload)
        peer.send(payload * 8)
        peers.append(peer)
    for number in range(counts[1]):   # chat: everybody talks on what was said
        peer = await swarm.connect(server.address, f'/chat/{number % 5}?name=m')
        peer.own = 0

        def on_frame(_opcode, message, peer=peer):
            if b'"message"' in message and not peer.close_code:
                peer.own += 1
                if peer.own % (counts[1] // 5) == 0:
                    peer.send(say)

        peer.on_frame = on_frame
        peer.send(say)
        peers.append(peer)
    for _ in range(counts[2]):
        peer = await swarm.connect(server.address, '/audio?rate=16000')
        peer.speaks = True
        peers.append(peer)
    return peers, audio


async def speak(peers, audio):
    """Live audio until everybody was told good-bye."""
    speakers = [peer for peer in peers if hasattr(peer, 'speaks')]
    begin, tick = time.monotonic(), 0
    while any(not peer.ended.done() for peer in speakers):
        for peer in speakers:
            if not peer.close_code and not peer.ended.done():
                peer.send(audio)
        tick += 1
        await asyncio.sleep(begin + tick * 0.02 - time.monotonic())


@limit(90)
async def under_load_everybody_is_told(run):
    """Echo floods, chats, live audio, burns, and wrk on keep-alive connections, all while SIGTERM comes."""
    drain = 10
    with run.serve('--pool', '2', '--queue', '16', '--drain', drain) as server:
        peers, audio = await flood(server, (50, 50, 50))
        jobs = [asyncio.create_task(asyncio.to_thread(server.compute, 'burn', ms=1000)) for _ in range(4)]
        await asyncio.to_thread(server.wait_pool, 2, 2)
        speaking = asyncio.create_task(speak(peers, audio))
        wrk = await asyncio.create_subprocess_exec('wrk', '-t1', '-c32', '-d4s', server.url('/healthz', 'http'),
                                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        talked = server.metrics().value('messages_total')
        await asyncio.to_thread(server.wait_metric, lambda m: m.value('messages_total') > talked + 5000, 'messages', 20)
        begin = time.monotonic()
        server.signal()
        done, open_still = await asyncio.wait([peer.ended for peer in peers], timeout=(drain + 2) * run.slack)
        took = await asyncio.to_thread(in_time, run, server, drain, begin)
        await speaking
        codes = [peer.close_code for peer in peers]
        equal(len(open_still), 0, 'clients whose connection did not end')
        kinds = ['echo'] * 50 + ['chat'] * 50 + ['audio'] * 50
        silent = [(kind, peer.close_code, peer.ended.result()) for kind, peer in zip(kinds, peers) if peer.close_code != 1001]
        check(not silent, f'{len(silent)} clients were not told 1001: {silent[:5]}')
        resets = [kind for kind, peer in zip(kinds, peers) if peer.ended.result() is not None]
        run.note(f'{len(codes)} clients told, {len(resets)} connections reset behind the close frame, end after {took:.2f} s')
        equal([(await job).status for job in jobs], [200] * 4, 'the burns that were under way')
        if wrk.returncode is None:
            wrk.terminate()
        await wrk.wait()


def an_end_again_and_again(run):
    """Ends at every moment of some short sessions leave nothing behind: what Server checks after each."""
    for number in range(10):
        with run.serve('--pool', '2', '--drain', '5', '--enable-test-ops') as server:
            held = [WebSocket(server, path) for path in ('/echo', '/chat/a', '/audio') for _ in range(3)]
            for client in held:
                client.send(frame(TEXT, b'{"type":"compute","id":"1","op":"primes","n":100000}') if number % 2 else
                            frame(BINARY, bytes(5000)))
            time.sleep(number * 0.002)
            server.signal()
            for client in held:
                equal(client.close_code(), 1001, 'close code')
                client.close()
            equal(server.wait(8).status, 0, 'exit status')


sys.exit(main(an_idle_server_ends_at_once, what_is_under_way_is_finished_and_the_rest_refused, what_takes_too_long_is_ended,
              a_second_signal_hurries, control_c_reaches_all_and_harms_no_job,
              chat_results_arrive_before_the_good_bye, a_slow_upload_is_waited_for,
              under_load_everybody_is_told, an_end_again_and_again, needs=('websockets', 'wrk')))
