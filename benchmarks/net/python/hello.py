#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Hello over HTTP by uvicorn on uvloop. Prints its port."""
import socket

import uvicorn


async def app(scope, receive, send):
    if scope['type'] == 'http':
        await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'2')]})
        await send({'type': 'http.response.body', 'body': b'ok'})

with socket.socket() as listener:
    listener.bind(('127.0.0.1', 0))
    listener.listen(4096)
    print(f':{listener.getsockname()[1]}', flush=True)
    uvicorn.Server(uvicorn.Config(app, loop='uvloop', log_level='critical', access_log=False, lifespan='off')).run([listener])
