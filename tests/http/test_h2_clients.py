#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""HTTP/2 with clients that others wrote: curl, nghttp, h2load, python3-h2. test_h2_clients.py H2_SERVER"""
import os
import subprocess
import sys
import tempfile

import h2.events
import h2.errors

from h2_client import Client, Failed, Server, check, equal, frame, is_sanitized, run

SECONDS = 60


def call(*arguments, status=0):
    done = subprocess.run(arguments, capture_output=True, timeout=SECONDS, check=False)
    if done.returncode != status:
        raise Failed(f'{arguments} ended with {done.returncode}: {done.stdout[-500:]!r} {done.stderr[-500:]!r}')
    return done.stdout


def curl(server, path, *more, status=0):
    return call('curl', '-sS', '--http2-prior-knowledge', *more, server.url + path, status=status)


def curl_asks_with_prior_knowledge(program, backend):
    with Server(program, backend) as server:
        check(b'hello over 20 at http://127.0.0.1' in curl(server, '/hello'), 'a GET')
        head = curl(server, '/hello', '-I')
        check(head.startswith(b'HTTP/2 200') and b'content-length: ' in head and b'date: ' in head, f'a HEAD: {head}')
        check(b'connection' not in head, 'a field of the connection')
        equal(curl(server, '/echo', '-d', 'some body'), b'some body', 'an echo')
        equal(len(curl(server, '/large?size=5000000')), 5000000, 'bytes of a large answer')
        equal(len(curl(server, '/large?size=5000000&chunked=1')), 5000000, 'bytes of an answer of unknown size')
        check(curl(server, '/nowhere', '-i').startswith(b'HTTP/2 404'), '404')
        check(curl(server, '/fail', '-i').startswith(b'HTTP/2 500'), '500 for a handler that fails')
        curl(server, '/half', status=92)     # an answer that is not complete is no answer
        with tempfile.NamedTemporaryFile() as file:
            file.write(b'b' * 200000)
            file.flush()
            equal(curl(server, '/echo', '--data-binary', '@' + file.name), b'b' * 200000, 'a large body')
            file.write(b'b' * 200000)
            file.flush()
            answer = curl(server, '/echo', '-i', '--data-binary', '@' + file.name)
            check(answer.startswith(b'HTTP/2 413'), f'a body that is too large: {answer[:80]}')
        check(b'hello over 11' in call('curl', '-sS', server.url + '/hello'), 'HTTP/1.1 on the same port')


def curl_streams_bodies(program, backend):
    with Server(program, backend, stream=True) as server, tempfile.NamedTemporaryFile() as file:
        file.write(bytes(range(256)) * 8192)
        file.flush()
        equal(curl(server, '/echo', '--data-binary', '@' + file.name), bytes(range(256)) * 8192, 'a body that is echoed as it comes')
        equal(curl(server, '/echo', '-H', 'Expect: 100-continue', '-d', 'x'), b'x', 'after 100 Continue')


def tls_agrees_on_it(program, backend):
    """ALPN (RFC 7301): h2 for who speaks it, HTTP/1.1 for the others, on one port."""
    with tempfile.TemporaryDirectory() as folder:
        names = {'H2_CERTIFICATE': folder + '/crt', 'H2_KEY': folder + '/key'}
        call('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
             '-subj', '/CN=h', '-keyout', names['H2_KEY'], '-out', names['H2_CERTIFICATE'])
        with Server(program, backend, certificate=names) as server:
            url = server.url.replace('http:', 'https:')
            check(b'hello over 20 at https://' in call('curl', '-sSk', '--http2', url + '/hello'), 'h2')
            check(b'hello over 11 at https://' in call('curl', '-sSk', '--http1.1', url + '/hello'), 'HTTP/1.1')
            equal(len(call('curl', '-sSk', '--http2', url + '/large?size=3000000')), 3000000, 'bytes of a large answer')
            equal(call('curl', '-sSk', '--http2', url + '/echo', '-d', 'some body'), b'some body', 'an echo')
            check(b' 200 ' in call('nghttp', '-ans', url + '/hello'), 'nghttp')
            check(b'400 succeeded, 0 failed' in call('h2load', '-n', '400', '-c', '4', '-m', '20', url + '/hello'), 'h2load')


def nghttp_asks_for_several(program, backend):
    with Server(program, backend) as server:
        out = call('nghttp', '-ans', server.url + '/hello', server.url + '/large?size=300000', server.url + '/nowhere').decode()
        check(' 200 ' in out and ' 404 ' in out and '/large' in out, out)


def h2load_is_answered(program, backend):
    with Server(program, backend) as server:
        before = server.descriptors()
        for path, count in (('/hello', 4000), ('/large?size=50000', 400)):
            out = call('h2load', '-n', str(count), '-c', '5', '-m', '20', server.url + path).decode()
            check(f'{count} succeeded, 0 failed' in out, out)
        server.comes_back(before)
        equal(server.stats()['floods'], 0, 'floods')


def memory_comes_back(program, backend):
    with Server(program, backend) as server:
        def load():
            out = call('h2load', '-n', '3000', '-c', '30', '-m', '50', server.url + '/large?size=20000').decode()
            check('3000 succeeded' in out, out)
            server.eventually(lambda stats: stats['connections'] == 1, 'connections end')
        sizes = []
        for _ in range(6):
            load()
            sizes.append(server.memory())
        check(sizes[-1] < sizes[2] + (8 << 20), f'bytes after each round: {sizes}')


def idle_connections_are_small(program, backend):
    """And they are closed all at once when the server ends."""
    with Server(program, backend) as server:
        def connect(count):
            clients = [Client(server) for _ in range(count)]
            for client in clients:
                equal(client.ask()[0], 200, 'status')
            return clients
        first = connect(100)
        before = server.memory()
        clients = connect(400)
        each = (server.memory() - before) // 400
        print(f'{backend}: an idle connection of HTTP/2 takes {each} bytes')
        check(is_sanitized(program) or each < 24 << 10, f'an idle connection takes {each} bytes')
        server.process.stdin.close()
        for client in first + clients:
            equal(client.goodbye(), h2.errors.ErrorCodes.NO_ERROR, 'GOAWAY')
            client.socket.close()


def streams_are_answered_in_any_order(program, backend):
    with Server(program, backend) as server, Client(server) as client:
        slow = client.request('/wait')
        streams = [client.request('/hello') for _ in range(20)]
        for stream in reversed(streams):
            equal(client.answer(stream)[0], 200, 'status')
        client.h2.reset_stream(slow)
        client.flush()
        server.eventually(lambda stats: stats['gone'] == 1 and stats['running'] == 1, 'who waits learns that its client left')


def small_answers_pass_large_ones(program, backend):
    """A stream that has much to send does not hold the others."""
    with Server(program, backend) as server, Client(server, window=1 << 20) as client:
        client.h2.increment_flow_control_window(100 << 20)
        large = client.request('/large?size=50000000')
        client.wait(h2.events.DataReceived, large)
        small = client.request('/hello')
        equal(client.answer(small)[0], 200, 'status')
        client.h2.reset_stream(large)
        client.flush()
        equal(client.ask('/hello')[0], 200, 'status after a reset')


def bodies_and_trailers_go_both_ways(program, backend):
    with Server(program, backend, stream=True) as server, Client(server) as client:
        stream = client.request('/echo', 'POST', end=False)
        client.data(stream, b'one')
        client.wait(h2.events.ResponseReceived, stream)
        equal(client.wait(h2.events.DataReceived, stream).data, b'one', 'the first piece')
        client.data(stream, b'two')
        equal(client.wait(h2.events.DataReceived, stream).data, b'two', 'the second piece')
        client.h2.send_headers(stream, [('x-trailer', 'yes')], end_stream=True)
        client.flush()
        client.wait(h2.events.StreamEnded, stream)
        stream = client.request('/large?size=10')
        equal(dict(client.wait(h2.events.TrailersReceived, stream).headers), {'x-left': '0'}, 'trailers')


def a_reader_that_stops_holds_its_writer_alone(program, backend):
    """Windows stay shut: the answer waits in bounded memory, and other streams go on."""
    with Server(program, backend) as server, Client(server, window=1000) as client:
        streams = [client.request('/large?size=100000000') for _ in range(20)]
        for stream in streams:
            equal(len(client.wait(h2.events.DataReceived, stream).data), 1000, 'the window')
        before = server.memory()
        equal(server.stats()['running'], 21, 'handlers at work')
        check(server.memory() - before < 20 * (200 << 10), 'no answer is kept whole')
    with Server(program, backend) as server, Client(server) as client:
        equal(client.ask()[0], 200, 'status')


def a_drain_lets_streams_end(program, backend):
    with Server(program, backend, stream=True) as server, Client(server) as client:
        stream = client.request('/echo', 'POST', end=False)
        client.data(stream, b'one')
        client.wait(h2.events.DataReceived, stream)
        server.drain()
        client.wait(h2.events.ConnectionTerminated)
        client.socket.sendall(frame(0, 1, stream, b'two'))
        while client.read():
            pass
        check(any(data[9:] == b'two' for data in client.after if data[3] == 0), 'the answer is complete')
        equal(client.goodbye(), 0, 'the last GOAWAY')


def cancelled_servers_say_goodbye(program, backend):
    with Server(program, backend) as server:
        client = Client(server)
        client.request('/wait')
        equal(client.ask()[0], 200, 'status')
        server.process.stdin.close()
        equal(client.goodbye(), h2.errors.ErrorCodes.NO_ERROR, 'GOAWAY')


def breaks_at_any_byte_leave_nothing(program, backend):
    """A conversation that breaks off, or is reset, at each of its bytes."""
    with Server(program, backend) as server:
        with Client(server, settings=False) as client:
            stream = client.h2.get_next_available_stream_id()
            client.h2.send_headers(stream, client.headers('/echo', 'POST'))
            client.h2.send_data(stream, b'body', end_stream=True)
            client.h2.ping(b'12345678')
            said = client.h2.data_to_send()
        before = server.descriptors()
        for stop in range(len(said)):
            with Client(server, settings=False) as client:
                client.socket.sendall(said[:stop])
                if stop % 2:
                    client.socket.setsockopt(1, 13, b'\1\0\0\0\0\0\0\0')     # SO_LINGER of 0: a reset
        server.comes_back(before)


if __name__ == '__main__':
    os.environ.pop('MALLOC_PERTURB_', None)   # it touches memory that nobody uses, and memory is weighed here
    sys.exit(run(sys.argv[1], [
        curl_asks_with_prior_knowledge, curl_streams_bodies, tls_agrees_on_it, nghttp_asks_for_several, h2load_is_answered,
        memory_comes_back, idle_connections_are_small,
        streams_are_answered_in_any_order, small_answers_pass_large_ones, bodies_and_trailers_go_both_ways,
        a_reader_that_stops_holds_its_writer_alone, a_drain_lets_streams_end, cancelled_servers_say_goodbye,
        breaks_at_any_byte_leave_nothing]))
