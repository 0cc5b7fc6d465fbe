#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""trip|sum|own-sum|hand pipe|shared 1 SECONDS WHAT PIN: one process of multiprocessing's, and a Pipe; no loop, no pool.

`pipe` sends the data through it (send_bytes), `shared` has the data in a SharedMemory that both sides have open.
"""
import multiprocessing
import multiprocessing.shared_memory
import os
import time

import measure
from measure import BYTES, SIZES


def answer(request, data):
    """The worker's side: `request` is what to do, `data` the bytes."""
    if request == b't':
        return data[0]
    return measure.own_sum(data[:BYTES]) if request == b'o' else measure.sum_of_bytes(data)


def serve(connection, memory, pin):
    if pin:
        os.sched_setaffinity(0, {1})
    while True:
        request = connection.recv_bytes()
        if request == b'q':
            return
        data = memory.buf if memory else connection.recv_bytes()
        connection.send(answer(request, data))


class Worker:
    def __init__(self, call):
        self.memory = multiprocessing.shared_memory.SharedMemory(create=True, size=SIZES[-1]) if call.kind == 'shared' else None
        self.connection, there = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=serve, args=(there, self.memory, call.pin))
        self.process.start()
        if call.pin:
            os.sched_setaffinity(0, {0})

    def fill(self, byte, size):
        """What `ask` hands over from then on."""
        self.data = bytes([byte]) * size
        if self.memory:
            self.memory.buf[:size] = self.data

    def ask(self, request):
        self.connection.send_bytes(request)
        if not self.memory:
            self.connection.send_bytes(self.data)
        return self.connection.recv()

    def end(self):
        self.connection.send_bytes(b'q')
        self.process.join()
        if self.memory:
            self.memory.close()
            self.memory.unlink()


def trips(worker, call):
    gap, course, more = float(call.what) / 1e6, measure.Course(call.seconds), True
    worker.fill(0, 1)
    while more:
        if gap:
            # The worker has nothing to do meanwhile.
            time.sleep(gap)
        began = time.perf_counter()
        worker.ask(b't')
        more = course.add(began)
    course.print_trips()


def sums(worker, call):
    request = b'o' if call.measure == 'own-sum' else b's'
    course, more, byte = measure.Course(call.seconds), True, 0
    while more:
        byte = (byte + 1) % 256
        worker.fill(byte, BYTES)
        began = time.perf_counter()
        total = worker.ask(request)
        more = course.add(began)
        assert total == measure.WORK.work_sum_of(byte, BYTES)
    print(f'p50_ms {course.p50() * 1e3:.4f}')


def hands(worker, call):
    for size in SIZES:
        worker.fill(7, size)
        course, more = measure.Course(call.seconds / len(SIZES)), True
        while more:
            began = time.perf_counter()
            assert worker.ask(b't') == 7
            more = course.add(began)
        print(f'us_{size} {course.p50() * 1e6:.3f}')


def main():
    call = measure.Call()
    worker = Worker(call)
    {'trip': trips, 'sum': sums, 'own-sum': sums, 'hand': hands}[call.measure](worker, call)
    worker.end()

if __name__ == '__main__':
    main()
