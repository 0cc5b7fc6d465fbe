# SPDX-License-Identifier: MIT
"""What the benchmarks share: building programs, the machine they ran on, repeated runs, medians, a server's CPU time."""
import datetime
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / 'build'
RUNS = 5
DEBIAN = dict(os.environ, PATH='/usr/bin:/bin')  # Debian's tools, and not newer ones that somebody has at home


def output(*command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, env=DEBIAN, **options).stdout.strip()


def version(package):
    """A Debian package's version as its makers have it: 2:1.74.0+ds1-21 is 1.74.0."""
    return re.search(r'(?:\d+:)?([\d.]+)', output('dpkg-query', '-W', '-f=${Version}', package)).group(1)


def machine():
    info = pathlib.Path('/proc/cpuinfo').read_text()
    model = [line.split(':')[1].strip() for line in info.splitlines() if line.startswith('model name')]
    git = subprocess.run(['git', 'describe', '--always', '--dirty'], capture_output=True, text=True, cwd=ROOT)
    return {'when': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'), 'commit': git.stdout.strip(),
            'processor': (model or [platform.machine()])[0], 'cores': os.cpu_count(), 'virtual': 'hypervisor' in info,
            'memory_bytes': os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'), 'kernel': platform.release(),
            'compiler': output('gcc', '--version').splitlines()[0], 'load_before': os.getloadavg()[0]}


def machine_line(here):
    """A sentence about `here`, from machine(), with 'load_after' put in."""
    return (f'{here["processor"]}, {here["cores"]} cores{", virtual" if here["virtual"] else ""}, Linux {here["kernel"]}, '
            f'{here["compiler"]}, {here["commit"]}, load {here["load_before"]:.1f} before and {here["load_after"]:.1f} after.')


def compile_program(source, *flags):
    out = BUILD / 'bench' / source.parent.name / source.stem
    out.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(['gcc', '-O2', '-g', '-D_GNU_SOURCE', f'-I{ROOT / "include"}', str(source), '-o', str(out), *flags], check=True)
    return out


def compile_with_tandem(source):
    return compile_program(source, f'-L{BUILD}', '-ltandem', f'-Wl,-rpath,{BUILD}')


def tandem_libraries():
    """What a program links with to have all of Tandem in it, and what that needs from elsewhere by shared libraries."""
    def ask(*words):
        return subprocess.run(['pkg-config', *words], check=True, text=True, stdout=subprocess.PIPE,
                              env=dict(DEBIAN, PKG_CONFIG_PATH=str(BUILD / 'meson-private'))).stdout.split()
    return [str(BUILD / 'libtandem.a'), *ask('--libs', *ask('--print-requires-private', 'tandem')), '-lpthread']


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
