#!/usr/bin/env python3
"""Chunked uploads whose node is killed or hangs: the client goes on through the others, where they say that it stands."""
import pathlib
import random
import socket
import sys
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402

CHUNK = 1_000_000
PATIENCE = 30.0  # seconds until an upload must go on
REPOSITORY = 'team/app'


class Upload:
    """One upload as a client that resumes does it: ranges, and a look at where it stands after every trouble."""

    def __init__(self, nodes, data):
        self.nodes, self.data, self.digest = nodes, data, ht.sha256(data)
        self.acknowledged, self.asked = 0, 0
        self.location = nodes[0].expect(202, 'POST', f'/v2/{REPOSITORY}/blobs/uploads/').headers['Location']

    def use(self, nodes):
        self.nodes = nodes

    def next_node(self):
        self.nodes = self.nodes[1:] + self.nodes[:1]
        return self.nodes[0]

    def range_at(self, start):
        end = min(start + CHUNK, len(self.data))
        return end, {'Content-Range': f'{start}-{end - 1}', 'Content-Type': 'application/octet-stream'}

    def send_chunk(self, start):
        """The next byte, or None: it is not known now."""
        end, headers = self.range_at(start)
        try:
            answer = self.next_node().request('PATCH', self.location, self.data[start:end], headers)
        except ct.NO_ANSWER:
            return None
        assert answer.status in (202, 416, 429, 503), f'{answer.status}: {answer.body[:300]}'
        if answer.status == 202:
            self.acknowledged = received(answer)
        return received(answer) if answer.status in (202, 416) else None

    def stands_at(self):
        """What the nodes say after a trouble; never less than was acknowledged."""
        until = time.monotonic() + PATIENCE
        while True:
            self.asked += 1
            try:
                answer = self.next_node().request('GET', self.location)
                assert answer.status in (204, 429, 503), f'{answer.status}: {answer.body[:300]}'
                if answer.status == 204:
                    at = received(answer)
                    assert at >= self.acknowledged, f'{at} bytes, and {self.acknowledged} were acknowledged'
                    return at
            except ct.NO_ANSWER:
                pass
            assert time.monotonic() < until, f'the upload does not go on: {answer.body[:500]}'
            time.sleep(0.1)

    def send_to(self, end):
        at = self.stands_at() if self.acknowledged else 0
        while at < end:
            sent = self.send_chunk(at)
            at = self.stands_at() if sent is None else sent

    def finish(self):
        until = time.monotonic() + PATIENCE
        while True:
            self.send_to(len(self.data))
            try:
                answer = self.next_node().request('PUT', f'{self.location}?digest={self.digest}')
                if answer.status == 201:
                    return
                assert answer.status in (429, 503), f'{answer.status}: {answer.body[:300]}'
            except ct.NO_ANSWER:
                pass
            assert time.monotonic() < until, 'the upload does not end'
            time.sleep(0.1)


def received(answer):
    last = int(answer.headers['Range'].split('-')[1])
    return 0 if last == 0 else last + 1


def send_half(node, upload, start):
    """A chunk of which only the half is sent; the connection stays open."""
    end, headers = upload.range_at(start)
    parts = urllib.parse.urlsplit(node.url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=10)
    lines = [f'PATCH {upload.location} HTTP/1.1', f'Host: {parts.netloc}', f'Content-Length: {end - start}',
             *(f'{name}: {value}' for name, value in headers.items())]
    connection.sendall('\r\n'.join(lines).encode() + b'\r\n\r\n' + upload.data[start:start + (end - start) // 2])
    return connection


class Uploads(ct.TestCase):
    def setUp(self):
        super().setUp()
        self.kluster = self.cluster()
        self.nodes = self.kluster.clients(30.0)

    def check_whole(self, upload, numbers):
        for number in numbers:
            self.nodes[number - 1].blob(REPOSITORY, upload.digest)
        holders = [node for node in self.kluster.nodes if ct.holds(node, upload.digest)]
        self.assertGreaterEqual(len(holders), 2)

    def test_an_upload_outlives_its_node(self):
        """The node that opened it is killed between two chunks, in the middle of one, and before its end."""
        source = random.Random(1)
        for number, moment in enumerate(['between', 'middle here', 'middle there', 'before the end', 'first chunk']):
            with self.subTest(moment):
                first, others = self.nodes[0], self.nodes[1:]
                upload = Upload(self.nodes, source.randbytes(5 * CHUNK + number))
                upload.send_to(0 if moment == 'first chunk' else len(upload.data) if 'end' in moment else 2 * CHUNK)
                upload.use(others)
                half = None
                if moment.startswith('middle'):
                    half = send_half(first if 'here' in moment else others[0], upload, 2 * CHUNK)
                if moment == 'first chunk':
                    upload.use([first])
                    upload.send_to(CHUNK)
                    upload.use(others)
                self.kluster.kill(1)
                first.close()
                upload.finish()
                if half:
                    half.close()
                self.check_whole(upload, (2, 3))
                self.kluster.start(1)
                self.kluster.wait_ready()
                self.check_whole(upload, (1, 2, 3))

    def test_a_node_that_hangs_is_passed_over_and_gives_way_when_it_wakes_up(self):
        first, others = self.nodes[0], self.nodes[1:]
        upload = Upload(self.nodes, random.Random(2).randbytes(5 * CHUNK))
        upload.send_to(2 * CHUNK)
        upload.use(others)
        with self.kluster.paused(self.kluster.nodes[0].pid):
            upload.send_to(4 * CHUNK)
        # Through the one that slept, which has an older part of it.
        upload.use([first])
        upload.finish()
        self.check_whole(upload, (1, 2, 3))

    def test_a_node_that_was_killed_passes_the_upload_on_when_it_is_back(self):
        first, others = self.nodes[0], self.nodes[1:]
        upload = Upload(self.nodes, random.Random(3).randbytes(5 * CHUNK))
        upload.send_to(2 * CHUNK)
        self.kluster.kill(1)
        first.close()
        upload.use(others)
        upload.send_to(4 * CHUNK)
        self.kluster.start(1)
        self.kluster.wait_ready()
        upload.use([first])
        self.assertEqual(upload.stands_at(), 4 * CHUNK)
        upload.finish()
        self.check_whole(upload, (1, 2, 3))

    def test_what_nobody_has_is_not_found(self):
        upload = Upload(self.nodes, b'nothing of it was sent')
        self.kluster.kill(1)
        seen = set()

        def answer():
            status = self.nodes[1].request('GET', upload.location).status
            seen.add(status)
            return status == 404
        self.kluster.wait(answer, PATIENCE, 'an upload without bytes ends with its node')
        self.assertLessEqual(seen, {404, 503})


if __name__ == '__main__':
    ct.main()
