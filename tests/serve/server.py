# SPDX-License-Identifier: MIT
"""`tandem serve` as a child process: its start, its figures, what the kernel knows about it, its end.

    with Server(program, 'epoll', '--pool', '2') as server:
        server.get('/healthz')

At the end of the block it gets SIGTERM, and must end as the contract says: exit status 0, one line on standard output, no
process left behind, nothing from a sanitizer on standard error.
"""
import collections
import functools
import http.client
import json
import mmap
import os
import pathlib
import re
import select
import signal
import subprocess
import tempfile
import time
import uuid

import prometheus

SANITIZER_SLACK = 6      # how much slower things may be in a sanitizer's build
START_SECONDS = 10
MARK = 'TANDEM_TEST_MARK'   # in the environment of a server and of all its descendants, orphans too
TROUBLE = re.compile(r'Sanitizer|stack overflow|runtime error:|Assertion|[Cc]ore dumped|tandem: bug|panic')
READY = re.compile(r'tandem: listening on (https?)://([0-9.]+|\[[0-9a-f:]+\]):([0-9]+)\n')

Response = collections.namedtuple('Response', 'status fields body seconds')
Ended = collections.namedtuple('Ended', 'status seconds')


class Failed(Exception):
    """A test's expectation was not met."""


def check(condition, text):
    if not condition:
        raise Failed(text)


def equal(found, expected, what):
    if found != expected:
        raise Failed(f'{what}: expected {expected!r}, found {found!r}')


def wait_until(condition, what, seconds=10):
    """Polls until condition() is true, and returns what it said; Failed after that many seconds."""
    until = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > until:
            raise Failed(f'waited {seconds} s in vain: {what}')
        time.sleep(0.005)


def is_sanitized(program):
    """Whether the program was built with AddressSanitizer or ThreadSanitizer."""
    with open(program, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as image:
        return image.find(b'__asan_init') >= 0 or image.find(b'__tsan_init') >= 0


def slack_of(program):
    """What to multiply time limits with: 1, or more where a sanitizer or TANDEM_SLOW says so."""
    given = os.environ.get('TANDEM_SLOW')
    return float(given) if given else SANITIZER_SLACK if is_sanitized(program) else 1


def environment(mark=None):
    env = dict(os.environ)
    env.setdefault('ASAN_OPTIONS', 'abort_on_error=1:detect_leaks=1:strict_string_checks=1:quarantine_size_mb=16')
    env.setdefault('UBSAN_OPTIONS', 'halt_on_error=1:abort_on_error=1:print_stacktrace=1')
    if mark:
        env[MARK] = mark
    return env


class Metrics:
    """A scrape of /metrics."""

    def __init__(self, text):
        self.types, families = prometheus.parse(text)
        self.values = {(one.name, frozenset(one.labels.items())): one.value for samples in families.values() for one in samples}

    def value(self, name, **labels):
        return self.values[f'tandem_{name}', frozenset(labels.items())]

    def jobs(self, outcome):
        return self.value('pool_jobs_total', outcome=outcome)

    def of_pool(self, pool, name, **labels):
        return self.value(f'named_pool_{name}', pool=pool, **labels)

    def dropped(self, reason):
        return self.value('dropped_total', reason=reason)


class Server:
    def __init__(self, program, backend, *flags, listen='127.0.0.1:0', tls=None, **popen):
        """`tls`: the ssl.SSLContext to ask it with; None: it speaks plain HTTP."""
        self.program = str(program)
        self.slack = slack_of(program)
        self.arguments = [self.program, 'serve', '--listen', listen, '--backend', backend, *map(str, flags)]
        self.popen = popen
        self.tls = tls
        self.mark = uuid.uuid4().hex
        self.log_file = tempfile.TemporaryFile()
        self.child = None
        self.ended = None
        self.host = self.port = None
        self.later_output = b''

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, _error, _trace):
        try:
            if kind is None:
                if self.ended is None:
                    self.stop()
                self.check_end()
            elif issubclass(kind, Exception):
                print(self.log_tail(), flush=True)
        finally:
            self.kill()
            self.log_file.close()

    def start(self):
        self.child = subprocess.Popen(self.arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=self.log_file, env=environment(self.mark), **self.popen)
        line = b''
        until = time.monotonic() + START_SECONDS * self.slack
        while not line.endswith(b'\n'):
            left = until - time.monotonic()
            ready, _, _ = select.select([self.child.stdout], [], [], max(0, left))
            byte = os.read(self.child.stdout.fileno(), 1) if ready else b''
            if not byte:
                log = self.log()
                self.kill()
                raise Failed(f'the server did not say that it listens: {line!r}, standard error {log!r}')
            line += byte
        match = READY.fullmatch(line.decode())
        check(match, f'the line on standard output is {line!r}')
        equal(match[1], 'https' if self.tls else 'http', 'the scheme it says')
        self.host, self.port = match[2].strip('[]'), int(match[3])

    def kill(self):
        """Ends it and all that it left, by their ids."""
        if self.child and self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        if self.child:
            self.child.stdout.close()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def signal(self, number=signal.SIGTERM):
        self.child.send_signal(number)

    def wait(self, seconds=15):
        """Waits for its end after a signal. Returns the exit status and how long that took from here."""
        begin = time.monotonic()
        try:
            status = self.child.wait(seconds * self.slack)
        except subprocess.TimeoutExpired:
            raise Failed(f'the server did not end within {seconds * self.slack} s; its threads wait in '
                         f'{wait_channels(self.pid)}') from None
        self.later_output = self.child.stdout.read()
        self.ended = Ended(status, time.monotonic() - begin)
        return self.ended

    def stop(self, seconds=15):
        self.signal()
        return self.wait(seconds)

    def check_end(self):
        log = self.log()
        check(not TROUBLE.search(log), f'trouble on standard error:\n{log}')
        equal(self.ended.status, 0, 'exit status')
        equal(self.later_output, b'', 'standard output after the first line')
        wait_until(lambda: not self.processes(), f'processes left behind: {self.processes()}', 3)

    def log(self):
        """All that it wrote to standard error."""
        return os.pread(self.log_file.fileno(), 1 << 24, 0).decode(errors='replace')

    def log_tail(self):
        lines = self.log().splitlines()
        return '\n'.join(f'    | {line}' for line in lines[-40:])

    # What the kernel knows.

    @property
    def pid(self):
        return self.child.pid

    def processes(self):
        """The ids of the server's processes and of their orphans, the first process excepted."""
        wanted = f'{MARK}={self.mark}'.encode()
        found = []
        for entry in pathlib.Path('/proc').iterdir():
            if not entry.name.isdigit() or int(entry.name) == self.child.pid:
                continue
            try:
                if wanted in (entry / 'environ').read_bytes().split(b'\0'):
                    found.append(int(entry.name))
            except OSError:
                pass
        return found

    def children(self, name=None, of=None):
        """Its direct children, ids in rising order; only those with that name, where one is given."""
        found = []
        for pid in self.processes():
            state = process_state(pid)
            if state and state.parent == (of or self.pid) and name in (None, state.name):
                found.append(pid)
        return sorted(found)

    def workers(self):
        return self.children('tandem-worker')

    def audio_worker(self):
        """With a session open, --pool 1 and --audio-pool 1: the worker that is not the first, which computes."""
        return wait_until(lambda: len(found := self.workers()) == 2 and found[1], 'a worker for audio', 10 * self.slack)

    def busy_workers(self, workers=None):
        """Those whose processor time grew within some milliseconds."""
        before = {pid: processor_ticks(pid) for pid in workers or self.workers()}
        time.sleep(0.05)
        return [pid for pid, ticks in before.items() if processor_ticks(pid) > ticks]

    def working_ticks(self):
        """Processor time so far of everything but its main thread: of the workers, threads or processes."""
        return sum(processor_ticks(pid, task.name) for pid in [self.pid, *self.processes()]
                   for task in pathlib.Path(f'/proc/{pid}/task').glob('*') if int(task.name) != self.pid)

    def wait_begun(self, ticks, depth=0):
        """Until one worker has a job, and has begun it: since `ticks` of working_ticks() it has computed. (A worker is busy
        as soon as a job is given to it, and the job may still be taken back then.)"""
        self.wait_pool(busy=1, depth=depth)
        wait_until(lambda: self.working_ticks() >= ticks + 2, 'a worker that computes', 10 * self.slack)

    def rss_kib(self):
        status = pathlib.Path(f'/proc/{self.pid}/status').read_text()
        return int(re.search(r'VmRSS:\s+(\d+) kB', status)[1])

    def descriptors(self, pid=None):
        return len(os.listdir(f'/proc/{pid or self.pid}/fd'))

    # What its endpoints say.

    @property
    def address(self):
        return self.host, self.port

    def url(self, path, scheme='ws'):
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'{scheme}://{host}:{self.port}{path}'

    def request(self, method, path, body=None, fields=None, seconds=30):
        """One request on a connection of its own."""
        kind = functools.partial(http.client.HTTPSConnection, context=self.tls) if self.tls else http.client.HTTPConnection
        connection = kind(self.host, self.port, timeout=seconds * self.slack)
        begin = time.monotonic()
        try:
            connection.request(method, path, body, fields or {})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        return Response(answer.status, answer.headers, body, time.monotonic() - begin)

    def get(self, path):
        return self.request('GET', path)

    def compute(self, op, seconds=30, **members):
        """Returns the response; its body is decoded."""
        answer = self.request('POST', '/compute', json.dumps({'op': op, **members}), seconds=seconds)
        return answer._replace(body=json.loads(answer.body))

    def metrics(self):
        answer = self.get('/metrics')
        equal(answer.status, 200, 'status of /metrics')
        return Metrics(answer.body.decode())

    def wait_metric(self, condition, what, seconds=10):
        """Waits until condition(metrics) holds."""
        return wait_until(lambda: condition(self.metrics()), what, seconds * self.slack)

    def wait_pool(self, busy, depth=0):
        """Of the pool that computes."""
        self.wait_metric(lambda m: (m.of_pool('compute', 'busy_workers'), m.of_pool('compute', 'queue_depth')) == (busy, depth),
                         f'{busy} busy workers and {depth} waiting jobs')


State = collections.namedtuple('State', 'name parent state')


def process_state(pid):
    """None when there is no such process any more."""
    try:
        text = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return None
    name, rest = text[text.index('(') + 1:text.rindex(')')], text[text.rindex(')') + 2:].split()
    return State(name, int(rest[1]), rest[0])


def processor_ticks(pid, thread=None):
    """User and system time so far, of one of its threads or all; 0 when the process is gone."""
    try:
        text = pathlib.Path(f'/proc/{pid}/task/{thread}/stat' if thread else f'/proc/{pid}/stat').read_text()
    except OSError:
        return 0
    fields = text[text.rindex(')') + 2:].split()
    return int(fields[11]) + int(fields[12])


def own_waiting_seconds():
    """How long this thread was ready to run and had no processor, so far: what a busy machine costs a measurement."""
    return int(pathlib.Path('/proc/thread-self/schedstat').read_text().split()[1]) / 1e9


def wait_channels(pid):
    found = []
    for task in pathlib.Path(f'/proc/{pid}/task').glob('*'):
        try:
            found.append(f"{(task / 'comm').read_text().strip()}: {(task / 'wchan').read_text()}")
        except OSError:
            pass
    return found
