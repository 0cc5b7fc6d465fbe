# SPDX-License-Identifier: MIT
"""Clients that misbehave on purpose: a TCP connection to write anything to, and WebSocket frames made by hand.

Well-behaved ones are websockets and curl; these exist because no proper client sends what the tests have to.
"""
import collections
import json
import socket
import struct

from server import Failed, check, equal

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
SECONDS = 20
MASK = b'\x37\xfa\x21\x3d'
KEY = 'dGhlIHNhbXBsZSBub25jZQ=='         # RFC 6455, 1.3, and what it is answered with
ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='

Answer = collections.namedtuple('Answer', 'version status fields body')
Frame = collections.namedtuple('Frame', 'fin opcode payload')


def masked(payload, mask=MASK):
    """XOR with the repeated mask, as one large number: fast enough for megabytes."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, 'big') ^ int.from_bytes(key, 'big')).to_bytes(size, 'big')


def frame(opcode, payload=b'', fin=True, mask=MASK, reserved=0, length=None):
    """A client's frame; `length` is what it claims, where that is not the truth; mask None leaves it unmasked."""
    size = len(payload) if length is None else length
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    bit = 0x80 if mask else 0
    if size < 126:
        head = struct.pack('>BB', first, bit | size)
    elif size < 65536:
        head = struct.pack('>BBH', first, bit | 126, size)
    else:
        head = struct.pack('>BBQ', first, bit | 127, size)
    return head + (mask + masked(payload, mask) if mask else payload)


def close_frame(code=1000, reason=b''):
    return frame(CLOSE, struct.pack('>H', code) + reason)


def handshake(path='/echo', host='127.0.0.1', version='13', key=KEY, fields=''):
    return (f'GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
            f'Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: {key}\r\n{fields}\r\n').encode()


def request(op, **members):
    """An operation for /compute."""
    body = json.dumps({'op': op, **members}).encode()
    return b'POST /compute HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n' % len(body) + body


class Connection:
    def __init__(self, server, receive_buffer=None):
        self.socket = socket.socket()
        self.socket.settimeout(SECONDS * server.slack)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(server.address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = b''

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Ends it with RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def send_as_taken(self, data):
        """Sends as much as the peer takes before it ends the connection."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def send_each_byte(self, data):
        for byte in data:
            self.socket.send(bytes([byte]))

    def fill(self):
        """Reads some more. False at the end."""
        data = self.socket.recv(1 << 18)
        self.pending += data
        return bool(data)

    def exactly(self, size):
        parts = [self.pending]
        have = len(self.pending)
        while have < size:
            data = self.socket.recv(1 << 18)
            if not data:
                self.pending = b''.join(parts)
                raise Failed(f'the connection ended; {size} bytes were expected, {have} came: {self.pending[:100]!r}')
            parts.append(data)
            have += len(data)
        data = b''.join(parts)
        self.pending = data[size:]
        return data[:size]

    def until(self, end):
        while end not in self.pending:
            if not self.fill():
                raise Failed(f'the connection ended before {end!r}: {self.pending[:200]!r}')
        at = self.pending.index(end) + len(end)
        found, self.pending = self.pending[:at], self.pending[at:]
        return found

    def to_end(self):
        """All that comes until the peer closes properly; a reset raises ConnectionResetError."""
        while self.fill():
            pass
        found, self.pending = self.pending, b''
        return found

    def expect_end(self):
        equal(self.to_end(), b'', 'bytes before the connection ended')

    def answer(self, method='GET'):
        """Reads an HTTP response."""
        head = self.until(b'\r\n\r\n').decode('latin-1')
        status_line, *lines = head.split('\r\n')[:-2]
        version, status, _ = status_line.split(' ', 2)
        fields = {}
        for line in lines:
            name, value = line.split(': ', 1)
            check(name.lower() not in fields or name == 'Connection', f'the field {name} comes twice: {head!r}')
            fields[name.lower()] = ', '.join(filter(None, (fields.get(name.lower()), value)))
        bodyless = method == 'HEAD' or status.startswith('1') or status in ('204', '304')
        body = b'' if bodyless else self.exactly(int(fields['content-length']))
        return Answer(version, int(status), fields, body)

    def ask(self, request, method='GET'):
        self.send(request)
        return self.answer(method)


class WebSocket(Connection):
    def __init__(self, server, path='/echo', receive_buffer=None):
        super().__init__(server, receive_buffer)
        self.send(handshake(path))
        self.expect_upgrade()

    def expect_upgrade(self):
        answer = self.answer()
        equal(answer.status, 101, 'status of the handshake')
        equal(answer.fields['sec-websocket-accept'], ACCEPT, 'Sec-WebSocket-Accept')
        equal(answer.fields['upgrade'].lower(), 'websocket', 'Upgrade')
        equal(answer.fields['connection'].lower(), 'upgrade', 'Connection')
        check('sec-websocket-extensions' not in answer.fields, 'an extension was agreed to that nobody implements')

    def frame(self):
        first, second = self.exactly(2)
        check(not second & 0x80, 'the server masks its frames')
        check(not first & 0x70, f'reserved bits in the first byte {first:#x}')
        size = second & 0x7f
        if size == 126:
            size = struct.unpack('>H', self.exactly(2))[0]
            check(size >= 126, 'a length in more bytes than it needs')
        elif size == 127:
            size = struct.unpack('>Q', self.exactly(8))[0]
            check(size >= 65536, 'a length in more bytes than it needs')
        return Frame(bool(first & 0x80), first & 0x0f, self.exactly(size))

    def message(self):
        """The next message, which the server sends in one frame."""
        found = self.frame()
        check(found.fin, 'the server fragments')
        check(found.opcode in (TEXT, BINARY), f'no message but the frame {found.opcode}, {found.payload[:80]!r}')
        return found.payload

    def expect_message(self, payload, opcode=None):
        found = self.frame()
        if found.payload != payload or opcode not in (None, found.opcode):
            raise Failed(f'expected {opcode} {payload[:80]!r}, found {found.opcode} {found.payload[:80]!r} '
                         f'({len(payload)} and {len(found.payload)} bytes)')

    def close_code(self):
        """Reads up to the close frame, over what was sent before it. Returns its code, 1005 when it has none."""
        while True:
            found = self.frame()
            if found.opcode == CLOSE:
                if not found.payload:
                    return 1005
                found.payload[2:].decode()
                return struct.unpack('>H', found.payload[:2])[0]

    def expect_close(self, code, answer=True):
        """The server closes with this code; we answer; it ends the connection."""
        equal(self.close_code(), code, 'close code')
        if answer:
            self.send_as_taken(close_frame(code if code != 1005 else 1000))
        self.expect_end()

    def leave(self):
        """A proper close from our side."""
        self.send(close_frame(1000))
        equal(self.close_code(), 1000, 'the echoed close code')
        self.expect_end()
        self.close()
