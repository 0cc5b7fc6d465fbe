#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""HTTP/2 frame by frame (RFC 9113): what is an error of the connection, what of a stream, what is answered, what is borne.

Frames are made by hand; the header blocks by python3-hpack, which is not ours.
"""
import socket
import struct
import sys

from talk import Connection, Failed, check, collect, equal, main, settled

try:
    import hpack
except ImportError:
    print('skipped: python3-hpack is not installed')
    sys.exit(77)

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY, ACK = 1, 4, 8, 0x20, 1
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL, _, STREAM_CLOSED, FRAME_SIZE, REFUSED, CANCEL, COMPRESSION, _, CALM = range(12)
PREFACE = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
REQUEST = [(':method', 'GET'), (':scheme', 'http'), (':path', '/healthz'), (':authority', 'h')]
POST = [(':method', 'POST'), (':scheme', 'http'), (':path', '/compute'), (':authority', 'h')]
BODY = b'{"op":"primes","n":10}'
SECONDS = 3


def frame(kind, flags=0, stream=0, payload=b'', length=None):
    return struct.pack('>I', len(payload) if length is None else length)[1:] + struct.pack('>BBI', kind, flags, stream) + payload


def block(fields):
    """A header block in literals without indexing: no table to keep, and nothing that hpack would put right."""
    out = b''
    for name, value in fields:
        name, value = name.encode('latin-1'), value.encode('latin-1')
        out += b'\x00' + number(len(name)) + name + number(len(value)) + value
    return out


def number(value):
    """RFC 7541, 5.1, with a prefix of 7 bits."""
    if value < 127:
        return bytes([value])
    out, value = b'\x7f', value - 127
    while value >= 128:
        out, value = out + bytes([value % 128 | 128]), value // 128
    return out + bytes([value])


def ask(stream=1, fields=None, end=True, more=()):
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block([*(REQUEST if fields is None else fields), *more]))


def without(name, fields=None):
    return [one for one in (fields or REQUEST) if one[0] != name]


def setting(name, value):
    return frame(SETTINGS, 0, 0, struct.pack('>HI', name, value))


def window(stream, size):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack('>I', size))


class Peer(Connection):
    """A connection after both sides' SETTINGS."""

    def __init__(self, server, settings=b'', greet=True):
        super().__init__(server)
        self.socket.settimeout(SECONDS * server.slack)
        self.decoder = hpack.Decoder()
        self.settings = {}
        if greet:
            self.send(PREFACE + frame(SETTINGS, 0, 0, settings))
            kind, flags, _, payload = self.next()
            equal((kind, flags & ACK), (SETTINGS, 0), 'the first frame')
            self.settings = dict(struct.iter_unpack('>HI', payload))
            self.send(frame(SETTINGS, ACK))

    def next(self):
        """The next frame; None at the end of the connection."""
        try:
            head = self.exactly(9)
            return head[3], head[4], struct.unpack('>I', head[5:])[0] & 0x7fffffff, self.exactly(int.from_bytes(head[:3], 'big'))
        except (Failed, ConnectionResetError, BrokenPipeError):
            return None

    def until_told(self, stream, patient=True):
        """Reads on until the stream or the connection is over. Returns what happened: a list of (event, value). With `patient`,
        400 is not the end of a stream: the reset that says PROTOCOL_ERROR must follow."""
        found = []
        while True:
            one = self.next()
            if one is None:
                return [*found, ('end', None)]
            kind, flags, number_, payload = one
            if kind == GOAWAY:
                found.append(('goaway', struct.unpack('>I', payload[4:8])[0]))
            elif kind == RST_STREAM and number_ == stream:
                return [*found, ('reset', struct.unpack('>I', payload)[0])]
            elif kind == HEADERS:
                fields = dict(self.decoder.decode(payload))
                if number_ == stream:
                    found.append(('status', int(fields.get(':status', 0))))
            elif kind == PING and flags & ACK:
                found.append(('pong', payload))
                if stream == 0:
                    return found
            if kind in (HEADERS, DATA) and flags & END_STREAM and number_ == stream:
                found.append(('over', None))
                if ('status', 400) not in found or patient is False:
                    return found


class Case:
    """Frames, the stream they are about, and what must happen: one of the kinds below."""

    def __init__(self, name, data, kind, codes=(), stream=1, settings=b''):
        self.name, self.data, self.kind, self.stream, self.settings = name, data, kind, stream, settings
        self.codes = codes if isinstance(codes, (set, tuple)) else {codes}

    def judge(self, found):
        happened = dict(found)
        code = happened.get('goaway', happened.get('reset'))
        if self.kind == 'connection':    # GOAWAY and the end, or the end
            check('goaway' in happened or 'end' in happened, f'no error of the connection: {found}')
            check(code is None or code in self.codes, f'error {code}, expected {self.codes}: {found}')
        elif self.kind == 'stream':      # RST_STREAM; a server may make it an error of the connection
            check(code in self.codes or 'end' in happened and code is None, f'expected {self.codes}: {found}')
        else:
            equal(happened.get('status'), self.kind, f'status, {found}')


def breaks(name, data, *codes, **more):
    return Case(name, data, 'connection', set(codes), **more)


def resets(name, data, *codes, **more):
    return Case(name, data, 'stream', set(codes), **more)


def answers(name, data, status=200, **more):
    return Case(name, data, status, **more)


def frames():
    """4, 6: sizes, streams, flags of each kind of frame."""
    yield answers('a request', ask())
    yield answers('an unknown frame before', frame(0x16, 0xff, 0, b'x' * 100) + frame(0x77, 0, 1) + ask())
    yield answers('undefined flags', frame(PING, 0xfe, 0, bytes(8)) + ask())
    yield answers('the reserved bit of a stream', ask(0x80000001), stream=1)
    yield answers('the largest frame', frame(HEADERS, END_HEADERS, 1, block(POST)) + frame(DATA, END_STREAM, 1, BODY.ljust(16384)))
    for kind in (DATA, HEADERS, SETTINGS, PING, 0x16):
        yield breaks(f'a frame {kind} too large', frame(kind, 0, 0 if kind in (SETTINGS, PING) else 1, b'', length=16385), FRAME_SIZE,
                     PROTOCOL_ERROR)
    yield breaks('a frame of 16 MiB', frame(DATA, 0, 1, b'', length=(1 << 24) - 1), FRAME_SIZE)
    for kind in (DATA, HEADERS, PRIORITY, RST_STREAM, CONTINUATION):
        yield breaks(f'{kind} on stream 0', frame(kind, END_HEADERS, 0, {PRIORITY: bytes(5), RST_STREAM: bytes(4)}.get(kind, block(REQUEST))),
                     PROTOCOL_ERROR)
    for kind in (SETTINGS, PING, GOAWAY):
        yield breaks(f'{kind} on stream 1', frame(kind, 0, 1, bytes({SETTINGS: 0, PING: 8, GOAWAY: 8}[kind])), PROTOCOL_ERROR)
    for kind, sizes in ((PING, (0, 7, 9)), (RST_STREAM, (0, 3, 5)), (WINDOW_UPDATE, (0, 3, 5)), (SETTINGS, (1, 5, 7)), (GOAWAY, (0, 7))):
        for size in sizes:
            on = ask(end=False) if kind == RST_STREAM else b''
            yield breaks(f'{kind} of {size} bytes', on + frame(kind, 0, 1 if on else 0, bytes(size)), FRAME_SIZE)
    for size in (4, 6):
        yield resets(f'priority of {size} bytes', ask(end=False) + frame(PRIORITY, 0, 1, bytes(size)), FRAME_SIZE)
    yield breaks('settings, acknowledged with a payload', frame(SETTINGS, ACK, 0, bytes(6)), FRAME_SIZE)
    yield breaks('a push', frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack('>I', 2) + block(REQUEST)), PROTOCOL_ERROR)
    yield answers('padding', frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b'\x05' + block(REQUEST) + bytes(5)))
    yield breaks('more padding than frame', frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b'\xff' + block(REQUEST)), PROTOCOL_ERROR)
    yield breaks('more padding than data', ask(end=False) + frame(DATA, END_STREAM | PADDED, 1, b'\x06hello'), PROTOCOL_ERROR)
    yield breaks('padding and no length', ask(end=False) + frame(DATA, END_STREAM | PADDED, 1, b''), FRAME_SIZE, PROTOCOL_ERROR)
    yield answers('a priority in the headers', frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, bytes(5) + block(REQUEST)))
    yield breaks('headers of 3 bytes with a priority', frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, bytes(3)), FRAME_SIZE, PROTOCOL_ERROR)
    whole = block(REQUEST)
    parts = frame(HEADERS, END_STREAM, 1, whole[:5])
    yield answers('a continuation', parts + frame(CONTINUATION, END_HEADERS, 1, whole[5:]))
    yield answers('continuations', parts + frame(CONTINUATION, 0, 1, whole[5:9]) + frame(CONTINUATION, END_HEADERS, 1, whole[9:]))
    yield breaks('a continuation of nothing', frame(CONTINUATION, END_HEADERS, 1, whole), PROTOCOL_ERROR)
    yield breaks('a continuation of another', parts + frame(CONTINUATION, END_HEADERS, 3, whole[5:]), PROTOCOL_ERROR)
    for kind in (DATA, PING, SETTINGS, WINDOW_UPDATE, PRIORITY, 0x16):
        payload = {PING: bytes(8), WINDOW_UPDATE: b'\0\0\0\1', PRIORITY: bytes(5)}.get(kind, b'')
        yield breaks(f'{kind} among continuations', parts + frame(kind, 0, 1 if kind in (DATA, PRIORITY) else 0, payload), PROTOCOL_ERROR)
    yield breaks('headers among continuations', parts + ask(3), PROTOCOL_ERROR)
    yield breaks('a continuation after the end', ask() + frame(CONTINUATION, END_HEADERS, 1, whole), PROTOCOL_ERROR, STREAM_CLOSED, stream=0)


def streams():
    """5.1: states and numbers."""
    yield breaks('an even stream', ask(2), PROTOCOL_ERROR)
    yield breaks('a lower number', ask(5) + ask(3), PROTOCOL_ERROR, STREAM_CLOSED, stream=3)
    yield breaks('data on an idle stream', frame(DATA, END_STREAM, 1, b'x'), PROTOCOL_ERROR)
    yield breaks('a reset of an idle stream', frame(RST_STREAM, 0, 1, bytes(4)), PROTOCOL_ERROR)
    yield breaks('a window for an idle stream', window(1, 10), PROTOCOL_ERROR)
    yield answers('a priority of an idle stream', frame(PRIORITY, 0, 1, bytes(5)) + ask())
    yield resets('data behind the end', ask(fields=POST, end=False) + frame(DATA, END_STREAM, 1, BODY) + frame(DATA, END_STREAM, 1, BODY),
                 STREAM_CLOSED)
    yield resets('headers behind the end', ask(fields=POST, end=False) + frame(DATA, END_STREAM, 1, BODY) + ask(), STREAM_CLOSED, PROTOCOL_ERROR)
    yield breaks('data behind a reset', ask(end=False) + frame(RST_STREAM, 0, 1, bytes(4)) + frame(DATA, END_STREAM, 1, b'x'), STREAM_CLOSED)
    yield breaks('headers behind a reset', ask(end=False) + frame(RST_STREAM, 0, 1, bytes(4)) + ask(), STREAM_CLOSED, PROTOCOL_ERROR)
    yield resets('a stream that depends on itself', frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1,
                                                          struct.pack('>IB', 1, 15) + block(REQUEST)), PROTOCOL_ERROR)


def headers():
    """8.2, 8.3: a malformed request is an error of its stream."""
    for name in ('X-Upper', 'x y', 'x:y', '', 'x\0', 'x\r', 'x\n', 'x\x7f', 'caf\xe9', 'x"'):
        yield resets(f'name {name!r}', ask(more=[(name, 'v')]), PROTOCOL_ERROR)
    for value in ('a\0b', 'a\rb', 'a\nb', 'a\r\nb: c', ' lead', 'trail ', '\tlead', 'trail\t'):
        yield resets(f'value {value!r}', ask(more=[('x', value)]), PROTOCOL_ERROR)
    yield answers('an empty value', ask(more=[('x', '')]))
    for name in (':method', ':scheme', ':path'):
        yield resets(f'no {name}', ask(fields=without(name)), PROTOCOL_ERROR)
        yield resets(f'{name} twice', ask(fields=[dict_item(name), *REQUEST]), PROTOCOL_ERROR)
        yield resets(f'{name} behind a field', ask(fields=[*without(name), ('x', 'y'), dict_item(name)]), PROTOCOL_ERROR)
    yield resets(':authority twice', ask(fields=[(':authority', 'i'), *REQUEST]), PROTOCOL_ERROR)
    yield resets(':status', ask(fields=[(':status', '200'), *REQUEST]), PROTOCOL_ERROR)
    yield resets(':unknown', ask(fields=[(':unknown', 'x'), *REQUEST]), PROTOCOL_ERROR)
    for path in ('', 'healthz', '/a b', '/a\0b', '/#x', '*'):
        yield Case(f':path {path!r}', ask(fields=[*without(':path'), (':path', path)]), 'malformed', {PROTOCOL_ERROR})
    for method in ('', 'G T', 'G\0T', 'G:T'):
        yield Case(f':method {method!r}', ask(fields=[*without(':method'), (':method', method)]), 'malformed', {PROTOCOL_ERROR})
    for name, value in (('connection', 'close'), ('connection', 'keep-alive'), ('keep-alive', 'x'), ('proxy-connection', 'x'), ('upgrade', 'h2c'),
                        ('transfer-encoding', 'chunked'), ('te', 'gzip'), ('te', 'trailers, gzip')):
        yield resets(f'{name}: {value}', ask(more=[(name, value)]), PROTOCOL_ERROR)
    yield answers('te: trailers', ask(more=[('te', 'trailers')]))
    yield answers('a host and no authority', ask(fields=[*without(':authority'), ('host', 'h')]))
    yield Case('another host', ask(more=[('host', 'i')]), 'malformed', {PROTOCOL_ERROR})
    yield Case('an authority with a user', ask(fields=[*without(':authority'), (':authority', 'u@h')]), 'malformed', {PROTOCOL_ERROR})
    for length in ('21', '23', '-22', '+22', '22x', '', '22, 22', '99999999999999999999'):
        yield Case(f'content-length {length!r}', ask(fields=POST, end=False, more=[('content-length', length)]) + frame(DATA, END_STREAM, 1, BODY),
                   'malformed', {PROTOCOL_ERROR})
    yield Case('two content-lengths', ask(fields=POST, end=False, more=[('content-length', '22'), ('content-length', '23')]) +
               frame(DATA, END_STREAM, 1, BODY), 'malformed', {PROTOCOL_ERROR})
    yield answers('content-length', ask(fields=POST, end=False, more=[('content-length', '22')]) + frame(DATA, END_STREAM, 1, BODY))
    yield answers('a body in pieces', ask(fields=POST, end=False) + b''.join(frame(DATA, 0, 1, bytes([one])) for one in BODY) +
                  frame(DATA, END_STREAM, 1))
    trailer = frame(HEADERS, END_HEADERS | END_STREAM, 1, block([('x-trailer', '1')]))
    yield answers('trailers', ask(fields=POST, end=False) + frame(DATA, 0, 1, BODY) + trailer)
    yield resets('trailers that do not end', ask(fields=POST, end=False) + frame(DATA, 0, 1, BODY) +
                 frame(HEADERS, END_HEADERS, 1, block([('x', '1')])), PROTOCOL_ERROR)
    yield resets('a pseudo field in trailers', ask(fields=POST, end=False) + frame(DATA, 0, 1, BODY) +
                 frame(HEADERS, END_HEADERS | END_STREAM, 1, block([(':method', 'GET')])), PROTOCOL_ERROR)
    for name, data in (('an index beyond the table', b'\xff\xff\xff\x7f'), ('index 0', b'\x80'), ('an endless number', b'\x7f' + b'\xff' * 20),
                       ('a literal cut short', b'\x00\x7f\x10abc'), ('a table of 1 MiB', b'\x3f\xe1\xff\x3f'), ('a bad Huffman code', b'\x00\x81\x00\x00'),
                       ('a new size behind a field', block(REQUEST) + b'\x20')):
        yield breaks(name, frame(HEADERS, END_HEADERS | END_STREAM, 1, data), COMPRESSION, PROTOCOL_ERROR)
    yield Case('CONNECT with a path', ask(fields=[(':method', 'CONNECT'), *REQUEST[1:]]), 'malformed', {PROTOCOL_ERROR})


def dict_item(name):
    return next(one for one in REQUEST if one[0] == name)


def flow():
    """5.2, 6.5.2, 6.9."""
    yield breaks('a window of 0 for all', window(0, 0), PROTOCOL_ERROR)
    yield resets('a window of 0', ask(end=False) + window(1, 0), PROTOCOL_ERROR)
    yield breaks('a window too large for all', window(0, 0x7fffffff), FLOW_CONTROL)
    yield resets('a window too large', ask(end=False) + window(1, 0x7fffffff), FLOW_CONTROL)
    yield breaks('an initial window too large', setting(4, 0x80000000), FLOW_CONTROL)
    yield breaks('a frame size too small', setting(5, 16383), PROTOCOL_ERROR)
    yield breaks('a frame size too large', setting(5, 1 << 24), PROTOCOL_ERROR)
    yield breaks('push neither on nor off', setting(2, 2), PROTOCOL_ERROR)
    yield breaks('CONNECT neither on nor off', setting(8, 2), PROTOCOL_ERROR)
    yield answers('an unknown setting', setting(0xff, 7) + ask())
    yield answers('settings twice in one', frame(SETTINGS, 0, 0, struct.pack('>HIHI', 4, 5, 4, 65535)) + ask())
    yield resets('a window that overflows by a setting', ask(end=False) + window(1, 0x7fffffff - 65535) + setting(4, 0x7fffffff), FLOW_CONTROL)


def start():
    """3.4: the preface."""
    for name, data in (('no settings', PREFACE + frame(PING, 0, 0, bytes(8))), ('an acknowledgement first', PREFACE + frame(SETTINGS, ACK)),
                       ('a request first', PREFACE + ask())):
        yield name, data


def play(server, cases, wrong):
    for case in cases:
        try:
            with Peer(server, case.settings) as peer:
                peer.send_as_taken(case.data)
                found = peer.until_told(-1 if case.kind == 'connection' else case.stream, case.kind != 'malformed')
                if case.kind == 'malformed':   # reset, or 400: both say what it is
                    happened = dict(found)
                    check(happened.get('status') in (400, 413) or happened.get('reset') in case.codes or 'end' in happened, f'{found}')
                else:
                    case.judge(found)
                if ('end', None) not in found and 'goaway' not in dict(found):
                    peer.send(frame(PING, 0, 0, b'are you?'))
                    check(('pong', b'are you?') in peer.until_told(0), 'no answer to a ping')
        except (OSError, Failed, ValueError, hpack.HPACKError) as error:
            wrong.append(f'{case.name}: {error!r}')
    equal(server.get('/healthz').status, 200, 'the server afterwards')


def table_is_kept(table, run):
    cases = list(table())
    equal(len({case.name for case in cases}), len(cases), 'names of cases')
    with run.serve('--pool', '1') as server:
        with collect(f'{len(cases)} cases') as wrong:
            play(server, cases, wrong)
        settled(server)
        run.note(f'{len(cases)} cases')


def frames_have_their_size_and_place(run):
    table_is_kept(frames, run)


def streams_have_their_states(run):
    table_is_kept(streams, run)


def requests_are_well_formed(run):
    table_is_kept(headers, run)


def windows_and_settings_are_kept(run):
    table_is_kept(flow, run)


def the_preface_is_followed_by_settings(run):
    with run.serve('--pool', '1') as server, collect('beginnings') as wrong:
        for name, data in start():
            with Peer(server, greet=False) as peer:
                peer.send(data)
                found = peer.until_told(-1)
                if not {'goaway', 'end'} & set(dict(found)):
                    wrong.append(f'{name}: {found}')


def data_waits_for_the_window(run):
    """6.9: with a window of 1 the answer comes byte by byte, never more than was allowed."""
    with run.serve('--pool', '1') as server, Peer(server, struct.pack('>HI', 4, 1)) as peer:
        peer.send(ask())
        got = b''
        while True:
            kind, flags, stream, payload = peer.next()
            if kind == DATA:
                check(len(payload) <= 1, f'{len(payload)} bytes for a window of 1')
                got += payload
                if flags & END_STREAM:
                    break
                peer.send(window(stream, 1))
        equal(got, b'ok', 'the body')
    with run.serve('--pool', '1') as server, Peer(server, struct.pack('>HI', 4, 0)) as peer:
        for stream in range(1, 100, 2):   # fifty that wait for a window are no hindrance for a ping
            peer.send(ask(stream))
        peer.send(frame(PING, 0, 0, b'are you?'))
        check(('pong', b'are you?') in peer.until_told(0), 'no answer to a ping')
        peer.socket.shutdown(socket.SHUT_RDWR)
        peer.close()
        settled(server)


if __name__ == '__main__':
    sys.exit(main(frames_have_their_size_and_place, streams_have_their_states, requests_are_well_formed, windows_and_settings_are_kept,
                  the_preface_is_followed_by_settings, data_waits_for_the_window))
