#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""HTTP with programs that others wrote: curl, nginx in front of us, nghttp, h2load, openssl."""
import contextlib
import json
import pathlib
import socket
import subprocess
import sys
import tempfile

from strangers import needs, output

try:
    import websockets
except ImportError:
    websockets = None

from raw import TEXT, Connection, WebSocket, frame, handshake
from runner import Skip, main
from server import Failed, check, equal, wait_until

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log warn;
events {{ worker_connections 512; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    map $http_upgrade $wanted {{ default upgrade; '' ''; }}
    upstream tandem {{ server {address}; keepalive 8; }}
    server {{
        listen unix:{folder}/socket; listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://tandem; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $wanted; proxy_set_header Host $http_host; proxy_request_buffering off; proxy_buffering off;
        }}
    }}
}}
"""


def curl_does_what_it_can(run):
    needs('curl')
    body = json.dumps({'op': 'primes', 'n': 100})
    with run.serve('--pool', '1') as server, tempfile.NamedTemporaryFile() as file:
        file.write(body.encode().ljust(60000))
        file.flush()
        health, compute = server.url('/healthz', 'http'), server.url('/compute', 'http')

        def curl(*arguments, status=0):
            return output('curl', '-sS', '--max-time', '20', *arguments, status=status)[0]

        for version in ('--http1.0', '--http1.1', '--http2', '--http2-prior-knowledge'):
            equal(curl(version, health), b'ok', version)
            equal(json.loads(curl(version, '-d', body, compute))['value'], 25, f'{version}, a body')
            if version != '--http1.0':
                chunked = 'Transfer-Encoding: chunked' if version == '--http1.1' else 'X: y'
                equal(json.loads(curl(version, '-H', chunked, '--data-binary', f'@{file.name}', compute))['value'], 25,
                      f'{version}, a body in chunks')
            equal(json.loads(curl(version, '-H', 'Expect: 100-continue', '--data-binary', f'@{file.name}', compute))['value'], 25,
                  f'{version}, Expect')
            check(curl(version, '-I', server.url('/', 'http')).split(b' ', 2)[1] == b'200', f'{version}, HEAD')
            if version != '--http2-prior-knowledge':   # which curl gets wrong before its version 8.1
                equal(curl(version, *[health] * 20), b'ok' * 20, f'{version}, one connection for twenty')
            equal(curl(version, '-o', '/dev/null', '-w', '%{http_code}', server.url('/nowhere', 'http')), b'404', f'{version}, 404')
        said = curl('-v', '--stderr', '-', *[health] * 3)
        check(said.count(b'Re-using existing connection') == 2, f'no connection is kept: {said.decode()}')
        equal(curl('--parallel', '--parallel-immediate', *[health] * 50), b'ok' * 50, 'fifty at once')
        equal(curl('--compressed', health), b'ok', 'whatever is compressed')
        equal(curl('--haproxy-protocol', '-o', '/dev/null', '-w', '%{http_code}', health), b'400', 'a PROXY line, which nobody asked for')


@contextlib.contextmanager
def nginx_before(server):
    """nginx as a proxy in front of us. Yields its port."""
    needs('nginx')
    with tempfile.TemporaryDirectory(prefix='tandem-nginx-') as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        for port in free_ports():
            (folder / 'nginx.conf').write_text(NGINX.format(folder=folder, address=f'{server.host}:{server.port}', port=port))
            child = subprocess.Popen(['nginx', '-p', name, '-c', folder / 'nginx.conf', '-e', folder / 'error.log'], stdin=subprocess.DEVNULL)
            try:
                try:
                    wait_until(lambda: child.poll() is not None or (folder / 'socket').exists() and (folder / 'pid').exists(), 'nginx', 15)
                except Failed:
                    pass
                if child.poll() is None:
                    yield port, folder
                    return
            finally:
                child.terminate()
                child.wait(20)
        raise Failed('nginx does not start')


def free_ports():
    """Ports that nobody had a moment ago; a few, in case somebody was quicker."""
    for _ in range(3):
        with socket.socket() as one:
            one.bind(('127.0.0.1', 0))
            port = one.getsockname()[1]
        yield port


async def nginx_passes_on(run):
    if websockets is None:
        raise Skip('python3-websockets is not installed')
    with run.serve('--pool', '1') as server, nginx_before(server) as (port, folder):
        def curl(*arguments):
            return output('curl', '-sS', '--max-time', '20', *arguments)[0]

        url = f'http://127.0.0.1:{port}'
        for _ in range(20):
            equal(curl(url + '/healthz'), b'ok', '/healthz')
        for number in (10, 1000):
            equal(json.loads(curl('-d', json.dumps({'op': 'primes', 'n': number}), url + '/compute'))['n'], number, 'a computation')
        equal(json.loads(curl('-H', 'Transfer-Encoding: chunked', '-d', '{"op":"primes","n":10}', url + '/compute'))['value'], 4, 'chunks')
        check(curl(url + '/').lower().startswith(b'<!doctype html>'), 'the page')
        async with websockets.connect(f'ws://127.0.0.1:{port}/echo', max_size=None) as echo:
            for message in ('', 'hello', 'ü' * 5000, b'x' * 65536, b'y' * 1000000):
                await echo.send(message)
                check(await echo.recv() == message, f'{message[:20]!r} of {len(message)}')
            await echo.close(4001)
            equal(echo.close_code, 4001, 'close code')
        async with websockets.connect(f'ws://127.0.0.1:{port}/chat/r?name=ann') as chat:
            equal(json.loads(await chat.recv())['type'], 'welcome', 'the first message of a chat')
        errors = [line for line in (folder / 'error.log').read_text().splitlines() if '[warn]' not in line and '[notice]' not in line]
        equal(errors, [], "nginx's log")


def nghttp_and_h2load_are_served(run):
    needs('nghttp', 'h2load')
    with run.serve('--pool', '1') as server:
        url = server.url('/healthz', 'http')
        said = output('nghttp', '-v', '-n', url, server.url('/', 'http'), server.url('/nowhere', 'http'))[0].decode()
        check(said.count(':status: 200') == 2 and said.count(':status: 404') == 1, said)
        for arguments in (('-n2000', '-c10', '-m10'), ('-n2000', '-c1', '-m100'), ('-n500', '-c10', '-m1', '--h1')):
            said = output('h2load', *arguments, url)[0].decode()
            count = int(arguments[0][2:])
            check(f'{count} succeeded, 0 failed, 0 errored' in said, said)


def a_shell_is_a_client(run):
    """bash and its /dev/tcp: no client at all, and served."""
    with run.serve('--pool', '1') as server:
        script = f'exec 3<>/dev/tcp/{server.host}/{server.port}; printf "GET /healthz HTTP/1.1\\r\\nHost: h\\r\\nConnection: close\\r\\n\\r\\n" >&3; cat <&3'
        check(output('bash', '-c', script)[0].endswith(b'\r\n\r\nok'), 'the answer')
        with Connection(server) as raw:
            raw.send(handshake() + frame(TEXT, b'and by hand'))
            raw.__class__ = WebSocket
            raw.expect_upgrade()
            raw.expect_message(b'and by hand')
            raw.leave()


if __name__ == '__main__':
    sys.exit(main(curl_does_what_it_can, nginx_passes_on, nghttp_and_h2load_are_served, a_shell_is_a_client))
