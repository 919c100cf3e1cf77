#!/usr/bin/env python3
"""What happens to a cluster over the years: a member gets another address, certificates end, all machines are lost."""
import datetime
import json
import pathlib
import ssl
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402

OTHER = '127.0.0.2'  # another address of this machine
CARE_SECONDS = 5  # a member looks after its certificate that often


def move(node):
    """Gives a stopped node another address and other ports; its disk stays."""
    node.ports = dict(zip(node.ports, ct.tool.free_ports(len(node.ports))))
    node.url = f'http://{OTHER}:{node.ports["http"]}'
    config = json.loads(node.config.read_text())
    config['http'].update(address=OTHER, port=str(node.ports['http']))
    config['cluster']['node'] = {'url': node.url, 'peer': f'{OTHER}:{node.ports["peer"]}'}
    config['cluster']['metadata']['managed'].update(clientPort=node.ports['etcd'], peerPort=node.ports['etcd_peer'])
    node.config.write_text(json.dumps(config))


class AnotherAddress(ct.TestCase):
    def test_a_member_with_another_address_is_the_same_node_and_the_same_voter(self):
        cluster = self.cluster()
        one, two, three = cluster.nodes
        digest, blobs = ct.Node(one.url, 30.0).push_image('move/app', 'v1')
        before = {m['ID']: m['name'] for m in cluster.tool.voters()}
        identity = three.id
        cluster.terminate(3)  # its etcd goes on, at the address of before
        move(three)
        cluster.start(3)
        self.assertEqual(three.id, identity)

        def known_to_all():
            for node in cluster.nodes:
                urls = {m['id']: m['url'] for m in node.members() if m['alive']}
                if urls != {n.id: n.url for n in cluster.nodes}:
                    return False
            return True
        cluster.wait(known_to_all, 30, 'every member knows the new address, and no fourth member')

        def voters_moved():
            now = {m['ID']: m['peerURLs'] for m in cluster.tool.voters()}
            own = [now[key] for key, name in before.items() if name == identity]
            return now.keys() == before.keys() and own == [[f'https://{OTHER}:{three.ports["etcd_peer"]}']]
        cluster.wait(voters_moved, 60, 'the same three voters, one of them elsewhere')

        # Without the first machine the other two are the quorum and the two copies: they must reach each other.
        cluster.kill(1, etcd=True)
        for node in (two, three):
            client = ct.Node(node.url, 30.0)
            cluster.wait(lambda c=client: c.push_image('move/app', f'by-{c.port}') is not None, 60, 'a push goes on')
            self.assertEqual(client.tag('move/app', 'v1'), (digest, False))
            for blob in blobs:
                client.blob('move/app', blob)


def served_serial(host, port):
    """Serial number of the certificate that a server shows, as openssl prints it."""
    pem = ssl.get_server_certificate((host, port), timeout=5)
    return ht.run('openssl', 'x509', '-noout', '-serial', stdin=pem).stdout.strip()


# What etcd does when it cannot reach the others at its first start: it has made a file, and ends.
FALTERING = """#!/bin/sh
case "$*" in *--version*) exec {etcd} "$@";; esac
if [ ! -e {mark} ]; then
  mkdir -p {data}/etcd/member/member/snap && : > {data}/etcd/member/member/snap/db && touch {mark}
  echo 'cannot fetch cluster info from peer urls' >&2
  exit 1
fi
exec {etcd} "$@"
"""


class FalteringCluster(ct.TestCluster):
    """The etcd of its third machine breaks off at its first start."""
    __test__ = False

    def begin(self):
        self.tool.prepare(self.count, self.extra)
        last = self.nodes[-1]
        script = last.folder / 'etcd-faltering'
        script.write_text(FALTERING.format(etcd=last.etcd_binary, mark=last.folder / 'started', data=last.data))
        script.chmod(0o755)
        last.etcd_binary = str(script)
        last.write_config()
        self.tool.up()


class FirstStart(ct.TestCase):
    def test_a_voter_whose_first_start_breaks_off_joins_the_cluster_and_founds_none(self):
        cluster = self.cluster(kind=FalteringCluster)
        self.assertIn('etcd ended as soon as it was started', cluster.nodes[-1].log.read_text(errors='replace'))
        ids = {node.etcd_call('/v3/cluster/member/list', {})['header']['cluster_id'] for node in cluster.nodes}
        self.assertEqual(len(ids), 1, 'an etcd of a cluster of its own')
        self.assertEqual(len(cluster.tool.voters()), 3)
        pusher, other = (ct.Node(cluster.urls[n], 30.0) for n in (2, 0))
        digest, _ = pusher.push_image('first/app', 'v1')
        self.assertEqual(other.tag('first/app', 'v1'), (digest, False))
        pusher.close()
        other.close()


class Certificates(ct.TestCase):
    def short_certificate(self, node):
        """A certificate of the cluster's authority for the node's own key that has an hour of its life left."""
        folder, work = node.data / 'cluster', self.folder / 'ca'
        work.mkdir()
        (work / 'index').touch()
        (work / 'serial').write_text('77\n')
        (work / 'ca.conf').write_text(f'''[ca]
default_ca = short
[short]
database = {work}/index
serial = {work}/serial
new_certs_dir = {work}
default_md = sha256
policy = any
unique_subject = no
x509_extensions = names
[any]
commonName = supplied
[names]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = serverAuth,clientAuth
subjectAltName = DNS:{node.id}.node.hansa,DNS:localhost,IP:127.0.0.1
''')
        now = datetime.datetime.now(datetime.timezone.utc)
        at = '%Y%m%d%H%M%SZ'
        ht.run('openssl', 'req', '-new', '-key', folder / 'node.key', '-subj', f'/CN={node.id}', '-out', work / 'csr')
        ht.run('openssl', 'ca', '-batch', '-config', work / 'ca.conf', '-cert', folder / 'ca.crt', '-keyfile',
               folder / 'ca.key', '-in', work / 'csr', '-out', work / 'node.crt', '-notext',
               '-startdate', (now - datetime.timedelta(days=80)).strftime(at),
               '-enddate', (now + datetime.timedelta(hours=1)).strftime(at))
        return (work / 'node.crt').read_text() + (folder / 'ca.crt').read_text()

    def test_a_certificate_that_ends_soon_is_renewed_while_pushes_and_pulls_go_on(self):
        cluster = self.cluster()
        node = cluster.nodes[1]
        file = node.data / 'cluster/node.crt'
        first = served_serial('127.0.0.1', node.ports['peer'])
        file.write_text(self.short_certificate(node))
        clients = cluster.clients(30.0)
        count = 0

        def renewed():
            nonlocal count
            count += 1
            digest, blobs = clients[count % 3].push_image('renew/app', f'v{count}')
            self.assertEqual(clients[(count + 1) % 3].tag('renew/app', f'v{count}'), (digest, False))
            clients[(count + 1) % 3].blob('renew/app', blobs[0])
            return served_serial('127.0.0.1', node.ports['peer']) not in (first, 'serial=77')
        self.assertTrue(ct.tool.wait_until(renewed, CARE_SECONDS + 30, 1.0), f'not renewed\n{cluster.log()}')
        serial = ht.run('openssl', 'x509', '-noout', '-serial', '-in', file).stdout.strip()
        self.assertEqual(served_serial('127.0.0.1', node.ports['peer']), serial)
        self.assertEqual(served_serial('127.0.0.1', node.ports['etcd']), serial)
        left = ht.run('openssl', 'x509', '-noout', '-checkend', str(80 * 24 * 3600), '-in', file, check=False)
        self.assertEqual(left.returncode, 0, 'the new certificate is good for three months')
        # Whoever connects anew is let in by the others, and lets them in.
        cluster.terminate(2)
        cluster.start(2)
        for client in cluster.clients(30.0):
            client.push_image('renew/app', f'after-{client.port}')


class AllMachinesLost(ct.TestCase):
    def test_a_scheduled_snapshot_is_restored_on_a_bare_machine_which_serves_and_is_filled_by_pushes(self):
        interval = {'cluster': {'metadata': {'managed': {'snapshotInterval': '1s'}}}}
        cluster = self.cluster(extra=interval)
        client = cluster.clients(30.0)[0]
        digest, blobs = client.push_image('lost/app', 'v1', seed=4)
        client.push_image('lost/gone', 'v1', seed=5)
        client.expect(202, 'DELETE', '/v2/lost/gone/manifests/v1')
        snapshots = cluster.nodes[0].data / 'cluster/snapshots'
        seen = set(snapshots.glob('*.snapshot'))
        fresh = []

        def two_more():  # the first of them may have begun before the push ended
            fresh[:] = sorted(set(snapshots.glob('*.snapshot.json')) - {f.with_name(f.name + '.json') for f in seen})
            return len(fresh) >= 2
        cluster.wait(two_more, 30, 'two more snapshots')
        cluster.stop()
        chosen = fresh[-1].with_suffix('')
        copy = self.folder / chosen.name
        copy.write_bytes(chosen.read_bytes())
        copy.with_name(copy.name + '.json').write_bytes(fresh[-1].read_bytes())

        again = ct.TestCluster(self.folder / 'again', nodes=1)
        self.addCleanup(again.stop)
        again.tool.prepare(1)
        again.hansa('cluster', 'restore', copy, again.nodes[0].config)
        again.tool.up(found=False)
        client = again.clients(30.0)[0]
        self.assertEqual(json.loads(client.expect(200, 'GET', '/v2/lost/app/tags/list').body)['tags'], ['v1'])
        self.assertEqual(client.tag('lost/gone', 'v1'), (None, False))
        for path in (f'blobs/{blobs[1]}', 'manifests/v1'):  # bytes that no living member has are not "unknown"
            client.expect(503, 'GET', f'/v2/lost/app/{path}')
        # The members of before count until they are given up: their disks may come back.
        first = again.nodes[0]
        for lost in [m['id'] for m in first.members() if m['id'] != first.id]:
            again.hansa('cluster', 'forget', lost, first.config)
        again.wait(lambda: client.push_image('lost/app', 'v1', seed=4)[0] == digest, 60, 'a push to the only member')
        self.assertEqual(client.tag('lost/app', 'v1'), (digest, False))
        for blob in blobs:
            client.blob('lost/app', blob)


if __name__ == '__main__':
    ct.main()
