#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The programs of docs/guide, compiled and run as they stand there: test_guide.py FOLDER COMPILER-ARGUMENT..."""
import pathlib
import re
import subprocess
import sys
import tempfile


def main():
    folder, arguments = pathlib.Path(sys.argv[1]), sys.argv[2:]
    programs = [(chapter.name, text) for chapter in sorted(folder.glob('*.md'))
                for text in re.findall(r'^```c\n(.*?)^```', chapter.read_text(), re.S | re.M)]
    assert len(programs) >= 4, f'only {len(programs)} programs found in {folder}'
    for chapter, text in programs:
        with tempfile.TemporaryDirectory() as scratch:
            source, program = pathlib.Path(scratch, 'program.c'), pathlib.Path(scratch, 'program')
            source.write_text(text)
            subprocess.run(['cc', '-std=c11', '-Wall', '-Wextra', '-Werror', source, '-o', program, *arguments], check=True)
            done = subprocess.run([program], capture_output=True, text=True, timeout=30)
            print(f'{chapter}: {done.stdout}{done.stderr}')
            assert done.returncode == 0 and done.stdout, f'{chapter}: exit status {done.returncode}'


if __name__ == '__main__':
    main()
