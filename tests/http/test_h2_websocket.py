#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""WebSocket over HTTP/2 (RFC 8441). test_h2_websocket.py H2_SERVER"""
import os
import struct
import sys

import h2.errors
import h2.events

from h2_client import Client, Failed, Server, check, equal, frame, is_sanitized, run

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
VERSION = [('sec-websocket-version', '13')]


class Channel:
    """A WebSocket in a stream. Frames by hand (RFC 6455, 5.2), for there is no other client."""

    def __init__(self, client, path='/ws', fields=VERSION):
        self.client = client
        self.stream = client.request(path, 'CONNECT', fields, end=False, protocol='websocket')
        self.status = dict(client.wait(h2.events.ResponseReceived, self.stream).headers)[':status']
        self.pending = b''
        self.ended = False

    def send(self, opcode, payload=b'', piece=None):
        mask = os.urandom(4)
        size = len(payload)
        head = bytes([0x80 | opcode])
        head += bytes([0x80 | size]) if size < 126 else bytes([0xfe]) + struct.pack('>H', size) if size < 65536 \
            else bytes([0xff]) + struct.pack('>Q', size)
        key = (mask * (size // 4 + 1))[:size]
        data = head + mask + (int.from_bytes(payload, 'big') ^ int.from_bytes(key, 'big')).to_bytes(size, 'big')
        for at in range(0, len(data), piece or len(data)):
            self.client.data(self.stream, data[at:at + (piece or len(data))])

    def fill(self):
        for at, event in enumerate(self.client.events):
            if getattr(event, 'stream_id', None) != self.stream:
                continue
            self.client.events.pop(at)
            if isinstance(event, h2.events.DataReceived):
                self.pending += event.data
                if event.flow_controlled_length and not self.ended:
                    self.client.h2.acknowledge_received_data(event.flow_controlled_length, self.stream)
                    self.client.flush()
            if isinstance(event, h2.events.StreamEnded):
                self.ended = True
            if isinstance(event, h2.events.StreamReset):
                raise Failed(f'the stream was reset: {event.error_code}')
            return
        check(self.client.read(), 'the connection ended')

    def exactly(self, size):
        while len(self.pending) < size:
            check(not self.ended, 'the stream ended')
            self.fill()
        found, self.pending = self.pending[:size], self.pending[size:]
        return found

    def receive(self):
        first, size = self.exactly(2)
        if size == 126:
            size = struct.unpack('>H', self.exactly(2))[0]
        elif size == 127:
            size = struct.unpack('>Q', self.exactly(8))[0]
        return first & 15, self.exactly(size)

    def echo(self, payload, piece=None):
        self.send(BINARY, payload, piece)
        opcode, found = self.receive()
        check(opcode == BINARY and found == payload, f'{len(payload)} bytes come back as {opcode}, {len(found)} bytes')


def messages_come_back(program, backend):
    with Server(program, backend) as server, Client(server) as client:
        client.wait(h2.events.RemoteSettingsChanged)
        equal(client.h2.remote_settings.enable_connect_protocol, 1, 'SETTINGS_ENABLE_CONNECT_PROTOCOL')
        channel = Channel(client)
        equal(channel.status, '200', 'status')
        for size in (0, 1, 125, 126, 5000, 65000):
            channel.echo(os.urandom(size))
        channel.echo(os.urandom(3000), piece=1)
        channel.send(PING, b'are you there')
        equal(channel.receive(), (PONG, b'are you there'), 'a pong')
        equal(client.ask()[0], 200, 'another request of the same connection')
        channel.send(CLOSE, struct.pack('>H', 1000))
        equal(channel.receive(), (CLOSE, struct.pack('>H', 1000)), 'the close')
        while not channel.ended:
            channel.fill()
        client.h2.end_stream(channel.stream)
        client.flush()
        server.eventually(lambda stats: stats['running'] == 1, 'its handler ends')


def several_share_a_connection(program, backend):
    with Server(program, backend) as server, Client(server) as client:
        channels = [Channel(client) for _ in range(50)]
        for round_ in range(5):
            for channel in channels:
                channel.send(TEXT, b'round %d of %d' % (round_, channel.stream))
            for channel in channels:
                equal(channel.receive(), (TEXT, b'round %d of %d' % (round_, channel.stream)), 'an echo')
        equal(server.stats()['running'], 51, 'handlers at work')
        client.socket.close()
        server.eventually(lambda stats: stats['running'] == 1, 'they learn that the connection broke')


def a_reset_is_an_abrupt_end(program, backend):
    with Server(program, backend) as server, Client(server) as client:
        channel = Channel(client)
        channel.echo(b'x')
        client.h2.reset_stream(channel.stream, h2.errors.ErrorCodes.CANCEL)
        client.flush()
        server.eventually(lambda stats: stats['running'] == 1, 'its handler ends')
        channel = Channel(client)
        channel.echo(b'again')
        client.h2.end_stream(channel.stream)     # END_STREAM without a close: a TCP end, to a WebSocket
        client.flush()
        server.eventually(lambda stats: stats['running'] == 1, 'its handler ends, too')


def who_does_not_read_is_not_read_from(program, backend):
    """An echo that nobody takes: the server stops crediting, and holds little."""
    with Server(program, backend) as server, Client(server, window=1000) as client:
        channel = Channel(client)
        other = Channel(client)
        before = server.memory()
        sent = 0
        while sent < 8 << 20:
            window = client.h2.local_flow_control_window(channel.stream)
            if window < 5000:
                client.socket.settimeout(0.5)
                try:
                    client.read()
                except TimeoutError:
                    break
                continue
            channel.send(BINARY, b'x' * 4000)
            sent += 4000
        client.socket.settimeout(20)
        check(sent < 4 << 20, f'{sent} bytes were taken for a client that reads nothing')
        check(is_sanitized(program) or server.memory() - before < 4 << 20, f'{server.memory() - before} bytes are held for it')
        other.echo(b'another stream goes on')


def what_is_no_handshake_is_refused(program, backend):
    with Server(program, backend) as server, Client(server, strict=False) as client:
        cases = [
            (client.request('/ws', 'CONNECT', VERSION, end=False, protocol='telnet'), 501),
            (client.request('/ws', 'CONNECT', [('sec-websocket-version', '8')], end=False, protocol='websocket'), 400),
            (client.request('/ws', 'CONNECT', [], end=False, protocol='websocket'), 400),
            (client.request('/ws', 'CONNECT', VERSION + [('origin', 'https://elsewhere')], end=False, protocol='websocket'), 403),
            (client.request('/nowhere', 'CONNECT', VERSION, end=False, protocol='websocket'), 404),
            (client.request('/ws'), 400),
        ]
        for stream, status in cases:
            equal(client.answer(stream)[0], status, f'status of stream {stream}')
        # A CONNECT without :protocol has neither scheme nor path (RFC 9113, 8.5), and this is no proxy.
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, [(':method', 'CONNECT'), (':authority', 'h:1')])
        client.flush()
        equal(client.answer(stream)[0], 501, 'status of a plain CONNECT')


def tiny_frames_cost_no_more_than_their_bytes(program, backend):
    """A message in frames of DATA of one byte, to a handler that does not read meanwhile: the reader of another waits."""
    with Server(program, backend) as server, Client(server) as client:
        channel = Channel(client)
        before = server.memory()
        head = bytes([0x82, 0xfe]) + struct.pack('>H', 60000) + b'\0\0\0\0'
        client.raw(b''.join(frame(0, 0, channel.stream, bytes([byte])) for byte in head + b'y' * 60000))
        client.h2.streams[channel.stream].outbound_flow_control_window -= len(head) + 60000
        equal(channel.receive(), (BINARY, b'y' * 60000), 'the echo')
        check(is_sanitized(program) or server.memory() - before < 4 << 20, 'one-byte frames are kept as one-byte pieces')


if __name__ == '__main__':
    sys.exit(run(sys.argv[1], [
        messages_come_back, several_share_a_connection, a_reset_is_an_abrupt_end, who_does_not_read_is_not_read_from,
        what_is_no_handshake_is_refused, tiny_frames_cost_no_more_than_their_bytes]))
