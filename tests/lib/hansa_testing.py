"""What the tests of the whole server share: starting a registry, making images, certificates and requests.

Standard library only. Everything lives in temporary folders and on loopback, and is stopped at the end.
"""
import base64
import gzip
import hashlib
import http.client
import io
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get('HANSA_BINARY', ROOT / 'build/release/hansa'))
CLIENTS = pathlib.Path(os.environ.get('HANSA_CLIENTS', pathlib.Path.home() / '.cache/hansa/clients'))
SKIPPED = 77  # exit code that ctest counts as skipped
START_SECONDS = 30
CLIENT_SECONDS = 300

OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
OCI_INDEX = 'application/vnd.oci.image.index.v1+json'
OCI_CONFIG = 'application/vnd.oci.image.config.v1+json'
OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip'
OCTETS = {'Content-Type': 'application/octet-stream'}  # of blobs
ALL_ACTIONS = ['read', 'create', 'update', 'delete']


def is_sanitized():
    """Whether the binary is of a sanitizer build, which keeps freed memory: its size says nothing of the product's."""
    data = BINARY.read_bytes()
    return b'__asan_init' in data or b'__tsan_init' in data


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def sha256(data):
    return 'sha256:' + hashlib.sha256(data).hexdigest()


def run(*command, env=None, cwd=None, check=True, stdin=None):
    """Runs a client; its whole output is in the failure's text."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=CLIENT_SECONDS,
                          env=env, cwd=cwd, input=stdin)
    if check and done.returncode != 0:
        raise AssertionError(f'{" ".join(str(w) for w in command)}\nexit {done.returncode}\n{done.stdout}{done.stderr}')
    return done


class Certificates:
    """A certificate authority and a server certificate for localhost and 127.0.0.1."""

    def __init__(self, folder, name='server'):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.ca, self.cert, self.key = folder / 'ca.crt', folder / f'{name}.crt', folder / f'{name}.key'
        ca_key = folder / 'ca.key'
        if not self.ca.exists():
            run('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
                '-keyout', ca_key, '-out', self.ca, '-days', '2', '-subj', '/CN=test authority')
        self.issue(folder, name, ca_key)

    def issue(self, folder, name, ca_key):
        request, names = folder / f'{name}.csr', folder / f'{name}.ext'
        names.write_text('subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n')
        run('openssl', 'req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
            '-keyout', self.key, '-out', request, '-subj', '/CN=localhost')
        run('openssl', 'x509', '-req', '-in', request, '-CA', self.ca, '-CAkey', ca_key, '-CAcreateserial',
            '-out', self.cert, '-days', '2', '-extfile', names)

    def serial(self):
        return run('openssl', 'x509', '-in', self.cert, '-noout', '-serial').stdout.strip()


def htpasswd(path, users):
    """Writes bcrypt entries (low cost: tests log in often)."""
    lines = [run('htpasswd', '-nbB', '-C', '5', user, word).stdout.strip() for user, word in users.items()]
    pathlib.Path(path).write_text('\n'.join(lines) + '\n')


class Server:
    """One `hansa serve` process with a configuration of its own. Use as a context manager."""

    def __init__(self, folder, tls=None, users=None, port=None, root=None, config=None, ready=True):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.root = pathlib.Path(root or self.folder / 'root')
        self.tls, self.users, self.process, self.expect_ready = tls, users, None, ready
        self.config_file = self.folder / 'config.json'
        self.log_file = self.folder / 'hansa.log'
        self.config = {'distSpecVersion': '1.1.1', 'storage': {'rootDirectory': str(self.root)},
                       'http': {'address': '127.0.0.1', 'port': str(self.port)}, 'log': {'level': 'info'}}
        if tls:
            self.config['http']['tls'] = {'cert': str(tls.cert), 'key': str(tls.key)}
        if users:
            htpasswd(self.folder / 'htpasswd', users)
            self.config['http']['auth'] = {'htpasswd': {'path': str(self.folder / 'htpasswd')}}
        if config:
            merge(self.config, config)
        self.name = f'localhost:{self.port}'

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.config_file.write_text(json.dumps(self.config, indent=1))
        with open(self.log_file, 'ab') as log:
            self.process = subprocess.Popen([str(BINARY), 'serve', str(self.config_file)], stdout=log, stderr=log)
        if self.expect_ready:
            self.wait_ready()

    def wait_ready(self):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f'hansa ended with {self.process.returncode}:\n{self.log()}')
            try:
                if self.request('GET', '/readyz').status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f'hansa was not ready within {START_SECONDS} s:\n{self.log()}')

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise AssertionError(f'hansa did not stop within 60 s of signal {how}:\n{self.log()}')
        return self.process.returncode if self.process else None

    def log(self):
        return self.log_file.read_text() if self.log_file.exists() else ''

    def connect(self, timeout=60):
        if self.tls:
            context = ssl.create_default_context(cafile=str(self.tls.ca))
            return http.client.HTTPSConnection('localhost', self.port, timeout=timeout, context=context)
        return http.client.HTTPConnection('127.0.0.1', self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None, user=None):
        """One request on a connection of its own; the answer has .status, .headers, .body."""
        connection = self.connect()
        headers = dict(headers or {})
        if user:
            pair = f'{user}:{self.users[user]}' if ':' not in user else user
            headers['Authorization'] = 'Basic ' + base64.b64encode(pair.encode()).decode()
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            answer.body = answer.read()
            return answer
        finally:
            connection.close()

    # The distribution API in a few words, for tests that are about something else.
    def push_blob(self, repository, data, user=None):
        answer = self.request('POST', f'/v2/{repository}/blobs/uploads/?digest={sha256(data)}', data,
                              OCTETS, user)
        assert answer.status == 201, (answer.status, answer.body)
        return sha256(data)

    def push_manifest(self, repository, reference, manifest, media_type=OCI_MANIFEST, user=None):
        body = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        answer = self.request('PUT', f'/v2/{repository}/manifests/{reference}', body, {'Content-Type': media_type}, user)
        assert answer.status == 201, (answer.status, answer.body)
        return sha256(body)

    def push_image(self, repository, tag, seed=1, layers=2, layer_size=1000, user=None):
        """A small image made of random bytes; returns its manifest's digest."""
        source = random.Random(seed)
        config = json.dumps({'architecture': 'amd64', 'os': 'linux', 'seed': seed,
                             'rootfs': {'type': 'layers', 'diff_ids': []}}).encode()
        parts = [source.randbytes(layer_size) for _ in range(layers)]
        for blob in [config, *parts]:
            self.push_blob(repository, blob, user)
        manifest = {'schemaVersion': 2, 'mediaType': OCI_MANIFEST, 'config': descriptor(OCI_CONFIG, config),
                    'layers': [descriptor(OCI_LAYER, part) for part in parts]}
        return self.push_manifest(repository, tag, manifest, user=user)


def wait_for(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f'not within {seconds} s: {what}')
        time.sleep(0.02)


def merge(base, extra):
    for key, value in extra.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value


def descriptor(media_type, data):
    return {'mediaType': media_type, 'digest': sha256(data), 'size': len(data)}


def make_layout(folder, tag='v1', seed=1, layers=3, files=4, file_size=20_000):
    """An OCI layout with one runnable-looking image: gzip'd tar layers with real files. Returns the manifest digest."""
    folder = pathlib.Path(folder)
    blobs = folder / 'blobs/sha256'
    blobs.mkdir(parents=True)
    source = random.Random(seed)

    def store(data):
        (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
        return data

    layer_parts, diff_ids = [], []
    for layer in range(layers):
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode='w') as archive:
            for number in range(files):
                data = source.randbytes(file_size)
                entry = tarfile.TarInfo(f'layer{layer}/file{number}')
                entry.size, entry.mode = len(data), 0o644
                archive.addfile(entry, io.BytesIO(data))
        diff_ids.append(sha256(plain.getvalue()))
        layer_parts.append(store(gzip.compress(plain.getvalue(), compresslevel=1, mtime=0)))
    config = store(json.dumps({'architecture': 'amd64', 'os': 'linux', 'config': {'Cmd': ['/bin/true']},
                               'rootfs': {'type': 'layers', 'diff_ids': diff_ids}}).encode())
    manifest = store(json.dumps({'schemaVersion': 2, 'mediaType': OCI_MANIFEST,
                                 'config': descriptor(OCI_CONFIG, config),
                                 'layers': [descriptor(OCI_LAYER, part) for part in layer_parts]}).encode())
    entry = descriptor(OCI_MANIFEST, manifest)
    entry['annotations'] = {'org.opencontainers.image.ref.name': tag}
    (folder / 'index.json').write_text(json.dumps({'schemaVersion': 2, 'mediaType': OCI_INDEX, 'manifests': [entry]}))
    (folder / 'oci-layout').write_text('{"imageLayoutVersion":"1.0.0"}')
    return sha256(manifest)


class TestCase(unittest.TestCase):
    """A test with a temporary folder."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='hansa-test-'))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def server(self, name='server', **options):
        server = Server(self.folder / name, **options)
        self.addCleanup(server.stop)
        server.start()
        return server


def main():
    """Runs the tests of the calling file. Exit code 77 when all of them were skipped."""
    program = unittest.main(exit=False, verbosity=2)
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    # A class or a file that is skipped as a whole has run nothing and counts once.
    if result.skipped and (not result.testsRun or len(result.skipped) == result.testsRun):
        sys.exit(SKIPPED)
    sys.exit(0)
