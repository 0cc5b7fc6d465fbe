# SPDX-License-Identifier: MIT
"""What the tests with other people's programs share: how they are started, and what is skipped where one is missing."""
import contextlib
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'serve'))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'web'))

from runner import Skip                  # noqa: E402
from server import Failed, check         # noqa: E402

SECONDS = 40


def needs(*programs):
    """Skips the test where one of these is not installed."""
    for name in programs:
        if not shutil.which(name):
            raise Skip(f'{name} is not installed')


def output(*command, body=b'', seconds=SECONDS, status=0, **keywords):
    """Runs a program to its end. Returns its standard output and its standard error."""
    done = subprocess.run([str(one) for one in command], input=body, capture_output=True, timeout=seconds, **keywords)
    check(status is None or done.returncode == status,
          f'{command}: exit status {done.returncode}: {done.stdout.decode(errors="replace")[-2000:]} '
          f'{done.stderr.decode(errors="replace")[-2000:]}')
    return done.stdout, done.stderr.decode(errors='replace')


@contextlib.contextmanager
def program(*command, says=None, seconds=SECONDS, **keywords):
    """A program that runs until the end of the block. `says` is what the line on its output contains once it is ready; yields
    the process and that line."""
    child = subprocess.Popen([str(one) for one in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, **keywords)
    try:
        line = ''
        while says is not None and says not in line:
            line = child.stdout.readline()
            if not line:
                raise Failed(f'{command} ended before it said {says!r}')
        yield child, line
    finally:
        child.terminate()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()


def folder():
    return tempfile.TemporaryDirectory(prefix='tandem-interop-')
