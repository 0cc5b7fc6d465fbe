# SPDX-License-Identifier: MIT
"""Conversations as tables: what a WebSocket client sends, and what must come back.

A table is a list of cases; play() runs them side by side, each in every delivery: whole, frame by frame, octet by octet.
Answers are compared in two lanes, for a control frame may overtake data: messages in their order, control frames in theirs.
"""
import collections
import contextlib
import functools
import pathlib
import socket
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'serve'))

from raw import (BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Connection, Frame, WebSocket, close_frame, frame,   # noqa: E402
                 handshake, masked)
from runner import limit, main                          # noqa: E402
from server import Failed, check, equal, wait_until     # noqa: E402

__all__ = ['BINARY', 'CLOSE', 'CONTINUATION', 'PING', 'PONG', 'TEXT', 'Case', 'Connection', 'Failed', 'Frame', 'WebSocket',
           'check', 'close_frame', 'collect', 'equal', 'fails', 'frame', 'goes', 'half_close', 'handshake', 'limit', 'main', 'masked', 'play',
           'settled', 'wait_until', 'waits']

AT_ONCE = 100           # conversations under way at the same time
SECONDS = 8             # that one waits for an answer, stretched where all is slow
SILENT_MAX = 3          # as many may say nothing before the rest is not waited for
OCTETS_MAX = 3000       # longer ones are not sent octet by octet
GOES_ON = None          # the end of a conversation that nothing ends: we close it, and the server says the same

# end: the code that the server closes with; GOES_ON; or a set of codes of which one is right
Case = collections.namedtuple('Case', 'name pieces answers end')


def goes(name, pieces, *answers, end=GOES_ON):
    """What is right: these frames are answered with those, and then the client closes."""
    return Case(name, pieces if isinstance(pieces, (list, tuple)) else [pieces], list(answers), end)


def fails(name, code, pieces, *answers):
    """What is wrong: after the answers to what was right before it, the server closes with this code."""
    return goes(name, pieces, *answers, end=code)


def whole(pieces):
    return [b''.join(pieces)]


def octets(pieces):
    together = b''.join(pieces)
    return [bytes([byte]) for byte in together] if len(together) <= OCTETS_MAX else []


DELIVERIES = {'at once': whole, 'in pieces': list, 'octet by octet': octets}


@contextlib.contextmanager
def collect(what, run=None, waiting=()):
    """Yields a list for what went wrong; at the end that is one failure. Cases whose name is in `waiting` are known to fail
    until others have mended something: they are noted, as are those that need wait no longer."""
    wrong = []
    yield wrong
    found = {name for name in waiting for line in wrong if line.startswith(f'{name}: ')}
    known = [line for line in wrong if any(line.startswith(f'{name}: ') for name in found)]
    wrong = [line for line in wrong if line not in known]
    if waiting:
        mended = set(waiting) - found
        run.note(f'{len(known)} cases wait; no longer: {", ".join(sorted(mended)) or "none"}')
    if wrong:
        more = f'\n  and {len(wrong) - 40} more' if len(wrong) > 40 else ''
        raise Failed(f'{len(wrong)} of {what} are wrong:\n  ' + '\n  '.join(wrong[:40]) + more)


def short(frames):
    return [(one.opcode, one.payload if len(one.payload) < 40 else f'{one.payload[:20]!r}... {len(one.payload)} bytes')
            for one in frames]


class Talk:
    """One conversation that is played."""

    def __init__(self, server, path, case, delivery, name):
        self.case, self.name = case, name
        self.socket = WebSocket(server, path)
        self.socket.socket.settimeout(SECONDS * server.slack)
        for piece in delivery(case.pieces):
            self.socket.send_as_taken(piece)

    def answers(self):
        """Reads what must come, and compares."""
        expected = [Frame(True, *answer) for answer in self.case.answers]
        found = []
        while len(found) < len(expected):
            one = self.socket.frame()
            found.append(one)
            if one.opcode == CLOSE:
                break
        for lane in (lambda one: one.opcode < CLOSE, lambda one: one.opcode >= CLOSE):
            if list(filter(lane, found)) != list(filter(lane, expected)):
                raise Failed(f'expected {short(expected)}, found {short(found)}')

    def close(self):
        """Reads the server's close, or makes it say one."""
        code = 1000
        if self.case.end is GOES_ON:
            self.socket.send(close_frame(1000, b'done'))
        else:
            code = self.case.end
        found = self.socket.frame()
        equal(found.opcode, CLOSE, f'frame behind the answers ({found.payload[:60]!r})')
        said = struct.unpack('>H', found.payload[:2])[0] if found.payload else 1005
        found.payload[2:].decode()
        check(said in (code if isinstance(code, set) else {code}), f'close code {code} expected, {said} found {found.payload[2:]!r}')
        if self.case.end is not GOES_ON:
            self.socket.send_as_taken(close_frame(said if said != 1005 else 1000))

    def end(self):
        self.socket.expect_end()


def steps(talk, step, wrong):
    """Takes one step. False when it went wrong."""
    try:
        getattr(talk, step)()
        return True
    except (OSError, Failed, ValueError) as error:
        if sum('TimeoutError' in one for one in wrong) > SILENT_MAX:
            raise Failed('too many silent ones:\n  ' + '\n  '.join(wrong)) from None
        wrong.append(f'{talk.name}: {step}: {error!r}')
        talk.socket.close()
        return False


def play(server, cases, path='/echo', deliveries=tuple(DELIVERIES), note=''):
    """Plays them all, and fails with a list of those that went wrong."""
    check(len({case.name for case in cases}) == len(cases), 'two cases have the same name')
    under_way = [(case, how) for how in deliveries for case in cases if DELIVERIES[how](case.pieces)]
    with collect(f'{len(under_way)} conversations{note}') as wrong:
        for at in range(0, len(under_way), AT_ONCE):
            talks = [Talk(server, path, case, DELIVERIES[how], f'{case.name}, {how}') for case, how in under_way[at:at + AT_ONCE]]
            for step in ('answers', 'close', 'end'):
                talks = [talk for talk in talks if steps(talk, step, wrong)]
            for talk in talks:
                talk.socket.close()
    return len(under_way)


def waits(what):
    """Decorates a test that is known to fail until `what` is mended; it then says that it need wait no longer."""
    def decorate(test):
        @functools.wraps(test)
        def known(run):
            try:
                test(run)
            except (OSError, Failed, KeyError, ValueError) as error:
                run.note(f'waits for {what}: {str(error)[:300]}')
            else:
                run.note(f'waits no longer for {what}')
        return known
    return decorate


def settled(server):
    """Waits until all connections but the one that asks have ended."""
    wait_until(lambda: server.metrics().value('connections') == 1, 'connections that do not end', 20 * server.slack)


def half_close(raw):
    raw.socket.shutdown(socket.SHUT_WR)
