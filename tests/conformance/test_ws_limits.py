#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""WebSocket messages of every size, in every number of pieces, up to the limit and one byte beyond; and none is a weapon."""
import random
import sys
import time

from talk import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, WebSocket, check, equal, fails, frame, main, masked, play, settled

ECHO_MAX = 16 << 20     # of /echo
CHAT_MAX = 64 << 10     # of /chat
MIB = 1 << 20
MASK = b'\x37\xfa\x21\x3d'
GROWTH_KIB = 40 * 1024  # what one connection with a message of 16 MiB under way may cost
LETTERS = bytes(97 + number % 26 for number in range(1 << 16)) * 256
NOISE = random.Random(7).randbytes(1 << 16) * 256


def in_fragments(kind, payload, size):
    """A message in fragments of this size, as one run of bytes. The mask's phase is the same in each: size is a multiple of 4."""
    coded = masked(payload, MASK)
    parts = []
    for at in range(0, len(payload), size):
        fin = at + size >= len(payload)
        head = frame(CONTINUATION if at else kind, b'', fin=fin, mask=MASK, length=min(size, len(payload) - at))
        parts.append(head + coded[at:at + size])
    return b''.join(parts)


def sends_while_it_reads(talk, data, chop=1 << 18):
    """Sends all while what comes back is kept, so that no side waits for the other."""
    talk.socket.setblocking(False)
    view = memoryview(data)
    parts = [talk.pending]
    deadline = time.monotonic() + 60
    while view and time.monotonic() < deadline:
        try:
            view = view[talk.socket.send(view[:chop]):]
        except BlockingIOError:
            pass
        try:
            got = talk.socket.recv(1 << 18)
            check(got, 'the connection ended')
            parts.append(got)
        except BlockingIOError:
            pass
    talk.pending = b''.join(parts)
    talk.socket.settimeout(30)
    check(not view, 'not all of it was taken')


def sizes_up_to_16_mib_come_back(run):
    with run.serve('--pool', '1') as server, WebSocket(server) as talk:
        for size in (64 << 10, 256 << 10, MIB, 4 * MIB, 8 * MIB, ECHO_MAX):
            for kind, payload in ((TEXT, LETTERS[:size]), (BINARY, NOISE[:size])):
                sends_while_it_reads(talk, frame(kind, payload))
                talk.expect_message(payload, kind)
        talk.leave()


def four_mib_come_back_in_fragments_of_any_size(run):
    with run.serve('--pool', '1') as server, WebSocket(server) as talk:
        for size in (64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, MIB, 4 * MIB):
            for kind, payload in ((TEXT, LETTERS[:4 * MIB]), (BINARY, NOISE[:4 * MIB])):
                begin = time.monotonic()
                sends_while_it_reads(talk, in_fragments(kind, payload, size))
                talk.expect_message(payload, kind)
                if size == 64 and kind == BINARY:
                    run.note(f'4 MiB in 65,536 fragments came back after {time.monotonic() - begin:.2f} s')
        talk.leave()


def one_mib_comes_back_in_chops_of_any_size(run):
    with run.serve('--pool', '1') as server, WebSocket(server) as talk:
        for chop in (64, 128, 256, 512, 1024, 2048):
            for kind, payload in ((TEXT, LETTERS[:MIB]), (BINARY, NOISE[:MIB])):
                sends_while_it_reads(talk, frame(kind, payload), chop)
                talk.expect_message(payload, kind)
        talk.leave()


def a_thousand_messages_of_each_size_come_back(run):
    with run.serve('--pool', '1') as server, WebSocket(server) as talk:
        for size in (0, 1, 16, 64, 125, 126, 256, 1024, 4096):
            for kind, payload in ((TEXT, LETTERS[:size]), (BINARY, NOISE[:size])):
                one = frame(kind, payload)
                for _ in range(200):   # one by one
                    talk.send(one)
                    talk.expect_message(payload, kind)
                sends_while_it_reads(talk, one * 1000)   # and pipelined
                for _ in range(1000):
                    talk.expect_message(payload, kind)
        for size in (16384, 65536):
            one = frame(BINARY, NOISE[:size])
            sends_while_it_reads(talk, one * 200)
            for _ in range(200):
                talk.expect_message(NOISE[:size], BINARY)
        talk.leave()


def limits(most):
    """Exactly the limit passes; one byte more is 1009, told as soon as it is announced."""
    yield 'the largest', frame(BINARY, NOISE[:most]), (BINARY, NOISE[:most])
    yield 'the largest in two', frame(BINARY, NOISE[:most - 1], fin=False) + frame(CONTINUATION, NOISE[most - 1:most]), (BINARY, NOISE[:most])
    yield 'the largest and an empty end', frame(BINARY, NOISE[:most], fin=False) + frame(CONTINUATION), (BINARY, NOISE[:most])
    yield 'one more', frame(BINARY, b'', length=most + 1), None
    yield 'one more in two', frame(BINARY, NOISE[:most], fin=False) + frame(CONTINUATION, b'x'), None
    yield 'one more in two, announced', frame(BINARY, NOISE[:most], fin=False) + frame(CONTINUATION, b'', length=1, fin=False), None
    yield 'one more, the first half announced', frame(BINARY, b'', fin=False) + frame(CONTINUATION, b'', length=most + 1), None
    for length in (most * 2, 1 << 31, 1 << 32, 1 << 40, (1 << 63) - 1):
        yield f'{length} announced', frame(BINARY, b'', length=length), None
        yield f'a fragment and {length} announced', frame(BINARY, b'abc', fin=False) + frame(CONTINUATION, b'', length=length), None


def the_limit_is_exact(run):
    with run.serve('--pool', '1') as server:
        for name, data, answer in limits(ECHO_MAX):
            with WebSocket(server) as talk:
                if answer:
                    sends_while_it_reads(talk, data)
                    talk.expect_message(answer[1], answer[0])
                    talk.leave()
                else:
                    talk.send_as_taken(data)
                    talk.expect_close(1009)
        for name, data, answer in limits(CHAT_MAX):
            with WebSocket(server, '/chat/room?name=ann') as talk:
                equal(talk.frame().opcode, TEXT, 'the welcome')
                talk.send_as_taken(data)
                if answer:
                    check(b'"error"' in talk.message(), f'{name}: no JSON, and no error')
                    talk.leave()
                else:
                    talk.expect_close(1009)


def the_code_says_what_was_wrong_first(run):
    """Several faults in one frame: framing before size, size before text."""
    cases = [fails('unmasked and too large', 1002, frame(BINARY, b'', length=1 << 40, mask=None)),
             fails('reserved bits and too large', 1002, frame(BINARY, b'', length=1 << 40, reserved=1)),
             fails('an unknown opcode and too large', 1002, frame(5, b'', length=1 << 40)),
             fails('a continuation of nothing and too large', 1002, frame(CONTINUATION, b'', length=1 << 40)),
             fails('a control frame and too large', 1002, frame(PING, b'', length=1 << 40)),
             fails('too large and bad text', 1009, frame(TEXT, b'\xff', length=1 << 40)),
             fails('bad text, then too large', 1007, [frame(TEXT, b'\xff', fin=False), frame(CONTINUATION, b'', length=1 << 40)])]
    with run.serve('--pool', '1') as server:
        play(server, cases)


def floods_of_fragments_cost_little(run):
    """65,536 fragments are legal; a flood of empty ones, or of bytes one by one, need not be borne: 1008. Neither costs memory."""
    empty = frame(CONTINUATION, b'', fin=False)
    single = frame(CONTINUATION, b'x', fin=False)
    with run.serve('--pool', '1') as server:
        for flood, inner in ((empty, b''), (single, b'x'), (empty * 3 + single, b'x'), (empty + frame(PONG), b'')):
            for count in (1000, 100000):
                with WebSocket(server) as talk:
                    before = server.rss_kib()
                    talk.send_as_taken(frame(BINARY, b'(', fin=False) + flood * count)
                    talk.send_as_taken(frame(PING, b'still there'))
                    found = talk.frame()
                    grown = server.rss_kib() - before
                    check(run.sanitized or grown < 8192, f'RSS grew by {grown} KiB')
                    equal(server.get('/healthz').status, 200, 'the server within the flood')
                    if found.opcode == CLOSE and count > 1000:
                        equal(found.payload[:2], b'\x03\xf0', 'close code')
                        continue
                    equal(found[1:], (PONG, b'still there'), 'the pong within the flood')
                    talk.send(frame(CONTINUATION, b')'))
                    talk.expect_message(b'(' + inner * count + b')', BINARY)
                    talk.leave()


def floods_of_control_frames_cost_little(run):
    """A client that pings and does not read its pongs is held back, and is no harm to others."""
    ping = frame(PING, bytes(125))
    with run.serve('--pool', '1') as server:
        before = server.rss_kib()
        with WebSocket(server, receive_buffer=1 << 14) as talk:
            talk.socket.setblocking(False)
            idle = time.monotonic() + 1
            sent = 0
            data = ping * 4000
            while time.monotonic() < idle and sent < 64 << 20:
                try:
                    sent += talk.socket.send(data)
                    idle = time.monotonic() + 1
                except BlockingIOError:
                    equal(server.get('/healthz').status, 200, 'the server within the flood')
                except OSError:
                    break   # it was shown out: an answer, too
            grown = server.rss_kib() - before
            run.note(f'{sent >> 10} KiB of pings were taken, RSS grew by {grown} KiB')
            check(run.sanitized or grown < 16384, f'RSS grew by {grown} KiB')
        settled(server)


def announced_bytes_cost_nothing(run):
    """A hundred clients announce 16 MiB each and send a little of it: memory is taken for what came."""
    with run.serve('--pool', '1') as server:
        before = server.rss_kib()
        held = [WebSocket(server) for _ in range(100)]
        for talk in held:
            talk.send(frame(BINARY, b'x' * 1000, length=ECHO_MAX))
        for talk in held:   # what came before it has been read
            talk.send(b'y')
        equal(server.get('/healthz').status, 200, 'the server')
        grown = server.rss_kib() - before
        run.note(f'RSS grew by {grown} KiB')
        check(run.sanitized or grown < GROWTH_KIB, f'RSS grew by {grown} KiB')
        for talk in held:
            talk.close()
        settled(server)


def large_messages_leave_no_memory_behind(run):
    payload = NOISE[:ECHO_MAX]
    with run.serve('--pool', '1') as server:
        def once():
            with WebSocket(server) as talk:
                sends_while_it_reads(talk, frame(BINARY, payload))
                talk.expect_message(payload)
                talk.leave()
            with WebSocket(server) as talk:   # and one that leaves in the middle
                sends_while_it_reads(talk, frame(BINARY, payload[:MIB], length=ECHO_MAX))
                talk.reset()
            settled(server)
        once()
        before = server.rss_kib()
        for _ in range(8):
            once()
        grown = server.rss_kib() - before
        run.note(f'RSS {before} KiB, grew by {grown} KiB')
        check(run.sanitized or grown < 8192, f'RSS grew by {grown} KiB')


if __name__ == '__main__':
    sys.exit(main(sizes_up_to_16_mib_come_back, four_mib_come_back_in_fragments_of_any_size, one_mib_comes_back_in_chops_of_any_size,
                  a_thousand_messages_of_each_size_come_back, the_limit_is_exact, the_code_says_what_was_wrong_first,
                  floods_of_fragments_cost_little, floods_of_control_frames_cost_little, announced_bytes_cost_nothing,
                  large_messages_leave_no_memory_behind))
