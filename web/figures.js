/* SPDX-License-Identifier: MIT */
/* Live figures: /metrics, once a second while the page is visible. */
import {$, count, draw, lasting, put, short, state} from './text.js';

const HISTORY_MS = 120000, ANSWER_MS = 4000;
const rate = value => count(value, value < 10 ? 1 : 0);
const outcomes = ['ok', 'error', 'rejected', 'dropped', 'timeout', 'cancelled', 'died'];
const jobs = m => outcomes.reduce((sum, outcome) => sum + m[`tandem_pool_jobs_total{outcome="${outcome}"}`], 0);
const lag = 'tandem_loop_lag_seconds';

/* The upper bound, in ms, of the bucket that holds the 99th percentile of the turns since `old`. */
function lagP99(m, old) {
  const turns = m[`${lag}_count`] - old[`${lag}_count`];
  for (const name in m) {
    if (name.startsWith(`${lag}_bucket`) && turns > 0 && m[name] - old[name] >= 0.99 * turns) {
      const bound = name.match(/le="(.*)"/)[1];
      return bound === '+Inf' ? Infinity : bound * 1000;
    }
  }
  return null;
}

/* The chart's ceiling: 1, 2 or 5 times a power of ten. */
function ceiling(points) {
  const most = points.reduce((max, {value}) => Math.max(max, value ?? 0), 5), power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].find(step => step * power >= most) * power;
}

/*
 * read(m, d): m is the metrics; d(of) is the growth a second of what `of` takes from them, and d.old the metrics before.
 * d is null where there is nothing to compare with. show() gives the number and its unit; y() how high it stands, 0 to 1.
 */
const figures = [
  {id: 'connections', read: m => m.tandem_connections, show: value => [count(value)],
    note: m => `${count(m.tandem_connections_accepted_total)} so far, ${count(m.tandem_connections_refused_total)} refused`},
  {id: 'messages', read: (m, d) => d?.(o => o.tandem_messages_total), show: value => [rate(value), '/s'],
    note: (m, d) => d ? `${rate(d(o => o.tandem_messages_sent_total))} sent a second` : ''},
  {id: 'lag', read: (m, d) => d && lagP99(m, d.old),
    show: value => value < Infinity ? short(value).split(' ').map((part, i) => i ? ` ${part}` : `≤ ${part}`) : ['> 1', ' s'],
    note: m => m.tandem_loop_stalls_total ? `stalls: ${count(m.tandem_loop_stalls_total)}, ` +
      `${short(m.tandem_loop_stall_seconds_total * 1000)} in all` : 'no stall so far',
    y: value => Math.log2(value / 0.032) / 15, top: () => '1 s'},
  {id: 'busy', read: m => m.tandem_pool_busy_workers,
    show: (value, m) => [count(value), ` of ${count(m.tandem_pool_workers)}`], top: m => m.tandem_pool_workers,
    note: m => `${lasting(m.tandem_pool_run_seconds_total)} computed so far`},
  {id: 'queue', read: m => m.tandem_pool_queue_depth,
    show: (value, m) => [count(value), ` of ${count(m.tandem_pool_queue_limit)}`], top: m => m.tandem_pool_queue_limit || 1,
    note: m => m.tandem_pool_queue_depth ? `oldest waits ${short(m.tandem_pool_oldest_job_seconds * 1000)}`
      : `${count(m.tandem_pool_queue_depth_peak)} at the most so far`},
  {id: 'jobs', read: (m, d) => d?.(jobs), show: value => [rate(value), '/s'],
    note: m => `${count(jobs(m))} so far`},
];
const live = {old: null, request: null, timer: 0, read: 0};

function showFigure(figure, m, d) {
  const card = $(`figure-${figure.id}`), svg = card.querySelector('svg'), now = performance.now();
  const value = figure.read(m, d) ?? null, [text, unit = ''] = value === null ? ['–'] : figure.show(value, m);
  figure.points ??= [];
  figure.points.push({at: now, value});
  while (figure.points[0].at < now - HISTORY_MS - 2000) figure.points.shift();
  const top = figure.top ? figure.top(m) : ceiling(figure.points);
  card.querySelector('b').replaceChildren(text, put('small', unit));
  card.querySelector('.note').textContent = figure.note(m, d) || '\u00a0';
  card.querySelector('.chart span').textContent = typeof top === 'number' ? count(top) : top;
  svg.setAttribute('aria-label', `${card.querySelector('h4').textContent}, the last two minutes; now ${text}${unit}`);
  draw(svg, figure.points, HISTORY_MS, 4000, figure.y ?? (v => v / top));
}

function showMetrics(text) {
  const m = {}, now = performance.now(), old = live.old;
  for (const line of text.split('\n')) {
    const cut = line.lastIndexOf(' ');
    if (line[0] !== '#' && cut > 0) m[line.slice(0, cut)] = Number(line.slice(cut + 1));
  }
  /* Another uptime than expected: a server that was started again, or another of several. There is nothing to compare with. */
  const grown = old ? m.tandem_uptime_seconds - old.tandem_uptime_seconds : 0;
  const same = grown > 0.1 && grown < 5 && Math.abs(grown - (now - live.read) / 1000) < 1;
  const d = same ? of => (of(m) - of(old)) / grown : null;
  if (d) d.old = old;
  for (const figure of figures) showFigure(figure, m, d);
  for (const cell of document.querySelectorAll('#totals dd')) {
    const value = m[cell.dataset.metric] ?? 0;
    cell.textContent = count(value);
    cell.classList.toggle('hurt', value > 0 && !cell.matches('.fine'));
  }
  $('figures').classList.remove('stale');
  state($('status'), m.tandem_draining ? 'wait' : 'good', m.tandem_draining ? 'Draining: takes no new work' : 'Running');
  $('uptime').textContent = `for ${lasting(m.tandem_uptime_seconds)}`;
  live.old = m;
  live.read = now;
}

function showUnreachable() {
  $('figures').classList.add('stale');
  state($('status'), 'bad', 'Not reachable; trying again');
  $('uptime').textContent = live.old ? `last heard of ${lasting((performance.now() - live.read) / 1000)} ago` : '\u00a0';
}

async function poll() {
  const request = new AbortController(), began = performance.now(), limit = setTimeout(() => request.abort(), ANSWER_MS);
  let text = null;
  live.request = request;
  try {
    const answer = await fetch('/metrics', {cache: 'no-store', signal: request.signal});
    if (answer.ok) text = await answer.text();
  } catch {
    /* there is no text then, and that is shown */
  }
  clearTimeout(limit);
  if (live.request !== request) return;
  live.timer = setTimeout(poll, Math.max(100, began + 1000 - performance.now()));
  if (text === null) showUnreachable();
  else showMetrics(text);
}

/* The last value of a metric that has no labels, or undefined. */
export function metric(name) {
  return live.old?.[name];
}

/* Nothing is asked for while nobody looks. */
export function watch() {
  clearTimeout(live.timer);
  live.request?.abort();
  live.request = null;
  if (!document.hidden) poll();
}
