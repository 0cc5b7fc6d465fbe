#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs an example as a newcomer would, and looks whether it shows what it claims."""
import asyncio
import http.server
import os
import re
import subprocess
import sys
import threading
import time


def run(program):
    done = subprocess.run([program], capture_output=True, text=True, timeout=50)
    print(done.stdout, done.stderr, sep='')
    assert done.returncode == 0, f'exit status {done.returncode}'
    return done.stdout + done.stderr


def concurrency(program):
    text = run(program)
    total, longest = [float(x) for x in re.findall(r'([\d.]+) s: the', text)]
    assert 6.0 <= total < 9.0, 'one after the other takes the sum'
    assert 3.0 <= longest < 4.5, 'at the same time takes the longest'
    assert re.findall(r'pot ready after (\d)', text) == list('312123'), 'the shortest pot is ready first'
    assert 'on one thread' in text


def parallelism(program):
    text = run(program)
    counts = set(re.findall(r'\((\d+) primes\)', text))
    assert counts == {'92938'}, f'every way finds the same primes: {counts}'  # those below 1,200,000
    assert len(re.findall('times as fast', text)) == 4


def gather(program):
    text = run(program)
    squares = ' '.join(str(n * n) for n in range(1, 11))
    assert f'answers: {squares}\n' in text, 'in the order of the questions'
    assert int(re.search(r'in (\d+) ms', text).group(1)) < 1000, 'the longest, not the sum (1,100 ms)'
    assert 'all on one thread' in text
    cancelled = re.search(r'one fails \(.*\):(.*)', text).group(1).split()
    assert cancelled == ['cancelled'] * 6 + ['failed', '64', '81', '100'], 'the failure cancels those still on their way'
    collected = re.search(r'all collected:(.*)', text).group(1).split()
    assert collected == '1 4 9 16 25 36 failed 64 81 100'.split(), 'or every answer is kept'


def deadlock(program):
    text = run(program)
    assert len(re.findall(r'waits: .*mutex made at .*deadlock\.c:\d+', text)) == 2, 'both waits are named'
    assert len(re.findall(r'deadlock\.c:\d+', text)) >= 2, 'and where the tasks were spawned'
    assert 'philosophers: deadlock' in text
    assert '200000 of 200000 guests' in text


def map_(program):
    text = run(program)
    assert '[1, 2, 3, 4]) = [1, 4, 9, 16]' in text
    assert '1000000 of 1000000 squares' in text
    assert int(re.search(r'(\d+) chunks', text).group(1)) < 10000, 'a chunk is many items'


def offload(program):
    text = run(program)
    assert 'primes below two million: 148933' in text, 'a result'
    for what in ('fails: ', 'crashes: .*signal 6', 'takes too long: .*deadline', r'too many: .*\(queue\)', 'heart beat on'):
        assert re.search(what, text), what


def echo(program):
    server = subprocess.Popen([program, '127.0.0.1:0'], stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().split()[-1]
        done = subprocess.run([program, url, 'hello', 'x' * 5000], capture_output=True, text=True, timeout=50)
        assert done.returncode == 0 and done.stdout == 'hello\n' + 'x' * 5000 + '\n', done
        assert 'a client left: 1000' in server.stdout.readline()
    finally:
        server.terminate()
        assert server.wait(20) == 0, 'it ends well when it is asked to'


async def talk(url):
    import websockets
    ann, bob = await websockets.connect(url), await websockets.connect(url)
    try:
        # One burns; the room goes on for the other, who hears itself long before the second is over.
        began = time.monotonic()
        await ann.send('burn 1000')
        for i in range(20):
            await bob.send(f'line {i}')
            assert await asyncio.wait_for(bob.recv(), 5) == f'line {i}'
        talked = time.monotonic() - began
        heard = [await asyncio.wait_for(ann.recv(), 10) for _ in range(21)]
        computed = time.monotonic() - began
        assert heard.count('done') == 1 and computed >= 1.0, 'the one who asked waits for the result'
        assert talked < computed, 'the other did not'
        # Five at once: two run, two wait, one is told that there is no room.
        users = [await websockets.connect(url) for _ in range(5)]
        for user in users:
            await user.send('burn 300')
        answers = sorted([await asyncio.wait_for(user.recv(), 10) for user in users])
        assert answers == ['done'] * 4 + ['the queue is full'], answers
        for user in users:
            await user.close()
    finally:
        await ann.close()
        await bob.close()


def fetch(program):
    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == '/slow':
                time.sleep(10)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'hello')

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Slow)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f'http://127.0.0.1:{server.server_address[1]}'
    done = subprocess.run([program, f'{base}/a', f'{base}/slow', f'{base}/b', 'http://127.0.0.1:1/'], capture_output=True,
                          text=True, timeout=50, env={**os.environ, 'no_proxy': '127.0.0.1'})
    print(done.stdout, done.stderr, sep='')
    for page in 'ab':
        assert f'{base}/{page}: 200, 5 bytes' in done.stdout
    assert '/slow: cancelled' in done.stdout, 'not waited for'
    assert re.search(r'127.0.0.1:1/: connection refused', done.stdout, re.IGNORECASE)
    assert 2000 <= int(re.search(r'all in (\d+) ms', done.stdout).group(1)) < 8000


def saferoom(program):
    with subprocess.Popen([program, '127.0.0.1:0'], stdout=subprocess.PIPE, text=True) as server:
        try:
            url = re.search(r'ws://\S+', server.stdout.readline()).group()
            asyncio.run(talk(url))
        finally:
            server.kill()


if __name__ == '__main__':
    {'concurrency': concurrency, 'deadlock': deadlock, 'echo': echo, 'fetch': fetch, 'gather': gather, 'map': map_,
     'offload': offload, 'parallelism': parallelism, 'saferoom': saferoom}[sys.argv[1]](sys.argv[2])
