#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A worker in another language, as docs/shared-memory.md describes it: nothing of Tandem's, three modules of Python's."""
import mmap
import socket
import struct

HELLO, READY, JOB, DONE = (struct.Struct(form) for form in ('<QIIQQQII', '<QII', '<QIIQQQ', '<QiI'))
MAGIC, VERSION = int.from_bytes(b'tndworkr', 'little'), 1
ENOMEM, EINVAL = 12, 22


class Shared:
    """The two memory files, by offsets that are counted through both."""

    def __init__(self, files, main_size, output_offset, output_size):
        self.inputs, self.outputs = mmap.mmap(files[0], main_size), mmap.mmap(files[1], output_size)
        self.output_offset = output_offset

    def at(self, offset, size):
        if offset >= self.output_offset:
            return memoryview(self.outputs)[offset - self.output_offset:][:size]
        return memoryview(self.inputs)[offset:][:size]


def add(argument, output):
    """The argument: how many numbers, and the numbers. The output: their sum."""
    count, = struct.unpack_from('<q', argument)
    struct.pack_into('<q', output, 0, sum(struct.unpack_from(f'<{count}q', argument, 8)))
    return 0


def double(argument, _):
    """In place. A negative number is an error."""
    number, = struct.unpack_from('<q', argument)
    if number < 0:
        return -EINVAL
    struct.pack_into('<q', argument, 0, 2 * number)
    return number


def sizes(argument, output):
    return len(argument) + 1000 * len(output)


def crash(_, __):
    raise SystemExit(3)


def hang(_, __):
    while True:
        pass


def eat(argument, _):
    try:
        return len(bytearray(struct.unpack_from('<q', argument)[0])) >> 20
    except MemoryError:
        return -ENOMEM


FUNCTIONS = {1: add, 2: double, 3: sizes, 4: crash, 5: hang, 6: eat}
GARBAGE = {100: b'', 101: b'x', 102: b'x' * 16, 103: b'x' * 17, 104: b'x' * 60000}


def main():
    pool = socket.socket(fileno=3)
    message, files, _, _ = socket.recv_fds(pool, 4096, 2)
    magic, version, job_bytes, main_size, output_offset, output_size, _, _ = HELLO.unpack(message)
    assert magic == MAGIC and version == VERSION and job_bytes == JOB.size
    shared = Shared(files, main_size, output_offset, output_size)
    pool.send(READY.pack(MAGIC, VERSION, 0))
    while message := pool.recv(4096):
        ticket, op, room, argument, size, output = JOB.unpack(message)
        if op == 105:    # an answer that is right, and one more
            pool.send(DONE.pack(ticket, 0, 0))
        elif op == 106:  # to another job
            ticket += 1
        elif op == 107:
            pool.close()
        if op in GARBAGE:
            pool.send(GARBAGE[op])
        function = FUNCTIONS.get(op, lambda *_: 0)
        pool.send(DONE.pack(ticket, function(shared.at(argument, size), shared.at(output, room)), 0))


main()
