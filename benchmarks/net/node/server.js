// SPDX-License-Identifier: MIT
// Hello over HTTP, echo over WebSocket and rooms of one, by the npm package ws. Prints its port.
'use strict';
const http = require('http');
const { WebSocketServer } = require('ws');

const server = http.createServer((request, response) => response.end('ok'));
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
const room = new Set();

server.on('upgrade', (request, socket, head) => sockets.handleUpgrade(request, socket, head, (ws) => {
    if (request.url.startsWith('/room')) {
        room.add(ws);
        ws.on('close', () => room.delete(ws));
        ws.on('message', (data, binary) => { for (const other of room) other.send(data, { binary }); });
    } else {
        ws.on('message', (data, binary) => ws.send(data, { binary }));
    }
}));
server.listen(0, '127.0.0.1', 4096, () => console.log(':' + server.address().port));
