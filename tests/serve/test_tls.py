#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""tandem serve over TLS, with clients nobody here wrote: curl, Python's ssl, python3-websockets, openssl s_client."""
import asyncio
import contextlib
import pathlib
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile

import websockets

from runner import main
from server import Failed, check, equal, wait_until

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / 'net/certificates.sh'


@contextlib.contextmanager
def certificates():
    """A folder with the certificates of tests/net/certificates.sh."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([SCRIPT, folder], check=True, timeout=120)
        yield pathlib.Path(folder)


def trusting(folder, client=None, **keywords):
    """A client's context that trusts the tests' authority."""
    context = ssl.create_default_context(cafile=folder / 'ca.crt')
    if client:
        context.load_cert_chain(folder / f'{client}.crt', folder / f'{client}.key')
    for name, value in keywords.items():
        setattr(context, name, value)
    return context


def pair(folder, name):
    return '--tls-cert', folder / f'{name}.crt', '--tls-key', folder / f'{name}.key'


def serve(run, folder, *flags, client=None):
    return run.serve('--pool', '1', '--audio-pool', '1', *pair(folder, 'server'), *flags, tls=trusting(folder, client))


def curl(server, folder, *arguments, name='server.example'):
    """Returns (exit status, standard output)."""
    done = subprocess.run(['curl', '-sS', '--max-time', '20', '--cacert', folder / 'ca.crt', '--connect-to', f'::127.0.0.1:{server.port}',
                           *arguments, f'https://{name}/healthz'], capture_output=True, text=True)
    return done.returncode, done.stdout


def s_client(server, folder, *arguments, say=''):
    done = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{server.port}', '-CAfile', folder / 'ca.crt', *arguments],
                          input=say, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def handshakes(server, outcome):
    return server.metrics().value('tls_handshakes_total', outcome=outcome)


def curl_python_and_openssl_are_served(run):
    with certificates() as folder, serve(run, folder) as server:
        equal(curl(server, folder), (0, 'ok'), 'curl')
        equal(curl(server, folder, '--tls-max', '1.2'), (0, 'ok'), 'curl with TLS 1.2')
        equal(curl(server, folder, '-w', ' %{http_version}'), (0, 'ok 2'), 'curl agrees on HTTP/2')
        equal(curl(server, folder, '--http1.1', '-w', ' %{http_version}'), (0, 'ok 1.1'), 'or not')
        equal(curl(server, folder, '--http1.1', '--data-binary', '@/dev/null')[0], 0, 'a POST')
        equal(curl(server, folder, name='other.example')[0], 60, 'curl, another name')
        equal(server.get('/healthz').body, b'ok', "Python's ssl")
        equal(server.compute('primes', n=1000).body['value'], 168, 'primes up to 1,000')
        check(len(server.get('/').body) > 10000, 'the page')
        for version in ('-tls1', '-tls1_1'):
            said = s_client(server, folder, version, '-cipher', 'ALL@SECLEVEL=0')
            check('protocol version' in said, f'{version}: {said}')
        check('http/1.1' in s_client(server, folder, '-alpn', 'http/1.1'), 'ALPN')
        check('no application protocol' in s_client(server, folder, '-alpn', 'smtp'), 'ALPN without a common protocol')
        said = s_client(server, folder, '-tls1_2', say='R\n')
        check('no renegotiation' in said or 'RENEGOTIATING' in said, said)
        check(handshakes(server, 'ok') > 6 and handshakes(server, 'failed') >= 3, 'the metrics count them')


async def a_websocket_is_the_same_over_tls(run):
    with certificates() as folder, serve(run, folder) as server:
        url = f'wss://127.0.0.1:{server.port}'
        async with websockets.connect(f'{url}/echo', ssl=server.tls, max_size=None) as echo:
            for message in ('', 'a', b'x' * 65535, 'ü' * 100000, b'y' * (4 << 20)):
                await echo.send(message)
                equal(await echo.recv(), message, 'the echo')
            await asyncio.gather(*(echo.send(f'message {i}') for i in range(500)))
            for i in range(500):
                equal(await echo.recv(), f'message {i}', 'many at once')
        async with websockets.connect(f'{url}/chat/r?name=ann', ssl=server.tls) as chat:
            check('"welcome"' in await chat.recv(), 'welcome')
            server.signal(signal.SIGTERM)
            async for message in chat:
                pass
            equal(chat.close_code, 1001, 'the close code of a drain')
        server.wait()


def the_name_decides_the_certificate(run):
    with certificates() as folder, serve(run, folder, *pair(folder, 'second')) as server:
        for name, expected in (('server.example', 'localhost'), ('second.example', 'second.example'),
                               ('a.wild.example', 'second.example'), ('stranger.example', 'localhost')):
            found = re.search(r'subject=CN = (\S+)', s_client(server, folder, '-servername', name))
            equal(found and found[1], expected, f'the certificate for {name}')
        found = re.search(r'subject=CN = (\S+)', s_client(server, folder, '-noservername'))
        equal(found and found[1], 'localhost', 'the certificate for no name')


def clients_prove_who_they_are(run):
    with certificates() as folder, serve(run, folder, '--tls-client-ca', folder / 'ca.crt', client='client') as server:
        equal(server.get('/healthz').body, b'ok', 'with a certificate')
        key = '--key', folder / 'client.key'
        equal(curl(server, folder, '--cert', folder / 'client.crt', *key), (0, 'ok'), 'curl with a certificate')
        check(curl(server, folder)[0] in (35, 52, 56), 'without one')
        check(curl(server, folder, '--cert', folder / 'stranger.crt', '--key', folder / 'stranger.key')[0] in (35, 52, 56),
              "with a stranger's")


def sessions_are_resumed_in_every_process(run):
    with certificates() as folder, serve(run, folder, '--workers', '3') as server:
        session = folder / 'session'
        for version in ('-tls1_2', '-tls1_3'):
            s_client(server, folder, version, '-sess_out', session, '-ign_eof', say='GET / HTTP/1.0\r\n\r\n')
            for _ in range(6):
                check('Reused' in s_client(server, folder, version, '-sess_in', session), f'{version}: resumed')


def certificates_are_renewed_by_a_signal(run):
    with certificates() as folder, serve(run, folder) as server:
        held = server.tls.wrap_socket(socket.create_connection((server.host, server.port)), server_hostname='localhost')

        def ask():
            held.sendall(b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n')
            return held.recv(4096)

        check(b'200 OK' in ask(), 'before')
        shutil.copy(folder / 'second.crt', folder / 'server.crt')
        server.signal(signal.SIGHUP)    # the key does not belong to it yet
        wait_until(lambda: 'were not renewed' in server.log(), 'a complaint', 10 * run.slack)
        equal(curl(server, folder), (0, 'ok'), 'the former certificate')
        shutil.copy(folder / 'second.key', folder / 'server.key')
        server.signal(signal.SIGHUP)
        wait_until(lambda: 'have been read again' in server.log(), 'the renewal', 10 * run.slack)
        equal(curl(server, folder, name='second.example'), (0, 'ok'), 'the new certificate')
        equal(curl(server, folder)[0], 60, 'not for the former name any more')
        check(b'200 OK' in ask(), 'the connection goes on')
        held.close()


def an_end_is_said(run):
    """RFC 8446, 6.1: a client can tell the end of an answer from a connection that was cut off."""
    with certificates() as folder, serve(run, folder) as server:
        context = trusting(folder)
        context.options &= ~getattr(ssl, 'OP_IGNORE_UNEXPECTED_EOF', 0)
        with socket.create_connection((server.host, server.port)) as plain, \
                context.wrap_socket(plain, server_hostname='localhost', suppress_ragged_eofs=False) as client:
            client.sendall(b'GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n')
            while client.recv(4096):     # raises at a cut
                pass


def garbage_costs_nothing(run):
    with certificates() as folder, serve(run, folder) as server:
        server.get('/healthz')
        descriptors = server.descriptors()
        hello = None
        with socket.create_connection((server.host, server.port)) as plain:  # a hello to cut
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            with contextlib.suppress(ssl.SSLWantReadError):
                trusting(folder).wrap_bio(incoming, outgoing, server_hostname='localhost').do_handshake()
            hello = outgoing.read()
        for junk in (b'', b'GET / HTTP/1.1\r\n\r\n', b'\0' * 3000, b'\x16\x03\x01\xff\xff' + b'x' * 70000, *(hello[:n] for n in
                     range(1, len(hello), 7)), hello + hello, hello + b'\x17\x03\x03\0\x10' + b'z' * 16):
            with socket.create_connection((server.host, server.port)) as plain:
                plain.sendall(junk)
                if len(junk) % 2:
                    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))  # reset
        wait_until(lambda: server.descriptors() <= descriptors, f'{server.descriptors()} descriptors left', 20 * run.slack)
        server.wait_metric(lambda m: m.value('tls_handshakes') == 0, 'no handshake under way')
        equal(server.get('/healthz').body, b'ok', 'afterwards')


def origins_are_compared_with_their_scheme(run):
    """A page of http://h is not one of https://h: whoever holds the wire may have written it."""
    def status(server, *fields):
        arguments = [word for field in fields for word in ('-H', field)]
        upgrade = ('Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13',
                   'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==')
        done = subprocess.run(['curl', '-sk', '--http1.1', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', '2', *arguments,
                               *(word for field in upgrade for word in ('-H', field)),
                               f'https://{server.host}:{server.port}/chat/r?name=ann'], capture_output=True, text=True)
        return int(done.stdout)

    with certificates() as folder:
        with serve(run, folder, '--allow-origin', 'https://a.example, https://b.example:8443') as server:
            for origin, expected in (('https://a.example', 101), ('https://A.example', 101), ('https://b.example:8443', 101),
                                     ('https://b.example', 403), ('http://a.example', 403), ('https://c.example', 403),
                                     (f'https://{server.host}:{server.port}', 403)):
                equal(status(server, f'Origin: {origin}'), expected, origin)
            equal(status(server), 101, 'no origin')
        with serve(run, folder) as server:
            equal(status(server, f'Origin: https://{server.host}:{server.port}'), 101, 'the own page')
            equal(status(server, 'Origin: https://c.example'), 403, "a stranger's page")
        with serve(run, folder, '--allow-origin', '*') as server:
            equal(status(server, 'Origin: https://c.example'), 101, "anyone's page")


def a_bad_start_says_why(run):
    def fails(status, text, *flags):
        done = subprocess.run([run.program, 'serve', '--listen', '127.0.0.1:0', *map(str, flags)], capture_output=True, text=True,
                              timeout=60)
        equal(done.returncode, status, f'exit status with {flags}')
        if text not in done.stderr:
            raise Failed(f'{flags}: it said {done.stderr!r}')

    with certificates() as folder:
        fails(2, '--tls-key is missing', '--tls-cert', folder / 'server.crt')
        fails(2, '--tls-cert is missing', '--tls-key', folder / 'server.key')
        fails(2, 'in pairs', '--tls-cert', folder / 'server.crt', '--tls-cert', folder / 'second.crt')
        fails(2, 'without a certificate', '--tls-client-ca', folder / 'ca.crt')
        for origin in ('a.example', 'https://', 'https://a.example/chat', 'https://*.example', ''):
            fails(2, '--allow-origin cannot be', '--allow-origin', origin)
        fails(1, 'No such file', '--tls-cert', folder / 'none.crt', '--tls-key', folder / 'server.key')
        fails(1, 'is not the key', '--tls-cert', folder / 'server.crt', '--tls-key', folder / 'second.key')
        fails(1, 'password', '--tls-cert', folder / 'server.crt', '--tls-key', folder / 'locked.key')
        fails(1, 'no certificate', *pair(folder, 'server'), '--tls-client-ca', folder / 'ca.key')


IDLE = 1000
IDLE_KIB_MAX = 16   # 14.9 here, of which OpenSSL itself takes 13.4 (docs/decisions/0035)


def an_idle_connection_is_small(run):
    """What the server's memory grows by for each connection that has shaken hands, asked once, and waits."""
    if run.sanitized:
        return
    with certificates() as folder, serve(run, folder) as server, contextlib.ExitStack() as held:
        def connect(count):
            for _ in range(count):
                client = held.enter_context(server.tls.wrap_socket(socket.create_connection((server.host, server.port)),
                                                                   server_hostname='localhost'))
                client.sendall(b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n')
                check(b'200 OK' in client.recv(4096), 'an answer')

        connect(100)
        before = server.rss_kib()
        connect(IDLE)
        each = (server.rss_kib() - before) / IDLE
        run.note(f'{each:.2f} KiB for each idle connection')
        check(each < IDLE_KIB_MAX, f'{each} KiB for each idle connection')


sys.exit(main(curl_python_and_openssl_are_served, a_websocket_is_the_same_over_tls, the_name_decides_the_certificate,
              clients_prove_who_they_are, sessions_are_resumed_in_every_process, certificates_are_renewed_by_a_signal,
              an_end_is_said, an_idle_connection_is_small, garbage_costs_nothing,
              origins_are_compared_with_their_scheme, a_bad_start_says_why, needs=('curl', 'openssl', 'websockets')))
