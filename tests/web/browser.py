# SPDX-License-Identifier: MIT
"""A browser, driven over WebDriver (W3C): Debian's chromium and chromium-driver, and nothing but the standard library.

    with Browser(slack) as browser:
        browser.open('http://127.0.0.1:8080/')
        browser.click('#join-button')

Elements are named by CSS selectors. Whatever the page logs as a warning or an error is in console().
"""
import asyncio
import http.client
import json
import re
import signal
import subprocess
import time

from server import Failed

ARGUMENTS = ('--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--no-first-run',
             '--disable-background-networking', '--disable-component-update', '--disable-sync',
             '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream')
STARTED = re.compile(r'started successfully on port (\d+)')
ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'   # WebDriver, 11: the name that marks a reference to an element
WAIT_SECONDS = 15


class Browser:
    def __init__(self, slack=1):
        self.slack = slack
        self.driver = None
        self.port = None
        self.session = ''

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def start(self):
        self.driver = subprocess.Popen(['chromedriver', '--port=0'], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, text=True)
        for line in self.driver.stdout:
            match = STARTED.search(line)
            if match:
                self.port = int(match[1])
                break
        else:
            raise Failed('chromedriver ended before it said on which port it listens')
        wanted = {'browserName': 'chrome', 'goog:chromeOptions': {'binary': '/usr/bin/chromium', 'args': ARGUMENTS},
                  'goog:loggingPrefs': {'browser': 'WARNING'}}
        found = self.call('POST', '/session', {'capabilities': {'alwaysMatch': wanted}})
        self.session = f'/session/{found["sessionId"]}'

    def end(self):
        """The end of the session ends the browser; then the driver may go."""
        try:
            if self.session:
                self.call('DELETE', '')
        except (Failed, OSError):
            pass
        if self.driver:
            self.driver.send_signal(signal.SIGTERM)
            self.driver.wait()
            self.driver.stdout.close()

    def call(self, method, path, body=None):
        """One command of the protocol. Returns its value."""
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=60 * self.slack)
        try:
            text = json.dumps(body or {}) if method == 'POST' else None
            connection.request(method, self.session + path, text, {'Content-Type': 'application/json'})
            answer = connection.getresponse()
            value = json.loads(answer.read())['value']
        finally:
            connection.close()
        if answer.status != 200:
            raise Failed(f'{method} {path}: {value["error"]}: {value["message"]}')
        return value

    def open(self, url):
        self.call('POST', '/url', {'url': url})

    def run(self, script, *arguments):
        """The value of a function body in the page."""
        return self.call('POST', '/execute/sync', {'script': script, 'args': list(arguments)})

    def command(self, name, **parameters):
        """One of the browser's own commands (Chrome DevTools Protocol)."""
        return self.call('POST', '/goog/cdp/execute', {'cmd': name, 'params': parameters})

    def find(self, selector):
        return self.call('POST', '/element', {'using': 'css selector', 'value': selector})[ELEMENT]

    def click(self, selector):
        self.call('POST', f'/element/{self.find(selector)}/click')

    def type(self, selector, text):
        """Types into a field what it is to hold; a '\\n' at the end is the Enter key."""
        element = self.find(selector)
        self.call('POST', f'/element/{element}/clear')
        self.call('POST', f'/element/{element}/value', {'text': text.replace('\n', '\ue007')})

    def text(self, selector):
        """Its text; empty while there is no such element."""
        return self.run('return document.querySelector(arguments[0])?.textContent ?? ""', selector)

    async def until(self, condition, what):
        """Waits until condition() holds, and returns what it said."""
        limit = time.monotonic() + WAIT_SECONDS * self.slack
        while True:
            found = condition()
            if found:
                return found
            if time.monotonic() > limit:
                raise Failed(f'waited {WAIT_SECONDS * self.slack} s in vain: {what}')
            await asyncio.sleep(0.05)

    async def until_text(self, selector, pattern):
        found = await self.until(lambda: re.search(pattern, self.text(selector)), f'{selector} to show {pattern!r}')
        return found

    def console(self):
        """What was logged since the last call: warnings, errors, violations of the security policy."""
        return [entry['message'] for entry in self.call('POST', '/se/log', {'type': 'browser'})]
