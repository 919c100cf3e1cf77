"""Images pushed all the time while nodes are hurt, with a journal of what was acknowledged, and the check that none of it
was lost: every blob on every node's disk, every tag and byte through every node."""
import json
import random
import threading

import cluster_testing as ct

LAYER = 300_000  # bytes: large enough to be relayed while it comes


class Pusher(threading.Thread):
    """Pushes images through the nodes that are there, one after the other, `pause` seconds between two, and keeps what was
    acknowledged."""

    def __init__(self, repository, cluster, layer=LAYER, pause=0.0):
        super().__init__(daemon=True)
        self.repository, self.cluster, self.layer, self.pause = repository, cluster, layer, pause
        self.done, self.refused, self.ending, self.away = {}, 0, threading.Event(), set()

    def run(self):
        number = 0
        while not self.ending.wait(self.pause):
            number += 1
            for node in random.sample(self.cluster.nodes, len(self.cluster.nodes)):
                if node.number in self.away:
                    continue
                client = ct.Node(node.url, 30.0)
                try:
                    image = client.push_image(self.repository, f'v{number}', seed=number, layer_size=self.layer)
                    self.done[f'v{number}'] = image
                    break
                except (AssertionError, *ct.NO_ANSWER):
                    self.refused += 1
                finally:
                    client.close()

    def end(self):
        self.ending.set()
        self.join(60)
        assert not self.is_alive(), 'a push hangs'


def check_all(test, cluster, pushers, when, before=None, repository_before='old/app'):
    """`before`: {tag: (digest, blobs)} of repository_before, pushed before the pushers began."""
    images = [(p.repository, tag, *image) for p in pushers for tag, image in p.done.items()]
    images += [(repository_before, tag, *image) for tag, image in (before or {}).items()]
    blobs = {blob for _, _, digest, parts in images for blob in (digest, *parts)}
    cluster.wait(lambda: all(ct.holds(node, blob) for node in cluster.nodes for blob in blobs), 180,
                 f'every node holds everything {when}')
    cluster.wait(lambda: len(cluster.tool.voters()) == min(3, len(cluster.nodes)), 120, f'as many voters as before {when}')
    for client in cluster.clients(30.0):
        for repository, tag, digest, parts in images:
            test.assertEqual(client.tag(repository, tag), (digest, False), when)
            for blob in parts:
                client.blob(repository, blob)
        client.close()
    print(f'{when}: {len(images)} images acknowledged, {sum(p.refused for p in pushers)} tries refused, all whole on '
          f'every node', flush=True)


def status(cluster, node):
    return json.loads(cluster.hansa('cluster', 'status', '--json', node.config).stdout)


def wait_full(cluster, count=None, seconds=180, node=None):
    """Until the status (of this node; else the first) says that every member is full and nothing is degraded: full
    redundancy, without an operator."""
    last = {}

    def full():
        last.update(status(cluster, node or cluster.nodes[0]))
        members = last['members']
        good = all(m['alive'] and m['in_layout'] and m['holds'] and m['holds']['full'] and not m['holds']['left_out']
                   for m in members)
        return good and len(members) == (count or len(cluster.nodes)) and last['degraded'] == []
    try:
        cluster.wait(full, seconds, 'every member full and nothing degraded')
    except AssertionError as error:
        raise AssertionError(f'{error}\n{json.dumps(last, indent=1)}') from None
