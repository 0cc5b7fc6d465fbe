# SPDX-License-Identifier: MIT
"""What ./run found, as a section of Markdown and as JSON."""
import json
import statistics

from contestants import CONTESTANTS, lib

SIZES = {64: '64 B', 4 << 10: '4 KiB', 256 << 10: '256 KiB', 10 << 20: '10 MiB', 64 << 20: '64 MiB'}

# (measure, figure, title, goal, more is better); goals are those of the budget.
ROWS = [
    ('trip', 'p50_us', 'empty job, one at a time, p50 µs', '≤ 10, processes ≤ 12', False),
    ('trip', 'p99_us', '… p99 µs', '', False),
    ('trip', 'cpu_us', '… CPU µs a job', '', False),
    ('parked', 'p50_us', 'empty job, 2 ms after the last one, p50 µs', '', False),
    ('parked', 'p99_us', '… p99 µs', '', False),
    ('parked', 'cpu_us', '… CPU µs a job, the sleep in between included', '', False),
    ('jobs', 'per_s', 'jobs a second, 1,000 in flight', '≥ 5,000,000, processes ≥ 2,000,000', True),
    ('jobs', 'cpu_us', '… CPU µs a job', '', False),
    ('sum', 'p50_ms', '10 MiB handed over and summed there, ms', '≤ 0.46', False),
    ('own-sum', 'p50_ms', '… by Python\'s own sum()', '', False),
    *(('hand', f'us_{size}', f'{text} handed over, the first byte read there, µs', 'flat' if size == 64 else '', False)
      for size, text in SIZES.items()),
    ('ticker', 'p99_ms', '1 ms ticker beside four computations of 2 s: late p99, ms', '≤ 0.1', False),
    ('ticker', 'max_ms', '… at the most, ms', '≤ 5', False),
    ('beats', 'p99_ms', '1,000 beats each 100 ms while all cores compute: late p99, ms', '', False),
    ('beats', 'max_ms', '… at the most, ms', 'a few', False),
    ('crash', 'p50_ms', 'SIGSEGV in a job told to its caller, ms', '≤ 5', False),
    ('crash', 'max_ms', '… at the most, ms', '≤ 5', False),
]
WITHIN_A_THREAD = ('trip', 'parked', 'hand')  # what Go does without another core
CELL_WITHOUT = {'python-pipe': dict.fromkeys(('jobs', 'ticker', 'beats', 'crash'), 'no pool'),
                'python-shared': dict.fromkeys(('jobs', 'ticker', 'beats', 'crash'), 'no pool')}


def shown(value):
    return f'{value:,.0f}' if value >= 100 else f'{value:,.1f}' if value >= 10 else f'{value:,.3f}' if value < 1 else f'{value:,.2f}'


class Report:
    def __init__(self, asked, here, built, best, known, failed, rounds):
        self.asked, self.here, self.built, self.best, self.known = asked, here, built, best, known
        self.failed, self.rounds = failed, rounds

    def values(self, measure, name, figure):
        """A figure in every round; [] where it was not measured."""
        return self.best.get((measure, name), (None, None, {}))[2].get(figure, [])

    def label(self, name):
        one = CONTESTANTS[name]
        return f'{one.label} {self.built[one.runtime][0]}' if one.role == 'peer' else one.label

    def without(self, measure, name):
        if self.built[CONTESTANTS[name].runtime][1] is None:
            return 'absent'
        if (measure, name) in self.failed:
            return 'failed'
        if self.values(measure, name, 'dies'):
            return 'the program dies'
        return CELL_WITHOUT.get(name, {}).get(measure, '–')

    def names(self, role):
        return [name for name in self.asked.only if CONTESTANTS[name].role == role]

    def rows(self):
        return [row for row in ROWS if row[0] in self.asked.measures]

    def cell(self, measure, name, figure):
        values = self.values(measure, name, figure)
        return shown(statistics.median(values)) if values else self.without(measure, name)

    def best_of(self, names, row):
        """(name, median) of the best one, or None."""
        medians = {name: statistics.median(self.values(row[0], name, row[1])) for name in names
                   if self.values(row[0], name, row[1])}
        return (max if row[4] else min)(medians.items(), key=lambda item: item[1]) if medians else None

    def floor_cell(self, row):
        found = self.best_of(self.names('floor'), row)
        return f'{shown(found[1])} ({CONTESTANTS[found[0]].label})' if found else '–'

    def ratio_cell(self, name, row, peers):
        """How many times better than the best peer."""
        peers = [peer for peer in peers if peer != 'go' or row[0] not in WITHIN_A_THREAD]
        mine, best = self.values(row[0], name, row[1]), self.best_of(peers, row)
        if not mine or not best or best[1] <= 0 or statistics.median(mine) <= 0:
            return ''
        ratio = best[1] / statistics.median(mine)
        return f'{shown(1 / ratio if row[4] else ratio)} ({CONTESTANTS[best[0]].label})'

    def print_goals(self):
        peers, ours = self.names('peer'), self.names('tandem')
        across = [name for name in peers if CONTESTANTS[name].crosses]
        heads = ['measure', 'goal', *(CONTESTANTS[name].label for name in ours), 'floor', *map(self.label, peers)]
        heads += [f'{CONTESTANTS[name].label}: times better than the best peer' for name in ours]
        print('| ' + ' | '.join(heads) + ' |\n|' + ' --- |' * len(heads))
        for row in self.rows():
            cells = [row[2], row[3], *(self.cell(row[0], name, row[1]) for name in ours), self.floor_cell(row)]
            cells += [self.cell(row[0], name, row[1]) for name in peers]
            cells += [self.ratio_cell(name, row, across if CONTESTANTS[name].crosses else peers) for name in ours]
            print('| ' + ' | '.join(cells) + ' |')

    def print_figures(self):
        print('\nThe figures; ± marks a spread of more than a tenth of the median: measure again before concluding anything from '
              'it.\n\n| measure | contestant | median | least to most |\n| --- | --- | --- | --- |')
        for row in self.rows():
            title = row[2]
            for name in self.asked.only:
                values = self.values(row[0], name, row[1])
                if not values:
                    continue
                middle, least, most = statistics.median(values), min(values), max(values)
                wide = ' ±' if most - least > middle / 10 else ''
                print(f'| {title} | {self.label(name)} | {shown(middle)}{wide} | {shown(least)} to {shown(most)} |')
                title = ''

    def print_variants(self):
        print('\nJobs a second in every way that was tried, medians; the best one is in the tables above.\n\n'
              '| contestant | way | workers | jobs a second | CPU µs a job | |\n| --- | --- | --- | --- | --- | --- |')
        for (measure, name, what, workers), figures in self.known.items():
            if measure == 'jobs':
                chosen = 'best' if self.best[measure, name][:2] == (what, workers) else ''
                print(f'| {self.label(name)} | {what} | {workers} | {shown(statistics.median(figures["per_s"]))} | '
                      f'{shown(statistics.median(figures["cpu_us"]))} | {chosen} |')

    def print_crashes(self):
        print('\nA job that dies of SIGSEGV, in C code, while another one runs beside it on the pool\'s other worker:\n')
        for name in self.asked.only:
            lost, usable = self.values('crash', name, 'lost'), self.values('crash', name, 'usable')
            if lost:
                crashes = (self.values('crash', name, 'crashes') or [8])[0]
                print(f'- {self.label(name)}: the caller is told; {sum(lost):.0f} of {crashes * len(lost):.0f} jobs beside it were lost; the '
                      f'pool works on afterwards: {"yes" if all(usable) else "no"}.')
            elif self.values('crash', name, 'dies'):
                print(f'- {self.label(name)}: the whole program dies.')

    def print(self, took):
        print('## pools\n')
        if self.asked.quick:
            print('**Quick: a smoke test. These figures mean nothing.**\n')
        self.print_terms(took)
        self.print_goals()
        inline = self.values('beats', 'tandem-inline', 'max_ms')
        if inline:
            print(f'\nThe same beats with the computations inline, in tasks of the loop: late by up to {shown(max(inline))} ms.')
        if 'hand' in self.asked.measures:
            self.print_flatness()
        if 'crash' in self.asked.measures:
            self.print_crashes()
        if 'jobs' in self.asked.measures:
            self.print_variants()
        self.print_figures()

    def print_flatness(self):
        told = []
        for name in self.asked.only:
            small, big = (self.values('hand', name, f'us_{size}') for size in (64, 64 << 20))
            if small and big:
                told.append(f'{self.label(name)} {shown(statistics.median(big) / statistics.median(small))}')
        print(f'\nHand-over of 64 MiB, in times of 64 B: {", ".join(told)}.')

    def print_terms(self, took):
        """Under which conditions this was measured."""
        pinned = ('The caller was pinned to core 0, and a lone worker to core 1 (Go\'s were not: it moves goroutines itself).'
                  if self.asked.pin else
                  'Nothing was pinned, as a product would not: the kernel chose the cores, and whether caller and worker share one '
                  'decides more than code does; `--pin` parts them. Only the floors that spin are pinned, one to each core.')
        print('Rerun: `./bench pools`; alone, and with options: `benchmarks/pools/run --help`. Machine-readable: `build/bench/pools.json`.\n')
        print(f'- Medians of {self.asked.rounds} rounds in which the contestants take turns ({min(self.asked.rounds, 3)} for the ticker, beats and '
              'crashes).\n'
              '- Workers: one for jobs one at a time, sums and hand-over; one, or one for each core, for jobs a second, whichever '
              f'is better; four for the ticker; {self.here["cores"]} for the beats; two for crashes.\n'
              f'- {pinned}\n'
              '- CPU time is that of the program and of its worker processes, per job.\n'
              '- The sum and the crash are one C function (-O3) that all call, Python by ctypes. The data is written afresh before '
              'each sum, outside of the clock. It goes by pointer or in shared memory where a contestant can.\n'
              '- The computations of Go and Python are in the language itself, so that their schedulers may interrupt them.\n'
              '- libuv and tokio have timers of 1 ms, and are late by up to that with idle cores too.\n'
              '- Go hands a job from one goroutine to the next within a thread when it can. So its jobs one at a time go to no other '
              'core, and do not count as best peer in the comparison of these and of hand-over.\n'
              '- The last columns compare threads with all peers, and processes with the peers whose workers are processes.\n')
        here = self.here
        print(lib.machine_line(here) + f' It took {took:.0f} s.\n')
        if here['load_before'] > 0.5:
            print('**The machine was busy before: throw these figures away.**\n')
        if self.rounds < self.asked.rounds:
            print(f'**Only {self.rounds} of {self.asked.rounds} rounds were whole: there was no time for more.**\n')

    def write_json(self, path):
        measures = {}
        for (measure, name, what, workers), figures in self.known.items():
            measures.setdefault(measure, {}).setdefault(name, []).append({
                'what': what, 'workers': workers, 'best': self.best[measure, name][:2] == (what, workers),
                'figures': {figure: {'median': statistics.median(values), 'values': values} for figure, values in figures.items()}})
        result = {'machine': self.here, 'rounds': self.rounds, 'quick': self.asked.quick, 'pinned': self.asked.pin,
                  'contestants': {name: self.label(name) if self.built[CONTESTANTS[name].runtime][1] else 'absent'
                                  for name in self.asked.only}, 'measures': measures}
        path.write_text(json.dumps(result, indent=1) + '\n')
