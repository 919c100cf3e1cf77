#!/usr/bin/env python3
"""Clients that know the members from `hansa mirrors` go on when the one that they ask first is away."""
import pathlib
import shutil
import sys
import tomllib
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402

NAME = 'registry.example'


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
        asked_first = tomllib.loads(file.read_text())['registry'][0]['mirror'][0]['location']
        away = next(n for n in self.cluster.nodes if n.url.endswith(asked_first))
        target = self.folder / 'image'
        self.cluster.terminate(away.number)
        try:
            ht.run(skopeo, '--registries-conf', file, 'copy', f'docker://{NAME}/mirrored/app:v1', f'dir:{target}')
        finally:
            self.cluster.start(away.number)
        self.assertEqual(ht.sha256((target / 'manifest.json').read_bytes()), digest)

    def test_mistakes_are_clear_errors(self):
        config = self.cluster.nodes[0].config
        for words, text in [(('docker',), 'containerd or podman'), (('podman', '--name', 'a b'), 'no name of a registry')]:
            done = self.cluster.hansa('mirrors', words[0], config, *words[1:], check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(text, done.stderr)


if __name__ == '__main__':
    ct.main()
