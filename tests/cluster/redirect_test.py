#!/usr/bin/env python3
"""Blobs by redirect: clients that know one node get the layers of an image from all, with tickets instead of credentials."""
import base64
import gzip
import hashlib
import hmac
import io
import json
import os
import pathlib
import random
import shutil
import socket
import sys
import tarfile
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402

MIB = 1024 * 1024
USER, PASSWORD = 'alice', 'secret'


class NamedCluster(ct.TestCluster):
    def begin(self):
        self.tool.prepare(self.count, self.extra, ct.NamedNode)
        self.tool.up()

    def push(self, repository, layers, headers=None):
        """An image of random layers through the first node, once every member's mark says that it holds it."""
        client = ct.Node(self.urls[0], 30.0)
        source = random.Random(repository)
        plain = [archive_of(f'layer{number}', source.randbytes(size)) for number, size in enumerate(layers)]
        config = json.dumps({'architecture': 'amd64', 'os': 'linux', 'seed': repository, 'config': {'Cmd': ['/bin/true']},
                             'rootfs': {'type': 'layers', 'diff_ids': [ht.sha256(layer) for layer in plain]}}).encode()
        blobs = [gzip.compress(layer, compresslevel=1, mtime=0) for layer in plain]
        for blob in [config, *blobs]:
            client.expect(201, 'POST', f'/v2/{repository}/blobs/uploads/?digest={ht.sha256(blob)}', blob,
                          {'Content-Type': 'application/octet-stream', **(headers or {})})
        body = json.dumps(ct.manifest_of(config, blobs)).encode()
        client.expect(201, 'PUT', f'/v2/{repository}/manifests/v1', body, {'Content-Type': ht.OCI_MANIFEST, **(headers or {})})
        path = f'/v2/{repository}/blobs/{ht.sha256(blobs[0])}'
        asked = [ct.Node(url, 30.0) for url in self.urls]
        # Each member sends clients to both others once it knows that they hold the layer.
        for node in asked:
            seen = set()

            def all_hold(node=node, seen=seen):
                answer = node.request('GET', path, None, {'Range': f'bytes=0-{MIB - 1}', **(headers or {})})
                seen.add(answer.headers.get('Location', '').split('/v2/')[0])
                return len(seen) == len(self.nodes)
            self.wait(all_hold, 60, 'clients are sent to every member')
        return blobs


def archive_of(name, data):
    """A tar of one file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w') as archive:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(data), 0o644
        archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def installed(commands):
    """Of clients with their arguments those that are on this machine, with their programs."""
    for name, words in commands.items():
        pinned = ht.CLIENTS / name
        program = str(pinned) if pinned.exists() else shutil.which(name)
        if program:
            yield name, program, words


def credentials():
    return {'Authorization': 'Basic ' + base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}


class Redirects(ct.TestCase):
    def test_layers_come_from_all_nodes_also_for_unmodified_clients(self):
        cluster = self.cluster(kind=NamedCluster)
        blobs = cluster.push('team/app', [2 * MIB] * 6)
        entry = ct.Node(cluster.urls[0], 30.0)
        by_name = {f'http://localhost:{node.ports["http"]}': ct.Node(node.url, 30.0) for node in cluster.nodes}

        def spread():
            chosen = {name: 0 for name in by_name}
            for blob in blobs * 5:
                answer = entry.expect((200, 307), 'GET', f'/v2/team/app/blobs/{ht.sha256(blob)}')
                name, _, path = answer.headers.get('Location', '').partition('/v2/')
                chosen[name or f'http://localhost:{cluster.nodes[0].ports["http"]}'] += 1
                if name:
                    answer = by_name[name].expect(200, 'GET', '/v2/' + path)
                self.assertEqual(answer.body, blob)
            return min(chosen.values()) >= 7
        # What the first node sent while it was the only one to hold the layers counts for some seconds.
        cluster.wait(spread, 60, 'each node sends at least 7 of 30 layers')
        self.clients(cluster, blobs)
        # Nobody is sent to one that died for longer than its last sign of life counts.
        cluster.kill(3)
        dead = f'http://localhost:{cluster.nodes[2].ports["http"]}'

        def spared():
            for blob in blobs * 4:
                answer = entry.expect((200, 307), 'GET', f'/v2/team/app/blobs/{ht.sha256(blob)}')
                name, _, path = answer.headers.get('Location', '').partition('/v2/')
                if name == dead:
                    return False
                if name:
                    answer = by_name[name].expect(200, 'GET', '/v2/' + path)
                self.assertEqual(answer.body, blob)
            return True
        cluster.wait(spared, 5, 'nobody is sent to the dead any more')

    def clients(self, cluster, blobs):
        """Each pulls the image through the one address that it knows, and gets parts of it from the others."""
        home = pathlib.Path(tempfile.mkdtemp(prefix='home-', dir=self.folder))
        env = dict(os.environ, HOME=str(home), XDG_RUNTIME_DIR=str(home), REGISTRY_AUTH_FILE=str(home / 'auth.json'),
                   DOCKER_CONFIG=str(home / '.docker'), XDG_DATA_HOME=str(home / '.local'), TMPDIR=str(home))
        (home / 'auth.json').write_text('{}')
        image = f'localhost:{cluster.nodes[0].ports["http"]}/team/app:v1'
        entry = ct.Node(cluster.urls[0], 30.0)
        commands = {
            'skopeo': ['copy', '--insecure-policy', '--src-tls-verify=false', f'docker://{image}', f'dir:{home}/skopeo'],
            'podman': ['--storage-driver', 'vfs', '--root', f'{home}/graph', '--runroot', f'{home}/run', 'pull', '-q',
                       '--tls-verify=false', image],
            'crane': ['pull', '--insecure', '--format', 'oci', image, f'{home}/crane'],
            'oras': ['copy', '--from-plain-http', '--to-oci-layout', image, f'{home}/oras:v1'],
        }
        ran = 0
        for name, program, words in installed(commands):
            before = entry.metrics()['hansa_redirects']
            ht.run(program, *words, env=env)
            self.assertGreater(entry.metrics()['hansa_redirects'], before, name)
            ran += 1
        self.assertGreaterEqual(ran, 1, 'no client is installed')
        for blob in blobs:
            hexadecimal = ht.sha256(blob).split(':')[1]
            files = [path for path in home.rglob(hexadecimal) if path.is_file()]
            self.assertTrue(files)
            for file in files:
                self.assertEqual(ht.sha256(file.read_bytes()).split(':')[1], hexadecimal)

    def test_a_ticket_opens_one_private_blob_and_nothing_else(self):
        ht.htpasswd(self.folder / 'htpasswd', {USER: PASSWORD})
        every = {'users': [USER], 'actions': ['read', 'create', 'update', 'delete']}
        cluster = self.cluster(kind=NamedCluster, extra={'http': {
            'auth': {'htpasswd': {'path': str(self.folder / 'htpasswd')}},
            'accessControl': {'repositories': {'team/**': {'policies': [every]}, 'open': {'anonymousPolicy': ['read']}}}}})
        first, second = cluster.push('team/secret', [2 * MIB] * 2, credentials())
        cluster.push('team/other', [2 * MIB], credentials())
        entry = ct.Node(cluster.urls[0], 30.0)
        by_name = {f'http://localhost:{node.ports["http"]}': ct.Node(node.url, 30.0) for node in cluster.nodes}

        def sent():
            for _ in range(50):
                answer = entry.request('GET', f'/v2/team/secret/blobs/{ht.sha256(first)}', None, credentials())
                if answer.status == 307:
                    name, path = answer.headers['Location'].split('/v2/')
                    return by_name[name], '/v2/' + path
            raise AssertionError('nobody is sent anywhere')
        node, path = sent()
        self.assertEqual(node.expect(200, 'GET', path).body, first)
        self.assertEqual(node.expect(200, 'GET', path, None, {'Authorization': 'Bearer nonsense'}).body, first)
        part = node.expect(206, 'GET', path, None, {'Range': 'bytes=10-19'})
        self.assertEqual(part.body, first[10:20])
        # Not for another digest, repository or method; and nobody is asked for a password that would not help.
        for wrong in (path.replace(ht.sha256(first), ht.sha256(second)), path.replace('team/secret', 'team/other'),
                      path[:-1] + ('0' if path[-1] != '0' else '1')):
            self.assertNotIn('WWW-Authenticate', node.expect(403, 'GET', wrong).headers)
        node.expect(401, 'GET', path.split('?')[0])
        node.expect(401, 'DELETE', path)
        node.expect(401, 'GET', f'/v2/team/secret/manifests/v1?{path.split("?")[1]}')
        # It stands for credentials and not for existence.
        manifest = entry.expect(200, 'GET', '/v2/team/secret/manifests/v1', None,
                                {'Accept': ht.OCI_MANIFEST, **credentials()})
        digest = manifest.headers['Docker-Content-Digest']
        entry.expect(202, 'DELETE', f'/v2/team/secret/manifests/{digest}', None, credentials())
        entry.expect(202, 'DELETE', f'/v2/team/secret/blobs/{ht.sha256(first)}', None, credentials())
        node.expect(404, 'GET', path)


class Recorder(threading.Thread):
    """Stands between clients and a node's HTTP port: passes everything on and keeps the heads of requests."""

    def __init__(self, port, target):
        super().__init__(daemon=True)
        self.target, self.heads, self.listener = target, [], socket.create_server(('127.0.0.1', port))

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.pass_on, args=(client,), daemon=True).start()

    def pass_on(self, client):
        """One request a connection: the answer is made to close it."""
        with client, socket.create_connection(('127.0.0.1', self.target)) as node:
            head = b''
            while b'\r\n\r\n' not in head:
                got = client.recv(65536)
                if not got:
                    return
                head += got
            self.heads.append(head.decode(errors='replace'))
            node.sendall(head.replace(b'\r\n\r\n', b'\r\nConnection: close\r\n\r\n', 1))
            while got := node.recv(65536):
                client.sendall(got)

    def close(self):
        self.listener.close()


class BehindRecorders(ct.tool.Node):
    """Clients are sent to its recorder, by a name; who knows the node itself names it by its address."""

    def write_config(self):
        self.recorder_port = ct.tool.free_ports(1)[0]
        self.extra = json.loads(json.dumps(self.extra))
        ct.tool.merge(self.extra, {'cluster': {'node': {'url': f'http://localhost:{self.recorder_port}'}}})
        super().write_config()


class RecordedCluster(NamedCluster):
    def begin(self):
        self.tool.prepare(self.count, self.extra, BehindRecorders)
        self.recorders = [Recorder(node.recorder_port, node.ports['http']) for node in self.nodes]
        for recorder in self.recorders:
            recorder.start()
        self.tool.up()

    def stop(self):
        for recorder in self.recorders:
            recorder.close()
        super().stop()


class PrivateCluster(RecordedCluster):
    """Two users with repositories of their own, and one that everybody may read."""

    def __init__(self, folder):
        every, file = ['read', 'create', 'update', 'delete'], folder.parent / 'htpasswd'
        ht.htpasswd(file, {USER: PASSWORD, 'bob': 'word'})
        super().__init__(folder, extra={'http': {
            'auth': {'htpasswd': {'path': str(file)}},
            'accessControl': {'repositories': {
                'team/**': {'policies': [{'users': [USER], 'actions': every}]},
                'bobs/**': {'policies': [{'users': ['bob'], 'actions': every}]},
                'open/**': {'anonymousPolicy': ['read'], 'policies': [{'users': ['bob'], 'actions': every}]}}}}})


class Private(ct.SharedCluster):
    """What one has the other cannot get, whatever he knows and whomever he asks."""
    kind = PrivateCluster

    def test_a_private_blob_cannot_be_had_by_knowing_its_digest(self):
        cluster = self.cluster
        secret, = cluster.push('team/secret', [2 * MIB], credentials())
        digest, bob = ht.sha256(secret), {'Authorization': 'Basic ' + base64.b64encode(b'bob:word').decode()}
        client = ct.Node(cluster.urls[0], 30.0)
        client.expect(201, 'POST', f'/v2/open/app/blobs/uploads/?digest={ht.sha256(b"known")}', b'known', bob)
        for node in cluster.clients(30.0):
            for method in ('GET', 'HEAD'):
                node.expect(401, method, f'/v2/team/secret/blobs/{digest}')
                node.expect(403, method, f'/v2/team/secret/blobs/{digest}', None, bob)
                node.expect(404, method, f'/v2/open/app/blobs/{digest}')  # where anybody may read
                node.expect(404, method, f'/v2/open/app/blobs/{digest}', None, bob)
                node.expect((401, 404), method, f'/v2/bobs/app/blobs/{digest}')
            # Not by a mount, with or without the name of where it is: the bytes are asked for.
            for source in ('&from=team/secret', ''):
                node.expect(202, 'POST', f'/v2/bobs/app/blobs/uploads/?mount={digest}{source}', None, bob)
            # Nor by a manifest that names it.
            manifest = {'schemaVersion': 2, 'mediaType': ht.OCI_MANIFEST, 'config': ht.descriptor(ht.OCI_CONFIG, b'known'),
                        'layers': [ht.descriptor(ht.OCI_LAYER, secret)]}
            node.expect((400, 404), 'PUT', '/v2/open/app/manifests/v1', json.dumps(manifest).encode(),
                        {'Content-Type': ht.OCI_MANIFEST, **bob})
            node.expect(404, 'GET', f'/v2/bobs/app/blobs/{digest}', None, bob)

    def test_a_ticket_that_has_expired_opens_nothing(self):
        cluster = self.cluster
        secret, = cluster.push('team/timed', [2 * MIB], credentials())
        digest, now = ht.sha256(secret), int(time.time())
        key = json.loads((cluster.nodes[0].data / 'cluster/cluster.json').read_text())['secret']
        for node in cluster.clients(30.0):
            ask = lambda status, until, n=node: n.expect(  # noqa: E731
                status, 'GET', f'/v2/team/timed/blobs/{digest}?ticket={ticket(key, "team/timed", digest, until)}')
            self.assertEqual(ask(200, now + 60).body, secret)
            self.assertIn(b'expired', ask(403, now - 1).body)
            ask(403, now + 3600)  # of a clock that is far ahead
        forged = ticket('0' * len(key), 'team/timed', digest, now + 60)
        node.expect(403, 'GET', f'/v2/team/timed/blobs/{digest}?ticket={forged}')

    def test_unmodified_clients_send_no_credentials_to_where_they_are_sent(self):
        cluster = self.cluster
        cluster.push('team/app', [2 * MIB] * 6, credentials())
        image = f'127.0.0.1:{cluster.nodes[0].ports["http"]}/team/app:v1'  # another host than where clients are sent
        home = pathlib.Path(tempfile.mkdtemp(prefix='home-', dir=self.folder))
        env = dict(os.environ, HOME=str(home), XDG_RUNTIME_DIR=str(home), REGISTRY_AUTH_FILE=str(home / 'auth.json'),
                   DOCKER_CONFIG=str(home / '.docker'), XDG_DATA_HOME=str(home / '.local'), TMPDIR=str(home))
        auth = json.dumps({'auths': {image.split('/')[0]: {'auth': base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}}})
        (home / 'auth.json').write_text(auth)
        (home / '.docker').mkdir()
        (home / '.docker/config.json').write_text(auth)
        commands = {
            'skopeo': ['copy', '--insecure-policy', '--src-tls-verify=false', f'docker://{image}', 'dir:OUT'],
            'crane': ['pull', '--insecure', '--format', 'oci', image, 'OUT'],
            'oras': ['copy', '--from-plain-http', '--to-oci-layout', image, 'OUT:v1'],
        }
        ran = 0
        for name, program, words in installed(commands):
            for recorder in cluster.recorders:
                recorder.heads.clear()
            heads = []

            def sent_elsewhere(name=name, words=words, program=program, heads=heads):
                # Where the others are busy, the first node sends it all itself.
                out = tempfile.mkdtemp(prefix=f'{name}-', dir=home)
                ht.run(program, *[word.replace('OUT', f'{out}/image') for word in words], env=env)
                heads[:] = [head for recorder in cluster.recorders for head in recorder.heads]
                return heads
            cluster.wait(sent_elsewhere, 60, f'{name} is sent to another node')
            for head in heads:
                self.assertNotIn('authorization:', head.lower(), name)
                self.assertIn('?ticket=', head.split('\r\n')[0], name)
            ran += 1
        self.assertGreaterEqual(ran, 1, 'no client is installed')


def ticket(key, repository, digest, until):
    """As a member gives it (src/registry/ticket.h)."""
    expiry = f'{until:x}'
    mac = hmac.new(key.encode(), f'hansa ticket\n{repository}\n{digest}\n{expiry}'.encode(), hashlib.sha256).hexdigest()
    return f'{expiry}.{mac}'


if __name__ == '__main__':
    ct.main()
