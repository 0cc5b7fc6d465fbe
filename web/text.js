/* SPDX-License-Identifier: MIT */
/* What all parts of the page say things with: elements, numbers, times, lines. */

export const $ = id => document.getElementById(id);
/* This server's address for WebSockets. */
export const ws = location.origin.replace(/^http/, 'ws');
export const count = (value, digits = 0) => value.toLocaleString('en', {maximumFractionDigits: digits});

/* The only way text gets into the page: as text, never as HTML. */
export function put(tag, text, name = '') {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = name;
  return made;
}

/* A state is read aloud when it changes, so it is touched only then. */
export function state(where, is, text) {
  where.dataset.is = is;
  if (where.textContent !== text) where.textContent = text;
}

export function lasting(s) {
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

export function short(ms) {
  if (ms < 1) return `${count(ms * 1000)} µs`;
  return ms < 1000 ? `${count(ms, ms < 10 ? 1 : 0)} ms` : `${count(ms / 1000, 1)} s`;
}

export const clock = at => new Date(at).toLocaleTimeString('en-GB', {hour: '2-digit', minute: '2-digit'});

/* Draws points of {at, value}, newest at the right; y(value) is 0 to 1. The line breaks where nothing came for `gap` ms. */
export function draw(svg, points, span, gap, y) {
  const now = performance.now(), parts = [[]];
  let before = -Infinity;
  for (const {at, value} of points) {
    if (at - before > gap || value === null) parts.push([]);
    before = at;
    if (value === null) continue;
    const height = 54 - 50 * Math.min(1, Math.max(0, y(value)));
    parts.at(-1).push([(240 - (now - at) / span * 240).toFixed(1), height.toFixed(1)]);
  }
  const drawn = parts.filter(part => part.length);
  const lines = drawn.map(part => part.map(point => point.join(' ')).join('L'));
  svg.querySelector('.line').setAttribute('d', lines.map(line => `M${line}h.1`).join(''));
  svg.querySelector('.area').setAttribute('d', lines.map((line, i) => `M${drawn[i][0][0]} 56L${line}V56Z`).join(''));
}
