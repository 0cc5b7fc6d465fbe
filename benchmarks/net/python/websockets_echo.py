#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The peer of the echo benchmark: Debian's python3-websockets, without compression, as fast as it goes."""
import asyncio

import websockets


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    async with websockets.serve(echo, '127.0.0.1', 0, compression=None, ping_interval=None) as server:
        print(f'listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}', flush=True)
        await asyncio.Future()

asyncio.run(main())
