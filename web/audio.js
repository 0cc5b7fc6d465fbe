/* SPDX-License-Identifier: MIT */
/* The audio session: a tone made here, or the microphone, as live PCM to the server; and what it says about it. */
import {$, count, draw, put, short, state, ws} from './text.js';

const PUMP_MS = 50, PITCH_MS = 20000, RATE_MAX = 48000, STOP_MS = 5000;
const audio = {socket: null, rate: 16000, mic: null, sent: 0, start: 0, phase: 0, timer: 0, sentAt: [], dropped: 0, points: []};
const notes = ['C', 'C♯', 'D', 'D♯', 'E', 'F', 'F♯', 'G', 'G♯', 'A', 'A♯', 'B'];
const height = hz => Math.log2(hz / 50) / Math.log2(1200 / 50);

function note(hz) {
  const key = Math.round(69 + 12 * Math.log2(hz / 440));
  return notes[key % 12] + (Math.floor(key / 12) - 1);
}

/* `samples` are -1 to 1. The time of each full 100 ms is kept, to see how long its analysis takes. */
function sendSamples(samples) {
  if (audio.socket.readyState !== WebSocket.OPEN || audio.socket.bufferedAmount > audio.rate * 2) return;
  const pcm = new DataView(new ArrayBuffer(samples.length * 2));
  samples.forEach((sample, i) => pcm.setInt16(i * 2, Math.max(-1, Math.min(1, sample)) * 32767, true));
  audio.socket.send(pcm);
  audio.sent += samples.length;
  while ((audio.sentAt.length + 1) * audio.rate / 10 <= audio.sent) audio.sentAt.push(performance.now());
}

/* As much of the tone as has passed since the last time; when the timer slept for longer than a second, that time is left out. */
function pumpTone() {
  const now = performance.now(), behind = now - audio.start - audio.sent / audio.rate * 1000;
  if (behind > 1000) audio.start += behind - PUMP_MS;
  const size = Math.floor((now - audio.start) * audio.rate / 1000) - audio.sent;
  const step = 2 * Math.PI * $('hz').value / audio.rate, volume = $('volume').value / 100;
  sendSamples(Float32Array.from({length: Math.max(0, size)}, () => volume * Math.sin(audio.phase += step)));
  audio.phase %= 2 * Math.PI;
}

async function openMicrophone() {
  const stream = await navigator.mediaDevices.getUserMedia({audio: {echoCancellation: false, autoGainControl: false}});
  const usual = new AudioContext(), fits = usual.sampleRate <= RATE_MAX;
  const context = fits ? usual : new AudioContext({sampleRate: RATE_MAX});
  if (!fits) usual.close();
  try {
    await context.audioWorklet.addModule('/web/microphone.js');
    const node = new AudioWorkletNode(context, 'microphone', {channelCount: 1, channelCountMode: 'explicit'});
    node.port.onmessage = event => audio.socket && sendSamples(event.data);
    context.createMediaStreamSource(stream).connect(node).connect(context.destination);
  } catch (error) {
    closeMicrophone({stream, context});
    throw error;
  }
  return {stream, context};
}

function closeMicrophone({stream, context}) {
  stream.getTracks().forEach(track => track.stop());
  context.close();
}

function showAnalysis({at_ms, rms, pitch_hz}) {
  const now = performance.now(), decibels = 20 * Math.log10(rms), sentAt = audio.sentAt[at_ms / 100 - 1];
  const facts = [`${count(at_ms / 1000, 1)} s at ${count(audio.rate / 1000, 1)} kHz`];
  if (sentAt) facts.push(`answer after ${short(now - sentAt)}`);
  facts.push(`${count(audio.dropped / 1000, 1)} s dropped`);
  audio.points.push({at: now, value: pitch_hz});
  while (audio.points[0].at < now - PITCH_MS - 1000) audio.points.shift();
  $('pitch').replaceChildren(...pitch_hz ? [`${pitch_hz.toFixed(1)} `, put('small', `Hz, ${note(pitch_hz)}`)] : ['none']);
  $('level').replaceChildren(...rms > 0 ? [`${decibels.toFixed(1).replace('-', '−')} `, put('small', 'dB')] : ['silence']);
  $('meter').style.width = `${Math.max(0, Math.min(100, (decibels + 60) / 0.6))}%`;
  $('audio-facts').textContent = facts.join(' · ');
  draw($('pitches'), audio.points, PITCH_MS, 1500, height);
}

function onAudio(message) {
  if (message.type === 'analysis') showAnalysis(message);
  if (message.type === 'dropped') audio.dropped += message.to_ms - message.from_ms;
  if (message.type === 'error') state($('audio-state'), 'bad', message.error);
  if (message.type !== 'summary') return;
  const sums = {sent: message.duration_ms, analysed: message.analysed_ms, dropped: message.dropped_ms};
  $('audio-facts').textContent = Object.entries(sums).map(([what, ms]) => `${count(ms / 1000, 1)} s ${what}`).join(' · ');
}

async function startAudio() {
  $('audio-button').disabled = true;
  try {
    audio.mic = $('mic').checked ? await openMicrophone() : null;
  } catch (error) {
    $('audio-button').disabled = false;
    return state($('audio-state'), 'bad', `No microphone: ${error.message}`);
  }
  if (document.hidden) return endAudio();
  audio.rate = audio.mic?.context.sampleRate ?? 16000;
  const socket = new WebSocket(`${ws}/audio?rate=${audio.rate}`);
  Object.assign(audio, {socket, sent: 0, phase: 0, sentAt: [], dropped: 0, points: []});
  socket.onopen = () => {
    audio.start = performance.now();
    if (!audio.mic) audio.timer = setInterval(pumpTone, PUMP_MS);
    state($('audio-state'), 'good', 'Streaming');
  };
  socket.onmessage = event => audio.socket === socket && onAudio(JSON.parse(event.data));
  socket.onclose = event => audio.socket === socket && endAudio(event.reason || 'there is no connection to the server');
  showStreaming(true);
}

/* Asks for the summary; the server closes behind it. */
function stopAudio() {
  const socket = audio.socket;
  stopSource();
  if (socket?.readyState !== WebSocket.OPEN) return endAudio();
  socket.send('{"type":"stop"}');
  socket.onclose = () => audio.socket === socket && endAudio();
  audio.timer = setTimeout(() => audio.socket === socket && endAudio(), STOP_MS);
}

function stopSource() {
  clearInterval(audio.timer);
  if (audio.mic) closeMicrophone(audio.mic);
  audio.mic = null;
}

function endAudio(wrong) {
  const socket = audio.socket;
  stopSource();
  clearTimeout(audio.timer);
  audio.socket = null;
  socket?.close();
  showStreaming(false);
  state($('audio-state'), wrong ? 'bad' : '', wrong ? `Ended: ${wrong}` : 'Stopped');
}

function showStreaming(on) {
  $('audio-button').disabled = false;
  $('audio-button').textContent = on ? 'Stop' : 'Start';
  $('audio-button').classList.toggle('first', !on);
  for (const radio of document.getElementsByName('source')) radio.disabled = on;
  $('mic').disabled ||= !navigator.mediaDevices;
  if (on) return;
  $('pitch').textContent = $('level').textContent = '–';
  $('meter').style.width = '0';
}

export function buildAudio() {
  const show = () => {
    const tone = !$('mic').checked, y = 54 - 50 * height($('hz').value);
    $('hz-out').textContent = `${$('hz').value} Hz`;
    $('volume-out').textContent = `${$('volume').value} %`;
    $('hz').disabled = $('volume').disabled = !tone;
    $('pitches').querySelector('.aim').setAttribute('d', tone ? `M0 ${y}H240` : '');
  };
  for (const id of ['hz', 'volume']) $(id).addEventListener('input', show);
  for (const radio of document.getElementsByName('source')) radio.addEventListener('change', show);
  $('mic').disabled = !navigator.mediaDevices;
  $('audio-button').addEventListener('click', () => audio.socket ? stopAudio() : startAudio());
  show();
}

/* Nobody is listened to by a page that is not seen. */
export function audioSeen() {
  if (document.hidden && audio.socket) stopAudio();
}
