/* SPDX-License-Identifier: MIT */
/* The chat room: a connection that comes back by itself, and heavy work that others do not notice. */
import {$, clock, count, put, short, state, ws} from './text.js';
import {metric} from './figures.js';

const BACKOFF_MS = 500, BACKOFF_MAX_MS = 15000, LINES_MAX = 200, JOBS_MAX = 64, SHOWN_CHARS = 4000;
const utf8 = new TextEncoder();
const chat = {socket: null, joined: false, name: '', room: '', you: '', members: [], attempt: 0, retry: 0, retryAt: 0,
  shown: new Set(), said: [], jobs: new Map(), serial: 0, ticking: 0};

function addLine(line) {
  const log = $('log'), atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 48;
  log.append(line);
  while (log.childElementCount > LINES_MAX) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function addEvent(text) {
  addLine(put('p', text, 'event'));
}

function addMessage({id, from, text, at}, took) {
  const line = put('p', '', from === chat.you ? 'mine' : ''), words = put('span', ''), name = put('b', '');
  if (chat.shown.has(`${id} ${at}`)) return;
  chat.shown.add(`${id} ${at}`);
  name.append(put('bdi', from));
  words.append(name, put('bdi', text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text));
  line.append(words, put('time', took === undefined ? clock(at) : `${short(took)} · ${clock(at)}`));
  addLine(line);
}

function showMembers() {
  $('members').replaceChildren(...chat.members.map(name => {
    const item = put('li', '');
    item.title = name;
    item.append(put('bdi', name), name === chat.you ? ' (you)' : '');
    return item;
  }));
  $('h-members').textContent = chat.members.length ? `In the room: ${chat.members.length}` : 'In the room';
}

function describe(job) {
  const {count: all, done, busy, failed, last} = job, pending = all - done - busy - failed, parts = [];
  if (all === 1 && done) {
    const value = last.op === 'primes' ? `${count(last.value)} primes` : 'done';
    return `${value}; waited ${last.queued_ms < 0.1 ? 'under 0.1 ms' : short(last.queued_ms)}, ran ${short(last.ran_ms)}`;
  }
  if (all > 1 && done) parts.push(`${done} done`);
  if (pending) parts.push(`${all > 1 ? `${pending} ` : ''}under way, ${count((performance.now() - job.began) / 1000, 1)} s`);
  if (busy) parts.push(`${all > 1 ? `${busy} told ` : ''}busy: the queue is full, try again in ${short(job.retry)}`);
  if (failed) parts.push(`${all > 1 ? `${failed} ` : ''}failed: ${job.error}`);
  return parts.join('; ');
}

/* While jobs are under way their lines tell the time; a reader is told of them when they end (aria-busy). */
function showJob(job) {
  const over = job.count === job.done + job.busy + job.failed;
  job.text.textContent = describe(job);
  job.line.dataset.is = job.busy + job.failed ? 'bad' : 'good';
  job.line.setAttribute('aria-busy', String(!over));
}

function tick() {
  for (const job of new Set(chat.jobs.values())) showJob(job);
  if (chat.jobs.size) return;
  clearInterval(chat.ticking);
  chat.ticking = 0;
}

function settle(message) {
  const job = chat.jobs.get(message.id);
  if (!job) return addEvent(`The server: ${message.error}`);
  chat.jobs.delete(message.id);
  if (message.type === 'result') { job.done++; job.last = message; }
  if (message.type === 'busy') { job.busy++; job.retry = message.retry_after_ms; }
  if (message.type === 'error') { job.failed++; job.error = message.error; }
  showJob(job);
}

function ask(title, request, times = 1) {
  if (!canSend()) return;
  const line = put('p', '', 'work'), words = put('span', '');
  const job = {line, text: put('span', ''), count: times, done: 0, busy: 0, failed: 0, began: performance.now()};
  words.append(put('b', title), job.text);
  line.append(words, put('time', clock(Date.now())));
  for (let i = 0; i < times; i++) {
    const id = `j${++chat.serial}`;
    chat.jobs.set(id, job);
    chat.socket.send(JSON.stringify({type: 'compute', id, ...request}));
  }
  showJob(job);
  addLine(line);
  chat.ticking ||= setInterval(tick, 200);
}

function canSend() {
  const open = chat.socket?.readyState === WebSocket.OPEN;
  if (!open) state($('chat-state'), 'bad', 'Not sent: disconnected; trying again');
  return open;
}

const receivers = {
  welcome(message) {
    Object.assign(chat, {you: message.you, members: message.members, attempt: 0});
    state($('chat-state'), 'good', `In ${message.room} as ${message.you}`);
    $('retry').textContent = '';
    $('log').setAttribute('aria-busy', 'true');
    for (const old of message.history) addMessage(old);
    addEvent(`You are in ${message.room}.`);
    $('log').setAttribute('aria-busy', 'false');
    showMembers();
  },
  join({name}) { chat.members.push(name); showMembers(); addEvent(`${name} came in.`); },
  leave({name}) { chat.members = chat.members.filter(other => other !== name); showMembers(); addEvent(`${name} left.`); },
  message(message) {
    const mine = message.from === chat.you && chat.said.length;
    addMessage(message, mine ? performance.now() - chat.said.shift() : undefined);
  },
  result: settle, busy: settle, error: settle,
};

function connect() {
  const socket = new WebSocket(`${ws}/chat/${encodeURIComponent(chat.room)}?name=${encodeURIComponent(chat.name)}`);
  clearTimeout(chat.retry);
  Object.assign(chat, {socket, retry: 0, said: []});
  $('retry').textContent = '';
  if (chat.attempt === 0) state($('chat-state'), 'wait', 'Connecting');
  socket.onmessage = event => {
    const message = JSON.parse(event.data);
    if (chat.socket === socket) receivers[message.type]?.(message);
  };
  socket.onclose = event => chat.socket === socket && disconnected(event.reason);
}

function disconnected(reason) {
  const wait = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** chat.attempt++) * (0.75 + Math.random() / 2);
  loseJobs();
  if (chat.members.length) addEvent(`The connection ended${reason ? `: ${reason}` : ''}.`);
  Object.assign(chat, {socket: null, members: [], retryAt: performance.now() + wait});
  state($('chat-state'), 'bad', 'Disconnected; trying again');
  showMembers();
  if (!document.hidden) waitToConnect();
}

function waitToConnect() {
  const left = chat.retryAt - performance.now();
  if (left <= 0) return connect();
  $('retry').textContent = `in ${Math.ceil(left / 1000)} s`;
  chat.retry = setTimeout(waitToConnect, Math.min(left, 500));
}

function loseJobs() {
  for (const id of [...chat.jobs.keys()]) settle({id, type: 'error', error: 'the connection ended'});
}

function leave() {
  const socket = chat.socket;
  clearTimeout(chat.retry);
  loseJobs();
  Object.assign(chat, {socket: null, joined: false, members: []});
  socket?.close(1000);
  $('retry').textContent = '';
  state($('chat-state'), '', 'Not in a room');
  addEvent('You left.');
}

/* Bytes are what the server counts. "." and ".." in a path would name the folder itself or the one above. */
function checkName(input, most) {
  const name = input.value.trim(), size = utf8.encode(name).length, bad = input.id === 'room' ? /^\.\.?$|\0/ : /[\0-\x1f\x7f]/;
  input.setCustomValidity(size === 0 ? 'Something is needed here.' : bad.test(name) ? 'This cannot be a name.'
    : size > most ? `${size} bytes are too long; ${most} are the most.` : '');
}

function showJoined() {
  for (const id of ['name', 'room']) $(id).readOnly = chat.joined;
  for (const node of document.querySelectorAll('#text, #send, #primes button, #burn, #flood')) node.disabled = !chat.joined;
  $('join-button').textContent = chat.joined ? 'Leave' : 'Join';
  $('join-button').classList.toggle('first', !chat.joined);
  showMembers();
}

export function buildChat() {
  $('name').value = `guest-${100 + Math.floor(Math.random() * 900)}`;
  for (const [id, most] of [['name', 48], ['room', 64]]) $(id).addEventListener('input', () => checkName($(id), most));
  $('join').addEventListener('submit', event => {
    event.preventDefault();
    if (chat.joined) leave();
    else {
      if (chat.room !== $('room').value.trim()) { $('log').replaceChildren(); chat.shown.clear(); }
      Object.assign(chat, {joined: true, attempt: 0, name: $('name').value.trim(), room: $('room').value.trim()});
      connect();
    }
    showJoined();
    if (chat.joined && matchMedia('(pointer: fine)').matches) $('text').focus();
  });
  $('say').addEventListener('submit', event => {
    event.preventDefault();
    if (!$('text').value.trim() || !canSend()) return;
    chat.said.push(performance.now());
    chat.socket.send(JSON.stringify({type: 'say', text: $('text').value}));
    $('text').value = '';
  });
  $('primes').addEventListener('submit', event => {
    event.preventDefault();
    ask(`Primes up to ${count(Number($('n').value))}`, {op: 'primes', n: Number($('n').value)});
  });
  $('burn').addEventListener('click', () => ask('Burn 2 s', {op: 'burn', ms: 2000}));
  $('flood').addEventListener('click', () => {
    const fits = (metric('tandem_named_pool_queue_limit{pool="compute"}') ?? JOBS_MAX)
      + (metric('tandem_named_pool_workers{pool="compute"}') ?? 0);
    const times = Math.min(JOBS_MAX, fits) + 6;
    ask(`${times} × burn 0.2 s`, {op: 'burn', ms: 200}, times);
  });
}

/* A hidden page does not try to connect; when it is seen again, it does. */
export function chatSeen() {
  clearTimeout(chat.retry);
  if (!document.hidden && chat.joined && !chat.socket) waitToConnect();
}
