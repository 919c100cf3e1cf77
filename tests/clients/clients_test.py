#!/usr/bin/env python3
"""Unmodified clients against the whole server: over HTTP and TLS, with and without a password.

One argument chooses a client (as a unittest pattern); every client is a method, every way to connect a class.
"""
import json
import os
import pathlib
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing as ht  # noqa: E402

USER, PASSWORD = 'alice', 'a secret: with "quotes"'


def tool(name):
    """The path of a client, or a skip."""
    pinned = ht.CLIENTS / name
    found = str(pinned) if pinned.exists() else shutil.which(name)
    if not found:
        raise unittest.SkipTest(f'{name} is not installed')
    return found


def unmistakable_folder():
    """A new folder whose name is good in an image reference too: tempfile's may end in '_', which podman
    refuses. Short: podman takes no runroot of more than 50 characters."""
    folder = pathlib.Path(tempfile.gettempdir()) / f'hansa-clients-{os.urandom(4).hex()}'
    folder.mkdir(mode=0o700)
    return folder


class Clients:
    tls = False
    password = False

    @classmethod
    def setUpClass(cls):
        cls.folder = unmistakable_folder()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.certificates = ht.Certificates(cls.folder / 'certs') if cls.tls else None
        config = None
        if cls.password:
            every = {'users': [USER], 'actions': ['read', 'create', 'update', 'delete']}
            config = {'http': {'accessControl': {'repositories': {'**': {'policies': [every]}}}}}
        cls.server = ht.Server(cls.folder / 'server', tls=cls.certificates, config=config,
                               users={USER: PASSWORD} if cls.password else None)
        cls.addClassCleanup(cls.server.stop)
        cls.server.start()
        cls.layout = cls.folder / 'layout'
        cls.digest = ht.make_layout(cls.layout, 'v1')

    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix='home-', dir=self.folder))
        self.env = dict(os.environ, HOME=str(self.home), XDG_RUNTIME_DIR=str(self.home),
                        REGISTRY_AUTH_FILE=str(self.home / 'auth.json'), DOCKER_CONFIG=str(self.home / '.docker'),
                        XDG_CONFIG_HOME=str(self.home / '.config'), XDG_CACHE_HOME=str(self.home / '.cache'),
                        XDG_DATA_HOME=str(self.home / '.local'), TMPDIR=str(self.home))
        (self.home / 'auth.json').write_text('{}')
        if self.tls:
            self.env['SSL_CERT_FILE'] = str(self.certificates.ca)
        self.repository = f'{self.server.name}/clients/{self._testMethodName.removeprefix("test_")}'

    def run_tool(self, *command, **options):
        return ht.run(*command, env=self.env, **options)

    def tags(self, name):
        answer = self.server.request('GET', f'/v2/{name}/tags/list', user=USER if self.password else None)
        return json.loads(answer.body).get('tags') if answer.status == 200 else None

    def local_name(self):
        return self.repository.split('/', 1)[1]

    def login(self, command, *arguments):
        if self.password:
            self.run_tool(*command, *arguments, '-u', USER, '--password-stdin', self.server.name, stdin=PASSWORD)

    # ---- containers/image: skopeo, podman, buildah --------------------------------------------------------------

    def test_skopeo(self):
        skopeo = tool('skopeo')
        verify = 'true' if self.tls else 'false'
        self.login([skopeo, 'login'], f'--tls-verify={verify}')
        source, target = f'oci:{self.layout}:v1', f'docker://{self.repository}'
        # Else skopeo may take a layer that another client of this machine compressed otherwise.
        self.run_tool(skopeo, 'copy', '--insecure-policy', '--preserve-digests', f'--dest-tls-verify={verify}', source,
                      f'{target}:v1')
        shown = json.loads(self.run_tool(skopeo, 'inspect', f'--tls-verify={verify}', f'{target}:v1').stdout)
        self.assertEqual(shown['Digest'], self.digest)
        self.run_tool(skopeo, 'copy', '--insecure-policy', f'--src-tls-verify={verify}', f'{target}:v1',
                      f'oci:{self.home}/back:v1')
        index = json.loads((self.home / 'back/index.json').read_text())
        self.assertEqual(index['manifests'][0]['digest'], self.digest)
        # As a Docker schema-2 image, and from repository to repository (a mount).
        self.run_tool(skopeo, 'copy', '--insecure-policy', f'--dest-tls-verify={verify}', '--format', 'v2s2', source,
                      f'{target}:docker')
        self.run_tool(skopeo, 'copy', '--insecure-policy', '--preserve-digests', f'--src-tls-verify={verify}',
                      f'--dest-tls-verify={verify}', f'{target}:v1', f'{target}-copy:v1')
        listed = json.loads(self.run_tool(skopeo, 'list-tags', f'--tls-verify={verify}', target).stdout)
        self.assertEqual(listed['Tags'], ['docker', 'v1'])
        self.run_tool(skopeo, 'delete', f'--tls-verify={verify}', f'{target}:v1')
        self.assertEqual(self.tags(self.local_name()), ['docker'])

    def storage(self):
        return ['--storage-driver', 'vfs', '--root', self.home / 'graph', '--runroot', self.home / 'run']

    def test_podman(self):
        podman = [tool('podman'), *self.storage()]
        verify = f'--tls-verify={"true" if self.tls else "false"}'
        self.login([*podman, 'login'], verify)
        self.run_tool(*podman, 'pull', '-q', f'oci:{self.layout}:v1')
        image = self.run_tool(*podman, 'images', '-q').stdout.split()[0]
        self.run_tool(*podman, 'push', '-q', verify, image, f'{self.repository}:pushed')
        self.run_tool(*podman, 'rmi', '-a', '-f')
        self.run_tool(*podman, 'pull', '-q', verify, f'{self.repository}:pushed')
        self.assertEqual(self.run_tool(*podman, 'images', '-q').stdout.split()[0], image)

    def test_buildah(self):
        buildah = [tool('buildah'), *self.storage()]
        verify = f'--tls-verify={"true" if self.tls else "false"}'
        self.login([*buildah, 'login'], verify)
        (self.home / 'Containerfile').write_text('FROM scratch\nCOPY hello /hello\n')
        (self.home / 'hello').write_text('hello')
        self.run_tool(*buildah, 'bud', '--isolation', 'chroot', '-q', '-t', 'built', self.home)
        self.run_tool(*buildah, 'push', '-q', verify, 'built', f'docker://{self.repository}:built')
        self.run_tool(*buildah, 'rmi', '-a', '-f')
        self.run_tool(*buildah, 'pull', '-q', verify, f'docker://{self.repository}:built')
        self.assertEqual(self.tags(self.local_name()), ['built'])

    def test_umoci(self):
        """An image made by umoci goes there and back unchanged, and umoci can unpack what came back."""
        umoci, skopeo = tool('umoci'), tool('skopeo')
        verify = 'true' if self.tls else 'false'
        self.login([skopeo, 'login'], f'--tls-verify={verify}')
        layout = self.home / 'umoci'
        self.run_tool(umoci, 'init', '--layout', layout)
        self.run_tool(umoci, 'new', '--image', f'{layout}:made')
        (self.home / 'content').mkdir()
        (self.home / 'content/file').write_text('from umoci')
        self.run_tool(umoci, 'insert', '--image', f'{layout}:made', self.home / 'content', '/content')
        self.run_tool(skopeo, 'copy', '--insecure-policy', f'--dest-tls-verify={verify}', f'oci:{layout}:made',
                      f'docker://{self.repository}:made')
        self.run_tool(skopeo, 'copy', '--insecure-policy', f'--src-tls-verify={verify}',
                      f'docker://{self.repository}:made', f'oci:{self.home}/back:made')
        self.run_tool(umoci, 'unpack', '--rootless', '--image', f'{self.home}/back:made', self.home / 'bundle')
        self.assertEqual((self.home / 'bundle/rootfs/content/file').read_text(), 'from umoci')

    # ---- Go clients ---------------------------------------------------------------------------------------------

    def test_crane(self):
        crane = tool('crane')
        if self.password:
            self.run_tool(crane, 'auth', 'login', self.server.name, '-u', USER, '--password-stdin', stdin=PASSWORD)
        insecure = [] if self.tls else ['--insecure']
        self.run_tool(crane, 'push', *insecure, self.layout, f'{self.repository}:v1')
        # crane pushes a layout of several images as an index; ours has one.
        digest = self.run_tool(crane, 'digest', *insecure, f'{self.repository}:v1').stdout.strip()
        self.assertTrue(digest.startswith('sha256:'))
        self.run_tool(crane, 'manifest', *insecure, f'{self.repository}:v1')
        self.run_tool(crane, 'copy', *insecure, f'{self.repository}:v1', f'{self.repository}-copy:v2')
        self.run_tool(crane, 'tag', *insecure, f'{self.repository}:v1', 'again')
        self.assertEqual(self.run_tool(crane, 'ls', *insecure, self.repository).stdout.split(), ['again', 'v1'])
        catalogue = self.run_tool(crane, 'catalog', *insecure, self.server.name).stdout.split()
        self.assertIn(self.local_name(), catalogue)
        self.run_tool(crane, 'pull', *insecure, '--format', 'oci', f'{self.repository}:v1', self.home / 'pulled')
        self.run_tool(crane, 'validate', *insecure, '--remote', f'{self.repository}:v1')
        self.run_tool(crane, 'delete', *insecure, f'{self.repository}@{digest}')
        self.assertEqual(self.tags(self.local_name()) or [], [])

    def test_oras(self):
        oras = tool('oras')
        # Without a word oras speaks plain HTTP to localhost.
        plain = ['--plain-http=' + ('false' if self.tls else 'true')]
        if self.password:
            self.run_tool(oras, 'login', *plain, '-u', USER, '--password-stdin', self.server.name, stdin=PASSWORD)
        (self.home / 'artifact.txt').write_text('an artifact')
        (self.home / 'sbom.json').write_text('{"sbom": true}')
        self.run_tool(oras, 'push', *plain, f'{self.repository}:v1', '--artifact-type', 'application/vnd.test.thing',
                      'artifact.txt:text/plain', cwd=self.home)
        self.run_tool(oras, 'attach', *plain, f'{self.repository}:v1', '--artifact-type', 'application/vnd.test.sbom',
                      'sbom.json:application/json', cwd=self.home)
        found = json.loads(self.run_tool(oras, 'discover', *plain, '--format', 'json', f'{self.repository}:v1').stdout)
        kinds = [entry['artifactType'] for entry in found.get('referrers') or found.get('manifests')]
        self.assertEqual(kinds, ['application/vnd.test.sbom'])
        self.run_tool(oras, 'cp', '-r', *[f'--{end}-plain-http={"false" if self.tls else "true"}' for end in ('from', 'to')],
                      f'{self.repository}:v1', f'{self.repository}-copy:v1')
        (self.home / 'out').mkdir()
        self.run_tool(oras, 'pull', *plain, f'{self.repository}-copy:v1', '-o', self.home / 'out')
        self.assertEqual((self.home / 'out/artifact.txt').read_text(), 'an artifact')
        self.assertIn('v1', self.run_tool(oras, 'repo', 'tags', *plain, self.repository).stdout)
        self.assertIn(self.local_name(), self.run_tool(oras, 'repo', 'ls', *plain, self.server.name).stdout)
        self.run_tool(oras, 'manifest', 'delete', *plain, '-f', f'{self.repository}:v1')
        self.assertEqual(self.tags(self.local_name()) or [], [])

    def test_regctl(self):
        regctl = tool('regctl')
        mode = 'enabled' if self.tls else 'disabled'
        self.run_tool(regctl, 'registry', 'set', self.server.name, f'--tls={mode}', '--skip-check')
        if self.password:
            self.run_tool(regctl, 'registry', 'login', self.server.name, '-u', USER, '--pass-stdin', stdin=PASSWORD)
        # Small chunks, so that the blob goes up in many PATCH requests.
        self.run_tool(regctl, 'registry', 'set', self.server.name, '--blob-chunk', '10000', '--blob-max', '10000',
                      '--skip-check')
        self.run_tool(regctl, 'image', 'copy', f'ocidir://{self.layout}:v1', f'{self.repository}:v1')
        digest = self.run_tool(regctl, 'image', 'digest', f'{self.repository}:v1').stdout.strip()
        self.assertEqual(digest, self.digest)
        self.run_tool(regctl, 'artifact', 'put', '--artifact-type', 'application/vnd.test.note', '--subject',
                      f'{self.repository}:v1', stdin='a note')
        self.assertIn('application/vnd.test.note',
                      self.run_tool(regctl, 'artifact', 'list', f'{self.repository}:v1').stdout)
        self.run_tool(regctl, 'image', 'copy', '--referrers', f'{self.repository}:v1', f'{self.repository}-copy:v1')
        self.assertEqual(self.run_tool(regctl, 'tag', 'ls', self.repository).stdout.split(), ['v1'])
        self.assertIn(self.local_name(), self.run_tool(regctl, 'repo', 'ls', self.server.name).stdout)
        self.run_tool(regctl, 'tag', 'delete', f'{self.repository}:v1')
        self.assertEqual(self.tags(self.local_name()) or [], [])

    def test_helm(self):
        helm = tool('helm')
        plain = [] if self.tls else ['--plain-http']
        if self.password:
            self.run_tool(helm, 'registry', 'login', *plain, self.server.name, '-u', USER, '--password-stdin',
                          stdin=PASSWORD)
        self.run_tool(helm, 'create', 'demo', cwd=self.home)
        self.run_tool(helm, 'package', 'demo', '--version', '1.2.3+build', cwd=self.home)
        target = f'oci://{self.server.name}/clients'
        self.run_tool(helm, 'push', *plain, 'demo-1.2.3+build.tgz', target, cwd=self.home)
        os.remove(self.home / 'demo-1.2.3+build.tgz')
        self.run_tool(helm, 'pull', *plain, f'{target}/demo', '--version', '1.2.3+build', cwd=self.home)
        self.assertTrue((self.home / 'demo-1.2.3+build.tgz').exists())
        self.run_tool(helm, 'show', 'chart', *plain, f'{target}/demo', '--version', '1.2.3+build')


class OverHttp(Clients, unittest.TestCase):
    pass


class OverHttpWithPassword(Clients, unittest.TestCase):
    password = True


class OverTls(Clients, unittest.TestCase):
    tls = True


class OverTlsWithPassword(Clients, unittest.TestCase):
    tls = True
    password = True


if __name__ == '__main__':
    ht.main()
