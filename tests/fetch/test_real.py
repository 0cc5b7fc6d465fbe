#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Fetches from servers that we did not write: Python's over TLS, nghttpd by HTTP/2, and through a proxy. test_real.py PROBE"""
import contextlib
import http.server
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

PROBE = sys.argv[1]
EINVAL, EPROTO, EKEYREJECTED, ENOENT = 22, 71, 129, 2
BACKENDS = ('uring', 'epoll')


def openssl(*arguments):
    subprocess.run(['openssl', *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_certificates(folder):
    """An authority of our own; certificates of a server, for `localhost` and 127.0.0.1, and of a client."""
    ca, key = folder / 'ca.pem', folder / 'ca.key'
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj',
            '/CN=Test authority', '-keyout', str(key), '-out', str(ca))
    for name, more in (('server', 'subjectAltName=DNS:localhost,IP:127.0.0.1'), ('client', 'keyUsage=digitalSignature'),
                       ('other', 'subjectAltName=DNS:other.example')):
        request = folder / f'{name}.csr'
        openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', f'/CN={name}', '-keyout',
                str(folder / f'{name}.key'), '-out', str(request))
        extra = folder / f'{name}.ext'
        extra.write_text(more + '\n')
        openssl('x509', '-req', '-in', str(request), '-CA', str(ca), '-CAkey', str(key), '-CAcreateserial', '-days', '2',
                '-extfile', str(extra), '-out', str(folder / f'{name}.pem'))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        self.server.seen.append((self.command, self.path, self.headers.get('Proxy-Authorization')))
        if self.path == '/down':
            self.send_response(302)
            self.send_header('Location', f'http://127.0.0.1:{self.server.plain}/')
            body = b''
        else:
            self.send_response(200)
            body = b'x' * 1000
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


@contextlib.contextmanager
def serving(context=None, plain=0):
    server = Server(('127.0.0.1', 0), Handler)
    server.seen, server.plain = [], plain
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Proxy(threading.Thread):
    """CONNECT, and absolute URLs, for whoever says the password."""

    def __init__(self, password=None):
        super().__init__(daemon=True)
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port, self.password, self.heads = self.listener.getsockname()[1], password, []
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.carry, args=[connection], daemon=True).start()

    def carry(self, client):
        head = b''
        while b'\r\n\r\n' not in head:
            piece = client.recv(4096)
            if not piece:
                return
            head += piece
        self.heads.append(head.decode())
        if self.password and f'Basic {self.password}' not in self.heads[-1]:
            client.sendall(b'HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n')
            client.close()
            return
        method, target, _ = self.heads[-1].split('\r\n')[0].split(' ')
        place = target if method == 'CONNECT' else re.match(r'http://([^/]*)', target).group(1)
        name, port = place.rsplit(':', 1)
        with socket.create_connection((name, int(port))) as server:
            if method == 'CONNECT':
                client.sendall(b'HTTP/1.1 200 Yes\r\n\r\n')
            else:
                server.sendall(head)
            back = threading.Thread(target=pour, args=[server, client], daemon=True)
            back.start()
            pour(client, server)
            back.join()
        client.close()


def pour(source, sink):
    try:
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def probe(backend, *arguments, env=None):
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith('_proxy')}
    environment.update(env or {})
    done = subprocess.run([PROBE, '-b', backend, *map(str, arguments)], capture_output=True, text=True, timeout=60,
                          env=environment)
    assert done.returncode == 0, (arguments, done)
    lines = done.stdout.splitlines()
    return lines[:-1], int(lines[-1].split()[1])


def one(backend, *arguments, env=None):
    (line,), _ = probe(backend, *arguments, env=env)
    return line


def fails_with(line, number):
    assert line.startswith(f'error {number} ') and len(line.split()) > 3, line


def tls(backend, folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / 'server.pem', folder / 'server.key')
    with serving() as plain, serving(context, plain.server_address[1]) as server:
        url = f'https://127.0.0.1:{server.server_address[1]}'
        assert one(backend, '-a', folder / 'ca.pem', url) == '200 11 1000'
        fails_with(one(backend, url), EKEYREJECTED)  # nobody the system knows has signed this
        assert one(backend, '-i', 1, url) == '200 11 1000'
        assert one(backend, '-a', folder / 'ca.pem', url + '/down').startswith('302 11 ')
        fails_with(one(backend, '-a', folder / 'ca.pem', '-r', 5, url + '/down'), EPROTO)
        assert not plain.seen, 'a redirect from https never leads to http'
        fails_with(one(backend, f'https://127.0.0.1:{plain.server_address[1]}'), EPROTO)
        lines, connections = probe(backend, '-a', folder / 'ca.pem', '-n', 100, '-l', 3, url)
        assert lines == ['200 11 1000'] * 100 and connections <= 3, (lines, connections)
        assert one(backend, '-a', folder / 'nowhere.pem', url).startswith('error ')


def wrong_name(backend, folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / 'other.pem', folder / 'other.key')
    with serving(context) as server:
        url = f'https://127.0.0.1:{server.server_address[1]}'
        fails_with(one(backend, '-a', folder / 'ca.pem', url), EKEYREJECTED)
        assert not server.seen, 'nothing is asked of a stranger'


def own_certificate(backend, folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / 'server.pem', folder / 'server.key')
    context.load_verify_locations(folder / 'ca.pem')
    context.verify_mode = ssl.CERT_REQUIRED
    with serving(context) as server:
        url = f'https://localhost:{server.server_address[1]}'
        known = ['-a', folder / 'ca.pem', '-c', folder / 'client.pem', '-k', folder / 'client.key']
        assert one(backend, *known, url) == '200 11 1000'
        assert one(backend, '-a', folder / 'ca.pem', url).startswith('error ')
        assert len(server.seen) == 1


def proxies(backend, folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / 'server.pem', folder / 'server.key')
    proxy, closed = Proxy(), Proxy('YW5uOnBhc3M=')
    with serving() as plain, serving(context) as secure:
        at, url = f'http://127.0.0.1:{proxy.port}', f'http://127.0.0.1:{plain.server_address[1]}/'
        assert one(backend, '-x', at, url) == '200 11 1000'
        assert proxy.heads[-1].startswith(f'GET {url} HTTP/1.1\r\n')
        secure_url = f'https://127.0.0.1:{secure.server_address[1]}/'
        assert one(backend, '-x', at, '-a', folder / 'ca.pem', secure_url) == '200 11 1000'
        assert proxy.heads[-1].startswith(f'CONNECT 127.0.0.1:{secure.server_address[1]} HTTP/1.1\r\n')
        count = len(proxy.heads)
        assert one(backend, url, env={'http_proxy': at}) == '200 11 1000' and len(proxy.heads) == count + 1
        assert one(backend, url, env={'http_proxy': at, 'no_proxy': '127.0.0.1'}) == '200 11 1000'
        assert one(backend, '-x', '', url, env={'http_proxy': at}) == '200 11 1000'
        assert len(proxy.heads) == count + 1, 'declined'
        assert one(backend, '-x', f'http://127.0.0.1:{closed.port}', url).startswith('407 ')
        assert one(backend, '-x', f'http://ann:pass@127.0.0.1:{closed.port}', url) == '200 11 1000'
        assert one(backend, '-x', 'http://127.0.0.1:1', url).startswith('error ')


def http2(backend, folder):
    (folder / 'page').write_bytes(b'p' * 300000)
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    for secure in (True, False):
        arguments = [str(folder / 'server.key'), str(folder / 'server.pem')] if secure else ['--no-tls']
        server = subprocess.Popen(['nghttpd', '-a', '127.0.0.1', '-d', str(folder), str(port), *arguments],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 20
            while socket.socket().connect_ex(('127.0.0.1', port)) != 0 and time.monotonic() < until:
                time.sleep(0.02)
            url = f'{"https" if secure else "http"}://127.0.0.1:{port}/page'
            known = ['-a', folder / 'ca.pem'] if secure else ['-v', 20]
            lines, connections = probe(backend, *known, '-n', 60, '-l', 2, url)
            assert lines == ['200 20 300000'] * 60, lines
            assert connections <= 2 or not secure, connections
            assert one(backend, *known, '-m', 'HEAD', url) == '200 20 0'
            assert one(backend, *known, url + '-missing').startswith('404 20 ')
        finally:
            server.kill()
            server.wait()


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make_certificates(folder)
        for backend in BACKENDS:
            for story in (tls, wrong_name, own_certificate, proxies, http2):
                if story is http2 and not shutil.which('nghttpd'):
                    print('skipped: there is no nghttpd here')
                    continue
                story(backend, folder)
                print(f'{backend}: {story.__name__}: ok', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
