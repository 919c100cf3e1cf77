#!/usr/bin/env python3
"""etcd stopped altogether: pulls go on everywhere and are marked, pushes are refused soon, all is well soon after."""
import os
import pathlib
import shutil
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402

FIRST_REFUSAL, LATER_REFUSAL, WELL_AGAIN = 4.0, 1.0, 2.0  # seconds, the bars
SLACK = 0.3  # seconds for a busy machine's scheduling


class Outage(ct.TestCase):
    def setUp(self):
        super().setUp()
        # A name of our own for etcd: taken away, the nodes cannot start theirs again.
        self.program = self.folder / 'bin' / 'etcd'
        self.program.parent.mkdir()
        self.real = os.environ.get('HANSA_ETCD') or shutil.which('etcd')
        self.program.symlink_to(self.real)
        before = os.environ.get('HANSA_ETCD')
        os.environ['HANSA_ETCD'] = str(self.program)
        self.addCleanup(lambda: os.environ.update(HANSA_ETCD=before) if before else os.environ.pop('HANSA_ETCD'))
        self.running = self.cluster()
        self.clients = self.running.clients(timeout=15.0)
        self.digest, self.blobs = self.clients[0].push_image('outage/app', 'v1')
        for client in self.clients:  # every node has passed a barrier and has the bytes
            self.assertEqual(client.tag('outage/app', 'v1'), (self.digest, False))
            for blob in self.blobs:
                client.blob('outage/app', blob)

    def test_paused(self):
        with self.running.paused(*[node.etcd_pid for node in self.running.nodes]):
            self.pulls_go_on_and_pushes_are_refused()
            returned = time.monotonic()
        self.all_is_well(returned)

    def test_ended(self):
        self.program.unlink()
        for node in self.running.nodes:
            pid = node.etcd_pid
            ct.tool.send(pid, signal.SIGTERM)
            self.assertTrue(node.wait_end(pid, 30))
        self.pulls_go_on_and_pushes_are_refused()
        self.program.symlink_to(self.real)
        self.all_is_well(None)

    def pulls_go_on_and_pushes_are_refused(self):
        started = time.monotonic()
        for client in self.clients:
            self.refused(client, FIRST_REFUSAL)
        for client in self.clients:
            self.refused(client, LATER_REFUSAL)
        for client in self.clients:
            self.assertEqual(client.tag('outage/app', 'v1'), (self.digest, True))
            self.assertEqual(client.tag('outage/app', self.digest), (self.digest, True))
            for blob in self.blobs:
                self.assertTrue(client.blob('outage/app', blob).headers.get('Warning'), 'an answer without its mark')
            listed = client.expect(200, 'GET', '/v2/outage/app/tags/list')
            self.assertTrue(listed.headers.get('Warning'), 'a list without its mark')
        print(f'outage seen through {len(self.clients)} nodes in {time.monotonic() - started:.1f} s')

    def refused(self, client, bar):
        began = time.monotonic()
        answer = client.request('PUT', '/v2/outage/app/manifests/refused', ct.json.dumps(ct.manifest_of(b'{}', [])).encode(),
                                {'Content-Type': ht.OCI_MANIFEST})
        took = time.monotonic() - began
        self.assertEqual(answer.status, 503, answer.body)
        self.assertTrue(answer.headers.get('Retry-After'), 'a 503 without Retry-After')
        self.assertLess(took, bar + SLACK)

    def all_is_well(self, returned):
        """`returned`: when; None: when etcd has a leader that answers."""
        if returned is None:
            self.running.wait(lambda: self.running.etcd_revision() > 0, 60, 'etcd is back')
            returned = time.monotonic()
        waiting = list(self.clients)
        while waiting:
            waiting = [client for client in waiting if not self.is_well(client)]
            self.assertLess(time.monotonic() - returned, 30, f'not well: {[c.url for c in waiting]}\n{self.running.log()}')
            time.sleep(0.02)
        took = time.monotonic() - returned
        print(f'well again through every node {took:.2f} s after the return')
        self.assertLess(took, WELL_AGAIN + SLACK)
        for client in self.clients:
            self.assertEqual(client.tag('outage/app', 'refused'), (None, False))

    def is_well(self, client):
        try:
            if client.tag('outage/app', 'v1') != (self.digest, False):
                return False
            client.push_image('outage/app', f'after-{client.port}')
            return True
        except (AssertionError, *ct.NO_ANSWER):
            return False


if __name__ == '__main__':
    ct.main()
