#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""permessage-deflate (RFC 7692): what is agreed on, what is then sent, and what is a weapon. test_ws_deflate.py PROGRAM PEER"""
import random
import sys
import zlib

from talk import (BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Connection, Failed, WebSocket, check, collect, equal, frame, handshake,
                  main, settled, waits)
from server import Server

PEER = sys.argv.pop(2)
TAIL = b'\0\0\xff\xff'
MESSAGE_MAX = 1 << 18
MODES = ('shared', 'own')
WORDS = b' '.join(b'%d bottles of beer on the wall' % number for number in range(6000))
NOISE = random.Random(8).randbytes(1 << 17)
NAME = 'permessage-deflate'
GOOD = ['', 'client_max_window_bits', *(f'client_max_window_bits={bits}' for bits in range(9, 16)), 'server_no_context_takeover',
        'client_no_context_takeover', 'server_no_context_takeover; client_no_context_takeover', 'client_max_window_bits="10"',
        'client_max_window_bits=15; server_max_window_bits=15', 'server_max_window_bits="12"',
        *(f'server_max_window_bits={bits}' for bits in range(9, 16)),
        'server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; client_max_window_bits=10']
MAYBE = ['server_max_window_bits=8', 'client_max_window_bits=8']     # zlib has no such window for raw deflate
BAD = ['server_max_window_bits', 'server_max_window_bits=7', 'server_max_window_bits=16', 'server_max_window_bits=0', 'server_max_window_bits=08',
       'server_max_window_bits=9x', 'server_max_window_bits=-9', 'server_max_window_bits=+9', 'server_max_window_bits=""', 'server_max_window_bits=999999999999',
       'client_max_window_bits=7', 'client_max_window_bits=16', 'client_max_window_bits=015', 'client_max_window_bits=x', 'client_max_window_bits=1_0',
       'server_no_context_takeover=1', 'client_no_context_takeover=true', 'server_no_context_takeover=""', 'unknown', 'unknown=1', 'x-y=10',
       'server_no_context_takeover; server_no_context_takeover', 'client_max_window_bits; client_max_window_bits=10',
       'server_max_window_bits=10; server_max_window_bits=10', 'client_no_context_takeover; unknown', 'Server_No_Context_Takeovers']
MALFORMED = [f'{NAME};', f'{NAME};;client_max_window_bits', f'{NAME}; =10', f'{NAME}; client_max_window_bits=', f'{NAME} client_max_window_bits',
             f'{NAME}; client_max_window_bits="10', f'{NAME}; client max=1', f'={NAME}', f'{NAME}; a b']


def parameters(agreed):
    """The answer's parameters, which must be the ones that the RFC knows, each at most once and well formed."""
    name, *rest = [part.strip() for part in agreed.split(';')]
    equal(name, NAME, 'extension')
    found = {}
    for part in rest:
        key, _, value = part.partition('=')
        check(key not in found, f'{key} twice')
        if key in ('server_no_context_takeover', 'client_no_context_takeover'):
            equal(value, '', key)
        else:
            check(key in ('server_max_window_bits', 'client_max_window_bits') and value in map(str, range(8, 16)), f'{part} in {agreed}')
        found[key] = int(value) if value else True
    return found


class Deflated(WebSocket):
    """A conversation with what was agreed on; both directions are compressed by Python's zlib."""

    def __init__(self, server, offer='', path='/echo', whole=None):
        Connection.__init__(self, server)
        self.socket.settimeout(8 * server.slack)
        offer = whole if whole is not None else f'{NAME}; {offer}'.rstrip('; ')
        lines = ''.join(f'Sec-WebSocket-Extensions: {line}\r\n' for line in ([offer] if isinstance(offer, str) else offer))
        answer = self.ask(handshake(path, fields=lines))
        self.status = answer.status
        self.agreed = answer.fields.get('sec-websocket-extensions')
        self.has = parameters(self.agreed) if self.agreed else {}
        self.ours = self.theirs = None

    def squeeze(self, payload, level=6, flush=zlib.Z_SYNC_FLUSH):
        bits = self.has.get('client_max_window_bits', 15)
        if not self.ours or 'client_no_context_takeover' in self.has:
            self.ours = zlib.compressobj(level if bits > 8 else 0, zlib.DEFLATED, -max(bits, 9))
        data = self.ours.compress(payload) + self.ours.flush(flush)
        return data[:-4] if data.endswith(TAIL) else data

    def say(self, kind, payload, **more):
        self.send(frame(kind, self.squeeze(payload, **more), reserved=4))

    def hear(self):
        """The next message: its kind and what was in it. The pings that come before it are answered."""
        first, second = self.exactly(2)
        check(first & 0x80 and not first & 0x30 and not second & 0x80, f'a frame that begins {first:#x} {second:#x}')
        size = second & 0x7f
        if size > 125:
            size = int.from_bytes(self.exactly(2 if size == 126 else 8), 'big')
        payload = self.exactly(size)
        if not first & 0x40:
            return first & 15, payload
        check(first & 15 in (TEXT, BINARY), 'a compressed control frame')
        bits = self.has.get('server_max_window_bits', 15)
        if not self.theirs or 'server_no_context_takeover' in self.has:
            self.theirs = zlib.decompressobj(-bits)
        return first & 15, self.theirs.decompress(payload + TAIL)

    def fails(self, *codes):
        while True:
            kind, payload = self.hear()
            if kind == CLOSE:
                break
        check(int.from_bytes(payload[:2], 'big') in codes, f'closed with {payload!r}, expected {codes}')


def served(run, mode, *flags):
    return Server(PEER, run.backend, '--deflate', mode, '--message-bytes', MESSAGE_MAX, *flags)


def there_and_back(talk, messages):
    for payload in messages:
        for kind in (TEXT, BINARY) if payload.isascii() else (BINARY,):
            talk.say(kind, payload)
            equal(talk.hear(), (kind, payload), f'{len(payload)} bytes')


def offers_are_agreed_on_or_passed_over(run):
    for mode in MODES:
        with served(run, mode) as server, collect('offers') as wrong:
            for offer in (*GOOD, *MAYBE, *BAD):
                try:
                    with Deflated(server, offer) as talk:
                        judge(talk, offer)
                        if talk.status == 400:
                            continue
                        talk.say(TEXT, WORDS[:500]) if talk.agreed else talk.send(frame(TEXT, WORDS[:500]))
                        equal(talk.hear(), (TEXT, WORDS[:500]), 'the echo')
                except (OSError, Failed, ValueError, zlib.error) as error:
                    wrong.append(f'{mode}: {offer}: {error!r}')


def judge(talk, offer):
    if talk.status == 400 and offer.endswith('=""'):   # RFC 6455, 9.1: what is quoted must be a token, and this is none
        return
    equal(talk.status, 101, 'status')
    check(bool(talk.agreed) == (offer in GOOD) or offer in MAYBE, f'agreed on: {talk.agreed}')
    if not talk.agreed:
        return
    if 'server_no_context_takeover' in offer:
        check('server_no_context_takeover' in talk.has, f'server_no_context_takeover is not granted: {talk.agreed}')
    wanted = [part.split('=')[1].strip('"') for part in offer.replace(' ', '').split(';') if part.startswith('server_max_window_bits=')]
    if wanted:
        check(talk.has.get('server_max_window_bits', 16) <= int(wanted[0]), f'server_max_window_bits is not granted: {talk.agreed}')
    if 'client_max_window_bits' not in offer:
        check('client_max_window_bits' not in talk.has, f'client_max_window_bits was not offered: {talk.agreed}')
    wanted = [part.split('=')[1].strip('"') for part in offer.replace(' ', '').split(';') if part.startswith('client_max_window_bits=')]
    if wanted and 'client_max_window_bits' in talk.has:
        check(talk.has['client_max_window_bits'] <= int(wanted[0]), f'more than was offered: {talk.agreed}')


def the_first_good_offer_is_taken(run):
    with served(run, 'shared') as server:
        for offers in (f'{NAME}; unknown, {NAME}', f'foo, bar; x=1, {NAME}', [f'{NAME}; server_max_window_bits=99', NAME],
                       f'{NAME}; client_max_window_bits=99, {NAME}; client_max_window_bits', f'foo; x="a", {NAME}',
                       f'{NAME}; server_max_window_bits=10, {NAME}'):
            with Deflated(server, whole=offers) as talk:
                check(talk.agreed, f'{offers}: nothing')
                there_and_back(talk, [WORDS[:1000]])
        for offers in MALFORMED:
            with Deflated(server, whole=offers) as talk:
                check(talk.status == 400 or talk.status == 101 and not talk.agreed, f'{offers}: {talk.status} {talk.agreed}')
    with served(run, 'off') as server, Deflated(server) as talk:
        equal((talk.status, talk.agreed), (101, None), 'an offer where it is off')
        talk.send(frame(TEXT, b'x', reserved=4))
        talk.fails(1002)


def messages_come_back_with_any_parameters(run):
    sizes = (0, 1, 2, 125, 126, 1000, 1024, 4096, 32768, 65535, 65536, 131072)
    messages = [*(WORDS[:size] for size in sizes), *(NOISE[:size] for size in sizes), b'a' * 100000]
    for mode in MODES:
        with served(run, mode) as server:
            for path in ('/echo', '/parked'):
                for offer in GOOD:
                    with Deflated(server, offer, path) as talk:
                        there_and_back(talk, messages if offer in GOOD[:2] else messages[::5])
                        for number in range(30):   # small and alike: what contexts are for
                            there_and_back(talk, [b'{"type":"message","id":%d,"text":"hello"}' % number])


def any_compressor_is_understood(run):
    """Levels, stored blocks, flushes in the middle, final blocks, compressed and plain in turn, fragments and pings."""
    with served(run, 'shared') as server:
        for level in range(10):
            with Deflated(server, 'client_no_context_takeover') as talk:
                talk.say(TEXT, WORDS[:20000], level=level)
                equal(talk.hear(), (TEXT, WORDS[:20000]), f'level {level}')
        for strategy in (zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED):
            one = zlib.compressobj(6, zlib.DEFLATED, -15, 8, strategy)
            data = b''.join(one.compress(WORDS[at:at + 700]) + one.flush(zlib.Z_FULL_FLUSH) for at in range(0, 7000, 700))
            with Deflated(server) as talk:
                talk.send(frame(BINARY, data[:-4], reserved=4))
                equal(talk.hear(), (BINARY, WORDS[:7000]), f'strategy {strategy}')
        with Deflated(server) as talk:
            for payload, told in ((b'\0', b''), (b'\xf2\x48\xcd\xc9\xc9\x07\0', b'Hello'), (b'\0\x05\0\xfa\xffHello\0', b'Hello'),
                                  (b'\xf3\x48\xcd\xc9\xc9\x07\0\0', b'Hello'), (b'\xf2\x48\x05\0\0\0\xff\xff\xca\xc9\xc9\x07\0', b'Hello')):
                talk.send(frame(TEXT, payload, reserved=4))   # the RFC's own examples, 7.2.3
                equal(talk.hear(), (TEXT, told), f'{payload!r}')
        with Deflated(server) as talk:
            for _ in range(3):
                talk.send(frame(TEXT, b'plain'))
                equal(talk.hear(), (TEXT, b'plain'), 'a plain message')
                data = talk.squeeze(WORDS[:5000])
                cuts = [data[at:at + 50] for at in range(0, len(data), 50)]
                for number, cut in enumerate(cuts):
                    talk.send(frame(CONTINUATION if number else TEXT, cut, fin=False, reserved=0 if number else 4) + frame(PING, b'p'))
                    equal(talk.hear(), (PONG, b'p'), 'a pong')
                talk.send(frame(CONTINUATION))
                equal(talk.hear(), (TEXT, WORDS[:5000]), 'fragments')
                talk.send_each_byte(frame(BINARY, talk.squeeze(b'octet by octet'), reserved=4))
                equal(talk.hear(), (BINARY, b'octet by octet'), 'octets')


def what_is_wrong_fails(run):
    good = zlib.compressobj(6, zlib.DEFLATED, -15)
    hello = (good.compress(b'hello hello hello') + good.flush(zlib.Z_SYNC_FLUSH))[:-4]
    bad = {'the bit on a continuation': (frame(TEXT, hello[:3], fin=False, reserved=4) + frame(CONTINUATION, hello[3:], reserved=4), 1002),
           'the bit on a continuation of plain text': (frame(TEXT, b'a', fin=False) + frame(CONTINUATION, b'b', reserved=4), 1002),
           'the bit on a ping': (frame(PING, b'', reserved=4), 1002), 'the bit on a close': (frame(CLOSE, b'\x03\xe8', reserved=4), 1002),
           'another bit': (frame(TEXT, hello, reserved=2), 1002), 'all bits': (frame(TEXT, hello, reserved=7), 1002),
           'a block type that is none': (frame(BINARY, b'\x07' + bytes(10), reserved=4), 1002, 1007),
           'a stored block with a wrong length': (frame(BINARY, b'\0\x05\0\0\0Hello', reserved=4), 1002, 1007),
           'a distance too far back': (frame(BINARY, b'\x4b\x4c\x04\xf3\x00\xff\xff', reserved=4), 1002, 1007),
           'noise': (frame(BINARY, b'\xff' * 100, reserved=4), 1002, 1007),
           'bad text': (frame(TEXT, raw_deflate(b'fine, then \xff'), reserved=4), 1007),
           'bad text in a frame that never ends': (frame(TEXT, raw_deflate(b'\xff' + NOISE[:3000]), length=9999, reserved=4), 1007),
           'a cut character': (frame(TEXT, raw_deflate('🦊'.encode()[:3]), reserved=4), 1007)}
    with served(run, 'shared') as server, collect('errors') as wrong:
        for name, (data, *codes) in bad.items():
            for path in ('/echo', '/parked'):
                try:
                    with Deflated(server, path=path) as talk:
                        talk.say(TEXT, b'before')
                        equal(talk.hear(), (TEXT, b'before'), 'the message before')
                        talk.send(data)
                        talk.fails(*codes)
                except (OSError, Failed, zlib.error) as error:
                    wrong.append(f'{path}: {name}: {error!r}')
        settled(server)


def raw_deflate(data, level=6):
    one = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (one.compress(data) + one.flush(zlib.Z_SYNC_FLUSH))[:-4]


def bombs_are_1009_and_cost_nothing(run):
    """The limit is of what comes out, to the byte; and nothing is made of a thousand times what was sent."""
    with served(run, 'shared') as server:
        with Deflated(server) as talk:
            talk.say(BINARY, bytes(MESSAGE_MAX))
            equal(talk.hear(), (BINARY, bytes(MESSAGE_MAX)), 'the largest')
        memory = server.rss_kib()
        one_more, huge = raw_deflate(bytes(MESSAGE_MAX + 1), 9), raw_deflate(bytes(200 << 20), 9)
        cases = {'one byte more': frame(BINARY, one_more, reserved=4), '200 MiB of zeroes': frame(BINARY, huge, reserved=4),
                 'one byte more in fragments': frame(BINARY, one_more[:10], fin=False, reserved=4) + frame(CONTINUATION, one_more[10:]),
                 'a bomb in a frame that never ends': frame(BINARY, huge[:100000], length=MESSAGE_MAX, reserved=4),
                 'a bomb of text': frame(TEXT, huge, reserved=4)}
        for name, data in cases.items():
            for path in ('/echo', '/parked'):
                for _ in range(3):
                    with Deflated(server, path=path) as talk:
                        talk.send_as_taken(data)
                        talk.fails(1009)
        with Deflated(server) as talk:   # blocks with nothing in them: nothing comes of it, or it is too much
            talk.send_as_taken(frame(BINARY, b'\0\0\0\xff\xff' * 50000, reserved=4))
            kind, payload = talk.hear()
            check((kind, payload) == (BINARY, b'') or kind == CLOSE, f'{kind} {payload[:50]!r}')
        settled(server)
        grown = server.rss_kib() - memory
        run.note(f'RSS grew by {grown} KiB')
        check(run.sanitized or grown < 8192, f'RSS grew by {grown} KiB')


if __name__ == '__main__':
    sys.exit(main(offers_are_agreed_on_or_passed_over, the_first_good_offer_is_taken, messages_come_back_with_any_parameters,
                  any_compressor_is_understood, what_is_wrong_fails, bombs_are_1009_and_cost_nothing))
