# SPDX-License-Identifier: MIT
"""A reader of Prometheus' text format, version 0.0.4, that forgives nothing.

Stricter than Prometheus: HELP, then TYPE, then all samples of a metric, in one piece; no name, series or label twice; counters
end in _total and histograms are complete, cumulative and in order.
"""
import collections
import math
import re

NAME = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"')
NUMBER = re.compile(r'[-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|Inf)|NaN')
TYPES = ('gauge', 'counter', 'histogram')
PARTS = {'gauge': ('',), 'counter': ('',), 'histogram': ('_bucket', '_sum', '_count')}

Sample = collections.namedtuple('Sample', 'name labels value')


class Malformed(Exception):
    """It is no text of this format."""


def demand(condition, line):
    if not condition:
        raise Malformed(repr(line))


def number(text):
    return float(text.replace('Inf', 'inf').replace('NaN', 'nan'))


def read_sample(line):
    match = NAME.match(line)
    demand(match, line)
    name, at, labels = match[0], match.end(), {}
    if line[at:at + 1] == '{':
        at += 1
        while line[at:at + 1] != '}':
            match = LABEL.match(line, at)
            demand(match and match[1] not in labels and not match[1].startswith('__'), line)
            labels[match[1]] = match[2]
            at = match.end()
            if line[at:at + 1] == ',':
                at += 1
                demand(line[at:at + 1] != '}', line)
            else:
                demand(line[at:at + 1] == '}', line)
        at += 1
        demand(labels, line)
    demand(line[at:at + 1] == ' ' and NUMBER.fullmatch(line, at + 1), line)
    return Sample(name, labels, number(line[at + 1:]))


def check_histogram(family, samples):
    """Each of its series has rising buckets up to +Inf, in order, and then the sum and the count."""
    series = collections.OrderedDict()
    for one in samples:
        key = frozenset((name, value) for name, value in one.labels.items() if name != 'le')
        series.setdefault(key, []).append(one)
        demand(next(reversed(series)) == key, f'the series of {family} are mixed')
    for found in series.values():
        *buckets, total, count = found
        demand([one.name for one in found] == [f'{family}_bucket'] * len(buckets) + [f'{family}_sum', f'{family}_count'], family)
        demand('le' not in total.labels and 'le' not in count.labels, family)
        bounds = [number(one.labels['le']) for one in buckets]
        counts = [one.value for one in buckets]
        demand(bounds == sorted(set(bounds)) and bounds[-1] == math.inf, f'the bounds of {family}: {bounds}')
        demand(counts == sorted(counts) and counts[-1] == count.value, f'the buckets of {family}: {counts}')
        demand(total.value >= 0, f'the sum of {family}')


def check_family(family, kind, samples):
    demand(samples, f'{family} has no sample')
    for one in samples:
        demand(one.name in [family + part for part in PARTS[kind]], f'{one.name} under {family}')
        demand(kind == 'gauge' or (one.value >= 0 and one.value == one.value), f'{one}')
        demand(kind == 'histogram' or 'le' not in one.labels, f'{one}')
    keys = [(one.name, frozenset(one.labels.items())) for one in samples]
    demand(len(set(keys)) == len(keys), f'a series of {family} comes twice')
    names = {one.name: set(one.labels) for one in samples}
    demand(all(set(one.labels) == names[one.name] for one in samples), f'samples of {family} differ in their labels')
    demand((kind == 'counter') == family.endswith('_total'), f'the name of the {kind} {family}')
    if kind == 'histogram':
        check_histogram(family, samples)


def parse(text):
    """Returns the types by name, and the samples by family."""
    demand(text.endswith('\n'), 'the last line has no end')
    types, samples, helped, family = {}, collections.defaultdict(list), None, None
    for line in text[:-1].split('\n'):
        if line.startswith('# HELP '):
            _, _, helped, what = line.split(' ', 3)
            demand(NAME.fullmatch(helped) and helped not in types and what, line)
        elif line.startswith('# TYPE '):
            _, _, family, kind = line.split(' ')
            demand(family == helped and kind in TYPES and family not in types, line)
            types[family] = kind
        else:
            demand(family == helped and family is not None, line)
            samples[family].append(read_sample(line))
    for name, kind in types.items():
        check_family(name, kind, samples[name])
    return types, samples
