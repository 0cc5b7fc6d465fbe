#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""WebSocket with those who wrote their own: python3-websockets, python3-aiohttp, npm's ws, as clients and as servers.

    tests/interop/test_websocket.py PROGRAM ECHO_CLIENT

ECHO_CLIENT is our client.
"""
import asyncio
import contextlib
import pathlib
import random
import sys

from strangers import needs, output, program

try:
    import aiohttp
    import aiohttp.web
    import websockets
except ImportError:
    aiohttp = websockets = None   # main() says so, and skips

from runner import Skip, main
from server import check, equal

HERE = pathlib.Path(__file__).resolve().parent
CLIENT = sys.argv.pop(2)
WS_MODULE = pathlib.Path('/usr/share/nodejs/ws')
MESSAGES = ['', 'a', 'é' * 63, '🦊' * 1000, b'', b'\0', b'x' * 125, b'x' * 126, b'x' * 65535, b'x' * 65536, 'ü' * 100000,
            random.Random(1).randbytes(1 << 20)]


def python_clients():
    if websockets is None:
        raise Skip('python3-websockets or python3-aiohttp is not installed')


def ws_module():
    """npm's ws, as Debian packages it."""
    needs('node')
    if not WS_MODULE.is_dir():
        raise Skip('node-ws is not installed')
    return WS_MODULE


def python_run(*arguments, run):
    return output(CLIENT, *arguments, '--backend', run.backend)


async def websockets_talks_to_us(run):
    python_clients()
    with run.serve('--pool', '1') as server:
        for compression in (None, 'deflate'):
            async with websockets.connect(server.url('/echo'), max_size=None, compression=compression) as echo:
                for message in MESSAGES:
                    await echo.send(message)
                    check(await echo.recv() == message, f'{message[:20]!r} of {len(message)}')
                await echo.send(['in ', 'three ', 'pieces'])
                equal(await echo.recv(), 'in three pieces', 'a fragmented message')
                await asyncio.wait_for(await echo.ping(b'there?'), 20)
                await echo.close(4001, 'done')
                equal(echo.close_code, 4001, 'how it closed')
        for path in ('/nowhere', '/healthz'):
            try:
                async with websockets.connect(server.url(path)):
                    check(False, f'{path} is a WebSocket')
            except websockets.InvalidStatusCode as error:
                equal(error.status_code, 404 if path == '/nowhere' else 200, f'status of {path}')


async def aiohttp_talks_to_us(run):
    python_clients()
    with run.serve('--pool', '1') as server:
        async with aiohttp.ClientSession() as session:
            for compress in (0, 15, 9):
                async with session.ws_connect(server.url('/echo', 'http'), max_msg_size=0, compress=compress) as echo:
                    for message in MESSAGES:
                        await (echo.send_str if isinstance(message, str) else echo.send_bytes)(message)
                        check((await echo.receive(20)).data == message, f'{message[:20]!r} of {len(message)}')
                    await echo.ping(b'there?')
                    await echo.close(code=4001, message=b'done')
                    equal(echo.close_code, 4001, 'how it closed')
            for number in range(50):   # and plain HTTP on kept connections
                async with session.post(server.url('/compute', 'http'), json={'op': 'primes', 'n': number}) as answer:
                    equal((answer.status, (await answer.json())['n']), (200, number), 'a computation')
                async with session.get(server.url('/healthz', 'http')) as answer:
                    equal(await answer.text(), 'ok', '/healthz')


def npm_ws_talks_to_us(run):
    module = ws_module()
    with run.serve('--pool', '1') as server:
        for deflate in ('', 'deflate'):
            said, _ = output('node', HERE / 'echo_client.js', module, server.url('/echo'), deflate)
            run.note(said.decode().strip())


async def we_talk_to_websockets(run):
    python_clients()

    async def echo(connection, _path=None):
        async for message in connection:
            await connection.send(message)

    for compression in (None, 'deflate'):
        async with websockets.serve(echo, '127.0.0.1', 0, max_size=None, compression=compression, subprotocols=['chat']) as server:
            await client_against(server.sockets[0].getsockname()[1], run, '--protocol', 'chat')


async def client_against(port, run, *arguments):
    child = await asyncio.create_subprocess_exec(CLIENT, f'ws://127.0.0.1:{port}/', '--backend', run.backend, *arguments,
                                                 stderr=asyncio.subprocess.PIPE)
    _, said = await asyncio.wait_for(child.communicate(), 40 * run.slack)
    equal((child.returncode, said), (0, b''), 'our client')


async def we_talk_to_aiohttp(run):
    python_clients()

    async def echo(request):
        socket = aiohttp.web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            await (socket.send_str if message.type == aiohttp.WSMsgType.TEXT else socket.send_bytes)(message.data)
        return socket

    app = aiohttp.web.Application()
    app.router.add_get('/', echo)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, '127.0.0.1', 0)
    await site.start()
    with contextlib.suppress(asyncio.CancelledError):
        await client_against(site._server.sockets[0].getsockname()[1], run)
    await runner.cleanup()


def we_talk_to_npm_ws(run):
    module = ws_module()
    for deflate in ('', 'deflate'):
        with program('node', HERE / 'echo_server.js', module, deflate, says='port ') as (_, line):
            python_run(f'ws://127.0.0.1:{line.split()[1]}/', '--protocol', 'chat', run=run)


if __name__ == '__main__':
    sys.exit(main(websockets_talks_to_us, aiohttp_talks_to_us, npm_ws_talks_to_us, we_talk_to_websockets, we_talk_to_aiohttp,
                  we_talk_to_npm_ws))
