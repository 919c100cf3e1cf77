#!/usr/bin/env python3
"""A node whose folder is not what it left: restored from an old copy (some of it missing, some damaged), or copied and
started twice. It is a new disk, its bytes are believed after they were hashed, nothing acknowledged is lost.

HANSA_OLD_DISKS names the number of restores, and of clones, in a row (1; 2 with HANSA_FULL).
"""
import base64
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402
import lasting_pushes as lp  # noqa: E402

RESTORES = int(os.environ.get('HANSA_OLD_DISKS') or (2 if ct.FULL else 1))
MANY = 40  # images in the copy
PAUSE = 0.3  # seconds of a pusher between two images


def blob_file(folder, digest):
    digits = digest.removeprefix('sha256:')
    return folder / 'blobs/sha256' / digits[:2] / digits


def disk_of(folder):
    return json.loads((folder / 'disk.json').read_text())['disk']


class OldCopy(ct.TestCase):
    def test_a_disk_restored_from_an_old_copy_is_a_new_disk_and_becomes_whole_by_itself(self):
        self.restores(self.copy_at_rest)

    def test_so_is_one_set_back_to_an_image_that_was_taken_while_its_node_ran(self):
        self.restores(self.copy_frozen)

    def restores(self, take_copy):
        cluster, source = self.cluster(), random.Random(21)
        self.before = {}
        client = ct.Node(cluster.urls[0], 30.0)
        for number in range(MANY):
            self.before[f'v{number}'] = client.push_image('old/app', f'v{number}', seed=number, layer_size=100_000)
        for turn in range(RESTORES):
            self.restore(cluster, source, turn, take_copy)

    def copy_at_rest(self, cluster, victim, copy):
        etcd = victim.etcd_pid
        cluster.terminate(victim.number)
        if etcd:  # the whole machine is copied
            ct.tool.send(etcd, signal.SIGTERM)
            cluster.wait(lambda: not ct.tool.command_line(etcd), 30, 'its etcd has ended')
        shutil.copytree(victim.data, copy)
        cluster.start(victim.number)

    def copy_frozen(self, _, victim, copy):
        ct.copy_frozen(victim, copy)

    def restore(self, cluster, source, turn, take_copy):
        victim = cluster.nodes[source.randrange(len(cluster.nodes))]
        blobs = sorted({blob for digest, parts in self.before.values() for blob in (digest, *parts)})
        cluster.wait(lambda: all(ct.holds(victim, blob) for blob in blobs), 60, 'the node holds what its copy is to hold')
        copy = self.folder / f'copy{turn}'
        take_copy(cluster, victim, copy)
        pushers = [lp.Pusher(f'old/p{turn}-{n}', cluster, pause=PAUSE) for n in range(2)]
        for pusher in pushers:
            pusher.start()
        cluster.wait(lambda: all(len(p.done) > 8 for p in pushers), 60, 'pushes are under way')
        voter = next(m['ID'] for m in cluster.tool.voters() if m['name'] == victim.id)
        threading.Event().wait(source.random())  # the random point
        cluster.kill(victim.number, etcd=bool(victim.etcd_pid))
        for pusher in pushers:
            pusher.away = {victim.number}
        shutil.rmtree(victim.data)
        shutil.move(copy, victim.data)
        was = disk_of(victim.data)
        lost, damaged = source.sample(blobs, 20)[:10], source.sample(blobs, 20)[10:]
        for blob in lost:
            blob_file(victim.data, blob).unlink(missing_ok=True)
        for blob in set(damaged) - set(lost):
            self.damage(blob_file(victim.data, blob), source)
        cluster.start(victim.number)
        for pusher in pushers:
            pusher.away = set()
        self.assertNotEqual(disk_of(victim.data), was, 'an old copy must be a new disk')
        self.serves_nothing_wrong(victim, blobs)
        for pusher in pushers:
            pusher.end()
        cluster.wait(lambda: [m for m in cluster.tool.voters() if m['name'] == victim.id and m['ID'] != voter], 120,
                     'its etcd, which forgot what it had acknowledged, is a voter again under another member id')
        lp.check_all(self, cluster, pushers, f'after restore {turn + 1}', self.before)
        lp.wait_full(cluster)

    def damage(self, file, source):
        data = bytearray(file.read_bytes())
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)
        file.write_bytes(data)

    def serves_nothing_wrong(self, victim, blobs):
        """Right bytes or none, from the first moment."""
        reader = ct.Node(victim.url, 30.0)
        for blob in blobs:
            try:
                answer = reader.request('GET', f'/v2/old/app/blobs/{blob}')
            except ct.NO_ANSWER:
                continue  # cut, since it would have been wrong
            if answer.status == 200:
                self.assertEqual(ht.sha256(answer.body), blob)
        reader.close()


class Moments(ct.TestCase):
    def test_a_disk_set_back_by_moments_ends_its_nodes_seat_and_not_its_node(self):
        """No mark was put since, so that nothing but its etcd shows that it is old: the leader knows what it acknowledged."""
        cluster = self.cluster()
        client = ct.Node(cluster.urls[0], 30.0)
        image = client.push_image('old/app', 'v1')
        client.close()
        lp.wait_full(cluster)
        leader = cluster.wait_leader()
        victim = next(node for node in cluster.nodes if node is not leader)
        voter = next(m['ID'] for m in cluster.tool.voters() if m['name'] == victim.id)
        copy = self.folder / 'copy'
        ct.copy_frozen(victim, copy)
        for number in range(20):  # what all voters acknowledge, and no node hears of
            key, value = (base64.b64encode(text.encode()).decode() for text in (f'elsewhere/{number}', 'text'))
            cluster.etcd_any('/v3/kv/put', {'key': key, 'value': value})
        cluster.kill(victim.number, etcd=True)
        shutil.rmtree(victim.data)
        shutil.move(copy, victim.data)
        cluster.start(victim.number)
        cluster.wait(lambda: [m for m in cluster.tool.voters() if m['name'] == victim.id and m['ID'] != voter], 120,
                     'its etcd, which forgot what it had acknowledged, is a voter again under another member id')
        lp.wait_full(cluster)
        for client in cluster.clients(30.0):
            self.assertEqual(client.tag('old/app', 'v1'), (image[0], False))
            client.close()


class Clone(ct.TestCase):
    def test_a_second_node_on_a_copy_of_a_running_nodes_folder_is_refused(self):
        cluster, source = self.cluster(), random.Random(22)
        for turn in range(RESTORES):
            original = cluster.nodes[source.randrange(len(cluster.nodes))]
            pushers = [lp.Pusher(f'clone/p{turn}-{n}', cluster, pause=PAUSE) for n in range(2)]
            for pusher in pushers:
                pusher.start()
            cluster.wait(lambda: all(len(p.done) > 3 for p in pushers), 60, 'pushes are under way')
            twin = self.copy_of(original, turn)
            with open(twin.log, 'ab') as log:
                twin.child = subprocess.Popen([str(ht.BINARY), 'serve', str(twin.config)], stdin=subprocess.DEVNULL,
                                              stdout=log, stderr=log, start_new_session=True)
            self.addCleanup(self.end, twin)
            cluster.wait(lambda: twin.child.poll() is not None, 60, 'the clone has ended')
            self.assertNotEqual(twin.child.returncode, 0)
            self.assertIn('another process is alive', twin.log_tail())
            self.assertIsNone(twin.etcd_pid, 'an etcd of the clone votes')
            self.assertNotIn('another process', original.log.read_text(errors='replace'))
            for pusher in pushers:
                pusher.end()
            lp.check_all(self, cluster, pushers, f'beside clone {turn + 1}')
            self.assertEqual(sum(p.refused for p in pushers), 0, 'pushes went wrong beside a clone')
            lp.wait_full(cluster)

    def copy_of(self, node, turn):
        """The folder of a node that runs, with ports of its own, as a machine cloned with its disk has them."""
        ports = dict(zip(('http', 'peer', 'etcd', 'etcd_peer'), ct.tool.free_ports(4)))
        twin = ct.tool.Node(self.folder / f'twin{turn}', node.number, ports, node.etcd_binary)
        twin.write_config()
        # Files come and go while it is copied, as with any copy of a machine that runs.
        subprocess.run(['cp', '-a', str(node.data), str(twin.data)], check=False, stderr=subprocess.DEVNULL)
        return twin

    def end(self, node):
        for pid in (node.child.pid if node.child.poll() is None else None, node.etcd_pid):
            if pid:
                ct.tool.send(pid, 9)
        node.child.wait(10)


if __name__ == '__main__':
    ct.main()
