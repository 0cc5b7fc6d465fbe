#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The manual pages: groff has nothing to say against them, and every page that one refers to is there."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile


def main():
    source = pathlib.Path(sys.argv[1])
    if not shutil.which('groff'):
        sys.exit(77)
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([sys.executable, source / 'tools/man-pages.py', source / 'include/tandem', scratch], check=True)
        made = sorted(pathlib.Path(scratch).glob('*.3'))
        pages = made + sorted((source / 'man').glob('*.[17]'))
        names = {page.name for page in pages}
        assert len(made) > 200, f'only {len(made)} pages'
        for page in pages:
            text = page.read_text()
            if text.startswith('.so man3/'):
                assert text.strip().removeprefix('.so man3/') in names, text
                continue
            done = subprocess.run(['groff', '-mandoc', '-ww', '-z', '-Tutf8', page], capture_output=True, text=True)
            assert done.returncode == 0 and not done.stderr, f'{page.name}: {done.stderr}'
            for name, section in re.findall(r'^(?:\.|.*\b)Xr (\S+) (\d)', text, re.M):
                ours = name.startswith(('td_', 'tandem'))
                assert not ours or f'{name}.{section}' in names, f'{page.name} refers to {name}({section}), which is not there'
        print(f'{len(pages)} pages')


if __name__ == '__main__':
    main()
