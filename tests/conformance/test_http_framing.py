#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""HTTP/1 on the wire (RFC 9110, RFC 9112): bytes in, the statuses that come out, and whether the connection lives on.

What two parties might read differently is where requests are smuggled: each such shape must be refused, and the connection
must end, so that nothing behind it is taken for a request.
"""
import collections
import sys

from talk import Connection, Failed, check, collect, main

Case = collections.namedtuple('Case', 'name data statuses lives')
BODY = b'{"op":"primes","n":10}'
HEALTH = b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n'
SMUGGLED = b'GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n'   # a 404 would be its trace
ENDS = ('closes',)
OK, BAD, LARGE = {200}, {400}, {413}
REFUSED = {400, 501}
LINE = {400, 501, 505}       # a line that is wrong may also look like one with an unknown method or version


def lives(name, data, *statuses):
    return Case(name, data, [one if isinstance(one, set) else {one} for one in statuses], True)


def ends(name, data, *statuses):
    return Case(name, data, [one if isinstance(one, set) else {one} for one in statuses], False)


def get(fields='', line='GET /healthz HTTP/1.1', host='Host: h\r\n'):
    return f'{line}\r\n{host}{fields}\r\n'.encode('latin-1')


def post(fields, body=b'', line='POST /compute HTTP/1.1'):
    return f'{line}\r\nHost: h\r\n{fields}\r\n'.encode('latin-1') + body


def chunked(*chunks, last=b'0\r\n\r\n'):
    return b''.join(b'%x\r\n%s\r\n' % (len(chunk), chunk) for chunk in chunks) + last


def request_lines():
    """RFC 9112, 3."""
    for line in ('GET /healthz HTTP/1.1', 'GET /healthz?a=b&c=d HTTP/1.1', 'GET /healthz? HTTP/1.1', 'GET /%68ealthz HTTP/1.1',
                 'GET http://h/healthz HTTP/1.1', 'GET http://h:80/healthz HTTP/1.1', 'GET HTTP://h/healthz HTTP/1.1',
                 'GET https://h/healthz HTTP/1.1', 'GET /healthz?/../x HTTP/1.1', 'GET /healthz?a=%zz HTTP/1.1'):
        yield lives(f'line {line}', get(line=line), OK)
    yield lives('an empty line before', b'\r\n' + HEALTH, 200)
    yield lives('no path but a query', get(line='GET http://h?x HTTP/1.1'), {200, 400, 404})
    yield lives('an absolute form without a path', get(line='GET http://h HTTP/1.1'), 200)
    yield ends('version 1.0', get(line='GET /healthz HTTP/1.0'), 200)
    yield lives('version 1.0, keep-alive', get('Connection: keep-alive\r\n', 'GET /healthz HTTP/1.0'), 200)
    yield ends('version 1.0 without Host', get(line='GET /healthz HTTP/1.0', host=''), 200)
    for line in ('GET  /healthz HTTP/1.1', 'GET /healthz  HTTP/1.1', ' GET /healthz HTTP/1.1', 'GET /healthz HTTP/1.1 ', 'GET /heal thz HTTP/1.1',
                 'GET\t/healthz\tHTTP/1.1', 'GET /healthz\tHTTP/1.1', 'GET\v/healthz HTTP/1.1', 'GET /healthz\r HTTP/1.1', 'GET /healthz',
                 'GET', '/healthz HTTP/1.1', 'GET HTTP/1.1', 'GET /healthz HTTP', 'GET /healthz HTTP/', 'GET /healthz HTTP/1', 'GET /healthz HTTP/1.',
                 'GET /healthz HTTP/1.1.1', 'GET /healthz HTTP/01.1', 'GET /healthz HTTP/1.01', 'GET /healthz http/1.1', 'GET /healthz HTTP/1.x',
                 'GET /healthz HTTP/ 1.1', 'GET /healthz HTTPS/1.1', 'GET /healthz FTP/1.1', 'G\0T /healthz HTTP/1.1', 'GET /hea\0lthz HTTP/1.1',
                 'GET /hea\x7flthz HTTP/1.1', 'GET /hea\x01lthz HTTP/1.1', 'GET healthz HTTP/1.1', 'GET ../healthz HTTP/1.1', 'GET  HTTP/1.1',
                 'GET /healthz#x HTTP/1.1', 'G(T /healthz HTTP/1.1', 'GET: /healthz HTTP/1.1', 'G\xc9T /healthz HTTP/1.1', 'GET h:80 HTTP/1.1',
                 'GET * HTTP/1.1', 'GET \\healthz HTTP/1.1'):
        yield ends(f'line {line!r}', get(line=line) + SMUGGLED, LINE)
    for line in ('GET /healthz HTTP/2.0', 'GET /healthz HTTP/3.0', 'GET /healthz HTTP/0.9', 'GET /healthz HTTP/9.9', 'GET /healthz HTTP/1.2'):
        yield ends(f'line {line!r}', get(line=line) + SMUGGLED, {400, 505} if '1.2' not in line else {200, 400, 505})
    yield ends('a line too long', get(line='GET /' + 'x' * 9000 + ' HTTP/1.1'), {414, 431})
    yield ends('a method too long', get(line='G' * 9000 + ' / HTTP/1.1'), {400, 414, 431, 501})
    for method in ('BREW', 'get', 'PROPFIND', 'X-Y', 'A'):
        yield Case(f'method {method}', get('Content-Length: 0\r\n', f'{method} /healthz HTTP/1.1'), [{400, 405, 501}], None)
    yield Case('CONNECT', get(line='CONNECT h:80 HTTP/1.1'), [{400, 405, 501}], None)
    yield Case('TRACE', get(line='TRACE /healthz HTTP/1.1'), [{400, 405, 501}], None)
    yield Case('OPTIONS *', get(line='OPTIONS * HTTP/1.1'), [{200, 204, 400, 404, 405}], None)


def hosts():
    """RFC 9112, 3.2: a request without Host, with two, or with an invalid one MUST be answered 400."""
    for value in ('h', 'example.com', 'example.com:80', '127.0.0.1', '127.0.0.1:8080', '[::1]', '[::1]:80', '[2001:db8::1]:443', 'a-b_c.d~e',
                  'xn--bcher-kva.example', '%41', "!$&'()*+,;=", 'h:'):
        yield lives(f'Host {value}', get(host=f'Host: {value}\r\n'), 200)
    yield lives('Host without blank', get(host='Host:h\r\n'), 200)
    yield lives('Host with blanks', get(host='Host: \t h \t \r\n'), 200)
    yield ends('no Host', get(host='') + SMUGGLED, 400)
    yield ends('Host twice', get(host='Host: h\r\nHost: h\r\n') + SMUGGLED, 400)
    yield ends('two Hosts', get(host='Host: h\r\nHost: i\r\n') + SMUGGLED, 400)
    yield ends('two Hosts, apart', get(host='Host: h\r\nX: y\r\nhOST: i\r\n') + SMUGGLED, 400)
    yield ends('absolute form and no Host', get(line='GET http://h/healthz HTTP/1.1', host='') + SMUGGLED, 400)
    for value in ('a b', 'a/b', 'a\\b', 'user@h', 'a?b', 'a#b', 'http://h', '[::1', '::1', ']', 'a:b', 'a:1:2', 'a:port', 'h:-1', 'h: 80', '%zz',
                  '%4', 'a"b', 'a<b', 'a^b', 'a`b', 'a{b', 'a|b', 'h\xe9', '[::1]x', 'h:99999999999999', '[', '[]'):
        yield ends(f'Host {value}', get(host=f'Host: {value}\r\n') + SMUGGLED, 400)


def fields():
    """RFC 9112, 5."""
    for more in ('X: y\r\n', 'X:y\r\n', 'X:\r\n', 'X:  \t y \t \r\n', 'X: a\tb\r\n', 'X: \xe9\xff\r\n', "!#$%&'*+-.^_`|~09azAZ: y\r\n", 'X: y\r\nX: y\r\n',
                 'X: "quoted \\" one"\r\n', 'X: :y:\r\n', 'X: ' + 'y' * 4000 + '\r\n', 'Accept: */*\r\n' * 50):
        yield lives(f'field {more[:30]!r}', get(more), 200)
    for more in (' X: y\r\n', '\tX: y\r\n', 'X : y\r\n', 'X\t: y\r\n', 'X y: z\r\n', ': y\r\n', 'X\r\n', 'X\r\nY: z\r\n', 'X: y\r\n z\r\n', 'X: y\r\n\tz\r\n',
                 'X: y\r\n \r\n', 'X: a\0b\r\n', 'X: a\rb\r\n', 'X: a\x01b\r\n', 'X: a\x7fb\r\n', 'X: a\vb\r\n', 'X: a\x1bb\r\n', 'X\0: y\r\n', 'X(y): z\r\n',
                 'X\xe9: y\r\n', '"X": y\r\n', 'X/Y: z\r\n', 'X[0]: z\r\n', 'X{y}: z\r\n', 'X@y: z\r\n', 'X: y\r\r\n', 'X: y\n', '\rX: y\r\n', 'X;: y\r\n',
                 'X,: y\r\n', 'X=: y\r\n', 'X\\: y\r\n', 'X<: y\r\n'):
        yield ends(f'field {more!r}', get(more) + SMUGGLED, 400)
    yield ends('a field too long', get('X: ' + 'y' * 9000 + '\r\n'), 431)
    yield ends('a name too long', get('X' * 9000 + ': y\r\n'), 431)
    yield ends('a thousand fields', get('X: y\r\n' * 2000), 431)
    yield ends('bare line feeds', HEALTH.replace(b'\r\n', b'\n') + SMUGGLED, 400)
    yield ends('a bare line feed at the end', get()[:-2] + b'\n' + SMUGGLED, 400)
    yield ends('a bare line feed behind the line', HEALTH.replace(b'\r\n', b'\n', 1) + SMUGGLED, 400)
    yield ends('bare carriage returns', HEALTH.replace(b'\r\n', b'\r') + SMUGGLED, LINE)
    yield ends('CR CR LF', HEALTH.replace(b'\r\n', b'\r\r\n') + SMUGGLED, LINE)
    yield ends('a byte order mark', b'\xef\xbb\xbf' + HEALTH + SMUGGLED, 400)
    yield ends('zeroes', bytes(100), 400)
    yield ends('a TLS hello', b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + bytes(50), 400)
    yield ends('a response', b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n' + SMUGGLED, LINE)
    for value, stays in (('close', False), ('CLOSE', False), ('keep-alive, close', False), ('x, close', False), ('keep-alive', True), ('closed', True),
                         ('x', True), ('', True)):
        yield (lives if stays else ends)(f'Connection {value!r}', get(f'Connection: {value}\r\n'), 200)
    yield ends('Connection in two lines', get('Connection: keep-alive\r\nConnection: close\r\n') + SMUGGLED, 200)


def lengths():
    """RFC 9112, 6.2 and 6.3."""
    size = len(BODY)
    yield lives('a body', post(f'Content-Length: {size}\r\n', BODY), 200)
    yield lives('a length with zeroes', post(f'Content-Length: 000{size}\r\n', BODY), {200, 400})
    yield lives('a length with blanks', post(f'Content-Length: \t {size} \t\r\n', BODY), 200)
    yield lives('an empty body', post('Content-Length: 0\r\n'), 400)
    yield lives('no body', post(''), {400, 411})
    yield lives('a body for GET', get(f'Content-Length: {size}\r\n') + BODY, 200)
    yield lives('a body that looks like a request', get(f'Content-Length: {len(SMUGGLED)}\r\n') + SMUGGLED, 200)
    for value in ('-1', '+22', '-0', '+0', '0x16', '22x', 'x22', '2 2', '22 22', '22,22', '22, 22', '22, 23', '22;', '', ' ', '22.0', '2e1', '1_0',
                  '"22"', '\xb2\xb2', '99999999999999999999999', '18446744073709551616', '18446744073709551638', '9223372036854775808', '4294967318x',
                  '22\t22', '0b10', '0o26', '22\0', 'two'):
        identical = value in ('22,22', '22, 22', '22 22')
        yield Case(f'length {value!r}', post(f'Content-Length: {value}\r\n', BODY + SMUGGLED),
                   [{400, 413} if value.isdigit() or identical else BAD], False)
    yield ends('two lengths', post('Content-Length: 22\r\nContent-Length: 23\r\n', BODY + SMUGGLED), 400)
    yield ends('two lengths, the second 0', post('Content-Length: 22\r\nContent-Length: 0\r\n', BODY + SMUGGLED), 400)
    yield ends('the length twice', post('Content-Length: 22\r\nContent-Length: 22\r\n', BODY + SMUGGLED), 400)
    for length in ('65537', '4294967296', '4294967318', '9223372036854775807'):
        yield ends(f'a length of {length}', post(f'Content-Length: {length}\r\n', BODY), 413)
    for name in ('Content-Length ', 'Content_Length', 'Content\xadLength', 'Content Length', '\x0bContent-Length', 'Content-Length\0'):
        data = post(f'{name}: {size}\r\n', BODY + SMUGGLED)
        yield ends(f'length called {name!r}', data, BAD) if name != 'Content_Length' else ends(f'length called {name!r}', data, {400, 411}, BAD)


def encodings():
    """RFC 9112, 6.1 and 7.1."""
    size = len(BODY)
    te = 'Transfer-Encoding: chunked\r\n'
    good = chunked(BODY)
    yield lives('one chunk', post(te, good), 200)
    yield lives('a chunk for each byte', post(te, chunked(*[BODY[at:at + 1] for at in range(size)])), 200)
    yield lives('capitals', post('Transfer-Encoding: CHUNKED\r\n', good), 200)
    yield lives('blanks around', post('Transfer-Encoding: \t chunked \t\r\n', good), 200)
    yield lives('sizes in capitals and with zeroes', post(te, b'00016\r\n' + BODY + b'\r\n0\r\n\r\n'), 200)
    yield lives('many zeroes at the end', post(te, b'16\r\n' + BODY + b'\r\n000\r\n\r\n'), 200)
    for extension in (b';x', b';x=y', b';x="y z"', b';x=y;z', b';x="a\\"b"', b' ;x=y', b'; x=y'):
        yield lives(f'extension {extension!r}', post(te, b'16%s\r\n%s\r\n0\r\n\r\n' % (extension, BODY)), {200, 400} if b' ' in extension else OK)
    for trailer in (b'T: 1\r\n', b'T: 1\r\nU: 2\r\n', b'T:\r\n'):
        yield lives(f'trailer {trailer!r}', post(te, b'16\r\n' + BODY + b'\r\n0\r\n' + trailer + b'\r\n'), 200)
    yield lives('an empty body in chunks', post(te, b'0\r\n\r\n'), 400)
    for bad in (b'x\r\n', b'-16\r\n', b'+16\r\n', b'0x16\r\n', b'16x\r\n', b' 16\r\n', b'\r\n16\r\n', b'16\n', b'16\r', b'16\r\r\n', b'1 6\r\n',
                b'16;\n', b'16;x\ny\r\n', b'16;\0\r\n', b'16;x=\r y\r\n', b'g\r\n', b'\xb2\r\n', b'16,\r\n', b'16:\r\n', b'10000000000000016\r\n',
                b'fffffffffffffffff\r\n', b'ffffffffffffffff\r\n', b'8000000000000016\r\n', b'"16"\r\n', b';x\r\n'):
        yield Case(f'size {bad!r}', post(te, bad + BODY + b'\r\n0\r\n\r\n' + SMUGGLED), [{400, 413} if bad[0] in b'f8' else BAD], False)
    for end in (b'\n0\r\n\r\n', b'\r0\r\n\r\n', b'0\r\n\r\n', b'xx0\r\n\r\n', b'\r\n\r\n0\r\n\r\n', b'\r\n0\n\r\n', b'\r\n0\r\n\n', b'\n0\n\n', b'\r\n0\r\n\r\r\n',
                b'x\r\n0\r\n\r\n'):
        yield ends(f'chunk that ends with {end!r}', post(te, b'16\r\n' + BODY + end + SMUGGLED), 400)
    for trailer in (b'T : 1\r\n', b' T: 1\r\n', b'T\r\n', b'T: a\0b\r\n', b': 1\r\n', b'T: 1\n', b'T: 1\r\n 2\r\n'):
        yield ends(f'trailer {trailer!r}', post(te, b'16\r\n' + BODY + b'\r\n0\r\n' + trailer + b'\r\n' + SMUGGLED), 400)
    for name in ('Content-Length: 5', 'Transfer-Encoding: chunked', 'Host: evil', 'Content-Type: x'):   # dropped or refused, never obeyed
        yield Case(f'trailer {name}', post(te, b'16\r\n' + BODY + f'\r\n0\r\n{name}\r\n\r\n'.encode()), [{200, 400}], None)
    for value in ('gzip', 'chunked, gzip', 'gzip, chunked', 'chunked, chunked', 'identity', 'chunked, identity', 'identity, chunked', 'x', 'xchunked',
                  'chunkedx', 'chunk', '', ',', 'chunked;x=y', '"chunked"', 'chunked chunked', 'chunked\x0b', '\x0bchunked', 'chunked\0', '\0chunked',
                  'ch\xfcnked', 'chunked,', ',chunked', 'cow, chunked', "'chunked'", 'chunked\x85', '\xa0chunked'):
        lenient = {200} if value in ('chunked,', ',chunked') else set()   # empty elements of a list are nothing
        yield Case(f'coding {value!r}', post(f'Transfer-Encoding: {value}\r\n', good + SMUGGLED), [REFUSED | lenient],
                   None if lenient else False)
    yield ends('coding in two lines', post(te + te, good + SMUGGLED), REFUSED)
    yield ends('coding in two lines, the last another', post(te + 'Transfer-Encoding: x\r\n', good + SMUGGLED), REFUSED)
    yield ends('coding in two lines, the first another', post('Transfer-Encoding: x\r\n' + te, good + SMUGGLED), REFUSED)
    yield ends('coding and length', post(te + f'Content-Length: {len(good)}\r\n', good + SMUGGLED), 400)
    yield ends('length and coding', post(f'Content-Length: {len(good)}\r\n' + te, good + SMUGGLED), 400)
    yield ends('length 0 and coding', post('Content-Length: 0\r\n' + te, good + SMUGGLED), 400)
    yield ends('coding identity and length', post(f'Transfer-Encoding: identity\r\nContent-Length: {size}\r\n', BODY + SMUGGLED), REFUSED)
    yield ends('coding in HTTP/1.0', post(te, good + SMUGGLED, 'POST /compute HTTP/1.0'), REFUSED)
    for name in ('Transfer-Encoding ', 'Transfer\x0bEncoding', 'Transfer Encoding', ' Transfer-Encoding', '\tTransfer-Encoding', 'Transfer-Encoding\0',
                 'Transfer-Encoding\t', '\x0bTransfer-Encoding', 'Transfer-Encoding:'):
        data = post(f'{name}: chunked\r\nContent-Length: {len(good)}\r\n', good + SMUGGLED)
        yield ends(f'coding called {name!r}', data, REFUSED)
    yield ends('coding folded', post('Transfer-Encoding:\r\n chunked\r\n', good + SMUGGLED), REFUSED)
    yield ends('coding behind a fold', post('X: y\r\n Transfer-Encoding: chunked\r\n', good + SMUGGLED), REFUSED)
    yield ends('coding behind a bare CR', post('X: y\rTransfer-Encoding: chunked\r\n', good + SMUGGLED), REFUSED)
    yield ends('coding behind a bare LF', post('X: y\nTransfer-Encoding: chunked\r\n', good + SMUGGLED), REFUSED)
    yield ends('too much in chunks', post(te, chunked(*[b'x' * 60000] * 3)), 413)


def many():
    """Pipelines; Expect; HEAD."""
    yield lives('a hundred requests', HEALTH * 100, *[200] * 100)
    yield lives('bodies in between', (post('Content-Length: 22\r\n', BODY) + HEALTH + SMUGGLED) * 10, *[200, 200, 404] * 10)
    yield lives('chunks in between', (post('Transfer-Encoding: chunked\r\n', chunked(BODY)) + HEALTH) * 10, *[200] * 20)
    yield ends('one in the middle says close', HEALTH + get('Connection: close\r\n') + SMUGGLED, 200, 200)
    yield ends('one in the middle is wrong', HEALTH * 3 + get('X : y\r\n') + SMUGGLED, 200, 200, 200, 400)
    yield ends('HTTP/1.0 in the middle', HEALTH + get(line='GET /healthz HTTP/1.0') + SMUGGLED, 200, 200)
    yield lives('an empty line between', HEALTH + b'\r\n' + HEALTH, 200, 200)
    yield lives('HEAD between', get(line='HEAD / HTTP/1.1') + HEALTH, ('head', 200), 200)
    yield lives('Expect with the body', post('Expect: 100-continue\r\nContent-Length: 22\r\n', BODY), ('maybe', 100), 200)
    yield lives('EXPECT in capitals', post('Expect: 100-CONTINUE\r\nContent-Length: 22\r\n', BODY), ('maybe', 100), 200)
    yield ends('Expect in HTTP/1.0', post('Expect: 100-continue\r\nContent-Length: 22\r\n', BODY, 'POST /compute HTTP/1.0'), 200)
    for value in ('miracles', '100-continue, x', '200-ok', ''):
        yield Case(f'Expect {value!r}', post(f'Expect: {value}\r\nContent-Length: 22\r\n', BODY), [{417, 400}], None)


def tried(server, case, parts):
    """Sends the parts, compares the statuses, and asks once more or expects the end."""
    with Connection(server) as raw:
        raw.socket.settimeout(8 * server.slack)
        for part in parts:
            raw.send_as_taken(part)
        for number, wanted in enumerate(case.statuses):
            special = next(iter(wanted))
            if isinstance(special, tuple):
                kind, wanted = special[0], {special[1]}
                if kind == 'maybe' and not peeks(raw, b'HTTP/1.1 100'):
                    continue
                answer = raw.answer('HEAD' if kind == 'head' else 'GET')
            else:
                answer = raw.answer()
            check(answer.status in wanted, f'answer {number + 1}: expected {wanted}, found {answer.status} {answer.body[:100]!r}')
        if case.lives is None:
            raw.send_as_taken(b'')
        elif case.lives:
            answer = raw.ask(HEALTH)
            check((answer.status, answer.body) == (200, b'ok'), f'then {answer}')
        else:
            while not raw.pending and raw.fill():
                pass
            check(not raw.pending, f'an answer where the connection should have ended: {raw.pending[:100]!r}')


def peeks(raw, begin):
    while len(raw.pending) < len(begin):
        check(raw.fill(), 'the connection ended')
    return raw.pending.startswith(begin)


def table_is_kept(table, run):
    cases = list(table())
    names = {case.name for case in cases}
    check(len(names) == len(cases), f'two cases have one name: {[c.name for c in cases if [d.name for d in cases].count(c.name) > 1]}')
    with run.serve('--pool', '1') as server, collect(f'{len(cases)} requests') as wrong:
        for case in cases:
            for how, parts in (('whole', [case.data]), ('bytes', [bytes([byte]) for byte in case.data])):
                if how == 'bytes' and len(case.data) > 3000:
                    continue
                try:
                    tried(server, case, parts)
                except (OSError, Failed, KeyError, ValueError) as error:
                    wrong.append(f'{case.name}: {how}: {error!r}')
        run.note(f'{len(cases)} requests, each whole and byte by byte')


def request_lines_are_strict(run):
    table_is_kept(request_lines, run)


def hosts_are_one_and_valid(run):
    table_is_kept(hosts, run)


def fields_are_strict(run):
    table_is_kept(fields, run)


def lengths_are_one_and_plain(run):
    table_is_kept(lengths, run)


def encodings_are_chunked_or_refused(run):
    table_is_kept(encodings, run)


def many_requests_are_answered_in_order(run):
    table_is_kept(many, run)


if __name__ == '__main__':
    sys.exit(main(request_lines_are_strict, hosts_are_one_and_valid, fields_are_strict, lengths_are_one_and_plain,
                  encodings_are_chunked_or_refused, many_requests_are_answered_in_order))
