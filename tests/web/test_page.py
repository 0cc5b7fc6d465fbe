#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The page, in a real browser: its figures, its chat beside a client that we did not write, its audio, its manners."""
import asyncio
import contextlib
import json
import pathlib
import sys
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'serve'))

try:
    import websockets
except ImportError:
    websockets = None   # main() says so, and skips

from browser import Browser
from runner import main
from server import check, equal

HIDDEN_SECONDS = 3
NAMED = ('button', 'textbox', 'spinbutton', 'slider', 'radio', 'link', 'image', 'log', 'region')
SHIFT_MAX = 0.02    # of the window: Chrome calls a page good below 0.1


@contextlib.contextmanager
def page_of(run, server, quiet=True):
    """The page in a browser of its own, which at the end has nothing to complain about."""
    with Browser(run.slack) as browser:
        browser.open(server.url('/', 'http'))
        yield browser
        if quiet:
            equal(browser.console(), [], "the browser's console")


def member(server, room, name):
    return websockets.connect(server.url(f'/chat/{urllib.parse.quote(room)}?name={name}'), max_queue=None)


async def take(socket, kind, slack):
    found = json.loads(await asyncio.wait_for(socket.recv(), 15 * slack))
    equal(found['type'], kind, f'type of {found}')
    return found


async def join(browser, name, room):
    browser.type('#name', name)
    browser.type('#room', room + '\n')
    await browser.until_text('#chat-state', f'^In {room} as {name}$')


def figure(browser, name):
    """The number on a card, without its unit; None while there is none."""
    shown = browser.run('return document.querySelector(arguments[0]).firstChild.textContent', f'#figure-{name} b')
    return None if shown == '–' else float(shown.replace(',', '').strip('≤> '))


async def the_page_and_another_client_hear_each_other(run):
    with run.serve() as server, page_of(run, server) as browser:
        await join(browser, 'ann', 'lobby')
        async with member(server, 'lobby', 'bob') as bob:
            equal((await take(bob, 'welcome', run.slack))['members'], ['ann', 'bob'], 'members')
            await browser.until_text('#members', 'ann.*bob')
            browser.type('#text', 'hello from the page\n')
            said = await take(bob, 'message', run.slack)
            equal((said['from'], said['text']), ('ann', 'hello from the page'), 'what bob heard')
            await browser.until_text('#log .mine', 'hello from the page.* [µm]?s · ')
            await bob.send(json.dumps({'type': 'say', 'text': '<img src=x onerror=alert(1)>&amp;'}))
            await browser.until_text('#log p:last-child', '<img src=x onerror=alert\\(1\\)>&amp;')
            equal(browser.run('return document.querySelectorAll("#log img").length'), 0, 'elements made of what was said')
        await browser.until_text('#log p:last-child', 'bob left')
        await browser.until(lambda: 'bob' not in browser.text('#members'), 'bob to be gone from the members')


async def the_figures_are_those_of_the_server(run):
    with run.serve('--pool', '2') as server, page_of(run, server) as browser:
        await browser.until(lambda: figure(browser, 'messages') == 0, 'no messages yet')
        before = figure(browser, 'connections')
        async with contextlib.AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(websockets.connect(server.url('/echo'))) for _ in range(20)]
            await browser.until(lambda: figure(browser, 'connections') >= before + 20, '20 connections more')

            def talk():
                return asyncio.gather(*(socket.send('x') for socket in sockets), *(socket.recv() for socket in sockets))

            async def moved():
                while not figure(browser, 'messages'):
                    await talk()
            await asyncio.wait_for(moved(), 15 * run.slack)
        await browser.until(lambda: figure(browser, 'lag') is not None, 'a loop lag')
        await join(browser, 'ann', 'lobby')
        browser.click('#burn')
        await browser.until(lambda: figure(browser, 'busy') == 1, 'a busy worker')
        await browser.until_text('#log .work', r'done; waited .* ran 2(\.\d)? s')
        await browser.until(lambda: figure(browser, 'busy') == 0, 'no busy worker')
        await browser.until_text('#totals', 'ok1')
        await browser.until_text('#status', '^Running$')


async def heavy_work_is_answered_in_the_stream(run):
    with run.serve('--pool', '1', '--queue', '2') as server, page_of(run, server) as browser:
        await join(browser, 'ann', 'lobby')
        browser.type('#n', '10000000\n')
        await browser.until_text('#log .work', 'Primes up to 10,000,000.*664,579 primes; waited')
        await browser.until(lambda: figure(browser, 'queue') is not None, 'the limit of the queue')
        browser.click('#flood')
        await browser.until_text('#log .work:last-child', '× burn 0.2 s')
        await browser.until_text('#log .work:last-child', 'told busy: the queue is full, try again in ')
        await browser.until_text('#log .work:last-child', r'^\d+ × burn 0.2 s\d+ done; \d+ told busy')
        await browser.until_text('#totals', r'rejected[1-9]')


async def the_tone_comes_back_as_pitch_and_level(run):
    with run.serve() as server, page_of(run, server) as browser:
        browser.run('const hz = document.getElementById("hz"); hz.value = 330; hz.dispatchEvent(new Event("input"))')
        browser.click('#audio-button')
        await browser.until_text('#pitch', r'^3(29\.[5-9]|30\.[0-5]) Hz, E4$')
        await browser.until_text('#level', r'^−(8\.9|9\.[01]) dB$')   # half of full scale: 20 log10(0.5 / √2) = -9.03
        browser.click('#audio-button')
        await browser.until_text('#audio-facts', r's sent · .* s analysed · 0 s dropped$')
        await browser.until_text('#audio-state', '^Stopped$')
        browser.click('#mic')   # the browser's own: a beep a second
        browser.click('#audio-button')
        await browser.until_text('#audio-facts', r'^[1-9].* kHz · answer after ')
        browser.click('#audio-button')
        await browser.until_text('#audio-state', '^Stopped$')


async def the_page_comes_back_with_its_server(run):
    with contextlib.ExitStack() as stack:
        with run.serve() as first:
            browser = stack.enter_context(page_of(run, first, quiet=False))   # it may complain of what it does not reach
            await join(browser, 'ann', 'lobby')
            await browser.until_text('#status', '^Running$')
        await browser.until_text('#chat-state', '^Disconnected; trying again$')
        await browser.until_text('#log p:last-child', 'the server is going down')
        await browser.until_text('#status', '^Not reachable; trying again$')
        browser.type('#text', 'kept\n')
        equal(browser.run('return document.getElementById("text").value'), 'kept', 'what could not be sent')
        with run.serve(listen=f'127.0.0.1:{first.port}'):
            await browser.until_text('#chat-state', '^In lobby as ann$')
            await browser.until_text('#status', '^Running$')
            browser.type('#text', 'here again\n')
            await browser.until_text('#log p:last-child', 'here again')


async def a_hidden_page_asks_for_nothing(run):
    with run.serve() as server, page_of(run, server) as browser:
        await browser.until_text('#status', '^Running$')
        browser.call('POST', '/window/minimize')
        await browser.until(lambda: browser.run('return document.hidden'), 'the page to be hidden')
        before, begin = server.metrics().value('http_requests_total'), time.monotonic()
        await browser.until(lambda: time.monotonic() > begin + HIDDEN_SECONDS, 'time to pass')
        asked = server.metrics().value('http_requests_total') - before
        check(asked <= 2, f'{asked} requests; one is ours, and one may have been on its way')
        shown = browser.text('#uptime')
        browser.call('POST', '/window/rect', {'width': 1280, 'height': 900})
        await browser.until(lambda: browser.text('#uptime') != shown, 'it to ask again')


async def it_fits_a_phone_and_nothing_jumps(run):
    with run.serve() as server, page_of(run, server) as browser:
        for width in (1280, 390, 320):
            browser.command('Emulation.setDeviceMetricsOverride', width=width, height=800, deviceScaleFactor=1,
                            mobile=width < 500)
            browser.open(server.url('/', 'http'))
            await browser.until(lambda: figure(browser, 'lag') is not None, 'figures')
            wide = browser.run('return document.documentElement.scrollWidth')
            check(wide <= width, f'{wide} pixels of page in a window of {width}')
            shift = browser.run('return new Promise(done => new PerformanceObserver(list => done(list.getEntries().reduce('
                                '(sum, entry) => sum + entry.value, 0))).observe({type: "layout-shift", buffered: true}) '
                                '?? setTimeout(() => done(0), 300))')
            run.note(f'{width} pixels: layout shift {shift:.4f}')
            check(shift < SHIFT_MAX, f'layout shift {shift} at {width} pixels')


async def every_field_and_picture_has_a_name(run):
    with run.serve() as server, page_of(run, server) as browser:
        await browser.until_text('#status', '^Running$')
        nodes = browser.command('Accessibility.getFullAXTree')['nodes']
        nameless = [node['role']['value'] for node in nodes
                    if not node['ignored'] and not node.get('name', {}).get('value')
                    and node['role']['value'] in NAMED]
        equal(nameless, [], 'what a screen reader could not name')


if __name__ == '__main__':
    sys.exit(main(
        the_page_and_another_client_hear_each_other, the_figures_are_those_of_the_server, heavy_work_is_answered_in_the_stream,
        the_tone_comes_back_as_pitch_and_level, the_page_comes_back_with_its_server, a_hidden_page_asks_for_nothing,
        it_fits_a_phone_and_nothing_jumps, every_field_and_picture_has_a_name,
        needs=('chromium', 'chromedriver', 'websockets'), backends=('auto',)))
