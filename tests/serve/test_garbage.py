#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Garbage on the port: the right answer or an end, a server unharmed, memory and descriptors as before."""
import random
import socket
import sys
import time

from raw import BINARY, CONTINUATION, PING, TEXT, Connection, WebSocket, close_frame, frame, handshake
from runner import limit, main
from server import check, equal, wait_until

RSS_GROWTH_KIB = 4096     # allowed over several rounds, after one to warm up
HEAD_SECONDS = 10         # a request's head may take that long


def healthy(server):
    equal(server.get('/healthz').body, b'ok', '/healthz')
    equal(server.compute('primes', n=1000).body['value'], 168, 'primes')
    with WebSocket(server) as echo:
        echo.send(frame(TEXT, b'still there?'))
        echo.expect_message(b'still there?')
        echo.leave()


def settled(server):
    """Waits until all connections but the one that asks have ended."""
    wait_until(lambda: server.metrics().value('connections') == 1, 'connections that do not end', 20 * server.slack)


def hold_flat(run, server, play, rounds=4):
    """Plays once to warm up, then some rounds more, which must leave memory and descriptors as they were."""
    healthy(server)
    play()
    settled(server)
    memory, descriptors = server.rss_kib(), server.descriptors()
    for _ in range(rounds):
        play()
        settled(server)
    healthy(server)
    settled(server)
    grown = server.rss_kib() - memory
    run.note(f'RSS {memory} KiB, grew by {grown} KiB; {descriptors} descriptors')
    wait_until(lambda: server.descriptors() <= descriptors, f'descriptors to be {descriptors} again')
    check(run.sanitized or grown < RSS_GROWTH_KIB, f'RSS grew by {grown} KiB')


def finish(raw, allowed=None):
    """Reads to the end; a reset is an end, too, for one who sends without listening."""
    try:
        raw.socket.shutdown(socket.SHUT_WR)
        found = raw.to_end()
        check(allowed is None or any(found.startswith(begin) for begin in allowed), f'the answer {found[:100]!r}')
    except OSError:
        pass
    raw.close()


def random_bytes_are_no_harm(run):
    noise = random.Random(6)

    def play():
        for _ in range(60):
            raw = Connection(server)
            raw.send_as_taken(noise.randbytes(noise.choice((1, 5, 100, 5000, 100000))))
            finish(raw, (b'', b'HTTP/1.1 '))
        for _ in range(60):   # behind a handshake
            raw = WebSocket(server, noise.choice(('/echo', '/chat/r', '/audio')))
            raw.send_as_taken(noise.randbytes(noise.choice((1, 5, 100, 5000, 100000))))
            finish(raw)
        for _ in range(60):   # within a request: headers that nobody knows, bytes that no body has
            raw = Connection(server)
            junk = bytes(byte for byte in noise.randbytes(200) if byte not in b'\r\n')
            raw.send_as_taken(b'POST /compute HTTP/1.1\r\nHost: h\r\nX: ' + junk + b'\r\nContent-Length: 100\r\n\r\n' +
                              noise.randbytes(100))
            finish(raw, (b'HTTP/1.1 400',))

    with run.serve('--pool', '1') as server:
        hold_flat(run, server, play)


def half_requests_are_no_harm(run):
    halves = [b'G', b'GET /healthz', b'GET /healthz HTTP/1.1\r\n', b'GET /healthz HTTP/1.1\r\nHost: h\r\n',
              b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r', b'POST /compute HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n',
              b'POST /compute HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n{"op"',
              b'POST /compute HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"o', b'\r\n', b'\r\n\r\n\r\n',
              handshake()[:-1], handshake() + b'\x81', handshake() + b'\x81\xfe\x00', handshake() + frame(TEXT, b'hello')[:-1],
              handshake('/audio') + frame(BINARY, b'x', length=100000), handshake('/chat/r') + frame(TEXT, b'{', fin=False)]

    def play():
        for half in halves:
            for end in ('close', 'reset'):
                raw = Connection(server)
                raw.send(half)
                getattr(raw, end)()
            raw = Connection(server)
            raw.send(half)
            finish(raw)

    with run.serve('--pool', '1') as server:
        hold_flat(run, server, play, rounds=10)


def a_large_head_is_431_and_no_reset(run):
    """A client that sends a whole megabyte before it reads must still find the answer."""
    def play():
        for head, status in ((b'GET / HTTP/1.1\r\nHost: h\r\nX: ' + b'x' * (1 << 20), 431),
                             (b'GET / HTTP/1.1\r\nHost: h\r\n' + b'X: y\r\n' * (1 << 17), 431),
                             (b'GET /' + b'x' * (1 << 20), 414)):
            with Connection(server) as raw:
                raw.send(head)
                equal(raw.answer().status, status, 'status')
                raw.expect_end()
        with Connection(server) as raw:
            raw.send(b'POST /compute HTTP/1.1\r\nHost: h\r\nContent-Length: 8388608\r\n\r\n' + bytes(8 << 20))
            equal(raw.answer().status, 413, 'status')
            raw.expect_end()

    with run.serve('--pool', '1') as server:
        hold_flat(run, server, play)


def zeroes_and_endless_streams_are_no_harm(run):
    def play():
        for data in (bytes(100000), b'\n' * 100000, b'\r\n' * 50000, b' ' * 100000, b'A' * 100000):
            raw = Connection(server)
            raw.send_as_taken(data)
            finish(raw, (b'', b'HTTP/1.1 4', b'HTTP/1.1 501'))
        raw = Connection(server)
        raw.send(b'POST /compute HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n')
        raw.send_as_taken(b'1;' + b'x' * 100000)   # a chunk's extension without end
        finish(raw, (b'HTTP/1.1 4',))
        raw = Connection(server)
        raw.send_as_taken(b'POST /compute HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n' + b'X: y\r\n' * 20000)
        finish(raw, (b'HTTP/1.1 4',))

    with run.serve('--pool', '1') as server:
        hold_flat(run, server, play)


def thousands_come_and_go(run):
    def play():
        for number in range(1000):
            raw = Connection(server)
            if number % 4 == 1:
                raw.send(b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n')
            elif number % 4 == 2:
                raw.send(handshake('/chat/r') + frame(TEXT, b'{"type":"say","text":"hi"}'))
            (raw.reset if number % 3 == 0 else raw.close)()

    with run.serve('--pool', '1') as server:
        hold_flat(run, server, play)
        check(server.metrics().value('connections_accepted_total') > 4900, 'not all were accepted')


def resets_in_the_middle_are_no_harm(run):
    data = bytes(100000)

    def play():
        for path, message in (('/echo', frame(BINARY, data)), ('/audio', frame(BINARY, data)),
                              ('/chat/r', frame(TEXT, b'{"type":"say","text":"' + b'x' * 3000 + b'"}')),
                              ('/chat/r', frame(TEXT, b'{"type":"compute","id":"1","op":"burn","ms":5}'))):
            for cut in (len(message), len(message) // 2, 3):
                for _ in range(5):
                    raw = WebSocket(server, path, receive_buffer=4096)
                    raw.send_as_taken(message * 20 + message[:cut])
                    raw.reset()
        for _ in range(20):   # while an answer is on its way
            raw = Connection(server, receive_buffer=4096)
            raw.send(b'GET / HTTP/1.1\r\nHost: h\r\n\r\n' * 50)
            raw.reset()

    with run.serve('--pool', '1', '--queue', '4') as server:
        hold_flat(run, server, play)


def broken_frames_are_no_harm(run):
    noise = random.Random(7)

    def play():
        under_way = []
        huge = frame(BINARY, b'', length=10 << 30)
        for bad in (frame(TEXT, b'x', mask=None), huge, frame(BINARY, bytes(99), length=1 << 63), frame(3), frame(TEXT, b'\xff'),
                    frame(CONTINUATION, b'x'), close_frame(1), bytes(20)):
            for path in ('/echo', '/chat/r', '/audio')[:2 if bad is huge else 3]:   # audio may have any size
                for _ in range(4):
                    raw = WebSocket(server, path)
                    raw.send_as_taken(bad + noise.randbytes(1000))
                    under_way.append(raw)
        for raw in under_way:
            check(raw.close_code() in (1002, 1007, 1009), 'the close code')
        for raw in under_way:
            finish(raw)

    with run.serve('--pool', '1') as server:
        hold_flat(run, server, play)


def who_never_reads_is_held_back(run):
    """Requests and pings without end from one who takes no answer: TCP holds it back, nothing piles up here."""
    with run.serve('--pool', '1') as server:
        healthy(server)
        for name, opened, data in (('requests', Connection, b'GET / HTTP/1.1\r\nHost: h\r\n\r\n' * 1000),
                                   ('pings', WebSocket, frame(PING, b'x' * 125) * 1000)):
            before = server.rss_kib()
            raw = opened(server, receive_buffer=4096)
            raw.socket.setblocking(False)
            sent, rest, idle = 0, data, time.monotonic() + 1
            while time.monotonic() < idle:   # until it takes no more for a second
                check(sent < 1 << 28, f'it takes {name} without end')
                try:
                    size = raw.socket.send(rest)
                    sent, rest, idle = sent + size, rest[size:] or data, time.monotonic() + 1
                except BlockingIOError:
                    healthy(server)
            grown = server.rss_kib() - before
            run.note(f'it took {sent >> 10} KiB of {name}, its RSS grew by {grown} KiB')
            check(run.sanitized or grown < 8192, f'RSS grew by {grown} KiB')
            raw.close()
        settled(server)


def chatter_does_not_fill_the_memory(run):
    """Rooms whose members said much and left: what is kept for newcomers is bounded in bytes, not only in messages."""
    rooms = 60
    with run.serve('--pool', '1') as server:
        healthy(server)
        before = server.rss_kib()
        message = frame(TEXT, b'{"type":"say","text":"' + b'x' * 60000 + b'"}')
        for number in range(rooms):
            with WebSocket(server, f'/chat/{number}') as talker:
                talker.message()   # the welcome
                for _ in range(50):
                    talker.send(message)
                    talker.message()
                talker.leave()
        grown = server.rss_kib() - before
        run.note(f'{rooms} rooms, 50 messages of 60 kB in each: RSS grew by {grown} KiB')
        check(run.sanitized or grown < 32768, f'RSS grew by {grown} KiB, {grown // rooms} for each room')
        healthy(server)


@limit(90)
def slow_heads_are_cut_off(run):
    """A letter a second never makes a request: 408 or an end within the time a head may take, however many do it."""
    with run.serve('--pool', '1') as server:
        healthy(server)
        settled(server)
        before = server.descriptors()
        slow = [Connection(server) for _ in range(20)]
        silent = [Connection(server) for _ in range(20)]
        begin = time.monotonic()
        letters = iter(b'GET /healthz HTTP/1.1\r\nHost: a.very.long.name.that.takes.long\r\n')
        ends = {}
        while len(ends) < len(slow):
            check(time.monotonic() - begin < (HEAD_SECONDS + 5) * run.slack, f'{len(slow) - len(ends)} slow ones are still open')
            letter = bytes([next(letters)])
            for raw in slow:
                if raw in ends:
                    continue
                try:
                    raw.send(letter)
                    raw.socket.settimeout(0.001)
                    if not raw.fill():
                        ends[raw] = time.monotonic() - begin
                except TimeoutError:
                    pass
                except OSError:
                    ends[raw] = time.monotonic() - begin
            for _ in range(10):
                time.sleep(0.05)
                healthy(server)
        for raw in slow:
            check(raw.pending.startswith(b'HTTP/1.1 408') or not raw.pending, f'the answer {raw.pending[:60]!r}')
            raw.close()
        run.note(f'cut off after {min(ends.values()):.1f} to {max(ends.values()):.1f} s, '
                 f'{sum(raw.pending.startswith(b"HTTP/1.1 408") for raw in slow)} of {len(slow)} with 408')
        check(min(ends.values()) > HEAD_SECONDS * 0.8, 'cut off too early')
        for raw in silent:   # they have not begun a request, and may still
            raw.send(b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n')
            equal(raw.answer().status, 200, 'one who was silent')
            raw.close()
        settled(server)
        wait_until(lambda: server.descriptors() <= before, f'descriptors to be {before} again')


sys.exit(main(random_bytes_are_no_harm, half_requests_are_no_harm, a_large_head_is_431_and_no_reset,
              zeroes_and_endless_streams_are_no_harm, thousands_come_and_go, resets_in_the_middle_are_no_harm,
              broken_frames_are_no_harm, who_never_reads_is_held_back,
              chatter_does_not_fill_the_memory, slow_heads_are_cut_off))
