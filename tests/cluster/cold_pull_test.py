#!/usr/bin/env python3
"""Pulls of a blob that the node lacks: it comes from a member that holds it, once for all who ask, with bounded memory, and
the first byte comes nearly as soon as from the holder.

HANSA_COLD_MIB: size of the blob (128; 256 with HANSA_FULL). HANSA_COLD_PULLS: how many at once (1000).
HANSA_FIRST_RATIO: the most that the first byte may take, in times of the holder's (4, beside whatever else runs; 2 is the bar
on a machine that does nothing else).
"""
import hashlib
import os
import pathlib
import random
import resource
import selectors
import socket
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402

MIB = 1024 * 1024
SIZE = int(os.environ.get('HANSA_COLD_MIB') or (256 if ct.FULL else 128)) * MIB
PULLS = int(os.environ.get('HANSA_COLD_PULLS') or 1000)
CHECKED = 4  # of them hash what they get; the others let the kernel throw it away and count
MEMORY = 64 * MIB  # above idle
FIRST_SIZE, FIRST_TIMES = 24 * MIB, 9
FIRST_RATIO = float(os.environ.get('HANSA_FIRST_RATIO') or 4)


class Pull:
    """One GET on a connection of its own, whose bytes are read as they come."""

    def __init__(self, node, repository, digest, checked=False):
        self.digest, self.hash = digest, hashlib.sha256() if checked else None
        self.head, self.length, self.got, self.first, self.trouble = b'', None, 0, None, None
        self.socket = socket.create_connection((node.host, node.port), timeout=60)
        self.request = (f'GET /v2/{repository}/blobs/{digest} HTTP/1.1\r\nHost: {node.host}\r\nConnection: close\r\n'
                        f'\r\n').encode()

    def send(self):
        self.began = time.perf_counter()
        self.socket.sendall(self.request)
        self.socket.setblocking(False)

    def take(self, buffer):
        """Reads what is there; False at the end."""
        discard = self.length is not None and self.hash is None
        try:
            count = self.socket.recv_into(buffer, 0, socket.MSG_TRUNC if discard else 0)
        except BlockingIOError:
            return True
        except OSError as error:
            self.trouble = str(error)
            return False
        if count == 0:
            return False
        body = memoryview(buffer)[:count]
        if self.length is None:
            self.head += bytes(body)
            head, mark, rest = self.head.partition(b'\r\n\r\n')
            if not mark:
                return True
            lines = head.decode().lower().split('\r\n')
            if ' 200' not in lines[0]:
                self.trouble = lines[0]
                return False
            self.length = next(int(line.split(':')[1]) for line in lines if line.startswith('content-length:'))
            body, count = memoryview(rest), len(rest)
        if count and self.first is None:
            self.first = time.perf_counter() - self.began
        self.got += count
        if self.hash:
            self.hash.update(body)
        return self.got < self.length

    def verdict(self):
        """None when it was a complete answer with the right bytes."""
        if self.trouble:
            return self.trouble
        if self.length is None or self.got != self.length:
            return f'{self.got} of {self.length} bytes came'
        if self.hash and 'sha256:' + self.hash.hexdigest() != self.digest:
            return 'wrong bytes'
        return None


def run(pulls, seconds):
    """Carries them all out at the same time."""
    buffer, end = bytearray(MIB), time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for pull in pulls:
            pull.send()
            selector.register(pull.socket, selectors.EVENT_READ, pull)
        left = len(pulls)
        while left:
            assert time.monotonic() < end, f'{left} of {len(pulls)} pulls are not done within {seconds} s'
            for key, _ in selector.select(1.0):
                if not key.data.take(buffer):
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                    left -= 1


def resident(pid, what):
    """VmRSS or VmHWM, bytes."""
    for line in pathlib.Path(f'/proc/{pid}/status').read_text().splitlines():
        if line.startswith(what + ':'):
            return int(line.split()[1]) * 1024
    raise AssertionError(f'no {what} of process {pid}')


class ColdPull(ct.SharedCluster):
    options = {'nodes': 2, 'extra': {'cluster': {'route': 'local'}}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)), hard))
        cls.holder, cls.lacking = cls.cluster.nodes

    def push(self, repository, seed, size):
        source, client = random.Random(seed), ct.Node(self.holder.url, 120.0)
        digest = client.push_blob(repository, b''.join(source.randbytes(4 * MIB) for _ in range(size // (4 * MIB))))
        client.close()
        self.cluster.wait(lambda: all(ct.holds(node, digest) for node in self.cluster.nodes), 60, 'both hold the blob')
        return digest

    def take_away(self, digests):
        """From the second node, which has none of them open."""
        self.cluster.terminate(2)
        self.cluster.start(2)
        # Its look over what it should hold must lie behind it: it would fetch what is missing.
        client = ct.Node(self.lacking.url, 30.0)
        self.cluster.wait(lambda: self.mark_is_full(), 60, 'the second node has looked over its disk')
        before = client.metrics()
        for digest in digests:
            digits = digest.removeprefix('sha256:')
            file = self.lacking.data / 'blobs/sha256' / digits[:2] / digits
            file.unlink()
            file.with_name(file.name + '.crc').unlink(missing_ok=True)
        client.close()
        return before

    def mark_is_full(self):
        return all(m['holds'] and m['holds']['full'] and m['alive'] for m in self.holder.members())

    def test_a_thousand_pulls_make_one_fetch_with_bounded_memory(self):
        digest = self.push('cold/many', 1, SIZE)
        before = self.take_away([digest])
        client = ct.Node(self.lacking.url, 30.0)
        client.metrics()
        pulls = [Pull(client, 'cold/many', digest, checked=n < CHECKED) for n in range(PULLS)]
        pid = self.lacking.pid
        idle = resident(pid, 'VmRSS')
        pathlib.Path(f'/proc/{pid}/clear_refs').write_text('5')  # begins VmHWM anew
        began = time.monotonic()
        run(pulls, 600)
        took, most = time.monotonic() - began, resident(pid, 'VmHWM')
        bad = [verdict for verdict in (pull.verdict() for pull in pulls) if verdict]
        after = ct.Node(self.lacking.url, 30.0).metrics()
        blobs, fetched = (after[name] - before[name] for name in ('hansa_fetched_blobs', 'hansa_fetched_bytes'))
        firsts = sorted(pull.first for pull in pulls if pull.first is not None)
        print(f'{PULLS} pulls of {SIZE // MIB} MiB took {took:.1f} s; {blobs:.0f} fetch of {fetched / MIB:.1f} MiB; memory '
              f'{(most - idle) / MIB:.1f} MiB above idle ({idle / MIB:.0f}); first bytes after {firsts[0]:.3f} to '
              f'{firsts[-1]:.3f} s', flush=True)
        self.assertEqual(bad, [])
        self.assertEqual(blobs, 1)
        self.assertLessEqual(fetched, 1.01 * SIZE)
        if not ct.ht.is_sanitized():
            self.assertLessEqual(most - idle, MEMORY)

    def test_the_first_byte_comes_nearly_as_soon_as_from_the_holder(self):
        digests = [self.push('cold/first', 100 + n, FIRST_SIZE) for n in range(2 * FIRST_TIMES)]
        self.take_away(digests[FIRST_TIMES:])
        holder, lacking = ct.Node(self.holder.url), ct.Node(self.lacking.url)
        self.warm(holder, lacking)
        times = {holder: [], lacking: []}
        # Each blob is asked for once; those of the holder were not read since they were pushed either.
        for pair in zip(digests[:FIRST_TIMES], digests[FIRST_TIMES:]):
            for node, digest in zip((holder, lacking), pair):
                pull = Pull(node, 'cold/first', digest, checked=True)
                run([pull], 120)
                self.assertIsNone(pull.verdict())
                times[node].append(pull.first)
        own, other = (statistics.median(times[node]) for node in (holder, lacking))
        print(f'first byte, median of {FIRST_TIMES}: {own * 1000:.2f} ms from the holder, {other * 1000:.2f} ms from the node '
              f'that lacks the blob: {other / own:.2f} times', flush=True)
        self.assertLessEqual(other, FIRST_RATIO * own, f'{[f"{t * 1000:.2f}" for node in times for t in times[node]]}')

    def warm(self, *nodes):
        """Connections between the members, and what a process does at its first request."""
        for node in nodes:
            digest = self.push('cold/warm', node.port, 4 * MIB)
            node.blob('cold/warm', digest)


if __name__ == '__main__':
    ct.main()
