#!/usr/bin/env python3
"""Rot: bytes that flip in the files of a server, stopped or running, are found and never served (P4).

A request meets the right bytes, a clear 5xx, or a connection that is cut before the wrong byte; a scrub names what is
damaged; a new push of the same digest heals it; a damaged database is an error that says so, never an answer.
HANSA_FULL tries more places.
"""
import http.client
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing as ht  # noqa: E402

FULL = bool(os.environ.get('HANSA_FULL'))
CHUNK = 64 * 1024  # the unit of the checksums
SIZE = 3 * CHUNK + 1000
REPOSITORY = 'team/app'
BLOBS = f'/v2/{REPOSITORY}/blobs'
MANIFESTS = f'/v2/{REPOSITORY}/manifests'
ALWAYS_CHECKED = {'storage': {'verifyEvery': '0s'}}  # by default a chunk is believed for a day once it was checked
# Where a byte flips: ends, both sides of each chunk's border, and anywhere.
PLACES = sorted({0, 1, SIZE - 1, *(b + d for b in range(CHUNK, SIZE, CHUNK) for d in (-1, 0)),
                 *(random.Random(7).sample(range(SIZE), 60 if FULL else 3))})


def file_of(server, digest):
    algorithm, name = digest.split(':')
    return server.root / 'blobs' / algorithm / name[:2] / name


def sidecar_of(server, digest):
    return pathlib.Path(f'{file_of(server, digest)}.crc')


def flip(path, place, mask=0x10):
    """Flips bits of one byte in place, as a disk does: same file, same length."""
    with open(path, 'r+b') as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ mask]))


def scrub(server):
    return subprocess.run([str(ht.BINARY), 'scrub', str(server.config_file)], capture_output=True, text=True,
                          timeout=120)


class RotCase(ht.TestCase):
    def get(self, server, path, headers=None):
        """(status, body, whole): the body as far as it came."""
        connection = server.connect()
        try:
            connection.request('GET', path, headers=headers or {})
            answer = connection.getresponse()
            try:
                return answer.status, answer.read(), True
            except http.client.IncompleteRead as cut:
                return answer.status, cut.partial, False
            except ConnectionError:
                return answer.status, b'', False
        finally:
            connection.close()

    def is_clear_error(self, status, body):
        self.assertGreaterEqual(status, 500, body[:200])
        error = json.loads(body)['errors'][0]
        self.assertTrue(error['code'] and error['message'], error)

    def right_or_refused(self, data, place, answer, first=0, last=None):
        """A range of `data` was asked for, and the byte at `place` is rotten. Whether the answer was refused or cut."""
        status, body, whole = answer
        wanted = data[first:len(data) if last is None else last + 1]
        if status >= 500:
            self.is_clear_error(status, body)
            return True
        self.assertIn(status, (200, 206))
        if whole:
            self.assertTrue(body == wanted, f'wrong bytes were served, rotten at {place}')
            self.assertFalse(first <= place < first + len(wanted), f'the damage at {place} was not noticed')
            return False
        self.assertTrue(wanted.startswith(body), f'wrong bytes before the cut, rotten at {place}')
        return True

    def parts(self, body, boundary):
        """The bodies of multipart/byteranges."""
        return [part.split(b'\r\n\r\n', 1)[1] for part in body.split(b'--' + boundary)[1:-1]]

    def refused_until_pushed(self, server, digest, data):
        self.is_clear_error(*self.get(server, f'{BLOBS}/{digest}')[:2])
        self.assertFalse(file_of(server, digest).exists(), 'the damaged file is still in its place')
        self.assertTrue(list((server.root / 'quarantine').glob(f'*{digest.split(":")[1]}*')))
        answer = server.request('POST', f'{BLOBS}/uploads/?digest={digest}', data, ht.OCTETS)
        self.assertEqual(answer.status, 201, answer.body)
        self.assertEqual(self.get(server, f'{BLOBS}/{digest}'), (200, data, True))


class Blobs(RotCase):
    def kinds_of_reads(self, server, digest, data, place):
        """Each is the first to meet the damage of a blob of its own. Whether it was refused or cut."""
        path = f'{BLOBS}/{digest}'
        chunk = place // CHUNK * CHUNK

        def whole():
            return self.right_or_refused(data, place, self.get(server, path))

        def a_byte():
            answer = self.get(server, path, {'Range': f'bytes={place}-{place}'})
            return self.right_or_refused(data, place, answer, place, place)

        def around():
            first, last = max(0, place - 100), min(len(data) - 1, place + 100)
            answer = self.get(server, path, {'Range': f'bytes={first}-{last}'})
            return self.right_or_refused(data, place, answer, first, last)

        def beside():  # a chunk that is sound may be served
            first = 0 if chunk else CHUNK
            answer = self.get(server, path, {'Range': f'bytes={first}-{first + 99}'})
            self.right_or_refused(data, place, answer, first, first + 99)
            return whole()

        def several():
            spans = [(5, 50), (place, place), (len(data) - 20, len(data) - 1)]
            ranges = ','.join(f'{first}-{last}' for first, last in spans)
            status, body, complete = self.get(server, path, {'Range': f'bytes={ranges}'})
            if status >= 500:
                self.is_clear_error(status, body)
                return True
            self.assertEqual(status, 206)
            self.assertFalse(complete, f'the damage at {place} was not noticed')
            boundary = digest.split(':')[1][:40].encode()
            for part, (first, last) in zip(self.parts(body + b'--' + boundary, boundary), spans):
                wanted = data[first:last + 1]
                self.assertTrue(part[:len(wanted)] == wanted or wanted.startswith(part), 'wrong bytes before the cut')
            return True

        def head_first():  # HEAD brings no bytes; what follows it is checked all the same
            self.assertIn(server.request('HEAD', path).status, (200, 500, 503))
            return whole()

        return [whole, a_byte, around, beside, several, head_first]

    def plant(self, server):
        """One blob for each place and kind of read."""
        planted, source = [], random.Random(3)
        for place in PLACES:
            for kind in range(6):
                data = source.randbytes(SIZE)
                planted.append((server.push_blob(REPOSITORY, data), data, place, kind))
        return planted

    def never_served(self, server, planted):
        for digest, data, place, kind in planted:
            self.assertTrue(self.kinds_of_reads(server, digest, data, place)[kind](), (place, kind))
            self.is_clear_error(*self.get(server, f'{BLOBS}/{digest}')[:2])
        for digest, data, _, _ in planted[::7]:
            self.refused_until_pushed(server, digest, data)

    def test_a_restarted_server_checks_anew(self):
        server = self.server()
        planted = self.plant(server)
        server.stop()
        for digest, _, place, _ in planted:
            flip(file_of(server, digest), place)
        server.start()
        self.never_served(server, planted)

    def test_a_running_server_that_always_checks_sees_it_at_once(self):
        server = self.server(config=ALWAYS_CHECKED)
        planted = self.plant(server)
        for digest, data, place, _ in planted:
            self.assertEqual(self.get(server, f'{BLOBS}/{digest}'), (200, data, True))  # it was sound, and was read
            flip(file_of(server, digest), place)
        self.never_served(server, planted)

    def test_every_bit_of_a_byte_counts(self):
        server = self.server(config=ALWAYS_CHECKED)
        for bit in range(8):
            data = os.urandom(1000)
            digest = server.push_blob(REPOSITORY, data)
            flip(file_of(server, digest), 500, 1 << bit)
            self.assertTrue(self.right_or_refused(data, 500, self.get(server, f'{BLOBS}/{digest}')))

    def test_damage_far_into_a_large_blob_cuts_the_connection_before_it(self):
        server = self.server()
        data, place = os.urandom(6 * 1024 * 1024), 5 * 1024 * 1024 + 17
        digest = server.push_blob(REPOSITORY, data)
        server.stop()
        flip(file_of(server, digest), place)
        server.start()
        status, body, whole = self.get(server, f'{BLOBS}/{digest}')
        self.assertTrue(self.right_or_refused(data, place, (status, body, whole)))
        self.assertLessEqual(len(body) if status == 200 else 0, place)
        self.refused_until_pushed(server, digest, data)

    def test_many_readers_at_once_get_no_wrong_byte(self):
        server = self.server()
        data, place = os.urandom(2 * 1024 * 1024), 1024 * 1024
        digest = server.push_blob(REPOSITORY, data)
        server.stop()
        flip(file_of(server, digest), place)
        server.start()
        problems, refused = [], []

        def read():
            try:
                refused.append(self.right_or_refused(data, place, self.get(server, f'{BLOBS}/{digest}')))
            except Exception as error:
                problems.append(error)

        readers = [threading.Thread(target=read) for _ in range(16)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(60)
        self.assertEqual(problems, [])
        self.assertEqual(refused, [True] * 16)
        self.refused_until_pushed(server, digest, data)

    def test_files_that_are_cut_or_longer_or_empty_are_not_served(self):
        server = self.server()
        changes = {'cut': lambda b: b[:-1], 'halved': lambda b: b[:len(b) // 2], 'longer': lambda b: b + b'x',
                   'empty': lambda b: b'', 'zeros': lambda b: bytes(len(b)), 'a chunk short': lambda b: b[CHUNK:]}
        blobs = {}
        for name in changes:
            data = os.urandom(SIZE)
            blobs[name] = (server.push_blob(REPOSITORY, data), data)
        server.stop()
        for name, change in changes.items():
            file_of(server, blobs[name][0]).write_bytes(change(blobs[name][1]))
        server.start()
        for name, (digest, data) in blobs.items():
            status, body, whole = self.get(server, f'{BLOBS}/{digest}')
            if status == 200:
                self.assertFalse(whole, name)
                self.assertTrue(data.startswith(body), name)
            else:
                self.is_clear_error(status, body)
            self.refused_until_pushed(server, digest, data)

    def test_a_damaged_sidecar_costs_nothing_but_a_look(self):
        """The blob is sound, so it is served; the checksums are made anew, and still find what rots later."""
        server = self.server()
        blobs = []
        data = os.urandom(SIZE)
        probe = server.push_blob(REPOSITORY, data)
        length = sidecar_of(server, probe).stat().st_size
        for place in [*range(length), 'cut', 'gone', 'empty', 'longer']:
            data = random.Random(f'sidecar {place}').randbytes(SIZE)
            blobs.append((server.push_blob(REPOSITORY, data), data, place))
        server.stop()
        for digest, _, place in blobs:
            path = sidecar_of(server, digest)
            sums = path.read_bytes()
            if place == 'gone':
                path.unlink()
            elif isinstance(place, str):
                path.write_bytes({'cut': sums[:-1], 'empty': b'', 'longer': sums + b'x'}[place])
            else:
                flip(path, place)
        server.start()
        for digest, data, place in blobs:
            self.assertEqual(self.get(server, f'{BLOBS}/{digest}'), (200, data, True), place)
        server.stop()
        for digest, _, _ in blobs:
            flip(file_of(server, digest), SIZE - 1)
        server.start()
        for digest, data, place in blobs:
            self.assertTrue(self.right_or_refused(data, SIZE - 1, self.get(server, f'{BLOBS}/{digest}')), place)

    def test_both_damaged_is_not_served(self):
        server = self.server()
        blobs = []
        for number in range(8):
            data = random.Random(number).randbytes(SIZE)
            blobs.append((server.push_blob(REPOSITORY, data), data))
        server.stop()
        for number, (digest, _) in enumerate(blobs):
            flip(file_of(server, digest), 100)
            flip(sidecar_of(server, digest), number * (sidecar_of(server, digest).stat().st_size - 1) // 7)
        server.start()
        for digest, data in blobs:
            self.assertTrue(self.right_or_refused(data, 100, self.get(server, f'{BLOBS}/{digest}')))
            self.refused_until_pushed(server, digest, data)


class Manifests(RotCase):
    def image(self, server):
        digest = server.push_image(REPOSITORY, 'v1')
        return digest, server.request('GET', f'{MANIFESTS}/v1').body

    def test_a_damaged_manifest_is_not_served_and_a_push_heals_it(self):
        server = self.server()
        digest, body = self.image(server)
        for place in (0, len(body) // 2, len(body) - 1):
            server.stop()
            flip(file_of(server, digest), place, 1)
            server.start()
            for path in (f'{MANIFESTS}/v1', f'{MANIFESTS}/{digest}', f'{BLOBS}/{digest}'):
                self.is_clear_error(*self.get(server, path)[:2])
            head = server.request('HEAD', f'{MANIFESTS}/v1')
            if head.status == 200:  # the catalogue knows which manifest it is
                self.assertEqual(head.headers['Docker-Content-Digest'], digest)
            self.assertEqual(json.loads(server.request('GET', f'/v2/{REPOSITORY}/tags/list').body)['tags'], ['v1'])
            self.assertEqual(server.push_manifest(REPOSITORY, 'v1', body), digest)
            for path in (f'{MANIFESTS}/v1', f'{MANIFESTS}/{digest}', f'{BLOBS}/{digest}'):
                self.assertEqual(self.get(server, path), (200, body, True))

    def test_a_running_server_serves_the_manifest_that_was_pushed_or_none(self):
        server = self.server(config=ALWAYS_CHECKED)
        digest, body = self.image(server)
        for place in range(len(body)):
            flip(file_of(server, digest), place, 1)
            status, got, _ = self.get(server, f'{MANIFESTS}/v1')
            if status == 200:
                self.assertEqual(got, body)
                flip(file_of(server, digest), place, 1)
            else:
                self.is_clear_error(status, got)
                self.assertEqual(server.push_manifest(REPOSITORY, 'v1', body), digest)

    def test_a_damaged_config_or_layer_leaves_the_rest_of_the_image_alone(self):
        server = self.server()
        _, body = self.image(server)
        manifest = json.loads(body)
        server.stop()
        flip(file_of(server, manifest['layers'][0]['digest']), 5)
        server.start()
        self.assertEqual(self.get(server, f'{MANIFESTS}/v1'), (200, body, True))
        self.is_clear_error(*self.get(server, f'{BLOBS}/{manifest["layers"][0]["digest"]}')[:2])
        for part in (manifest['config'], manifest['layers'][1]):
            self.assertEqual(ht.sha256(self.get(server, f'{BLOBS}/{part["digest"]}')[1]), part['digest'])


class Scrub(RotCase):
    def rotten(self, server):
        """Ten blobs, three of them damaged: {digest: bytes} of the damaged ones."""
        blobs = {}
        for number in range(10):
            data = random.Random(f'scrub {number}').randbytes(SIZE)
            blobs[server.push_blob(REPOSITORY, data)] = data
            self.get(server, f'{BLOBS}/{ht.sha256(data)}')  # checked once already
        bad = dict(list(blobs.items())[2:8:2])
        for digest, place in zip(bad, (0, CHUNK, SIZE - 1)):
            flip(file_of(server, digest), place)
        return bad

    def reports(self, server, bad):
        done = scrub(server)
        named = {line.split()[1] for line in done.stdout.splitlines() if line.startswith('corrupt ')}
        self.assertEqual(named, set(bad), done.stdout + done.stderr)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('10 blobs checked', done.stdout)
        self.assertIn('3 corrupt', done.stdout)

    def heal(self, server, bad):
        for digest, data in bad.items():
            self.refused_until_pushed(server, digest, data)
        done = scrub(server)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn('10 blobs checked', done.stdout)

    def test_a_running_server_names_what_is_damaged(self):
        """Also what it believes because it was checked within the day."""
        server = self.server()
        bad = self.rotten(server)
        self.reports(server, bad)
        self.heal(server, bad)

    def test_a_stopped_one_is_scrubbed_by_the_command_itself(self):
        server = self.server()
        bad = self.rotten(server)
        server.stop()
        self.reports(server, bad)
        server.start()
        self.heal(server, bad)

    def test_a_scrub_goes_no_faster_than_it_is_told_to(self):
        server = self.server()
        for number in range(2):
            server.push_blob(REPOSITORY, random.Random(number).randbytes(1024 * 1024))
        for running in (True, False):
            if not running:
                server.stop()
            began = time.monotonic()
            done = subprocess.run([str(ht.BINARY), 'scrub', str(server.config_file), '--rate', '1'], capture_output=True, text=True,
                                  timeout=60)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn('2 blobs checked', done.stdout)
            self.assertGreater(time.monotonic() - began, 1.9, 'two blobs of 1 MiB, at 1 MiB a second')
        for rate in ('-1', 'fast', '1000001'):
            done = subprocess.run([str(ht.BINARY), 'scrub', str(server.config_file), '--rate', rate], capture_output=True, text=True)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn('--rate', done.stderr)

    def test_a_damaged_sidecar_is_mended_and_not_reported(self):
        server = self.server()
        digest = server.push_blob(REPOSITORY, os.urandom(SIZE))
        sums = sidecar_of(server, digest).read_bytes()
        flip(sidecar_of(server, digest), 20)
        done = scrub(server)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(sidecar_of(server, digest).read_bytes(), sums)


class Database(RotCase):
    """hansa.db: the pages carry checksums. hansa.db-wal: its frames follow on each other."""

    def fill(self, server):
        """Something of every kind; returns the questions with their right answers."""
        images = [server.push_image(REPOSITORY, f'v{number}', seed=number, layer_size=100) for number in range(12)]
        server.push_image('other/app', 'v1', seed=1, layer_size=100)
        subject = {'mediaType': ht.OCI_MANIFEST, 'digest': images[0],
                   'size': len(server.request('GET', f'{MANIFESTS}/v0').body)}
        config = b'{}'
        server.push_blob(REPOSITORY, config)
        server.push_manifest(REPOSITORY, 'signature', {
            'schemaVersion': 2, 'mediaType': ht.OCI_MANIFEST, 'artifactType': 'application/example',
            'subject': subject,
            'config': ht.descriptor('application/vnd.oci.empty.v1+json', config), 'layers': []})
        self.assertEqual(server.request('DELETE', f'{MANIFESTS}/{images[11]}').status, 202)
        self.assertEqual(server.request('DELETE', f'{MANIFESTS}/v10').status, 202)
        paths = ['/v2/_catalog', f'/v2/{REPOSITORY}/tags/list', '/v2/other/app/tags/list',
                 f'/v2/{REPOSITORY}/referrers/{images[0]}', f'{MANIFESTS}/v10', f'{MANIFESTS}/{images[11]}',
                 f'{MANIFESTS}/absent', f'{BLOBS}/{ht.sha256(config)}', '/v2/other/app/manifests/v1',
                 f'{MANIFESTS}/signature', *(f'{MANIFESTS}/v{n}' for n in range(10)),
                 *(f'{MANIFESTS}/{digest}' for digest in images[:10])]
        return {path: self.get(server, path) for path in paths}

    def answers(self, server, right, where):
        """Every answer is the right one or a clear 5xx. How many were refused."""
        refused = 0
        for path, wanted in right.items():
            status, body, _ = got = self.get(server, path)
            if got == wanted:
                continue
            self.assertGreaterEqual(status, 500, f'{where}: {path} is answered {status} {body[:300]}, not {wanted[:2]}')
            self.is_clear_error(status, body)
            refused += 1
        return refused

    def restore(self, server, backup):
        shutil.rmtree(server.root)
        shutil.copytree(backup, server.root)

    def start_or_say(self, server):
        """Whether it starts; if it does not, it says what is damaged, and where."""
        server.expect_ready = False
        size = len(server.log())
        server.start()
        end = time.monotonic() + ht.START_SECONDS
        while time.monotonic() < end:
            if server.process.poll() is not None:
                message = server.log()[size:].strip().splitlines()[-1]
                self.assertNotEqual(server.process.returncode, 0)
                self.assertIn(str(server.root), message)
                self.assertRegex(message, 'damaged|broken|missing or empty')
                return False
            try:
                if server.request('GET', '/readyz').status == 200:
                    return True
            except OSError:
                time.sleep(0.01)
        self.fail('neither ready nor ended')

    def places(self, size):
        """At least one byte of each page: in its head, its middle or its end."""
        source, page = random.Random(5), 4096
        for start in range(0, size, page):
            ends = [start, start + page // 2, start + page - 1]
            yield from ends + source.sample(range(start, start + page), 3) if FULL else [
                source.choice([*ends, source.randrange(start, start + page)]), start + page // 2]

    def test_no_flipped_byte_of_a_stopped_servers_database_is_believed(self):
        server = self.server(config={'storage': {'gc': False}})
        right = self.fill(server)
        server.stop()
        backup = self.folder / 'backup'
        shutil.copytree(server.root, backup)
        self.assertFalse((backup / 'hansa.db-wal').exists(), 'a clean stop leaves everything in hansa.db')
        started = refused = tried = 0
        for place in self.places((backup / 'hansa.db').stat().st_size):
            self.restore(server, backup)
            flip(server.root / 'hansa.db', place)
            tried += 1
            if self.start_or_say(server):
                started += 1
                refused += self.answers(server, right, f'byte {place} flipped')
                server.process.kill()
                server.process.wait()
        print(f'hansa.db: {tried} flips, {tried - started} refused to start, {refused} requests refused after a start',
              file=sys.stderr)
        self.assertGreater(tried - started + refused, 0, 'no flip was ever noticed')
        # With the backup in its place everything is there.
        self.restore(server, backup)
        self.assertTrue(self.start_or_say(server))
        self.assertEqual(self.answers(server, right, 'the backup'), 0)

    def test_no_flip_in_the_log_of_a_killed_server_loses_what_was_acknowledged(self):
        server = self.server(config={'storage': {'gc': False}})
        right = self.fill(server)
        size = (server.root / 'hansa.db-wal').stat().st_size
        server.push_image('last/app', 'v1', seed=99, layer_size=100)  # damage to the very last commit is not known
        del right['/v2/_catalog']
        server.process.kill()
        server.process.wait()
        backup = self.folder / 'backup'
        shutil.copytree(server.root, backup, ignore=shutil.ignore_patterns('*.sock'))
        source, refused = random.Random(6), 0
        places = [source.randrange(size) for _ in range(400 if FULL else 25)]
        for place in places:
            self.restore(server, backup)
            flip(server.root / 'hansa.db-wal', place)
            if not self.start_or_say(server):
                refused += 1
                self.assertIn('truncate -s', server.log())
                continue
            self.assertEqual(self.answers(server, right, f'byte {place} of the log flipped'), 0)
            server.process.kill()
            server.process.wait()
        print(f'hansa.db-wal: {len(places)} flips, {refused} refused to start', file=sys.stderr)
        self.restore(server, backup)
        self.assertTrue(self.start_or_say(server))
        self.assertEqual(self.answers(server, right, 'the log as it was'), 0)

    def test_a_running_servers_damaged_database_gives_right_answers_or_none(self):
        server = self.server(config={'storage': {'gc': False}})
        right = self.fill(server)
        server.stop()  # everything is in hansa.db now, and nothing of it in memory
        server.start()
        size = (server.root / 'hansa.db').stat().st_size
        for start in range(0, size, 4096):
            flip(server.root / 'hansa.db', start + 2048)
        self.answers(server, right, 'every page damaged')
        # Pushes are refused or hold; no tag moves by itself.
        other = right[f'{MANIFESTS}/v1'][1]
        answer = server.request('PUT', f'{MANIFESTS}/v0', other, {'Content-Type': ht.OCI_MANIFEST})
        shown = self.get(server, f'{MANIFESTS}/v0')
        if answer.status == 201:
            self.assertTrue(shown[0] >= 500 or shown[1] == other)
        else:
            self.is_clear_error(answer.status, answer.body)
        self.assertEqual(server.request('GET', '/livez').status, 200)

    def test_other_contents_are_not_taken_for_the_database(self):
        server = self.server(config={'storage': {'gc': False}})
        self.fill(server)
        server.stop()
        backup = self.folder / 'backup'
        shutil.copytree(server.root, backup)
        whole = (backup / 'hansa.db').read_bytes()
        for contents in (b'', os.urandom(len(whole)), whole[:4096], whole[:len(whole) // 8192 * 4096], whole[:5000]):
            self.restore(server, backup)
            (server.root / 'hansa.db').write_bytes(contents)
            self.assertFalse(self.start_or_say(server), f'{len(contents)} bytes')


if __name__ == '__main__':
    ht.main()
