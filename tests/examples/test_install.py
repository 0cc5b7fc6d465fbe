#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Installs into an empty folder and builds a program against that, as a user would: test_install.py BUILD-FOLDER.

Every public header must stand alone, in C11, C17 and C++, without a warning; the program must link by pkg-config, against the
shared and the static library, and run.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

PROGRAM = r'''
#include <tandem.h>

static int nap(void *arg)
{
    ++*(int *)arg;
    return td_sleep(td_ms(1));
}

static int work(void *arg)
{
    td_call calls[] = {{nap, arg, 0}, {nap, arg, 0}};
    td_scope scope;
    td_chan *chan;
    int item = 7, rc;

    td_scope_open(&scope);
    td_spawn(&scope, nap, arg);
    rc = td_scope_join(&scope);
    if (rc == 0)
        rc = td_gather(calls, 2);
    if (rc < 0 || (rc = td_chan_open_int(&chan)) < 0)
        return rc;
    rc = td_chan_send(chan, &item);
    td_chan_free(chan);
    return rc;
}

int main(void)
{
    int naps = 0;

    return td_run(work, &naps) == 0 && naps == 3 ? 0 : 1;
}
'''
# Designated initialisers in compound literals are C only; this is both.
OPEN = '''
#include <string.h>
static int td_chan_open_int(td_chan **chan)
{
    td_chan_opts opts;

    memset(&opts, 0, sizeof opts);
    opts.item_size = sizeof(int);
    opts.capacity = 1;
    return td_chan_open(chan, &opts);
}
'''
LANGUAGES = [(['cc', '-x', 'c', '-std=c11'], 'c'), (['cc', '-x', 'c', '-std=c17'], 'c'), (['g++', '-x', 'c++', '-std=c++17'], 'cc'),
             (['g++', '-x', 'c++', '-std=c++20'], 'cc')]
STRICT = ['-Wall', '-Wextra', '-Wpedantic', '-Werror']


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, f'{command}:\n{done.stdout}{done.stderr}'
    return done.stdout


def main():
    build = pathlib.Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        run('/usr/bin/meson', 'install', '-C', build, '--no-rebuild', '--destdir', scratch / 'root')
        config = next((scratch / 'root').rglob('tandem.pc')).parent
        environment = dict(os.environ, PKG_CONFIG_PATH=str(config), PKG_CONFIG_SYSROOT_DIR=str(scratch / 'root'))
        flags = run('pkg-config', '--cflags', '--libs', 'tandem', env=environment).split()
        # Ours from its archive, and what it needs by shared libraries: not all of their own needs have archives installed.
        needs = run('pkg-config', '--print-requires-private', 'tandem', env=environment).split()
        needs = run('pkg-config', '--libs', *needs, env=environment).split()
        include = next(part[2:] for part in flags if part.startswith('-I'))
        library = next(part[2:] for part in flags if part.startswith('-L'))
        headers = sorted(pathlib.Path(include, 'tandem').glob('*.h'))
        assert len(headers) > 15, headers
        source = scratch / 'program.c'
        text = PROGRAM.replace('#include <tandem.h>', '#include <tandem.h>' + OPEN)
        for compiler, name in LANGUAGES:
            for header in headers:
                run(*compiler, *STRICT, '-fsyntax-only', '-I', include, '-include', header, '/dev/null')
            source.write_text(text)
            run(*compiler, *STRICT, source, '-x', 'none', '-o', scratch / 'shared', *flags, f'-Wl,-rpath,{library}')
            run(scratch / 'shared')
        run('cc', '-std=c11', source, '-o', scratch / 'static', f'-I{include}', pathlib.Path(library, 'libtandem.a'),
            *needs, '-lpthread')
        run(scratch / 'static')
        pages = {page.name.split('.')[0] for page in (scratch / 'root').rglob('man3/*')}
        exported = {line.split()[2].split('@')[0] for line in run('nm', '-D', '--defined-only', pathlib.Path(library, 'libtandem.so'))
                    .splitlines() if ' td_' in line}
        assert exported <= pages, f'no manual page for {sorted(exported - pages)}'
        print(f'{len(headers)} headers, {len(exported)} functions, {len(LANGUAGES)} languages')


if __name__ == '__main__':
    main()
