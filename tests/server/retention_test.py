#!/usr/bin/env python3
"""Retention by zot's rules on a whole server, and the operator's side of collection: hansa gc, its dry run and its undo."""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing as ht  # noqa: E402

NAME = 'team/app'
LATER = '24h'  # no cycle but those that are asked for
KEEP_TWO = {'repositories': ['team/*'], 'keepTags': [{'patterns': ['^v'], 'mostRecentlyPushedCount': 2}, {'patterns': ['^keep']}]}


def config(**retention):
    return {'storage': {'gc': True, 'gcDelay': '1h', 'gcInterval': LATER, 'retention': {'policies': [KEEP_TWO], **retention}}}


class Retention(ht.TestCase):
    def gc(self, server, *arguments, code=0):
        ran = subprocess.run([str(ht.BINARY), 'gc', str(server.config_file), *arguments], capture_output=True, text=True,
                             timeout=60, check=False)
        self.assertEqual(ran.returncode, code, ran.stderr)
        return ran.stdout + ran.stderr

    def serving(self, tags):
        server = self.server(config=config())
        return server, {tag: server.push_image(NAME, tag, seed=seed) for seed, tag in enumerate(tags)}

    def tags(self, server):
        return json.loads(server.request('GET', f'/v2/{NAME}/tags/list').body)['tags']

    def test_a_dry_run_tells_a_run_removes_and_an_undo_puts_back(self):
        server, digests = self.serving(['v1', 'v2', 'v3', 'keep', 'dev'])
        told = self.gc(server, '--dry-run')
        self.assertIn(f'would remove tag {NAME}:v1', told)
        self.assertIn(f'would remove tag {NAME}:dev', told)
        self.assertIn('no pattern', told)
        self.assertEqual(self.tags(server), ['dev', 'keep', 'v1', 'v2', 'v3'])
        self.assertIn('retention removed 2 tags', self.gc(server))
        self.assertEqual(self.tags(server), ['keep', 'v2', 'v3'])
        self.assertIn('put back 0 manifests, 2 tags', self.gc(server, '--undo', '--repository', NAME))
        self.assertEqual(self.tags(server), ['dev', 'keep', 'v1', 'v2', 'v3'])
        self.assertEqual(ht.sha256(server.request('GET', f'/v2/{NAME}/manifests/v1').body), digests['v1'])

    def test_an_undo_outlives_a_restart(self):
        server, _ = self.serving(['v1', 'v2', 'v3'])
        self.gc(server)
        server.stop()
        server.start()
        self.assertIn('1 tags', self.gc(server, '--undo'))
        self.assertEqual(self.tags(server), ['v1', 'v2', 'v3'])

    def test_without_a_running_server_the_command_says_so(self):
        server, _ = self.serving([])
        server.stop()
        self.assertIn('no server is running', self.gc(server, code=1))


if __name__ == '__main__':
    ht.main()
