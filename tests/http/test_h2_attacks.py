#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""HTTP/2 under attack, over sockets: floods, and peers that are slow on purpose. test_h2_attacks.py H2_SERVER

What each brake counts is tested in memory (test_h2_floods.c); this is about what the others see of it.
"""
import struct
import sys
import time

import h2.errors
import h2.events
import h2.exceptions

from h2_client import Client, Server, check, equal, frame, literal, run

DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
GET = [(':method', 'GET'), (':scheme', 'http'), (':path', '/wait'), (':authority', 'h')]
POST = [(':method', 'POST'), (':scheme', 'http'), (':path', '/echo'), (':authority', 'h')]
CALM = h2.errors.ErrorCodes.ENHANCE_YOUR_CALM


def get(stream, fields=()):
    return frame(HEADERS, 5, stream, literal(GET + list(fields)))


def each(count, make):
    return b''.join(make(2 * i + 1) for i in range(count))


def bomb():
    """A field of 4,000 bytes goes into the table, and 8,000 bytes name it again."""
    value = b'\x7f' + bytes([(3900 - 127) % 128 + 128, (3900 - 127) // 128]) + b'v' * 3900
    return frame(HEADERS, 5, 1, literal(GET) + b'\x40\x01x' + value + b'\xbe' * 8000)


FLOODS = {
    'rapid resets': each(1000, lambda i: get(i) + frame(RST, 0, i, struct.pack('>I', 8))),
    'provoked resets': each(1000, lambda i: get(i) + frame(WINDOW, 0, i, struct.pack('>I', 0x7fffffff))),
    'an endless header block': frame(HEADERS, 1, 1, literal(GET)) + frame(CONTINUATION, 0, 1, b'') * 20000,
    'a flood of SETTINGS': frame(SETTINGS, 0, 0) * 10000,
    'a flood of PING': frame(PING, 0, 0, b'12345678') * 10000,
    'a flood of empty frames': frame(HEADERS, 4, 1, literal(POST)) + frame(DATA, 0, 1) * 10000,
    'a flood of priorities': each(10000, lambda i: frame(PRIORITY, 0, i, b'\0\0\0\0\1')),
    'a flood of WINDOW_UPDATE': frame(WINDOW, 0, 0, struct.pack('>I', 1)) * 20000,
    'a header bomb': bomb(),
}


def each_flood_ends_its_connection_alone(program, backend):
    with Server(program, backend) as server, Client(server) as other:
        waiting = other.request('/wait')
        before = server.descriptors()
        for name, flood in FLOODS.items():
            with Client(server) as client:
                client.raw(flood)
                equal(client.goodbye(), CALM, f'{name}: the code of GOAWAY')
            stats = server.eventually(lambda stats, name=name: stats['flood'][name] == 1, f'{name} is counted')
            equal(stats['floods'], sum(stats['flood'].values()), 'floods')
            equal(other.ask()[0], 200, 'another connection')
        other.h2.reset_stream(waiting)
        other.flush()
        server.eventually(lambda stats: stats['running'] == 1, 'handlers of the floods end')
        other.socket.close()
        server.comes_back(before)


def slow_floods_are_floods(program, backend):
    """Piece by piece, each answered before the next: what is provoked does not pile up, and counts all the same."""
    with Server(program, backend) as server, Client(server) as client:
        sent = 0
        while not client.ended and sent < 500:
            client.raw(get(2 * sent + 1, [('x', str(sent))]) + frame(WINDOW, 0, 2 * sent + 1, struct.pack('>I', 0x7fffffff)))
            sent += 1
            if not client.ended:
                client.read()
        equal(client.goodbye(), CALM, 'the code of GOAWAY')


def acknowledgements_that_nobody_takes_stop_us_from_reading(program, backend):
    """A client that sends what wants an answer, and reads none: it is held, in bounded memory, and let go in the end."""
    with Server(program, backend, times=(1000, 30000, 75000)) as server, Client(server, receive_buffer=4096) as client:
        before = server.memory()
        streams = [client.request('/large?size=100000000') for _ in range(4)]
        check(len(streams) == 4, 'four streams')
        client.raw(frame(WINDOW, 0, 0, struct.pack('>I', 1 << 30)))
        client.raw(b''.join(frame(WINDOW, 0, stream, struct.pack('>I', 1 << 30)) for stream in streams))
        check(server.memory() - before < 8 << 20, 'what waits for it is bounded')
        server.eventually(lambda stats: stats['connections'] == 1 and stats['running'] == 1, 'it loses its connection')
        check(server.stats()['timeouts_send'] > 0, 'and that is counted')


def slow_bodies_are_refused(program, backend):
    for stream_bodies in (False, True):
        with Server(program, backend, times=(30000, 300, 75000), stream=stream_bodies) as server, Client(server) as client:
            streams = [client.request('/echo', 'POST', end=False) for _ in range(10)]
            if stream_bodies:   # the answer has begun when the body fails to come: it is broken off
                for stream in streams:
                    client.wait(h2.events.StreamReset, stream)
            else:
                for stream in streams:
                    equal(client.answer(stream)[0], 408, 'status')
            check(server.stats()['timeouts_body'] >= 10, 'it is counted')
            equal(client.ask()[0], 200, 'the connection goes on')


def shut_windows_are_not_waited_at_for_ever(program, backend):
    """Small answers whose handlers are long gone, and large ones whose handlers wait."""
    with Server(program, backend, times=(400, 30000, 75000)) as server, Client(server, window=0) as client:
        streams = [client.request(f'/large?size={size}') for size in (10, 1000, 100000000)]
        for stream in streams:
            equal(client.wait(h2.events.StreamReset, stream).error_code, h2.errors.ErrorCodes.CANCEL, 'the reset')
        stats = server.eventually(lambda stats: stats['running'] == 1, 'handlers end')
        equal(stats['timeouts_send'], 3, 'they are counted')
        equal(client.request('/nowhere'), 7, 'the next stream')


def windows_opened_in_crumbs_are_no_progress(program, backend):
    with Server(program, backend, times=(400, 30000, 75000)) as server, Client(server, window=0) as client:
        stream = client.request('/large?size=100000')
        client.wait(h2.events.ResponseReceived, stream)
        end = time.monotonic() + 20
        while not any(isinstance(event, h2.events.StreamReset) for event in client.events):
            check(time.monotonic() < end, 'a crumb now and then keeps a stream for ever')
            time.sleep(0.02)      # quicker, and it would be a flood
            client.socket.settimeout(0.05)
            try:
                client.h2.increment_flow_control_window(1, stream)
                client.flush()
                client.read()
            except (TimeoutError, h2.exceptions.StreamClosedError):
                pass


def who_asks_for_nothing_is_sent_away(program, backend):
    with Server(program, backend, times=(30000, 30000, 300)) as server:
        with Client(server) as client:
            equal(client.ask()[0], 200, 'status')
            equal(client.goodbye(), h2.errors.ErrorCodes.NO_ERROR, 'the code of GOAWAY')
        check(server.stats()['timeouts_idle'] > 0, 'it is counted')


def who_is_not_there_any_more_is_missed(program, backend):
    """A request that is never answered, and a client that does not even answer pings."""
    with Server(program, backend, times=(30000, 30000, 400)) as server, Client(server) as client:
        client.request('/wait')
        server.eventually(lambda stats: stats['gone'] == 1, 'its handler learns that it has left')
        with Client(server) as other:
            other.request('/wait')
            for _ in range(10):
                other.socket.settimeout(0.1)
                try:
                    other.read()      # and h2 answers the ping
                except TimeoutError:
                    pass
            equal(server.stats()['running'], 2, 'one that answers pings is waited with')


if __name__ == '__main__':
    sys.exit(run(sys.argv[1], [
        each_flood_ends_its_connection_alone, slow_floods_are_floods, acknowledgements_that_nobody_takes_stop_us_from_reading,
        slow_bodies_are_refused, shut_windows_are_not_waited_at_for_ever, windows_opened_in_crumbs_are_no_progress,
        who_asks_for_nothing_is_sent_away, who_is_not_there_any_more_is_missed]))
