#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A stranger in the shared arena: follows docs/shared-memory.md with nothing but mmap, socket and struct.

Standard input is a socket. Each message brings the descriptors of the two files and a task for two blocks, `<QQQQ`: offset
and size of an input, offset and size of an output. It writes the input's sum to the output, turns the input's bytes round
in place where it may write there, and answers `ok`; or it answers why it will not touch these files.
"""
import mmap
import os
import socket
import struct

HEADER = struct.Struct('<8sIIQQQQQII')
VERSION = 1


class Refused(Exception):
    pass


class Arena:
    """Both files, by offsets that count through them."""

    def __init__(self, main, output):
        self.parts = []
        self.attach(main, 0)
        start, size = self.parts[0][2:4]
        if self.attach(output, size) != (size, os.fstat(output).st_size):
            raise Refused('the second file is not the one that the first tells of')
        assert start == 0

    def attach(self, fd, offset):
        """Maps one file; returns where its header says that the outputs are, and their size."""
        if os.fstat(fd).st_size < HEADER.size:
            raise Refused('too short for a header')
        magic, version, header, _base, size, own, out_at, out_size, _chunk, _align = HEADER.unpack(os.pread(fd, HEADER.size, 0))
        if magic != b'tndarena':
            raise Refused('no arena: its first eight bytes are others')
        if version != VERSION:
            raise Refused(f'version {version}, and this program knows {VERSION}')
        if header < HEADER.size or size != os.fstat(fd).st_size or own != offset:
            raise Refused('a header that does not fit its file')
        try:
            view = mmap.mmap(fd, size)
        except PermissionError:
            view = mmap.mmap(fd, size, access=mmap.ACCESS_READ)
        self.parts.append((memoryview(view), not memoryview(view).readonly, own, size))
        return out_at, out_size

    def block(self, offset, size):
        for view, _writable, own, length in self.parts:
            if own + HEADER.size <= offset and offset + size <= own + length:
                return view[offset - own:offset - own + size]
        raise Refused('a block that lies in neither file')


def serve(message, fds):
    arena = Arena(*fds)
    at, size, out_at, out_size = struct.unpack('<QQQQ', message)
    data, output = arena.block(at, size), arena.block(out_at, out_size)
    output[:8] = struct.pack('<Q', sum(data))
    if not data.readonly:
        data[:] = bytes(data)[::-1]
    for fd in fds:  # sealed: nobody can cut the file under the others
        try:
            os.ftruncate(fd, 0)
            raise Refused('a file that can be cut')
        except OSError:
            pass
    return 'ok'


def main():
    with socket.socket(fileno=0) as link:
        while True:
            message, fds, _flags, _from = socket.recv_fds(link, 4096, 2)
            if not message:
                return
            try:
                answer = serve(message, fds)
            except Refused as why:
                answer = f'refused: {why}'
            for fd in fds:
                os.close(fd)
            link.send(answer.encode())


if __name__ == '__main__':
    main()
