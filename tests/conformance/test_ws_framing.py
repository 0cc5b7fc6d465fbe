#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""WebSocket framing (RFC 6455, 5): lengths, masks, reserved bits and opcodes, control frames, fragmentation."""
import random
import struct
import sys

from talk import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_frame, fails, frame, goes, main, play

SIZES = (0, 1, 2, 3, 124, 125, 126, 127, 128, 129, 255, 256, 1000, 4095, 4096, 4097, 65534, 65535, 65536, 65537, 100000)
MASKS = (b'\0\0\0\0', b'\xff\xff\xff\xff', b'\x01\0\0\0', b'\0\0\0\x01', b'\x80\x7f\x00\xff')
NOISE = random.Random(5).randbytes(100000)
LETTERS = bytes(97 + number % 26 for number in range(100000))
UNUSED = (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
HELLO = b'Hello, world!'


def raw_frame(first, second, rest=b''):
    return struct.pack('>BB', first, second) + rest


def fragments(kind, *payloads):
    return [frame(CONTINUATION if number else kind, payload, fin=number == len(payloads) - 1)
            for number, payload in enumerate(payloads)]


def lengths():
    """5.2: each length in the fewest bytes that hold it, both kinds, any mask."""
    for size in SIZES:
        yield goes(f'text of {size}', frame(TEXT, LETTERS[:size]), (TEXT, LETTERS[:size]))
        yield goes(f'binary of {size}', frame(BINARY, NOISE[:size]), (BINARY, NOISE[:size]))
    for mask in MASKS:
        for size in (0, 1, 5, 31, 64, 67, 1000):
            yield goes(f'mask {mask.hex()}, {size}', frame(BINARY, NOISE[:size], mask=mask), (BINARY, NOISE[:size]))
    mask = b'\0\0\0\0'
    for size in (0, 1, 125):
        yield fails(f'{size} in 16 bits', 1002, raw_frame(0x82, 0x80 | 126, struct.pack('>H', size) + mask + bytes(size)))
    for size in (0, 125, 126, 65535):
        yield fails(f'{size} in 64 bits', 1002, raw_frame(0x82, 0x80 | 127, struct.pack('>Q', size) + mask + bytes(size)))
    for size in (1 << 63, (1 << 64) - 1, 1 << 63 | 5):
        yield fails(f'length {size:#x}', 1002, raw_frame(0x82, 0x80 | 127, struct.pack('>Q', size) + mask))
    for size in (1 << 31, 1 << 32, (1 << 32) + 5, 1 << 62, (1 << 63) - 1):
        yield fails(f'length {size:#x}', 1009, raw_frame(0x82, 0x80 | 127, struct.pack('>Q', size) + mask))


def masking():
    """5.1: a server MUST close the connection upon receiving a frame that is not masked."""
    for opcode in (TEXT, BINARY, PING, PONG):
        for payload in (b'', HELLO):
            yield fails(f'unmasked {opcode}, {len(payload)}', 1002, frame(opcode, payload, mask=None))
    yield fails('unmasked close', 1002, frame(CLOSE, b'\x03\xe8', mask=None))
    yield fails('unmasked close, empty', 1002, frame(CLOSE, b'', mask=None))
    yield fails('unmasked behind a masked one', 1002, [frame(TEXT, HELLO), frame(TEXT, HELLO, mask=None)], (TEXT, HELLO))
    yield fails('unmasked continuation', 1002, [frame(TEXT, HELLO, fin=False), frame(CONTINUATION, b'', mask=None)])
    yield fails('unmasked of 64 bits', 1002, frame(BINARY, bytes(70000), mask=None))


def control():
    """5.5: at most 125 bytes, never fragmented, answered at once; a pong that nobody asked for is nothing."""
    for size in (0, 1, 5, 124, 125):
        for fill, payload in (('noise', NOISE[:size]), ('zeroes', bytes(size)), ('ones', b'\xff' * size)):
            yield goes(f'ping {size} {fill}', frame(PING, payload), (PONG, payload))
            yield goes(f'pong {size} {fill}', [frame(PONG, payload), frame(PING, b'p')], (PONG, b'p'))
    for opcode in (PING, PONG, CLOSE):
        for size in (126, 127, 65535, 65536):
            yield fails(f'control {opcode} of {size}', 1002, frame(opcode, b'\x03\xe8' + b'a' * (size - 2)))
            yield fails(f'control {opcode} that announces {size}', 1002, frame(opcode, b'', length=size))
        for length, field in ((126, struct.pack('>H', 5)), (127, struct.pack('>Q', 5))):
            yield fails(f'control {opcode}, 5 in a long length {length}', 1002,
                        raw_frame(0x80 | opcode, 0x80 | length, field + bytes(4) + b'\x03\xe8abc'))
        yield fails(f'control {opcode}, fragmented', 1002, frame(opcode, b'', fin=False))
        yield fails(f'control {opcode}, fragmented, with data', 1002, frame(opcode, b'\x03\xe8', fin=False))
        yield fails(f'control {opcode}, in two fragments', 1002, [frame(opcode, b'\x03\xe8', fin=False), frame(CONTINUATION, b'x')])
    yield goes('ten pings', [frame(PING, b'%d' % number) for number in range(10)], *[(PONG, b'%d' % number) for number in range(10)])
    yield goes('a hundred pings of 125', [frame(PING, bytes([number]) * 125) for number in range(100)],
               *[(PONG, bytes([number]) * 125) for number in range(100)])
    yield goes('a thousand pongs', [frame(PONG, b'x' * 125)] * 1000 + [frame(TEXT, HELLO)], (TEXT, HELLO))
    yield goes('pings between messages', [frame(TEXT, b'a'), frame(PING, b'1'), frame(TEXT, b'b'), frame(PING, b'2')],
               (TEXT, b'a'), (PONG, b'1'), (TEXT, b'b'), (PONG, b'2'))
    for mask in MASKS:
        yield goes(f'ping, mask {mask.hex()}', frame(PING, HELLO, mask=mask), (PONG, HELLO))


def reserved_bits():
    """5.2: MUST be 0 unless an extension is negotiated that defines meanings for non-zero values."""
    for bits in range(1, 8):
        for opcode, payload in ((TEXT, HELLO), (TEXT, b''), (BINARY, HELLO), (PING, HELLO), (PONG, b''), (CLOSE, b'\x03\xe8')):
            yield fails(f'bits {bits} on {opcode}, {len(payload)}', 1002, frame(opcode, payload, reserved=bits))
        yield fails(f'bits {bits} behind a message', 1002, [frame(TEXT, HELLO), frame(TEXT, HELLO, reserved=bits), frame(PING)],
                    (TEXT, HELLO))
        yield fails(f'bits {bits} on a continuation', 1002, [frame(TEXT, HELLO, fin=False), frame(CONTINUATION, b'', reserved=bits)])
        yield fails(f'bits {bits} on a ping among fragments', 1002,
                    [frame(TEXT, HELLO, fin=False), frame(PING, b'', reserved=bits), frame(CONTINUATION, b'')])


def opcodes():
    """5.2: an unknown opcode fails the connection."""
    for opcode in UNUSED:
        for payload in (b'', HELLO):
            yield fails(f'opcode {opcode}, {len(payload)}', 1002, frame(opcode, payload))
        yield fails(f'opcode {opcode} behind a message', 1002, [frame(TEXT, HELLO), frame(opcode, HELLO), frame(PING)], (TEXT, HELLO))
        yield fails(f'opcode {opcode}, not final', 1002, frame(opcode, HELLO, fin=False))
        yield fails(f'opcode {opcode} among fragments', 1002, [frame(TEXT, HELLO, fin=False), frame(opcode, b''), frame(CONTINUATION)])
        yield fails(f'opcode {opcode}, head alone', 1002, raw_frame(0x80 | opcode, 0x85, bytes(4)))


def fragmentation():
    """5.4: one message at a time, control frames between its fragments, continuations only of something."""
    for kind in (TEXT, BINARY):
        for parts in ((b'one', b'two'), (b'', b''), (b'', b'', b''), (b'a', b'', b'b'), (b'', b'all'), (b'all', b''),
                      tuple(bytes([97 + number]) for number in range(26)), (LETTERS[:70000], b'x', LETTERS[:126])):
            name = f'fragments of {kind}: {[len(part) for part in parts]}'
            message = (kind, b''.join(parts))
            yield goes(name, fragments(kind, *parts), message)
            mixed = [piece for part in fragments(kind, *parts) for piece in (part, frame(PING, b'p'))][:-1]
            yield goes(f'{name} with pings', mixed, *[(PONG, b'p')] * (len(parts) - 1), message)
            mixed = [piece for part in fragments(kind, *parts) for piece in (part, frame(PONG, b'p'), frame(PONG))][:-2]
            yield goes(f'{name} with pongs', mixed, message)
        yield goes(f'two messages of {kind} in fragments', fragments(kind, b'a', b'b') + fragments(kind, b'c', b'd'),
                   (kind, b'ab'), (kind, b'cd'))
        yield goes(f'close among fragments of {kind}', [frame(kind, b'a', fin=False), close_frame(1000), frame(CONTINUATION, b'b')],
                   end=1000)
    yield goes('many pings among two fragments', [frame(TEXT, b'a', fin=False), *[frame(PING, b'%d' % n) for n in range(50)],
                                                  frame(CONTINUATION, b'b')], *[(PONG, b'%d' % n) for n in range(50)], (TEXT, b'ab'))
    for fin in (True, False):
        for payload in (b'', HELLO):
            name = f'{"final" if fin else "not final"}, {len(payload)}'
            stray = frame(CONTINUATION, payload, fin=fin)
            yield fails(f'continuation of nothing, {name}', 1002, stray)
            yield fails(f'continuation of nothing, {name}, before a message', 1002, [stray, frame(TEXT, HELLO)])
            yield fails(f'continuation behind a message, {name}', 1002, [frame(TEXT, HELLO), stray], (TEXT, HELLO))
            yield fails(f'continuation behind fragments, {name}', 1002, [*fragments(TEXT, b'a', b'b'), stray, frame(TEXT, HELLO)],
                        (TEXT, b'ab'))
    for first in (TEXT, BINARY):
        for second in (TEXT, BINARY):
            for fin in (True, False):
                yield fails(f'{second} within {first}, {"final" if fin else "not final"}', 1002,
                            [frame(first, b'a', fin=False), frame(second, b'b', fin=fin)])
                yield fails(f'{second} within {first}, {"final" if fin else "not final"}, behind a message', 1002,
                            [frame(TEXT, HELLO), frame(first, b'', fin=False), frame(PING, b'p'), frame(second, b'', fin=fin)],
                            (TEXT, HELLO), (PONG, b'p'))


def no_websocket():
    """What is no frame at all."""
    yield fails('a request', 1002, b'GET / HTTP/1.1\r\nHost: h\r\n\r\n')
    yield fails('zeroes', 1002, bytes(50))
    yield fails('ones', 1002, b'\xff' * 50)
    yield fails('a TLS hello', 1002, b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + bytes(40))


def table_is_kept(table, run):
    with run.serve('--pool', '1') as server:
        run.note(f'{play(server, list(table()))} conversations')


def lengths_are_minimal_and_masks_any(run):
    table_is_kept(lengths, run)


def frames_are_masked(run):
    table_is_kept(masking, run)


def control_frames_are_short_and_whole(run):
    table_is_kept(control, run)


def reserved_bits_are_zero(run):
    table_is_kept(reserved_bits, run)


def unknown_opcodes_are_refused(run):
    table_is_kept(opcodes, run)


def fragments_are_in_order(run):
    table_is_kept(fragmentation, run)


def what_is_no_frame_is_refused(run):
    table_is_kept(no_websocket, run)


if __name__ == '__main__':
    sys.exit(main(lengths_are_minimal_and_masks_any, frames_are_masked, control_frames_are_short_and_whole, reserved_bits_are_zero,
                  unknown_opcodes_are_refused, fragments_are_in_order, what_is_no_frame_is_refused))
