#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""HTTP: every endpoint and status of the contract, through http.client, curl, wrk, and bytes by hand."""
import http.client
import json
import re
import resource
import socket
import subprocess
import sys

from raw import Connection, handshake
from runner import main
from server import Failed, check, environment, equal, wait_until

JSON = 'application/json'
HEAD_BYTES_MAX = 8 * 1024     # of the request head, and
BODY_BYTES_MAX = 64 * 1024    # of a body: include/tandem/http.h


def curl(*args, body=b''):
    """Returns status, body, and what -v says."""
    command = ['curl', '-sS', '-v', '--max-time', '20', '-w', '\n%{http_code}', *map(str, args)]
    done = subprocess.run(command, input=body, capture_output=True)
    check(done.returncode == 0, f'{command}: curl exits with {done.returncode}: {done.stderr.decode()}')
    answer, status = done.stdout.rsplit(b'\n', 1)
    return int(status), answer, done.stderr.decode(errors='replace')


def is_error(answer, status):
    """The body of an error is a JSON object with a sentence."""
    equal(answer.status, status, 'status')
    equal(answer.fields['Content-Type'], JSON, 'type of an error')
    error = json.loads(answer.body)['error']
    check(isinstance(error, str) and error, f'no sentence: {answer.body!r}')
    return answer


def each_get_endpoint_answers(run):
    with run.serve('--pool', '1') as server:
        page = server.get('/')
        equal(page.status, 200, 'status of /')
        check(page.fields['Content-Type'].startswith('text/html'), 'the page is no HTML')
        check(page.body.lower().startswith(b'<!doctype html>'), 'the page is no HTML')
        for path in ('/healthz', '/readyz', '/healthz?verbose=1'):
            equal(server.get(path)[0::2], (200, b'ok'), path)
        metrics = server.get('/metrics')
        equal(metrics.status, 200, 'status of /metrics')
        check(metrics.fields['Content-Type'].startswith('text/plain; version=0.0.4'), metrics.fields['Content-Type'])
        for answer in (page, metrics):
            equal(int(answer.fields['Content-Length']), len(answer.body), 'Content-Length')
            check(re.fullmatch(r'\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT', answer.fields['Date']), answer.fields['Date'])


def head_answers_as_get_without_a_body(run):
    with run.serve('--pool', '1') as server:
        for path in ('/', '/healthz', '/readyz', '/nowhere'):
            get, head = server.get(path), server.request('HEAD', path)
            equal(head.status, get.status, f'status of HEAD {path}')
            equal(head.body, b'', f'body of HEAD {path}')
            for name in ('Content-Length', 'Content-Type'):
                equal(head.fields[name], get.fields[name], f'{name} of HEAD {path}')
        equal(server.request('HEAD', '/metrics').status, 200, 'status of HEAD /metrics')
        with Connection(server) as raw:   # no byte of a body disturbs the next answer
            raw.send(b'HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n')
            equal(raw.answer('HEAD').status, 200, 'HEAD')
            equal(raw.answer().body, b'ok', 'the answer behind that of HEAD')


def unknown_paths_are_404(run):
    with run.serve('--pool', '1') as server:
        for path in ('/nowhere', '/healthz/', '/Healthz', '/compute/x', '/chat', '/..', '//', '/chats/a', '/metrics%20'):
            is_error(server.get(path), 404)
        is_error(server.request('POST', '/nowhere', '{}'), 404)
        equal(server.get('/%68ealthz').status, 200, 'an escaped letter')


def wrong_methods_are_405_with_allow(run):
    with run.serve('--pool', '1') as server:
        for method in ('POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'):
            for path in ('/', '/healthz', '/readyz', '/metrics', '/echo', '/chat/r', '/audio'):
                answer = is_error(server.request(method, path, b''), 405)
                check('GET' in answer.fields['Allow'], f'Allow: {answer.fields["Allow"]} of {path}')
        for method in ('GET', 'HEAD', 'PUT', 'DELETE'):
            answer = server.request(method, '/compute')
            equal((answer.status, answer.fields['Allow']), (405, 'POST'), f'{method} /compute')


def bad_compute_bodies_are_400(run):
    wrong = [b'', b'{', b'[]', b'"primes"', b'7', b'null', b'{}', b'\xff\xfe', b'{"op":"primes","n":10}x', b'\0',
             b'{"op":"primes","op":"burn","n":1}', b'{"op":"primes"}', b'{"op":"primes","n":"10"}',
             b'{"op":"primes","n":1.5}', b'{"op":"primes","n":-1}', b'{"op":"primes","n":1e30}',
             b'{"op":"primes","n":99999999999999999999}', b'{"op":"primes","n":10000000001}', b'{"op":"primes","n":null}',
             b'{"op":"burn"}', b'{"op":"burn","n":5}', b'{"op":"burn","ms":-5}', b'{"op":"burn","ms":60001}',
             b'{"op":"burn","ms":[1]}', b'{"op":"cook","n":1}', b'{"op":"","n":1}', b'{"op":null,"n":1}',
             b'{"op":["primes"],"n":1}', b'{"op":"primes\\u0000","n":1}', b'{"op":"Primes","n":1}',
             b'{"op":"crash"}', b'{"op":"hang"}',   # without --enable-test-ops
             b'{"op":"primes","n":10,"deadline_ms":0}', b'{"op":"primes","n":10,"deadline_ms":-3}',
             b'{"op":"primes","n":10,"deadline_ms":"5"}', b'{"op":"primes","n":10,"deadline_ms":1.5}',
             b'{"op":"primes","n":10,"deadline_ms":99999999999}', b'[' * 30000, b'{"a":' * 10000]
    with run.serve('--pool', '1') as server:
        for body in wrong:
            try:
                is_error(server.request('POST', '/compute', body), 400)
            except Failed as error:
                raise Failed(f'{body[:60]!r}: {error}') from None
        equal(server.metrics().jobs('ok'), 0, 'jobs after nothing but bad requests')
        equal(server.compute('primes', n=10, more='is ignored').body['value'], 4, 'a good one afterwards')


def what_is_too_large_is_413_414_431(run):
    with run.serve('--pool', '1') as server:
        just = json.dumps({'op': 'primes', 'n': 10}).ljust(BODY_BYTES_MAX)
        equal(server.request('POST', '/compute', just).status, 200, f'a body of {BODY_BYTES_MAX} bytes')
        for body in (just + ' ', just * 100):
            status, answer, _ = curl('-H', 'Expect:', '--data-binary', '@-', server.url('/compute', 'http'),
                                     body=body.encode())
            equal(status, 413, 'status for too large a body')
            check(json.loads(answer)['error'], 'no sentence')
        with Connection(server) as raw:   # chunked, so that nothing announces it
            raw.send(b'POST /compute HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n')
            raw.send_as_taken(b'4000\r\n' + b' ' * 0x4000 + b'\r\n')
            raw.send_as_taken((b'4000\r\n' + b' ' * 0x4000 + b'\r\n') * 4)
            equal(raw.answer().status, 413, 'status for too many chunks')
            raw.expect_end()
        status, _, _ = curl('-H', 'X-Long: ' + 'x' * HEAD_BYTES_MAX, server.url('/healthz', 'http'))
        equal(status, 431, 'status for too long a field')
        many = [part for i in range(101) for part in ('-H', f'X-{i}: 1')]
        equal(curl(*many, server.url('/healthz', 'http'))[0], 431, 'status for too many fields')
        equal(curl(server.url('/' + 'x' * HEAD_BYTES_MAX, 'http'))[0], 414, 'status for too long a target')
        equal(curl('-H', 'X-Long: ' + 'x' * 6000, server.url('/healthz', 'http'))[0], 200, 'a field of 6,000 bytes')


def malformed_requests_are_400_and_the_connection_ends(run):
    fine = b'Host: h\r\n\r\n'
    wrong = {b'GARBAGE\r\n\r\n': {400, 501}, b'GET /healthz\r\n\r\n': {400, 505}, b'GET  /healthz HTTP/1.1\r\n' + fine: {400},
             b'GET /healthz HTTP/1.1\r\n\r\n': {400}, b'GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n': {400},
             b'GET /healthz HTTP/1.1\r\nX : 1\r\n' + fine: {400}, b'GET /healthz HTTP/1.1\r\nX\r\n' + fine: {400},
             b'GET /healthz HTTP/1.1\r\n X: folded\r\n' + fine: {400}, b'GET /healthz HTTP/2.0\r\n' + fine: {400, 505},
             b'GET /healthz HTTP/1.1\r\nX: a\0b\r\n' + fine: {400}, b'GET /heal\0thz HTTP/1.1\r\n' + fine: {400},
             b'GET /%zz HTTP/1.1\r\n' + fine: {400}, b'GET /%00 HTTP/1.1\r\n' + fine: {400}, b'GET /% HTTP/1.1\r\n' + fine: {400},
             b'GET healthz HTTP/1.1\r\n' + fine: {400}, b'COOK /healthz HTTP/1.1\r\n' + fine: {400, 405, 501},
             b'POST /compute HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n' + fine + b'{}': {400},
             b'POST /compute HTTP/1.1\r\nContent-Length: -2\r\n' + fine: {400},
             b'POST /compute HTTP/1.1\r\nContent-Length: 2x\r\n' + fine: {400},
             b'POST /compute HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n' + fine: {400, 413},
             b'POST /compute HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n' + fine + b'2\r\n{}\r\n0\r\n\r\n': {400},
             b'POST /compute HTTP/1.1\r\nTransfer-Encoding: gzip\r\n' + fine: {400, 501},
             b'POST /compute HTTP/1.1\r\nTransfer-Encoding: chunked\r\n' + fine + b'zz\r\n{}\r\n0\r\n\r\n': {400},
             b'POST /compute HTTP/1.1\r\nExpect: miracles\r\nContent-Length: 2\r\n' + fine + b'{}': {417},
             b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03': {400}}   # a TLS client at the wrong door
    with run.serve('--pool', '1') as server:
        for request, statuses in wrong.items():
            with Connection(server) as raw:
                answer = raw.ask(request)
                check(answer.status in statuses, f'{request!r}: {answer}')
                check(answer.body, f'{request!r}: no sentence')
                raw.expect_end()
        check(server.metrics().value('http_bad_requests_total') >= len(wrong) - 1, 'bad requests are not counted')


def connections_stay_as_http_says(run):
    ask = 'GET /healthz HTTP/1.{}\r\nHost: h\r\n{}\r\n'
    with run.serve('--pool', '1') as server:
        connection = http.client.HTTPConnection(*server.address, timeout=20)
        connection.connect()
        same = connection.sock
        for path, status in (('/healthz', 200), ('/nowhere', 404), ('/metrics', 200), ('/echo', 426), ('/compute', 405)) * 3:
            connection.request('GET', path)
            answer = connection.getresponse()
            answer.read()
            equal(answer.status, status, path)
            if connection.sock is None:   # 426 and 405 may close; the others must not
                check(status not in (200, 404), f'closed after {status}')
                connection.connect()
                same = connection.sock
        check(connection.sock is same, 'http.client opened another connection')
        connection.close()
        for version, field, stays in ((1, '', True), (1, 'Connection: close\r\n', False), (0, '', False),
                                      (0, 'Connection: keep-alive\r\n', True)):
            with Connection(server) as raw:
                for _ in range(3 if stays else 1):
                    answer = raw.ask(ask.format(version, field).encode())
                    equal((answer.status, answer.body), (200, b'ok'), f'HTTP/1.{version} {field}')
                if not stays:
                    raw.expect_end()
        with Connection(server) as raw:   # HTTP/1.0 needs no Host
            equal(raw.ask(b'GET /healthz HTTP/1.0\r\n\r\n').status, 200, 'HTTP/1.0 without Host')
            raw.expect_end()


def pipelined_requests_are_answered_in_order(run):
    asks = []
    for i in range(400):
        body = b'{"op":"primes","n":%d}' % i
        asks.append((b'POST /compute HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n' % len(body) + body, 'n', i))
        asks.append((b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n', 'ok', None))
        asks.append((b'GET /%d HTTP/1.1\r\nHost: h\r\n\r\n' % i, '404', None))
    with run.serve('--pool', '2') as server, Connection(server) as raw:
        raw.send(b''.join(request for request, _, _ in asks))
        for _, kind, value in asks:
            answer = raw.answer()
            if kind == 'n':
                equal((answer.status, json.loads(answer.body)['n']), (200, value), 'the answer of the pipeline')
            else:
                equal(answer.status, 200 if kind == 'ok' else 404, 'the answer of the pipeline')
        raw.send(b'GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n')
        equal(raw.answer().status, 200, 'the one that says close')
        raw.expect_end()


def bodies_come_in_any_pieces(run):
    body = json.dumps({'op': 'primes', 'n': 100})
    with run.serve('--pool', '1') as server:
        url = server.url('/compute', 'http')
        for fields in (['-H', 'Transfer-Encoding: chunked'], ['-H', 'Expect: 100-continue'], ['-0'], []):
            for padded in (body, body.ljust(60000)):
                status, answer, said = curl(*fields, '--data-binary', '@-', url, body=padded.encode())
                equal((status, json.loads(answer)['value']), (200, 25), f'{fields} {len(padded)}')
                check(('< HTTP/1.1 100 Continue' in said) == ('100-continue' in str(fields)), f'{fields}: {said}')
        # A client that waits for leave to send too much is refused before it sends a byte of it.
        status, _, said = curl('-H', 'Expect: 100-continue', '--expect100-timeout', '15', '--data-binary', '@-', url,
                               body=b' ' * (BODY_BYTES_MAX + 1))
        equal(status, 413, 'status')
        check('100 Continue' not in said, 'it was encouraged all the same')
        with Connection(server) as raw:
            raw.send_each_byte(b'POST /compute HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n' % len(body) + body.encode())
            equal(json.loads(raw.answer().body)['value'], 25, 'a body byte by byte')
            raw.send_each_byte(b'POST /compute HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n')
            raw.send_each_byte(b''.join(b'1;x=y\r\n' + bytes([c]) + b'\r\n' for c in body.encode()) + b'0\r\nT: 1\r\n\r\n')
            equal(json.loads(raw.answer().body)['value'], 25, 'a chunk for each byte')
            # A client that says it has no more to say still gets its answer.
            raw.send(b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n')
            raw.socket.shutdown(socket.SHUT_WR)
            equal(raw.answer().body, b'ok', 'the answer to a half-closed connection')
            raw.expect_end()


def plain_requests_to_websockets_are_426(run):
    with run.serve('--pool', '1') as server:
        for path in ('/echo', '/chat/r', '/chat/r?name=ann', '/audio', '/audio?rate=16000'):
            answer = is_error(server.get(path), 426)
            equal(answer.fields['Upgrade'], 'websocket', 'Upgrade')
        with Connection(server) as raw:
            answer = raw.ask(handshake(version='8'))
            equal((answer.status, answer.fields['sec-websocket-version']), (426, '13'), 'version 8')


def metrics_have_the_contracts_names_and_add_up(run):
    with run.serve('--pool', '3') as server:
        for n in range(20):
            server.compute('primes', n=n)
        first, second = server.metrics(), server.metrics()
        types = {'connections': 'gauge', 'messages_total': 'counter', 'loop_stall_seconds_total': 'counter',
                 'loop_lag_seconds': 'histogram', 'pool_queue_depth': 'gauge', 'pool_busy_workers': 'gauge',
                 'pool_jobs_total': 'counter', 'dropped_total': 'counter'}
        for name, kind in types.items():
            equal(first.types.get(f'tandem_{name}'), kind, f'type of tandem_{name}')
        check(all(name.startswith('tandem_') for name, _ in first.values), 'a name does not begin with tandem_')
        for outcome in ('ok', 'error', 'rejected', 'timeout', 'cancelled', 'died'):
            equal(first.jobs(outcome), 20 if outcome == 'ok' else 0, outcome)
        check(any(name == 'tandem_dropped_total' for name, _ in first.values), 'no tandem_dropped_total')
        equal((first.value('connections'), first.value('pool_busy_workers'), first.value('pool_queue_depth')), (1, 0, 0), 'gauges')
        check(first.value('loop_lag_seconds_sum') > 0, 'no lag at all')
        for (name, labels), value in first.values.items():
            if first.types.get(name) != 'gauge':
                check(second.values[name, labels] >= value, f'the counter {name} fell')


def too_many_connections_are_503(run):
    with run.serve('--pool', '1', '--max-connections', '3') as server:
        held = [Connection(server) for _ in range(3)]
        for raw in held:
            equal(raw.ask(b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n').status, 200, 'one of three')
        with Connection(server) as raw:
            answer = raw.ask(b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n')
            equal((answer.status, 'retry-after' in answer.fields), (503, True), 'the fourth')
            raw.expect_end()
        held.pop().close()
        wait_until(lambda: server.get('/healthz').status == 200, 'the place that became free')
        for raw in held:
            equal(raw.ask(b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n').status, 200, 'the others')
            raw.close()


def wrong_usage_exits_2(run):
    wrong = [[], ['cook'], ['serve', 'now'], ['serve', '--cook'], ['serve', '--listen'], ['serve', '--pool', '0'],
             ['serve', '--pool', 'two'], ['serve', '--pool', '-1'], ['serve', '--audio-pool', '0'], ['serve', '--queue-bytes', '12Q'],
             ['serve', '--queue-bytes', '0'], ['serve', '--delay-target', '0'], ['serve', '--delay-target', '1.5'],
             ['serve', '--worker-memory', '1'], ['serve', '--worker-memory', '99999999999G'], ['serve', '--worker-memory', 'M'],
             ['serve', '--cancel-running=yes'], ['serve', '--strict-workers', '--pool-kind', 'threads'],
             ['serve', '--pool-kind', 'threads', '--worker-memory', '1G'], ['serve', '--pool', ''], ['serve', '--queue', 'x'],
             ['serve', '--queue', '-1'], ['serve', '--workers', '0'], ['serve', '--workers', 'many'],
             ['serve', '--pool-kind', 'fibres'], ['serve', '--when-full', 'panic'], ['serve', '--backend', 'kqueue'],
             ['serve', '--max-connections', '0'], ['serve', '--drain', 'soon'], ['serve', '--drain', '-1'],
             ['serve', '--drain', 'nan'], ['serve', '--drain', '1x'], ['serve', '--log', 'xml'], ['serve', '--pool=2x'],
             ['serve', '--listen', 'nonsense'], ['serve', '--listen', '127.0.0.1'], ['serve', '--listen', '127.0.0.1:99999']]
    for args in wrong:
        done = subprocess.run([run.program, *args], capture_output=True, timeout=20 * run.slack, env=environment())
        equal(done.returncode, 2, f'exit status of {args}')
        equal(done.stdout, b'', f'standard output of {args}')
        check(len(done.stderr.split()) >= 4, f'{args}: no sentence: {done.stderr!r}')
    for args in (['--help'], ['serve', '--help'], ['--version']):
        done = subprocess.run([run.program, *args], capture_output=True, timeout=20 * run.slack, env=environment())
        equal((done.returncode, done.stderr), (0, b''), f'{args}')
        check(done.stdout, f'{args} says nothing')


def a_start_that_fails_exits_1(run):
    with run.serve('--pool', '1') as server:
        for listen in (f'127.0.0.1:{server.port}', '192.0.2.1:0'):
            for workers in ('1', '2'):
                done = subprocess.run([run.program, 'serve', '--listen', listen, '--backend', run.backend, '--workers', workers],
                                      capture_output=True, timeout=20 * run.slack, env=environment())
                error = done.stderr.decode()
                equal((done.returncode, done.stdout), (1, b''), f'--listen {listen} --workers {workers}: {error}')
                check(listen in error and '--listen' in error.split(listen, 1)[1], f'it does not say what to do: {error}')
        equal(server.get('/healthz').status, 200, 'the server that has the port')


def it_listens_where_it_is_told(run):
    for listen in ('127.0.0.1:0', '127.0.0.2:0', '[::1]:0'):
        for workers in ('1', '2'):
            try:
                with run.serve('--pool', '1', '--workers', workers, listen=listen) as server:
                    equal(server.host, listen[:-2].strip('[]'), 'where it listens')
                    equal(server.get('/healthz').body, b'ok', f'/healthz on {listen}')
            except Failed as error:
                raise Failed(f'--listen {listen} --workers {workers}: {error}') from None


def few_descriptors_are_a_limit_and_no_hang(run):
    def lower():
        resource.setrlimit(resource.RLIMIT_NOFILE, (320, 320))

    with run.serve('--pool', '1', preexec_fn=lower) as server:
        for _ in range(2):
            held = [Connection(server) for _ in range(400)]
            statuses = set()
            for raw in held:
                try:
                    raw.send_as_taken(b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n')
                    raw.socket.settimeout(0.01)
                    statuses.add(raw.answer().status)
                except (OSError, Failed):   # it waits to be accepted, or was shown out without a word
                    pass
            check(statuses <= {200, 503} and 200 in statuses, f'{statuses}')
            for raw in held:
                raw.close()
            wait_until(lambda: server.get('/healthz').status == 200, 'places that became free')
            equal(server.compute('primes', n=10).status, 200, 'a computation')


def the_log_may_be_json(run):
    with run.serve('--pool', '1', '--log', 'json') as server:
        server.stop()
        lines = server.log().splitlines()
        check(lines, 'it logs nothing, not even that it drains')
        for line in lines:
            check(isinstance(json.loads(line), dict), line)


def wrk_sees_no_error(run):
    with run.serve('--pool', '1') as server:
        done = subprocess.run(['wrk', '-t1', '-c64', '-d3s', '--timeout', '10s', server.url('/healthz', 'http')],
                              capture_output=True, text=True, timeout=60)
        equal(done.returncode, 0, f'exit status of wrk: {done.stderr}')
        check('Socket errors' not in done.stdout and 'Non-2xx' not in done.stdout, done.stdout)
        rate = float(re.search(r'Requests/sec:\s+([\d.]+)', done.stdout)[1])
        run.note(f'{rate:.0f} requests/s of wrk')
        check(rate > 1000 / run.slack, done.stdout)
        requests = int(re.search(r'(\d+) requests in', done.stdout)[1])
        check(server.metrics().value('http_requests_total') >= requests, 'fewer requests counted than answered')


sys.exit(main(each_get_endpoint_answers, head_answers_as_get_without_a_body, unknown_paths_are_404,
              wrong_methods_are_405_with_allow, bad_compute_bodies_are_400, what_is_too_large_is_413_414_431,
              malformed_requests_are_400_and_the_connection_ends, connections_stay_as_http_says,
              pipelined_requests_are_answered_in_order, bodies_come_in_any_pieces, plain_requests_to_websockets_are_426,
              metrics_have_the_contracts_names_and_add_up, too_many_connections_are_503, wrong_usage_exits_2,
              a_start_that_fails_exits_1, it_listens_where_it_is_told, few_descriptors_are_a_limit_and_no_hang, the_log_may_be_json, wrk_sees_no_error, needs=('curl', 'wrk')))
