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
import lasting_pushes as lp  # noqa: E402

LOSSES = int(os.environ.get('HANSA_DISK_LOSSES') or (2 if ct.FULL else 1))


class DiskLoss(ct.TestCase):
    def test_no_acknowledged_image_is_lost_when_disks_are_destroyed_one_after_the_other(self):
        cluster, source = self.cluster(), random.Random(8)
        for turn in range(LOSSES):
            victim = cluster.nodes[source.randrange(len(cluster.nodes))]
            witness = next(node for node in cluster.nodes if node is not victim)
            pushers = [lp.Pusher(f'loss/p{turn}-{n}', cluster) for n in range(2)]
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
            lp.check_all(self, cluster, pushers, f'after loss {turn + 1}')


if __name__ == '__main__':
    ct.main()
