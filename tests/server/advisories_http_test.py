#!/usr/bin/env python3
"""What went wrong in other registries with HTTP itself, tried here: where clients are sent, browsers, trailers, peers.

One test per advisory; docs/advisories.md lists all of them with the tests that stand elsewhere.
"""
import base64
import hashlib
import hmac
import http.client
import json
import pathlib
import socket
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing as ht  # noqa: E402
import hostile_corpus as hc  # noqa: E402

NAME = 'team/app'
STRANGER = 'evil.example'


def secret_of(server):
    """What it makes tickets with."""
    return next(filter(None, (json.loads(file.read_text()).get('secret') for file in server.root.glob('*.json'))))


def make_ticket(key, name, digest, seconds):
    until = f'{int(time.time()) + seconds:x}'
    text = f'hansa ticket\n{name}\n{digest}\n{until}'
    return f'{until}.{hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()}'


class Http(ht.TestCase):
    def setUp(self):
        super().setUp()
        rights = {'repositories': {'**': {'policies': [{'users': ['alice'], 'actions': ht.ALL_ACTIONS}]}}}
        self.target = self.server(users={'alice': 'a'}, config={
            'log': {'level': 'warn'}, 'storage': {'gc': False}, 'http': {'accessControl': rights}})
        self.digest = self.target.push_image(NAME, 'v1', user='alice')
        self.image = self.target.request('GET', f'/v2/{NAME}/manifests/v1', user='alice').body
        self.layer = json.loads(self.image)['layers'][0]['digest']

    def raw(self, data):
        """The one answer to these bytes: (status, fields, body)."""
        connection = self.target.connect(timeout=20)
        connection.connect()
        connection.sock.sendall(data)
        answer = http.client.HTTPResponse(connection.sock)
        answer.begin()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, body

    def test_oras_go_cve_2026_50151_an_upload_goes_on_where_it_was_begun(self):
        """No Location, Link or challenge names a host, whatever host the request or a proxy's fields named."""
        for fields in ({'Host': STRANGER}, {'X-Forwarded-Host': STRANGER, 'X-Forwarded-Proto': 'https'},
                       {'Forwarded': f'host={STRANGER};proto=https'}, {'X-Forwarded-Prefix': f'//{STRANGER}'},
                       {'X-Original-URL': f'http://{STRANGER}/'}, {'Referer': f'http://{STRANGER}/'}):
            body = {**fields, 'Content-Type': ht.OCI_MANIFEST}
            blob = {**fields, **ht.OCTETS}
            mount = f'/v2/team/copy/blobs/uploads/?mount={self.layer}&from={NAME}'
            whole = f'/v2/{NAME}/blobs/uploads/?digest={ht.sha256(b"x")}'
            asked = [('POST', f'/v2/{NAME}/blobs/uploads/', None, fields), ('POST', whole, b'x', blob),
                     ('POST', mount, None, fields), ('PUT', f'/v2/{NAME}/manifests/v2', self.image, body),
                     ('GET', f'/v2/{NAME}/tags/list?n=1', None, fields),
                     ('GET', f'/v2/{NAME}/blobs/{self.layer}', None, fields)]
            seen = 0
            for method, path, data, sent in asked:
                answer = self.target.request(method, path, data, sent, 'alice')
                self.assertIn(answer.status, (200, 201, 202), f'{method} {path} {sent}')
                for name in ('Location', 'Link'):
                    if value := answer.headers[name]:
                        seen += 1
                        self.assertRegex(value, r'^<?/v2/', f'{method} {path} {sent}')
                self.assertNotIn(STRANGER, str(answer.headers))
            self.assertEqual(seen, 5)
            self.assertNotIn(STRANGER, self.target.request('GET', '/v2/', None, fields).headers['WWW-Authenticate'])

    def test_cve_2024_22244_no_path_is_answered_by_a_way_to_another_site(self):
        """There is no redirect to be steered: paths that browsers read as hosts are not found."""
        for path in (f'//{STRANGER}', f'//{STRANGER}/..', f'/\\{STRANGER}', f'/%2f{STRANGER}', f'/{STRANGER}//', '/v2',
                     '/cluster/..', f'/v2/?redirect=//{STRANGER}', f'/?next=//{STRANGER}', f'http://{STRANGER}/v2/',
                     f'/login?redirect_uri=http://{STRANGER}', f'/v2/{NAME}/blobs/{self.layer}?ns={STRANGER}',
                     f'/%0d%0aLocation:%20//{STRANGER}'):
            answer = self.target.request('GET', path, user='alice')
            self.assertFalse(300 <= answer.status < 400, path)
            self.assertIsNone(answer.headers['Location'], path)

    def test_cve_2019_19025_a_page_of_another_site_changes_nothing_in_a_users_name(self):
        """Browsers add a remembered password to such a request: without a word of the configuration it is refused."""
        blob = f'/v2/{NAME}/blobs/uploads/?digest={ht.sha256(b"planted")}'
        mount = f'/v2/team/public/blobs/uploads/?mount={self.layer}&from={NAME}'
        requests = [('POST', blob, b'planted'), ('POST', mount, None), ('POST', f'/v2/{NAME}/blobs/uploads/', None),
                    ('PUT', f'/v2/{NAME}/manifests/v1', b'{}'), ('DELETE', f'/v2/{NAME}/manifests/v1', None),
                    ('PATCH', f'/v2/{NAME}/blobs/uploads/x-sha256-y', b'planted'),
                    ('PUT', f'/v2/{NAME}/blobs/uploads/x-sha256-y?digest={self.layer}', None),
                    ('DELETE', f'/v2/{NAME}/blobs/uploads/x-sha256-y', None)]
        here = f'http://127.0.0.1:{self.target.port}'
        for fields in ({'Origin': f'http://{STRANGER}'}, {'Origin': 'null'}, {'Sec-Fetch-Site': 'cross-site'},
                       {'Sec-Fetch-Site': 'same-site', 'Origin': 'http://127.0.0.1:1'}, {'Origin': here + '1'}):
            for method, path, body in requests:
                answer = self.target.request(method, path, body, fields, 'alice')
                self.assertEqual(answer.status, 403, f'{fields} {method} {path}')
        self.assertEqual(self.target.request('GET', f'/v2/{NAME}/manifests/v1', user='alice').body, self.image)
        for path in (f'/v2/{NAME}/blobs/{ht.sha256(b"planted")}', f'/v2/team/public/blobs/{self.layer}'):
            self.assertEqual(self.target.request('GET', path, user='alice').status, 404, path)
        # The registry's own pages, and clients that are no browsers, go on.
        for fields in ({}, {'Origin': here}, {'Origin': 'http://x', 'Sec-Fetch-Site': 'same-origin'}):
            self.assertEqual(self.target.request('POST', mount, None, fields, 'alice').status, 201, fields)
        foreign = {'Origin': f'http://{STRANGER}'}
        reading = self.target.request('GET', f'/v2/{NAME}/manifests/v1', None, foreign, 'alice')
        self.assertEqual(reading.headers['Access-Control-Allow-Origin'], '*')  # with which no browser sends a password
        self.assertIsNone(reading.headers['Access-Control-Allow-Credentials'])

    def test_minio_cve_2025_31489_a_trailer_proves_and_changes_nothing(self):
        """Fields after a chunked body are no fields of the request: neither a login nor a type nor a length."""
        login = 'Authorization: Basic ' + base64.b64encode(b'alice:a').decode()
        line = f'PUT /v2/{NAME}/manifests/trailed HTTP/1.1'
        size = f'{len(self.image):x}\r\n'.encode()

        def chunked(trailer):
            return size + self.image + b'\r\n0\r\n' + trailer.encode() + b'\r\n\r\n'
        kind = f'Content-Type: {ht.OCI_MANIFEST}'
        encoding = 'Transfer-Encoding: chunked'
        status, *_ = self.raw(hc.request(line, kind, encoding, 'Trailer: Authorization', body=chunked(login)))
        self.assertEqual(status, 401)
        status, *_ = self.raw(hc.request(line, login, encoding, 'Trailer: Content-Type', body=chunked(kind)))
        self.assertEqual(status, 415)
        status, *_ = self.raw(hc.request(line, login, kind, encoding, body=chunked('If-None-Match: nonsense\r\nX: y')))
        self.assertEqual(status, 201)
        self.assertEqual(self.target.request('GET', f'/v2/{NAME}/manifests/trailed', user='alice').body, self.image)

    def test_cve_2025_59345_a_single_node_has_no_door_for_peers(self):
        """Dragonfly's peers asked nobody who they were; where there is no cluster there is nothing to ask."""
        fields = {'Hansa-From': 'a', 'Hansa-To': 'b', 'Hansa-Boot': '', 'Hansa-Nonce': '0' * 32, 'Hansa-Mac': '0' * 64}
        for path in ('/v2/_hansa/join', '/v2/_hansa/peer/blob.read', '/v2/_hansa/peer/'):
            for method in ('GET', 'POST', 'PUT'):
                for user in (None, 'alice'):
                    answer = self.target.request(method, path, None, fields, user)
                    self.assertIn(answer.status, (404, 405), f'{method} {path}')
                    self.assertFalse([name for name in answer.headers if name.startswith('Hansa-')])

    def test_regclient_cve_2026_49349_a_ticket_of_ones_own_making_opens_nothing(self):
        """Tickets stand for a login where a cluster sends its clients on: only who has the server's key makes one."""
        path = f'/v2/{NAME}/blobs/{self.layer}'

        def forge(key, name=NAME, digest=self.layer, seconds=60):
            return make_ticket(key, name, digest, seconds)
        key = secret_of(self.target)
        right = self.target.request('GET', f'{path}?ticket={forge(key)}')
        self.assertEqual(right.status, 200, 'tickets are made otherwise now')
        forged = [forge(''), forge('0' * 64), forge('hansa'), forge(key, name='team/other'),
                  forge(key, digest=self.digest), forge(key, seconds=-60), forge(key, seconds=3600), forge(key)[:-1],
                  forge(key).split('.')[0] + '.']
        for ticket in ('x', '0', '.', '9999999999.' + '0' * 64, 'a' * 4000, '1&ticket=2', *forged):
            for user in (None, 'alice'):
                answer = self.target.request('GET', f'{path}?ticket={ticket}', user=user)
                self.assertEqual(answer.status, 403, ticket)
            self.assertEqual(self.target.request('HEAD', f'{path}?ticket={ticket}').status, 401)
            self.assertEqual(self.target.request('GET', f'/v2/{NAME}/manifests/v1?ticket={ticket}').status, 401)
        self.assertEqual(self.target.request('GET', f'{path}?ticket=').status, 401)

    def test_regclient_cve_2026_49349_a_ticket_is_in_no_log(self):
        """Nor where an answer is cut in its middle, at the level at which most is told."""
        server = self.server('talkative', users={'alice': 'a'}, config={'log': {'level': 'debug'}})
        digest = server.push_blob(NAME, bytes(64 * 1024 * 1024), user='alice')
        shown = make_ticket(secret_of(server), NAME, digest, 60)
        wire = server.connect()
        wire.connect()
        wire.sock.sendall(hc.request(f'GET /v2/{NAME}/blobs/{digest}?ticket={shown} HTTP/1.1'))
        self.assertIn(b' 200 ', wire.sock.recv(1000))
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        wire.close()
        ht.wait_for(lambda: 'a response was cut' in server.log(), 20, 'the log tells of the answer that was cut')
        self.assertNotIn(shown, server.log())

    def test_golang_jwt_cve_2025_30204_a_header_of_separators_costs_nothing(self):
        """What a parser could take apart a million times is refused by its length or its scheme."""
        many = 60_000
        for text in ('.' * many, ',' * many, 'Bearer ' + '.' * many, 'Basic ' + '=' * many, 'Basic' + ' ' * 7_000):
            status, _, body = self.raw(hc.request('GET /v2/ HTTP/1.1', 'Authorization: ' + text, 'Connection: close'))
            self.assertIn(status, (400, 401, 431), text[:20])
            self.assertLess(len(body), 1000)
            if len(text) >= many:
                self.assertIn(b'too long', body, text[:20])  # before anything is taken apart


if __name__ == '__main__':
    ht.main()
