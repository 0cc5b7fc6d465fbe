#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The audio session: tones and noise from sox, speech from flite, live streams, overload."""
import asyncio
import concurrent.futures
import json
import os
import pathlib
import random
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import websockets

import swarm
from raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, WebSocket, frame
from runner import TRIES, limit, main
from server import check, equal

TONES_HZ = (80, 100, 220, 440, 1000)
RATES = (8000, 16000, 44100, 48000)
CHUNKS = (1, 7, 333, 4096)
OFF_HZ = 1.0
STREAMS, STREAM_SECONDS, PACKET_MS = 200, 5, 20
STOP = '{"type":"stop"}'


def sox(rate, *effects, source='-n'):
    """Raw mono 16-bit samples."""
    command = ['sox', '-R', str(source), '-r', str(rate), '-b', '16', '-e', 'signed', '-c', '1', '-t', 'raw', '-',
               *map(str, effects)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def tone(rate, hertz, seconds=1, level=0.5):
    return sox(rate, 'synth', seconds, 'sine', hertz, 'vol', level)


def pieces(data, size):
    return [data[at:at + size] for at in range(0, len(data), size)]


async def session(server, rate, data, chunk=4096):
    """Sends all of it, then stop. Returns the analyses and the summary, after a normal close."""
    found = []
    async with websockets.connect(server.url(f'/audio?rate={rate}'), max_queue=None) as audio:
        async def listen():
            async for message in audio:
                found.append(json.loads(message))

        listening = asyncio.create_task(listen())
        for piece in pieces(data, chunk):
            await audio.send(piece)
        await audio.send(STOP)
        await asyncio.wait_for(listening, 30 * server.slack)
        equal(audio.close_code, 1000, 'close code after stop')
    equal(found[-1]['type'], 'summary', f'type of the last message {found[-1]}')
    check(all(one['type'] == 'analysis' for one in found[:-1]), f'not only analyses: {found[:5]}')
    return found[:-1], found[-1]


def check_complete(windows, summary, data, rate):
    """Every 100 ms has its analysis, in order, and the summary says so."""
    duration = len(data) // 2 * 1000 // rate
    equal([one['at_ms'] for one in windows], list(range(100, duration + 1, 100)), 'at_ms')
    equal(summary, {'type': 'summary', 'duration_ms': duration, 'analysed_ms': duration // 100 * 100, 'dropped_ms': 0}, 'summary')
    for one in windows:
        equal(set(one), {'type', 'at_ms', 'rms', 'pitch_hz', 'voiced'}, 'members')
        equal(one['pitch_hz'] is not None, one['voiced'], f'pitch and voiced of {one}')


async def tones_are_heard_within_a_hertz(run):
    worst = 0
    with run.serve('--pool', '2') as server:
        for rate in RATES:
            for number, hertz in enumerate(TONES_HZ):
                data = tone(rate, hertz)
                windows, summary = await session(server, rate, data, CHUNKS[1 + number % 3])
                check_complete(windows, summary, data, rate)
                for one in windows:
                    check(one['voiced'] and abs(one['pitch_hz'] - hertz) <= OFF_HZ, f'{hertz} Hz at {rate}: {one}')
                    check(abs(one['rms'] - 0.35355) < 0.002 or hertz * 0.1 % 1, f'level of {hertz} Hz at {rate}: {one}')
                    worst = max(worst, abs(one['pitch_hz'] - hertz))
    run.note(f'worst error {worst:.3f} Hz')


async def silence_and_noise_have_no_pitch(run):
    with run.serve('--pool', '2') as server:
        for rate in RATES:
            silence = bytes(rate * 2)
            windows, summary = await session(server, rate, silence)
            check_complete(windows, summary, silence, rate)
            check(all(one['pitch_hz'] is None and one['rms'] == 0 for one in windows), f'silence: {windows}')
            for kind in ('whitenoise', 'pinknoise', 'brownnoise')[:1]:
                noise = sox(rate, 'synth', 3, kind, 'vol', 0.3)
                windows, summary = await session(server, rate, noise)
                check_complete(windows, summary, noise, rate)
                voiced = [one for one in windows if one['voiced']]
                equal(voiced, [], f'{kind} at {rate}')
                check(all(one['rms'] > 0.05 for one in windows), f'level of {kind}: {windows[:3]}')


async def messages_may_have_any_size(run):
    rate, data = 8000, tone(8000, 220, 1.05)   # and 50 ms that fill no window
    with run.serve('--pool', '1') as server:
        expected = None
        for chunk in CHUNKS + (1 << 20,):
            windows, summary = await session(server, rate, data, chunk)
            check_complete(windows, summary, data, rate)
            expected = expected or windows
            equal(windows, expected, f'the analyses of the same audio in messages of {chunk} bytes')
        sizes = random.Random(5)
        async with websockets.connect(server.url('/audio?rate=8000')) as audio:
            at = 0
            while at < len(data):
                size = sizes.choice((0, 1, 2, 3, 100, 1599, 1600, 1601, 5000))
                await audio.send(data[at:at + size])
                at += size
            await audio.send(STOP)
            found = [json.loads(message) async for message in audio]
            equal(found[:-1], expected, 'the analyses of messages of random sizes')
        with WebSocket(server, '/audio?rate=8000') as audio:   # fragments, and a ping between
            half = len(data) // 2 + 1
            audio.send(frame(BINARY, data[:333], fin=False) + frame(PING, b'p') + frame(CONTINUATION, data[333:half]) +
                       frame(BINARY, b'') + frame(BINARY, data[half:]) + frame(TEXT, b'{"type":', fin=False) +
                       frame(CONTINUATION, b'"stop"}'))
            found = []
            while (one := audio.frame()).opcode != CLOSE:
                found += [json.loads(one.payload)] if one.opcode != PONG else []
            equal(found[:-1], expected, 'the analyses of fragments')


async def speech_has_a_pitch(run):
    text = 'We were away a year ago. Many men may now be wearing a new yellow umbrella.'
    with tempfile.TemporaryDirectory() as folder, run.serve('--pool', '2') as server:
        for voice, low, high in (('slt', 130, 280), ('rms', 70, 180)):
            spoken = pathlib.Path(folder) / f'{voice}.wav'
            subprocess.run(['flite', '-voice', voice, '-t', text, '-o', spoken], check=True)
            for rate in (16000, 44100):
                data = sox(rate, source=spoken)
                windows, summary = await session(server, rate, data, 640)
                check_complete(windows, summary, data, rate)
                pitches = [one['pitch_hz'] for one in windows if one['voiced']]
                check(0.3 * len(windows) < len(pitches) < len(windows), f'{len(pitches)} of {len(windows)} windows are voiced')
                median = statistics.median(pitches)
                run.note(f'{voice} at {rate}: {len(pitches)} of {len(windows)} windows voiced, median {median:.0f} Hz')
                check(low < median < high, f'median pitch of {voice} is {median}')


async def bad_rates_are_400(run):
    with run.serve('--pool', '1') as server:
        for rate in ('', '0', '-16000', '+16000', '7999', '48001', '16000.0', '1e4', 'abc', '16000x', '%2016000', '9' * 30, '%zz'):
            try:
                async with websockets.connect(server.url(f'/audio?rate={rate}')):
                    check(False, f'rate={rate} was accepted')
            except websockets.exceptions.InvalidStatusCode as error:
                equal(error.status_code, 400, f'rate={rate}')
        for query in ('', '?', '?rate=8000', '?rate=48000', '?x=y&rate=11025&rate=bad'):
            async with websockets.connect(server.url('/audio' + query)) as audio:
                await audio.send(STOP)
                equal(json.loads(await audio.recv()),
                      {'type': 'summary', 'duration_ms': 0, 'analysed_ms': 0, 'dropped_ms': 0}, 'summary of nothing')


async def bad_text_is_an_error_and_the_session_goes_on(run):
    data = tone(16000, 440, 0.2)
    wrong = ['', 'stop', '{}', '[]', '{"type":"go"}', '{"type":null}', '{"type":"stop"', 'x' * 5000, 'ü' * 2000, '[' * 1000,
             '{"type":"stop","x":"' + 'y' * 2000 + '"}']
    with run.serve('--pool', '1') as server:
        async with websockets.connect(server.url('/audio')) as audio:
            await audio.send(data[:1001])
            for text in wrong:
                await audio.send(text)
                found = json.loads(await audio.recv())
                equal((found['type'], bool(found['error'])), ('error', True), f'answer to {text[:30]!r}')
            await audio.send(data[1001:])
            await audio.send(STOP)
            found = [json.loads(message) async for message in audio]
            equal([one.get('at_ms') for one in found], [100, 200, None], 'the audio around the errors')
            check(abs(found[0]['pitch_hz'] - 440) < 1, f'{found}')


async def who_leaves_without_stop_disturbs_nobody(run):
    data = tone(16000, 300, 3)
    with run.serve('--pool', '1') as server:
        async with websockets.connect(server.url('/audio'), max_queue=None) as stays:
            for number in range(30):
                leaves = await asyncio.to_thread(WebSocket, server, '/audio')
                leaves.send(frame(BINARY, data))
                (leaves.reset if number % 2 else leaves.close)()
            await stays.send(data)
            await stays.send(STOP)
            found = [json.loads(message) async for message in stays]
            equal(found[-1], {'type': 'summary', 'duration_ms': 3000, 'analysed_ms': 3000, 'dropped_ms': 0}, 'summary')
        await asyncio.to_thread(server.wait_metric, lambda m: m.value('connections') == 1, 'the connections to end')
        shared = server.metrics().value('shared_memory_used_bytes')
        check(shared < 1 << 20, f'{shared} bytes of shared memory in use')


async def a_burst_is_held_back_and_not_dropped(run):
    with run.serve('--pool', '1') as server:
        for rate in (16000, 48000):
            data = tone(rate, 200, 30)
            begin = time.monotonic()
            windows, summary = await session(server, rate, data, 65536)
            check_complete(windows, summary, data, rate)
            run.note(f'30 s at {rate} in {time.monotonic() - begin:.2f} s')
        equal(server.metrics().dropped('audio_late'), 0, 'windows dropped')


async def dead_workers_cost_a_window_at_the_most(run):
    """Workers crash and are killed while a session goes on: what is lost is said, and the sum is right."""
    data = tone(16000, 200, 4)
    with run.serve('--pool', '1', '--enable-test-ops') as server:
        async with websockets.connect(server.url('/audio'), max_queue=None) as audio:
            crashes = asyncio.gather(*(asyncio.to_thread(server.compute, 'crash') for _ in range(10)))
            for number, piece in enumerate(pieces(data, 3200)):
                await audio.send(piece)
                for pid in server.workers() if number % 10 == 9 else ():
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            await crashes
            await audio.send(STOP)
            found = [json.loads(message) async for message in audio]
        check_covered(found, 4000)


def check_covered(found, duration):
    """Every 100 ms was analysed or said to be dropped, once. Returns the dropped milliseconds."""
    covered = []
    dropped = 0
    for one in found[:-1]:
        if one['type'] == 'analysis':
            covered.append(one['at_ms'])
        else:
            equal((one['type'], one['from_ms'] % 100, one['to_ms'] % 100), ('dropped', 0, 0), 'a notice')
            check(0 <= one['from_ms'] < one['to_ms'] <= duration, f'the range {one}')
            covered += range(one['from_ms'] + 100, one['to_ms'] + 1, 100)
            dropped += one['to_ms'] - one['from_ms']
    equal(sorted(covered), list(range(100, duration + 1, 100)), 'what was analysed or dropped')
    equal(found[-1], {'type': 'summary', 'duration_ms': duration, 'analysed_ms': duration - dropped, 'dropped_ms': dropped},
          'summary')
    analysed = [one['at_ms'] for one in found if one['type'] == 'analysis']
    equal(analysed, sorted(analysed), 'the order of analyses')
    return dropped


async def overload_drops_the_oldest_and_says_so(run):
    """A live stream of 7 s; the only worker is stopped, and whoever forks workers too: for about 2 s there is none."""
    packet = tone(16000, 250, 7)
    with run.serve('--pool', '1', '--audio-pool', '1') as server:
        found, live = [], []
        async with websockets.connect(server.url('/audio'), max_queue=None) as audio:
            async def listen():
                async for message in audio:
                    found.append(json.loads(message))

            worker = await asyncio.to_thread(server.audio_worker)
            listening = asyncio.create_task(listen())
            begin = time.monotonic()
            for number, piece in enumerate(pieces(packet, 640)):
                await asyncio.sleep(begin + number * PACKET_MS / 1000 - time.monotonic())
                await audio.send(piece)
                if number == 50:
                    os.kill(server.children('tandem-zygote')[0], signal.SIGSTOP)
                    os.kill(worker, signal.SIGSTOP)
                if number == 300:
                    live = [one for one in found if one['type'] == 'dropped']
            check(live, 'the client was not told while it happened')
            await audio.send(STOP)
            await asyncio.wait_for(listening, 20 * run.slack)
        dropped = check_covered(found, 7000)
        run.note(f'{dropped} ms dropped in {sum(one["type"] == "dropped" for one in found)} notices')
        check(500 <= dropped <= 4500, f'{dropped} ms dropped while there was no worker for about 2,000')
        equal(found[-2]['at_ms'], 7000, 'the last window, which is analysed again')
        equal(server.metrics().dropped('audio_late'), dropped / 100, 'windows dropped in the metrics')


async def threads_analyse_too(run):
    data = tone(16000, 440, 2)
    with run.serve('--pool', '2', '--pool-kind', 'threads') as server:
        for windows, summary in await asyncio.gather(*(session(server, 16000, data, 640) for _ in range(10))):
            check_complete(windows, summary, data, 16000)
            check(all(abs(one['pitch_hz'] - 440) < OFF_HZ for one in windows), f'{windows}')


def samples(hertz, rate=16000):
    """A second of a tone that goes on seamlessly, in packets."""
    return pieces(tone(rate, hertz, 1), rate * 2 * PACKET_MS // 1000)


async def live_streams(talk, address, first, count):
    """Client process: `count` streams in real time. Returns the streams' messages, delays and how late the client itself was."""
    packets = {}
    for hertz in range(100, 120):
        packets[hertz] = [frame(BINARY, packet) for packet in samples(hertz * 5)]
    heard = [[] for _ in range(count)]
    peers = []
    for number in range(count):
        def on_frame(_opcode, payload, log=heard[number]):
            log.append((time.monotonic(), payload))

        peers.append(await swarm.connect(address, '/audio?rate=16000', on_frame))
    talk.send(('ready', None))
    await swarm.told(talk)
    begin = time.monotonic() + 0.05
    late = []
    sent_at = [{} for _ in range(count)]
    for tick in range(STREAM_SECONDS * 1000 // PACKET_MS):
        for slot in range(4):   # not all streams in the same moment
            due = begin + (tick + slot / 4) * PACKET_MS / 1000
            await asyncio.sleep(due - time.monotonic())
            late.append(time.monotonic() - due)
            for number in range(slot, count, 4):
                peers[number].send(packets[100 + (first + number) % 20][tick % 50])
                if tick % 5 == 4:
                    sent_at[number][(tick + 1) * PACKET_MS] = time.monotonic()
    for peer in peers:
        peer.send(frame(TEXT, STOP.encode()))
    await asyncio.wait([peer.ended for peer in peers], timeout=20)
    late.sort()
    delays, problems = [], []
    for number, log in enumerate(heard):
        hertz = (100 + (first + number) % 20) * 5
        messages = [(at, json.loads(payload)) for at, payload in log]
        windows = [(at, one) for at, one in messages if one['type'] == 'analysis']
        if [one['at_ms'] for _, one in windows] != list(range(100, STREAM_SECONDS * 1000 + 1, 100)):
            problems.append(f'stream {first + number}: {[one for _, one in messages if one["type"] != "analysis"]}')
        if any(one['pitch_hz'] is None or abs(one['pitch_hz'] - hertz) > OFF_HZ for _, one in windows):
            problems.append(f'stream {first + number}: {hertz} Hz is heard as {[one["pitch_hz"] for _, one in windows]}')
        summary = {'type': 'summary', 'duration_ms': STREAM_SECONDS * 1000, 'analysed_ms': STREAM_SECONDS * 1000, 'dropped_ms': 0}
        if not messages or messages[-1][1] != summary or peers[number].close_code != 1000:
            problems.append(f'stream {first + number} ends with {messages[-1:]} and {peers[number].close_code}')
        delays += [at - sent_at[number][one['at_ms']] for at, one in windows]
    return {'late': late[len(late) * 99 // 100], 'delays': delays, 'problems': problems}


@limit(100)
def live_streams_are_analysed_in_real_time(run):
    """200 streams at 16 kHz, from a process for each core; under a sanitizer a tenth of them."""
    streams = STREAMS if not run.sanitized else STREAMS // 10

    def measure():
        processes = [swarm.Process(live_streams, server.address, first, streams // 2) for first in (0, streams // 2)]
        try:
            for process in processes:
                process.take()
            for process in processes:
                process.send('go')
            results = [process.take() for process in processes]
        finally:
            for process in processes:
                process.close()
        delays = sorted(delay for result in results for delay in result['delays'])
        late = max(result['late'] for result in results)
        problems = [problem for result in results for problem in result['problems']]
        if not delays:
            return 1 + len(problems)
        run.note(f'{streams} streams: audio to analysis {statistics.median(delays) * 1000:.2f} ms in the median, '
                 f'{delays[len(delays) * 99 // 100] * 1000:.1f} ms at the 99th percentile, {delays[-1] * 1000:.1f} ms at the most; '
                 f'the clients themselves were {late * 1000:.1f} ms late at the 99th percentile')
        for problem in problems[:5]:
            run.note(problem)
        return len(problems)

    with run.serve('--pool', '2') as server:
        amiss = [measure()]
        while amiss[-1] and len(amiss) < TRIES:   # the machine may have been busy with something else
            amiss.append(measure())
        equal(amiss[-1], 0, f'streams with something amiss, in each of {len(amiss)} tries {amiss}')


def many_sessions_go_beside_computing(run):
    """Bursts of 20 sessions while primes are counted: everything is answered."""
    data = tone(16000, 400, 5)
    with run.serve('--pool', '2', '--queue', '8', '--when-full', 'wait') as server:
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            counts = [threads.submit(server.compute, 'primes', n=2000000) for _ in range(8)]

            async def all_of_them():
                for windows, summary in await asyncio.gather(*(session(server, 16000, data) for _ in range(20))):
                    check_complete(windows, summary, data, 16000)

            asyncio.run(all_of_them())
            equal([count.result().body['value'] for count in counts], [148933] * 8, 'primes')


sys.exit(main(tones_are_heard_within_a_hertz, silence_and_noise_have_no_pitch, messages_may_have_any_size, speech_has_a_pitch,
              bad_rates_are_400, bad_text_is_an_error_and_the_session_goes_on, who_leaves_without_stop_disturbs_nobody,
              a_burst_is_held_back_and_not_dropped, dead_workers_cost_a_window_at_the_most, overload_drops_the_oldest_and_says_so,
              threads_analyse_too,
              live_streams_are_analysed_in_real_time, many_sessions_go_beside_computing,
              needs=('websockets', 'sox', 'flite')))
