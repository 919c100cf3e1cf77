#!/usr/bin/env python3
"""Limits per client: one client wants all that there is, and another one, who wants little, gets it."""
import base64
import http.client
import json
import pathlib
import re
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing as ht  # noqa: E402
import hostile_corpus as hc  # noqa: E402

NAME = 'team/app'
PATIENCE = 30  # seconds for an answer
GREEDY, HONEST = '127.0.0.2', '127.0.0.1'  # two clients
LIMITS = {'connections': 40, 'uploads': 20}
SHARE = 3 / 4  # of one client by default


class Greedy(ht.TestCase):
    """Every attack is tried on a server without a limit per client too, where it must succeed: else the test shows nothing."""

    def served(self, name, users=None, **limits):
        config = {'log': {'level': 'warn'}, 'storage': {'gc': False}, 'http': {'limits': LIMITS | limits},
                  'extensions': {'metrics': {'enable': True}}}
        return self.server(name, users=users, config=config)

    def setUp(self):
        super().setUp()
        self.began = time.monotonic()

    def dial(self, server, source):
        wire = socket.create_connection(('127.0.0.1', server.port), timeout=PATIENCE, source_address=(source, 0))
        self.addCleanup(wire.close)
        return wire

    def ask(self, server, source, method='GET', path='/v2/', headers=None):
        connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=PATIENCE, source_address=(source, 0))
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            answer.body = answer.read()
            return answer
        finally:
            connection.close()

    def begin(self, server, source, user=None, **headers):
        if user:
            headers['Authorization'] = 'Basic ' + base64.b64encode(f'{user}:secret'.encode()).decode()
        return self.ask(server, source, 'POST', f'/v2/{NAME}/blobs/uploads/', headers)

    def metric(self, server, name):
        return int(float(re.search(rf'^{name} (\S+)$', self.ask(server, HONEST, path='/metrics').body.decode(), re.M)[1]))

    def logged_now_and_then(self, server, text):
        lines = server.log().count(text)
        self.assertTrue(1 <= lines <= 1 + (time.monotonic() - self.began) / 60, f'{lines} lines')

    def take_connections(self, server, count):
        """The wires that are held now, and what the others were told."""
        wires, refusals = [self.dial(server, GREEDY) for _ in range(count)], []
        for wire in wires[:]:
            try:
                wire.sendall(hc.request('GET /v2/ HTTP/1.1'))
                got = wire.recv(4096)
            except ConnectionError:
                got = b''
            if not got.startswith(b'HTTP/1.1 200'):
                refusals.append(got)
                wires.remove(wire)
        return wires, refusals

    def test_connections(self):
        unlimited = self.served('unlimited', connectionsPerClient=0)
        held, end = 0, time.monotonic() + PATIENCE
        while held < LIMITS['connections'] and time.monotonic() < end:  # the one that asked whether it is ready may end late
            held += len(self.take_connections(unlimited, LIMITS['connections'] - held)[0])
        self.assertEqual(self.ask(unlimited, HONEST).status, 503)

        server, share = self.served('limited'), int(SHARE * LIMITS['connections'])
        held, refusals = self.take_connections(server, 2 * LIMITS['connections'])
        self.assertEqual(len(held), share)
        for got in refusals:
            self.assertRegex(got, rb'^HTTP/1\.1 429 (?s:.*)\r\nRetry-After: \d+\r\n')
        stopping = threading.Event()

        def hammer():
            while not stopping.is_set():
                try:
                    socket.create_connection(('127.0.0.1', server.port), source_address=(GREEDY, 0)).close()
                except OSError:
                    pass  # out of ports for a moment
        hammering = threading.Thread(target=hammer)
        hammering.start()
        self.addCleanup(stopping.set)
        for _ in range(100):
            self.assertEqual(self.ask(server, HONEST).status, 200)
        stopping.set()
        hammering.join()
        self.assertEqual(self.metric(server, 'hansa_connections_refused'),
                         self.metric(server, 'hansa_connections_refused_per_client'))
        self.assertGreaterEqual(self.metric(server, 'hansa_connections_refused_per_client'), len(refusals))
        self.logged_now_and_then(server, 'as many as one may have')
        for wire in held:
            wire.close()
        ht.wait_for(lambda: self.ask(server, GREEDY).status == 200, PATIENCE, 'the client that closed its connections is served')

    def test_upload_sessions(self):
        unlimited = self.served('unlimited', uploadsPerClient=0)
        for _ in range(LIMITS['uploads']):
            self.assertEqual(self.begin(unlimited, GREEDY).status, 202)
        self.assertEqual(self.begin(unlimited, HONEST).status, 429)

        server, share = self.served('limited'), int(SHARE * LIMITS['uploads'])
        opened = [self.begin(server, GREEDY) for _ in range(share)]
        self.assertEqual({answer.status for answer in opened}, {202})
        for _ in range(LIMITS['uploads']):
            forged = {'X-Forwarded-For': '192.0.2.1', 'Forwarded': 'for=192.0.2.1', 'X-Real-IP': '192.0.2.1'}
            answer = self.begin(server, GREEDY, **forged)
            self.assertEqual((answer.status, json.loads(answer.body)['errors'][0]['code']), (429, 'TOOMANYREQUESTS'))
            self.assertGreater(int(answer.headers['Retry-After']), 0)
        self.assertEqual(self.ask(server, GREEDY, 'POST', f'/v2/{NAME}/blobs/uploads/?digest={ht.sha256(b"")}').status, 429)
        server.push_image(NAME, 'v1')  # from the honest client's address
        self.assertEqual(self.metric(server, 'hansa_uploads_refused_per_client'), LIMITS['uploads'] + 1)
        self.logged_now_and_then(server, 'uploads are refused')
        self.assertEqual(self.ask(server, GREEDY, 'DELETE', opened[0].headers['Location']).status, 204)
        self.assertEqual(self.begin(server, GREEDY).status, 202)

    def test_bytes_of_uploads(self):
        server = self.served('server', users={'alice': 'secret', 'bob': 'secret'}, uploadBytes=1000)
        place = {session: self.begin(server, GREEDY, session.split()[0]).headers['Location']
                 for session in ('alice 1', 'alice 2', 'bob')}
        # More than one client may have: too large, now and later. More than what others leave: later.
        for session, size, status in (('alice 1', 700, 202), ('alice 1', 100, 413), ('alice 2', 100, 429),
                                      ('bob', 250, 202), ('bob', 100, 429)):
            user = session.split()[0]
            credentials = base64.b64encode(f'{user}:secret'.encode()).decode()
            connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=PATIENCE)
            connection.request('PATCH', place[session], b'x' * size, {**ht.OCTETS, 'Authorization': f'Basic {credentials}'})
            answer = connection.getresponse()
            self.assertEqual((answer.status, session), (status, session), answer.read())
            if status == 429:
                self.assertGreater(int(answer.headers['Retry-After']), 0)
            connection.close()

    def test_upload_sessions_of_users(self):
        server, share = self.served('server', users={'alice': 'secret', 'bob': 'secret'}), int(SHARE * LIMITS['uploads'])
        for number in range(share):
            self.assertEqual(self.begin(server, (GREEDY, HONEST)[number % 2], 'alice').status, 202)
        for source in (GREEDY, HONEST, '127.0.0.3'):
            self.assertEqual(self.begin(server, source, 'alice').status, 429)
        self.assertEqual(self.begin(server, GREEDY, 'bob').status, 202)


if __name__ == '__main__':
    ht.main()
