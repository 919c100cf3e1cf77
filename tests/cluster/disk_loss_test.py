#!/usr/bin/env python3
"""A node's disk is destroyed while pushes go on, and the machine is replaced, again and again: nothing acknowledged is lost.

HANSA_DISK_LOSSES names the number of times (1; 2 with HANSA_FULL).
"""
import os
import pathlib
import random
import shutil
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402

LOSSES = int(os.environ.get('HANSA_DISK_LOSSES') or (2 if ct.FULL else 1))
LAYER = 300_000  # bytes: large enough to be relayed while it comes


class Pusher(threading.Thread):
    """Pushes images through the nodes that are there, one after the other, and keeps what was acknowledged."""

    def __init__(self, name, cluster):
        super().__init__(daemon=True)
        self.repository, self.cluster = f'loss/{name}', cluster
        self.done, self.refused, self.ending, self.away = {}, 0, threading.Event(), set()

    def run(self):
        number = 0
        while not self.ending.is_set():
            number += 1
            for node in random.sample(self.cluster.nodes, len(self.cluster.nodes)):
                if node.number in self.away:
                    continue
                client = ct.Node(node.url, 30.0)
                try:
                    self.done[f'v{number}'] = client.push_image(self.repository, f'v{number}', seed=number, layer_size=LAYER)
                    break
                except (AssertionError, *ct.NO_ANSWER):
                    self.refused += 1
                finally:
                    client.close()

    def end(self):
        self.ending.set()
        self.join(60)
        assert not self.is_alive(), 'a push hangs'


class DiskLoss(ct.TestCase):
    def test_no_acknowledged_image_is_lost_when_disks_are_destroyed_one_after_the_other(self):
        cluster, source = self.cluster(), random.Random(8)
        for turn in range(LOSSES):
            victim = cluster.nodes[source.randrange(len(cluster.nodes))]
            witness = next(node for node in cluster.nodes if node is not victim)
            pushers = [Pusher(f'p{turn}-{n}', cluster) for n in range(2)]
            for pusher in pushers:
                pusher.start()
            cluster.wait(lambda: all(len(p.done) > 3 for p in pushers), 60, 'pushes are under way')
            threading.Event().wait(source.random())  # the random point
            lost = victim.id
            cluster.kill(victim.number, etcd=bool(victim.etcd_pid))
            for pusher in pushers:
                pusher.away = {victim.number}
            shutil.rmtree(victim.data)
            before = [len(p.done) for p in pushers]
            cluster.wait(lambda: all(len(p.done) > b for p, b in zip(pushers, before)), 60, 'pushes go on without it')
            # The operator's steps: the lost member is given up, a new machine joins.
            cluster.wait(lambda: cluster.hansa('cluster', 'forget', lost, witness.config, check=False).returncode == 0, 30,
                         'the lease of the lost member has ended, and it is given up')
            cluster.tool.join_url = cluster.hansa('cluster', 'token', witness.config).stdout.strip()
            cluster.start(victim.number)
            self.assertNotEqual(victim.id, lost)
            for pusher in pushers:
                pusher.end()
            self.check(cluster, pushers, f'after loss {turn + 1}')

    def check(self, cluster, pushers, when):
        images = [(p.repository, tag, *image) for p in pushers for tag, image in p.done.items()]
        blobs = {blob for _, _, digest, parts in images for blob in (digest, *parts)}
        cluster.wait(lambda: all(ct.holds(node, blob) for node in cluster.nodes for blob in blobs), 180,
                     f'every node holds everything {when}')
        cluster.wait(lambda: len(cluster.tool.voters()) == 3, 120, f'three voters {when}')
        for client in cluster.clients(30.0):
            for repository, tag, digest, parts in images:
                self.assertEqual(client.tag(repository, tag), (digest, False), when)
                for blob in parts:
                    client.blob(repository, blob)
            client.close()
        print(f'{when}: {len(images)} images acknowledged, {sum(p.refused for p in pushers)} tries refused, all whole on '
              f'every node', flush=True)


if __name__ == '__main__':
    ct.main()
