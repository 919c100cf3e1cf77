#!/usr/bin/env python3
"""Tags under many writers, on a cluster whose nodes and etcds are killed and paused: linearizable and lossless.

HANSA_TAG_WRITES: acknowledged writes (600; 10,000 with HANSA_FULL; `./dev nemesis tags` makes 100,000).
HANSA_TAG_FAULTS: rounds of faults (1). HANSA_SEED: another course of events.
"""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import cluster_testing as ct  # noqa: E402
from site_etcd import SiteCluster  # noqa: E402
from tags_workload import Fault, Workload  # noqa: E402

WRITES = int(os.environ.get('HANSA_TAG_WRITES') or (10_000 if ct.FULL else 600))
ROUNDS = int(os.environ.get('HANSA_TAG_FAULTS') or (4 if ct.FULL else 1))
SEED = os.environ.get('HANSA_SEED', '1')


class OfACluster(ct.TestCase):
    def test_with_managed_etcd(self):
        self.judge(self.cluster())

    def test_with_the_sites_own_etcd(self):
        if 'HANSA_TAG_WRITES' in os.environ:
            self.skipTest('the long run is on managed etcd')
        self.judge(self.cluster(kind=SiteCluster))

    def judge(self, cluster):
        report = Workload(cluster.urls, WRITES, faults_of(cluster, ROUNDS), seed=SEED).run()
        print(report.text())
        self.assertTrue(report.is_good(), report.text() + cluster.log())


def faults_of(cluster, rounds):
    """kill -9 and SIGSTOP of etcd's leader and of nodes, in turn."""
    held = {}

    def kill_leader():
        leader = cluster.wait_leader()
        ct.tool.send(leader.etcd_pid, 9)
        return []

    def pause_leader():
        held['leader'] = cluster.wait_leader().etcd_pid
        cluster.pause(held['leader'])
        return []

    def kill_node(number):
        cluster.kill(number)
        return [cluster.nodes[number - 1].url]

    def pause_node(number):
        held[number] = cluster.nodes[number - 1].pid
        cluster.pause(held[number])
        return [cluster.nodes[number - 1].url]

    def whole():
        cluster.revive()
        cluster.wait_ready()
        cluster.wait(lambda: all(node.etcd_pid for node in cluster.nodes), 60, 'every etcd runs again')

    faults = []
    for turn in range(rounds):
        first, second = turn % len(cluster.nodes) + 1, (turn + 1) % len(cluster.nodes) + 1
        faults += [
            Fault(f'kill -9 of the etcd leader ({turn})', kill_leader, whole),
            Fault(f'SIGSTOP of the etcd leader ({turn})', pause_leader, lambda: cluster.resume(held['leader'])),
            Fault(f'kill -9 of node {first} ({turn})', lambda n=first: kill_node(n), lambda n=first: cluster.start(n)),
            Fault(f'SIGSTOP of node {second} ({turn})', lambda n=second: pause_node(n),
                  lambda n=second: cluster.resume(held[n])),
        ]
    return faults


if __name__ == '__main__':
    ct.main()
