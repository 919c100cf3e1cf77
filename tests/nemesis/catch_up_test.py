#!/usr/bin/env python3
"""A node that was away for many changes and through a compaction catches up and equals a fresh one, row by row.

HANSA_CHANGES: how many (2,000; `./dev nemesis catch-up` makes 100,000).
"""
import json
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402

CHANGES = int(os.environ.get('HANSA_CHANGES') or 2000)
CLIENTS = 8
SECONDS = 60 + CHANGES / 500  # to catch up


class CatchUp(ct.TestCase):
    def test_away_for_many_changes_and_a_compaction(self):
        cluster = self.cluster()
        first = ct.Node(cluster.urls[0], 30.0)
        first.push_image('away/app', 'before')
        first.push_blob('away/app', b'{}')
        self.change(cluster, 'short', 50)
        cluster.terminate(3)
        self.change(cluster, 'long', CHANGES)
        cluster.compact()
        self.change(cluster, 'end', 20)
        began = time.monotonic()
        cluster.start(3)
        digest, stale = ct.Node(cluster.urls[2], 30.0).tag('away/app', 'end-0')
        self.assertFalse(stale)
        self.assertIsNotNone(digest)
        self.equal(cluster, 3, began)
        self.assertIn("took a copy of a member's view", cluster.nodes[2].log.read_text())
        # A fresh view: nothing to begin with.
        cluster.terminate(2)
        for file in cluster.nodes[1].data.glob('view.db*'):
            file.unlink()
        began = time.monotonic()
        cluster.start(2)
        self.equal(cluster, 2, began)

    def equal(self, cluster, number, began):
        """The view has exactly what etcd has. Marks of disks and of the clock move on by themselves: looked at again."""
        difference = {}

        def same():
            truth, view = cluster.truth(), cluster.view_rows(number)
            difference.clear()
            difference.update({k: (truth.get(k), view.get(k)) for k in truth.keys() | view.keys()
                               if truth.get(k) != view.get(k)})
            return not difference
        ct.tool.wait_until(same, SECONDS, 0.5)
        self.assertEqual(dict(list(difference.items())[:5]), {}, f'{len(difference)} rows differ\n{cluster.log()}')
        print(f'node {number}: {len(cluster.view_rows(number))} rows equal etcd\'s, {time.monotonic() - began:.1f} s '
              f'after its start')

    def change(self, cluster, name, count):
        """Commits through the first two nodes: one manifest per tag, a few tags moved again and again."""
        failures = []

        def some(client_number):
            client = ct.Node(cluster.urls[client_number % 2], 30.0)
            try:
                for number in range(client_number, count, CLIENTS):
                    body = ct.manifest_of(b'{}', [b'{}'], annotations={'n': f'{name} {number}'})
                    tag = f'{name}-{number}' if number % 4 else f'{name}-0'
                    client.push_manifest('away/app', tag, json.dumps(body).encode())
            except (AssertionError, *ct.NO_ANSWER) as error:
                failures.append(str(error))
        threads = [threading.Thread(target=some, args=(n,)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])


if __name__ == '__main__':
    ct.main()
