#!/usr/bin/env python3
"""A disk that is really full, and one that really became read-only: clear answers, pulls go on, nothing is lost (P1).

The disks are a small tmpfs and a small ext4 in a file, mounted in a mount namespace of this process alone, so that
they are gone with it however it ends. Skipped where mounting is not allowed.
"""
import ctypes
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing as ht  # noqa: E402

CLONE_NEWNS = 0x20000
AT_ONCE = 2.0  # seconds until a push to a full disk is refused
DISK = 24  # MiB
MIB = 1024 * 1024


def own_mounts():
    """Mounts of this process and its children are nobody else's from now on. Why not, or None."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        return f'no mount namespace of its own: {os.strerror(ctypes.get_errno())}'
    done = subprocess.run(['mount', '--make-rprivate', '/'], capture_output=True, text=True)
    return done.stderr.strip() or None if done.returncode else None


class DiskCase(ht.TestCase):
    obstacle = ''  # not looked yet

    def setUp(self):
        if DiskCase.obstacle == '':
            DiskCase.obstacle = own_mounts()
        if DiskCase.obstacle:
            self.skipTest(DiskCase.obstacle)
        super().setUp()

    def mount(self, *arguments):
        place = self.folder / 'disk'
        place.mkdir()
        done = subprocess.run(['mount', *arguments, str(place)], capture_output=True, text=True)
        if done.returncode != 0:
            self.skipTest(f'mounting is not possible here: {done.stderr.strip()}')
        self.addCleanup(self.unmount, place)
        return place

    def unmount(self, place):
        if subprocess.run(['umount', str(place)], capture_output=True).returncode != 0:
            subprocess.run(['umount', '-l', str(place)], check=True)

    def is_spec_error(self, answer, *statuses):
        """One of the statuses, with the JSON of the distribution specification."""
        self.assertIn(answer.status, statuses, answer.body)
        error = json.loads(answer.body)['errors'][0]
        self.assertTrue(error['code'] and error['message'], error)
        return answer

    def pulls(self, server, images):
        """Every image that was acknowledged is there, whole."""
        for tag, digest in images.items():
            answer = server.request('GET', f'/v2/team/app/manifests/{tag}')
            self.assertEqual((answer.status, ht.sha256(answer.body)), (200, digest), tag)
            manifest = json.loads(answer.body)
            for part in [manifest['config'], *manifest['layers']]:
                blob = server.request('GET', f'/v2/team/app/blobs/{part["digest"]}')
                self.assertEqual((blob.status, ht.sha256(blob.body)), (200, part['digest']), tag)

    def push(self, server, tag, size, images):
        """Pushes an image as clients do. The answer that ended it; `images` learns of it if it was acknowledged."""
        layer, config = os.urandom(size), json.dumps({'architecture': 'amd64', 'os': 'linux', 'tag': tag}).encode()
        for data in (config, layer):
            answer = server.request('POST', f'/v2/team/app/blobs/uploads/?digest={ht.sha256(data)}', data, ht.OCTETS)
            if answer.status != 201:
                return answer
        body = json.dumps({'schemaVersion': 2, 'mediaType': ht.OCI_MANIFEST,
                           'config': ht.descriptor(ht.OCI_CONFIG, config),
                           'layers': [ht.descriptor(ht.OCI_LAYER, layer)]}).encode()
        answer = server.request('PUT', f'/v2/team/app/manifests/{tag}', body, {'Content-Type': ht.OCI_MANIFEST})
        if answer.status == 201:
            images[tag] = ht.sha256(body)
        return answer


class FullDisk(DiskCase):
    def small_server(self, **options):
        self.disk = self.mount('-t', 'tmpfs', '-o', f'size={DISK}m', 'none')
        return self.server(root=self.disk / 'root', **options)

    def fill(self):
        """Takes the last byte of the disk; returns the file to remove for space."""
        filler = self.disk / 'filler'
        with open(filler, 'wb', buffering=0) as file:
            for size in (MIB, 4096, 1):
                try:
                    while True:
                        file.write(b'\0' * size)
                except OSError:
                    pass
        self.assertEqual(os.statvfs(self.disk).f_bavail, 0)
        return filler

    def test_pushes_get_507_pulls_go_on_and_space_heals(self):
        server, images = self.small_server(), {}
        number, answer = 0, None
        while answer is None or answer.status == 201:  # until the disk is full of images
            answer = self.push(server, f'v{number}', 600_000, images)
            number += 1
            self.assertLess(number, 200, 'the disk is never full')
        self.assertGreater(len(images), 10)
        self.is_spec_error(answer, 507)
        filler = self.fill()
        for attempt in range(3):
            begun = time.monotonic()
            answer = self.push(server, f'late{attempt}', 1_000_000, images)
            self.is_spec_error(answer, 507)
            self.assertLess(time.monotonic() - begun, AT_ONCE)
            self.pulls(server, images)
        filler.unlink()
        self.assertEqual(self.push(server, 'after', 100_000, images).status, 201)
        self.pulls(server, images)
        server.stop()
        server.start()
        self.pulls(server, images)

    def test_a_start_on_a_full_disk_serves_pulls(self):
        server, images = self.small_server(), {}
        self.push(server, 'v1', 600_000, images)
        reserve = self.disk / 'root/reserve'
        ht.wait_for(reserve.exists, 30, 'space is kept for a start')
        for end in (lambda: server.stop(), lambda: (server.process.kill(), server.process.wait())):
            ht.wait_for(lambda: reserve.exists() and reserve.stat().st_size == DISK * MIB // 64, 30, 'it is kept')
            filler = self.fill()
            end()
            self.take_the_rest()
            server.start()
            self.pulls(server, images)
            self.is_spec_error(self.push(server, 'late', 1_000_000, images), 507)
            self.assertEqual(server.request('GET', '/readyz').status, 200)
            filler.unlink()
            (self.disk / 'rest').unlink(missing_ok=True)
            self.assertEqual(self.push(server, 'after', 100_000, images).status, 201)

    def take_the_rest(self):
        """What the end of the process gave back."""
        with open(self.disk / 'rest', 'wb', buffering=0) as file:
            for size in (4096, 1):
                try:
                    while True:
                        file.write(b'\0' * size)
                except OSError:
                    pass

    def test_every_kind_of_write_is_refused_and_can_be_tried_again(self):
        """Chunks, whole blobs, manifests, tags: 507 now, and the very same request succeeds when there is space."""
        server, images = self.small_server(), {}
        self.push(server, 'v1', 1000, images)
        manifest = server.request('GET', '/v2/team/app/manifests/v1').body
        opened = server.request('POST', '/v2/team/app/blobs/uploads/').headers['Location']
        filler = self.fill()
        data = os.urandom(300_000)
        chunk = server.request('PATCH', opened, data, {**ht.OCTETS, 'Content-Range': f'0-{len(data) - 1}'})
        self.is_spec_error(chunk, 507)
        whole = f'/v2/team/app/blobs/uploads/?digest={ht.sha256(data)}'
        self.is_spec_error(server.request('POST', whole, data, ht.OCTETS), 507)
        other = manifest + b'\n'
        kind = {'Content-Type': ht.OCI_MANIFEST}
        self.is_spec_error(server.request('PUT', '/v2/team/app/manifests/v2', other, kind), 507)
        self.assertEqual(server.request('GET', '/v2/team/app/manifests/v2').status, 404)
        # Changes of records alone need little: they may succeed in space that is there already, or say 507.
        tagged, refused = [], []
        for index in range(300):
            answer = server.request('PUT', f'/v2/team/app/manifests/n{index}', manifest, kind)
            (tagged if answer.status == 201 else refused).append(index)
            if answer.status != 201:
                self.is_spec_error(answer, 507)
                break
        self.assertTrue(refused, 'the log of the metadata grew on a full disk')
        for index in tagged:
            images[f'n{index}'] = images['v1']
        self.pulls(server, {'v1': images['v1'], **{f'n{i}': images['v1'] for i in tagged[-3:]}})
        filler.unlink()
        # The session stands where it stood: the chunk that did not fit is sent again.
        answer = server.request('PATCH', opened, data, {**ht.OCTETS, 'Content-Range': f'0-{len(data) - 1}'})
        self.assertEqual(answer.status, 202, answer.body)
        location = answer.headers['Location']
        done = server.request('PUT', f'{location}{"&" if "?" in location else "?"}digest={ht.sha256(data)}')
        self.assertEqual(done.status, 201, done.body)
        self.assertEqual(server.request('GET', f'/v2/team/app/blobs/{ht.sha256(data)}').body, data)
        self.assertEqual(server.request('PUT', '/v2/team/app/manifests/v2', other, kind).status, 201)
        for index in refused:
            self.assertEqual(server.request('PUT', f'/v2/team/app/manifests/n{index}', manifest, kind).status, 201)
        self.pulls(server, images)

    def test_clients_at_the_brink_lose_nothing(self):
        """Several push at once over the edge, others pull all the time: only 201 and 507, and pulls never fail."""
        server = self.small_server(config={'storage': {'gc': True, 'gcDelay': '4s', 'gcInterval': '1s'}})
        images, problems, over = {}, [], threading.Event()
        ballast = self.disk / 'ballast'  # what an administrator removes; a start needs a little space
        ballast.write_bytes(bytes(MIB))
        self.push(server, 'first', 1000, images)

        def pusher(name):
            mine, number, refused = {}, 0, 0
            while refused < 3 and number < 200:
                answer = self.push(server, f'{name}-{number}', 400_000, mine)
                if answer.status not in (201, 507):
                    problems.append((answer.status, answer.body))
                refused += answer.status != 201
                number += 1
            images.update(mine)

        def puller():
            while not over.is_set():
                try:
                    self.pulls(server, {'first': first})
                except Exception as error:
                    problems.append(error)
                    return

        first = images['first']
        pushers = [threading.Thread(target=pusher, args=(f'p{n}',)) for n in range(4)]
        reader = threading.Thread(target=puller)
        for thread in [*pushers, reader]:
            thread.start()
        for thread in pushers:
            thread.join(120)
        over.set()
        reader.join(30)
        self.assertEqual(problems, [])
        self.assertGreater(len(images), 10)
        self.pulls(server, images)
        server.process.kill()
        server.process.wait()
        ballast.unlink()
        server.start()
        self.pulls(server, images)

    def test_a_kill_and_a_start_on_the_full_disk_lose_nothing(self):
        """It serves what it has, or says that there is no space; with space everything is there."""
        server, images = self.small_server(), {}
        for number in range(5):
            self.push(server, f'v{number}', 100_000, images)
        filler = self.fill()
        server.process.kill()
        server.process.wait()
        server.expect_ready = False
        server.start()
        end = time.monotonic() + ht.START_SECONDS
        served = False
        while server.process.poll() is None and not served and time.monotonic() < end:
            try:
                served = server.request('GET', '/readyz').status == 200
            except OSError:
                time.sleep(0.02)
        if served:
            self.pulls(server, images)
            server.stop()
        else:
            self.assertNotEqual(server.process.wait(10), 0)
            message = server.log().strip().splitlines()[-1]
            self.assertIn('make space on this disk', message)
            self.assertIn(str(server.root), message)
        filler.unlink()
        server.expect_ready = True
        server.start()
        self.pulls(server, images)
        self.assertEqual(self.push(server, 'after', 100_000, images).status, 201)


class ReadOnlyDisk(DiskCase):
    def file_system(self):
        """An ext4 in a file: it can be made read-only under a running server, as the kernel does after an error."""
        image = self.folder / 'image'
        with open(image, 'wb') as file:
            file.truncate(64 * MIB)
        try:
            made = subprocess.run(['mkfs.ext4', '-q', '-F', str(image)], capture_output=True, text=True)
        except FileNotFoundError:
            self.skipTest('there is no mkfs.ext4')
        self.assertEqual(made.returncode, 0, made.stderr)
        return image, self.mount('-o', 'loop', str(image))

    def remount(self, place, option):
        subprocess.run(['mount', '-o', f'remount,{option}', str(place)], check=True, capture_output=True)

    def test_a_disk_that_becomes_read_only_refuses_pushes_and_serves_pulls(self):
        image, place = self.file_system()
        server, images = self.server(root=place / 'root'), {}
        for number in range(3):
            self.push(server, f'v{number}', 100_000, images)
        opened = server.request('POST', '/v2/team/app/blobs/uploads/').headers['Location']
        self.remount(place, 'abort')
        manifest = server.request('GET', '/v2/team/app/manifests/v1').body
        kind, data = {'Content-Type': ht.OCI_MANIFEST}, os.urandom(10_000)
        five = (500, 503, 507)
        for _ in range(2):
            self.is_spec_error(self.push(server, 'late', 10_000, images), *five)
            self.is_spec_error(server.request('PATCH', opened, data, ht.OCTETS), *five)
            self.is_spec_error(server.request('PUT', '/v2/team/app/manifests/v2', manifest, kind), *five)
            self.is_spec_error(server.request('PUT', '/v2/team/app/manifests/v9', manifest, kind), *five)
            self.is_spec_error(server.request('DELETE', '/v2/team/app/manifests/v1'), *five)
            self.is_spec_error(server.request('DELETE', f'/v2/team/app/manifests/{images["v0"]}'), *five)
            self.pulls(server, images)
            self.assertEqual(server.request('GET', '/v2/team/app/manifests/v9').status, 404)
        self.assertIn('Read-only file system', server.log())
        self.assertEqual(server.request('GET', '/livez').status, 200)
        # The administrator repairs the disk: everything acknowledged is there, nothing refused is.
        server.stop()
        self.unmount(place)
        subprocess.run(['fsck.ext4', '-p', '-f', str(image)], capture_output=True)
        subprocess.run(['mount', '-o', 'loop', str(image), str(place)], check=True, capture_output=True)
        server.start()
        self.pulls(server, images)
        self.assertEqual(server.request('GET', '/v2/team/app/manifests/v9').status, 404)
        self.assertEqual(self.push(server, 'after', 10_000, images).status, 201)

    def refused_start(self, server):
        """The one line that says why."""
        server.expect_ready = False
        server.start()
        self.assertNotEqual(server.process.wait(ht.START_SECONDS), 0)
        return server.log().strip().splitlines()[-1]

    def test_a_start_on_a_read_only_folder_says_what_is_wrong(self):
        place = self.mount('-t', 'tmpfs', '-o', f'size={DISK}m', 'none')
        server, images = self.server(root=place / 'root'), {}
        self.push(server, 'v1', 1000, images)
        server.stop()
        self.remount(place, 'ro')
        message = self.refused_start(server)
        for words in (str(server.root), 'Read-only file system', 'writable'):
            self.assertIn(words, message)
        self.remount(place, 'rw')
        server.expect_ready = True
        server.start()
        self.pulls(server, images)

    def test_layouts_that_do_not_fit_now_stop_the_start_and_the_next_one_takes_them(self):
        """Serving without them would let a client delete what the next start brings back."""
        images, files = 30, 400  # each image takes six files more
        place = self.mount('-t', 'tmpfs', '-o', f'size={DISK}m,nr_inodes={files}', 'none')
        root = place / 'root'
        digests = [ht.make_layout(root / f'app{number}', seed=number) for number in range(images)]
        server = ht.Server(self.folder / 'server', root=root)
        self.addCleanup(server.stop)
        message = self.refused_start(server)
        for words in (str(root), 'could not be taken in for now', 'start again'):
            self.assertIn(words, message)
        self.remount(place, 'nr_inodes=10000')
        server.expect_ready = True
        server.start()
        for number, digest in enumerate(digests):
            answer = server.request('GET', f'/v2/app{number}/manifests/v1')
            self.assertEqual((answer.status, ht.sha256(answer.body)), (200, digest))

    def test_a_first_start_where_nothing_can_be_made_says_what_is_wrong(self):
        place = self.mount('-t', 'tmpfs', '-o', 'size=1m,ro', 'none')
        server = ht.Server(self.folder / 'server', root=place / 'root')
        self.addCleanup(server.stop)
        message = self.refused_start(server)
        for words in (str(server.root), 'Read-only file system', 'writable'):
            self.assertIn(words, message)


if __name__ == '__main__':
    ht.main()
