#!/usr/bin/env python3
"""What went wrong in other registries with content, tried here: digests, manifests, repositories, uploads, imports.

One test per advisory; docs/advisories.md lists all of them with the tests that stand elsewhere.
"""
import json
import os
import pathlib
import random
import resource
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing as ht  # noqa: E402

DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json'
FOREIGN_LAYER = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'


def image_of(config, layers, **more):
    return {'schemaVersion': 2, 'mediaType': ht.OCI_MANIFEST, 'config': config, 'layers': layers, **more}


class Content(ht.TestCase):
    """Alice's repository is hidden from bob, who owns another; carol may only create in a third."""

    def setUp(self):
        super().setUp()
        policies = {'secret/**': {'policies': [{'users': ['alice'], 'actions': ht.ALL_ACTIONS}]},
                    'bob/**': {'policies': [{'users': ['bob'], 'actions': ht.ALL_ACTIONS}]},
                    'drop/**': {'policies': [{'users': ['carol'], 'actions': ['read', 'create']},
                                             {'users': ['alice'], 'actions': ht.ALL_ACTIONS}]}}
        self.target = self.server(users={name: name for name in ('alice', 'bob', 'carol')}, config={
            'log': {'level': 'warn'}, 'storage': {'gc': False},
            'http': {'accessControl': {'repositories': {'**': {'policies': []}, **policies}}}})
        self.secret = self.target.push_image('secret/app', 'v1', user='alice')
        self.body = self.ask('alice', 'GET', '/v2/secret/app/manifests/v1').body
        self.layer = json.loads(self.body)['layers'][0]
        self.config = ht.descriptor(ht.OCI_CONFIG, b'{}')
        self.target.push_blob('bob/app', b'{}', 'bob')

    def ask(self, user, method, path, body=None, headers=None):
        return self.target.request(method, path, body, headers, user)

    def push(self, user, path, manifest, media_type=ht.OCI_MANIFEST):
        body = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        return self.ask(user, 'PUT', path, body, {'Content-Type': media_type})

    def cpu_seconds(self):
        """What the server has computed so far, whatever else keeps this machine busy."""
        text = pathlib.Path(f'/proc/{self.target.process.pid}/stat').read_text()
        fields = text.rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def assert_hidden(self, digest):
        """Bob has no way to the bytes through his own repository."""
        for method, kind in (('GET', 'blobs'), ('HEAD', 'blobs'), ('GET', 'manifests'), ('HEAD', 'manifests')):
            for fields in ({}, {'Range': 'bytes=0-3'}, {'If-None-Match': f'"{digest}"'}):
                answer = self.ask('bob', method, f'/v2/bob/app/{kind}/{digest}', None, fields)
                self.assertEqual(answer.status, 404, f'{method} {kind} {fields}')

    # ---- what a digest opens ---------------------------------------------------------------------------------------

    def test_cve_2024_39897_to_know_a_digest_is_not_to_have_the_blob(self):
        """Neither reading, nor a mount, nor an empty upload, nor a manifest that names it opens another's blob."""
        digest = self.layer['digest']
        self.assert_hidden(digest)
        for query in (f'mount={digest}&from=secret/app', f'mount={digest}', f'mount={self.secret}&from=secret/app'):
            answer = self.ask('bob', 'POST', f'/v2/bob/app/blobs/uploads/?{query}')
            self.assertEqual(answer.status, 202, query)  # as if it were nowhere: upload it
            done = self.ask('bob', 'PUT', f'{answer.headers["Location"]}?digest={digest}', b'', ht.OCTETS)
            self.assertEqual(done.status, 400, query)
        whole = self.ask('bob', 'POST', f'/v2/bob/app/blobs/uploads/?digest={digest}', b'', ht.OCTETS)
        self.assertEqual(whole.status, 400)
        taken = self.push('bob', '/v2/bob/app/manifests/v1', image_of(self.config, [self.layer]))
        self.assertIn(taken.status, (400, 404))
        taken = self.push('bob', '/v2/bob/app/manifests/v1', image_of({**self.layer, 'mediaType': ht.OCI_CONFIG}, []))
        self.assertIn(taken.status, (400, 404))
        self.assert_hidden(digest)
        self.assertEqual(self.ask('alice', 'GET', f'/v2/secret/app/blobs/{digest}').status, 200)

    def test_gitea_cve_2026_28740_naming_what_need_not_be_held_gives_no_access(self):
        """Foreign layers and subjects may be named without being there; that must not make another's content ours."""
        digest = self.layer['digest']
        child = {'mediaType': ht.OCI_MANIFEST, 'digest': self.secret, 'size': len(self.body)}
        foreign = {**self.layer, 'mediaType': FOREIGN_LAYER}
        for tag, image in (('f', image_of(self.config, [foreign])), ('s', image_of(self.config, [], subject=child))):
            self.assertEqual(self.push('bob', f'/v2/bob/app/manifests/{tag}', image).status, 201)
        index = {'schemaVersion': 2, 'mediaType': ht.OCI_INDEX, 'manifests': [child]}
        self.assertIn(self.push('bob', '/v2/bob/app/manifests/i', index, ht.OCI_INDEX).status, (400, 404))
        self.assert_hidden(digest)
        self.assert_hidden(self.secret)
        # Nor does it show up where it is from.
        listed = json.loads(self.ask('alice', 'GET', f'/v2/secret/app/referrers/{self.secret}').body)
        self.assertEqual(listed['manifests'], [])

    def test_cve_2022_31669_an_object_of_another_repository_is_not_found_under_ones_own(self):
        """Harbor took an object's number and looked only at the project in the URL; here bob's rights end at bob's."""
        digest = self.layer['digest']
        for path in (f'manifests/{self.secret}', f'blobs/{digest}', 'manifests/v1'):
            self.assertEqual(self.ask('bob', 'DELETE', f'/v2/bob/app/{path}').status, 404, path)
        link = {'mediaType': ht.OCI_MANIFEST, 'digest': self.secret, 'size': len(self.body)}
        referrer = image_of(self.layer, [], subject=link)
        self.assertEqual(self.push('alice', '/v2/secret/app/manifests/note', referrer).status, 201)
        for user, name, count in (('alice', 'secret/app', 1), ('bob', 'bob/app', 0)):
            listed = json.loads(self.ask(user, 'GET', f'/v2/{name}/referrers/{self.secret}').body)
            self.assertEqual(len(listed['manifests']), count, name)
        self.assertEqual(self.push('bob', f'/v2/bob/app/manifests/{self.secret}', b'{}').status, 400)
        self.assertEqual(self.ask('alice', 'GET', '/v2/secret/app/manifests/v1').body, self.body)
        self.assertEqual(self.ask('alice', 'GET', f'/v2/secret/app/blobs/{digest}').status, 200)

    def test_cve_2026_35172_a_deleted_blob_does_not_come_back_by_another_repository(self):
        """It is gone from where it was deleted, however lively it is elsewhere, also after a restart."""
        data = random.Random(5).randbytes(5000)
        digest = self.target.push_blob('secret/a', data, 'alice')
        mounted = self.ask('alice', 'POST', f'/v2/secret/b/blobs/uploads/?mount={digest}&from=secret/a')
        self.assertEqual(mounted.status, 201)
        self.assertEqual(self.ask('alice', 'DELETE', f'/v2/secret/a/blobs/{digest}').status, 202)
        for restart in (False, True):
            if restart:
                self.target.stop()
                self.target.start()
            self.assertEqual(self.ask('alice', 'HEAD', f'/v2/secret/b/blobs/{digest}').status, 200)
            self.assertEqual(self.ask('alice', 'GET', f'/v2/secret/b/blobs/{digest}').body, data)
            self.target.push_blob('secret/c', data, 'alice')
            for method in ('GET', 'HEAD', 'DELETE'):
                self.assertEqual(self.ask('alice', method, f'/v2/secret/a/blobs/{digest}').status, 404, method)

    def test_ghsa_qv35_3gw6_8q4j_what_is_named_by_digest_is_those_bytes_and_no_others(self):
        """No Accept field, tag parameter or range makes the answer to a digest other bytes than the digest's."""
        other = self.target.push_image('secret/app', 'v2', seed=2, user='alice')
        for accept in ('*/*', DOCKER_MANIFEST, ht.OCI_INDEX, 'text/html', 'application/json;q=0.1', 'nonsense', ''):
            for query in ('', '?tag=v2', '?digest=sha256:' + '0' * 64, f'?digest={other}', '?ns=docker.io'):
                path = f'/v2/secret/app/manifests/{self.secret}{query}'
                answer = self.ask('alice', 'GET', path, None, {'Accept': accept})
                self.assertEqual((answer.status, answer.body), (200, self.body), accept + query)
                self.assertEqual(answer.headers['Docker-Content-Digest'], self.secret)
                self.assertEqual(answer.headers['Content-Type'], ht.OCI_MANIFEST)

    # ---- what a manifest is ----------------------------------------------------------------------------------------

    def test_cve_2021_41190_a_body_has_one_reading(self):
        """An image is never taken for an index, nor the other way, whatever Content-Type it is pushed or asked with."""
        child = {'mediaType': ht.OCI_MANIFEST, 'digest': self.secret, 'size': len(self.body)}
        image = {'schemaVersion': 2, 'config': self.layer, 'layers': []}
        index = {'schemaVersion': 2, 'manifests': [child]}
        both = {**image, 'manifests': []}
        types = {ht.OCI_MANIFEST: 'image', DOCKER_MANIFEST: 'image', ht.OCI_INDEX: 'index', DOCKER_LIST: 'index'}
        for kind, body in (('image', image), ('index', index), ('both', both)):
            for sent, means in types.items():
                for said in (None, *types):
                    text = {**body, 'mediaType': said} if said else body
                    answer = self.push('alice', '/v2/secret/app/manifests/try', text, sent)
                    right = kind == means and said in (None, sent)
                    self.assertEqual(answer.status, 201 if right else 400, (kind, sent, said, answer.body))
                    if right:
                        got = self.ask('alice', 'GET', '/v2/secret/app/manifests/try', None, {'Accept': '*/*'})
                        self.assertEqual(types[got.headers['Content-Type']], kind)

    def test_gitea_cve_2026_56755_a_large_manifest_is_read_in_linear_time(self):
        """Tens of thousands of different keys and of layers cost time in proportion, and the image comes back."""
        def keys(count):
            return image_of(self.layer, [], annotations={f'key{n}': 'value' * (450_000 // count) for n in range(count)})

        def foreign(count):
            return image_of(self.layer, [ht.descriptor(FOREIGN_LAYER, str(n).encode()) for n in range(count)])
        images = {'keys': (keys, 45_000), 'foreign': (foreign, 9_000),
                  'layers': (lambda count: image_of(self.layer, [self.layer] * count), 9_000)}
        for name, (make, most) in images.items():
            spent = []
            for count in (most // 4, most):
                body = json.dumps(make(count), separators=(',', ':')).encode()
                before = self.cpu_seconds()
                answer = self.push('alice', f'/v2/secret/app/manifests/{name}', body)
                spent.append(self.cpu_seconds() - before)
                self.assertEqual(answer.status, 201, answer.body[:300])
                self.assertEqual(self.ask('alice', 'GET', f'/v2/secret/app/manifests/{name}').body, body)
            self.assertGreater(len(body), 1_000_000)
            # Linear work is four times as much at most, quadratic work sixteen times; the rest is for slow clocks.
            self.assertLess(spent[1], 8 * spent[0] + 0.3, f'{name}: {spent}')

    def test_cve_2026_10517_addresses_in_a_manifest_are_never_asked(self):
        """Layers with "urls" of the sender's choice are kept as text: nobody connects, and nobody is sent there."""
        with socket.create_server(('127.0.0.1', 0)) as trap:
            trap.settimeout(1)  # a fetch would come behind the answers
            url = f'http://127.0.0.1:{trap.getsockname()[1]}/layer'
            absent = {**ht.descriptor(FOREIGN_LAYER, b'not here'), 'urls': [url]}
            present = {**self.layer, 'urls': [url]}
            manifest = image_of({**self.layer, 'urls': [url]}, [absent, present])
            self.assertEqual(self.push('alice', '/v2/secret/app/manifests/f', manifest).status, 201)
            answer = self.ask('alice', 'GET', f'/v2/secret/app/blobs/{absent["digest"]}')
            self.assertEqual((answer.status, answer.headers['Location']), (404, None))
            self.assertEqual(self.ask('alice', 'GET', f'/v2/secret/app/blobs/{present["digest"]}').status, 200)
            self.assertEqual(self.ask('alice', 'GET', '/v2/secret/app/manifests/f').status, 200)
            with self.assertRaises(TimeoutError):
                trap.accept()

    def test_cve_2025_32019_what_users_push_is_no_page_of_the_registry(self):
        """A blob whose manifest calls it HTML comes so that a browser neither guesses its type nor runs it."""
        page = b'<script>fetch("/v2/_catalog")</script>'
        digest = self.target.push_blob('bob/app', page, 'bob')
        manifest = image_of(self.config, [ht.descriptor('text/html', page)], annotations={'x': '<script>'})
        self.assertEqual(self.push('bob', '/v2/bob/app/manifests/page', manifest).status, 201)
        for fields in ({}, {'Range': 'bytes=0-20'}, {'Range': 'bytes=0-3,8-20'}):
            answer = self.ask('bob', 'GET', f'/v2/bob/app/blobs/{digest}', None, fields)
            self.assertIn(answer.status, (200, 206))
            self.assertEqual(answer.headers['X-Content-Type-Options'], 'nosniff')
            self.assertIn('sandbox', answer.headers['Content-Security-Policy'])
            self.assertIn("default-src 'none'", answer.headers['Content-Security-Policy'])
        self.assertEqual(self.ask('bob', 'GET', '/v2/bob/app/manifests/page').headers['Content-Type'], ht.OCI_MANIFEST)
        for path in ('/v2/bob/app/manifests/%3Cscript%3E', '/v2/bob/app/blobs/%3Cscript%3E',
                     '/v2/%3Cscript%3E/tags/list', '/%3Cscript%3E'):
            answer = self.ask('bob', 'GET', path)
            self.assertIn(answer.status, (400, 404), path)
            self.assertTrue(answer.headers['Content-Type'].startswith('application/json'), path)

    # ---- tags and uploads ------------------------------------------------------------------------------------------

    def test_cve_2026_31801_who_may_create_moves_no_tag(self):
        """Every name of a tag, "latest" too, and every way to set one: what exists stays what it is."""
        old = self.target.push_image('drop/app', 'v1', seed=1, user='alice')
        image = json.loads(self.ask('alice', 'GET', '/v2/drop/app/manifests/v1').body)
        tags = ['latest', 'v1', 'LATEST', 'main', '_', 'sha256-' + '0' * 64, 'a' * 128]
        for tag in tags:
            self.assertIn(self.push('alice', f'/v2/drop/app/manifests/{tag}', image).status, (200, 201))
        other = json.dumps({**image, 'annotations': {'a': 'b'}}).encode()
        digest = ht.sha256(other)
        for tag in tags:
            for path in (tag, f'{digest}?tag={tag}', f'{digest}?tag=new&tag={tag}', f'{digest}?tag=new,{tag}'):
                self.assertEqual(self.push('carol', f'/v2/drop/app/manifests/{path}', other).status, 403, path)
            conditional = {'Content-Type': ht.OCI_MANIFEST, 'If-Match': f'"{old}"'}
            answer = self.ask('carol', 'PUT', f'/v2/drop/app/manifests/{tag}', other, conditional)
            self.assertEqual(answer.status, 403, tag)
            got = self.ask('carol', 'HEAD', f'/v2/drop/app/manifests/{tag}')
            self.assertEqual(got.headers['Docker-Content-Digest'], old, tag)
        listed = json.loads(self.ask('carol', 'GET', '/v2/drop/app/tags/list').body)['tags']
        self.assertEqual(listed, sorted(tags), 'part of a refused push has happened')
        self.assertEqual(self.push('carol', '/v2/drop/app/manifests/fresh', other).status, 201)

    def test_projquay_10504_without_the_right_to_delete_nothing_goes_by_any_name(self):
        """CVE-2026-41888 too: the tag, the digest, the manifest as a blob and the layers are refused alike."""
        digest = self.target.push_image('drop/app', 'v1', seed=3, user='alice')
        body = self.ask('alice', 'GET', '/v2/drop/app/manifests/v1').body
        layer = json.loads(body)['layers'][0]['digest']
        for path in ('manifests/v1', f'manifests/{digest}', f'manifests/{digest}?tag=v1', f'blobs/{digest}',
                     f'blobs/{layer}', 'manifests/absent', f'blobs/{ht.sha256(b"absent")}'):
            for fields in ({}, {'If-Match': f'"{digest}"'}, {'X-HTTP-Method-Override': 'GET'}):
                self.assertEqual(self.ask('carol', 'DELETE', f'/v2/drop/app/{path}', None, fields).status, 403, path)
            for method in ('GET', 'POST', 'PUT'):  # no other method becomes a DELETE, nor for who may delete
                for user in ('carol', 'alice'):
                    self.ask(user, method, f'/v2/drop/app/{path}', None, {'X-HTTP-Method-Override': 'DELETE'})
        self.assertEqual(self.ask('carol', 'GET', '/v2/drop/app/manifests/v1').body, body)
        self.assertEqual(self.ask('carol', 'GET', f'/v2/drop/app/blobs/{layer}').status, 200)

    def test_cve_2026_32589_an_upload_belongs_to_who_began_it_where_it_was_begun(self):
        """Another user with every right on the repository, and the same user elsewhere, find no such upload."""
        place = self.ask('carol', 'POST', '/v2/drop/app/blobs/uploads/').headers['Location']
        self.assertEqual(self.ask('carol', 'PATCH', place, b'half', ht.OCTETS).status, 202)
        finish = f'{place}?digest={ht.sha256(b"half")}'
        elsewhere = place.replace('drop/app', 'drop/other')
        for user, path in (('alice', place), ('carol', elsewhere), ('alice', elsewhere)):
            self.assertEqual(self.ask(user, 'GET', path).status, 404)
            self.assertEqual(self.ask(user, 'PATCH', path, b'evil', ht.OCTETS).status, 404)
            self.assertEqual(self.ask(user, 'PUT', f'{path}?digest={ht.sha256(b"half")}', b'', ht.OCTETS).status, 404)
            self.assertEqual(self.ask(user, 'DELETE', path).status, 404)
        for user, expected in (('bob', 403), (None, 401)):
            self.assertEqual(self.ask(user, 'DELETE', place).status, expected)
        self.assertEqual(self.ask('carol', 'PUT', finish, b'', ht.OCTETS).status, 201)
        self.assertEqual(self.ask('carol', 'GET', f'/v2/drop/app/blobs/{ht.sha256(b"half")}').body, b'half')


class Imports(ht.TestCase):
    """Layouts that somebody else has made."""

    def take(self, *options):
        command = [ht.BINARY, 'import', self.folder / 'layouts', '--root', self.folder / 'root', *options]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=30)
        return done.returncode, done.stdout + done.stderr

    def layout(self):
        """(the layout, its largest layer)"""
        ht.make_layout(self.folder / 'layouts/app', 'v1')
        blobs = self.folder / 'layouts/app/blobs/sha256'
        return self.folder / 'layouts/app', max(blobs.iterdir(), key=lambda path: path.stat().st_size)

    def test_oras_go_cve_2026_50162_a_link_in_a_layout_takes_in_no_file_from_outside(self):
        """Also one whose bytes are right: the registry would depend on a file that is not its own."""
        layout, layer = self.layout()
        manifest = json.loads((layout / 'index.json').read_text())['manifests'][0]['digest']
        outside = self.folder / 'outside'
        for place in (layer, layout / 'blobs' / manifest.replace(':', '/'), layout / 'index.json'):
            place.rename(outside)
            place.symlink_to(outside)
            for options in ([], ['--copy']):
                code, text = self.take(*options)
                self.assertEqual(code, 1, text)
                self.assertIn(str(place), text)
                self.assertEqual([str(path) for path in (self.folder / 'root').rglob(f'*{place.name}*')], [])
            outside.replace(place)

    def test_cve_2022_47747_a_pipe_or_a_device_in_a_layout_is_refused_and_not_read(self):
        """Kraken read whatever file a request named; an import that opened a pipe would wait for ever."""
        layout, layer = self.layout()
        layer.unlink()
        os.mkfifo(layer)
        for options in ([], ['--copy']):
            code, text = self.take(*options)
            self.assertEqual(code, 1, text)
            self.assertIn(str(layer), text)
        manifest = json.loads((layout / 'index.json').read_text())['manifests'][0]['digest']
        path = layout / 'blobs' / manifest.replace(':', '/')
        path.unlink()
        path.symlink_to('/dev/zero')
        code, text = self.take('--copy')
        self.assertEqual(code, 1, text)
        self.assertIn(str(path), text)

    def test_cve_2021_21272_a_digest_in_a_layout_is_no_path(self):
        """oras unpacked names that climb out of their folder; every digest of an import has its grammar first."""
        layout, layer = self.layout()
        (self.folder / 'canary').write_bytes(layer.read_bytes())
        index = json.loads((layout / 'index.json').read_text())
        rows = [{**index['manifests'][0], 'digest': digest} for digest in
                ('sha256:../../../../canary', '../../../canary', 'sha256:/etc/passwd', '..:' + 'a' * 64)]
        (layout / 'index.json').write_text(json.dumps({**index, 'manifests': rows}))
        code, text = self.take()
        self.assertEqual(code, 1, text)
        self.assertIn('../../../../canary', text)
        self.assertEqual([path for path in (self.folder / 'root').rglob('*') if 'canary' in path.name], [])
        server = self.server(root=self.folder / 'root')
        self.assertEqual(json.loads(server.request('GET', '/v2/_catalog').body)['repositories'], [])

    def test_cve_2023_25153_an_index_without_end_is_not_read_into_memory(self):
        """containerd's importer read what an archive held; two gibibytes of index.json are refused at their limit."""
        layout, _ = self.layout()
        os.truncate(layout / 'index.json', 2 * 1024 * 1024 * 1024)  # sparse: takes no room
        code, text = self.take()
        self.assertEqual(code, 1, text)
        self.assertIn('more than', text)
        if not ht.is_sanitized():
            most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # of every program that this file has run
            self.assertLess(most, 1024 * 1024, 'KiB of memory')


if __name__ == '__main__':
    ht.main()
