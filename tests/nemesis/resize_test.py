#!/usr/bin/env python3
"""A cluster that grows and shrinks under load: 3 nodes, 4, 5, one of them killed for ever, one drained, 3 again. Pulls go on,
pushes too, a join moves the data once and a leave none, and every step ends with full redundancy by itself.

HANSA_RESIZE_MB: data before the first join (300). HANSA_SEED: other images and choices.
"""
import os
import pathlib
import random
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402
import lasting_pushes as lp  # noqa: E402

DATA = int(os.environ.get('HANSA_RESIZE_MB') or 300) * 1_000_000
SEED = int(os.environ.get('HANSA_SEED') or 1)
LAYER, LAYERS = 4_000_000, 3  # of the data; large enough to be sent by redirect
LOAD_LAYER = 64_000  # of what is pushed meanwhile
PUSHERS, PULLERS = 2, 4
PAUSE = 0.1  # of a client between two images: the load is steady and leaves the machine to the cluster
RETRY_AFTER = 1.0  # as clients do (go-containerregistry begins with a second): a member hears within 0.3 s who ended
STALE_LIST = 5.0  # seconds for which clients still know a node that was killed
BLOCKED = 1.0  # a push that takes longer was blocked
LONGEST_BLOCK = 5.0


class Clients:
    """What all clients know: the nodes, and the images that were acknowledged."""

    def __init__(self, cluster):
        self.mutex, self.images, self.urls, self.ending = threading.Lock(), [], list(cluster.urls), threading.Event()
        self.pushed = 0  # bytes, acknowledged

    def pushed_image(self, repository, tag, image, size):
        with self.mutex:
            self.images.append((repository, tag, *image))
            self.pushed += size

    def some(self, source, count):
        with self.mutex:
            return source.sample(self.urls, min(count, len(self.urls)))

    def know(self, urls):
        with self.mutex:
            self.urls = list(urls)


class Pusher(threading.Thread):
    """Pushes an image until somebody takes it: through one node, and on any failure through the next."""

    def __init__(self, number, clients):
        super().__init__(daemon=True)
        self.repository, self.clients, self.source = f'load/p{number}', clients, random.Random(f'{SEED} push {number}')
        self.count, self.refused, self.times, self.last_error = 0, 0, [], ''

    def run(self):
        while not self.clients.ending.wait(PAUSE):
            self.count += 1
            began = time.monotonic()
            while not self.push():
                self.refused += 1
                if time.monotonic() - began > 60:
                    break  # the check of the times fails
            self.times.append((began, time.monotonic() - began))

    def push(self):
        node = ct.Node(self.clients.some(self.source, 1)[0], 10.0)
        try:
            image = node.push_image(self.repository, f'v{self.count}', seed=SEED, layer_size=LOAD_LAYER)
            self.clients.pushed_image(self.repository, f'v{self.count}', image, 2 * LOAD_LAYER)
            return True
        except (AssertionError, *ct.NO_ANSWER) as error:
            self.last_error = str(error)
            return False
        finally:
            node.close()


class Puller(threading.Thread):
    """Pulls images by tag with all their blobs; a pull that fails is tried once more, through another node."""

    def __init__(self, number, clients):
        super().__init__(daemon=True)
        self.clients, self.source = clients, random.Random(f'{SEED} pull {number}')
        self.count, self.retried, self.failed, self.redirected = 0, 0, [], 0

    def run(self):
        while not self.clients.ending.wait(PAUSE):
            with self.clients.mutex:
                image = self.source.choice(self.clients.images)
            first, second = self.clients.some(self.source, 2)
            self.count += 1
            trouble = self.pull(first, image)
            if trouble:
                self.retried += 1
                time.sleep(RETRY_AFTER)
                again = self.pull(second, image)
                if again:
                    self.failed.append(f'{image[:2]}: {trouble}; then {again}')

    def pull(self, url, image):
        """None, or what went wrong."""
        repository, tag, digest, blobs = image
        node = ct.Node(url, 20.0)
        try:
            found, stale = node.tag(repository, tag)
            assert found == digest and not stale, f'{url}: {tag} is {found}, stale: {stale}'
            for blob in blobs:
                self.blob(node, f'/v2/{repository}/blobs/{blob}', blob)
            return None
        except (AssertionError, *ct.NO_ANSWER) as error:
            return f'{url}: {type(error).__name__} {error}'
        finally:
            node.close()

    def blob(self, node, path, digest):
        answer = node.expect((200, 307), 'GET', path)
        if answer.status == 307:
            self.redirected += 1
            parts = urllib.parse.urlsplit(answer.headers['Location'])
            other = ct.Node(f'{parts.scheme}://127.0.0.1:{parts.port}', 20.0)
            try:
                answer = other.expect(200, 'GET', f'{parts.path}?{parts.query}')
            finally:
                other.close()
        assert ht.sha256(answer.body) == digest, f'wrong bytes of {digest}'


class NamedCluster(ct.TestCluster):
    def begin(self):
        self.tool.prepare(self.count, self.extra, ct.NamedNode)
        self.tool.up()


class Resize(ct.TestCase):
    def test_a_cluster_grows_to_five_and_shrinks_to_three_under_load(self):
        self.start_all()
        self.step('join of a fourth', lambda: self.join(), 4, held=True)
        self.step('join of a fifth', lambda: self.join(), 5, held=True)
        leader = self.cluster.wait_leader()
        victim = leader if leader.number in (2, 3) else self.cluster.nodes[1]
        drained = self.cluster.nodes[2] if victim.number == 2 else self.cluster.nodes[1]
        self.step('kill -9 of one for ever, with its etcd', lambda: self.lose(victim), 4)
        self.step('drain of one', lambda: self.drain(drained), 3)
        self.end_all()

    # --- the load ---

    def start_all(self):
        cluster = self.cluster = self.cluster_of_names()
        self.clients, self.gone = Clients(cluster), set()
        client, number = ct.Node(cluster.urls[0], 60.0), 0
        while self.clients.pushed < DATA:
            number += 1
            image = client.push_image('data/app', f'v{number}', seed=SEED, layers=LAYERS, layer_size=LAYER)
            self.clients.pushed_image('data/app', f'v{number}', image, LAYERS * LAYER)
        lp.wait_full(cluster, 3)
        self.pushers = [Pusher(n, self.clients) for n in range(PUSHERS)]
        self.pullers = [Puller(n, self.clients) for n in range(PULLERS)]
        for thread in self.pushers + self.pullers:
            thread.start()
        self.addCleanup(self.clients.ending.set)

    def cluster_of_names(self):
        return super().cluster(kind=NamedCluster)

    def end_all(self):
        self.clients.ending.set()
        for thread in self.pushers + self.pullers:
            thread.join(120)
            self.assertFalse(thread.is_alive(), 'a client hangs')
        lp.wait_full(self.cluster, 3)
        times = sorted((took, began) for p in self.pushers for began, took in p.times)
        blocked = [t for t in times if t[0] > BLOCKED]
        failed = [text for p in self.pullers for text in p.failed]
        print(f'{sum(p.count for p in self.pullers)} pulls, {sum(p.retried for p in self.pullers)} of them tried twice, '
              f'{len(failed)} failed, {sum(p.redirected for p in self.pullers)} blobs by redirect; {len(times)} pushes, '
              f'{sum(p.refused for p in self.pushers)} tries refused, the slowest took {times[-1][0]:.1f} s, '
              f'{len(blocked)} longer than {BLOCKED:.0f} s', flush=True)
        self.assertEqual(failed, [])
        self.assertLessEqual(times[-1][0], LONGEST_BLOCK, [p.last_error for p in self.pushers])
        spells = [began for _, began in sorted(blocked, key=lambda t: t[1])]
        self.assertTrue(not spells or spells[-1] - spells[0] < LONGEST_BLOCK, f'pushes were blocked more than once: {spells}')
        self.everything_is_everywhere()

    def everything_is_everywhere(self):
        nodes = [node for node in self.cluster.nodes if node.number not in self.gone]
        self.assertEqual(len(nodes), 3)
        # A member is full once it holds what was there when the layout began; the last pushes follow within moments.
        blobs = {blob for _, _, digest, parts in self.clients.images for blob in (digest, *parts)}
        self.cluster.wait(lambda: all(ct.holds(node, blob) for node in nodes for blob in blobs), 30,
                          'every node holds every blob')
        for node in nodes:
            client = ct.Node(node.url, 30.0)
            for repository, tag, digest, _ in self.clients.images:
                self.assertEqual(client.tag(repository, tag), (digest, False))
            client.close()

    # --- the steps ---

    def step(self, name, action, members, held=False):
        """Carries one out and waits for full redundancy. `held`: the data is to be moved once, else not at all."""
        with self.clients.mutex:
            before = self.clients.pushed
        moved, began, nodes = self.moved(), time.monotonic(), self.living()
        action()
        lp.wait_full(self.cluster, members, 300)
        took, fetched = time.monotonic() - began, self.moved() - moved
        with self.clients.mutex:
            fresh = self.clients.pushed - before
        # What is pushed meanwhile has two copies when it is acknowledged, and the other members fetch it.
        largest = max(members, nodes)
        for_load = fresh * (largest - 2)
        allowed = for_load + (before if held else 0)
        print(f'{name}: full after {took:.1f} s; members fetched {fetched / 1e6:.1f} MB; of {before / 1e6:.1f} MB before and '
              f'{fresh / 1e6:.1f} MB pushed meanwhile {allowed / 1e6:.1f} MB are due', flush=True)
        slack = PUSHERS * 2 * LOAD_LAYER * largest  # images under way at the beginning and at the end
        self.assertLessEqual(fetched, 1.1 * allowed + slack, name)

    def living(self):
        return len(self.cluster.nodes) - len(self.gone)

    def moved(self):
        """Bytes that the living nodes fetched from others since their start; a node that ended keeps what it had."""
        self.seen = getattr(self, 'seen', {})
        for node in self.cluster.nodes:
            if node.number not in self.gone:
                client = ct.Node(node.url, 10.0)
                self.seen[node.number] = client.metrics()['hansa_fetched_bytes']
                client.close()
        return sum(self.seen.values())

    def join(self):
        self.cluster.join(ct.NamedNode)
        self.clients.know(node.url for node in self.cluster.nodes if node.number not in self.gone)

    def leave(self, node):
        self.gone.add(node.number)
        self.clients.know(n.url for n in self.cluster.nodes if n.number not in self.gone)

    def lose(self, node):
        self.moved()
        identity = node.id
        self.cluster.kill(node.number, etcd=bool(node.etcd_pid))
        time.sleep(STALE_LIST)  # clients do not know yet; their retries do
        self.leave(node)
        config = self.cluster.nodes[0].config
        self.cluster.wait(lambda: self.cluster.hansa('cluster', 'forget', identity, config, check=False).returncode == 0, 60,
                          'the lost member is given up')

    def drain(self, node):
        config = self.cluster.nodes[0].config
        self.cluster.hansa('cluster', 'drain', node.id, config)
        self.cluster.wait(lambda: all(m['id'] != node.id for m in self.cluster.nodes[0].members()), 180,
                          'the drained member is gone')
        self.moved()
        self.leave(node)
        self.cluster.terminate(node.number)


if __name__ == '__main__':
    ct.main()
