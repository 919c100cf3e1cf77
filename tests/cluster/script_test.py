#!/usr/bin/env python3
"""./dev cluster: what it prints, what it refuses, that it leaves nothing behind; a single node's data taken along."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402

SCRIPT = ht.ROOT / 'tools/cluster.py'
ENVIRONMENT = {**os.environ, 'HANSA_BINARY': str(ht.BINARY)}
SYSTEM_ETCD = '/usr/bin/etcd'


def script(*words, check=True):
    return ht.run(sys.executable, SCRIPT, *words, env=ENVIRONMENT, check=check)


class Script(ct.TestCase):
    def setUp(self):
        super().setUp()
        self.dir = self.folder / 'cluster'
        self.addCleanup(lambda: self.dir.exists() and script('down', '--dir', self.dir, check=False))

    def test_up_push_kill_start_down(self):
        line = script('up', '--json', '--dir', self.dir).stdout
        self.assertEqual(line.count('\n'), 1)
        nodes = json.loads(line)['nodes']
        self.assertEqual([sorted(node) for node in nodes], [['data', 'id', 'pid', 'url']] * 3)
        self.assertTrue(all(pathlib.Path(node['data']).is_dir() for node in nodes))
        one, two, three = (ct.Node(node['url']) for node in nodes)
        digest, blobs = one.push_image('script/app', 'v1')
        self.assertEqual(three.tag('script/app', 'v1'), (digest, False))
        for blob in blobs:
            two.blob('script/app', blob)

        self.refuses('runs already', 'up')
        self.refuses('no node 7', 'kill', '7')
        script('kill', nodes[1]['id'], '--dir', self.dir)
        self.assertIn('stopped', script('status', '--dir', self.dir).stdout)
        self.assertEqual(three.tag('script/app', 'v1'), (digest, False))
        script('start', nodes[1]['id'], '--dir', self.dir)
        self.assertEqual(ct.Node(nodes[1]['url']).tag('script/app', 'v1'), (digest, False))

        script('down', '--dir', self.dir)
        left = [(pid, words) for pid, words in ct.tool.living() if any(str(self.dir) in word for word in words)]
        self.assertEqual([words for pid, words in left if pid != os.getpid() and 'cluster.py' not in ' '.join(words)], [])
        # The same folder again is the same cluster.
        self.refuses('3 nodes, not 2', 'up', '--nodes', '2')
        again = json.loads(script('up', '--json', '--dir', self.dir).stdout)['nodes']
        self.assertEqual([node['id'] for node in again], [node['id'] for node in nodes])
        self.assertEqual(ct.Node(again[2]['url']).tag('script/app', 'v1'), (digest, False))
        script('down', '--wipe', '--dir', self.dir)
        self.assertFalse(self.dir.exists())

    def test_clear_words_for_what_is_in_the_way(self):
        self.refuses('no cluster in', 'down')
        self.dir.mkdir()
        (self.dir / 'something').write_text('of mine')
        self.refuses('holds something that is no cluster', 'up')
        shutil.rmtree(self.dir)
        for name, what in [('HANSA_BINARY', './dev build'), ('HANSA_ETCD', 'etcd-server')]:
            done = subprocess.run([sys.executable, SCRIPT, 'up', '--dir', self.dir], capture_output=True, text=True,
                                  env={**ENVIRONMENT, name: '/no/such/program'}, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn('/no/such/program', done.stderr)
            self.assertIn(what, done.stderr)
        cluster = ct.tool.Cluster(self.dir)
        cluster.prepare(1)
        cluster.join_url = 'hansa://nowhere:1/#x'
        cluster.save()
        with socket.socket() as taken:
            taken.bind(('127.0.0.1', cluster.nodes[0].ports['http']))
            taken.listen()
            self.refuses(f'needs port {cluster.nodes[0].ports["http"]}', 'start', '1')

    def refuses(self, text, command, *words):
        done = script(command, *words, '--dir', self.dir, check=False)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn(text, done.stderr)


class FromASingleNode(ct.TestCase):
    def test_a_single_nodes_data_is_kept_when_it_founds_a_cluster(self):
        cluster = ct.TestCluster(self.folder / 'cluster')
        self.addCleanup(cluster.stop)
        cluster.tool.prepare(3)
        first = cluster.nodes[0]
        single = ht.Server(self.folder / 'single', root=first.data)
        with single:
            digests = {f'v{n}': single.push_image('old/app', f'v{n}', seed=n) for n in range(20)}
            single.request('DELETE', '/v2/old/app/manifests/v3')
            del digests['v3']
        identity = first.id
        cluster.tool.up()
        self.assertEqual(first.id, identity)
        for client in cluster.clients():
            for tag, digest in digests.items():
                self.assertEqual(client.tag('old/app', tag), (digest, False))
            self.assertEqual(client.tag('old/app', 'v3'), (None, False))
            listed = json.loads(client.expect(200, 'GET', '/v2/old/app/tags/list').body)['tags']
            self.assertEqual(sorted(listed), sorted(digests))
            layers = json.loads(client.expect(200, 'GET', '/v2/old/app/manifests/v7').body)['layers']
            for layer in layers:
                client.blob('old/app', layer['digest'])
        cluster.clients()[2].push_image('old/app', 'new')


class BesideTheSystemsEtcd(ct.TestCase):
    def test_an_etcd_on_the_usual_ports_is_not_disturbed(self):
        with socket.socket() as probe:
            if probe.connect_ex(('127.0.0.1', 2379)) == 0:
                raise unittest.SkipTest('something that is not ours listens on 2379')
        if not os.access(SYSTEM_ETCD, os.X_OK):
            raise unittest.SkipTest(f'{SYSTEM_ETCD} is not there')
        etcd = subprocess.Popen([SYSTEM_ETCD, '--data-dir', str(self.folder / 'system')], stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
        self.addCleanup(etcd.wait)
        self.addCleanup(etcd.terminate)
        health = 'http://127.0.0.1:2379/health'
        self.assertTrue(ct.tool.wait_until(lambda: ct.tool.get(health)[0] == 200, 30))
        cluster = self.cluster(nodes=1)
        cluster.clients()[0].push_image('beside/app', 'v1')
        cluster.stop()
        self.assertIsNone(etcd.poll())
        self.assertEqual(ct.tool.get(health)[0], 200)
        metrics = ct.tool.get('http://127.0.0.1:2379/metrics')[1].decode()
        self.assertIn('\netcd_debugging_mvcc_keys_total 0\n', metrics)


if __name__ == '__main__':
    ct.main()
