#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Files, compressed answers and events, asked for by curl and by Python. test_files.py SERVER"""
import contextlib
import email.parser
import gzip
import http.client
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time

SERVER = sys.argv[1]


@contextlib.contextmanager
def serving(backend, folder):
    server = subprocess.Popen([SERVER, backend, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().strip()
        server.lines = []
        reader = threading.Thread(target=lambda: server.lines.extend(iter(server.stdout.readline, '')), daemon=True)
        reader.start()
        server.place = ('127.0.0.1', int(address.rsplit(':', 1)[1]))
        yield server
    finally:
        server.terminate()
        assert server.wait(20) == 0
        reader.join(5)


def ask(server, path, method='GET', **fields):
    connection = http.client.HTTPConnection(*server.place, timeout=20)
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in fields.items():
        connection.putheader(name.replace('_', '-'), value)
    connection.endheaders()
    answer = connection.getresponse()
    answer.body = answer.read()
    connection.close()
    return answer


def eventually(condition, what):
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.02)


def fill(folder):
    data = random.Random(1).randbytes(1_000_000)
    (folder / 'data.bin').write_bytes(data)
    (folder / 'empty.txt').write_bytes(b'')
    (folder / 'a b.txt').write_text('with a space')
    (folder / 'page.html').write_text('<p>page</p>' * 100)
    (folder / 'page.html.gz').write_bytes(gzip.compress(b'<p>page</p>' * 100))
    (folder / 'sub').mkdir()
    (folder / 'sub' / 'index.html').write_text('index')
    (folder / 'none').mkdir()
    (folder / '.secret').write_text('secret')
    (folder / '.well-known').mkdir()
    (folder / '.well-known' / 'x.txt').write_text('known')
    (folder.parent / 'outside.txt').write_text('outside')
    os.symlink('../outside.txt', folder / 'out.txt')
    os.symlink('/etc/passwd', folder / 'passwd.txt')
    os.symlink('sub/index.html', folder / 'in.html')
    os.mkfifo(folder / 'pipe.txt')
    (folder / 'closed.txt').write_text('closed')
    return data


def whole_files(server, folder, data):
    answer = ask(server, '/files/data.bin')
    assert (answer.status, answer.body) == (200, data)
    assert answer.headers['Content-Type'] == 'application/octet-stream' and answer.headers['Accept-Ranges'] == 'bytes'
    assert answer.headers['ETag'].startswith('"') and answer.headers['Last-Modified'].endswith(' GMT')
    head = ask(server, '/files/data.bin', 'HEAD')
    assert (head.status, head.headers['Content-Length'], head.body) == (200, '1000000', b'')
    assert head.headers['ETag'] == answer.headers['ETag']
    assert ask(server, '/files/empty.txt').body == b''
    assert ask(server, '/files/a%20b.txt').body == b'with a space'
    assert ask(server, '/files/sub/').body == b'index'
    moved = ask(server, '/files/sub')
    assert (moved.status, moved.headers['Location']) == (301, './sub/')
    assert ask(server, '/files/in.html').body == b'index'
    assert ask(server, '/files/.well-known/x.txt').body == b'known'
    for method in ('POST', 'DELETE', 'PUT'):
        refused = ask(server, '/files/data.bin', method, Content_Length='0')
        assert (refused.status, refused.headers['Allow']) == (405, 'GET, HEAD'), method
    fetched = subprocess.run(['curl', '-s', '-r', '500000-500009', f'http://{server.place[0]}:{server.place[1]}/files/data.bin'],
                             capture_output=True, check=True).stdout
    assert fetched == data[500000:500010]


def no_way_out(server, folder, data):
    for path in ('../outside.txt', '%2e%2e/outside.txt', 'sub/../../outside.txt', 'sub/%2e%2e%2f..%2foutside.txt', '..%5coutside.txt',
                 'out.txt', 'passwd.txt', '.secret', 'sub/../.secret', '.well-known/../.secret', '/etc/passwd', '%2fetc/passwd',
                 'pipe.txt', 'none/', 'nothing', 'data.bin/', 'data.bin/x', 'a' * 300, 'a/' * 1500):
        answer = ask(server, '/files/' + path)
        assert answer.status == 404 and b'outside' not in answer.body and b'root:' not in answer.body, (path, answer.status)
    if os.geteuid() != 0:
        (folder / 'closed.txt').chmod(0)
        assert ask(server, '/files/closed.txt').status == 403


def conditions(server, folder, data):
    plain = ask(server, '/files/data.bin')
    etag, date = plain.headers['ETag'], plain.headers['Last-Modified']
    same = ask(server, '/files/data.bin', If_None_Match=etag)
    assert (same.status, same.body, same.headers['ETag']) == (304, b'', etag)
    assert ask(server, '/files/data.bin', If_Modified_Since=date).status == 304
    assert ask(server, '/files/data.bin', If_None_Match='"x"', If_Modified_Since=date).status == 200
    assert ask(server, '/files/data.bin', If_Match='"x"').status == 412
    assert ask(server, '/files/data.bin', If_Match=etag).status == 200
    assert ask(server, '/files/data.bin', If_Unmodified_Since='Sun, 06 Nov 1994 08:49:37 GMT').status == 412
    part = ask(server, '/files/data.bin', Range='bytes=0-9', If_Range=etag)
    assert (part.status, part.body) == (206, data[:10])
    assert ask(server, '/files/data.bin', Range='bytes=0-9', If_Range='"x"').status == 200
    assert ask(server, '/files/data.bin', Range='bytes=0-9', If_None_Match=etag).status == 304
    (folder / 'changing.txt').write_text('one')
    before = ask(server, '/files/changing.txt').headers['ETag']
    time.sleep(0.05)  # so that the file system's clock moves
    (folder / 'changing.txt').write_text('two')
    assert ask(server, '/files/changing.txt', If_None_Match=before).body == b'two'


def ranges(server, folder, data):
    part = ask(server, '/files/data.bin', Range='bytes=10-19')
    assert (part.status, part.body, part.headers['Content-Range']) == (206, data[10:20], 'bytes 10-19/1000000')
    assert ask(server, '/files/data.bin', Range='bytes=-5').body == data[-5:]
    assert ask(server, '/files/data.bin', Range='bytes=999999-2000000').body == data[-1:]
    beyond = ask(server, '/files/data.bin', Range='bytes=1000000-')
    assert (beyond.status, beyond.headers['Content-Range']) == (416, 'bytes */1000000')
    head = ask(server, '/files/data.bin', 'HEAD', Range='bytes=1-2')
    assert (head.status, head.headers['Content-Length']) == (200, '1000000'), 'a range is for GET (RFC 9110, 14.2)'
    several = ask(server, '/files/data.bin', Range='bytes=0-4, 100000-300000, -3')
    assert several.status == 206 and int(several.headers['Content-Length']) == len(several.body)
    parts = email.parser.BytesParser().parsebytes(b'Content-Type: ' + several.headers['Content-Type'].encode() + b'\r\n\r\n' +
                                                  several.body).get_payload()
    assert [part['Content-Range'] for part in parts] == ['bytes 0-4/1000000', 'bytes 100000-300000/1000000',
                                                         'bytes 999997-999999/1000000']
    boundary = several.headers['Content-Type'].split('boundary=')[1].encode()
    bodies = [piece.split(b'\r\n\r\n', 1)[1][:-2] for piece in several.body.split(b'--' + boundary)[1:-1]]
    assert bodies == [data[:5], data[100000:300001], data[-3:]]
    flood = ask(server, '/files/data.bin', Range='bytes=' + ','.join(f'{i}-' for i in range(500)))
    assert (flood.status, len(flood.body)) == (200, len(data)), 'a flood of ranges is answered with the whole'
    assert ask(server, '/files/data.bin', Range='bytes=5-2').status == 200


def shrinking(server, folder, data):
    size = 40_000_000
    (folder / 'large.bin').write_bytes(bytes(size))
    with socket.create_connection(server.place) as client:
        client.sendall(b'GET /files/large.bin HTTP/1.1\r\nHost: x\r\n\r\n')
        got = len(client.recv(1000))
        os.truncate(folder / 'large.bin', 1000)
        try:
            while piece := client.recv(1 << 20):
                got += len(piece)
        except ConnectionResetError:
            pass
    assert got < size, 'the connection ends before what was announced, and so says that it is not all'
    eventually(lambda: any('failed' in line for line in server.lines), 'the handler was told')
    assert ask(server, '/files/data.bin').body == data


def precompressed(server, folder, data):
    plain, packed = ask(server, '/files/page.html'), ask(server, '/files/page.html', Accept_Encoding='br, gzip')
    assert plain.body == b'<p>page</p>' * 100 and plain.headers['Vary'] == 'Accept-Encoding'
    assert packed.headers['Content-Encoding'] == 'gzip' and packed.headers['Content-Type'] == 'text/html; charset=utf-8'
    assert gzip.decompress(packed.body) == plain.body and packed.headers['ETag'] != plain.headers['ETag']
    assert ask(server, '/files/page.html', Accept_Encoding='gzip;q=0').headers['Content-Encoding'] is None
    os.utime(folder / 'page.html', (time.time() + 100,) * 2)
    assert ask(server, '/files/page.html', Accept_Encoding='gzip').headers['Content-Encoding'] is None, 'the .gz is older'


def compressed(server, folder, data):
    for path in ('/text', '/sized', '/whole'):
        plain, packed = ask(server, path), ask(server, path, Accept_Encoding='gzip')
        assert plain.headers['Content-Encoding'] is None and packed.headers['Content-Encoding'] == 'gzip', path
        assert plain.headers['Vary'] == packed.headers['Vary'] == 'Accept-Encoding'
        assert gzip.decompress(packed.body) == plain.body and len(packed.body) < len(plain.body) / 2, path
        head = ask(server, path, 'HEAD', Accept_Encoding='gzip')
        assert (head.status, head.body, head.headers['Content-Encoding']) == (200, b'', 'gzip')
    assert ask(server, '/text', Accept_Encoding='gzip').headers['ETag'] == 'W/"strong"'
    assert ask(server, '/text').headers['ETag'] == '"strong"'
    assert ask(server, '/files/data.bin', Accept_Encoding='gzip').body == data, 'files have their own way'


def events(server, folder, data):
    with socket.create_connection(server.place) as client:
        client.settimeout(20)
        client.sendall(b'GET /events HTTP/1.0\r\n\r\n')
        text = b''
        while not text.endswith(b'data: \n\n'):
            piece = client.recv(4096)
            assert piece, text
            text += piece
    head, body = text.split(b'\r\n\r\n', 1)
    assert b'Content-Type: text/event-stream\r\n' in head + b'\r\n' and b'Cache-Control: no-store' in head
    assert body == (b'retry: 1500\n\n:\n\nid: 1\ndata: one line\n\nevent: many\nid: 2\ndata: first\ndata: second\ndata: third\n'
                    b'data: fourth\ndata: \n\ndata: \n\n'), body
    eventually(lambda: 'gone\n' in server.lines, 'who left is noticed')
    assert ask(server, '/events', 'POST', Content_Length='0').status == 500


def main():
    for backend in ('uring', 'epoll'):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name) / 'root'
            folder.mkdir()
            data = fill(folder)
            with serving(backend, folder) as server:
                for story in (whole_files, no_way_out, conditions, ranges, shrinking, precompressed, compressed, events):
                    story(server, folder, data)
                    print(f'{backend}: {story.__name__}: ok', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
