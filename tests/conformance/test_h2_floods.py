#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""HTTP/2 under those who mean harm (CVE-2019-9511 to 9518, CVE-2023-44487, CONTINUATION floods): each is cut off or costs nothing,
and others are served meanwhile. And WebSocket over HTTP/2 (RFC 8441)."""
import struct
import sys
import time

from talk import BINARY, CLOSE, TEXT, check, equal, main, settled
from talk import frame as ws_frame
from test_h2 import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, REQUEST, RST_STREAM, SETTINGS, Peer, ask,
                     frame, setting, window, without)

SENT_MAX = 24 << 20     # bytes of a flood that nobody stopped
FLOOD_SECONDS = 6
GROWTH_KIB = 24 * 1024
CONNECT = [(':method', 'CONNECT'), (':protocol', 'websocket'), (':scheme', 'http'), (':path', '/echo'), (':authority', 'h'),
           ('sec-websocket-version', '13')]


def resets(count):
    for stream in range(1, count * 2, 2):
        yield ask(stream) + frame(RST_STREAM, 0, stream, struct.pack('>I', 8))


def made_resets(count):
    """The server is made to reset by frames that are wrong for the stream."""
    for stream in range(1, count * 2, 2):
        yield ask(stream, end=False) + window(stream, 0)


def floods():
    """Name and pieces, sent one after another until the server has had enough."""
    yield 'rapid resets', resets(200000)
    yield 'resets that the server is made to send', made_resets(200000)
    yield 'requests', (ask(stream) for stream in range(1, 400000, 2))
    yield 'continuations', (frame(HEADERS, 0, 1, b'') if n == 0 else frame(CONTINUATION, 0, 1, b'\x00\x01x\x01y' * 1000) for n in range(5000))
    yield 'empty continuations', (frame(HEADERS, 0, 1, b'') if n == 0 else frame(CONTINUATION, 0, 1) for n in range(1000000))
    yield 'fields in one block', (ask(1, more=[('x', 'y')] * 2500) if n == 0 else frame(PING, 0, 0, bytes(8)) for n in range(2))
    yield 'pings', (frame(PING, 0, 0, bytes(8)) for _ in range(1000000))
    yield 'settings', (setting(4, 65535) for _ in range(1000000))
    yield 'settings that acknowledge nothing', (frame(SETTINGS, ACK) for _ in range(1000000))
    yield 'settings of many', (frame(SETTINGS, 0, 0, struct.pack('>HI', 0xff, 1) * 2700) for _ in range(2000))
    yield 'empty data', (ask(1, end=False) if n == 0 else frame(DATA, 0, 1) for n in range(1000000))
    yield 'padding and no data', (ask(1, end=False) if n == 0 else frame(DATA, 8, 1, b'\xff' + bytes(255)) for n in range(60000))
    yield 'empty headers', (frame(HEADERS, END_HEADERS | END_STREAM, stream) for stream in range(1, 400000, 2))
    yield 'priorities', (frame(PRIORITY, 0, 1, struct.pack('>IB', n % 1000 * 2 + 3, 5)) for n in range(1000000))
    yield 'windows', (ask(1, end=False) if n == 0 else window(1, 1) for n in range(1000000))
    yield 'unknown frames', (frame(0x99, 0, 0) for _ in range(1000000))


def push(peer, pieces, server):
    """Sends without reading until the server ends the connection, or takes no more. Returns bytes sent and how it ended."""
    peer.socket.setblocking(False)
    sent, pending = 0, b''
    deadline = time.monotonic() + FLOOD_SECONDS * server.slack
    while sent < SENT_MAX and time.monotonic() < deadline:
        while len(pending) < 1 << 16:
            piece = next(pieces, None)
            if piece is None:
                break
            pending += piece
        if not pending:
            return sent, 'all of it was borne'
        try:
            done = peer.socket.send(pending)
            sent, pending = sent + done, pending[done:]
        except BlockingIOError:
            equal(server.get('/healthz').status, 200, 'another client')
        except OSError:
            return sent, 'cut off'
    return sent, 'held back' if pending else 'all of it was borne'


def said_at_the_end(peer):
    """Reads what the server had to say about it, until there is nothing more, or its end."""
    peer.socket.settimeout(0.5)
    try:
        found = dict(peer.until_told(-1))
    except TimeoutError:
        return 'not told anything'
    return f'told error {found["goaway"]}' if 'goaway' in found else 'ended'


def floods_are_cut_off_or_cost_nothing(run):
    with run.serve('--pool', '1') as server:
        for name, pieces in floods():
            before = server.rss_kib()
            with Peer(server) as peer:
                sent, how = push(peer, iter(pieces), server)
                grown = server.rss_kib() - before
                begin = time.monotonic()
                equal(server.get('/healthz').status, 200, f'another client during {name}')
                check(time.monotonic() - begin < 3 * run.slack, f'{name}: another client waited {time.monotonic() - begin:.1f} s')
                check(run.sanitized or grown < GROWTH_KIB, f'{name}: RSS grew by {grown} KiB')
                how += f' and {said_at_the_end(peer)}'
                peer.reset()
            run.note(f'{name}: {how} after {sent >> 10} KiB, RSS grew by {grown} KiB')
            settled(server)


def some_of_it_is_no_flood(run):
    """A browser may reset a few streams, ping now and then, and send an empty frame at the end of a body."""
    with run.serve('--pool', '1') as server, Peer(server) as peer:
        for stream in range(1, 41, 2):
            peer.send(ask(stream) + frame(RST_STREAM, 0, stream, struct.pack('>I', 8)) + frame(PING, 0, 0, b'are you?'))
            check(('pong', b'are you?') in peer.until_told(0), 'no answer to a ping')
        for stream in range(101, 601, 2):
            peer.send(ask(stream))
            check(('status', 200) in peer.until_told(stream), f'stream {stream}')


class Tunnel:
    """WebSocket frames in DATA frames of one stream."""

    def __init__(self, peer, stream):
        self.peer, self.stream, self.data, self.ended = peer, stream, b'', False

    def send(self, data, flags=0):
        self.peer.send(frame(DATA, flags, self.stream, data))

    def frame(self):
        while len(self.data) < 2 or len(self.data) < 2 + self.size():
            self.more()
        found = self.data[0] & 15, self.data[2:2 + self.size()]
        self.data = self.data[2 + self.size():]
        return found

    def size(self):
        check(self.data[1] < 126, 'a message longer than the test sends')
        return self.data[1]

    def more(self):
        one = self.peer.next()
        check(one is not None, 'the connection ended')
        kind, flags, stream, payload = one
        if kind == DATA and stream == self.stream:
            self.data += payload
            self.ended = bool(flags & END_STREAM)
        check(kind != RST_STREAM, f'reset: {payload!r}')


def websocket_comes_over_http_2(run):
    with run.serve('--pool', '1') as server, Peer(server) as peer:
        equal(peer.settings.get(8), 1, 'SETTINGS_ENABLE_CONNECT_PROTOCOL')
        for stream in (1, 3, 5):
            peer.send(ask(stream, CONNECT, end=False))
        tunnels = {stream: Tunnel(peer, stream) for stream in (1, 3, 5)}
        for _ in tunnels:
            kind, flags, stream, payload = peer.next()
            while kind != HEADERS:
                kind, flags, stream, payload = peer.next()
            fields = dict(peer.decoder.decode(payload))
            equal((fields[':status'], flags & END_STREAM), ('200', 0), f'the answer on {stream}')
            for name in ('sec-websocket-accept', 'upgrade', 'connection', 'content-length'):
                check(name not in fields, f'{name} over HTTP/2')
        for stream, tunnel in tunnels.items():   # one after another: their DATA frames come in turn
            message = b'over %d' % stream
            tunnel.send(ws_frame(TEXT, message) + ws_frame(BINARY, message * 3))
            equal([tunnel.frame(), tunnel.frame()], [(TEXT, message), (BINARY, message * 3)], 'the echo')
        tunnels[1].send(ws_frame(3))
        equal(tunnels[1].frame()[1][:2], struct.pack('>H', 1002), 'the close of a wrong frame')
        tunnels[3].send(ws_frame(CLOSE, struct.pack('>H', 1000)))
        equal(tunnels[3].frame(), (CLOSE, struct.pack('>H', 1000)), 'the close')
        while not tunnels[3].ended:
            tunnels[3].more()
        peer.send(ask(7))
        check(('status', 200) in peer.until_told(7), 'a request beside them')
        peer.reset()
        settled(server)


def connect_is_checked_as_any_handshake(run):
    wrong = {'another protocol': [*without(':protocol', CONNECT), (':protocol', 'tcp')], 'no version': without('sec-websocket-version', CONNECT),
             'version 8': [*without('sec-websocket-version', CONNECT), ('sec-websocket-version', '8')],
             'no path': without(':path', CONNECT), 'no scheme': without(':scheme', CONNECT), 'a GET': [(':protocol', 'websocket'), *REQUEST],
             'no such path': [*without(':path', CONNECT), (':path', '/nowhere')], 'no WebSocket there': [*without(':path', CONNECT), (':path', '/healthz')]}
    with run.serve('--pool', '1') as server:
        for name, fields in wrong.items():
            pseudo = [one for one in fields if one[0][0] == ':']
            with Peer(server) as peer:
                peer.send(ask(1, [*pseudo, *[one for one in fields if one[0][0] != ':']], end=name == 'a GET'))
                found = dict(peer.until_told(1, patient=False))
                check('reset' in found or found.get('status', 200) >= 400 or 'goaway' in found, f'{name}: {found}')


if __name__ == '__main__':
    sys.exit(main(floods_are_cut_off_or_cost_nothing, some_of_it_is_no_flood, websocket_comes_over_http_2,
                  connect_is_checked_as_any_handshake))
