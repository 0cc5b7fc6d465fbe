#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Clients that leave at every byte of a conversation, with RST, FIN or half a FIN: test_resets.py PROGRAM. Afterwards memory,
descriptors and connections are as before."""
import socket
import sys

from talk import BINARY, CONTINUATION, PING, TEXT, Connection, check, close_frame, equal, frame, handshake, main, settled, wait_until

GROWTH_KIB = 6144   # stacks of as many tasks as were at work at once, and what malloc keeps: more on a busy machine
BODY = b'{"op":"primes","n":10}'
HTTP = (b'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n'
        b'POST /compute HTTP/1.1\r\nHost: h\r\nContent-Length: 22\r\n\r\n' + BODY +
        b'POST /compute HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n16;x=y\r\n' + BODY + b'\r\n0\r\nT: 1\r\n\r\n'
        b'HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n')
CHAT = handshake('/chat/room?name=ann') + frame(TEXT, b'{"type":"say","text":"hi"}') + \
    frame(TEXT, b'{"type":"compute","id":"x","op":"primes","n":1000}') + close_frame()
ECHO = handshake() + frame(TEXT, 'Grüße'.encode()) + frame(PING, b'p') + frame(BINARY, b'a' * 130, fin=False) + frame(PING) + \
    frame(CONTINUATION, b'b' * 20) + close_frame(4000, b'bye')
AUDIO = handshake('/audio?rate=8000') + frame(BINARY, bytes(400)) + frame(TEXT, b'{"type":"stop"}') + close_frame()
H2 = (b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + b'\0\0\0\x04\0\0\0\0\0' + b'\0\0\x14\x01\x05\0\0\0\x01' + b'\x82\x86\x00\x05:path\x01/\x41\x04host' +
      b'\0\0\x08\x06\0\0\0\0\0' + bytes(8) + b'\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08')


def leaves(server, data, at, how, read=False):
    """Sends as much, and leaves."""
    raw = Connection(server)
    raw.send(data[:at])
    if read and at:
        raw.socket.settimeout(0.002)
        try:
            raw.fill()
        except OSError:
            pass
    if how == 'reset':
        raw.reset()
    elif how == 'half':
        raw.socket.settimeout(20 * server.slack)
        raw.socket.shutdown(socket.SHUT_WR)
        try:
            while raw.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        raw.close()
    else:
        raw.close()


def healthy(server):
    equal(server.get('/healthz').body, b'ok', '/healthz')
    equal(server.compute('primes', n=1000).body['value'], 168, 'primes')


def play(run, data, hows=('reset', 'end', 'half'), step=1):
    with run.serve('--pool', '1') as server:
        def everything(every):
            for how in hows:
                for at in range(0, len(data) + 1, every):
                    leaves(server, data, at, how)
                for at in range(0, len(data) + 1, every * 7):
                    leaves(server, data, at, how, read=True)
            settled(server)
        everything(5)
        healthy(server)
        settled(server)
        memory, descriptors = server.rss_kib(), server.descriptors()
        everything(step)
        healthy(server)
        settled(server)
        wait_until(lambda: server.descriptors() <= descriptors, f'descriptors to be {descriptors} again, {server.descriptors()}', 20)
        grown = server.rss_kib() - memory
        run.note(f'{len(data)} bytes; RSS {memory} KiB, grew by {grown} KiB')
        check(run.sanitized or grown < GROWTH_KIB, f'RSS grew by {grown} KiB')


def requests_may_break_anywhere(run):
    play(run, HTTP)


def echoes_may_break_anywhere(run):
    play(run, ECHO)


def chats_may_break_anywhere(run):
    play(run, CHAT)


def audio_may_break_anywhere(run):
    play(run, AUDIO)


def http_2_may_break_anywhere(run):
    play(run, H2)


def answers_may_break_anywhere(run):
    """The client leaves after it has read so many bytes of what it asked for."""
    page = b'GET / HTTP/1.1\r\nHost: h\r\n\r\n' * 50
    big = handshake() + frame(BINARY, bytes(200000))
    with run.serve('--pool', '1') as server:
        def everything():
            for data in (page, big):
                for size in (0, 1, 2, 10, 100, 129, 130, 131, 1000, 5000, 20000, 50000):
                    raw = Connection(server, receive_buffer=4096)
                    raw.send(data)
                    while len(raw.pending) < size:
                        got = raw.socket.recv(size - len(raw.pending))
                        check(got, 'the connection ended')
                        raw.pending += got
                    raw.reset()
            settled(server)
        everything()
        memory, descriptors = server.rss_kib(), server.descriptors()
        for _ in range(5):
            everything()
        healthy(server)
        settled(server)
        wait_until(lambda: server.descriptors() <= descriptors, f'descriptors to be {descriptors} again', 20)
        check(run.sanitized or server.rss_kib() - memory < GROWTH_KIB, f'RSS grew by {server.rss_kib() - memory} KiB')


if __name__ == '__main__':
    sys.exit(main(requests_may_break_anywhere, echoes_may_break_anywhere, chats_may_break_anywhere, audio_may_break_anywhere,
                  http_2_may_break_anywhere, answers_may_break_anywhere))
