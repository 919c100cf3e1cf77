#!/usr/bin/env python3
"""A cluster whose machines' wall clocks jump, as they do when a time server corrects them (P10)."""
import os
import pathlib
import signal
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
from fake_clock import LIBRARY, FakeClock  # noqa: E402

GOES_ON = 20.0  # seconds within which every node takes a push again: an election of etcd, and connections anew


class WallClock(ct.TestCase):
    @unittest.skipUnless(LIBRARY, 'libfaketime is not there; apt-get install faketime')
    def test_connections_to_etcd_that_end_while_the_clock_is_set_back_are_made_again_at_once(self):
        """What waits by the wall clock would wait for the forty minutes that come a second time."""
        clock = FakeClock(self.folder / 'clock')
        clock.set('+40m')
        for name, value in clock.environment().items():
            self.addCleanup(os.environ.pop, name)
            os.environ[name] = value  # of the nodes: they are started with ours
        cluster = self.cluster()
        for number, client in enumerate(cluster.clients()):
            client.push_image('clock/app', f'before{number}')
            client.close()
        # No etcd answers when the clock goes back: each is started again by its node.
        for pid in [node.etcd_pid for node in cluster.nodes]:
            ct.tool.send(pid, signal.SIGKILL)
        clock.set('+0')
        began = time.monotonic()
        for number, node in enumerate(cluster.nodes):
            self.pushed(cluster, node, f'after{number}', began)
        for client in cluster.clients():
            self.assertIsNotNone(client.tag('clock/app', 'after0')[0])
            client.close()

    def pushed(self, cluster, node, tag, began):
        client = ct.Node(node.url, 5.0)

        def push():
            client.push_image('clock/app', tag)
            return True
        cluster.wait(push, GOES_ON, f'node {node.number} takes a push')
        client.close()
        print(f'node {node.number} took a push {time.monotonic() - began:.1f} s after the clock was set back', flush=True)


if __name__ == '__main__':
    ct.main()
