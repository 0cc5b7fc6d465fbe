#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""WebSocket from a page in a browser: its own origin may connect, another may not, unless it is told so."""
import contextlib
import http.server
import sys
import threading

from strangers import needs

from browser import Browser
from runner import main
from server import equal

ECHO = """
const [url, sizes, done] = arguments;
const socket = new WebSocket(url);
const found = {opened: false, wrong: [], code: 0};
socket.binaryType = 'arraybuffer';
const messages = sizes.flatMap((size) => ['x'.repeat(size), 'é'.repeat(size), new Uint8Array(size).fill(7)]);
let next = 0;
socket.onopen = () => { found.opened = true; messages.forEach((message) => socket.send(message)); };
socket.onmessage = (event) => {
    const wanted = messages[next++];
    const same = typeof wanted === 'string' ? event.data === wanted
        : event.data.byteLength === wanted.length && new Uint8Array(event.data).every((byte) => byte === 7);
    if (!same) found.wrong.push(next - 1);
    if (next === messages.length) socket.close(4001, 'done');
};
socket.onclose = (event) => { found.code = event.code; found.clean = event.wasClean; found.count = next;
    found.extensions = socket.extensions; done(found); };
"""
SIZES = [0, 1, 125, 126, 65535, 65536, 300000]


class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Type', 'text/html')
        self.end_headers()
        self.wfile.write(b'<!doctype html><title>elsewhere</title>')

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def another_site():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f'http://127.0.0.1:{server.server_address[1]}/'
    finally:
        server.shutdown()
        server.server_close()


def echo(browser, url):
    """Runs the page's script, which says when it is done."""
    return browser.call('POST', '/execute/async', {'script': ECHO, 'args': [url, SIZES]})


def its_own_page_may_connect(run):
    needs('chromium', 'chromedriver')
    with run.serve('--pool', '1') as server, Browser(run.slack) as browser:
        browser.open(server.url('/', 'http'))
        found = echo(browser, server.url('/echo'))
        run.note(f'extensions: {found["extensions"] or "none"}')
        equal((found['opened'], found['wrong'], found['count'], found['code'], found['clean']), (True, [], 3 * len(SIZES), 4001, True),
              'what the page saw')


def another_page_may_not(run):
    needs('chromium', 'chromedriver')
    with run.serve('--pool', '1') as server, another_site() as site, Browser(run.slack) as browser:
        browser.open(site)
        found = echo(browser, server.url('/echo'))
        equal((found['opened'], found['code']), (False, 1006), 'what the other page saw')


def another_page_may_where_it_is_allowed(run):
    needs('chromium', 'chromedriver')
    with another_site() as site, run.serve('--pool', '1', '--allow-origin', site.rstrip('/')) as server, Browser(run.slack) as browser:
        browser.open(site)
        found = echo(browser, server.url('/echo'))
        equal((found['opened'], found['wrong'], found['code']), (True, [], 4001), 'what the page saw')


if __name__ == '__main__':
    sys.exit(main(its_own_page_may_connect, another_page_may_not, another_page_may_where_it_is_allowed))
