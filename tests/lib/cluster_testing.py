"""What the tests of a running cluster share: starting one, talking to a given node, hurting nodes and their etcds.

Standard library only. A cluster lives in a temporary folder on loopback, started by tools/cluster.py, and is stopped at
the end whatever happened to it.
"""
import base64
import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse

import hansa_testing as ht

sys.path.insert(0, str(ht.ROOT / 'tools'))
import cluster as tool  # noqa: E402

NO_ANSWER = (OSError, http.client.HTTPException)  # what a client of a dead or mute node sees
FULL = bool(os.environ.get('HANSA_FULL'))
PREFIX = b'hansa/'
HEAD_KEY = PREFIX + b'head'


class Node:
    """A node as its clients see it: requests over a connection that is kept. One thread at a time."""

    def __init__(self, url, timeout=10.0):
        self.url, self.timeout, self.connection = url, timeout, None
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname, parts.port

    def request(self, method, path, body=None, headers=None):
        """The answer has .status, .headers, .body. OSError or HTTPException: there was none, and `self.sent` says
        whether the request may have reached the node."""
        self.sent = False
        fresh = self.connection is None
        if fresh:
            self.connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        try:
            if fresh:
                self.connection.connect()
            self.sent = True
            self.connection.request(method, path, body=body, headers=headers or {})
            answer = self.connection.getresponse()
            answer.body = answer.read()
            if answer.will_close:
                self.close()
            return answer
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    # The distribution API in a few words. They raise AssertionError when the answer is another one.

    def expect(self, status, method, path, body=None, headers=None):
        answer = self.request(method, path, body, headers)
        wanted = status if isinstance(status, tuple) else (status,)
        assert answer.status in wanted, f'{method} {self.url}{path}: {answer.status} instead of {status}: {answer.body[:500]}'
        return answer

    def push_blob(self, repository, data):
        self.expect(201, 'POST', f'/v2/{repository}/blobs/uploads/?digest={ht.sha256(data)}', data,
                    ht.OCTETS)
        return ht.sha256(data)

    def push_manifest(self, repository, reference, manifest):
        body = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        self.expect(201, 'PUT', f'/v2/{repository}/manifests/{reference}', body, {'Content-Type': ht.OCI_MANIFEST})
        return ht.sha256(body)

    def push_image(self, repository, tag, seed=1, layers=2, layer_size=1000):
        """A small image of random bytes; returns (digest, the digests of its blobs)."""
        source = random.Random(f'{repository} {tag} {seed}')
        config = json.dumps({'architecture': 'amd64', 'os': 'linux', 'seed': f'{repository} {tag} {seed}',
                             'rootfs': {'type': 'layers', 'diff_ids': []}}).encode()
        parts = [source.randbytes(layer_size) for _ in range(layers)]
        for blob in [config, *parts]:
            self.push_blob(repository, blob)
        digest = self.push_manifest(repository, tag, manifest_of(config, parts))
        return digest, [ht.sha256(blob) for blob in [config, *parts]]

    def tag(self, repository, tag):
        """(digest or None, whether the answer is marked as stale). The body is checked against its digest."""
        answer = self.expect((200, 404), 'GET', f'/v2/{repository}/manifests/{tag}', None, {'Accept': ht.OCI_MANIFEST})
        stale = bool(answer.headers.get('Warning'))
        if answer.status == 404:
            return None, stale
        digest = ht.sha256(answer.body)
        assert answer.headers['Docker-Content-Digest'] == digest, (answer.headers['Docker-Content-Digest'], digest)
        return digest, stale

    def blob(self, repository, digest):
        answer = self.expect(200, 'GET', f'/v2/{repository}/blobs/{digest}')
        assert ht.sha256(answer.body) == digest, f'{self.url} serves wrong bytes for {digest}'
        return answer

    def metrics(self):
        """{'name{labels}': value} of /metrics."""
        lines = self.expect(200, 'GET', '/metrics').body.decode().splitlines()
        return {line.rsplit(' ', 1)[0]: float(line.rsplit(' ', 1)[1]) for line in lines if line and line[0] != '#'}


def manifest_of(config, layers, **more):
    return {'schemaVersion': 2, 'mediaType': ht.OCI_MANIFEST, 'config': ht.descriptor(ht.OCI_CONFIG, config),
            'layers': [ht.descriptor(ht.OCI_LAYER, layer) for layer in layers], **more}


class NamedNode(tool.Node):
    """A node that clients know by a name: clients refuse redirects to loopback addresses written as numbers."""

    def write_config(self):
        node = {'cluster': {'node': {'url': f'http://localhost:{self.ports["http"]}'}}}
        self.extra = json.loads(json.dumps(self.extra))
        tool.merge(self.extra, node)
        super().write_config()


class TestCluster:
    """A cluster in a folder; begun and stopped by TestCase.cluster() or SharedCluster."""
    __test__ = False

    def __init__(self, folder, nodes=3, extra=None):
        self.tool = tool.Cluster(folder)
        self.count, self.extra, self.stopped = nodes, extra, set()

    def begin(self):
        self.tool.prepare(self.count, self.extra)
        self.tool.up()

    def stop(self):
        for pid in list(self.stopped):
            self.resume(pid)
        self.tool.down()

    @property
    def nodes(self):
        return self.tool.nodes

    @property
    def urls(self):
        return [node.url for node in self.nodes]

    def clients(self, timeout=10.0):
        return [Node(url, timeout) for url in self.urls]

    def hansa(self, *words, check=True):
        return ht.run(ht.BINARY, *words, check=check)

    def log(self):
        """The ends of the nodes' logs, without the requests that went well."""
        well = re.compile(r'"message":"HTTP API".*"statusCode":[23]')
        texts = []
        for node in self.nodes:
            lines = [line for line in node.log_tail(20_000).splitlines() if not well.search(line)]
            texts.append(f'--- node {node.number}\n' + '\n'.join(lines[-40:]))
        return '\n'.join(texts)

    # --- hurting ---

    def kill(self, number, etcd=False):
        return self.tool.kill(str(number), etcd)

    def start(self, number, wait=True):
        return self.tool.start(str(number), wait)

    def join(self, node_class=tool.Node):
        """Adds a machine to the running cluster; it is ready on return. Returns its node."""
        node = self.tool.add(node_class)
        self.tool.join_url = self.hansa('cluster', 'token', self.nodes[0].config).stdout.strip()
        return self.start(node.number)

    def terminate(self, number):
        """A clean stop of the node, its etcd goes on."""
        node = self.tool.node(str(number))
        pid = node.pid
        tool.send(pid, signal.SIGTERM)
        assert node.wait_end(pid, tool.STOP_SECONDS), f'node {number} did not stop:\n{node.log_tail()}'

    def pause(self, pid):
        assert pid, 'it does not run'
        tool.send(pid, signal.SIGSTOP)
        self.stopped.add(pid)

    def resume(self, pid):
        tool.send(pid, signal.SIGCONT)
        self.stopped.discard(pid)

    @contextlib.contextmanager
    def paused(self, *pids):
        for pid in pids:
            self.pause(pid)
        try:
            yield
        finally:
            for pid in pids:
                self.resume(pid)

    def wait(self, condition, seconds, what):
        """Waits for something that a test needs; the failure's text has what the nodes said."""
        last = ['']

        def holds():
            try:
                return condition()
            except (OSError, http.client.HTTPException, AssertionError, ValueError, KeyError, IndexError) as error:
                last[0] = str(error)
                return False
        assert tool.wait_until(holds, seconds), f'not within {seconds} s: {what}; {last[0]}\n{self.log()}'

    def wait_ready(self, seconds=60):
        self.wait(lambda: all(node.is_ready() for node in self.nodes), seconds, 'every node ready')

    # --- etcd ---

    def revive(self):
        """Starts etcds that ended. Managed ones are started by their nodes."""

    def etcd_status(self, node):
        return node.etcd_call('/v3/maintenance/status', {}, timeout=2.0)

    def etcd_leader(self):
        """The node whose etcd leads; None while there is no leader."""
        for node in self.nodes:
            try:
                status = self.etcd_status(node)
                if status.get('leader') == status['header']['member_id']:
                    return node
            except (OSError, ValueError, KeyError):
                continue
        return None

    def wait_leader(self, seconds=30):
        self.wait(lambda: self.etcd_leader() is not None, seconds, 'etcd has a leader')
        return self.etcd_leader()

    def etcd_any(self, path, request):
        """A call of the first etcd that answers."""
        for node in self.nodes:
            try:
                return node.etcd_call(path, request)
            except OSError as error:
                last = error
        raise last

    def etcd_range(self, prefix, keys_only=True, page=1000):
        """[(key, create, mod, version, value)] under the prefix, of one revision."""
        begin, end, found, revision = prefix, prefix[:-1] + bytes([prefix[-1] + 1]), [], 0
        while True:
            answer = self.etcd_any('/v3/kv/range', {
                'key': base64.b64encode(begin).decode(), 'range_end': base64.b64encode(end).decode(),
                'keys_only': keys_only, 'limit': page, 'revision': revision})
            found += [(base64.b64decode(r['key']), int(r['create_revision']), int(r['mod_revision']), int(r['version']),
                       base64.b64decode(r.get('value', ''))) for r in answer.get('kvs', [])]
            if not answer.get('more'):
                return found
            revision, begin = revision or int(answer['header']['revision']), found[-1][0] + b'\0'

    def etcd_revision(self):
        return int(self.etcd_any('/v3/kv/range', {'key': base64.b64encode(HEAD_KEY).decode()})['header']['revision'])

    def compact(self):
        """Throws away all history up to now."""
        request = {'revision': self.etcd_revision(), 'physical': True}
        for node in self.nodes:
            try:
                return node.etcd_call('/v3/kv/compaction', request, timeout=60.0)
            except OSError as error:
                if 'has been compacted' in str(error):  # by the node before, which answered too late
                    return None
                last = error
        raise last

    def truth(self):
        """etcd's own records as a view should have them: {key: (value, create, mod, version)}."""
        cut = len(PREFIX)
        return {k[cut:]: (v, c, m, n) for k, c, m, n, v in self.etcd_range(PREFIX, keys_only=False)
                if is_lasting(k[cut:])}

    def commits(self):
        """How many commits the registry has made: each puts `head`."""
        rows = [row for row in self.etcd_range(HEAD_KEY) if row[0] == HEAD_KEY]
        return rows[0][3] if rows else 0

    def etcd_metric(self, node, pattern):
        """Sum of the values of etcd's metrics whose name and labels match."""
        text = node.etcd_metrics()
        return sum(float(line.rsplit(' ', 1)[1]) for line in text.splitlines() if re.match(pattern, line))

    def wipe_voter(self, number):
        """Ends a node and its etcd and removes etcd's data, as a lost disk does. Returns the folder that is gone."""
        node = self.tool.node(str(number))
        self.tool.kill(str(number), etcd=bool(node.etcd_pid))
        if node.etcd_pid:
            tool.send(node.etcd_pid, signal.SIGKILL)
        folder = node.data / 'etcd'
        assert folder.is_dir(), f'no etcd data in {folder}'
        shutil.rmtree(folder)
        return folder

    # --- views ---

    def view_rows(self, number):
        """Every lasting record of a node's view: {key: (value, create, mod, version)}. Reads a copy of the file, so that
        the node is not disturbed."""
        node = self.tool.node(str(number))
        with tempfile.TemporaryDirectory(prefix='hansa-view-') as folder:
            for file in node.data.glob('view.db*'):
                shutil.copy(file, folder)
            return read_view(pathlib.Path(folder) / 'view.db')


def copy_frozen(node, copy):
    """All files of a node and its etcd at one moment, and nothing is told that it happened: a snapshot of a virtual
    machine's disk."""
    processes = [pid for pid in (node.pid, node.etcd_pid) if pid]
    for pid in processes:
        tool.send(pid, signal.SIGSTOP)
    try:
        shutil.copytree(node.data, copy, ignore=shutil.ignore_patterns('*.sock'))
    finally:
        for pid in processes:
            tool.send(pid, signal.SIGCONT)


def holds(node, digest):
    """Whether the blob's file lies under its name on the node's disk."""
    digits = digest.removeprefix('sha256:')
    return (node.data / 'blobs/sha256' / digits[:2] / digits).exists()


def read_view(file):
    with contextlib.closing(sqlite3.connect(file)) as database:
        rows = database.execute('SELECT k, v, c, m, n FROM kv').fetchall()
    as_bytes = lambda x: x.encode() if isinstance(x, str) else bytes(x)  # noqa: E731
    return {as_bytes(k): (as_bytes(v), c, m, n) for k, v, c, m, n in rows if is_lasting(as_bytes(k))}


def is_lasting(key):
    """Not tied to a lease or a task: those may come and go between two looks."""
    return not key.startswith((b'alive/', b'task/'))


class TestCase(ht.TestCase):
    """A test with a temporary folder and what it needs to start clusters."""

    @classmethod
    def setUpClass(cls):
        try:
            tool.binaries()
        except tool.Problem as problem:
            raise unittest.SkipTest(str(problem)) from None

    def cluster(self, name='cluster', kind=TestCluster, **options):
        cluster = kind(self.folder / name, **options)
        self.addCleanup(cluster.stop)
        cluster.begin()
        return cluster


class SharedCluster(ht.TestCase):
    """Tests that share one cluster of three, since they leave it whole."""
    kind, options = TestCluster, {}

    @classmethod
    def setUpClass(cls):
        TestCase.setUpClass()
        cls.shared_folder = pathlib.Path(tempfile.mkdtemp(prefix='hansa-test-'))
        cls.addClassCleanup(shutil.rmtree, cls.shared_folder, ignore_errors=True)
        cls.cluster = cls.kind(cls.shared_folder / 'cluster', **cls.options)
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.begin()


class Balancer:
    """haproxy in front of the nodes: every request goes to the next one, also on a connection that is kept. `careful`: it
    asks each node's /readyz all the time and gives a request that a node could not take to another one, once."""

    CAREFUL = '''
  option httpchk GET /readyz
  option redispatch
  retries 1
  retry-on conn-failure empty-response 503
  default-server check inter 200ms fall 1 rise 1'''

    def __init__(self, folder, urls, careful=False):
        self.port, self.file, self.process = tool.free_ports(1)[0], pathlib.Path(folder) / 'haproxy.cfg', None
        servers = '\n'.join(f'  server n{i} {urllib.parse.urlsplit(url).netloc}' for i, url in enumerate(urls))
        self.file.write_text(f'''global
  maxconn 2000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-server-close
frontend registry
  bind 127.0.0.1:{self.port}
  default_backend nodes
backend nodes
  balance roundrobin{self.CAREFUL if careful else ''}
{servers}
''')

    def __enter__(self):
        program = shutil.which('haproxy', path=f'{os.environ.get("PATH", "")}:/usr/sbin')
        if not program:
            raise unittest.SkipTest('haproxy is not there; apt-get install haproxy')
        self.process = subprocess.Popen([program, '-db', '-f', str(self.file)], stderr=subprocess.DEVNULL)
        assert tool.wait_until(lambda: tool.get(f'http://127.0.0.1:{self.port}/v2/')[0] == 200, 10), 'haproxy is not up'
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)


def main():
    ht.main()
