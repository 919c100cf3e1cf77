#!/usr/bin/env python3
"""Clients that know the members from `hansa mirrors` go on when the one that they ask first is away."""
import contextlib
import pathlib
import shutil
import subprocess
import sys
import tomllib
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402

NAME = 'registry.example'
CONTAINERD_SECONDS = 30  # to its first answer


@contextlib.contextmanager
def containerd(folder):
    """The address of one that keeps everything in the folder; it fetches only, so it needs no runtime."""
    address = folder / 'containerd.sock'
    config = folder / 'containerd.toml'
    config.write_text(f'''version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{address}"
[ttrpc]
address = "{folder}/ttrpc.sock"
''')
    with (folder / 'containerd.log').open('wb') as log:
        process = subprocess.Popen(['containerd', '--config', config], stdout=log, stderr=log)
        try:
            ht.run('ctr', '--address', address, '--connect-timeout', f'{CONTAINERD_SECONDS}s', 'version')
            yield address
        finally:
            process.terminate()
            process.wait()


class Mirrors(ct.SharedCluster):
    def mirrors(self, form, *words):
        return self.cluster.hansa('mirrors', form, self.cluster.nodes[0].config, '--name', NAME, *words).stdout

    def test_both_files_are_toml_that_names_every_member_once(self):
        urls = {node.url for node in self.cluster.nodes}
        hosts = tomllib.loads(self.mirrors('containerd'))
        self.assertEqual(set(hosts['host']), urls)
        self.assertIn(hosts['server'], urls)
        registry = tomllib.loads(self.mirrors('podman'))['registry'][0]
        places = [registry['location'], *(mirror['location'] for mirror in registry['mirror'])]
        self.assertEqual(sorted(places), sorted(url.removeprefix('http://') for url in urls))
        self.assertEqual(registry['prefix'], NAME)
        orders = {self.mirrors('containerd', '--client', f'worker{n}') for n in range(12)}
        self.assertGreater(len(orders), 1, 'all machines would ask the same member first')

    def test_a_client_with_the_file_pulls_while_the_first_member_is_away(self):
        skopeo = shutil.which('skopeo')
        if not skopeo:
            raise unittest.SkipTest('skopeo is not there')
        digest, _ = self.cluster.clients()[0].push_image('mirrored/app', 'v1')
        file = self.shared_folder / 'registries.conf'
        file.write_text(self.mirrors('podman'))
        target = self.folder / 'image'
        with self.away(tomllib.loads(file.read_text())['registry'][0]['mirror'][0]['location']):
            ht.run(skopeo, '--registries-conf', file, 'copy', f'docker://{NAME}/mirrored/app:v1', f'dir:{target}')
        self.assertEqual(ht.sha256((target / 'manifest.json').read_bytes()), digest)

    def test_containerd_pulls_while_the_first_member_is_away(self):
        if not shutil.which('containerd'):
            raise unittest.SkipTest('containerd is not there')
        digest, blobs = self.cluster.clients()[1].push_image('mirrored/nodes', 'v1')
        hosts = self.folder / 'hosts' / NAME
        hosts.mkdir(parents=True)
        (hosts / 'hosts.toml').write_text(self.mirrors('containerd'))
        first = next(iter(tomllib.loads((hosts / 'hosts.toml').read_text())['host']))
        with self.away(first), containerd(self.folder) as address:
            ht.run('ctr', '--address', address, 'content', 'fetch', '--hosts-dir', hosts.parent, f'{NAME}/mirrored/nodes:v1')
            stored = ht.run('ctr', '--address', address, 'content', 'ls', '--quiet').stdout.split()
        self.assertLessEqual({digest, *blobs}, set(stored))

    @contextlib.contextmanager
    def away(self, address):
        node = next(n for n in self.cluster.nodes if n.url.endswith(address))
        self.cluster.terminate(node.number)
        try:
            yield
        finally:
            self.cluster.start(node.number)

    def test_mistakes_are_clear_errors(self):
        config = self.cluster.nodes[0].config
        for words, text in [(('docker',), 'containerd or podman'), (('podman', '--name', 'a b'), 'no name of a registry')]:
            done = self.cluster.hansa('mirrors', words[0], config, *words[1:], check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(text, done.stderr)


if __name__ == '__main__':
    ct.main()
