// SPDX-License-Identifier: MIT
// A client by npm's `ws`: node echo_client.js WS_MODULE URL [deflate]. Exits 0 when all came back as it went.
'use strict';
const assert = require('assert');
const WebSocket = require(process.argv[2]);
const ws = new WebSocket(process.argv[3], { perMessageDeflate: process.argv[4] === 'deflate' ? { threshold: 0 } : false });
const messages = [];
for (const size of [0, 1, 125, 126, 127, 65535, 65536, 1 << 20]) {
  messages.push('x'.repeat(size), Buffer.alloc(size, 7), 'é'.repeat(size / 2), require('crypto').randomBytes(size));
}
let next = 0;
let pongs = 0;
ws.on('open', () => {
  messages.forEach((message) => ws.send(message));
  ws.ping('are you there?');
  ws.send('in ', { fin: false });
  ws.send('three ', { fin: false });
  ws.send('pieces', { fin: true });
  messages.push('in three pieces');
});
ws.on('pong', (data) => { assert.strictEqual(data.toString(), 'are you there?'); pongs++; });
ws.on('message', (data, binary) => {
  const wanted = messages[next++];
  assert.strictEqual(binary, typeof wanted !== 'string');
  assert.ok(data.equals(Buffer.from(wanted)), `message ${next}`);
  if (next === messages.length) ws.close(4000, 'done');
});
ws.on('close', (code) => {
  assert.deepStrictEqual([code, pongs, next], [4000, 1, messages.length]);
  console.log(`extensions: ${ws.extensions || 'none'}`);
});
ws.on('error', (error) => { console.error(error); process.exit(1); });
