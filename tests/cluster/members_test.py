#!/usr/bin/env python3
"""Three equals: upload sessions continued through others, what the operator sees, a member that leaves, one that is lost."""
import json
import pathlib
import random
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402


def path_of(location):
    return re.sub(r'^https?://[^/]+', '', location)


class Equals(ct.SharedCluster):
    def test_an_upload_session_is_continued_through_other_nodes(self):
        one, two, three = self.cluster.clients()
        parts = [random.Random(n).randbytes(300_000) for n in range(3)]
        data = b''.join(parts)
        at = path_of(one.expect(202, 'POST', '/v2/session/app/blobs/uploads/').headers['Location'])
        offset = 0
        for client, part in zip((two, three, one), parts):
            span = f'{offset}-{offset + len(part) - 1}'
            answer = client.expect(202, 'PATCH', at, part, {**ht.OCTETS, 'Content-Range': span})
            at, offset = path_of(answer.headers['Location']), offset + len(part)
        self.assertEqual(three.expect(204, 'GET', at).headers['Range'], f'0-{len(data) - 1}')
        wrong = two.expect(416, 'PATCH', at, b'x', {**ht.OCTETS, 'Content-Range': '5-5'})
        self.assertIn(b'BLOB_UPLOAD', wrong.body)
        separator = '&' if '?' in at else '?'
        three.expect(201, 'PUT', f'{at}{separator}digest={ht.sha256(data)}', b'', ht.OCTETS)
        for client in (one, two, three):
            self.assertEqual(client.blob('session/app', ht.sha256(data)).body, data)
        # Repeated after a cut answer, through yet another node.
        two.expect(201, 'PUT', f'{at}{separator}digest={ht.sha256(data)}', b'', ht.OCTETS)

    def test_a_session_is_cancelled_through_another_node(self):
        one, two, _ = self.cluster.clients()
        at = path_of(one.expect(202, 'POST', '/v2/session/app/blobs/uploads/').headers['Location'])
        two.expect(204, 'DELETE', at)
        one.expect(404, 'GET', at)

    def test_a_push_through_one_node_mounts_and_deletes_through_others(self):
        one, two, three = self.cluster.clients()
        digest, blobs = one.push_image('mount/from', 'v1')
        three.expect(201, 'POST', f'/v2/mount/to/blobs/uploads/?mount={blobs[1]}&from=mount/from')
        two.blob('mount/to', blobs[1])
        two.expect(202, 'DELETE', f'/v2/mount/from/manifests/{digest}')
        for client in (one, two, three):
            self.assertEqual(client.tag('mount/from', 'v1'), (None, False))
            client.expect(404, 'GET', f'/v2/mount/from/manifests/{digest}')

    def test_status_lists_the_members(self):
        for node in self.cluster.nodes:
            text = self.cluster.hansa('cluster', 'status', node.config).stdout
            for other in self.cluster.nodes:
                self.assertIn(other.id, text)
            status = json.loads(self.cluster.hansa('cluster', 'status', '--json', node.config).stdout)
            self.assertEqual(sorted(m['id'] for m in status['members']), sorted(n.id for n in self.cluster.nodes))
            self.assertTrue(all(m['alive'] and m['state'] == 'active' and m['in_layout'] for m in status['members']))

    def test_all_members_name_the_same_cluster_and_one_rule_that_differs_is_drift(self):
        seen = [json.loads(self.cluster.hansa('cluster', 'status', '--json', n.config).stdout) for n in self.cluster.nodes]
        self.assertEqual(len({status['cluster'] for status in seen}), 1)
        self.assertTrue(seen[0]['cluster'])
        self.assertEqual([status['drift'] for status in seen], [[], [], []])
        node = self.cluster.nodes[0]
        config = json.loads(node.config.read_text())
        before = json.dumps(config)
        config['storage']['gcDelay'] = '2h'
        try:
            self.restart_with(node, json.dumps(config))
            drift = json.loads(self.cluster.hansa('cluster', 'status', '--json', node.config).stdout)['drift']
            self.assertEqual([rule['rule'] for rule in drift], ['storage.gcDelay'])
            self.assertIn('drift: storage.gcDelay', self.cluster.hansa('cluster', 'status', node.config).stdout)
        finally:
            self.restart_with(node, before)

    def restart_with(self, node, text):
        self.cluster.terminate(node.number)
        node.config.write_text(text)
        self.cluster.start(node.number)

    def test_an_unknown_member_is_a_clear_error(self):
        config = self.cluster.nodes[0].config
        for verb in ('drain', 'forget', 'may-stop'):
            done = self.cluster.hansa('cluster', verb, 'nobody', config, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn('nobody', done.stderr + done.stdout)

    def test_each_of_three_may_stop_when_all_have_everything(self):
        self.cluster.clients()[0].push_image('stop/app', 'v1')
        for node in self.cluster.nodes:
            self.cluster.wait(lambda n=node: self.cluster.hansa(
                'cluster', 'may-stop', n.id, self.cluster.nodes[0].config, check=False).returncode == 0,
                60, f'{node.id} may stop')


class Leaving(ct.TestCase):
    def test_a_drained_member_leaves_and_a_lost_one_is_forgotten(self):
        cluster = self.cluster()
        one, two, three = cluster.nodes
        digest, blobs = ct.Node(three.url).push_image('leave/app', 'v1')
        cluster.hansa('cluster', 'drain', three.id, one.config)
        cluster.wait(lambda: all(m['id'] != three.id or m['state'] == 'gone' for m in one.members()), 90,
                     'the drained member is gone')
        cluster.kill(3, etcd=bool(three.etcd_pid))
        reader = ct.Node(two.url, 30.0)
        self.assertEqual(reader.tag('leave/app', 'v1'), (digest, False))
        for blob in blobs:
            reader.blob('leave/app', blob)
        reader.push_image('leave/app', 'v2')
        done = cluster.hansa('cluster', 'forget', two.id, one.config, check=False)
        self.assertNotEqual(done.returncode, 0, 'a living member must not be forgotten')


if __name__ == '__main__':
    ct.main()
