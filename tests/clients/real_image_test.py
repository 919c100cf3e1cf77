#!/usr/bin/env python3
"""A real image of a few hundred MB goes through once: a Debian tree made by debootstrap where that is to be had
(./dev test --full), else one of the same size made of random files. Pushed and pulled by skopeo, compared by digest."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing as ht  # noqa: E402


class RealImage(ht.TestCase):
    def make_tree(self):
        tree = self.folder / 'tree'
        if os.environ.get('HANSA_FULL') and shutil.which('debootstrap') and os.geteuid() == 0:
            done = subprocess.run(['debootstrap', '--variant=minbase', 'bookworm', str(tree)], capture_output=True)
            if done.returncode == 0:
                return tree
        tree.mkdir(exist_ok=True)
        for number in range(300):
            (tree / f'file{number}').write_bytes(os.urandom(1024 * 1024))
        return tree

    def test_a_few_hundred_megabytes_go_there_and_back(self):
        if not shutil.which('skopeo') or not shutil.which('umoci'):
            self.skipTest('skopeo and umoci are needed')
        tree, layout = self.make_tree(), self.folder / 'layout'
        ht.run('umoci', 'init', '--layout', layout)
        ht.run('umoci', 'new', '--image', f'{layout}:v1')
        ht.run('umoci', 'insert', '--image', f'{layout}:v1', tree, '/')
        server = self.server()
        name = f'docker://{server.name}/real/debian:v1'
        ht.run('skopeo', 'copy', '--insecure-policy', '--dest-tls-verify=false', f'oci:{layout}:v1', name)
        ht.run('skopeo', 'copy', '--insecure-policy', '--src-tls-verify=false', name, f'oci:{self.folder}/back:v1')
        sent = json.loads((layout / 'index.json').read_text())['manifests'][0]['digest']
        back = json.loads((self.folder / 'back/index.json').read_text())['manifests'][0]['digest']
        self.assertEqual(sent, back)
        total = 0
        for blob in (self.folder / 'back/blobs/sha256').iterdir():
            data = blob.read_bytes()
            total += len(data)
            self.assertEqual(hashlib.sha256(data).hexdigest(), blob.name)
        self.assertGreater(total, 50 * 1024 * 1024)


if __name__ == '__main__':
    ht.main()
