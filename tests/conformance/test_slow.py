#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Clients that are slow on purpose: test_slow.py PROGRAM PEER. Each is cut off within the time it was given, and others do not
notice; and clients that are many."""
import sys
import time

from talk import BINARY, PING, TEXT, Connection, Failed, WebSocket, check, equal, frame, handshake, main, settled, wait_until
from server import Server

PEER = sys.argv.pop(2)
HEALTH = b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n'
MANY = 200
PATIENCE = 20     # seconds that a cut-off may take on a busy machine, whose limit is below one second


def dribble(connections, data, server):
    """Sends data byte by byte to all of them at once until each has ended. Returns how long the last one lived."""
    begin = time.monotonic()
    alive = dict.fromkeys(connections, 0)
    for raw in connections:
        raw.socket.setblocking(False)
        raw.said = b''
    while alive:
        for raw in list(alive):
            try:
                raw.socket.send(data[alive[raw] % len(data):][:1])
                alive[raw] += 1
            except BlockingIOError:
                pass
            except OSError:
                alive.pop(raw)
                continue
            try:
                got = raw.socket.recv(65536)
                raw.said += got
                if not got:
                    alive.pop(raw)
            except BlockingIOError:
                pass
            except OSError:
                alive.pop(raw)
        equal(server.get('/healthz').status, 200, 'another client meanwhile')
        check(time.monotonic() - begin < PATIENCE * server.slack, f'{len(alive)} live on')
    return time.monotonic() - begin


def slow_heads_are_408(run):
    """However often a byte comes: the time for the head runs from its first."""
    with Server(PEER, run.backend, '--head-ms', '500') as server:
        for begin in (b'', b'GET / HTTP/1.1\r\n', b'GET / HTTP/1.1\r\nHost: h\r\n'):
            held = [Connection(server) for _ in range(30)]
            for raw in held:
                raw.send(begin + b'X')
            seconds = dribble(held, b'X: y\r\n' * 10, server)
            run.note(f'behind {len(begin)} bytes: {seconds:.1f} s')
            for raw in held:
                check(raw.said.startswith((b'HTTP/1.1 408 ', b'HTTP/1.1 4')), f'it was told {raw.said[:80]!r}')
                raw.close()
        settled(server)


def slow_bodies_are_408(run):
    head = b'POST /post HTTP/1.1\r\nHost: h\r\n%s\r\n'
    with Server(PEER, run.backend, '--body-ms', '500', '--rate', 1 << 20) as server:
        for fields, piece in ((b'Content-Length: 60000\r\n', b'x'), (b'Transfer-Encoding: chunked\r\n', b'1\r\nx\r\n')):
            held = [Connection(server) for _ in range(30)]
            for raw in held:
                raw.send(head % fields)
            run.note(f'{fields[:12]}: {dribble(held, piece, server):.1f} s')
            for raw in held:
                check(raw.said.startswith(b'HTTP/1.1 408 '), f'it was told {raw.said[:80]!r}')
                raw.close()
        settled(server)


def silent_ones_are_let_go(run):
    """Before the first byte, and between requests."""
    with Server(PEER, run.backend, '--idle-ms', '500', '--head-ms', '500') as server:
        held = [Connection(server) for _ in range(MANY)]
        for raw in held[:MANY // 2]:
            equal(raw.ask(HEALTH).status, 200, 'status')
        begin = time.monotonic()
        for raw in held:
            left = raw.to_end()
            check(left == b'' or left.startswith(b'HTTP/1.1 408 '), f'{left[:80]!r}')
            raw.close()
        check(time.monotonic() - begin < PATIENCE * run.slack, 'they were kept')
        settled(server)


def slow_readers_are_let_go(run):
    """An answer of 64 MiB that nobody reads costs no memory, and its connection ends."""
    with Server(PEER, run.backend, '--send-ms', '2000') as server:
        before = server.rss_kib()
        held = [Connection(server, receive_buffer=4096) for _ in range(20)]
        for raw in held:
            raw.send(b'GET /large?size=67108864 HTTP/1.1\r\nHost: h\r\n\r\n')
        wait_until(lambda: server.metrics().value('connections') == 1, 'they are kept', PATIENCE * run.slack)
        grown = server.rss_kib() - before
        run.note(f'RSS grew by {grown} KiB')
        check(run.sanitized or grown < 16384, f'RSS grew by {grown} KiB')
        for raw in held:
            raw.close()
        with Connection(server) as raw:   # who reads at all gets it all
            raw.send(b'GET /large?size=67108864 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n')
            equal(len(raw.to_end().split(b'\r\n\r\n', 1)[1]), 67108864, 'bytes')


def pipelines_that_nobody_reads_end(run):
    """Requests one behind the other, and nobody reads the answers: the server stops reading, and then ends it."""
    with Server(PEER, run.backend, '--send-ms', '500') as server:
        before = server.rss_kib()
        with Connection(server, receive_buffer=4096) as raw:
            raw.socket.setblocking(False)
            sent, begin = 0, time.monotonic()
            while time.monotonic() - begin < PATIENCE * run.slack:
                try:
                    sent += raw.socket.send(HEALTH * 1000)
                except BlockingIOError:
                    equal(server.get('/healthz').status, 200, 'another client meanwhile')
                except OSError:
                    break
            else:
                raise Failed(f'it lives on, and took {sent} bytes')
            run.note(f'{sent >> 10} KiB were taken')
        check(run.sanitized or server.rss_kib() - before < 16384, f'RSS grew by {server.rss_kib() - before} KiB')
        settled(server)


def vanished_peers_are_noticed(run):
    """7: who answers no ping is gone; who does, stays."""
    with Server(PEER, run.backend, '--ping-ms', '300') as server:
        for path in ('/echo', '/parked'):
            gone, here = WebSocket(server, path), WebSocket(server, path)
            for _ in range(6):
                found = here.frame()
                equal(found.opcode, PING, 'what comes to one who says nothing')
                here.send(frame(10, found.payload))
            left = gone.to_end()
            check(left[0] == 0x80 | PING, f'{left!r}')
            here.send(frame(TEXT, b'still here'))
            found = here.frame()
            while found.opcode == PING:
                here.send(frame(10, found.payload))
                found = here.frame()
            equal(found.payload, b'still here', 'the echo')
            here.close()
            gone.close()
        settled(server)


def slow_websockets_are_borne(run):
    """A frame that comes byte by byte for long is no reason to end it, and none to hold others up."""
    data = frame(BINARY, b'x' * 300)
    with Server(PEER, run.backend) as server:
        for path in ('/echo', '/parked'):
            held = [WebSocket(server, path) for _ in range(50)]
            for at in range(len(data)):
                for talk in held:
                    talk.send(data[at:at + 1])
            for talk in held:
                talk.expect_message(b'x' * 300)
                talk.leave()
        settled(server)


def floods_of_connections_are_503(run):
    """Beyond --max-connections each is told, however many there are, and the others are served."""
    with run.serve('--pool', '1', '--max-connections', '50') as server:
        before = server.descriptors()
        held = [WebSocket(server) for _ in range(50)]
        for _ in range(5):
            flood = [Connection(server) for _ in range(MANY)]
            for raw in flood:
                raw.send_as_taken(HEALTH)
            for raw in flood:
                try:
                    found = raw.to_end()
                    check(found.startswith(b'HTTP/1.1 503 ') and b'\r\nRetry-After: ' in found, f'{found[:80]!r}')
                except ConnectionResetError:
                    pass   # the answer had left when our request came
                raw.close()
            for talk in held:
                talk.send(frame(TEXT, b'still here'))
                talk.expect_message(b'still here')
        for talk in held:
            talk.leave()
        wait_until(lambda: server.get('/healthz').status == 200, 'places that became free', PATIENCE * run.slack)
        settled(server)
        check(server.descriptors() <= before + 2, f'{before} descriptors became {server.descriptors()}')


def requests_have_a_most(run):
    with Server(PEER, run.backend, '--requests', '5') as server, Connection(server) as raw:
        for left in range(4, -1, -1):
            answer = raw.ask(HEALTH)
            equal((answer.status, answer.fields.get('connection') == 'close'), (200, left == 0), f'{left} requests before the last')
        raw.expect_end()
    with Server(PEER, run.backend, '--message-bytes', '10') as server:
        for path in ('/echo', '/parked'):
            with Connection(server) as raw:
                raw.send(handshake(path) + frame(TEXT, b'x' * 10) + frame(TEXT, b'x' * 11))
                raw.__class__ = WebSocket
                raw.expect_upgrade()
                raw.expect_message(b'x' * 10)
                raw.expect_close(1009)


if __name__ == '__main__':
    sys.exit(main(slow_heads_are_408, slow_bodies_are_408, silent_ones_are_let_go, slow_readers_are_let_go, pipelines_that_nobody_reads_end,
                  vanished_peers_are_noticed, slow_websockets_are_borne, floods_of_connections_are_503, requests_have_a_most))
