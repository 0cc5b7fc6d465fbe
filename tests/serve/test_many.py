#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Five thousand clients on one loop: all connected at once, all answered, all told good-bye."""
import asyncio
import resource
import sys
import time

import swarm
from raw import TEXT, frame
from runner import Skip, limit, main
from server import check, equal, processor_ticks

CLIENTS = 5000
PROCESSES = 2
ROUNDS = 3


async def clients(talk, address, first, count):
    """Client process: connects, asks in rounds, and in the end waits to be told good-bye."""
    peers = await swarm.connect_all(address, ['/echo'] * count)
    talk.send(('connected', len(peers)))
    for round_number in range(ROUNDS):
        await swarm.told(talk)
        answers = []
        for number, peer in enumerate(peers):
            expected = f'{round_number}: {first + number}'.encode()
            answer = asyncio.get_running_loop().create_future()
            answers.append(answer)

            def on_frame(opcode, payload, expected=expected, answer=answer):
                answer.set_result((opcode, payload) == (TEXT, expected))

            peer.on_frame = on_frame
            peer.send(frame(TEXT, expected))
        talk.send(('answered', sum(await asyncio.gather(*answers))))
    await swarm.told(talk)
    await asyncio.wait([peer.ended for peer in peers], timeout=30)
    return [sum(peer.close_code == 1001 for peer in peers), sum(peer.ended.done() and peer.ended.result() is None for peer in peers)]


@limit(120)
def five_thousand_are_answered_and_told_good_bye(run):
    number = CLIENTS if not run.sanitized else CLIENTS // 5
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if allowed != resource.RLIM_INFINITY and allowed < number + 600:
        raise Skip(f'{number} connections need a limit on open files (ulimit -Hn) of {number + 600}, not {allowed}')
    share = number // PROCESSES
    with run.serve('--pool', '1', '--drain', '20') as server:
        server.compute('primes', n=10)
        before = server.rss_kib()
        begin = time.monotonic()
        processes = [swarm.Process(clients, server.address, index * share, share) for index in range(PROCESSES)]
        try:
            equal([process.take() for process in processes], [share] * PROCESSES, 'connected clients')
            connected = time.monotonic() - begin
            metrics = server.metrics()
            equal(metrics.value('connections'), number + 1, 'tandem_connections')
            check(server.descriptors() >= number, 'descriptors')
            took = []
            for _ in range(ROUNDS):
                begin = time.monotonic()
                for process in processes:
                    process.send('ask')
                equal([process.take() for process in processes], [share] * PROCESSES, 'right answers')
                took.append(time.monotonic() - begin)
            equal(server.metrics().value('messages_total'), number * ROUNDS, 'tandem_messages_total')
            run.note(f'{number} connected in {connected:.2f} s, all answered in {min(took):.2f} s, '
                     f'RSS per connection {(server.rss_kib() - before) / number:.2f} KiB')
            equal(server.compute('primes', n=1000).body['value'], 168, 'a computation beside them')
            for process in processes:
                process.send('wait')
            ended = server.stop(20)
            run.note(f'drained in {ended.seconds:.2f} s')
            equal([process.take() for process in processes], [[share, share]] * PROCESSES, 'good-byes (1001), and proper ends')
        finally:
            for process in processes:
                process.close()


def those_beyond_the_limit_are_told(run):
    """Full, the server tells who comes; then it empties, and serves again."""
    held = 500

    async def fill():
        peers = await swarm.connect_all(server.address, ['/echo'] * held)
        answer = await asyncio.to_thread(server.get, '/healthz')
        equal((answer.status, answer.fields['Retry-After'] is not None), (503, True), 'one too many')
        for peer in peers:
            peer.transport.abort()
        await asyncio.wait([peer.ended for peer in peers])

    with run.serve('--pool', '1', '--max-connections', held) as server:
        for _ in range(3):
            asyncio.run(fill())
            until = time.monotonic() + 10 * run.slack
            while server.get('/healthz').status == 503:
                check(time.monotonic() < until, 'it stays full')


def guests_without_names_cost_no_more_than_others(run):
    """To come into a room that is full of one's namesakes takes the loop no longer than into any other."""
    number = 800 if not run.sanitized else 400

    def ticks(paths):
        async def join():
            peers = await swarm.connect_all(server.address, paths, 100)
            for peer in peers:
                peer.transport.abort()
            await asyncio.wait([peer.ended for peer in peers])

        before = processor_ticks(server.pid)
        asyncio.run(join())
        until = time.monotonic() + 30 * run.slack
        while server.metrics().value('connections') > 1:
            check(time.monotonic() < until, 'connections that do not end')
        return processor_ticks(server.pid) - before

    with run.serve('--pool', '1') as server:
        named = ticks([f'/chat/named?name=m{index}' for index in range(number)])
        guests = ticks(['/chat/guests'] * number)
        run.note(f'{number} members: {named * 10} ms of processor time with names of their own, {guests * 10} ms without')
        check(guests < named * 1.5 + 20, f'{guests * 10} ms, and {named * 10} ms with names of their own')


sys.exit(main(five_thousand_are_answered_and_told_good_bye, those_beyond_the_limit_are_told,
              guests_without_names_cost_no_more_than_others))
