#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The TLS port from outside (RFC 8446, RFC 7301): what is no TLS, handshakes that stop at any byte, versions, ALPN; and afterwards
memory, descriptors and connections are as before."""
import contextlib
import pathlib
import random
import shutil
import ssl
import subprocess
import sys
import tempfile
import warnings

from talk import TEXT, Connection, WebSocket, check, equal, frame, handshake, main, settled, wait_until

if not shutil.which('openssl'):
    print('skipped: openssl is not installed')
    sys.exit(77)

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / 'net/certificates.sh'
GROWTH_KIB = 4096
warnings.simplefilter('ignore', DeprecationWarning)   # of the old versions: that they are refused is the point
HEALTH = b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n'


@contextlib.contextmanager
def served(run):
    """A server with TLS, and a context that trusts it."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([SCRIPT, folder], check=True, timeout=120)
        trusted = ssl.create_default_context(cafile=folder / 'ca.crt')
        trusted.check_hostname = False
        with run.serve('--pool', '1', '--tls-cert', folder / 'server.crt', '--tls-key', folder / 'server.key', tls=trusted) as server:
            yield server, trusted


def wrapped(server, context, kind=Connection):
    """A connection on which TLS is spoken, after the handshake."""
    raw = Connection(server)
    raw.socket = context.wrap_socket(raw.socket, server_hostname='server.example')
    raw.__class__ = kind
    return raw


def client_hello(context):
    """The first bytes of a client, as OpenSSL makes them."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(incoming, outgoing, server_hostname='server.example').do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def no_tls_is_told_so_or_ended(run):
    """Plain HTTP, noise, half a record: an alert or the end, never an answer, never a hang."""
    noise = random.Random(9)
    with served(run) as (server, context):
        hello = client_hello(context)
        cases = [HEALTH, handshake(), b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', bytes(1000), b'\xff' * 1000, b'\n' * 1000, noise.randbytes(5000),
                 b'\x16\x03\x01\xff\xff' + bytes(70000), b'\x16\x03\x01\0\0' * 100, b'\x15\x03\x03\0\x02\x02\x28', b'\x17\x03\x03\0\x10' + bytes(16),
                 b'\x14\x03\x03\0\x01\x01' * 100, b'\x80\x2e\x01\x03\x01' + bytes(60), b'\x16\x03\x00' + hello[3:], hello[:60] + bytes(len(hello) - 60),
                 hello[:9] + b'\x03\x00' + hello[11:40], hello + HEALTH, hello + hello, *[noise.randbytes(noise.randrange(1, 600)) for _ in range(50)]]
        cases += [hello[:5] + bytes([b ^ (noise.random() < 0.05) * noise.randrange(256) for b in hello[5:]]) for _ in range(100)]
        for data in cases:
            with Connection(server) as raw:
                raw.send_as_taken(data)
                raw.socket.shutdown(1)
                try:
                    left = raw.to_end()
                except ConnectionResetError:
                    continue
                check(not left.startswith(b'HTTP/1.1 200'), f'{data[:40]!r}: {left[:80]!r}')
        equal(server.get('/healthz').body, b'ok', 'the server afterwards')
        settled(server)


def handshakes_may_stop_anywhere(run):
    with served(run) as (server, context):
        hello = client_hello(context)

        def everything(step):
            for how in (Connection.close, Connection.reset):
                for at in range(0, len(hello) + 1, step):
                    raw = Connection(server)
                    raw.send(hello[:at])
                    how(raw)
            for _ in range(20):   # after the handshake, and within a request
                raw = wrapped(server, context)
                raw.send(HEALTH[:_])
                raw.socket.close()
            settled(server)
        everything(3)
        memory, descriptors = server.rss_kib(), server.descriptors()
        for _ in range(2):
            everything(1)
        equal(server.get('/healthz').body, b'ok', 'the server afterwards')
        settled(server)
        wait_until(lambda: server.descriptors() <= descriptors, f'descriptors to be {descriptors} again', 20)
        grown = server.rss_kib() - memory
        run.note(f'RSS {memory} KiB, grew by {grown} KiB')
        check(run.sanitized or grown < GROWTH_KIB, f'RSS grew by {grown} KiB')


def versions_below_1_2_are_refused(run):
    with served(run) as (server, _):
        for version, fine in ((ssl.TLSVersion.TLSv1, False), (ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True),
                              (ssl.TLSVersion.TLSv1_3, True)):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_ciphers('ALL:@SECLEVEL=0')
            context.options &= ~(ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1)
            context.minimum_version = context.maximum_version = version
            try:
                with wrapped(server, context) as raw:
                    equal((raw.ask(HEALTH).status, fine), (200, True), f'{version.name}')
            except ssl.SSLError as error:
                check(not fine, f'{version.name}: {error}')


def alpn_chooses_what_both_speak(run):
    with served(run) as (server, context):
        for offer, wanted in ((['h2', 'http/1.1'], 'h2'), (['http/1.1', 'h2'], 'h2'), (['h2'], 'h2'), (['http/1.1'], 'http/1.1'), (None, None)):
            if offer:
                context.set_alpn_protocols(offer)
            else:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with wrapped(server, context) as raw:
                equal(raw.socket.selected_alpn_protocol(), wanted, f'ALPN of {offer}')
                if wanted == 'h2':
                    raw.send(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0')
                    equal(raw.exactly(9)[3], 4, 'the first frame')
                else:
                    equal(raw.ask(HEALTH).body, b'ok', '/healthz')
        context.set_alpn_protocols(['spdy/1'])
        try:
            with wrapped(server, context) as raw:
                check(raw.socket.selected_alpn_protocol() is None, 'a protocol nobody speaks')
        except ssl.SSLError as error:
            check('NO_APPLICATION_PROTOCOL' in str(error).upper().replace(' ', '_'), f'{error}')


def records_may_be_of_any_size(run):
    with served(run) as (server, context), wrapped(server, context, WebSocket) as talk:
        talk.send(handshake())
        talk.expect_upgrade()
        data = frame(TEXT, b'x' * 40000)
        for size in (1, 7, 100, 16384):
            part = data if size > 1 else frame(TEXT, b'x' * 100)
            for at in range(0, len(part), size):
                talk.send(part[at:at + size])
            talk.expect_message(b'x' * (40000 if size > 1 else 100))
        talk.leave()


if __name__ == '__main__':
    sys.exit(main(no_tls_is_told_so_or_ended, handshakes_may_stop_anywhere, versions_below_1_2_are_refused, alpn_chooses_what_both_speak,
                  records_may_be_of_any_size))
