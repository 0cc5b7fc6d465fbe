#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""One server on each backend: a page, a computation, a message back, a clean end. What `./test quick` knows of serve."""
import sys

from raw import TEXT, WebSocket, frame
from runner import main
from server import check, equal


def it_serves_computes_echoes_and_stops(run):
    with run.serve('--pool', '1') as server:
        equal(server.get('/healthz').body, b'ok', '/healthz')
        check(b'<!doctype html>' in server.get('/').body.lower(), '/ is no page')
        equal(server.compute('primes', n=1000).body['value'], 168, 'primes up to 1,000')
        with WebSocket(server, '/echo') as echo:
            echo.send(frame(TEXT, b'hello'))
            echo.expect_message(b'hello', TEXT)
            echo.leave()


sys.exit(main(it_serves_computes_echoes_and_stops))
