#!/usr/bin/env python3
"""A node restarted every few seconds, as in an upgrade: nobody behind a balancer notices, neither the OCI conformance
program nor clients that push, pull and upload in parts.

HANSA_RESTARTS: how many nodes are restarted at least while the program runs, again and again (3; 12 with HANSA_FULL).
"""
import http.client
import os
import pathlib
import random
import re
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402

PROGRAM = ht.CLIENTS / 'conformance'
RESTARTS = int(os.environ.get('HANSA_RESTARTS') or (12 if ct.FULL else 3))
EVERY = 5.0  # seconds from one restart to the next
STOP_DELAY = {'cluster': {'stopDelay': '1s'}}  # five looks of the balancer


class Restarts(threading.Thread):
    """Restarts one node after the other: SIGTERM, and a start once it has ended."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.ending, self.error = cluster, threading.Event(), None
        self.count, self.longest = 0, 0.0  # seconds from a signal until the node was ready again

    def run(self):
        try:
            while not self.ending.is_set():
                began, number = time.monotonic(), self.count % len(self.cluster.nodes) + 1
                self.cluster.terminate(number)
                self.cluster.start(number)
                self.count += 1
                took = time.monotonic() - began
                self.longest = max(self.longest, took)
                self.ending.wait(EVERY - took)
        except Exception as error:  # pylint: disable=broad-except  # told to the test, which fails
            self.error = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.join(120)
        assert self.error is None, self.error
        print(f'{self.count} restarts, the longest took {self.longest:.1f} s', flush=True)


class RollingRestart(ct.SharedCluster):
    options = {'extra': STOP_DELAY}

    def test_readyz_fails_while_requests_are_still_answered(self):
        node, seen = self.cluster.nodes[2], []
        pid = node.pid
        ct.tool.send(pid, 15)
        while ct.tool.command_line(pid) and (not seen or seen[-1][0]):
            seen.append((ct.tool.get(node.url + '/readyz')[0], ct.tool.get(node.url + '/v2/')[0]))
        self.assertTrue(node.wait_end(pid, 30))
        self.cluster.start(3)
        self.assertGreater(seen.count((503, 200)), 10, f'asked for /readyz and then for /v2/ after SIGTERM: {set(seen)}')

    def run_profile(self, profile):
        if not PROGRAM.exists():
            raise unittest.SkipTest(f'{PROGRAM} is not there; ./dev clients builds it')
        with ct.Balancer(self.folder, self.cluster.urls, careful=True) as balancer, Restarts(self.cluster) as restarts:
            runs = 0
            while restarts.count < RESTARTS and restarts.error is None:
                done = ht.run(sys.executable, ht.ROOT / 'tests/conformance/run.py', '--profile', profile, '--program',
                              PROGRAM, '--registry', f'127.0.0.1:{balancer.port}', check=False)
                runs += 1
                self.assertEqual(done.returncode, 0, f'run {runs}, after {restarts.count} restarts: {done.stdout}'
                                                     f'{done.stderr}{self.cluster.log()}')
        print(f'{runs} runs; the last: {done.stdout}', flush=True)

    def test_conformance_1_1(self):
        self.run_profile('1.1')

    def test_conformance_of_the_development_profile(self):
        self.run_profile('dev')

    def test_pushes_in_parts_and_pulls_meet_no_error(self):
        self.work(lambda number, port: Client(number, port), 3)

    def test_uploads_that_last_longer_than_the_restart_of_their_node_go_on(self):
        self.work(lambda number, port: Client(number, port, pause=0.1, part=2_000), 1)

    def work(self, make, images):
        with ct.Balancer(self.folder, self.cluster.urls, careful=True) as balancer, Restarts(self.cluster) as restarts:
            clients = [make(number, balancer.port) for number in range(3)]
            for client in clients:
                client.start()
            while restarts.count < RESTARTS and restarts.error is None and not any(c.error for c in clients):
                time.sleep(0.1)
            for client in clients:
                client.ending.set()
            for client in clients:
                client.join(90)
        for client in clients:
            self.assertIsNone(client.error, f'{client.error}\n{self.cluster.log()}')
            self.assertGreaterEqual(client.done, images)
        print(f'{sum(c.done for c in clients)} images, the slowest request took {max(c.slowest for c in clients):.1f} s')


class Client(threading.Thread):
    """Pushes images, one layer at once and one in parts with pauses between, and pulls them, through the balancer. It tries
    nothing twice."""

    def __init__(self, number, port, pause=0.0, part=50_000):
        super().__init__(daemon=True)
        self.repository, self.port, self.pause, self.part = f'rolling/r{number}-{part}', port, pause, part
        self.source, self.ending, self.error = random.Random(number), threading.Event(), None
        self.done, self.slowest = 0, 0.0

    def run(self):
        try:
            while not self.ending.is_set():
                self.image(f'v{self.done}')
                self.done += 1
        except (AssertionError, OSError, http.client.HTTPException) as error:
            self.error = f'{self.repository} v{self.done}: {type(error).__name__} {error}'

    def ask(self, status, method, path, body=None, headers=None):
        began = time.monotonic()
        node = ct.Node(f'http://127.0.0.1:{self.port}', 60.0)
        try:
            return node.expect(status, method, path, body, headers)
        finally:
            node.close()
            self.slowest = max(self.slowest, time.monotonic() - began)

    def image(self, tag):
        layers = [self.source.randbytes(size) for size in (5_000, 200_000)]
        config = b'{}'
        for blob in (config, layers[0]):
            self.ask(201, 'POST', f'/v2/{self.repository}/blobs/uploads/?digest={ht.sha256(blob)}', blob, ht.OCTETS)
        self.in_parts(layers[1], self.part)
        manifest = ct.json.dumps(ct.manifest_of(config, layers)).encode()
        self.ask(201, 'PUT', f'/v2/{self.repository}/manifests/{tag}', manifest, {'Content-Type': ht.OCI_MANIFEST})
        pulled = self.ask(200, 'GET', f'/v2/{self.repository}/manifests/{tag}', None, {'Accept': ht.OCI_MANIFEST})
        assert pulled.body == manifest, f'{tag} is another manifest'
        for blob in (config, *layers):
            answer = self.ask(200, 'GET', f'/v2/{self.repository}/blobs/{ht.sha256(blob)}')
            assert answer.body == blob, f'wrong bytes of {ht.sha256(blob)}'

    def in_parts(self, data, part):
        path = lambda answer: re.sub(r'^https?://[^/]+', '', answer.headers['Location'])  # noqa: E731
        at = path(self.ask(202, 'POST', f'/v2/{self.repository}/blobs/uploads/'))
        for offset in range(0, len(data), part):
            chunk = data[offset:offset + part]
            span = f'{offset}-{offset + len(chunk) - 1}'
            at = path(self.ask(202, 'PATCH', at, chunk, {**ht.OCTETS, 'Content-Range': span}))
            time.sleep(self.pause)
        separator = '&' if '?' in at else '?'
        self.ask(201, 'PUT', f'{at}{separator}digest={ht.sha256(data)}', b'', ht.OCTETS)


if __name__ == '__main__':
    ct.main()
