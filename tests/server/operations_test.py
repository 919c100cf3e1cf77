#!/usr/bin/env python3
"""What an operator does with a running server: scrape it, renew its certificate, stop it under load, scrub it."""
import http.client
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing as ht  # noqa: E402


class Operations(ht.TestCase):
    def test_health_endpoints_need_no_credentials(self):
        server = self.server(users={'alice': 'secret'})
        for path in ('/livez', '/readyz', '/startupz'):
            self.assertEqual(server.request('GET', path).status, 200, path)
        self.assertEqual(server.request('GET', '/v2/').status, 401)

    def test_a_single_node_says_of_itself_what_a_member_would(self):
        server = self.server()
        member, = json.loads(server.request('GET', '/v2/_hansa/cluster').body)['members']
        self.assertTrue(member['alive'] and member['in_layout'])
        self.assertGreater(member['disk_total'], member['disk_available'])
        shown = ht.run(ht.BINARY, 'cluster', 'status', server.config_file).stdout
        self.assertIn(member['id'], shown)
        self.assertNotIn('NOT reachable', shown)
        self.assertNotIn('VOTER', shown)

    def test_metrics_count_requests(self):
        server = self.server(config={'extensions': {'metrics': {'enable': True, 'prometheus': {'path': '/metrics'}}}})
        server.push_image('team/app', 'v1')
        self.assertEqual(server.request('GET', '/v2/team/app/manifests/v1').status, 200)
        answer = server.request('GET', '/metrics')
        self.assertEqual(answer.status, 200)
        text = answer.body.decode()
        self.assertIn('zot_http_requests_total', text)
        # Prometheus text format: every line is a comment or "name{labels} value".
        for line in text.splitlines():
            if line and not line.startswith('#'):
                float(line.rsplit(' ', 1)[1])

    def presented(self, server):
        """The serial number of the certificate that a new connection is shown."""
        context = ssl.create_default_context(cafile=str(server.tls.ca))
        with socket.create_connection(('127.0.0.1', server.port), 10) as raw:
            with context.wrap_socket(raw, server_hostname='localhost') as secured:
                return 'serial=' + secured.getpeercert()['serialNumber']

    def test_a_renewed_certificate_is_used_without_a_restart(self):
        certificates = ht.Certificates(self.folder / 'certs')
        server = self.server(tls=certificates)
        old = certificates.serial()
        self.assertEqual(self.presented(server), old)
        open_connection = server.connect()
        open_connection.request('GET', '/v2/')
        self.assertEqual(open_connection.getresponse().read() is not None, True)
        renewed = ht.Certificates(self.folder / 'certs', 'renewed')
        os.replace(renewed.key, certificates.key)
        os.replace(renewed.cert, certificates.cert)
        end = time.monotonic() + 20
        while self.presented(server) == old and time.monotonic() < end:
            time.sleep(0.05)
        self.assertNotEqual(self.presented(server), old)
        # A connection that was open goes on.
        open_connection.request('GET', '/v2/')
        self.assertEqual(open_connection.getresponse().status, 200)

    def test_a_broken_new_certificate_leaves_the_old_one_in_force(self):
        certificates = ht.Certificates(self.folder / 'certs')
        server = self.server(tls=certificates)
        serial = certificates.serial()
        certificates.cert.write_text('not a certificate')
        server.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 20
        while 'certificate' not in server.log().lower() and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(self.presented(server), serial)

    def test_drain_lets_requests_under_way_finish(self):
        """SIGTERM while a slow push and a slow pull run: both complete, then the process ends with 0."""
        server = self.server()
        data = os.urandom(8 * 1024 * 1024)
        digest = server.push_blob('team/app', data)
        upload = server.request('POST', '/v2/team/app/blobs/uploads/')
        location = upload.headers['Location']
        more = os.urandom(1024 * 1024)
        push = server.connect()
        push.putrequest('PUT', f'{location}{"&" if "?" in location else "?"}digest={ht.sha256(more)}')
        push.putheader('Content-Length', str(len(more)))
        push.putheader('Content-Type', 'application/octet-stream')
        push.endheaders()
        push.send(more[:1000])
        pull = server.connect()
        pull.request('GET', f'/v2/team/app/blobs/{digest}')
        answer = pull.getresponse()
        first = answer.read(1000)
        server.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 20
        while time.monotonic() < end:  # the listener closes first
            try:
                socket.create_connection(('127.0.0.1', server.port), 1).close()
            except OSError:
                break
            time.sleep(0.02)
        push.send(more[1000:])
        self.assertEqual(push.getresponse().status, 201)
        self.assertEqual(first + answer.read(), data)
        self.assertEqual(server.process.wait(30), 0)
        server.start()
        self.assertEqual(server.request('GET', f'/v2/team/app/blobs/{ht.sha256(more)}').body, more)

    def test_everything_is_there_after_a_restart(self):
        server = self.server()
        digest = server.push_image('team/app', 'v1')
        upload = server.request('POST', '/v2/team/app/blobs/uploads/')
        location = upload.headers['Location']
        server.request('PATCH', location, b'first half, ')
        server.stop()
        server.start()
        answer = server.request('GET', '/v2/team/app/manifests/v1')
        self.assertEqual((answer.status, answer.headers['Docker-Content-Digest']), (200, digest))
        whole = b'first half, second half'
        done = server.request('PUT', f'{location}{"&" if "?" in location else "?"}digest={ht.sha256(whole)}',
                              b'second half')
        self.assertEqual(done.status, 201, done.body)
        self.assertEqual(server.request('GET', f'/v2/team/app/blobs/{ht.sha256(whole)}').body, whole)

    def test_kill_9_loses_nothing_acknowledged(self):
        server = self.server()
        digests = [server.push_image('team/app', f'v{number}', seed=number) for number in range(20)]
        server.process.kill()
        server.process.wait()
        server.start()
        for number, digest in enumerate(digests):
            answer = server.request('GET', f'/v2/team/app/manifests/v{number}')
            self.assertEqual((answer.status, ht.sha256(answer.body)), (200, digest))

    def flip(self, server, digest):
        """Flips one byte in the middle of a blob's file."""
        name = digest.split(':')[1]
        path = next(p for p in server.root.rglob(name) if p.is_file())
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    def test_scrub_asks_the_running_server_and_finds_rot(self):
        server = self.server()
        good = server.push_blob('team/app', os.urandom(100_000))
        bad = server.push_blob('team/app', os.urandom(100_000))
        self.flip(server, bad)
        done = subprocess.run([str(ht.BINARY), 'scrub', str(server.config_file)], capture_output=True, text=True,
                              timeout=60)
        self.assertIn(bad, done.stdout + done.stderr)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(server.request('GET', f'/v2/team/app/blobs/{good}').status, 200)
        # The rotten blob is never served; a new push of the same digest heals it.
        self.assertGreaterEqual(server.request('GET', f'/v2/team/app/blobs/{bad}').status, 500)

    def test_scrub_without_a_server_scans_itself(self):
        server = self.server()
        bad = server.push_blob('team/app', os.urandom(100_000))
        server.stop()
        clean = subprocess.run([str(ht.BINARY), 'scrub', str(server.config_file)], capture_output=True, text=True,
                               timeout=60)
        self.assertEqual(clean.returncode, 0, clean.stdout + clean.stderr)
        self.flip(server, bad)
        done = subprocess.run([str(ht.BINARY), 'scrub', str(server.config_file)], capture_output=True, text=True,
                              timeout=60)
        self.assertIn(bad, done.stdout + done.stderr)
        self.assertNotEqual(done.returncode, 0)

    def test_collection_removes_what_nothing_needs_and_nothing_else(self):
        server = self.server(config={'storage': {'gc': True, 'gcDelay': '4s', 'gcInterval': '1s'}})
        kept = server.push_image('team/app', 'kept', seed=1)
        orphan_data = os.urandom(5000)
        orphan = server.push_blob('team/app', orphan_data)
        gone = server.push_image('team/app', 'gone', seed=2)
        self.assertEqual(server.request('DELETE', f'/v2/team/app/manifests/{gone}').status, 202)
        end = time.monotonic() + 60
        path = f'/v2/team/app/blobs/{orphan}'
        # GET does not renew; HEAD by a caller who may push would.
        while server.request('GET', path).status == 200 and time.monotonic() < end:
            time.sleep(0.2)
        self.assertEqual(server.request('GET', path).status, 404)
        answer = server.request('GET', f'/v2/team/app/manifests/{kept}')
        self.assertEqual(answer.status, 200)
        for layer in json.loads(answer.body)['layers']:
            self.assertEqual(server.request('GET', f'/v2/team/app/blobs/{layer["digest"]}').status, 200)
        # The bytes go too.
        name = orphan.split(':')[1]
        while time.monotonic() < end and list(server.root.rglob(f'*{name}*')):
            time.sleep(0.2)
        self.assertEqual(list(server.root.rglob(f'*{name}*')), [])


if __name__ == '__main__':
    ht.main()
