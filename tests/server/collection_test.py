#!/usr/bin/env python3
"""Pushes beside a collection that never rests, at the smallest grace: none fails, none is broken, and what nothing
reaches is gone within the bound of P7, its bytes too.

HANSA_PUSHES: how many (400; 5,000 with HANSA_FULL). HANSA_SEED: another course of events.
"""
import http.client
import json
import os
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing as ht  # noqa: E402

PUSHES = int(os.environ.get('HANSA_PUSHES') or (5000 if os.environ.get('HANSA_FULL') else 400))
SEED = os.environ.get('HANSA_SEED', '1')
GRACE, CYCLE = 4.0, 1.0  # seconds
WITHIN_GRACE = 2.5  # seconds in which a client may rely on what it was told
LEVEL = 1.5 * GRACE + 2 * CYCLE  # P7's bound for a record, per level of nesting: index, image, blob
RECORDS = 3 * LEVEL
BYTES = RECORDS + RECORDS + CYCLE
CLIENTS = 6
REPOSITORIES = ['alpha', 'beta/one', 'beta/two']
TAGS = 12  # of each client in each repository, pushed over and over
CONFIG = {'storage': {'gc': True, 'gcDelay': '4s', 'gcInterval': '1s'}, 'log': {'level': 'warn'}}
SHARED = [random.Random(f'layer {n}').randbytes(size) for n, size in enumerate([500, 5_000, 40_000, 70_000] * 6)]


class Client(threading.Thread):
    """Pushes images in every way that relies on what is there already."""

    def __init__(self, server, number, budget):
        super().__init__(daemon=True)
        self.server, self.number, self.budget = server, number, budget
        self.random, self.connection = random.Random(f'{SEED} {number}'), server.connect()
        self.problem, self.pushed, self.tags = None, 0, {}
        self.children = []  # untagged: (when, repository, descriptor, reached)

    def run(self):
        ways = [self.push_image] * 4 + [self.push_child] * 3 + [self.push_index] * 2 + [self.delete_manifest]
        try:
            while self.budget.take():
                self.random.choice(ways)()
                self.pushed += 1
        except Exception as error:  # reported by the main thread
            self.problem = error

    def ask(self, expected, method, path, body=None, headers=None):
        self.connection.request(method, path, body=body, headers=headers or {})
        answer = self.connection.getresponse()
        answer.body = answer.read()
        if answer.status not in (expected if isinstance(expected, tuple) else (expected,)):
            raise AssertionError(f'client {self.number}: {method} {path}: {answer.status} {answer.body[:500]!r}')
        return answer

    def blob(self, repository, data):
        """As clients do: asks first, mounts where it may lie, uploads what is not there."""
        digest = ht.sha256(data)
        if self.ask((200, 404), 'HEAD', f'/v2/{repository}/blobs/{digest}').status == 200:
            return
        if self.random.random() < 0.5:
            other = self.random.choice(REPOSITORIES)
            if self.ask((201, 202), 'POST', f'/v2/{repository}/blobs/uploads/?mount={digest}&from={other}').status == 201:
                return
        self.ask(201, 'POST', f'/v2/{repository}/blobs/uploads/?digest={digest}', data,
                 {'Content-Type': 'application/octet-stream'})

    def image(self, repository):
        """(manifest, digests that it reaches) with all its blobs pushed, some time before it is."""
        layers = self.random.sample(SHARED, self.random.randrange(1, 4))
        config = json.dumps({'architecture': 'amd64', 'os': 'linux', 'seed': self.random.getrandbits(64)}).encode()
        for data in [config, *layers]:
            self.blob(repository, data)
        if self.random.random() < 0.1:
            threading.Event().wait(self.random.random() * WITHIN_GRACE)
        manifest = {'schemaVersion': 2, 'mediaType': ht.OCI_MANIFEST, 'config': ht.descriptor(ht.OCI_CONFIG, config),
                    'layers': [ht.descriptor(ht.OCI_LAYER, data) for data in layers]}
        return json.dumps(manifest).encode(), {ht.sha256(data) for data in [config, *layers]}

    def put(self, repository, reference, body, kind):
        self.ask(201, 'PUT', f'/v2/{repository}/manifests/{reference}', body, {'Content-Type': kind})
        return ht.sha256(body)

    def tag(self, repository, body, kind, reached):
        tag = f'c{self.number}t{self.random.randrange(TAGS)}'
        self.tags[repository, tag] = reached | {self.put(repository, tag, body, kind)}

    def push_image(self):
        repository = self.random.choice(REPOSITORIES)
        body, reached = self.image(repository)
        self.tag(repository, body, ht.OCI_MANIFEST, reached)

    def push_child(self):
        """Without a tag; an index may name it while it is young."""
        repository = self.random.choice(REPOSITORIES)
        body, reached = self.image(repository)
        began = time.monotonic()
        digest = self.put(repository, ht.sha256(body), body, ht.OCI_MANIFEST)
        child = {'mediaType': ht.OCI_MANIFEST, 'digest': digest, 'size': len(body)}
        self.children.append((began, repository, child, reached | {digest}))

    def push_index(self):
        young = [c for c in self.children if time.monotonic() - c[0] < WITHIN_GRACE]
        self.children = young
        if not young:
            return self.push_child()
        repository = self.random.choice(young)[1]
        chosen = [c for c in young if c[1] == repository][:3]
        body = json.dumps({'schemaVersion': 2, 'mediaType': ht.OCI_INDEX, 'manifests': [c[2] for c in chosen]}).encode()
        self.tag(repository, body, ht.OCI_INDEX, set().union(*(c[3] for c in chosen)))

    def delete_manifest(self):
        """With its tag: what it reached is needed no more, unless others share it."""
        if not self.tags:
            return self.push_image()
        repository, tag = self.random.choice(sorted(self.tags))
        digest = self.ask(200, 'GET', f'/v2/{repository}/manifests/{tag}').headers['Docker-Content-Digest']
        self.ask(202, 'DELETE', f'/v2/{repository}/manifests/{digest}')
        self.tags = {key: reached for key, reached in self.tags.items() if key[0] != repository or digest not in reached}


class Budget:
    def __init__(self, count):
        self.count, self.mutex = count, threading.Lock()

    def take(self):
        with self.mutex:
            self.count -= 1
            return self.count >= 0


def check_whole(test, server, repository, reference, seen):
    """Everything that it reaches comes with the right bytes; returns the digests."""
    if (repository, reference) in seen:
        return set()
    seen.add((repository, reference))
    answer = server.request('GET', f'/v2/{repository}/manifests/{reference}')
    test.assertEqual(answer.status, 200, f'{repository}:{reference} {answer.body[:300]!r}')
    digest = answer.headers['Docker-Content-Digest']
    test.assertEqual(ht.sha256(answer.body), digest)
    manifest, reached = json.loads(answer.body), {digest}
    for child in manifest.get('manifests', []):
        reached |= check_whole(test, server, repository, child['digest'], seen) | {child['digest']}
    for part in [manifest['config'], *manifest['layers']] if 'config' in manifest else []:
        if (repository, part['digest']) not in seen:
            seen.add((repository, part['digest']))
            blob = server.request('GET', f'/v2/{repository}/blobs/{part["digest"]}')
            test.assertEqual((blob.status, ht.sha256(blob.body)), (200, part['digest']), f'of {repository}:{reference}')
        reached.add(part['digest'])
    return reached


def files_of(server):
    folder = server.root / 'blobs/sha256'
    return {f'sha256:{file.name}' for file in folder.glob('??/*') if not file.name.endswith('.crc')}


class Collection(ht.TestCase):
    def test_pushes_beside_collection_are_whole_and_what_nothing_reaches_goes(self):
        server = self.server(config=CONFIG)
        budget = Budget(PUSHES)
        clients = [Client(server, number, budget) for number in range(CLIENTS)]
        began = time.monotonic()
        for client in clients:
            client.start()
        while any(client.is_alive() for client in clients):
            for client in clients:
                client.join(0.1)
                if client.problem:
                    raise client.problem
        ended = time.monotonic()
        most = len(files_of(server))
        reached = set()
        for client in clients:
            for (repository, tag), wanted in client.tags.items():
                got = check_whole(self, server, repository, tag, set())
                self.assertEqual(got, wanted, f'{repository}:{tag} shows another image than was pushed last')
                reached |= wanted
        # Whatever the clients pushed last is young: from here the bound of P7 runs for all of it.
        left = set()
        while time.monotonic() - ended < BYTES:
            left = files_of(server) - reached
            if not left:
                break
            threading.Event().wait(0.5)
        self.assertEqual(left, set(), f'{len(left)} files are there {BYTES} s after nothing needed them any more')
        gone = time.monotonic() - ended
        self.assertEqual(files_of(server), reached)
        for client in clients:
            for repository, tag in client.tags:
                check_whole(self, server, repository, tag, set())
        print(f'{sum(c.pushed for c in clients)} pushes in {ended - began:.1f} s, {most} files then, {len(reached)} that are '
              f'reached; the others were gone after {gone:.1f} s (bound {BYTES:.0f})', file=sys.stderr)


if __name__ == '__main__':
    ht.main()
