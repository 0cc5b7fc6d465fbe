#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""WebSockets on the wire (RFC 6455), against /echo: with python3-websockets what is right, with bytes by hand what is not."""
import asyncio
import random
import socket
import struct
import sys
import time

import websockets

from raw import (BINARY, CLOSE, CONTINUATION, KEY, PING, PONG, TEXT, Connection, WebSocket, close_frame, frame, handshake,
                 masked)
from runner import main
from server import Failed, check, equal, wait_until

MESSAGE_MAX = 16 * 1024 * 1024       # of /echo
CHAT_MESSAGE_MAX = 64 * 1024


def handshakes_are_checked(run):
    ask = 'GET {} HTTP/1.1\r\nHost: h\r\n{}\r\n'
    upgrade, connection = 'Upgrade: websocket\r\n', 'Connection: Upgrade\r\n'
    version, key = 'Sec-WebSocket-Version: 13\r\n', f'Sec-WebSocket-Key: {KEY}\r\n'
    whole = upgrade + connection + version + key
    cases = [(whole, 101), (whole.lower().replace(KEY.lower(), KEY), 101), (whole.replace('websocket\r', 'WebSocket\r'), 101),
             (whole.replace(': Upgrade', ': keep-alive, Upgrade'), 101), (whole + 'Origin: http://h\r\n', 101),
             (whole + 'Origin: http://else.where\r\n', 403), (whole + 'Origin: null\r\n', 403),
             (whole + 'Origin: http://h:81\r\n', 403),
             (whole + 'Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n', 101),
             (connection + version + key, 426), (upgrade + version + key, 426), (whole.replace('websocket\r', 'h2c\r'), 426),
             (upgrade + connection + key, 426), (whole.replace('13', '12'), 426), (whole.replace('13', '13, 8'), 426),
             (whole.replace('13', '013'), 426), (upgrade + connection + version, 400), (whole.replace(KEY, ''), 400),
             (whole.replace(KEY, 'short=='), 400), (whole.replace(KEY, KEY[:-2]), 400), (whole.replace(KEY, KEY + 'AA=='), 400),
             (whole.replace(KEY, '!' + KEY[1:]), 400), (whole + key, 400)]
    with run.serve('--pool', '1') as server:
        for path in ('/echo', '/chat/r?name=a', '/audio'):
            for fields, status in cases:
                with Connection(server) as raw:
                    answer = raw.ask(ask.format(path, fields).encode())
                    equal(answer.status, status, f'{path} {fields!r}')
                    if status == 426:
                        equal(answer.fields['sec-websocket-version'] if 'Version' in fields and '13\r' not in fields else '13',
                              '13', 'Sec-WebSocket-Version')
                    if status == 101:
                        check('sec-websocket-protocol' not in answer.fields, 'a protocol was chosen')
                        agreed = path != '/audio' and 'permessage-deflate' in fields   # whose bytes are samples
                        equal('sec-websocket-extensions' in answer.fields, agreed, f'{path}: an extension was agreed to')
                        raw.send(close_frame())
        with Connection(server) as raw:
            equal(raw.ask(b'GET /echo HTTP/1.0\r\n' + whole.encode() + b'\r\n').status in (400, 426), True, 'HTTP/1.0')
        with Connection(server) as raw:
            body = b'GET /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n' + whole.encode() + b'\r\n{}'
            check(raw.ask(body).status in (101, 400), 'a handshake with a body')


async def websockets_gets_its_messages_back(run):
    with run.serve('--pool', '1') as server:
        async with websockets.connect(server.url('/echo'), max_size=None) as echo:
            for message in ('', 'a', 'é' * 63, b'', b'\0', b'x' * 125, b'x' * 126, b'x' * 65535, b'x' * 65536, 'ü' * 100000,
                            '🦊', random.Random(1).randbytes(1 << 20), random.Random(2).randbytes(8 << 20)):
                await echo.send(message)
                found = await echo.recv()
                check(found == message, f'{message[:40]!r} of {len(message)} came back as {found[:40]!r} of {len(found)}')
            await echo.send(iter(['in ', 'three ', 'pieces']))
            equal(await echo.recv(), 'in three pieces', 'a fragmented message')
            await asyncio.wait_for(await echo.ping(b'are you there?'), 10)
            await echo.close(1000, 'done')
            equal((echo.close_code, echo.close_reason in ('', 'done')), (1000, True), 'how it closed')


async def several_talk_at_once(run):
    async def talk(number):
        async with websockets.connect(server.url('/echo'), max_size=None) as echo:
            for size in range(0, 20000, 400):
                message = bytes([number]) * size
                await echo.send(message)
                check(await echo.recv() == message, f'client {number}, {size} bytes')

    with run.serve('--pool', '1') as server:
        await asyncio.gather(*map(talk, range(50)))
        equal(server.metrics().value('messages_total'), 2500, 'messages received')
        equal(server.metrics().value('messages_sent_total'), 2500, 'messages sent')


def frames_of_every_length_come_back(run):
    noise = random.Random(3).randbytes(70000)
    with run.serve('--pool', '1') as server, WebSocket(server) as echo:
        for size in (0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 124, 125, 126, 127, 1000, 4095, 4096, 4097, 16383, 65534, 65535, 65536, 70000):
            for mask in (b'\0\0\0\0', b'\xff\xff\xff\xff', b'\x01\x02\x03\x04'):
                echo.send(frame(BINARY, noise[:size], mask=mask))
                echo.expect_message(noise[:size], BINARY)
        echo.leave()


def fragments_make_one_message(run):
    with run.serve('--pool', '1') as server, WebSocket(server) as echo:
        for kind in (TEXT, BINARY):
            for pieces in ([b'a', b'b', b'c'], [b'', b'', b''], [b'', b'abc', b''], [b'x' * 70000, b'y', b'z' * 200]):
                for number, piece in enumerate(pieces):
                    echo.send(frame(CONTINUATION if number else kind, piece, fin=number == len(pieces) - 1))
                echo.expect_message(b''.join(pieces), kind)
        fox = '🦊é'.encode()   # split inside of its characters
        for number, byte in enumerate(fox):
            echo.send(frame(CONTINUATION if number else TEXT, bytes([byte]), fin=number == len(fox) - 1))
        echo.expect_message(fox, TEXT)
        # Control frames may come between fragments, and are answered there.
        echo.send(frame(TEXT, b'one ', fin=False) + frame(PING, b'p1') + frame(CONTINUATION, b'two ', fin=False) +
                  frame(PONG, b'nobody asked') + frame(PING, b'') + frame(CONTINUATION, b'three'))
        for opcode, payload in ((PONG, b'p1'), (PONG, b''), (TEXT, b'one two three')):
            equal(echo.frame()[1:], (opcode, payload), 'the next frame')
        echo.send(frame(PING, b'x' * 125))
        equal(echo.frame()[1:], (PONG, b'x' * 125), 'the pong to the longest ping')
        echo.leave()


def a_message_may_have_65536_fragments(run):
    pieces = 65536
    payload = random.Random(4).randbytes(4 << 20)
    size = len(payload) // pieces
    coded = masked(payload)
    heads = [struct.pack('>BB', (0x80 if number == pieces - 1 else 0) | (CONTINUATION if number else BINARY), 0x80 | size) +
             b'\x37\xfa\x21\x3d' for number in range(pieces)]
    with run.serve('--pool', '1') as server, WebSocket(server) as echo:
        begin = time.monotonic()
        echo.send(b''.join(head + coded[number * size:(number + 1) * size] for number, head in enumerate(heads)))
        echo.expect_message(payload, BINARY)
        run.note(f'4 MiB in 65,536 fragments came back after {time.monotonic() - begin:.2f} s')
        echo.leave()


def bytes_may_come_one_by_one(run):
    with run.serve('--pool', '1') as server, Connection(server) as raw:
        raw.send_each_byte(handshake())
        equal(raw.answer().status, 101, 'status')
        raw.__class__ = WebSocket
        raw.send_each_byte(frame(TEXT, 'naïve 🦊'.encode()) + frame(PING, b'p') + frame(TEXT, b'a', fin=False) +
                           frame(CONTINUATION, b'b' * 300))
        raw.expect_message('naïve 🦊'.encode(), TEXT)
        equal(raw.frame()[1:], (PONG, b'p'), 'pong')
        raw.expect_message(b'a' + b'b' * 300, TEXT)
        raw.send_each_byte(close_frame(4000, b'bye'))
        raw.expect_close(4000, answer=False)


def messages_may_follow_the_handshake_in_one_segment(run):
    with run.serve('--pool', '1') as server, Connection(server) as raw:
        raw.send(handshake() + frame(TEXT, b'one') + frame(BINARY, b'two' * 1000) + frame(PING) + close_frame(1001))
        raw.__class__ = WebSocket
        raw.expect_upgrade()
        raw.expect_message(b'one', TEXT)
        raw.expect_message(b'two' * 1000, BINARY)
        equal(raw.frame().opcode, PONG, 'pong')
        raw.expect_close(1001, answer=False)
    with run.serve('--pool', '1') as server, Connection(server) as raw:   # and the handshake another request
        raw.send(b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n' + handshake() + frame(TEXT, b'one'))
        equal(raw.answer().body, b'ok', 'the request before')
        raw.__class__ = WebSocket
        raw.expect_upgrade()
        raw.expect_message(b'one', TEXT)
        raw.leave()


PROTOCOL_ERRORS = {
    'unmasked': frame(TEXT, b'hi', mask=None), 'unmasked and empty': frame(TEXT, b'', mask=None),
    'unmasked ping': frame(PING, b'hi', mask=None), 'unmasked close': frame(CLOSE, b'\x03\xe8', mask=None),
    **{f'reserved bit {bit}': frame(TEXT, b'hi', reserved=bit) for bit in (1, 2, 4, 7)},
    'a ping with a reserved bit': frame(PING, b'', reserved=4),
    **{f'opcode {code}': frame(code, b'hi') for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    'a fragmented ping': frame(PING, b'hi', fin=False), 'a fragmented close': frame(CLOSE, b'\x03\xe8', fin=False),
    'a ping of 126 bytes': frame(PING, b'x' * 126), 'a close of 126 bytes': frame(CLOSE, b'\x03\xe8' + b'x' * 124),
    'a continuation of nothing': frame(CONTINUATION, b'hi'),
    'a continuation behind a message': frame(TEXT, b'a') + frame(CONTINUATION, b'hi'),
    'a message within a message': frame(TEXT, b'a', fin=False) + frame(TEXT, b'b'),
    'a binary one within a text': frame(TEXT, b'a', fin=False) + frame(BINARY, b'b', fin=False),
    'the 64th bit of a length': frame(BINARY, b'', length=1 << 63), 'a close of one byte': frame(CLOSE, b'\x03'),
    **{f'close code {code}': close_frame(code) for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)},
    'no frame but HTTP': b'GET / HTTP/1.1\r\nHost: h\r\n\r\n', 'zeroes': bytes(100),
}
BAD_DATA = {
    'a stray byte': frame(TEXT, b'a\x80'), 'latin-1': frame(TEXT, 'é'.encode('latin-1')), 'overlong': frame(TEXT, b'\xc0\xaf'),
    'a surrogate': frame(TEXT, b'\xed\xa0\x80'), 'beyond unicode': frame(TEXT, b'\xf4\x90\x80\x80'),
    'a cut character': frame(TEXT, '🦊'.encode()[:3]), 'a cut character in fragments':
    frame(TEXT, b'\xf0\x9f', fin=False) + frame(CONTINUATION, b'\xa6'), 'a reason': close_frame(1000, b'\xff'),
    'early in an endless message': frame(TEXT, b'\xff' + b'a' * 100, length=60000),
    'in the second fragment': frame(TEXT, b'fine', fin=False) + frame(CONTINUATION, b'\xff', fin=False),
}
TOO_BIG = {
    '10 GB': frame(BINARY, b'', length=10 << 30), '10 GB and some of it': frame(BINARY, b'x' * 100000, length=10 << 30),
    '10 GB of text': frame(TEXT, b'', length=10 << 30), 'one byte too many': frame(BINARY, b'', length=MESSAGE_MAX + 1),
    'the most that 63 bits say': frame(BINARY, b'', length=(1 << 63) - 1),
    'in fragments': frame(BINARY, b'abc', fin=False) + frame(CONTINUATION, b'', length=MESSAGE_MAX - 2),
}


def what_is_wrong_gets_its_close_code(run):
    """All cases side by side: after an error the server may linger for a second."""
    with run.serve('--pool', '1') as server:
        under_way = []
        for code, cases in ((1002, PROTOCOL_ERRORS), (1007, BAD_DATA), (1009, TOO_BIG)):
            for name, data in cases.items():
                for path in ('/echo', '/chat/r', '/audio')[:2 if code == 1009 else 3]:   # audio may have any size
                    broken = WebSocket(server, path)
                    broken.send(data)
                    under_way.append((f'{path} {name}', broken, code))
        for answering in (True, False):
            for name, broken, code in under_way:
                try:
                    if answering:
                        equal(broken.close_code(), code, 'close code')
                        broken.send_as_taken(close_frame(code))
                    else:
                        broken.expect_end()
                        broken.close()
                except Exception as error:
                    raise Failed(f'{name}: {error!r}') from error
        with WebSocket(server, '/chat/r') as broken:
            broken.send(frame(TEXT, b'x' * (CHAT_MESSAGE_MAX + 1)))
            broken.expect_close(1009)
        with WebSocket(server) as echo:   # and the largest that is allowed
            payload = bytes(MESSAGE_MAX)
            echo.send(frame(BINARY, payload))
            check(echo.message() == payload, 'the largest message')
            echo.leave()
        wait_until(lambda: server.metrics().value('connections') == 1, 'all connections to end')


def errors_do_not_reset_what_was_sent_before(run):
    """Messages answered before the error arrive, then the close frame, then the end: also for one who never answers it."""
    with run.serve('--pool', '1') as server:
        for answer in (True, False):
            with WebSocket(server) as broken:
                broken.send(frame(TEXT, b'one') + frame(BINARY, b'x' * 100000) + frame(3) + b'junk' * 50000)
                broken.expect_message(b'one')
                broken.expect_message(b'x' * 100000)
                broken.expect_close(1002, answer=answer)


def close_codes_are_echoed(run):
    with run.serve('--pool', '1') as server:
        for path in ('/echo', '/chat/r?name=a', '/audio'):
            for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999):
                with WebSocket(server, path) as client:
                    client.send(close_frame(code, b'r' * 123))
                    client.expect_close(code, answer=False)
            with WebSocket(server, path) as client:   # without a code
                client.send(frame(CLOSE))
                check(client.close_code() in (1000, 1005), 'the answer to an empty close')
                client.expect_end()
            with WebSocket(server, path) as client:   # what comes behind a close is not for anybody
                client.send(close_frame(1000) + frame(TEXT, b'late') + frame(3) + bytes(1000))
                client.expect_close(1000, answer=False)


def ends_without_a_close_are_noticed(run):
    with run.serve('--pool', '1') as server:
        with WebSocket(server, '/audio') as client:   # the first session opens the audio pool
            server.audio_worker()
            client.close()
        wait_until(lambda: server.metrics().value('connections') == 1, 'that connection to end')
        before = server.descriptors()
        for path in ('/echo', '/chat/r', '/audio'):
            for _ in range(20):
                WebSocket(server, path).close()
                WebSocket(server, path).reset()
                with WebSocket(server, path) as client:
                    client.send(frame(TEXT, b'half a message', fin=False) + frame(CONTINUATION, b'x', length=1000))
        wait_until(lambda: server.metrics().value('connections') == 1, 'all connections to end')
        check(server.descriptors() <= before + 2, f'descriptors rose from {before} to {server.descriptors()}')
        with WebSocket(server) as client:   # what came before a half-close is answered
            client.send(frame(TEXT, b'last words'))
            client.socket.shutdown(socket.SHUT_WR)
            client.expect_message(b'last words')


def audio_messages_may_be_endless(run):
    """What is read in parts is limited by no memory: a message of 100 MiB is analysed as it comes."""
    with run.serve('--pool', '1') as server:
        with WebSocket(server, '/audio') as client:
            client.send(frame(BINARY, bytes(5000), length=100 << 20))
            equal(client.frame().opcode, TEXT, 'an analysis in the middle of a message')
        with WebSocket(server, '/audio') as client:   # more than anybody has to say: taken as it comes, or refused
            client.send(frame(BINARY, bytes(5000), length=10 << 30))
            answer = client.frame()
            check(answer.opcode == TEXT or answer.payload[:2] == struct.pack('>H', 1009), f'{answer}')
        before = server.rss_kib()
        with WebSocket(server, '/audio?rate=48000') as client:   # no memory is taken for what is announced or sent
            client.send(frame(TEXT, b'x' * 1000000, length=1 << 30))
            client.send(bytes(3000000))
            client.reset()
        wait_until(lambda: server.metrics().value('connections') == 1, 'all connections to end')
        check(run.sanitized or server.rss_kib() - before < 2048, f'RSS grew by {server.rss_kib() - before} KiB')


def one_who_does_not_read_costs_little(run):
    """A client that sends 64 MiB and reads nothing is held back by TCP; then it reads, and all is there."""
    message = frame(BINARY, bytes(1 << 20), mask=b'\0\0\0\0')
    with run.serve('--pool', '1') as server, WebSocket(server, receive_buffer=1 << 16) as echo:
        before = server.rss_kib()
        echo.socket.setblocking(False)
        sent = bytearray(message * 64)
        total = len(sent)
        idle = time.monotonic() + 1
        while sent and time.monotonic() < idle:   # until it takes no more for a second
            try:
                del sent[:echo.socket.send(sent[:1 << 20])]
                idle = time.monotonic() + 1
            except BlockingIOError:
                server.get('/healthz')
        check(sent, 'the server took 64 MiB without giving anything back')
        grown = server.rss_kib() - before
        run.note(f'it took {(total - len(sent)) >> 20} of 64 MiB, its RSS grew by {grown} KiB')
        check(run.sanitized or grown < 16384, f'RSS grew by {grown} KiB')
        echo.socket.settimeout(20 * run.slack)
        got = 0
        while got < 64:
            if sent:
                echo.socket.setblocking(False)
                try:
                    del sent[:echo.socket.send(sent[:1 << 20])]
                except BlockingIOError:
                    pass
                echo.socket.settimeout(20 * run.slack)
            if len(echo.pending) >= (1 << 20) + 10:
                check(echo.message() == bytes(1 << 20), 'the message')
                got += 1
            else:
                check(echo.fill(), f'the connection ended after {got} messages')
        echo.leave()


sys.exit(main(handshakes_are_checked, websockets_gets_its_messages_back, several_talk_at_once, frames_of_every_length_come_back,
              fragments_make_one_message, a_message_may_have_65536_fragments, bytes_may_come_one_by_one,
              messages_may_follow_the_handshake_in_one_segment, what_is_wrong_gets_its_close_code,
              errors_do_not_reset_what_was_sent_before, close_codes_are_echoed, ends_without_a_close_are_noticed,
              audio_messages_may_be_endless, one_who_does_not_read_costs_little, needs=('websockets',)))
