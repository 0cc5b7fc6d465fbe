# SPDX-License-Identifier: MIT
"""What measure.h is to C: how the programs are called, clocks, the work, and a course of samples."""
import ctypes
import glob
import os
import pathlib
import sys
import time

IN_FLIGHT, COMPUTATIONS, BEATERS, CRASHES = 1000, 4, 1000, 3
BYTES = 10 << 20
SIZES = (64, 4 << 10, 256 << 10, BYTES, 64 << 20)

# The same function that the others call; ctypes lets go of the interpreter's lock meanwhile.
WORK = ctypes.CDLL(str(pathlib.Path(os.environ['POOLS_WORK'])))
for name in ('work_sum', 'work_sum_of'):
    getattr(WORK, name).restype = ctypes.c_uint64
WORK.work_sum.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
WORK.work_sum_of.argtypes = [ctypes.c_int, ctypes.c_size_t]


class Call:
    def __init__(self):
        self.measure, self.kind, workers, seconds, self.what, pin = sys.argv[1:]
        self.workers, self.seconds, self.pin = int(workers), float(seconds), pin == '1'


def sum_of_bytes(data):
    """By the C function; a bytes object's address is where its first element is."""
    if isinstance(data, bytes):
        return WORK.work_sum(ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p), len(data))
    first = ctypes.c_char.from_buffer(data)
    return WORK.work_sum(ctypes.addressof(first), BYTES)


def own_sum(data):
    """By Python itself."""
    return sum(memoryview(data).cast('Q')) % 2**64


def tree_cpu():
    """Seconds of CPU of this process and of its children; a process's clock is named by its id (clock_getcpuclockid)."""
    used = time.process_time()
    for path in glob.glob('/proc/self/task/*/children'):
        for pid in pathlib.Path(path).read_text().split():
            used += time.clock_gettime((~int(pid) << 3) | 2)
    return used


class Course:
    def __init__(self, seconds):
        now = time.perf_counter()
        self.counted_from, self.until = now + seconds * 0.2, now + seconds
        self.took, self.cpu = [], None

    def add(self, began):
        now = time.perf_counter()
        if self.cpu is None and now >= self.counted_from:
            self.cpu = tree_cpu()
            return True
        if self.cpu is not None:
            self.took.append(now - began)
        return not self.took or now < self.until

    def print_trips(self):
        used = tree_cpu() - self.cpu
        print(f'p50_us {percentile(self.took, 50) * 1e6:.3f}\np99_us {percentile(self.took, 99) * 1e6:.3f}')
        print(f'cpu_us {used / len(self.took) * 1e6:.3f}')

    def p50(self):
        return percentile(self.took, 50)


def percentile(values, percent):
    values = sorted(values)
    return values[min(len(values) * percent // 100, len(values) - 1)]


def print_late(late):
    print(f'p99_ms {percentile(late, 99) * 1e3:.4f}\nmax_ms {max(late) * 1e3:.4f}')
