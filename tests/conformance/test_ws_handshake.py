#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The WebSocket handshake (RFC 6455, 4; RFC 9110, 7.8): what is upgraded, and what is told why not."""
import base64
import hashlib
import random
import sys

from talk import TEXT, Connection, Failed, WebSocket, check, collect, equal, frame, handshake, main

GUID = b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
FIELDS = {'Host': '127.0.0.1', 'Upgrade': 'websocket', 'Connection': 'Upgrade', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': KEY}
MORE, NO, BAD = {101}, {426}, {400}
HEAD_BYTES_MAX = 8 * 1024


def ask(line='GET /echo HTTP/1.1', more='', **changed):
    """A handshake with some fields changed, or with several values each on a line of its own, or (None) none."""
    fields = {name: changed.pop(name.replace('-', '_'), value) for name, value in FIELDS.items()}
    assert not changed, changed
    lines = [f'{name}: {one}\r\n' for name, value in fields.items() if value is not None
             for one in (value if isinstance(value, list) else [value])]
    return f'{line}\r\n{"".join(lines)}{more}\r\n'.encode('latin-1')


def good():
    """Upgraded."""
    yield 'as in the RFC', ask()
    for value in ('WebSocket', 'WEBSOCKET', ' websocket', 'websocket \t'):
        yield f'Upgrade: {value!r}', ask(Upgrade=value)
    for value in ('upgrade', 'UPGRADE', 'keep-alive, Upgrade', 'Upgrade, keep-alive', 'keep-alive,upgrade', 'x ,\tUpgrade , y', ', Upgrade,'):
        yield f'Connection: {value!r}', ask(Connection=value)
    yield 'Connection in two lines', ask(Connection=['keep-alive', 'Upgrade'])
    yield 'a key with blanks around it', ask(Sec_WebSocket_Key=f' \t{KEY} \t')
    yield 'a version with blanks around it', ask(Sec_WebSocket_Version=' 13 ')
    yield 'names in small letters', ask().lower().replace(b'get /echo http', b'GET /echo HTTP').replace(KEY.lower().encode(), KEY.encode())
    yield 'names in capitals', ask().replace(b'Sec-WebSocket-', b'SEC-WEBSOCKET-').replace(b'Host', b'HOST')
    for value in ('127.0.0.1:8080', 'example.com', '[::1]', '[::1]:80'):
        yield f'Host: {value}', ask(Host=value)
    for value in ('chat', 'chat, superchat', 'v1.chat, v2.chat', ['chat', 'superchat']):
        lines = ''.join(f'Sec-WebSocket-Protocol: {one}\r\n' for one in ([value] if isinstance(value, str) else value))
        yield f'protocols nobody speaks: {value}', ask(more=lines)
    for value in ('foo', 'foo; bar', 'foo; bar=1, baz; x="y"', 'x-webkit-deflate-frame', 'permessage-bzip2'):
        yield f'extensions nobody knows: {value}', ask(more=f'Sec-WebSocket-Extensions: {value}\r\n')
    for more in ('User-Agent: x\r\n', 'Cookie: a=b\r\n', 'X-Long: ' + 'x' * 4000 + '\r\n', 'Pragma: no-cache\r\nCache-Control: no-cache\r\n',
                 'Sec-Fetch-Mode: websocket\r\nSec-Fetch-Site: same-origin\r\n', 'Content-Length: 0\r\n'):
        yield f'with {more[:30]!r}', ask(more=more)
    for line in ('GET /echo?x=y HTTP/1.1', 'GET /echo? HTTP/1.1', 'GET /%65cho HTTP/1.1', 'GET http://127.0.0.1/echo HTTP/1.1'):
        yield line, ask(line)
    for number in range(20):
        key = base64.b64encode(random.Random(number).randbytes(16)).decode()
        yield f'the key {key}', ask(Sec_WebSocket_Key=key)
    yield 'a key with / and +', ask(Sec_WebSocket_Key='//////////////////////==')


def wrong():
    """Name, request, the statuses of which one is right. What lacks the wish to upgrade is 426, what is wrong in it 400."""
    yield 'no Upgrade', ask(Upgrade=None), NO
    yield 'no Connection', ask(Connection=None), NO
    yield 'no version', ask(Sec_WebSocket_Version=None), NO | BAD
    yield 'no key', ask(Sec_WebSocket_Key=None), BAD
    yield 'no Host', ask(Host=None), BAD
    yield 'nothing of it', b'GET /echo HTTP/1.1\r\nHost: h\r\n\r\n', NO
    for value in ('', 'h2c', 'web socket', 'websockets', 'websocke', 'web', 'TLS/1.0'):
        yield f'Upgrade: {value!r}', ask(Upgrade=value), NO | BAD
    for value in ('', 'close', 'keep-alive', 'Upgraded', 'xUpgrade', 'Up grade', 'Upgrade-Insecure', 'websocket'):
        yield f'Connection: {value!r}', ask(Connection=value), NO | BAD
    for value in ('', '0', '1', '7', '8', '12', '14', '130', '013', '13.0', '+13', '-13', '0x0d', '13;', '13, 13', '13 8', 'thirteen', '256',
                  '4294967309'):
        yield f'version {value!r}', ask(Sec_WebSocket_Version=value), NO | BAD
    yield 'two versions', ask(Sec_WebSocket_Version=['13', '8']), NO | BAD
    yield 'the version twice', ask(Sec_WebSocket_Version=['13', '13']), NO | BAD
    for value in ('', '=', '==', 'short', 'dGhlIHNhbXBsZSBub25jZQ', KEY[:-1], KEY + '=', KEY + KEY, KEY[:-2] + 'QQ==', KEY[:10] + ' ' + KEY[11:],
                  '!' + KEY[1:], KEY[:-3] + '===', '=' * 24, KEY[:21] + '-==', KEY[:21] + '_==', 'AAAAAAAAAAAAAAAAAAAAAAAA', KEY + ', ' + KEY,
                  f'"{KEY}"', base64.b64encode(bytes(15)).decode(), base64.b64encode(bytes(17)).decode(), 'A' * 3000,
                  KEY[:5] + '\xe9' + KEY[6:]):
        yield f'key {value[:40]!r} of {len(value)}', ask(Sec_WebSocket_Key=value), BAD
    yield 'the key twice', ask(Sec_WebSocket_Key=[KEY, KEY]), BAD
    yield 'two keys', ask(Sec_WebSocket_Key=[KEY, 'AAAAAAAAAAAAAAAAAAAAAA==']), BAD
    yield 'two Hosts', ask(Host=['a', 'b']), BAD
    yield 'the Host twice', ask(Host=['a', 'a']), BAD
    for value in ('a b', 'a/b', 'a@b', 'a\tb', 'http://a', '\xff'):
        yield f'Host: {value!r}', ask(Host=value), BAD
    for version in ('HTTP/1.0', 'HTTP/0.9', 'HTTP/2.0', 'HTTP/3', 'http/1.1', 'HTTP/1.1x', 'HTTP 1.1', 'HTTP/1', 'HTTP/11', ''):
        yield f'version {version!r}', ask(f'GET /echo {version}'), {400, 426, 505}
    for method in ('HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'CONNECT', 'TRACE', 'get', 'WEBSOCKET', 'GETX'):
        yield f'method {method}', ask(f'{method} /echo HTTP/1.1'), {400, 405, 426, 501}
    for line in ('GET  /echo HTTP/1.1', 'GET /echo  HTTP/1.1', ' GET /echo HTTP/1.1', 'GET /ec ho HTTP/1.1', 'GET HTTP/1.1', 'GET echo HTTP/1.1',
                 'GET /echo#part HTTP/1.1', 'GET /%zzecho HTTP/1.1'):
        yield f'line {line!r}', ask(line), BAD
    yield 'a line too long', ask('GET /echo?' + 'x' * HEAD_BYTES_MAX + ' HTTP/1.1'), {414, 431, 400}
    yield 'a field too long', ask(more='X: ' + 'x' * HEAD_BYTES_MAX + '\r\n'), {431}
    yield 'too many fields', ask(more='X: y\r\n' * HEAD_BYTES_MAX), {431}
    for more in ('Bad Name: x\r\n', 'Name : x\r\n', ': x\r\n', 'noname\r\n', 'X: a\0b\r\n', 'X: a\rb\r\n', 'X: y\r\n folded\r\n', 'X\xe9: y\r\n'):
        yield f'with {more!r}', ask(more=more), BAD
    yield 'bare line feeds', ask().replace(b'\r\n', b'\n'), BAD
    yield 'with a body in chunks', ask(more='Transfer-Encoding: chunked\r\n') + b'0\r\n\r\n', {101, 400}
    yield 'a path that is no WebSocket', ask('GET /healthz HTTP/1.1'), {200}
    yield 'a path that is nothing', ask('GET /nowhere HTTP/1.1'), {404}


def right_handshakes_are_upgraded(run):
    with run.serve('--pool', '1') as server, collect('handshakes') as bad:
        for name, request in good():
            for parts in ([request + frame(TEXT, b'hi')], [request[:20], request[20:], frame(TEXT, b'hi')],
                          [bytes([byte]) for byte in request + frame(TEXT, b'hi')][:500]):
                if b''.join(parts) != request + frame(TEXT, b'hi'):
                    continue
                try:
                    upgraded(server, request, parts)
                except (OSError, Failed, KeyError) as error:
                    bad.append(f'{name}: {error!r}')


def upgraded(server, request, parts):
    with Connection(server) as raw:
        raw.socket.settimeout(8 * server.slack)
        for part in parts:
            raw.send(part)
        answer = raw.answer()
        equal((answer.version, answer.status), ('HTTP/1.1', 101), 'status')
        lines = request.decode('latin-1').split('\r\n')
        key = next(line.split(':', 1)[1].strip() for line in lines if line.lower().startswith('sec-websocket-key:'))
        accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
        equal(answer.fields['sec-websocket-accept'], accept, 'Sec-WebSocket-Accept')
        equal(answer.fields['upgrade'].lower(), 'websocket', 'Upgrade')
        equal(answer.fields['connection'].lower(), 'upgrade', 'Connection')
        for name in ('sec-websocket-protocol', 'sec-websocket-extensions', 'content-length', 'transfer-encoding'):
            check(name not in answer.fields, f'{name}: {answer.fields.get(name)}')
        raw.__class__ = WebSocket
        raw.expect_message(b'hi', TEXT)
        raw.leave()


def wrong_handshakes_are_told_why(run):
    with run.serve('--pool', '1') as server, collect('handshakes') as bad:
        for name, request, statuses in wrong():
            try:
                refused(server, request, statuses)
            except (OSError, Failed, KeyError, ValueError) as error:
                bad.append(f'{name}: {error!r}')


def refused(server, request, statuses):
    with Connection(server) as raw:
        raw.socket.settimeout(8 * server.slack)
        raw.send_as_taken(request)
        answer = raw.answer('HEAD' if request.startswith(b'HEAD') else 'GET')
        check(answer.status in statuses, f'expected {statuses}, found {answer}')
        if answer.status == 426:
            equal(answer.fields['upgrade'].lower(), 'websocket', 'Upgrade')
            equal(answer.fields.get('sec-websocket-version', '13'), '13', 'Sec-WebSocket-Version')
        if b'Version: 8\r\n' in request or b'Version: 14\r\n' in request:   # 4.2.2: it MUST say which ones it supports
            equal(answer.fields.get('sec-websocket-version'), '13', 'Sec-WebSocket-Version')
        check(answer.status == 101 or 'sec-websocket-accept' not in answer.fields, 'it accepts and does not')


def an_offer_to_upgrade_says_so_twice(run):
    """RFC 9110, 7.8: who sends Upgrade sends `Connection: Upgrade` as well, or intermediaries would pass it on."""
    with run.serve('--pool', '1') as server:
        for request in (ask(Upgrade=None), ask(Sec_WebSocket_Version='8')):
            with Connection(server) as raw:
                answer = raw.ask(request)
                check('upgrade' in answer.fields.get('connection', '').lower(), f'{answer}')


def a_refused_one_may_try_again(run):
    """426 does not end the connection; the next request on it is another."""
    with run.serve('--pool', '1') as server, Connection(server) as raw:
        for _ in range(3):
            equal(raw.ask(ask(Sec_WebSocket_Version='8')).status, 426, 'version 8')
            equal(raw.ask(b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n').body, b'ok', 'the request behind it')
        raw.send(handshake())
        raw.__class__ = WebSocket
        raw.expect_upgrade()
        raw.leave()


if __name__ == '__main__':
    sys.exit(main(right_handshakes_are_upgraded, wrong_handshakes_are_told_why,
                  an_offer_to_upgrade_says_so_twice, a_refused_one_may_try_again))
