// SPDX-License-Identifier: MIT
// An echo by npm's `ws`: node echo_server.js WS_MODULE [deflate]. Prints its port.
'use strict';
const { WebSocketServer } = require(process.argv[2]);
const deflate = process.argv[3] === 'deflate' ? { threshold: 0 } : false;
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: deflate, handleProtocols: (wanted) => [...wanted][0] });
server.on('listening', () => console.log(`port ${server.address().port}`));
server.on('connection', (ws) => ws.on('message', (data, binary) => ws.send(data, { binary })));
