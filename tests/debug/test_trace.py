#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A trace is JSON in the Trace Event format, its slices do not overlap and sum up, and its waits are named.

    test_trace.py PROGRAM
"""
import collections
import json
import os
import statistics
import subprocess
import sys
import tempfile

SKIPPED = 77
GRINDERS = 5
GRIND_US, SLEEP_US = 3000, 5000
ROUNDS = 200
SLACK = 0.002  # microseconds: the last digit


def expect(condition, what):
    if not condition:
        print(f'failed: {what}')
        sys.exit(1)


def events_of(program, backend, path, loops, rounds):
    result = subprocess.run([program, backend, path, str(loops), str(rounds)], stderr=subprocess.PIPE, text=True, timeout=60)
    if result.returncode == SKIPPED:
        return None, ''
    expect(result.returncode == 0, f'the program ends well; it said {result.stderr}')
    with open(path, encoding='ascii') as file:
        return json.load(file)['traceEvents'], result.stderr


def check_slices(events):
    """Tasks of a loop take turns: no two slices of a track overlap, and so they sum up to no more than the whole."""
    tracks = collections.defaultdict(list)
    for event in events:
        if event['ph'] == 'X':
            expect(event['dur'] >= 0, 'no slice ends before it begins')
            tracks[event['tid']].append((event['ts'], event['ts'] + event['dur']))
    for slices in tracks.values():
        slices.sort()
        for before, after in zip(slices, slices[1:]):
            expect(before[1] <= after[0] + SLACK, f'slices {before} and {after} do not overlap')
        whole = slices[-1][1] - slices[0][0]
        expect(sum(end - begin for begin, end in slices) <= whole + SLACK * len(slices), 'slices sum up to the whole at most')
    return tracks


def check_waits(events):
    """Both ends of each wait are there, with one name; a task does one thing at a time."""
    spans = collections.defaultdict(list)
    names = collections.Counter()
    open_waits = {}
    sleeps = []
    for event in events:
        if event['ph'] == 'b':
            expect(event['id'] not in open_waits, 'waits of one task follow each other')
            open_waits[event['id']] = event
        elif event['ph'] == 'e':
            begin = open_waits.pop(event['id'])
            expect(begin['name'] == event['name'] and begin['ts'] <= event['ts'], 'a wait has one name and an end')
            spans[event['id']].append((begin['ts'], event['ts']))
            names[event['name']] += 1
            if event['name'] == 'sleep':
                sleeps.append(event['ts'] - begin['ts'])
        elif event['ph'] == 'X':
            spans[f"{event['tid']}.{event['args']['task']}"].append((event['ts'], event['ts'] + event['dur']))
    expect(not open_waits, 'each wait has its end')
    # The begin is stamped a moment after the timer is set, and somebody else may have the core in between: not the least.
    expect(not sleeps or statistics.median(sleeps) >= SLEEP_US - SLACK, 'a sleep lasts its time')
    for ident, times in spans.items():
        times.sort()
        for before, after in zip(times, times[1:]):
            expect(before[1] <= after[0] + SLACK, f'task {ident} runs or waits, not both')
    return names


def check_whole(events, loops):
    tracks = check_slices(events)
    names = check_waits(events)
    expect(len(tracks) == loops, 'each loop has its track')
    expect(names['sleep'] == GRINDERS * loops, 'each sleep is there')
    expect(any('the "phone"' in name for name in names), 'a channel\'s name, quoted as JSON wants it')
    ran = collections.Counter()
    for event in events:
        if event['ph'] == 'X' and event['name'] == 'grind':
            ran[event['tid'], event['args']['task']] += event['dur']
            expect(event['args']['spawned at'] == 'mill.c:1', 'a slice says where its task was spawned')
    expect(len(ran) == GRINDERS * loops and min(ran.values()) >= GRIND_US - SLACK, 'each task\'s slices sum up to what it computed')
    starts = sorted(event['id'] for event in events if event['ph'] == 's')
    ends = sorted(event['id'] for event in events if event['ph'] == 'f')
    expect(starts == ends and len(starts) == (GRINDERS + 2) * loops, 'each task has one arrow from its spawn to its first slice')
    expect(any(event['ph'] == 'C' for event in events), 'the number of ready tasks is there')
    labels = {event['args']['name'] for event in events if event['name'] == 'thread_name'}
    expect(labels == ({'the loop'} if loops == 1 else {f'loop {index}' for index in range(loops)}), 'the loops\' names')
    expect(all(event['args']['events'] == 0 for event in events if event['name'] == 'dropped'), 'nothing was dropped')


def check_flood(events, log):
    """More than can be written: what is there is sound, and what is not is counted and said."""
    check_slices(events)
    check_waits(events)
    dropped = sum(event['args']['events'] for event in events if event['name'] == 'dropped')
    expect(('the trace lacks' in log) == (dropped > 0), 'what is dropped is said')


def main():
    program = sys.argv[1]
    ran = 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'trace.json')
        for backend in ('uring', 'epoll'):
            for loops in (1, 2):
                events, _ = events_of(program, backend, path, loops, ROUNDS)
                if events is not None:
                    check_whole(events, loops)
                    ran += 1
        events, log = events_of(program, 'epoll', path, 1, 50000)
        check_flood(events, log)
        refused = subprocess.run([program, 'epoll', os.path.join(folder, 'none/trace.json'), '1', '1'], stderr=subprocess.PIPE,
                                 text=True, timeout=60)
        expect(refused.returncode == 1 and 'cannot write the trace to' in refused.stderr, 'a file that cannot be made is said')
    return 0 if ran else SKIPPED


if __name__ == '__main__':
    sys.exit(main())
