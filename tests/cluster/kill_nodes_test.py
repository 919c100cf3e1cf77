#!/usr/bin/env python3
"""Nodes killed in a loop while images are pushed and pulled through the others: what was acknowledged is whole everywhere.

HANSA_KILL_CYCLES: how often (5; 50 with HANSA_FULL). HANSA_SEED: another course of events.
"""
import os
import pathlib
import random
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402

CYCLES = int(os.environ.get('HANSA_KILL_CYCLES') or (50 if ct.FULL else 5))
SEED = os.environ.get('HANSA_SEED', '1')
CLIENTS = 4
LONGEST_LIFE = 2.0  # seconds between a start and the next kill


class KillLoop(ct.TestCase):
    def test_acknowledged_images_stay_whole(self):
        cluster = self.cluster()
        source, stop, mutex = random.Random(SEED), threading.Event(), threading.Lock()
        acknowledged, refused = {}, [0]

        def push(number):
            serial, choice = 0, random.Random(f'{SEED} {number}')
            nodes = cluster.clients(10.0)
            while not stop.is_set():
                serial += 1
                tag = f't{number}-{serial}'
                try:
                    image = choice.choice(nodes).push_image('loop/app', tag, seed=serial)
                    with mutex:
                        acknowledged[tag] = image
                except (AssertionError, *ct.NO_ANSWER):
                    refused[0] += 1
                    stop.wait(0.02)
        threads = [threading.Thread(target=push, args=(n,)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            for cycle in range(CYCLES):
                number = source.randint(1, 3)
                stop.wait(source.uniform(0.2, LONGEST_LIFE))
                cluster.kill(number, etcd=cycle % 5 == 4)
                stop.wait(source.uniform(0.1, LONGEST_LIFE))
                cluster.start(number)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        cluster.wait_ready()
        print(f'{len(acknowledged)} images acknowledged, {refused[0]} tries refused, {CYCLES} kills')
        self.assertGreater(len(acknowledged), CYCLES)
        for client in cluster.clients(30.0):
            for tag, (digest, blobs) in acknowledged.items():
                self.assertEqual(client.tag('loop/app', tag), (digest, False), f'{client.url} {tag}')
                for blob in blobs:
                    client.blob('loop/app', blob)


if __name__ == '__main__':
    ct.main()
