#!/usr/bin/env python3
"""What happens to etcd's own data on real nodes: a voter's disk wiped while another is away (H3), all of it set back in
time behind the views' backs (H2d)."""
import json
import pathlib
import shutil
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402

TAGS = 30


class WipedVoter(ct.TestCase):
    def test_a_voter_wiped_while_another_is_away_loses_no_acknowledged_commit_and_becomes_whole_by_itself(self):
        cluster = self.cluster()
        one, two, three = cluster.nodes
        members = {m['ID'] for m in cluster.tool.voters()}
        client = cluster.clients(30.0)[0]
        # B away: its etcd and its node. What is acknowledged now lies with A and C only.
        cluster.kill(2, etcd=True)
        digests = {}

        def push(number):
            digests[f'v{number}'] = client.push_image('wiped/app', f'v{number}', seed=number)[0]
            return True
        cluster.wait(lambda: push(0), 30, 'a push with two voters of three')
        for number in range(1, TAGS):
            push(number)
        cluster.wipe_voter(3)
        cluster.start(3, wait=False)
        # A alone is no quorum, and the amnesiac must not make one with anybody.
        with cluster.paused(one.etcd_pid):
            cluster.start(2, wait=False)
            time.sleep(5)  # the span in which B and an amnesiac C would elect one of themselves
            self.assertIsNone(cluster.etcd_leader(), 'a wiped voter made a quorum')
        cluster.wait(lambda: cluster.etcd_leader() is not None, 60, 'A and B elect a leader')
        # B's node listens once its view is confirmed, some time after etcd has a leader.
        cluster.wait(lambda: one.is_ready() and two.is_ready(), 60, 'the nodes of A and B are ready')
        for number in (1, 2):
            reader = ct.Node(cluster.urls[number - 1], 30.0)
            for tag, digest in digests.items():
                self.assertEqual(reader.tag('wiped/app', tag), (digest, False))
        now = set()

        def three_again():
            now.clear()
            now.update(m['ID'] for m in cluster.tool.voters())
            return len(now) == 3 and now != members  # until it is removed, the old one stands in the list
        cluster.wait(three_again, 120, 'the wiped voter is a voter again, without a command')
        self.assertEqual(len(now & members), 2, 'the wiped voter must come back under another member id')
        cluster.wait_ready(60)
        reader = ct.Node(cluster.urls[2], 30.0)
        for tag, digest in digests.items():
            self.assertEqual(reader.tag('wiped/app', tag), (digest, False))
        reader.push_image('wiped/app', 'after')


class SetBack(ct.TestCase):
    def test_a_snapshot_restored_behind_the_views_backs_is_noticed_alarmed_and_nothing_wrong_is_served(self):
        cluster = self.cluster()
        clients = cluster.clients(30.0)
        old = {f'v{n}': clients[0].push_image('back/app', f'v{n}', seed=n)[0] for n in range(5)}
        copies = self.exchange(cluster, None)
        cluster.wait(lambda: clients[1].tag('back/app', 'v0') == (old['v0'], False), 60, 'writes and reads go on')
        new = {}

        def move(n):
            new[f'v{n}'] = clients[1].push_image('back/app', f'v{n}', seed=100 + n)[0]
            return True
        for number in range(8):
            cluster.wait(lambda n=number: move(n), 30, 'a push')
        for client in clients:
            self.assertEqual(client.tag('back/app', 'v1'), (new['v1'], False))
        self.exchange(cluster, copies)
        # Until an alarm stands, an answer is either marked or of the store as it is now.
        wrong, well, end = [], set(), time.monotonic() + 60
        while len(well) < len(clients) and time.monotonic() < end:
            for client in clients:
                for tag in ('v1', 'v7'):
                    try:
                        digest, stale = client.tag('back/app', tag)
                    except (AssertionError, *ct.NO_ANSWER):
                        continue
                    if not stale and digest != old.get(tag):
                        wrong.append((client.url, tag, digest))
                    elif not stale:
                        well.add(client.url)
        self.assertEqual(wrong, [], 'answers of a history that never was')
        self.assertEqual(len(well), 3, f'not every node answers again: {well}\n{cluster.log()}')
        text = cluster.hansa('cluster', 'status', cluster.nodes[0].config, check=False)
        self.assertIn('rewound', (text.stdout + text.stderr).lower() + cluster.log().lower())
        alarms = [json.dumps(tool_status(node)) for node in cluster.nodes]
        self.assertTrue(any('alarm' in text for text in alarms), alarms)

    def exchange(self, cluster, copies):
        """Stops every node and etcd's processes in one go; copies etcd's data away, or puts copies in its place; starts
        all again. The views stay as they are."""
        folders = [node.data / 'etcd' / 'member' for node in cluster.nodes]
        nodes = [node.pid for node in cluster.nodes]
        for pid in nodes:  # they must not start etcd again in between
            cluster.pause(pid)
        for node in cluster.nodes:
            pid = node.etcd_pid
            ct.tool.send(pid, 15)
            self.assertTrue(node.wait_end(pid, 30) or not ct.tool.command_line(pid))
        made = []
        for number, folder in enumerate(folders):
            if copies is None:
                made.append(self.folder / f'copy{number}')
                shutil.copytree(folder, made[-1])
            else:
                shutil.rmtree(folder)
                shutil.copytree(copies[number], folder)
        for pid in nodes:
            cluster.resume(pid)
        cluster.wait(lambda: cluster.etcd_leader() is not None, 60, 'etcd is back')
        return made


def tool_status(node):
    status, body = ct.tool.get(node.url + '/v2/_hansa/cluster')
    return json.loads(body) if status == 200 else {}


if __name__ == '__main__':
    ct.main()
