#!/usr/bin/env python3
"""`hansa import`, and roots that already hold layouts: what zot or a client left on the disk is served, not copied."""
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

REF = 'org.opencontainers.image.ref.name'


def blob_path(layout, digest):
    return layout / 'blobs' / digest.replace(':', '/')


def store(layout, data):
    digest = ht.sha256(data)
    blob_path(layout, digest).write_bytes(data)
    return digest


def add_row(layout, media_type, body, tag=None):
    """Stores a manifest and lists it in index.json."""
    data = json.dumps(body).encode()
    store(layout, data)
    row = ht.descriptor(media_type, data)
    if tag:
        row['annotations'] = {REF: tag}
    index = json.loads((layout / 'index.json').read_text())
    index['manifests'].append(row)
    (layout / 'index.json').write_text(json.dumps(index))
    return row


def snapshot(folder):
    """Every file below with its content."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob('*')) if p.is_file()}


class Import(ht.TestCase):
    def hansa(self, *arguments, env=None):
        return subprocess.run([str(ht.BINARY), *[str(a) for a in arguments]], capture_output=True, text=True,
                              timeout=60, env=env)

    def zot_root(self, root):
        """Two nested repositories with an index, an untagged manifest, a referrer and a shared layer."""
        self.app = ht.make_layout(root / 'team/app', 'v1', seed=1)
        app = root / 'team/app'
        row = json.loads((app / 'index.json').read_text())['manifests'][0]
        again = dict(row, annotations={REF: 'latest'})
        index = json.loads((app / 'index.json').read_text())
        index['manifests'].append(again)
        (app / 'index.json').write_text(json.dumps(index))
        plain = {'mediaType': row['mediaType'], 'digest': row['digest'], 'size': row['size']}
        self.index = add_row(app, ht.OCI_INDEX, {'schemaVersion': 2, 'mediaType': ht.OCI_INDEX, 'manifests': [plain]},
                             'multi')['digest']
        empty = store(app, b'{}')
        config = {'mediaType': 'application/vnd.oci.empty.v1+json', 'digest': empty, 'size': 2}
        self.referrer = add_row(app, ht.OCI_MANIFEST, {
            'schemaVersion': 2, 'mediaType': ht.OCI_MANIFEST, 'artifactType': 'application/vnd.test.signature',
            'config': config, 'layers': [config], 'subject': plain})['digest']
        shutil.copytree(root / 'team/app', root / 'team/app/copy')
        (app / '.uploads').mkdir()
        (app / '.uploads/leftover').write_bytes(b'half')
        (root / 'cache.db').write_bytes(b'not ours')

    def check_app(self, server, repository):
        tags = json.loads(server.request('GET', f'/v2/{repository}/tags/list').body)['tags']
        self.assertEqual(tags, ['latest', 'multi', 'v1'])
        answer = server.request('GET', f'/v2/{repository}/manifests/v1')
        self.assertEqual((answer.status, ht.sha256(answer.body)), (200, self.app))
        for layer in json.loads(answer.body)['layers']:
            blob = server.request('GET', f'/v2/{repository}/blobs/{layer["digest"]}')
            self.assertEqual((blob.status, ht.sha256(blob.body)), (200, layer['digest']))
        self.assertEqual(server.request('GET', f'/v2/{repository}/manifests/{self.index}').status, 200)
        referrers = json.loads(server.request('GET', f'/v2/{repository}/referrers/{self.app}').body)
        self.assertEqual([r['digest'] for r in referrers['manifests']], [self.referrer])
        self.assertEqual(referrers['manifests'][0]['artifactType'], 'application/vnd.test.signature')

    def test_a_root_of_zot_is_taken_without_copies_and_left_as_it_was(self):
        source, root = self.folder / 'zot', self.folder / 'root'
        self.zot_root(source)
        before = snapshot(source)
        done = self.hansa('import', source, '--root', root)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn('2 repositories', done.stdout)
        self.assertEqual(snapshot(source), before)
        layer = max((source / 'team/app/blobs/sha256').iterdir(), key=lambda p: p.stat().st_size)
        taken = next(p for p in (root / 'blobs').rglob(layer.name))
        self.assertEqual(taken.stat().st_ino in {layer.stat().st_ino,
                                                (source / 'team/app/copy/blobs/sha256' / layer.name).stat().st_ino}, True)
        server = self.server(root=root)
        self.check_app(server, 'team/app')
        self.check_app(server, 'team/app/copy')
        catalog = json.loads(server.request('GET', '/v2/_catalog').body)
        self.assertEqual(catalog['repositories'], ['team/app', 'team/app/copy'])

    def test_importing_twice_changes_nothing(self):
        source, root = self.folder / 'zot', self.folder / 'root'
        self.zot_root(source)
        self.assertEqual(self.hansa('import', source, '--root', root).returncode, 0)
        again = self.hansa('import', source, '--root', root)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertIn(' 0 blobs', again.stdout)
        self.assertEqual(list((root / 'staging').iterdir()), [])

    def test_copies_are_made_when_asked_for(self):
        source, root = self.folder / 'layout', self.folder / 'root'
        self.app = ht.make_layout(source, 'v1')
        done = self.hansa('import', source, '--root', root, '--copy', '--name', 'single')
        self.assertEqual(done.returncode, 0, done.stderr)
        layer = max((source / 'blobs/sha256').iterdir(), key=lambda p: p.stat().st_size)
        self.assertEqual(layer.stat().st_nlink, 1)
        server = self.server(root=root)
        self.assertEqual(server.request('GET', '/v2/single/manifests/v1').headers['Docker-Content-Digest'], self.app)

    def test_another_file_system_is_named_with_the_way_out(self):
        other = pathlib.Path('/dev/shm')
        if not other.is_dir() or other.stat().st_dev == self.folder.stat().st_dev:
            self.skipTest('there is no other file system here')
        source = other / f'hansa-test-{os.getpid()}'
        self.addCleanup(shutil.rmtree, source, ignore_errors=True)
        ht.make_layout(source / 'app', 'v1')
        done = self.hansa('import', source, '--root', self.folder / 'root')
        self.assertEqual(done.returncode, 1)
        self.assertIn('--copy', done.stderr)
        copied = self.hansa('import', source, '--root', self.folder / 'root', '--copy')
        self.assertEqual(copied.returncode, 0, copied.stderr)

    def test_rotten_bytes_are_not_believed_and_the_rest_is_taken(self):
        source, root = self.folder / 'zot', self.folder / 'root'
        good = ht.make_layout(source / 'good', 'v1', seed=1)
        bad = ht.make_layout(source / 'bad', 'v1', seed=2)
        layer = max((source / 'bad/blobs/sha256').iterdir(), key=lambda p: p.stat().st_size)
        data = bytearray(layer.read_bytes())
        data[7] ^= 1
        layer.write_bytes(data)
        done = self.hansa('import', source, '--root', root)
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(layer), done.stderr)
        self.assertEqual(layer.read_bytes(), bytes(data))
        server = self.server(root=root)
        self.assertEqual(server.request('GET', '/v2/good/manifests/v1').headers['Docker-Content-Digest'], good)
        self.assertEqual(server.request('GET', f'/v2/bad/manifests/{bad}').status, 404)
        self.assertEqual(list((root / 'staging').iterdir()), [])

    def test_broken_layouts_are_named(self):
        source = self.folder / 'zot'
        for name, text in {'one': '{', 'two': '[]', 'three': '{"manifests":[{"digest":"sha256:12"}]}',
                           'four': '{"manifests":[5]}'}.items():
            (source / name).mkdir(parents=True)
            (source / name / 'oci-layout').write_text('{"imageLayoutVersion":"1.0.0"}')
            (source / name / 'index.json').write_text(text)
        ht.make_layout(source / 'Upper', 'v1')
        done = self.hansa('import', source, '--root', self.folder / 'root')
        self.assertEqual(done.returncode, 1)
        for name in ('one', 'two', 'three', 'four', 'Upper'):
            self.assertIn(str(source / name), done.stderr)

    def test_a_fresh_repository_of_zot_without_manifests_is_fine(self):
        source = self.folder / 'zot/empty'
        source.mkdir(parents=True)
        (source / 'oci-layout').write_text('{"imageLayoutVersion":"1.0.0"}')
        (source / 'index.json').write_text('{"schemaVersion":2,"manifests":null}')
        done = self.hansa('import', self.folder / 'zot', '--root', self.folder / 'root')
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_retention_by_count_keeps_the_tags_that_were_pushed_last(self):
        root = self.folder / 'root'
        layout = root / 'team/app'
        ht.make_layout(layout, 'v0', seed=0)
        body = json.loads((blob_path(layout, json.loads((layout / 'index.json').read_text())['manifests'][0]['digest'])).read_text())
        for n in range(1, 10):
            row = add_row(layout, ht.OCI_MANIFEST, dict(body, annotations={'n': str(n)}), f'v{n}')
            os.utime(blob_path(layout, row['digest']), (1_700_000_000 + n, 1_700_000_000 + n))
        first = json.loads((layout / 'index.json').read_text())['manifests'][0]['digest']
        os.utime(blob_path(layout, first), (1_700_000_000, 1_700_000_000))
        keep = {'repositories': ['**'], 'keepTags': [{'patterns': ['v.*'], 'mostRecentlyPushedCount': 2}]}
        server = self.server(root=root, config={'storage': {'gcDelay': '4s', 'gcInterval': '1s', 'retention': {'delay': '4s', 'policies': [keep]}}})
        tags = lambda: json.loads(server.request('GET', '/v2/team/app/tags/list').body)['tags']
        ht.wait_for(lambda: len(tags()) == 2, 60, 'retention keeps two tags')
        self.assertEqual(tags(), ['v8', 'v9'])

    def test_nothing_to_import_is_said(self):
        (self.folder / 'nothing').mkdir()
        for source in (self.folder / 'nothing', self.folder / 'absent'):
            done = self.hansa('import', source, '--root', self.folder / 'root')
            self.assertEqual(done.returncode, 1)
            self.assertIn(str(source), done.stderr)

    def test_a_running_server_is_in_the_way_and_named(self):
        server = self.server()
        ht.make_layout(self.folder / 'layout', 'v1')
        done = self.hansa('import', self.folder / 'layout', server.config_file)
        self.assertEqual(done.returncode, 1)
        self.assertIn('stop the server', done.stderr)

    def test_a_server_started_on_a_root_of_zot_serves_it_and_deletes_stay_deleted(self):
        root = self.folder / 'zot'
        self.zot_root(root)
        before = snapshot(root)
        server = self.server(root=root)
        self.check_app(server, 'team/app')
        self.assertEqual({k: v for k, v in snapshot(root).items() if k in before}, before)
        self.assertEqual(server.request('DELETE', '/v2/team/app/manifests/latest').status, 202)
        server.stop()
        server.start()
        tags = json.loads(server.request('GET', '/v2/team/app/tags/list').body)['tags']
        self.assertEqual(tags, ['multi', 'v1'])


if __name__ == '__main__':
    ht.main()
