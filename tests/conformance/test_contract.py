#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""docs/protocols.md, line by line: test_contract.py PROGRAM PEER. Every code and status of its tables is provoked."""
import json
import pathlib
import re
import sys
import time

from talk import (BINARY, CONTINUATION, TEXT, Connection, Failed, WebSocket, check, close_frame, collect, equal, frame, handshake,
                  main)
from server import Server

PEER = sys.argv.pop(2)
PAGE = pathlib.Path(__file__).resolve().parents[2] / 'docs' / 'protocols.md'
HEALTH = b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n'


def table(heading):
    """The rows of the first table below a heading, as lists of cells."""
    text = PAGE.read_text().split(f'\n## {heading}\n', 1)[1].split('\n## ', 1)[0]
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines() if line.startswith('|')]
    return rows[2:]


def request(line, fields='', body=b''):
    return f'{line} HTTP/1.1\r\nHost: h\r\n{fields}\r\n'.encode() + body


def post(body, path='/compute'):
    return request(f'POST {path}', f'Content-Length: {len(body)}\r\n', body)


# Close codes: what makes the server send each, on a fresh conversation with /echo.

def by_bytes(data):
    return lambda server, talk: talk.send_as_taken(data)


CLOSES = {
    '1000': by_bytes(close_frame(1000)),
    '1001': lambda server, talk: server.signal(),
    '1002': by_bytes(frame(TEXT, b'x', mask=None)),
    '1007': by_bytes(frame(TEXT, b'\xff', length=100)),
    '1008': by_bytes(frame(BINARY, b'', fin=False) + frame(CONTINUATION, b'', fin=False) * 100000),
    '1009': by_bytes(frame(BINARY, b'', length=1 << 40)),
    '1011': by_bytes(frame(TEXT, b'fail')),
}
UNPROVOKED = {'1013'}   # needs a client that does not read: tests/serve/test_chat.py


def every_close_code_comes_as_written(run):
    rows = table('WebSocket: close codes')
    equal({row[0] for row in rows}, set(CLOSES) | UNPROVOKED, 'codes of the page')
    check(all(row[2] in ('never', 'later', 'anew') for row in rows), 'another word for `again?`')
    for code in CLOSES:
        for path in ('/echo', '/parked'):
            with Server(PEER, run.backend) as server, WebSocket(server, path) as talk:
                talk.send(frame(TEXT, b'first'))
                talk.expect_message(b'first')
                CLOSES[code](server, talk)
                found = talk.close_code()
                equal(str(found), code, f'close code on {path}')
                talk.send_as_taken(close_frame(found))
                talk.expect_end()
                if code == '1001':
                    server.wait()


UPGRADES = {
    '400': [handshake(key='short')],
    '403': [handshake(fields='Origin: http://elsewhere.example\r\n')],
    '404': [handshake('/nowhere')],
    '405': [handshake().replace(b'GET', b'PUT', 1)],
    '426': [request('GET /echo'), handshake(version='8')],
}


def judge(server, name, data, status, connection, wrong):
    """Sends; compares the status, the shape of the error, and whether the connection lives on."""
    with Connection(server) as raw:
        try:
            raw.send_as_taken(data)
            answer = raw.answer()
            equal(answer.status, int(status), f'status ({answer.body[:100]!r})')
            equal(answer.fields.get('content-type'), 'application/json', 'type of an error')
            check(isinstance(json.loads(answer.body)['error'], str), 'no sentence')
            if connection == 'closes':
                equal(answer.fields.get('connection', '').lower(), 'close', 'Connection')
                raw.send_as_taken(HEALTH)
                try:
                    equal(raw.to_end(), b'', 'what came after the answer')
                except ConnectionResetError:
                    pass   # it had closed before the other request came
            else:
                check('close' not in answer.fields.get('connection', ''), f'Connection: {answer.fields.get("connection")}')
                equal(raw.ask(HEALTH).status, 200, 'the request behind it')
            if status == '503':
                check(re.fullmatch('[0-9]+', answer.fields.get('retry-after', '')), f'Retry-After: {answer.fields.get("retry-after")}')
            if status == '405':
                check(answer.fields.get('allow'), 'no Allow')
        except (OSError, Failed, KeyError, ValueError) as error:
            wrong.append(f'{status} {name!r}: {error!r}')


def every_refused_upgrade_is_as_written(run):
    rows = table('WebSocket: before the upgrade')
    equal({row[0] for row in rows}, set(UPGRADES), 'statuses of the page')
    with run.serve('--pool', '1') as server, collect('refusals') as wrong:
        for status, _, connection in rows:
            for data in UPGRADES[status]:
                judge(server, data[:60], data, status, connection, wrong)


STATUSES = {
    '400': [request('GET /healthz', 'X : y\r\n'), b'GET /healthz HTTP/1.1\r\n\r\n', request('POST /compute', 'Content-Length: x\r\n')],
    '404': [request('GET /nowhere')],
    '405': [post(b'{}', '/healthz'), request('GET /compute')],
    '413': [request('POST /compute', 'Content-Length: 9999999\r\n')],
    '414': [request('GET /' + 'x' * 9000)],
    '417': [request('POST /compute', 'Expect: miracles\r\nContent-Length: 2\r\n', b'{}')],
    '431': [request('GET /healthz', 'X: ' + 'y' * 9000 + '\r\n'), request('GET /healthz', 'X: y\r\n' * 200)],
    '500': [post(b'{"op":"crash"}')],
    '501': [request('BREW /healthz'), request('POST /compute', 'Transfer-Encoding: gzip, chunked\r\n')],
    '504': [post(b'{"op":"burn","ms":3000,"deadline_ms":100}')],
    '505': [b'GET /healthz HTTP/3.0\r\nHost: h\r\n\r\n'],
}
ELSEWHERE = {'408', '503'}   # below


def every_status_is_as_written(run):
    rows = table('HTTP')
    equal({row[0] for row in rows}, set(STATUSES) | ELSEWHERE, 'statuses of the page')
    with run.serve('--pool', '1', '--enable-test-ops') as server, collect('statuses') as wrong:
        for status, _, connection, _ in rows:
            for data in STATUSES.get(status, ()):
                judge(server, data[:60], data, status, connection, wrong)
    with run.serve('--pool', '1', '--max-connections', '2') as server, collect('statuses') as wrong:
        held = [Connection(server) for _ in range(2)]
        for raw in held:
            equal(raw.ask(HEALTH).status, 200, 'one of two')
        judge(server, 'one too many', HEALTH, '503', 'closes', wrong)
        for raw in held:
            raw.close()
    with Server(PEER, run.backend, '--head-ms', '300', '--body-ms', '300') as server, collect('statuses') as wrong:
        judge(server, 'half a head', b'GET /healthz HTTP/1.1\r\nHos', '408', 'closes', wrong)
        judge(server, 'half a body', request('POST /post', 'Content-Length: 10\r\n', b'half'), '408', 'closes', wrong)


def a_drain_closes_with_1001_and_goes(run):
    with run.serve('--pool', '1') as server:
        held = [WebSocket(server, path) for path in ('/echo', '/chat/r?name=ann', '/audio')]
        begin = time.monotonic()
        server.signal()
        for talk in held:
            equal(talk.close_code(), 1001, 'close code')
            talk.send_as_taken(close_frame(1001))
            talk.expect_end()
        check(time.monotonic() - begin < 10 * run.slack, 'a drain of seconds')
        equal(server.wait().status, 0, 'exit status')


if __name__ == '__main__':
    sys.exit(main(every_close_code_comes_as_written, every_refused_upgrade_is_as_written, every_status_is_as_written,
                  a_drain_closes_with_1001_and_goes))
