#!/usr/bin/env python3
"""kill -9 in a loop, under push, retag, mount and delete with collection running: nothing acknowledged is lost (P1).

The clients keep a journal outside of the server: when each operation began and, if it was acknowledged, when it
ended. What was not acknowledged counts as "happened or did not". After every kill the server starts anew and must show
a state that some order of the journal allows, every visible manifest must be whole, and what was deleted stays away.

HANSA_KILL_CYCLES: how often (20; 200 with HANSA_FULL). HANSA_KILL_SEED: another course of events (1).
"""
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing as ht  # noqa: E402

CYCLES = int(os.environ.get('HANSA_KILL_CYCLES') or (200 if os.environ.get('HANSA_FULL') else 20))
SEED = os.environ.get('HANSA_KILL_SEED', '1')
SLOWEST_START = 2.0  # seconds, the bar
MEAN_SHORT_LIFE, LONG_LIFE = 0.4, (2.0, 4.5)  # seconds between readiness and the kill; long: collection gets far
GRACE = 4.0  # seconds: the smallest that the server grants
WITHIN_GRACE = 2.5  # seconds in which a client may rely on what it was told
CLIENTS = 6
REPOSITORIES = ['alpha', 'beta/one', 'beta/two']
TAGS = [f't{number}' for number in range(12)]
CONFIG = {'storage': {'gc': True, 'gcDelay': '4s', 'gcInterval': '1s'}, 'log': {'level': 'info'}}
LAYERS = [random.Random(f'layer {n}').randbytes(size)
          for n, size in enumerate([0, 1, 700, 5_000, 20_000, 65_536, 65_537, 150_000] * 3)]
ALWAYS = float('-inf')
DEAD = (OSError, http.client.HTTPException)  # what a client of a killed server sees


class Broken(Exception):
    """The server said or did what it must not."""


class Operation:
    """One change asked for. Without an acknowledgement it happened at any time until the kill, or never."""

    def __init__(self, kind, repository, digest=None, tags=(), start=None):
        self.kind, self.repository, self.digest, self.tags = kind, repository, digest, tuple(tags)
        self.start, self.end, self.acknowledged = time.monotonic() if start is None else start, None, False

    def acknowledge(self, end=None):
        self.end, self.acknowledged = time.monotonic() if end is None else end, True


class Journal:
    """What was asked and what was acknowledged since the last check, and what that check saw."""

    def __init__(self):
        self.mutex = threading.Lock()
        self.operations, self.tags, self.deleted = [], {}, {}
        self.acknowledged = self.ambiguous = 0

    def begin(self, kind, repository, digest=None, tags=()):
        operation = Operation(kind, repository, digest, tags)
        with self.mutex:
            self.operations.append(operation)
        return operation

    def refused(self, operation):
        """A clear refusal: it had no effect."""
        with self.mutex:
            self.operations.remove(operation)

    def close(self, killed):
        """The server is dead: what was not acknowledged by now can take effect no more."""
        for operation in self.operations:
            if not operation.acknowledged:
                operation.end = killed
        self.acknowledged += sum(o.acknowledged for o in self.operations)
        self.ambiguous += sum(not o.acknowledged for o in self.operations)

    def settle(self, tags):
        """The next cycle begins with what the check saw."""
        for operation in self.operations:
            key = (operation.repository, operation.digest)
            if operation.kind == 'put':
                self.deleted.pop(key, None)
        for operation in self.operations:
            if operation.kind in ('delete manifest', 'delete blob') and self.is_final(operation):
                self.deleted[operation.repository, operation.digest] = operation.kind
        self.operations, self.tags = [], dict(tags)

    def is_final(self, delete):
        """An acknowledged delete, and nobody asked for the same thing again while or after it ran."""
        return delete.acknowledged and not any(
            o.kind in ('put', 'blob') and (o.repository, o.digest) == (delete.repository, delete.digest) and
            o.end >= delete.start for o in self.operations)

    def allowed(self, repository, tag):
        """The digests that the tag may show now; None stands for "no such tag"."""
        first = Operation('put', repository, self.tags.get((repository, tag)), [tag], ALWAYS)
        first.acknowledge(ALWAYS)
        here = [o for o in self.operations if o.repository == repository]
        writes = [first] + [o for o in here if tag in o.tags]
        kills = [o for o in here if o.kind == 'delete manifest']

        def overwritten(write, before=float('inf')):
            return any(o.acknowledged and o.start > write.end and o.end < before for o in writes if o is not write)

        states = set()
        for write in writes:
            if overwritten(write):
                continue
            value = None if write.kind == 'delete tag' else write.digest
            gone = value and any(k.acknowledged and k.digest == value and k.start > write.end for k in kills)
            states.add(None if gone else value)
        for kill in kills:  # removes the tags that show its digest at that moment
            hit = any(w.kind == 'put' and w.digest == kill.digest and w.start < kill.end and
                      not overwritten(w, kill.start) for w in writes)
            if hit and not overwritten(kill):
                states.add(None)
        return states


class Wire:
    """One connection that is kept."""

    def __init__(self, server):
        self.server, self.connection = server, None

    def ask(self, method, path, body=None, headers=None):
        if self.connection is None:
            self.connection = self.server.connect(timeout=30)
        self.connection.request(method, path, body=body, headers=headers or {})
        answer = self.connection.getresponse()
        answer.body = answer.read()
        if answer.status >= 500 and answer.status != 503:
            raise Broken(f'{method} {path}: {answer.status} {answer.body!r}')
        return answer

    def close(self):
        if self.connection:
            self.connection.close()

    def blob(self, repository, digest):
        """The status; bytes that came were the right ones."""
        answer = self.ask('GET', f'/v2/{repository}/blobs/{digest}')
        if answer.status == 200 and ht.sha256(answer.body) != digest:
            raise Broken(f'wrong bytes as {digest} of {repository}')
        return answer.status

    def manifest(self, repository, reference):
        """(digest, manifest as JSON) or (None, None)."""
        answer = self.ask('GET', f'/v2/{repository}/manifests/{reference}')
        if answer.status == 404:
            return None, None
        digest = answer.headers['Docker-Content-Digest']
        if answer.status != 200 or ht.sha256(answer.body) != digest or reference not in (digest, *TAGS):
            raise Broken(f'manifest {reference} of {repository}: {answer.status}, said to be {digest}: {answer.body!r}')
        return digest, json.loads(answer.body)

    def holes(self, repository, manifest, known):
        """What is missing of an image or an index."""
        missing = []
        for child in manifest.get('manifests', []):
            if (repository, child['digest']) in known:
                continue
            digest, inner = self.manifest(repository, child['digest'])
            missing += [child['digest']] if digest is None else self.holes(repository, inner, known)
            known.add((repository, child['digest']))
        for part in [manifest['config'], *manifest['layers']] if 'config' in manifest else []:
            if (repository, part['digest']) in known:
                continue
            status = self.blob(repository, part['digest'])
            if status != 200:
                missing.append(f'{part["digest"]} ({status})')
            known.add((repository, part['digest']))
        return missing


class Client(threading.Thread):
    """Works at random until the server dies."""

    def __init__(self, server, journal, seed):
        super().__init__(daemon=True)
        self.wire, self.journal, self.random = Wire(server), journal, random.Random(seed)
        self.ended, self.problem, self.busy = None, None, 0

    def run(self):
        work = [self.push] * 6 + [self.push_index] * 2 + [self.retag] * 4 + [self.delete_tag] + \
            [self.delete_manifest] * 3 + [self.lone_blob] * 2 + [self.pull] * 2
        try:
            while True:
                self.random.choice(work)()
        except DEAD as error:
            self.ended = (time.monotonic(), error)
        except Exception as error:  # reported by the main thread
            self.problem = error
        self.wire.close()

    def place(self):
        return self.random.choice(REPOSITORIES), self.random.choice(TAGS)

    def change(self, good, operation, method, path, body=None, headers=None, refusals=()):
        """Carries out what the journal knows as begun. True: acknowledged; False: refused in an expected way."""
        answer = self.wire.ask(method, path, body, headers)
        if answer.status == good:
            operation.acknowledge()
            return True
        if answer.status == 503:  # not acknowledged; whether it happened is open
            self.busy += 1
            return False
        self.journal.refused(operation)
        if answer.status not in refusals:
            raise Broken(f'{method} {path}: {answer.status} {answer.body!r}')
        return False

    def upload(self, repository, data):
        """One of the ways to push a blob."""
        digest = ht.sha256(data)
        operation = self.journal.begin('blob', repository, digest)
        path = f'/v2/{repository}/blobs/uploads/'
        kind = {'Content-Type': 'application/octet-stream'}
        if self.random.random() < 0.5:
            return self.change(201, operation, 'POST', f'{path}?digest={digest}', data, kind)
        answer = self.wire.ask('POST', path)
        if answer.status != 202:
            raise Broken(f'POST {path}: {answer.status} {answer.body!r}')
        location, cut = answer.headers['Location'], self.random.randrange(len(data) + 1)
        if cut:
            answer = self.wire.ask('PATCH', location, data[:cut], kind)
            if answer.status != 202:
                raise Broken(f'PATCH {location}: {answer.status} {answer.body!r}')
            location = answer.headers['Location']
        return self.change(201, operation, 'PUT', f'{location}{"&" if "?" in location else "?"}digest={digest}',
                           data[cut:], kind)

    def provide(self, repository, data):
        """As clients do: is it there, can it be mounted, else upload it."""
        digest = ht.sha256(data)
        if self.wire.ask('HEAD', f'/v2/{repository}/blobs/{digest}').status == 200:
            return True
        source = self.random.choice(REPOSITORIES)
        if source != repository and self.random.random() < 0.7:
            operation = self.journal.begin('blob', repository, digest)
            answer = self.wire.ask('POST', f'/v2/{repository}/blobs/uploads/?mount={digest}&from={source}')
            if answer.status == 201:
                operation.acknowledge()
                return True
            self.journal.refused(operation)
            if answer.status != 202:
                raise Broken(f'mount into {repository}: {answer.status} {answer.body!r}')
            self.wire.ask('DELETE', answer.headers['Location'])
        return self.upload(repository, data)

    def put(self, repository, body, media_type, tags, begun):
        """A manifest under some tags. Refused only if the client itself took too long after it was told "it is there".
        """
        digest = ht.sha256(body)
        path = f'/v2/{repository}/manifests/{digest}'
        if len(tags) == 1:
            path = f'/v2/{repository}/manifests/{tags[0]}'
        elif tags:
            path += '?' + '&'.join(f'tag={tag}' for tag in tags)
        operation = self.journal.begin('put', repository, digest, tags)
        late = time.monotonic() - begun > WITHIN_GRACE
        return self.change(201, operation, 'PUT', path, body, {'Content-Type': media_type}, (404,) if late else ())

    def image(self, repository):
        """Provides the blobs of a new image; its manifest, or None if the server was too busy."""
        layers = self.random.sample(LAYERS, self.random.randint(1, 3))
        if self.random.random() < 0.3:
            layers.append(self.random.randbytes(self.random.randint(1, 3000)))
        config = json.dumps({'architecture': 'amd64', 'os': 'linux', 'nonce': self.random.random()}).encode()
        if not all(self.provide(repository, data) for data in [config, *layers]):
            return None
        return json.dumps({'schemaVersion': 2, 'mediaType': ht.OCI_MANIFEST,
                           'config': ht.descriptor(ht.OCI_CONFIG, config),
                           'layers': [ht.descriptor(ht.OCI_LAYER, layer) for layer in layers]}).encode()

    def push(self):
        begun, (repository, _) = time.monotonic(), self.place()
        manifest = self.image(repository)
        if manifest:
            self.put(repository, manifest, ht.OCI_MANIFEST, self.random.sample(TAGS, self.random.choice([1, 1, 1, 3])),
                     begun)

    def push_index(self):
        """Children first, without a tag; then the index that keeps them."""
        begun, (repository, tag) = time.monotonic(), self.place()
        children = []
        for _ in range(2):
            manifest = self.image(repository)
            if not manifest or not self.put(repository, manifest, ht.OCI_MANIFEST, [], begun):
                return
            children.append(ht.descriptor(ht.OCI_MANIFEST, manifest))
        index = {'schemaVersion': 2, 'mediaType': ht.OCI_INDEX, 'manifests': children}
        self.put(repository, json.dumps(index).encode(), ht.OCI_INDEX, [tag], begun)

    def retag(self):
        begun, (repository, source) = time.monotonic(), self.place()
        answer = self.wire.ask('GET', f'/v2/{repository}/manifests/{source}')
        if answer.status == 200:
            self.put(repository, answer.body, answer.headers['Content-Type'], [self.random.choice(TAGS)], begun)

    def delete_tag(self):
        repository, tag = self.place()
        operation = self.journal.begin('delete tag', repository, None, [tag])
        self.change(202, operation, 'DELETE', f'/v2/{repository}/manifests/{tag}', refusals=(404,))

    def delete_manifest(self):
        repository, tag = self.place()
        answer = self.wire.ask('HEAD', f'/v2/{repository}/manifests/{tag}')
        if answer.status != 200:
            return
        digest = answer.headers['Docker-Content-Digest']
        operation = self.journal.begin('delete manifest', repository, digest)
        self.change(202, operation, 'DELETE', f'/v2/{repository}/manifests/{digest}', refusals=(404, 405))

    def lone_blob(self):
        """A blob that no manifest needs, deleted by its owner or left to collection."""
        repository, _ = self.place()
        data = self.random.randbytes(self.random.randint(1, 5000))
        if self.upload(repository, data) and self.random.random() < 0.5:
            operation = self.journal.begin('delete blob', repository, ht.sha256(data))
            self.change(202, operation, 'DELETE', f'/v2/{repository}/blobs/{ht.sha256(data)}')

    def pull(self):
        """Whoever pulls meanwhile gets a whole image, or one that was deleted under his hands."""
        repository, tag = self.place()
        digest, manifest = self.wire.manifest(repository, tag)
        for _ in range(3):
            if digest is None:
                return
            holes = self.wire.holes(repository, manifest, set())
            if not holes:
                return
            digest, manifest = self.wire.manifest(repository, digest)
        raise Broken(f'{repository}@{digest} lacks {holes}')


class Check:
    """Compares a quiet server with the journal."""

    def __init__(self, server, journal, killed):
        self.wire, self.journal, self.killed = Wire(server), journal, killed
        self.losses, self.broken, self.tags = [], [], {}

    def run(self):
        self.recent_blobs()
        known = set()
        for repository in REPOSITORIES:
            self.repository(repository, known)
        self.finality()
        self.loose_manifests(known)
        self.wire.close()

    def recent_blobs(self):
        """An acknowledged blob stays for the grace time at least. (The slow clock stands while the server is down.)"""
        for operation in self.journal.operations:
            if operation.kind != 'blob' or not operation.acknowledged or self.killed - operation.end > WITHIN_GRACE:
                continue
            path = operation.repository, operation.digest
            if any(o.kind == 'delete blob' and (o.repository, o.digest) == path for o in self.journal.operations):
                continue
            status = self.wire.blob(*path)
            if status != 200:
                self.losses.append(f'blob {path} was acknowledged, now {status}')

    def repository(self, repository, known):
        answer = self.wire.ask('GET', f'/v2/{repository}/tags/list')
        listed = set(json.loads(answer.body)['tags'] or []) if answer.status == 200 else set()
        for tag in TAGS:
            digest, manifest = self.wire.manifest(repository, tag)
            allowed = self.journal.allowed(repository, tag)
            if digest not in allowed:
                self.losses.append(f'{repository}:{tag} shows {digest}; the journal allows {allowed}')
            if (tag in listed) != (digest is not None):
                self.losses.append(f'{repository}:{tag} shows {digest}, but the list of tags says {sorted(listed)}')
            if digest is None:
                continue
            self.tags[repository, tag] = digest
            holes = self.wire.holes(repository, manifest, known)
            if holes:
                self.broken.append(f'{repository}:{tag} lacks {holes}')
        if listed - set(TAGS):
            self.losses.append(f'{repository} has tags that nobody pushed: {listed - set(TAGS)}')

    def finality(self):
        """What was deleted, in this life of the server or before, stays away."""
        final = {(o.repository, o.digest): o.kind for o in self.journal.operations
                 if o.kind in ('delete manifest', 'delete blob') and self.journal.is_final(o)}
        asked = {(o.repository, o.digest) for o in self.journal.operations if o.kind in ('put', 'blob')}
        before = {key: kind for key, kind in self.journal.deleted.items() if key not in asked}
        for (repository, digest), kind in [*final.items(), *list(before.items())[-100:]]:
            what = 'manifests' if kind == 'delete manifest' else 'blobs'
            status = self.wire.ask('GET', f'/v2/{repository}/{what}/{digest}').status
            if status != 404:
                self.losses.append(f'{kind} {repository} {digest} was acknowledged, now {status}')

    def loose_manifests(self, known):
        """Manifests without a tag may be collected; as long as one shows, it is whole."""
        for operation in self.journal.operations:
            repository, digest = operation.repository, operation.digest
            if operation.kind != 'put' or (repository, digest) in known:
                continue
            known.add((repository, digest))
            seen, manifest = self.wire.manifest(repository, digest)
            holes = self.wire.holes(repository, manifest, set(known)) if seen else []
            if holes and self.wire.manifest(repository, digest)[0]:
                self.broken.append(f'{repository}@{digest} lacks {holes}')


class KillLoop(ht.TestCase):
    def kill(self, server):
        server.process.kill()
        server.process.wait()
        return time.monotonic()

    def live_and_die(self, server, journal, source, cycle):
        """Clients work until the server is killed at a random moment. Returns the clients and the kill's time."""
        clients = [Client(server, journal, f'{SEED}/{cycle}/{number}') for number in range(CLIENTS)]
        for client in clients:
            client.start()
        life = source.choice([source.expovariate(1 / MEAN_SHORT_LIFE), source.uniform(*LONG_LIFE)])
        time.sleep(life)  # the random moment itself
        asked = time.monotonic()
        killed = self.kill(server)
        for client in clients:
            client.join(60)
            self.assertFalse(client.is_alive(), 'a client hangs after the kill')
            if client.problem:
                raise AssertionError(f'cycle {cycle}, seed {SEED}: {client.problem!r}\n{server.log()[-4000:]}')
            self.assertGreaterEqual(client.ended[0], asked, f'cut off while the server lived: {client.ended[1]!r}')
        journal.close(killed)
        return clients, killed

    def start(self, server, source):
        """Starts the server, now and then killing it on its way up first. Returns the seconds until it was ready."""
        if source.random() < 0.25:
            server.expect_ready = False
            server.start()
            time.sleep(source.uniform(0, 0.1))
            self.kill(server)
            server.expect_ready = True
        begun = time.monotonic()
        server.start()
        return time.monotonic() - begun

    def test_nothing_acknowledged_is_lost(self):
        server, journal, source = self.server(config=CONFIG), Journal(), random.Random(SEED)
        slowest, busy, begun = 0.0, 0, time.monotonic()
        for cycle in range(CYCLES):
            clients, killed = self.live_and_die(server, journal, source, cycle)
            busy += sum(client.busy for client in clients)
            slowest = max(slowest, self.start(server, source))
            check = Check(server, journal, killed)
            check.run()
            if check.losses or check.broken:
                self.fail('\n'.join([f'cycle {cycle}, seed {SEED}:', *check.losses, *check.broken,
                                     server.log()[-4000:]]))
            journal.settle(check.tags)
        server.stop()
        collected = sum(int(n) for n in re.findall(r'"files":"?(\d+)', server.log()))
        print(f'kill -9 loop: {CYCLES} cycles in {time.monotonic() - begun:.0f} s, {journal.acknowledged} acknowledged '
              f'operations, {journal.ambiguous} ambiguous, {busy} answered 503, 0 losses, 0 broken images, '
              f'{collected} files collected, slowest start-up {slowest:.2f} s', file=sys.stderr)
        self.assertLessEqual(slowest, SLOWEST_START)
        self.assertGreater(journal.acknowledged, 10 * CYCLES)
        if CYCLES >= 20:
            self.assertGreater(collected, 0, 'collection did not take part')
        done = subprocess.run([str(ht.BINARY), 'scrub', str(server.config_file)], capture_output=True, text=True,
                              timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class TheCheckItself(ht.TestCase):
    """The loop is worth what its journal and its check can see."""

    def journal(self, before, *operations):
        journal = Journal()
        journal.tags = {('r', 't'): before} if before else {}
        for kind, digest, start, end in operations:
            operation = Operation(kind, 'r', digest, () if kind == 'delete manifest' else ['t'], start)
            operation.end = end if end else 100
            operation.acknowledged = end is not None
            journal.operations.append(operation)
        return journal.allowed('r', 't')

    def test_an_acknowledged_write_replaces_what_was_before(self):
        self.assertEqual(self.journal('a'), {'a'})
        self.assertEqual(self.journal(None), {None})
        self.assertEqual(self.journal('a', ('put', 'b', 1, 2)), {'b'})
        self.assertEqual(self.journal('a', ('put', 'b', 1, 2), ('put', 'c', 3, 4)), {'c'})
        self.assertEqual(self.journal('a', ('put', 'b', 1, 2), ('delete tag', None, 3, 4)), {None})

    def test_an_ambiguous_write_leaves_both(self):
        self.assertEqual(self.journal('a', ('put', 'b', 1, None)), {'a', 'b'})
        self.assertEqual(self.journal('a', ('put', 'b', 1, None), ('put', 'c', 3, 4)), {'b', 'c'})
        self.assertEqual(self.journal('a', ('delete tag', None, 1, None)), {'a', None})

    def test_overlapping_writes_leave_either(self):
        self.assertEqual(self.journal('a', ('put', 'b', 1, 4), ('put', 'c', 2, 3)), {'b', 'c'})

    def test_deleting_a_manifest_takes_the_tags_that_show_it(self):
        self.assertEqual(self.journal('a', ('delete manifest', 'a', 1, 2)), {None})
        self.assertEqual(self.journal('a', ('delete manifest', 'a', 1, None)), {'a', None})
        self.assertEqual(self.journal('a', ('delete manifest', 'x', 1, 2)), {'a'})
        self.assertEqual(self.journal('a', ('put', 'b', 1, 2), ('delete manifest', 'a', 3, 4)), {'b'})
        self.assertEqual(self.journal('a', ('delete manifest', 'a', 1, 2), ('put', 'a', 3, 4)), {'a'})
        self.assertEqual(self.journal('a', ('delete manifest', 'a', 1, 3), ('put', 'a', 2, 4)), {'a', None})

    def test_a_server_set_back_in_time_is_found_out(self):
        """An older copy of the data in place of the newest: the check must see every kind of loss."""
        server, journal = self.server(config={'storage': {'gc': False}}), Journal()
        client = Client(server, journal, 1)
        for tag in ('t0', 't1'):
            self.assertTrue(client.put('alpha', client.image('alpha'), ht.OCI_MANIFEST, [tag], time.monotonic()))
        client.wire.close()
        server.stop()
        shutil.copytree(server.root, self.folder / 'old')
        server.start()
        client.wire = Wire(server)
        self.assertTrue(client.put('alpha', client.image('alpha'), ht.OCI_MANIFEST, ['t0'], time.monotonic()))
        deleted, _ = client.wire.manifest('alpha', 't1')
        operation = journal.begin('delete manifest', 'alpha', deleted)
        self.assertTrue(client.change(202, operation, 'DELETE', f'/v2/alpha/manifests/{deleted}'))
        self.assertTrue(client.upload('alpha', b'a lone blob'))
        client.wire.close()
        server.process.kill()
        server.process.wait()
        journal.close(time.monotonic())
        server.start()
        whole = Check(server, journal, time.monotonic())
        whole.run()
        self.assertEqual((whole.losses, whole.broken), ([], []))
        server.stop()
        shutil.rmtree(server.root)
        shutil.copytree(self.folder / 'old', server.root)
        server.start()
        check = Check(server, journal, time.monotonic())
        check.run()
        text = '\n'.join(check.losses)
        self.assertIn('alpha:t0 shows', text)
        self.assertIn('alpha:t1 shows', text)
        self.assertIn(f'delete manifest alpha {deleted} was acknowledged', text)
        self.assertIn('blob (', text)


if __name__ == '__main__':
    ht.main()
