#!/usr/bin/env python3
"""Blobs by redirect: clients that know one node get the layers of an image from all, with tickets instead of credentials."""
import base64
import gzip
import io
import json
import os
import pathlib
import random
import shutil
import sys
import tarfile
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402

MIB = 1024 * 1024
USER, PASSWORD = 'alice', 'secret'


class NamedNode(ct.tool.Node):
    """A node that clients know by a name: clients refuse redirects to loopback addresses written as numbers."""

    def write_config(self):
        node = {'cluster': {'node': {'url': f'http://localhost:{self.ports["http"]}'}}}
        self.extra = json.loads(json.dumps(self.extra))
        ct.tool.merge(self.extra, node)
        super().write_config()


class NamedCluster(ct.TestCluster):
    def begin(self):
        self.tool.prepare(self.count, self.extra, NamedNode)
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
        for name, words in commands.items():
            pinned = ht.CLIENTS / name
            program = str(pinned) if pinned.exists() else shutil.which(name)
            if not program:
                continue
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


if __name__ == '__main__':
    ct.main()
