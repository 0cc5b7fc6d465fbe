#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Closing a WebSocket (RFC 6455, 5.5.1 and 7): codes and reasons, who says what, and what comes behind it."""
import struct
import sys
import time

from talk import (BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, WebSocket, check, close_frame, collect, equal, fails, frame, goes,
                  half_close, main, play, settled)

VALID = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3999, 4000, 4001, 4999)
INVALID = (0, 1, 125, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 9999, 32768, 65535)
HELLO = b'Hello, world!'
END_SECONDS = 15     # within which a connection ends whose client does not answer a close


def codes():
    """7.4: what may be on the wire is said back, anything else is an error."""
    for code in VALID:
        for reason in (b'', b'bye', 'Grüße 🦊'.encode(), b'r' * 123):
            yield goes(f'code {code}, reason of {len(reason)}', close_frame(code, reason), end=code)
    for code in INVALID:
        for reason in (b'', b'bye'):
            yield fails(f'code {code}, reason of {len(reason)}', 1002, close_frame(code, reason))
    yield goes('without a code', frame(CLOSE), end={1000, 1005})
    for byte in (b'\0', b'\x03', b'\xff'):
        yield fails(f'half a code {byte!r}', 1002, frame(CLOSE, byte))
    yield fails('a reason too long', 1002, close_frame(1000, b'r' * 124))
    for name, reason in (('a stray byte', b'\x80'), ('a surrogate', b'\xed\xa0\x80'), ('overlong', b'\xc0\xaf'), ('cut', b'fox \xf0\x9f\xa6'),
                         ('latin-1', 'é'.encode('latin-1')), ('cut at the longest', b'r' * 120 + b'\xf0\x9f\xa6')):
        yield fails(f'reason: {name}', 1007, close_frame(1000, reason))
        yield fails(f'reason of an invalid code: {name}', {1002, 1007}, close_frame(999, reason))


def behind():
    """5.5.1: after sending a close frame a client sends nothing more; if it does, nobody reads it."""
    later = {'a text': frame(TEXT, HELLO), 'a ping': frame(PING, HELLO), 'a pong': frame(PONG), 'another close': close_frame(1001),
             'a wrong frame': frame(3, HELLO), 'an unmasked frame': frame(TEXT, HELLO, mask=None), 'bad UTF-8': frame(TEXT, b'\xff'),
             'half a frame': frame(BINARY, b'x', length=1000), 'a continuation': frame(CONTINUATION, b'x'), 'zeroes': bytes(5000),
             'a million bytes': frame(BINARY, bytes(1000000))}
    for name, data in later.items():
        yield goes(f'close, {name}', [close_frame(1000), data], end=1000)
        yield goes(f'message, close, {name}', [frame(TEXT, HELLO), close_frame(3000, b'bye'), data], (TEXT, HELLO), end=3000)
        yield fails(f'an error, {name}', 1002, [frame(3), data])
        yield fails(f'message, an error, {name}', 1002, [frame(TEXT, HELLO), frame(3), data], (TEXT, HELLO))


def before():
    """What was asked before the close is answered before the close."""
    big = bytes(range(256)) * 1024
    for name, last, code in (('a close', close_frame(1000), 1000), ('an error', frame(3), 1002), ('bad UTF-8', frame(TEXT, b'\xff'), 1007),
                             ('too much', frame(BINARY, b'', length=1 << 40), 1009)):
        yield goes(f'a message, {name}', [frame(TEXT, HELLO), last], (TEXT, HELLO), end=code)
        yield goes(f'a hundred messages, {name}', [frame(TEXT, b'%d' % n) for n in range(100)] + [last],
                   *[(TEXT, b'%d' % n) for n in range(100)], end=code)
        yield goes(f'256 KiB, {name}', [frame(BINARY, big), last], (BINARY, big), end=code)
        yield goes(f'a ping, {name}', [frame(PING, HELLO), last], (PONG, HELLO), end=code)
        yield goes(f'256 KiB and a ping, {name}', [frame(BINARY, big), frame(PING, HELLO), last], (BINARY, big), (PONG, HELLO), end=code)
        within = 1002 if name in ('bad UTF-8', 'too much') else code   # a message within a message
        yield goes(f'a fragment, {name}', [frame(BINARY, HELLO, fin=False), last], end=within)
        yield goes(f'a fragment and a ping, {name}', [frame(BINARY, HELLO, fin=False), frame(PING), last], (PONG, b''), end=within)


def table_is_kept(table, run):
    with run.serve('--pool', '1') as server:
        run.note(f'{play(server, list(table()))} conversations')


def codes_and_reasons_are_checked(run):
    table_is_kept(codes, run)


def nobody_reads_behind_a_close(run):
    table_is_kept(behind, run)


def answers_come_before_the_close(run):
    table_is_kept(before, run)


def a_reason_is_text_and_short(run):
    """What the server itself says with an error."""
    with run.serve('--pool', '1') as server:
        for data in (frame(3), frame(TEXT, b'\xff'), frame(BINARY, b'', length=1 << 40), frame(CLOSE, b'x'), frame(TEXT, b'', mask=None)):
            with WebSocket(server) as broken:
                broken.send(data)
                found = broken.frame()
                equal((found.opcode, found.fin), (CLOSE, True), 'what came')
                check(len(found.payload) <= 125, 'a close frame of more than 125 bytes')
                check(found.payload[2:].decode().isprintable(), f'the reason {found.payload!r}')


def who_never_answers_is_cut_off(run):
    """7.1.1: the server may close at any time after its close frame; it does so within seconds, whatever the client does."""
    cases = {'silent': lambda raw: None, 'sends messages': lambda raw: raw.send_as_taken(frame(TEXT, HELLO) * 1000),
             'pings': lambda raw: raw.send_as_taken(frame(PING) * 1000), 'ends its side': half_close}
    with run.serve('--pool', '1') as server:
        talks = []
        for name, then in cases.items():
            for error in (frame(3), frame(TEXT, b'\xff'), frame(BINARY, b'', length=1 << 40)):
                talk = WebSocket(server)
                talk.send(error)
                talk.close_code()
                then(talk)
                talks.append((name, talk))
        begin = time.monotonic()
        with collect('clients') as wrong:
            for name, talk in talks:
                try:
                    talk.expect_end()
                except ConnectionResetError:   # it had more to say than anybody read
                    if name in ('silent', 'ends its side'):
                        wrong.append(f'{name}: reset')
                talk.close()
        seconds = time.monotonic() - begin
        check(seconds < END_SECONDS * run.slack, f'it took {seconds:.1f} s')
        settled(server)


def the_server_ends_the_connection_first(run):
    """7.1.1: so the client does not hold the port in TIME_WAIT. No byte comes between the close frame and the end."""
    with run.serve('--pool', '1') as server:
        for payload in (b'', struct.pack('>H', 1000), struct.pack('>H', 4000) + b'bye'):
            with WebSocket(server) as talk:
                talk.send(frame(CLOSE, payload))
                equal(talk.frame().opcode, CLOSE, 'what came')
                talk.expect_end()
        settled(server)


def a_half_closed_client_is_answered(run):
    """TCP's end without a close frame: what was asked is answered, then the connection ends."""
    with run.serve('--pool', '1') as server:
        for pieces, answers in (([frame(TEXT, HELLO)], [HELLO]), ([frame(TEXT, b'%d' % n) for n in range(20)], [b'%d' % n for n in range(20)]),
                                ([frame(TEXT, HELLO), frame(TEXT, b'half', length=100)], [HELLO]), ([], [])):
            with WebSocket(server) as talk:
                talk.send(b''.join(pieces))
                half_close(talk)
                for answer in answers:
                    talk.expect_message(answer)
                left = talk.to_end()
                check(left == b'' or left[0] == 0x80 | CLOSE, f'{left!r} at the end')
        settled(server)


if __name__ == '__main__':
    sys.exit(main(codes_and_reasons_are_checked, nobody_reads_behind_a_close, answers_come_before_the_close, a_reason_is_text_and_short,
                  who_never_answers_is_cut_off, the_server_ends_the_connection_first, a_half_closed_client_is_answered))
