# SPDX-License-Identifier: MIT
"""A server of tests/http/h2_server.c, and a client of it made of python3-h2, whose checks can be turned off."""
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys
import threading
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'serve'))
from server import is_sanitized  # noqa: E402, F401

SECONDS = 20


class Failed(Exception):
    pass


def check(holds, what):
    if not holds:
        raise Failed(what)


def equal(got, wanted, what):
    if got != wanted:
        raise Failed(f'{what}: {repr(got)[:300]}, expected {repr(wanted)[:300]}')


class Server:
    """`times`: send, body and idle timeout in ms."""

    def __init__(self, program, backend, times=(30000, 30000, 75000), stream=False, certificate=None):
        arguments = [program, backend, *map(str, times)] + (['stream'] if stream else [])
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env={**os.environ, **(certificate or {})})
        self.said = []
        self.listener = threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True)
        self.listener.start()
        host, port = self.process.stdout.readline().decode().strip().rsplit(':', 1)
        self.address = (host, int(port))
        self.url = f'http://{host}:{port}'
        if not certificate:
            self.stats()    # it is up, in every part

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.stdin.close()
        try:
            status = self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = 'it does not end'
        self.listener.join(SECONDS)
        self.process.stdout.close()
        self.process.stderr.close()
        if kind is None and status != 0:
            raise Failed(f'the server ended with {status}: {self.words()}')

    def words(self):
        return b''.join(self.said).decode(errors='replace')

    def drain(self):
        self.process.stdin.write(b'drain\n')
        self.process.stdin.flush()

    def stats(self):
        """Asked over HTTP/1.1, so that it is no part of what is counted."""
        with socket.create_connection(self.address, SECONDS) as connection:
            connection.sendall(b'GET /stats HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n')
            data = b''
            while True:
                more = connection.recv(65536)
                if not more:
                    break
                data += more
        return json.loads(data.split(b'\r\n\r\n', 1)[1])

    def eventually(self, holds, what):
        """Waits for statistics to be so."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            stats = self.stats()
            if holds(stats):
                return stats
            time.sleep(0.02)
        raise Failed(f'{what}: not in {SECONDS} s: {stats}')

    def memory(self):
        """Private bytes of the process."""
        with open(f'/proc/{self.process.pid}/smaps_rollup', encoding='ascii') as file:
            return sum(int(line.split()[1]) * 1024 for line in file if line.startswith('Private_'))

    def descriptors(self):
        return len(os.listdir(f'/proc/{self.process.pid}/fd'))

    def comes_back(self, descriptors):
        """Nothing is left of the connections that there were."""
        self.eventually(lambda stats: stats['connections'] == 1 and stats['running'] == 1, 'connections and handlers end')
        self.eventually(lambda stats: self.descriptors() <= descriptors, 'descriptors are closed')


class Client:
    """Frames that h2 would refuse to send go out with `raw`."""

    def __init__(self, server, window=None, strict=True, receive_buffer=None, settings=True):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(SECONDS)
        self.socket.connect(server.address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, validate_outbound_headers=strict, normalize_outbound_headers=strict,
            validate_inbound_headers=False, header_encoding='utf-8'))
        self.h2.initiate_connection()
        if window is not None:
            self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.events = []
        self.pending = b''
        self.after = []
        self.terminated = self.ended = False
        if settings:
            self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def flush(self):
        data = self.h2.data_to_send()
        if data and not self.terminated:
            self.socket.sendall(data)

    def raw(self, data):
        """As much as the server takes before it ends the connection."""
        try:
            self.flush()
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.ended = True

    def headers(self, path='/hello', method='GET', more=(), **pseudo):
        fields = [(':method', method), (':scheme', 'http'), (':path', path), (':authority', 'h')]
        return fields + [(':' + name, value) for name, value in pseudo.items()] + list(more)

    def request(self, path='/hello', method='GET', more=(), end=True, **pseudo):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, self.headers(path, method, more, **pseudo), end_stream=end)
        self.flush()
        return stream

    def data(self, stream, data, end=False):
        """Sends as windows allow."""
        while data:
            size = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(data))
            if size == 0:
                self.read()
                continue
            self.h2.send_data(stream, data[:size])
            data = data[size:]
            self.flush()
        if end:
            self.h2.end_stream(stream)
            self.flush()

    def read(self):
        """Takes more of what comes. False at the end."""
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b''
        if not data:
            self.ended = True
            return False
        self.pending += data
        while len(self.pending) >= 9:
            size = 9 + int.from_bytes(self.pending[:3], 'big')
            if len(self.pending) < size:
                break
            self.take(self.pending[:size])
            self.pending = self.pending[size:]
        try:
            self.flush()
        except (BrokenPipeError, ConnectionResetError):
            pass
        return True

    def take(self, frame):
        """To h2, a GOAWAY takes everything with it, and streams made by hand are none: what comes then is kept as it is."""
        try:
            events = [] if self.terminated else self.h2.receive_data(frame)
        except h2.exceptions.ProtocolError:
            self.terminated = True
            self.h2.clear_outbound_data_buffer()
        if self.terminated:
            self.after.append(frame)
            return
        self.terminated = any(isinstance(event, h2.events.ConnectionTerminated) for event in events)
        self.events.extend(events)

    def wait(self, kind, stream=None):
        """The next event of this kind (and stream)."""
        while True:
            for at, event in enumerate(self.events):
                if isinstance(event, kind) and stream in (None, getattr(event, 'stream_id', None)):
                    return self.events.pop(at)
            if not self.read():
                raise Failed(f'the connection ended before {kind.__name__}: {self.events}')

    def answer(self, stream, acknowledge=True):
        """Status, fields and body."""
        fields = dict(self.wait(h2.events.ResponseReceived, stream).headers)
        body = b''
        while True:
            for at, event in enumerate(self.events):
                if getattr(event, 'stream_id', None) != stream:
                    continue
                if isinstance(event, h2.events.StreamReset):
                    raise Failed(f'stream {stream} was reset: {event.error_code}')
                self.events.pop(at)
                if isinstance(event, h2.events.StreamEnded):
                    return int(fields[':status']), fields, body
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                    if acknowledge and event.flow_controlled_length:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                        self.flush()
                break
            else:
                if not self.read():
                    raise Failed(f'the connection ended in an answer: {body[:80]!r}')

    def ask(self, path='/hello', **more):
        return self.answer(self.request(path, **more))

    def goodbye(self):
        """The code of the GOAWAY that comes before the end; None when there is none."""
        while not self.ended:
            self.read()
        codes = [event.error_code for event in self.events if isinstance(event, h2.events.ConnectionTerminated)]
        codes += [int.from_bytes(frame[13:17], 'big') for frame in self.after if frame[3] == 7]
        return codes[-1] if codes else None


def frame(kind, flags, stream, payload=b''):
    return struct.pack('>I', len(payload))[1:] + struct.pack('>BBI', kind, flags, stream) + payload


def literal(fields):
    """A header block without compression (RFC 7541, 6.2.2)."""
    block = b''
    for name, value in fields:
        name, value = name.encode(), value.encode()
        check(len(name) < 127 and len(value) < 127, 'the field is short')
        block += b'\0' + bytes([len(name)]) + name + bytes([len(value)]) + value
    return block


def run(program, cases):
    """Every case on both backends: case(program, backend)."""
    failed = 0
    for backend in ('uring', 'epoll'):
        for case in cases:
            try:
                case(program, backend)
            except Exception as error:      # any of them is a failure of this case, and the others are to be tried
                failed += 1
                print(f'{backend}: {case.__name__}: {type(error).__name__}: {error}')
    return 1 if failed else 0
