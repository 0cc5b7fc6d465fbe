#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Real audio: tones, noise and silence made by sox, and speech by flite, through the analysis.

    tests/audio/real_audio.py ANALYSE_FILE

ANALYSE_FILE is the program built from analyse_file.c. Prints a line per sound; exits 1 when one is not heard as it
should be, and 77 (skipped) where sox or flite are missing.
"""
import collections
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

TONES_HZ = (80, 100, 123.47, 150, 200, 261.63, 329.63, 440, 500, 640, 783.99, 880, 1000)
RATES = (8000, 16000, 44100, 48000)
TONE_OFF_HZ_MAX = 1.0

TEXT = ('The north wind and the sun were disputing which was the stronger, when a traveller came along wrapped in a warm '
        'cloak. They agreed that the one who first succeeded in making the traveller take his cloak off should be '
        'considered stronger than the other.')
# Where each voice's median pitch lies, in hertz: three men and a woman.
VOICES = {'kal16': (70, 180), 'rms': (70, 180), 'awb': (70, 180), 'slt': (130, 280)}
VOICED_SHARE = (0.4, 0.99)       # of the windows that are not pauses: English is voiced for the most part, not always
PAUSE_RMS = 0.01
NEAR_MEDIAN = (0.55, 1.7)        # an octave off is outside
NEAR_MEDIAN_SHARE_MIN = 0.85     # kal16, pieced together from single sounds, is rough; the others have 0.99

Window = collections.namedtuple('Window', 'at_ms rms pitch_hz voiced')


class Room:
    """Where the sounds are made: a temporary folder, and the program that analyses them."""

    def __init__(self, folder, program):
        self.folder = pathlib.Path(folder)
        self.program = program
        self.failures = 0

    def sox(self, rate, *effects):
        """The windows of a sound that sox makes out of nothing."""
        made = self.folder / 'made.wav'
        subprocess.run(['sox', '-V1', '-R', '-n', '-r', str(rate), '-b', '16', '-c', '1', made, *map(str, effects)], check=True)
        return self.windows(made, rate)

    def flite(self, voice, rate):
        """The windows of the text read by a voice."""
        spoken = self.folder / f'{voice}.wav'
        subprocess.run(['flite', '-voice', voice, '-t', TEXT, '-o', spoken], check=True)
        return self.windows(spoken, rate)

    def windows(self, path, rate):
        raw = subprocess.run(['sox', '-V1', path, '-r', str(rate), '-b', '16', '-e', 'signed', '-c', '1', '-t', 'raw', '-'],
                             check=True, stdout=subprocess.PIPE).stdout
        text = subprocess.run([self.program, str(rate)], check=True, input=raw, stdout=subprocess.PIPE).stdout
        lines = (line.split() for line in text.decode().splitlines())
        found = [Window(int(at), float(rms), float(pitch), voiced == '1') for at, rms, pitch, voiced in lines]
        return found[:len(raw) // 2 // (rate // 10)]   # full windows only

    def say(self, good, what):
        self.failures += not good
        print('ok  ' if good else 'FAIL', what)


def check_tones(room):
    for rate in RATES:
        worst = {}
        for hz in TONES_HZ:
            found = room.sox(rate, 'synth', 1, 'sine', hz, 'vol', 0.5)
            worst[hz] = max(abs(window.pitch_hz - hz) for window in found) if len(found) == 10 else float('inf')
        hz = max(worst, key=worst.get)
        room.say(worst[hz] <= TONE_OFF_HZ_MAX, f'{len(worst)} sines at {rate}: the worst, {hz} Hz, off by {worst[hz]:.3f} Hz')


def check_level(room):
    for volume in (0.9, 0.5, 0.01):
        found = room.sox(16000, 'synth', 1, 'sine', 440, 'vol', volume)
        off = max(abs(window.rms / (volume * 0.5 ** 0.5) - 1) for window in found)
        room.say(off < 0.01, f'a sine at volume {volume}: level off by {100 * off:.2f} %')


def check_pitchless(room):
    sounds = {'white noise': ('synth', 20, 'whitenoise'), 'quiet white noise': ('synth', 20, 'whitenoise', 'vol', 0.001),
              'pink noise': ('synth', 20, 'pinknoise'), 'silence': ('trim', 0, 5)}
    for rate in RATES:
        for name, effects in sounds.items():
            found = room.sox(rate, *effects)
            voiced = sum(window.voiced or window.pitch_hz != 0 for window in found)
            room.say(found and voiced == 0, f'{name} at {rate}: {voiced} of {len(found)} windows voiced')


def check_speech(room):
    for voice, (low_hz, high_hz) in VOICES.items():
        for rate in (8000, 16000):
            found = [window for window in room.flite(voice, rate) if window.rms > PAUSE_RMS]
            pitches = [window.pitch_hz for window in found if window.voiced]
            if not pitches:
                room.say(False, f'{voice} at {rate}: no voiced window among {len(found)}')
                continue
            share = len(pitches) / len(found)
            median = statistics.median(pitches)
            near = sum(NEAR_MEDIAN[0] * median < hz < NEAR_MEDIAN[1] * median for hz in pitches) / len(pitches)
            room.say(VOICED_SHARE[0] <= share <= VOICED_SHARE[1] and low_hz <= median <= high_hz
                     and near >= NEAR_MEDIAN_SHARE_MIN,
                     f'{voice} at {rate}: {100 * share:.0f} % of {len(found)} windows voiced, median {median:.0f} Hz, '
                     f'{100 * near:.0f} % within an octave of it')


def main():
    if len(sys.argv) != 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    missing = [tool for tool in ('sox', 'flite') if shutil.which(tool) is None]
    if missing:
        print(f'real_audio: skipped, there is no {" and no ".join(missing)}; apt-get install {" ".join(missing)}')
        return 77
    with tempfile.TemporaryDirectory(prefix='tandem-audio-') as folder:
        room = Room(folder, pathlib.Path(sys.argv[1]).resolve())
        for check in (check_tones, check_level, check_pitchless, check_speech):
            check(room)
    if room.failures:
        print(f'real_audio: {room.failures} sounds were not heard as they should be; see the lines that begin with FAIL')
    return 1 if room.failures else 0


if __name__ == '__main__':
    sys.exit(main())
