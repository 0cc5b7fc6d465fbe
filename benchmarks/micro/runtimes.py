# SPDX-License-Identifier: MIT
"""Tandem and its peers: how each is built, from Debian's packages and without a network, and how it is called.

A runtime's builder returns its label and the command of each of its programs; what it raises says why the runtime is absent.
"""
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import lib  # noqa: E402
from lib import DEBIAN, output, version  # noqa: E402

OUT = lib.BUILD / 'bench' / 'micro'


def compiled(folder, names, *libraries, compiler='gcc', ending='c'):
    out = OUT / folder
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        subprocess.run([compiler, '-O2', '-D_GNU_SOURCE', f'-I{lib.ROOT / "include"}', HERE / folder / f'{name}.{ending}',
                        '-o', out / name, *libraries], check=True, env=DEBIAN)
    return {name: [str(out / name)] for name in names}


def tandem():
    return 'tandem', compiled('tandem', ['tasks', 'sleepers', 'guarded'], *lib.tandem_libraries())


def floor():
    programs = compiled('floor', ['tasks', 'stacks'])
    return 'floor (C)', {'tasks': programs['tasks'], 'sleepers': programs['stacks'], 'guarded': programs['stacks']}


def st():
    return f'State Threads {version("libst-dev")}', compiled('st', ['tasks', 'sleepers'], '-lst')


def fiber():
    return (f'boost.fiber {version("libboost-fiber1.74-dev")}',
            compiled('fiber', ['tasks', 'sleepers', 'guarded'], '-lboost_fiber', '-lboost_context', compiler='g++', ending='cc'))


def uv():
    return f'libuv {version("libuv1-dev")}', compiled('uv', ['sleepers'], '-luv')


def go():
    out = OUT / 'go'
    out.mkdir(parents=True, exist_ok=True)
    settings = dict(DEBIAN, GOCACHE=str(out / 'cache'), GOPATH=str(out / 'path'), GO111MODULE='off', GOTOOLCHAIN='local')
    for name in ('tasks', 'sleepers'):
        subprocess.run(['go', 'build', '-o', out / name, HERE / 'go' / f'{name}.go'], check=True, env=settings)
    return f'Go {output("go", "env", "GOVERSION").removeprefix("go")}', {n: [str(out / n)] for n in ('tasks', 'sleepers')}


def tokio():
    out = OUT / 'tokio'
    shutil.copytree(HERE / 'tokio', out, dirs_exist_ok=True)  # cargo writes beside what it builds
    registry = '/usr/share/cargo/registry'
    subprocess.run(['cargo', 'build', '--quiet', '--release', '--offline', '--config', 'source.crates-io.replace-with="debian"',
                    '--config', f'source.debian.directory="{registry}"'], check=True, cwd=out,
                   env=dict(DEBIAN, CARGO_HOME=str(out / 'home'), RUSTC='/usr/bin/rustc', CARGO_TARGET_DIR=str(out / 'target')))
    release = out / 'target' / 'release'
    return f'tokio {version("librust-tokio-dev")}', {name: [str(release / name)] for name in ('tasks', 'sleepers')}


def python(loop):
    found = output('/usr/bin/python3', '-c', f'import {loop}, platform; print(platform.python_version())')
    label = f'asyncio {found}' if loop == 'asyncio' else f'uvloop {version("python3-uvloop")}'
    return label, {name: ['/usr/bin/python3', str(HERE / 'python' / f'{name}.py'), loop] for name in ('tasks', 'sleepers')}


# In the order of the tables; the number is how often it does the work of a measure, in millions: about as long each.
RUNTIMES = {
    'tandem': (tandem, 10), 'floor': (floor, 20), 'st': (st, 10), 'tokio': (tokio, 3), 'go': (go, 3), 'fiber': (fiber, 3),
    'uv': (uv, 1), 'uvloop': (lambda: python('uvloop'), 0.3), 'asyncio': (lambda: python('asyncio'), 0.2),
}
