# SPDX-License-Identifier: MIT
"""What the benchmarks share: building a C program, repeated runs, medians, a server's CPU time."""
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / 'build'
RUNS = 5


def compile_program(source, *flags):
    out = BUILD / 'bench' / source.parent.name / source.stem
    out.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(['gcc', '-O2', '-g', '-D_GNU_SOURCE', f'-I{ROOT / "include"}', str(source), '-o', str(out), *flags], check=True)
    return out


def compile_with_tandem(source):
    return compile_program(source, f'-L{BUILD}', '-ltandem', f'-Wl,-rpath,{BUILD}')


def figures(text):
    """'name value' lines as a dictionary."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: float(pair[1]) for pair in pairs if len(pair) == 2}


def repeat(measure, runs=RUNS):
    """Runs `measure` and collects each figure's values."""
    collected = {}
    for run in range(runs):
        print(f'  run {run + 1} of {runs}', file=sys.stderr)
        for name, value in measure().items():
            collected.setdefault(name, []).append(value)
    return collected


def median(values, digits=2):
    """Median (least to most), the way every table shows it."""
    return f'{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})'


def need_two_cores():
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit(77)


def cpu_seconds(pid):
    """User and system time of a process: /proc/PID/stat, fields 14 and 15."""
    fields = pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
