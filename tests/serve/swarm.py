# SPDX-License-Identifier: MIT
"""Thousands of small WebSocket clients, in a process or two: python3-websockets takes too much of a machine for that.

Peer is an asyncio protocol that shakes hands, takes frames apart, and answers a close. `fork` runs a function in processes
of their own and talks with them.
"""
import asyncio
import multiprocessing
import struct

from raw import CLOSE, KEY, PING, PONG, close_frame, frame
from server import Failed


class Peer(asyncio.Protocol):
    """on_frame(opcode, payload) is called for what is no control frame."""

    def __init__(self, path, on_frame=None):
        loop = asyncio.get_running_loop()
        self.path = path
        self.on_frame = on_frame
        self.buffer = bytearray()
        self.upgraded = loop.create_future()
        self.ended = loop.create_future()
        self.close_code = None
        self.transport = None
        self.answers_close = True

    def connection_made(self, transport):
        self.transport = transport
        transport.write((f'GET {self.path} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                         f'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n').encode())

    def connection_lost(self, error):
        if not self.upgraded.done():
            self.upgraded.set_exception(Failed(f'no handshake: {error!r}'))
        if not self.ended.done():
            self.ended.set_result(error)

    def data_received(self, data):
        self.buffer += data
        if not self.upgraded.done():
            end = self.buffer.find(b'\r\n\r\n')
            if end < 0:
                return
            head = bytes(self.buffer[:end])
            del self.buffer[:end + 4]
            if not head.startswith(b'HTTP/1.1 101 '):
                self.upgraded.set_exception(Failed(f'no handshake: {head!r}'))
                self.transport.close()
                return
            self.upgraded.set_result(None)
        self.take_frames()

    def take_frames(self):
        buffer = self.buffer
        at = 0
        while len(buffer) - at >= 2:
            size, begin = buffer[at + 1], at + 2
            if size == 126:
                if len(buffer) < at + 4:
                    break
                size, begin = struct.unpack_from('>H', buffer, at + 2)[0], at + 4
            elif size == 127:
                if len(buffer) < at + 10:
                    break
                size, begin = struct.unpack_from('>Q', buffer, at + 2)[0], at + 10
            if len(buffer) < begin + size:
                break
            opcode, payload = buffer[at] & 0x0f, bytes(buffer[begin:begin + size])
            at = begin + size
            self.frame(opcode, payload)
        del buffer[:at]

    def frame(self, opcode, payload):
        if opcode == CLOSE:
            self.close_code = struct.unpack('>H', payload[:2])[0] if payload else 1005
            if self.answers_close:
                self.transport.write(close_frame(self.close_code if payload else 1000))
        elif opcode == PING:
            self.transport.write(frame(PONG, payload))
        elif self.on_frame:
            self.on_frame(opcode, payload)

    def send(self, data):
        self.transport.write(data)


async def connect(address, path, on_frame=None, upgraded=True):
    loop = asyncio.get_running_loop()
    _, peer = await loop.create_connection(lambda: Peer(path, on_frame), *address)
    if upgraded:
        await peer.upgraded
    return peer


async def connect_all(address, paths, at_once=200):
    """Connects to all paths, so many at a time. Returns the peers in the same order."""
    peers = []
    for begin in range(0, len(paths), at_once):
        peers += await asyncio.gather(*(connect(address, path) for path in paths[begin:begin + at_once]))
    return peers


class Process:
    """A process that runs function(talk, *args), where talk.send and talk.recv reach whoever made it."""

    def __init__(self, function, *args):
        context = multiprocessing.get_context('fork')
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=self.main, args=(function, theirs, args), daemon=True)
        self.process.start()
        theirs.close()

    @staticmethod
    def main(function, pipe, args):
        try:
            pipe.send(('end', asyncio.run(function(pipe, *args))))
        except BaseException as error:
            pipe.send(('failed', repr(error)))

    def send(self, what):
        self.pipe.send(what)

    def take(self, seconds=60):
        """What the process said next; what it returned, at its end. Fails where it failed."""
        if not self.pipe.poll(seconds):
            raise Failed('a client process says nothing')
        kind, what = self.pipe.recv()
        if kind == 'failed':
            raise Failed(f'a client process failed: {what}')
        return what

    def close(self):
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.pipe.close()


async def told(talk):
    """The next word from whoever made this process, while its connections live on."""
    return await asyncio.to_thread(talk.recv)
