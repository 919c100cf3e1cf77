#!/usr/bin/env python3
"""Bytes of replicated blobs are flipped on one node's disk: it never serves them, and has the right ones again.

Some bytes of each file; with HANSA_ROT=all every byte of 256 KiB of blobs and of their checksum files, which takes long.
"""
import json
import os
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402

ALL = os.environ.get('HANSA_ROT') == 'all'
CHUNK = 64 * 1024  # bytes: blobs of one chunk have no checksum file
SIZE = 2 * CHUNK  # of a blob


def flip(path, offset):
    with open(path, 'r+b') as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x55]))


class OnDisks:
    """Blobs that lie on every node of the shared cluster, and their files."""

    def files(self, node, digest):
        text = digest.removeprefix('sha256:')
        blob = pathlib.Path(node.data) / 'blobs/sha256' / text[:2] / text
        return [blob, blob.with_name(blob.name + '.crc')] if blob.exists() and blob.stat().st_size > CHUNK else [blob]

    def push(self, repository, count, size):
        """The digests of blobs that every node has."""
        source = random.Random(repository)
        blobs = [source.randbytes(size) for _ in range(count)]
        client = ct.Node(self.cluster.nodes[0].url)
        config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
        for blob in [config, *blobs]:
            client.push_blob(repository, blob)
        client.push_manifest(repository, 'v1', ct.manifest_of(config, blobs))
        digests = [ht.sha256(blob) for blob in blobs]
        self.cluster.wait(lambda: all(path.exists() for node in self.cluster.nodes for digest in digests
                                      for path in self.files(node, digest)), 60, 'every node has every blob')
        return digests

    def check_whole(self, node, digests, flips):
        print(f'{flips} flips', file=sys.stderr)
        for digest in digests:
            self.assertEqual(ht.sha256(self.files(node, digest)[0].read_bytes()), digest)

        def covers_everything():
            status = json.loads(self.cluster.hansa('cluster', 'status', '--json', node.config).stdout)
            mark = next(member['holds'] for member in status['members'] if member['id'] == node.id)
            return mark and mark['full'] and mark['left_out'] == 0
        self.cluster.wait(covers_everything, 30, 'the mark of the node covers everything')
        kept = list((pathlib.Path(node.data) / 'quarantine').iterdir())
        self.assertLessEqual(len(kept), 100)

    def offsets(self, length, source, some):
        return range(length) if ALL else sorted(source.sample(range(length), min(some, length)))


class EveryReadIsChecked(OnDisks, ct.SharedCluster):
    options = {'extra': {'cluster': {'route': 'local'}, 'storage': {'verifyEvery': '0s'}}}

    def test_whichever_byte_is_flipped_the_right_ones_are_served_at_once(self):
        digests = self.push('rot/checked', 2, SIZE)
        source, node = random.Random(6), self.cluster.nodes[1]
        client, flips = ct.Node(node.url), 0
        for digest in digests:
            for which, path in enumerate(self.files(node, digest)):
                for offset in self.offsets(path.stat().st_size, source, 40 if which == 0 else 20):
                    flip(path, offset)
                    client.blob('rot/checked', digest)  # checks the bytes
                    self.assertTrue(path.exists(), f'{path} has not come back after byte {offset}')
                    flips += 1
        self.check_whole(node, digests, flips)


class ByDefault(OnDisks, ct.SharedCluster):
    options = {'extra': {'cluster': {'route': 'local'}}}

    def test_after_a_restart_nothing_is_believed_unchecked(self):
        # Many small blobs, so that one restart does for many bytes; and some that have checksum files.
        size, count = 256, 1024 if ALL else 60
        small, large = self.push('rot/small', count, size), self.push('rot/large', 4, SIZE)
        source, node = random.Random(7), self.cluster.nodes[1]
        rounds = size if ALL else 3
        for turn in range(rounds):
            self.cluster.terminate(node.number)
            for digest in small:
                flip(self.files(node, digest)[0], turn if ALL else source.randrange(size))
            for number, digest in enumerate(large):
                sums = self.files(node, digest)[1]
                flip(sums, (turn + number * 7) % sums.stat().st_size)
            self.cluster.start(node.number)
            client = ct.Node(node.url)
            for repository, digests in (('rot/small', small), ('rot/large', large)):
                for digest in digests:
                    client.blob(repository, digest)
            client.close()
        self.check_whole(node, small + large, rounds * (count + 4))

    def test_what_nobody_asks_for_is_found_by_a_scrub_and_fetched(self):
        digests = self.push('rot/scrub', 4, SIZE)
        node = self.cluster.nodes[1]
        for digest in digests:
            flip(self.files(node, digest)[0], 100)
        done = self.cluster.hansa('scrub', node.config, check=False)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.cluster.wait(lambda: all(self.files(node, digest)[0].exists() for digest in digests), 20, 'all are fetched again')
        self.check_whole(node, digests, len(digests))
        done = self.cluster.hansa('scrub', node.config, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_files_that_somebody_removed_are_fetched_after_a_restart(self):
        digests = self.push('rot/removed', 4, SIZE)
        node = self.cluster.nodes[1]
        self.cluster.terminate(node.number)
        for digest in digests:
            self.files(node, digest)[0].unlink()
        self.cluster.start(node.number)
        self.cluster.wait(lambda: all(self.files(node, digest)[0].exists() for digest in digests), 20, 'all are fetched again')
        self.check_whole(node, digests, len(digests))


if __name__ == '__main__':
    ct.main()
