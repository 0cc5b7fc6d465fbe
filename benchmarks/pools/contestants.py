# SPDX-License-Identifier: MIT
"""Tandem, its peers and the floors: how each is built, from Debian's packages and without a network, and how it is called.

A runtime has a folder and a builder; the builder returns its version and the command of each of its programs, and what it
raises says why the runtime is absent. A contestant is a runtime with a kind of worker.
"""
import collections
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import lib  # noqa: E402
from lib import DEBIAN, output, version  # noqa: E402

OUT = lib.BUILD / 'bench' / 'pools'
WORK = OUT / 'libwork.so'
HANDING, BUSY = ('trip', 'jobs', 'sum', 'own-sum', 'hand'), ('ticker', 'beats', 'crash')


def build_work():
    """The work that all of them do, once, for static and for dynamic use."""
    OUT.mkdir(parents=True, exist_ok=True)
    flags = ['-O3', '-fPIC', '-c', HERE / 'work' / 'work.c', '-o', OUT / 'work.o']
    subprocess.run(['gcc', *flags], check=True, env=DEBIAN)
    (OUT / 'libwork.a').unlink(missing_ok=True)
    subprocess.run(['ar', 'rcs', OUT / 'libwork.a', OUT / 'work.o'], check=True, env=DEBIAN)
    subprocess.run(['gcc', '-shared', OUT / 'work.o', '-o', WORK], check=True, env=DEBIAN)


def compiled(folder, name, *libraries):
    (OUT / folder).mkdir(exist_ok=True)
    program = OUT / folder / name
    subprocess.run(['gcc', '-O2', '-D_GNU_SOURCE', f'-I{lib.ROOT / "include"}', f'-I{HERE}', HERE / folder / f'{name}.c',
                    OUT / 'libwork.a', '-o', program, *libraries], check=True, env=DEBIAN)
    return [str(program)]


def tandem():
    libraries = lib.tandem_libraries()
    return '', {**dict.fromkeys(HANDING, compiled('tandem', 'handing', *libraries)),
                **dict.fromkeys(BUSY, compiled('tandem', 'busy', *libraries))}


def floor():
    return '', dict.fromkeys(HANDING + BUSY, compiled('floor', 'handing'))


def uv():
    return version('libuv1-dev'), dict.fromkeys(HANDING + BUSY, compiled('uv', 'pools', '-luv'))


def go():
    out = OUT / 'go'
    out.mkdir(exist_ok=True)
    settings = dict(DEBIAN, GOCACHE=str(out / 'cache'), GOPATH=str(out / 'path'), GO111MODULE='off', GOTOOLCHAIN='local',
                    CGO_CFLAGS=f'-O2 -I{HERE}', CGO_LDFLAGS=str(OUT / 'libwork.a'))
    subprocess.run(['go', 'build', '-o', out / 'pools', *sorted((HERE / 'go').glob('*.go'))], check=True, env=settings)
    return output('go', 'env', 'GOVERSION').removeprefix('go'), dict.fromkeys(HANDING + BUSY, [str(out / 'pools')])


def tokio():
    out = OUT / 'tokio'
    shutil.copytree(HERE / 'tokio', out, dirs_exist_ok=True)  # cargo writes beside what it builds
    registry = '/usr/share/cargo/registry'
    subprocess.run(['cargo', 'build', '--quiet', '--release', '--offline', '--config', 'source.crates-io.replace-with="debian"',
                    '--config', f'source.debian.directory="{registry}"'], check=True, cwd=out,
                   env=dict(DEBIAN, CARGO_HOME=str(out / 'home'), RUSTC='/usr/bin/rustc', CARGO_TARGET_DIR=str(out / 'target'),
                            RUSTFLAGS=f'-L native={OUT}'))
    return version('librust-tokio-dev'), dict.fromkeys(HANDING + BUSY, [str(out / 'target' / 'release' / 'pools')])


def python():
    def command(name):
        return ['/usr/bin/python3', str(HERE / 'python' / f'{name}.py')]
    found = output('/usr/bin/python3', '-c', 'import platform; print(platform.python_version())')
    return found, {**dict.fromkeys(HANDING, command('executors')), **dict.fromkeys(BUSY, command('busy')),
                   'connections': command('connections')}


RUNTIMES = {'tandem': tandem, 'floor': floor, 'tokio': tokio, 'uv': uv, 'go': go, 'python': python}

# `role` is tandem, floor or peer; `ways` are those of measure `jobs`; `crosses`: into another process.
Contestant = collections.namedtuple('Contestant', 'runtime kind label role measures ways crosses')
ALL = ('trip', 'parked', 'jobs', 'sum', 'hand', 'ticker', 'beats', 'crash')
FLOOR = ('trip', 'parked', 'sum', 'hand')
PIPE = ('trip', 'parked', 'sum', 'own-sum', 'hand')
CONTESTANTS = {
    'tandem-threads': Contestant('tandem', 'threads', 'tandem threads', 'tandem', ALL, ('tasks', 'submit'), False),
    'tandem-processes': Contestant('tandem', 'processes', 'tandem processes', 'tandem', ALL, ('tasks', 'submit'), True),
    'tandem-inline': Contestant('tandem', 'inline', 'tandem inline', 'inline', ('beats',), (), False),
    'inplace': Contestant('floor', 'inplace', 'in place', 'floor', ('sum',), (), False),
    'spin': Contestant('floor', 'spin', 'spinning word', 'floor', ('trip', 'sum', 'hand'), (), True),
    'ring': Contestant('floor', 'ring', 'spinning ring', 'floor', ('jobs',), ('',), True),
    'futex': Contestant('floor', 'futex', 'memory file, futex', 'floor', FLOOR, (), True),
    'pipe': Contestant('floor', 'pipe', 'pipe', 'floor', FLOOR, (), True),
    'unix': Contestant('floor', 'unix', 'Unix socket', 'floor', FLOOR, (), True),
    'idle': Contestant('floor', 'idle', 'idle class', 'floor', ('ticker',), (), True),
    'tokio': Contestant('tokio', 'threads', 'tokio', 'peer', ALL, ('tasks', 'batch'), False),
    'uv': Contestant('uv', 'threads', 'libuv', 'peer', ALL, ('callbacks',), False),
    'go': Contestant('go', 'goroutines', 'Go', 'peer', ALL, ('pool', 'go'), False),
    'python-threads': Contestant('python', 'threads', 'Python threads', 'peer', ALL + ('own-sum',), ('tasks',), False),
    'python-processes': Contestant('python', 'processes', 'Python processes', 'peer', ALL, ('tasks',), True),
    'python-pipe': Contestant('python', 'pipe', 'Python Pipe', 'peer', PIPE, (), True),
    'python-shared': Contestant('python', 'shared', 'Python SharedMemory', 'peer', PIPE, (), True),
}


def build(names):
    """{runtime: (version, programs)}; programs are None for one that cannot be built."""
    build_work()
    built = {}
    for runtime in dict.fromkeys(CONTESTANTS[name].runtime for name in names):
        print(f'  building {runtime}', file=sys.stderr)
        try:
            built[runtime] = RUNTIMES[runtime]()
        except (OSError, subprocess.CalledProcessError) as why:
            if runtime == 'tandem':
                raise
            print(f'  {runtime} is absent: {why}', file=sys.stderr)
            built[runtime] = ('', None)
    return built


def command(built, name, measure):
    """The beginning of the command line that measures this contestant; None where it is absent."""
    one = CONTESTANTS[name]
    programs = built[one.runtime][1]
    return programs and programs['connections' if one.kind in ('pipe', 'shared') and one.runtime == 'python' else measure]


def environment():
    return dict(os.environ, POOLS_WORK=str(WORK), PYTHONWARNINGS='ignore')
