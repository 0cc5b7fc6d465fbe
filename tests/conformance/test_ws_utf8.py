#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""UTF-8 in text messages (RFC 6455, 8.1; RFC 3629): what is valid passes however it is split, what is not fails at once."""
import sys

from talk import BINARY, CONTINUATION, PING, PONG, TEXT, close_frame, fails, frame, goes, main, play

ROOM = 1000   # bytes that a frame announces and that never come

# Where each number of bytes begins and ends, around the surrogates, and what Unicode says are no characters: valid all the same.
POINTS = (0, 1, 0x7f, 0x80, 0x7ff, 0x800, 0xfff, 0x1000, 0xcfff, 0xd000, 0xd7ff, 0xe000, 0xfdd0, 0xfdef, 0xfeff, 0xfffd, 0xfffe,
          0xffff, 0x10000, 0x1fffe, 0x1ffff, 0x3ffff, 0x40000, 0xfffff, 0x100000, 0x10fffe, 0x10ffff)
WORDS = ('', 'Hello-µ@ßöäüàá-UTF-8!!', 'κόσμε', '🦊é', 'Ā̀́̂', 'שלום', '日本語', '\u2028\u2029', '\ufeffmark', 'a\0b')


def encoded(point):
    return chr(point).encode('utf-8', 'surrogatepass')


def is_continuation(byte):
    return 0x80 <= byte <= 0xbf


def second_range(first):
    """RFC 3629, 4: what may follow a first byte."""
    return {0xe0: (0xa0, 0xbf), 0xed: (0x80, 0x9f), 0xf0: (0x90, 0xbf), 0xf4: (0x80, 0x8f)}.get(first, (0x80, 0xbf))


def first_wrong(data):
    """Index of the byte with which `data` can no longer become UTF-8; its size when more bytes could still make it valid."""
    at = 0
    while at < len(data):
        first = data[at]
        more = 0 if first < 0x80 else 1 if 0xc2 <= first <= 0xdf else 2 if 0xe0 <= first <= 0xef else 3 if 0xf0 <= first <= 0xf4 else -1
        if more < 0:
            return at
        for number in range(1, more + 1):
            if at + number >= len(data):
                return len(data)
            low, high = second_range(first) if number == 1 else (0x80, 0xbf)
            if not low <= data[at + number] <= high:
                return at + number
        at += more + 1
    return len(data)


def invalid():
    """Name and bytes; none is a part of anything valid."""
    for byte in (*range(0x80, 0xc2), *range(0xf5, 0x100)):
        yield f'byte {byte:#x}', bytes([byte])
    for low, high in ((0xd800, 0xd800), (0xdb7f, 0xdb7f), (0xdb80, 0xdc00), (0xdbff, 0xdfff), (0xd800, 0xdfff), (0xdfff, 0xd800)):
        yield f'surrogates {low:#x} {high:#x}', encoded(low) + encoded(high)
    for point in (0xd800, 0xdbff, 0xdc00, 0xdfff):
        yield f'surrogate {point:#x}', encoded(point)
    for name, data in (('of /', b'\xc0\xaf'), ('of / in 3', b'\xe0\x80\xaf'), ('of / in 4', b'\xf0\x80\x80\xaf'),
                       ('of / in 5', b'\xf8\x80\x80\x80\xaf'), ('of / in 6', b'\xfc\x80\x80\x80\x80\xaf'), ('of NUL', b'\xc0\x80'),
                       ('of NUL in 3', b'\xe0\x80\x80'), ('of NUL in 4', b'\xf0\x80\x80\x80'), ('largest in 2', b'\xc1\xbf'),
                       ('largest in 3', b'\xe0\x9f\xbf'), ('largest in 4', b'\xf0\x8f\xbf\xbf')):
        yield f'overlong {name}', data
    for name, data in (('0x110000', b'\xf4\x90\x80\x80'), ('0x13ffff', b'\xf4\xbf\xbf\xbf'), ('0x1fffff', b'\xf7\xbf\xbf\xbf'),
                       ('in 5', b'\xfb\xbf\xbf\xbf\xbf'), ('in 6', b'\xfd\xbf\xbf\xbf\xbf\xbf')):
        yield f'beyond {name}', data
    for point in (0x80, 0x7ff, 0x800, 0xffff, 0x10000, 0x10ffff):
        for size in range(1, len(encoded(point))):
            for name, next_one in (('a letter', b'x'), ('another first byte', encoded(point)), ('NUL', b'\0'), ('0xff', b'\xff')):
                yield f'{size} of the bytes of {point:#x} and {name}', encoded(point)[:size] + next_one
    yield 'too many continuations', b'\xc3\xa9\xa9'


def cut():
    """What is valid so far, and ends with its message."""
    for point in (0x80, 0x7ff, 0x800, 0xfffd, 0x10000, 0x10ffff):
        for size in range(1, len(encoded(point))):
            yield f'{size} bytes of {point:#x}', encoded(point)[:size]


def split(data, at, between=()):
    return [frame(TEXT, data[:at], fin=False), *between, frame(CONTINUATION, data[at:])]


def valid_cases():
    texts = [*map(encoded, POINTS), *(word.encode() for word in WORDS)]
    for text in texts:
        yield goes(f'{text!r}', frame(TEXT, text), (TEXT, text))
        for at in range(len(text) + 1):
            yield goes(f'{text!r} split at {at}', split(text, at), (TEXT, text))
            yield goes(f'{text!r} split at {at}, a ping between', split(text, at, [frame(PING, b'p')]), (PONG, b'p'), (TEXT, text))
        each = [frame(CONTINUATION if number else TEXT, bytes([byte]), fin=False) for number, byte in enumerate(text)]
        if each:
            yield goes(f'{text!r}, a frame for each byte', [*each, frame(CONTINUATION)], (TEXT, text))
    for before in range(65):   # however it lies in the words that a quick check reads
        for text in (b'\xc3\xa9', '日'.encode(), '🦊'.encode()):
            line = b'a' * before + text + b'b' * 33
            yield goes(f'{text!r} behind {before}', frame(TEXT, line), (TEXT, line))
    yield goes('a hundred thousand foxes', frame(TEXT, '🦊'.encode() * 100000), (TEXT, '🦊'.encode() * 100000))
    for name, data in invalid():
        yield goes(f'{name}, but binary', frame(BINARY, data), (BINARY, data))
    yield goes('a cut character, but binary', [frame(BINARY, b'\xf0\x9f', fin=False), frame(CONTINUATION)], (BINARY, b'\xf0\x9f'))


def invalid_cases():
    for name, data in invalid():
        yield fails(name, 1007, frame(TEXT, data))
        yield fails(f'{name} behind text', 1007, frame(TEXT, 'Grüße, '.encode() + data + b' and more'))
        yield fails(f'{name} behind a message', 1007, [frame(TEXT, b'fine'), frame(TEXT, data)], (TEXT, b'fine'))
        for at in range(1, len(data)):
            yield fails(f'{name} split at {at}', 1007, split(data, at))
        yield fails(f'{name} in a reason', 1007, close_frame(1000, data))
    for name, data in cut():
        yield fails(name, 1007, frame(TEXT, data))
        yield fails(f'{name} behind text', 1007, frame(TEXT, b'x' * 40 + data))
        yield fails(f'{name} and an empty end', 1007, [frame(TEXT, data, fin=False), frame(PING, b'p'), frame(CONTINUATION)], (PONG, b'p'))
        yield fails(f'{name} in a reason', 1007, close_frame(1000, data))
    for before in range(65):
        for data in (b'\xff', b'\xed\xa0\x80', b'\xf4\x90\x80\x80'):
            yield fails(f'{data!r} behind {before}', 1007, frame(TEXT, b'a' * before + data + b'b' * 33))


def fail_fast_cases():
    """The close comes while the frame still lacks bytes, and never earlier: the prefix that is fine lets a ping through."""
    for name, data in invalid():
        at = first_wrong(data)
        yield fails(f'{name} in a frame that never ends', 1007, frame(TEXT, data[:at + 1], length=ROOM))
        yield fails(f'{name} in a fragment that never ends', 1007,
                    [frame(TEXT, b'fine ' + data[:at], fin=False), frame(PING, b'p'), frame(CONTINUATION, data[at:at + 1], length=ROOM)],
                    (PONG, b'p'))
        yield fails(f'{name} in a message that never ends', 1007,
                    [frame(TEXT, data[:at], fin=False), frame(PING, b'p'), frame(CONTINUATION, data[at:at + 1], fin=False)],
                    (PONG, b'p'))
    for size in (10, 125, 126, 1000, 65535, 65536, 200000):
        yield fails(f'behind {size} bytes of a frame that never ends', 1007, frame(TEXT, b'a' * size + b'\xff', length=size + ROOM))
        yield fails(f'behind {size} bytes of foxes', 1007, frame(TEXT, '🦊'.encode() * (size // 4) + b'\xc0', length=size + ROOM))


def valid_text_passes_however_it_is_split(run):
    with run.serve('--pool', '1') as server:
        run.note(f'{play(server, list(valid_cases()), deliveries=("at once", "octet by octet"))} conversations')


def invalid_text_is_1007(run):
    with run.serve('--pool', '1') as server:
        run.note(f'{play(server, list(invalid_cases()), deliveries=("at once", "in pieces"))} conversations')


def it_fails_before_the_frame_is_complete(run):
    with run.serve('--pool', '1') as server:
        run.note(f'{play(server, list(fail_fast_cases()))} conversations')


if __name__ == '__main__':
    sys.exit(main(valid_text_passes_however_it_is_split, invalid_text_is_1007, it_fails_before_the_frame_is_complete))
