#!/usr/bin/env python3
"""Hostile input against a whole server: nothing of it is believed, kept or executed, nothing ends the server, memory stays
bounded, and honest clients beside it get their answers.
"""
import json
import os
import pathlib
import random
import re
import socket
import ssl
import sys
import threading
import time
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing as ht  # noqa: E402
import hostile_corpus as hc  # noqa: E402

MEMORY_BAR = 256 * 1024  # KiB, of a release build
NAME = 'team/app'
MANIFESTS = f'/v2/{NAME}/manifests'
CONFIG = {'log': {'level': 'warn'}, 'storage': {'gc': False}}
PATIENCE = 30  # seconds for an answer to anything: no hang
HEADER_TIMEOUT = 10  # seconds, src/http/server.h
MIB = 1024 * 1024


def statuses_in(got):
    return [int(status) for status in re.findall(rb'HTTP/1\.1 (\d{3}) ', got)]


def talk(server, data, patience=PATIENCE, half_close=True):
    """Sends it all and reads to the end. ([(status, head and body as bytes)], closed by the server)."""
    with socket.create_connection(('127.0.0.1', server.port), timeout=patience) as wire:
        try:
            wire.sendall(data)
            if half_close:
                wire.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was cut off while sending, and may have been answered before
        got = b''
        try:
            while piece := wire.recv(65536):
                got += piece
            closed = True
        except (TimeoutError, ConnectionError) as error:
            closed = isinstance(error, ConnectionError)
    return statuses_in(got), got, closed


class Honest(threading.Thread):
    """Pulls an image again and again over one connection, and never gets anything but the right answer."""

    def __init__(self, server, body):
        super().__init__(daemon=True)
        self.server, self.body, self.stopping, self.problem, self.count = server, body, threading.Event(), None, 0

    def run(self):
        connection = self.server.connect(timeout=PATIENCE)
        try:
            while not self.stopping.is_set():
                connection.request('GET', f'{MANIFESTS}/v1')
                answer = connection.getresponse()
                if (answer.status, answer.read()) != (200, self.body):
                    raise AssertionError(f'an honest client got {answer.status}')
                self.count += 1
                self.stopping.wait(0.002)
        except Exception as error:  # reported at the end
            self.problem = error
        finally:
            connection.close()


class Hostile(ht.TestCase):
    """One server with one image, and an honest client beside every test."""

    def setUp(self):
        super().setUp()
        self.target = self.server(config=CONFIG)
        self.digest = self.target.push_image(NAME, 'v1')
        self.image = self.target.request('GET', f'{MANIFESTS}/v1').body
        self.layer = json.loads(self.image)['layers'][0]['digest']
        self.honest = Honest(self.target, self.image)
        self.honest.start()

    def tearDown(self):
        self.honest.stopping.set()
        self.honest.join(PATIENCE)
        self.assertIsNone(self.honest.problem)
        self.assertIsNone(self.target.process.poll(), 'the server has ended')
        status = pathlib.Path(f'/proc/{self.target.process.pid}/status').read_text()
        peak = int(next(line for line in status.splitlines() if line.startswith('VmHWM')).split()[1])
        print(f'peak {peak // 1024} MiB, {self.honest.count} honest requests meanwhile', file=sys.stderr)
        if not ht.is_sanitized():
            self.assertLess(peak, MEMORY_BAR)
        self.assertEqual(self.target.request('GET', f'{MANIFESTS}/v1').body, self.image, 'the image is another now')
        super().tearDown()

    def test_no_request_is_smuggled_behind_another(self):
        corpus = hc.smuggling(MANIFESTS, self.digest)
        for name, data in corpus.items():
            with self.subTest(name):
                statuses, got, closed = talk(self.target, data)
                self.assertTrue(closed, 'the connection is still open')
                self.assertLessEqual(len(statuses), 1, f'two answers: {got[:600]!r}')
                self.assertTrue(all(400 <= status < 500 or status in (501, 505) for status in statuses), got[:600])
                self.assertEqual(self.target.request('HEAD', f'{MANIFESTS}/v1').status, 200, 'the request behind it was executed')

    def test_heads_that_flood_are_cut_off(self):
        corpus = hc.floods(MANIFESTS)
        for name, (data, allowed) in corpus.items():
            with self.subTest(name):
                statuses, got, closed = talk(self.target, data)
                self.assertTrue(closed)
                self.assertTrue(set(statuses) <= allowed, (statuses, got[:200]))

    def test_bytes_that_are_no_http_end_their_connection(self):
        source = random.Random(7)
        corpus = [source.randbytes(size) for size in (1, 10, 1000, 100_000) for _ in range(5)]
        context = ssl.create_default_context()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        hello = context.wrap_bio(incoming, outgoing, server_hostname='localhost')
        try:
            hello.do_handshake()
        except ssl.SSLWantReadError:
            corpus.append(outgoing.read())
        for data in corpus:
            statuses, got, closed = talk(self.target, data)
            self.assertTrue(closed)
            self.assertTrue(set(statuses) <= {400, 408, 414, 431, 501, 505}, got[:200])

    def test_slow_heads_are_answered_408_and_slow_readers_hold_nothing_up(self):
        slow = [socket.create_connection(('127.0.0.1', self.target.port)) for _ in range(300)]
        for number, wire in enumerate(slow[:200]):
            wire.sendall(f'GET {MANIFESTS}/v1 HTTP/1.1\r\nHost: loc'.encode()[:number % 60 + 1])
        big = self.target.push_blob(NAME, random.Random(3).randbytes(8 * MIB))
        for wire in slow[200:]:  # ask for much and read none of it
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            for _ in range(10):
                wire.sendall(hc.request(f'GET /v2/{NAME}/blobs/{big} HTTP/1.1'))
        end = time.monotonic() + HEADER_TIMEOUT + PATIENCE
        for wire in slow[:200]:
            wire.settimeout(max(0.1, end - time.monotonic()))
            got = b''
            while piece := wire.recv(4096):
                got += piece
            self.assertTrue(got.startswith(b'HTTP/1.1 408'), got[:100])
        for wire in slow:
            wire.close()

    def test_bodies_without_an_end_are_refused_at_their_limit(self):
        def endless(head, most):
            """The statuses, and how much was taken of a chunked body that would go on for ever."""
            piece, sent = b'10000\r\n' + b' ' * 65536 + b'\r\n', 0
            with socket.create_connection(('127.0.0.1', self.target.port), timeout=PATIENCE) as wire:
                wire.sendall(hc.request(*head, 'Transfer-Encoding: chunked'))
                got = b''
                try:
                    while sent < most:
                        wire.sendall(piece)
                        sent += 65536
                except OSError:
                    pass
                try:
                    while more := wire.recv(65536):
                        got += more
                except OSError:
                    pass
            return statuses_in(got), sent

        manifest = [f'PUT {MANIFESTS}/v2 HTTP/1.1', f'Content-Type: {ht.OCI_MANIFEST}']
        statuses, sent = endless(manifest, 256 * MIB)
        self.assertTrue(set(statuses) <= {413}, statuses)
        self.assertLess(sent, 256 * MIB)
        for line in (f'DELETE {MANIFESTS}/nothing HTTP/1.1', 'GET /v2/ HTTP/1.1', f'GET {MANIFESTS}/v1 HTTP/1.1'):
            statuses, sent = endless([line], 256 * MIB)
            self.assertLess(sent, 256 * MIB, line)
        # A length that is not kept to.
        statuses, _, _ = talk(self.target, hc.request(*manifest, f'Content-Length: {4 * MIB + 1}', body=b'{}'))
        self.assertEqual(statuses, [413])
        statuses, _, closed = talk(self.target, hc.request(*manifest, 'Content-Length: 100', body=b'{}'))
        self.assertTrue(closed and set(statuses) <= {400, 408}, statuses)

    def test_bodies_that_are_announced_and_do_not_come_take_no_memory(self):
        for _ in range(200):  # tearDown measures
            wire = socket.create_connection(('127.0.0.1', self.target.port))
            self.addCleanup(wire.close)
            wire.sendall(hc.request(f'PUT {MANIFESTS}/v2 HTTP/1.1', f'Content-Type: {ht.OCI_MANIFEST}', f'Content-Length: {4 * MIB}'))
        # Answers of later connections come after those heads were read.
        for _ in range(50):
            self.assertEqual(self.target.request('GET', f'{MANIFESTS}/v1').status, 200)

    def test_no_path_reaches_what_it_must_not(self):
        canary = b'a file beside the root'
        (self.target.root.parent / 'canary').write_bytes(canary)
        up = ['..', '%2e%2e', '%2E.', '.%2e', '%252e%252e', '..%00', '%c0%ae%c0%ae', '..;', '..%5c', '\\..', '%u002e%u002e']
        slash = ['/', '%2f', '//', '%5c', '%252f', '/./', '%c0%af']
        paths = [f'/v2/{s.join([u, u, "canary"])}' for u in up for s in slash]
        paths += [f'/v2/{NAME}/{kind}/{u}{s}{u}{s}canary' for kind in ('manifests', 'blobs', 'blobs/uploads', 'referrers')
                  for u in up for s in slash]
        paths += [f'/v2/{u}{s}{u}{s}canary/manifests/v1' for u in up for s in slash]
        paths += [f'/v2//{NAME}/manifests/v1', f'/v2/{NAME}//manifests/v1', f'//v2/{NAME}/manifests/v1',
                  f'/V2/{NAME}/manifests/v1', f'/v2/{NAME.upper()}/manifests/v1', f'/v2/{NAME}/manifests/v1/',
                  f'/v2/{NAME}%2fmanifests%2fv1', f'/v2/{NAME}/manifests/v1%00', f'/v2/{NAME}/manifests/v1%0d%0aX:%20y',
                  f'/v2/{NAME}/manifests/v1#x', '/v2/_uploads/manifests/v1', '/v2/_catalog/manifests/v1', '/v2/a/_uploads/b',
                  '/v2/%ff%fe/manifests/v1', '/v2/\u0430pp/manifests/v1', f'/v2/{"a/" * 200}manifests/v1', '/v2/' + 'a' * 256 +
                  '/manifests/v1', '/metrics/../v2/_catalog/..', '/%2e%2e/canary', '/static/../../canary', '/cluster/../canary']
        for path in paths:
            raw = path.encode('utf-8').decode('latin-1')
            statuses, got, _ = talk(self.target, hc.request(f'GET {raw} HTTP/1.1', 'Connection: close'))
            self.assertTrue(all(300 <= status < 500 for status in statuses), (path, got[:300]))
            self.assertNotIn(canary, got, path)
            self.assertNotIn(b'\nX:', got, path)
        self.assertEqual(sorted(path.name for path in self.target.root.parent.iterdir()),
                         ['canary', 'config.json', 'hansa.log', 'root'])

    def test_manifests_that_are_bombs_are_refused_in_bounded_time(self):
        corpus = hc.bombs(self.digest, self.image)
        self.target.push_blob(NAME, b'{}')
        for name, body in corpus.items():
            kind = ht.OCI_INDEX if '"manifests"' in body[:200] else ht.OCI_MANIFEST
            with self.subTest(name):
                answer = self.target.request('PUT', f'{MANIFESTS}/bomb', body.encode(), {'Content-Type': kind})
                self.assertIn(answer.status, (400, 404, 413), answer.body[:300])
                self.assertEqual(self.target.request('GET', f'{MANIFESTS}/bomb').status, 404)
        for kind in ('text/html', 'a/b\tc', 'application/octet-stream', ht.OCI_INDEX, '', 'x' * 5000):
            answer = self.target.request('PUT', f'{MANIFESTS}/bomb', self.image, {'Content-Type': kind})
            self.assertIn(answer.status, (400, 415), kind)
        # What is compressed is not what its digest says, and nothing is decompressed.
        answer = self.target.request('PUT', f'{MANIFESTS}/bomb', b'\x1f\x8b\x08' + b'\0' * 1000,
                                     {'Content-Type': ht.OCI_MANIFEST, 'Content-Encoding': 'gzip'})
        self.assertIn(answer.status, (400, 415), answer.body)

    def test_no_range_gives_more_than_was_asked_or_than_there_is(self):
        whole = self.target.request('GET', f'/v2/{NAME}/blobs/{self.layer}').body
        size = len(whole)
        tricks = ['bytes=0-18446744073709551615', 'bytes=18446744073709551615-18446744073709551616', 'bytes=-0',
                  'bytes=-18446744073709551616', f'bytes={size}-', 'bytes=5-4', 'bytes=--5', 'bytes=a-b', 'bytes=', 'bytes',
                  'bytes=0-0,' * 2000, 'bytes=' + ','.join(f'{n}-{n}' for n in range(900)), 'bytes=0-,0-,0-,0-,0-,0-,0-',
                  'bytes=0-9223372036854775807,1-9223372036854775807', 'lines=0-1', 'bytes=\t0-1', 'bytes=0x0-0x5', 'bytes=0-1;2-3']
        for trick in tricks:
            answer = self.target.request('GET', f'/v2/{NAME}/blobs/{self.layer}', None, {'Range': trick})
            self.assertIn(answer.status, (200, 206, 400, 416), trick[:100])
            self.assertLessEqual(len(answer.body), 16 * size + 16 * 1024, trick[:100])
            if answer.status == 200:
                self.assertEqual(answer.body, whole)
            if answer.status == 206 and 'multipart' not in answer.headers['Content-Type']:
                first, last = answer.headers['Content-Range'].split()[1].split('/')[0].split('-')
                self.assertEqual(answer.body, whole[int(first):int(last) + 1])

    def test_references_outside_their_grammar_are_refused(self):
        good = ht.sha256(b'x')
        digests = ['sha256:' + 'A' * 64, 'sha256:' + 'a' * 63, 'sha256:' + 'a' * 65, 'sha256:' + 'g' * 64, 'sha512:' + 'a' * 64,
                   'md5:' + 'a' * 32, 'sha1:' + 'a' * 40, 'SHA256:' + 'a' * 64, 'sha256', 'sha256:', ':' + 'a' * 64,
                   good + ':' + good, 'sha256+b64u:' + 'a' * 43, 'sha256:' + '0' * 62 + '%0a', 'sha256:../' + 'a' * 61]
        for digest in digests:
            for method, path in (('GET', f'/v2/{NAME}/blobs/{digest}'), ('HEAD', f'/v2/{NAME}/blobs/{digest}'),
                                 ('DELETE', f'/v2/{NAME}/blobs/{digest}'), ('GET', f'/v2/{NAME}/referrers/{digest}'),
                                 ('POST', f'/v2/{NAME}/blobs/uploads/?digest={digest}'),
                                 ('PUT', f'{MANIFESTS}/{digest}')):
                kind = ht.OCI_MANIFEST if method == 'PUT' else 'application/octet-stream'
                answer = self.target.request(method, path, b'x' if method in ('POST', 'PUT') else None, {'Content-Type': kind})
                self.assertIn(answer.status, (400, 404), f'{method} {path}')
        for tag in ('.dot', '-dash', 'a' * 129, 'a b', 'a%2fb', 'a%00', 'a:b', '%20', 'a\u00e9'.encode().decode('latin-1'), '@'):
            path = f'{MANIFESTS}/{tag}'
            statuses, got, _ = talk(self.target, hc.request(f'PUT {path} HTTP/1.1', f'Content-Type: {ht.OCI_MANIFEST}',
                                                              f'Content-Length: {len(self.image)}', 'Connection: close', body=self.image))
            self.assertTrue(statuses and statuses[0] in (400, 404), (tag, got[:200]))
        for name in ('UPPER/app', '-a', 'a..b', 'a/-b', 'a//b', '.', 'a_' * 200, 'a' * 256, 'a/' + 'b/' * 130 + 'c', 'a%2f..%2fb'):
            statuses, got, _ = talk(self.target, hc.request(f'POST /v2/{name}/blobs/uploads/ HTTP/1.1', 'Connection: close',
                                                              'Content-Length: 0'))
            self.assertTrue(statuses and statuses[0] in (400, 404), (name, got[:200]))
        # The algorithm is what the digest says, never what would fit.
        answer = self.target.request('POST', f'/v2/{NAME}/blobs/uploads/?digest=sha512:{"0" * 128}', b'x')
        self.assertEqual(answer.status, 400)

    def test_lists_take_any_number_that_is_asked_for(self):
        for number in ('0', '1', '10000', '2147483648', '9223372036854775807', '9223372036854775808', '18446744073709551616',
                       '-1', '1e3', '0x10', ' 1', '1.5', 'all', '', '1&n=2', '%31', '\uff11'.encode().decode('latin-1')):
            for path in ('/v2/_catalog', f'/v2/{NAME}/tags/list'):
                statuses, got, _ = talk(self.target, hc.request(f'GET {path}?n={number} HTTP/1.1', 'Connection: close'))
                self.assertTrue(statuses and statuses[0] in (200, 400), (path, number, got[:200]))
        for last in ('\x7f', '%00', '../..', 'a' * 5000, "' OR 1=1 --", '%', '*'):
            path = f'/v2/_catalog?last={last}'.replace(' ', '+')
            statuses, got, _ = talk(self.target, hc.request(f'GET {path} HTTP/1.1', 'Connection: close'))
            self.assertTrue(statuses and statuses[0] in (200, 400), (last, got[:200]))

    def test_uploads_take_no_byte_that_does_not_follow(self):
        begun = self.target.request('POST', f'/v2/{NAME}/blobs/uploads/')
        place = begun.headers['Location']
        where = place if place.startswith('/') else '/' + place.split('/', 3)[3]
        sent = self.target.request('PATCH', where, b'abc', {'Content-Range': '0-2', 'Content-Type': 'application/octet-stream'})
        self.assertEqual(sent.status, 202)
        for field in ('0-2', '1-3', '4-6', '3-4', '3-', '-3', '18446744073709551615-18446744073709551617', '5-3', 'x'):
            answer = self.target.request('PATCH', where, b'def', {'Content-Range': field})
            self.assertIn(answer.status, (400, 416), field)
        for wrong in (where.replace(NAME, 'team/other'), where[:-1] + ('0' if where[-1] != '0' else '1'), where + 'x',
                      f'/v2/{NAME}/blobs/uploads/../../../x', f'/v2/{NAME}/blobs/uploads/' + 'a' * 3000):
            self.assertIn(self.target.request('PATCH', wrong, b'def').status, (400, 404), wrong[:100])
        self.assertEqual(self.target.request('PUT', f'{where}?digest={ht.sha256(b"other")}', b'').status, 400)
        # Sessions that are opened and left alone.
        opened = [self.target.request('POST', f'/v2/{NAME}/blobs/uploads/').status for _ in range(2000)]
        self.assertTrue(set(opened) <= {202, 429, 503}, set(opened))


class HostileWithPasswords(ht.TestCase):
    def test_a_storm_of_wrong_passwords_does_not_hold_up_who_is_known(self):
        server = self.server(users={'alice': 'secret'}, config=CONFIG)
        self.assertEqual(server.request('GET', '/v2/', user='alice').status, 200)  # is remembered from here
        statuses, mutex = {}, threading.Lock()

        def guess(number):
            for turn in range(20):
                answer = server.request('GET', '/v2/', user=f'alice:wrong{number}.{turn}')
                with mutex:
                    statuses[answer.status] = statuses.get(answer.status, 0) + 1
        guessers = [threading.Thread(target=guess, args=(number,)) for number in range(40)]
        for guesser in guessers:
            guesser.start()
        while any(guesser.is_alive() for guesser in guessers):
            self.assertEqual(server.request('GET', '/v2/', user='alice').status, 200)
        self.assertTrue(set(statuses) <= {401, 429, 503}, statuses)
        self.assertGreater(statuses[401], 0)

    def test_credentials_that_are_none_are_401(self):
        server = self.server(users={'alice': 'secret'}, config=CONFIG)
        for field in ('Basic', 'Basic ', 'Basic !!!', 'Basic YWxpY2U=', 'Basic ' + 'A' * 20_000, 'Bearer x', 'basic', 'Negotiate abc',
                      'Basic YWxpY2U6c2VjcmV0x', 'Basic YWxpY2U6AA==', 'Basic YWxpY2U6c2VjcmV0, Basic YWxpY2U6c2VjcmV0', '\x7f'):
            answer = server.request('GET', '/v2/', None, {'Authorization': field})
            self.assertIn(answer.status, (400, 401, 431), field[:50])
            self.assertNotIn(b'secret', answer.body)
        statuses, _, _ = talk(server, b'GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWxpY2U6c2VjcmV0\r\n'
                              b'Authorization: Basic YWxpY2U6d3Jvbmc=\r\nConnection: close\r\n\r\n')
        self.assertTrue(set(statuses) <= {400, 401}, statuses)


class HostileTls(ht.TestCase):
    def test_old_protocols_weak_ciphers_and_plain_text_are_refused(self):
        tls = ht.Certificates(self.folder / 'tls')
        server = self.server(tls=tls, config=CONFIG)
        self.assertEqual(server.request('GET', '/v2/').status, 200)

        def shake(set_up):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            set_up(context)
            with socket.create_connection(('127.0.0.1', server.port), timeout=PATIENCE) as wire:
                with context.wrap_socket(wire, server_hostname='localhost') as secured:
                    return secured.version(), secured.cipher()[0]

        def only(version):
            def set_up(context):
                context.set_ciphers('ALL:@SECLEVEL=0')
                context.minimum_version = context.maximum_version = version
            return set_up
        self.assertEqual(shake(only(ssl.TLSVersion.TLSv1_2))[0], 'TLSv1.2')
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', DeprecationWarning)
            for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
                with self.assertRaises((ssl.SSLError, ConnectionError)):
                    shake(only(version))

        def weak(context):
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers('aNULL:eNULL:LOW:3DES:RC4:MD5:@SECLEVEL=0')
        try:
            self.fail(f'a weak cipher was taken: {shake(weak)}')
        except (ssl.SSLError, ConnectionError):
            pass  # refused by the server, or unknown to this client
        statuses, _, closed = talk(server, b'GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n')
        self.assertTrue(closed and set(statuses) <= {400}, statuses)
        for _ in range(50):  # handshakes that stop half-way
            wire = socket.create_connection(('127.0.0.1', server.port))
            wire.sendall(b'\x16\x03\x01\x02\x00\x01')
            self.addCleanup(wire.close)
        self.assertEqual(server.request('GET', '/v2/').status, 200)


if __name__ == '__main__':
    ht.main()
