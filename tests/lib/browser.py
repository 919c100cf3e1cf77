"""A headless Chromium, driven through chromium-driver by plain HTTP (W3C WebDriver). Standard library only."""
import http.client
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest

import hansa_testing as ht

START_SECONDS = 30
WAIT_SECONDS = 30
FOLDERS = '/usr/bin:/usr/lib/chromium'  # where Debian's packages put the programs


class Browser:
    """One browser with its own empty profile. Use as a context manager, or stop() it."""

    def __init__(self):
        path = f'{os.environ.get("PATH", "")}:{FOLDERS}'
        self.driver, self.chromium = shutil.which('chromedriver', path=path), shutil.which('chromium', path=path)
        if not self.driver or not self.chromium:
            raise unittest.SkipTest('there is no chromium; apt-get install chromium chromium-driver')
        self.process, self.session, self.folder = None, None, pathlib.Path(tempfile.mkdtemp(prefix='hansa-browser-'))
        self.port = ht.free_port()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        environment = {**os.environ, 'HOME': str(self.folder), 'TMPDIR': str(self.folder)}
        with open(self.folder / 'driver.log', 'wb') as log:
            self.process = subprocess.Popen([self.driver, f'--port={self.port}'], stdout=log, stderr=log, env=environment)
        wait_for(self.ready, START_SECONDS, self.log)
        # Only pages of this test are opened; root has no sandbox, and containers little shared memory.
        arguments = ['--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--no-first-run',
                     f'--user-data-dir={self.folder / "profile"}', '--window-size=1280,1400']
        options = {'binary': self.chromium, 'args': arguments}
        wanted = {'browserName': 'chrome', 'goog:chromeOptions': options, 'goog:loggingPrefs': {'browser': 'ALL'}}
        answer = self.call('POST', '/session', {'capabilities': {'alwaysMatch': wanted}})
        self.session = answer['sessionId']

    def stop(self):
        try:
            if self.session:
                self.call('DELETE', f'/session/{self.session}')
        except (OSError, http.client.HTTPException, AssertionError):
            pass
        self.session = None
        if self.process:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        return (self.folder / 'driver.log').read_text(errors='replace')[-3000:]

    def ready(self):
        try:
            return self.call('GET', '/status')['ready']
        except OSError:
            return False

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=60)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {'Content-Type': 'application/json'})
            answer = connection.getresponse()
            value = json.loads(answer.read())['value']
        finally:
            connection.close()
        assert answer.status == 200, f'{method} {path}: {answer.status} {value}'
        return value

    def open(self, url):
        self.call('POST', f'/session/{self.session}/url', {'url': url})

    def window(self):
        """Another window, which is the current one then."""
        handle = self.call('POST', f'/session/{self.session}/window/new', {'type': 'window'})['handle']
        self.use(handle)
        return handle

    def current(self):
        return self.call('GET', f'/session/{self.session}/window')

    def use(self, handle):
        self.call('POST', f'/session/{self.session}/window', {'handle': handle})

    def run(self, script, *arguments):
        """What the script returns; it is the body of a function."""
        return self.call('POST', f'/session/{self.session}/execute/sync', {'script': script, 'args': list(arguments)})

    def complaints(self):
        """What the page has written to its console since the last call, refused requests apart."""
        entries = self.call('POST', f'/session/{self.session}/se/log', {'type': 'browser'})
        return [entry['message'] for entry in entries if entry.get('source') != 'network']

    def wait(self, script, *arguments, what, seconds=WAIT_SECONDS):
        """Until the script returns something true, which is returned."""
        result = [None]

        def holds():
            result[0] = self.run(script, *arguments)
            return bool(result[0])
        wait_for(holds, seconds, lambda: f'{what}\n{self.run("return document.body.innerText")[:3000]}\n{self.complaints()}')
        return result[0]


def wait_for(condition, seconds, explain):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f'not within {seconds} s: {explain()}'
        time.sleep(0.05)
