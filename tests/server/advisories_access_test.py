#!/usr/bin/env python3
"""What went wrong in other registries with users and rights, tried here: routes, lists, passwords, revocation, secrets.

One test per advisory; docs/advisories.md lists all of them with the tests that stand elsewhere.
"""
import base64
import http.client
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing as ht  # noqa: E402
import hostile_corpus as hc  # noqa: E402

JSON_BODY = {'Content-Type': ht.OCI_MANIFEST}
NAME = 'team/app'
METRICS = {'enable': True, 'prometheus': {'path': '/metrics'}}

# Who needs what: (method, pattern of the route, the path that is asked, what one of is needed).
ROUTES = [
    ('GET', '/v2/', '/v2/', 'login'),
    ('GET', '/v2/_catalog', '/v2/_catalog', 'login'),
    ('GET', '/v2/_oci/ext/discover', '/v2/_oci/ext/discover', 'login'),
    ('GET', '/v2/{name}/tags/list', '/v2/{name}/tags/list', 'read'),
    ('GET', '/v2/{name}/referrers/{digest}', '/v2/{name}/referrers/{digest}', 'read'),
    ('GET', '/v2/{name}/manifests/{reference}', '/v2/{name}/manifests/v1', 'read'),
    ('HEAD', '/v2/{name}/manifests/{reference}', '/v2/{name}/manifests/{digest}', 'read'),
    ('PUT', '/v2/{name}/manifests/{reference}', '/v2/{name}/manifests/v1', 'update'),
    ('DELETE', '/v2/{name}/manifests/{reference}', '/v2/{name}/manifests/absent', 'delete'),
    ('GET', '/v2/{name}/blobs/{digest}', '/v2/{name}/blobs/{layer}', 'read'),
    ('HEAD', '/v2/{name}/blobs/{digest}', '/v2/{name}/blobs/{layer}', 'read'),
    ('DELETE', '/v2/{name}/blobs/{digest}', '/v2/{name}/blobs/{layer}', 'delete'),
    ('POST', '/v2/{name}/blobs/uploads/', '/v2/{name}/blobs/uploads/', 'create'),
    ('GET', '/v2/{name}/blobs/uploads/{session}', '/v2/{name}/blobs/uploads/x-sha256-y', 'create'),
    ('PATCH', '/v2/{name}/blobs/uploads/{session}', '/v2/{name}/blobs/uploads/x-sha256-y', 'create'),
    ('PUT', '/v2/{name}/blobs/uploads/{session}', '/v2/{name}/blobs/uploads/x-sha256-y?digest={layer}', 'create'),
    ('DELETE', '/v2/{name}/blobs/uploads/{session}', '/v2/{name}/blobs/uploads/x-sha256-y', 'create'),
    ('GET', '/v2/_hansa/cluster', '/v2/_hansa/cluster', 'login'),
    ('GET', '/cluster', '/cluster', 'login'),
    ('GET', '/metrics', '/metrics', 'metrics'),
    ('GET', '/livez', '/livez', 'nothing'),
    ('GET', '/readyz', '/readyz', 'nothing'),
    ('GET', '/startupz', '/startupz', 'nothing'),
]
RIGHTS = {'nobody': [], 'reader': ['read'], 'creator': ['create'], 'updater': ['update'], 'deleter': ['delete'],
          'puller': ['read', 'create'], 'owner': ht.ALL_ACTIONS, 'watcher': []}


def rights_config(**more):
    policies = [{'users': [user], 'actions': actions} for user, actions in RIGHTS.items() if actions]
    return {'log': {'level': 'warn'}, 'storage': {'gc': False}, 'extensions': {'metrics': METRICS},
            'http': {'accessControl': {'repositories': {'team/**': {'policies': policies}},
                                       'metrics': {'users': ['watcher']}, **more}}}


class Matrix(ht.TestCase):
    """One repository, and a user for each right."""

    def setUp(self):
        super().setUp()
        self.target = self.server(users={user: user for user in RIGHTS}, config=rights_config())
        self.digest = self.target.push_image(NAME, 'v1', user='owner')
        self.image = self.target.request('GET', f'/v2/{NAME}/manifests/v1', user='owner').body
        self.layer = json.loads(self.image)['layers'][0]['digest']

    def path(self, text):
        return text.replace('{name}', NAME).replace('{digest}', self.digest).replace('{layer}', self.layer)

    def may(self, user, need):
        if need == 'nothing':
            return True
        if user is None:
            return False
        return need == 'login' or (user == 'watcher' if need == 'metrics' else need in RIGHTS[user])

    def body_of(self, method, need):
        if method == 'PUT' and need == 'update':
            return self.image, JSON_BODY
        return (b'', ht.OCTETS) if method in ('PUT', 'POST', 'PATCH') else (None, {})

    def assert_untouched(self):
        self.assertEqual(self.target.request('GET', f'/v2/{NAME}/manifests/v1', user='owner').body, self.image)
        tags = json.loads(self.target.request('GET', f'/v2/{NAME}/tags/list', user='owner').body)['tags']
        self.assertEqual(tags, ['v1'])

    def test_gitea_cve_2025_68941_every_route_asks_for_its_right(self):
        """Gitea's token scopes were missed on one more route each; here the table of routes is gone through."""
        source = (ht.ROOT / 'src/api/distribution/distribution.cc').read_text()
        names = dict(re.findall(r'const std::string (\w+) = "([^"]+)";', source))
        methods = {'get': 'GET', 'head': 'HEAD', 'put': 'PUT', 'post': 'POST', 'patch': 'PATCH', 'del': 'DELETE'}
        served = {(methods[method], literal or names[name])
                  for method, literal, name in re.findall(r'\{(\w+), (?:"([^"]+)"|(\w+)), Need::', source)}
        tried = {(method, pattern) for method, pattern, *_ in ROUTES}
        self.assertEqual(served - tried, set(), 'a route is not tried here')
        self.assertGreaterEqual(len(served), 17)
        source = (ht.ROOT / 'src/api/operations.cc').read_text()
        beside = set(re.findall(r'\.pattern = "([^"]+)"', source))
        self.assertEqual(beside - {pattern for _, pattern, *_ in ROUTES}, set(), 'a route is not tried here')
        self.assertGreaterEqual(len(beside), 4)
        pages = re.findall(r'\{"(/cluster[^"]*)", "', (ht.ROOT / 'src/api/cluster_page.cc').read_text())
        self.assertGreaterEqual(len(pages), 8)
        for path in pages:
            self.assertEqual(self.target.request('GET', path).status, 401, path)
        for method, _, path, need in ROUTES:
            for user in (None, *RIGHTS):
                body, fields = self.body_of(method, need)
                answer = self.target.request(method, self.path(path), body, fields, user)
                refused = 401 if user is None else 403
                expected = self.may(user, need)
                self.assertEqual(answer.status != refused, expected, f'{user} {method} {path}: {answer.status}')
                if expected:
                    self.assertNotIn(answer.status, (401, 403), f'{user} {method} {path}')
        self.assert_untouched()

    def test_cve_2024_41110_a_request_without_a_body_or_with_too_much_is_authorized_all_the_same(self):
        """Moby's plugins were not asked when the length was 0, and (CVE-2026-34040) when there was too much of it."""
        for method, _, path, need in ROUTES:
            if need in ('nothing', 'login', 'read', 'metrics'):
                continue
            login = 'Authorization: Basic ' + base64.b64encode(b'nobody:nobody').decode()
            for field in ('Content-Length: 0', 'Content-Length: 9223372036854775807', 'Transfer-Encoding: chunked'):
                for who, status in (([], 401), ([login], 403)):
                    lines = [f'{method} {self.path(path)} HTTP/1.1', f'Content-Type: {ht.OCI_MANIFEST}', field, *who]
                    connection = self.target.connect(timeout=20)
                    connection.connect()
                    connection.sock.sendall(hc.request(*lines, body=b'0\r\n\r\n' if 'chunked' in field else b''))
                    answer = http.client.HTTPResponse(connection.sock)
                    answer.begin()
                    self.assertEqual(answer.status, status, f'{method} {path} {field} {who}')
                    answer.close()
                    connection.close()
        self.assert_untouched()

    def test_cve_2020_29662_another_spelling_of_a_path_is_no_way_round_the_login(self):
        """Harbor's catalog was open at a variant of its path: none gives content without credentials or rights."""
        for _, _, path, need in ROUTES:
            if need == 'nothing':
                continue
            path = self.path(path)
            rest = path.removeprefix('/v2')
            spellings = {path, path + '/', '/' + path, path.replace('/v2', '/v2/', 1), path.replace('/v2', '/V2', 1),
                         '/v2/.' + rest, '/livez/..' + path, '/v2/x/..' + rest, '/v2%2f' + rest[1:], path + '%00',
                         path + ';x=y', path + '?', path + '%20', path + '/.', '/%76%32' + rest, path + '.json',
                         '/api' + path, f'http://localhost{path}', path.replace('/', '%2F'), path.replace('a', '%61')}
            for spelling in spellings:
                for fields in ({}, {'X-Original-URL': '/livez', 'X-Forwarded-User': 'owner'}):
                    for user in (None, 'nobody'):
                        if user and need == 'login':
                            continue
                        answer = self.target.request('GET', spelling, None, fields, user)
                        self.assertGreaterEqual(answer.status, 400, f'{user} {spelling}')
                        self.assertNotIn(b'"repositories"', answer.body, spelling)
                        self.assertNotIn(b'"layers"', answer.body, spelling)

    def test_cve_2019_19030_what_one_may_not_read_looks_as_what_is_not_there(self):
        """Neither the status nor the words tell whether a hidden repository, tag or blob exists."""
        for user, status in ((None, 401), ('nobody', 403), ('creator', 403)):
            for path in ('manifests/v1', f'manifests/{self.digest}', f'blobs/{self.layer}', 'tags/list',
                         f'referrers/{self.digest}'):
                for method in ('GET', 'HEAD'):
                    answers = []
                    for name in (NAME, 'team/absent'):
                        answer = self.target.request(method, f'/v2/{name}/{path}', user=user)
                        fields = sorted((k, v) for k, v in answer.headers.items() if k != 'Date')
                        answers.append((answer.status, answer.body, fields))
                    self.assertEqual(answers[0], answers[1], f'{user} {method} {path}')
                    self.assertEqual(answers[0][0], status)

    def test_cve_2019_16097_no_request_makes_a_user_or_an_administrator(self):
        """There is no route for it, and fields of privilege in what is pushed mean nothing."""
        wish = json.dumps({'username': 'eve', 'password': 'eve', 'has_admin_role': True, 'role_id': 1}).encode()
        for path in ('/api/users', '/api/v2.0/users', '/v2/_zot/ext/mgmt', '/v2/_hansa/users', '/auth/apikey'):
            for method in ('POST', 'PUT'):
                answer = self.target.request(method, path, wish, {'Content-Type': 'application/json'}, 'nobody')
                self.assertIn(answer.status, (403, 404, 405), path)
        marked = {**json.loads(self.image), 'has_admin_role': True, 'users': ['nobody'], 'actions': ht.ALL_ACTIONS}
        pushed = self.target.request('PUT', f'/v2/{NAME}/manifests/v1', json.dumps(marked), JSON_BODY, 'updater')
        self.assertEqual(pushed.status, 201)
        self.assertEqual(self.target.request('GET', '/v2/', user='eve:eve').status, 401)
        self.assertEqual(self.target.request('GET', f'/v2/{NAME}/manifests/v1', user='nobody').status, 403)

    def test_cve_2026_4404_no_password_is_there_by_default(self):
        """Harbor came with one; here only the users of the file log in, whatever name or password is tried."""
        for user in ('admin', 'root', 'harbor', 'zot', 'hansa', 'quay', 'test', 'anonymous', '', 'owner'):
            for word in ('Harbor12345', 'admin', 'password', 'hansa', '', *RIGHTS):
                if word == user == 'owner':
                    continue
                answer = self.target.request('GET', '/v2/', user=f'{user}:{word}')
                self.assertEqual(answer.status, 401, f'{user}:{word}')


class Lists(ht.TestCase):
    def test_cve_2019_19029_what_is_asked_for_in_a_list_is_a_text_and_no_statement(self):
        """Texts with the marks of SQL are compared byte by byte as any other, and filter what they should."""
        server = self.server(config={'log': {'level': 'warn'}, 'storage': {'gc': False}})
        names = ['a', 'a/b', 'a_b', 'a-b', 'b', 'c/d', 'or', 'z']
        subject = [server.push_image(name, tag, seed=1) for name in names for tag in ('v1', 'V1', '_x')][0]
        body = server.request('GET', '/v2/a/manifests/v1').body
        link = {'mediaType': ht.OCI_MANIFEST, 'digest': subject, 'size': len(body)}
        for kind in ('a/x', 'a/y'):
            server.push_manifest('a', 'ref-' + kind[-1], {**json.loads(body), 'artifactType': kind, 'subject': link})
        for text in ("' OR 1=1 --", '" OR ""="', "a'; DROP TABLE tags; --", "') UNION SELECT 1--", 'a%', 'a_', '_', '%',
                     '*', 'a\\', '0 OR 1', 'a\ud7ff'):
            last = ''.join(f'%{byte:02x}' for byte in text.encode())
            got = json.loads(server.request('GET', f'/v2/_catalog?last={last}').body)['repositories']
            self.assertEqual(got, [name for name in sorted(names) if name.encode() > text.encode()], text)
            tags = json.loads(server.request('GET', f'/v2/b/tags/list?last={last}').body)['tags']
            self.assertEqual(tags, [tag for tag in ('V1', '_x', 'v1') if tag.encode() > text.encode()], text)
            found = json.loads(server.request('GET', f'/v2/a/referrers/{subject}?artifactType={last}').body)
            self.assertEqual(found['manifests'], [], text)
        found = json.loads(server.request('GET', f'/v2/a/referrers/{subject}?artifactType=a/x').body)
        self.assertEqual(len(found['manifests']), 1)

    def test_cve_2026_28699_a_list_shows_each_caller_what_that_caller_may_read(self):
        """Drawn rights, every page size, every caller: the pages together are what the rights say, links included."""
        source = random.Random(11)
        users = ['ann', 'ben', 'cat']
        names = [f'r{number}/app' for number in range(12)]
        may = {name: [user for user in [None, *users] if source.random() < 0.4] for name in names}
        policies = {name: {'anonymousPolicy': ['read'] if None in readers else [],
                           'policies': [{'users': [u for u in readers if u] or ['other'], 'actions': ['read']},
                                        {'users': ['root'], 'actions': ht.ALL_ACTIONS}]} for name, readers in may.items()}
        server = self.server(users={user: user for user in [*users, 'root']}, config={
            'log': {'level': 'warn'}, 'storage': {'gc': False}, 'http': {'accessControl': {'repositories': policies}}})
        for name in names:
            server.push_image(name, 'v1', layers=1, user='root')
        for user in (None, *users):
            right = [name for name in sorted(names) if user in may[name]]
            for size in (1, 2, 5, 100):
                seen, path = [], f'/v2/_catalog?n={size}'
                while path:
                    answer = server.request('GET', path, user=user)
                    page = json.loads(answer.body)['repositories']
                    self.assertLessEqual(len(page), size)
                    self.assertTrue(page or not right, 'a link leads to names that are hidden')
                    seen += page
                    link = answer.headers['Link']
                    for name in names:
                        self.assertFalse(link and name.replace('/', '%2F') in link and name not in right, link)
                    path = link[1:link.index('>')] if link else None
                self.assertEqual(seen, right, f'{user}, {size} at a time')
            for name in names:
                status = server.request('GET', f'/v2/{name}/tags/list', user=user).status
                self.assertEqual(status == 200, name in right, f'{user} {name}')


class Passwords(ht.TestCase):
    def test_cve_2020_13794_the_time_of_a_name_is_the_same_for_every_password(self):
        """Where hashes cost differently, a name whose time jumps would be known as nobody's."""
        lines = [ht.run('htpasswd', '-nbB', '-C', str(cost), user, 'right').stdout for user, cost in (('alice', 4), ('bob', 11))]
        (self.folder / 'users').write_text(''.join(lines))
        server = self.server(config={'http': {'auth': {'htpasswd': {'path': str(self.folder / 'users')}}}})

        def quickest(user):
            times = []
            for _ in range(2):
                start = time.monotonic()
                self.assertEqual(server.request('GET', '/v2/', user=user).status, 401)
                times.append(time.monotonic() - start)
            return min(times)
        for name in ('alice', 'bob', 'carol', 'dan', 'eve', 'frank'):
            times = [quickest(f'{name}:wrong{number}') for number in range(6)]
            # One hash costs 128 times the other.
            self.assertLess(max(times), 10 * min(times) + 0.03, f'{name}: {times}')

    def test_cve_2020_13794_a_name_that_is_no_users_is_refused_in_the_same_words_and_time(self):
        """CVE-2023-20902 and Dragonfly's CVE-2025-59350 too: an unknown user costs a hash as a known one does."""
        (self.folder / 'users').write_text(ht.run('htpasswd', '-nbB', '-C', '9', 'alice', 'right').stdout)
        server = self.server(config={'http': {'auth': {'htpasswd': {'path': str(self.folder / 'users')}}}})
        answers, times = {}, {'alice': [], 'nobody': []}
        known, unknown = 1, 0
        for turn in range(60):
            # The quickest of each has met the least of what else this machine does.
            if turn >= 12 and known / 2 < unknown < known * 2:
                break
            for user in times:
                start = time.monotonic()
                answer = server.request('GET', '/v2/', user=f'{user}:wrong{turn}')
                times[user].append(time.monotonic() - start)
                fields = sorted((k, v) for k, v in answer.headers.items() if k != 'Date')
                answers.setdefault(user, (answer.status, answer.body, fields))
            known, unknown = min(times['alice']), min(times['nobody'])
        self.assertEqual(answers['alice'], answers['nobody'])
        self.assertEqual(answers['alice'][0], 401)
        self.assertGreater(known, 0.004, 'the hash is too cheap to tell')
        self.assertGreater(unknown, known / 2)
        self.assertLess(unknown, known * 2)

    def until(self, what, seconds=20):
        ht.wait_for(what, seconds, 'the change is not in force')

    def replace(self, path, text):
        fresh = path.with_suffix('.new')
        fresh.write_text(text)
        os.replace(fresh, path)

    def test_gitea_cve_2026_58422_who_is_removed_is_out_with_everything_that_was_open(self):
        """GitLab's CVE-2026-6515 too: an open connection, a remembered password and a begun upload end too."""
        server = self.server(users={'alice': 'a', 'bob': 'b'}, config={'storage': {'gc': False}})
        place = server.request('POST', f'/v2/{NAME}/blobs/uploads/', user='bob').headers['Location']
        self.assertEqual(server.request('PATCH', place, b'half', ht.OCTETS, 'bob').status, 202)
        login = {'Authorization': 'Basic ' + base64.b64encode(b'bob:b').decode()}
        line = server.connect()
        line.request('GET', '/v2/', headers=login)
        first = line.getresponse()
        first.read()
        self.assertEqual(first.status, 200)
        ht.htpasswd(server.folder / 'next', {'alice': 'a'})
        os.replace(server.folder / 'next', server.folder / 'htpasswd')

        def refused():
            line.request('GET', '/v2/', headers=login)
            answer = line.getresponse()
            answer.read()
            return answer.status == 401
        self.until(refused)
        end = f'{place}?digest={ht.sha256(b"half")}'
        for method, path in (('PATCH', place), ('GET', place), ('PUT', end), ('DELETE', place)):
            self.assertEqual(server.request(method, path, None, ht.OCTETS, 'bob').status, 401, method)
        self.assertEqual(server.request('GET', place, user='alice').status, 404)  # nor is it anybody else's

    def test_cve_2025_23208_who_leaves_a_group_leaves_its_rights(self):
        """zot added groups at a login and never took one away; here they are what the configuration says now."""
        rights = {'groups': {'dev': {'users': ['alice', 'bob']}},
                  'repositories': {'team/**': {'policies': [{'groups': ['dev'], 'actions': ht.ALL_ACTIONS}]}}}
        server = self.server(users={'alice': 'a', 'bob': 'b'}, config={'http': {'accessControl': rights}})
        server.push_image(NAME, 'v1', user='bob')
        place = server.request('POST', f'/v2/{NAME}/blobs/uploads/', user='bob').headers['Location']
        server.config['http']['accessControl']['groups']['dev']['users'] = ['alice']
        self.replace(server.config_file, json.dumps(server.config))
        self.until(lambda: server.request('GET', f'/v2/{NAME}/manifests/v1', user='bob').status == 403)
        self.assertEqual(server.request('PUT', f'{place}?digest={ht.sha256(b"")}', b'', ht.OCTETS, 'bob').status, 403)
        self.assertEqual(json.loads(server.request('GET', '/v2/_catalog', user='bob').body)['repositories'], [])
        self.assertEqual(server.request('GET', f'/v2/{NAME}/manifests/v1', user='alice').status, 200)


class Secrets(ht.TestCase):
    def test_cve_2025_48374_no_secret_is_written_where_others_read(self):
        """GHSA-prh4-vhfh-24mj too: logs at their chattiest, the audit log, metrics and answers hold none of them."""
        audit = self.folder / 'audit.log'
        server = self.server(users={'alice': 'canary-right'}, config={
            'log': {'level': 'debug', 'audit': str(audit)}, 'extensions': {'metrics': METRICS}})
        with open(server.folder / 'htpasswd', 'a') as users:  # a line that somebody wrote by hand
            users.write('dave:canary-plain\n')
        server.stop()
        server.start()
        logins = ('alice', 'alice:canary-wrong', 'dave:canary-plain', 'canary-user:x')
        answers = [server.request('GET', '/v2/', user=user) for user in logins]
        for fields in ({'Authorization': 'Bearer canary-token'}, {'Cookie': 'session=canary-cookie'},
                       {'Proxy-Authorization': 'Basic canary-proxy'}, {'Authorization': 'canary-no-scheme'},
                       {'aUTHORIZATION': 'Basic canary-case'}):
            answers.append(server.request('GET', '/v2/', None, fields))
        blob = ht.sha256(b'x')
        server.push_blob(NAME, b'x', 'alice')
        for query in ('ticket=canary-ticket', 'a=b&ticket=canary-ticket', 't%69cket=canary-ticket'):
            answers.append(server.request('GET', f'/v2/{NAME}/blobs/{blob}?{query}'))
        connection = server.connect()
        connection.request('GET', 'http://alice:canary-url@localhost/v2/')
        answers.append(connection.getresponse())
        answers[-1].body = answers[-1].read()
        connection.close()
        for path in ('/metrics', '/v2/_hansa/cluster', '/cluster'):
            answers.append(server.request('GET', path, user='alice'))
        told = ht.run(ht.BINARY, 'cluster', 'status', server.config_file, check=False)
        written = [server.log(), audit.read_text(), told.stdout, told.stderr]
        written += [str(answer.headers) + answer.body.decode() for answer in answers]
        secrets = re.findall(r'"secret":\s*"([0-9a-f]{16,})"', ''.join(
            path.read_text(errors='replace') for path in server.root.glob('*.json')))
        self.assertTrue(secrets, 'the key of the upload sessions is kept elsewhere now')
        hashes = [line.split(':')[1] for line in (server.folder / 'htpasswd').read_text().split() if '$' in line]
        self.assertTrue(hashes)
        for text in written:
            for secret in ('canary-', 'Y2FuYXJ5', 'YWxpY2U6', *secrets, *hashes):
                self.assertNotIn(secret, text.replace('canary-user', ''))
        for path in server.root.rglob('*'):
            if path.is_file():
                self.assertNotIn(b'canary-', path.read_bytes(), path)

    def test_cve_2025_48374_a_mistake_beside_a_secret_does_not_print_it(self):
        """What `hansa verify` and `hansa serve` say of a wrong configuration never quotes a password or a key."""
        for more in ({'cluster': {'members': ['a:1', 'b:2'], 'hashKey': 'canary-short'}},
                     {'cluster': {'metadata': {'etcd': {'endpoints': [], 'username': 'u', 'password': 'canary-etcd'}}}},
                     {'cluster': {'hashKey': 'canary-7890123456', 'hashkez': 'canary-typo'}},
                     {'http': {'auth': {'ldap': {'bindPassword': 'canary-ldap', 'address': 'x'}}}},
                     {'extensions': {'events': {'sinks': [{'credentials': {'password': 'canary-sink'}}]}}}):
            config = {'storage': {'rootDirectory': str(self.folder / 'root')},
                      'http': {'address': '127.0.0.1', 'port': str(ht.free_port())}}
            ht.merge(config, more)
            path = self.folder / 'config.json'
            path.write_text(json.dumps(config))
            for command in ('verify', 'serve'):
                done = subprocess.run([str(ht.BINARY), command, str(path)], capture_output=True, text=True, timeout=30)
                self.assertNotEqual(done.returncode, 0, more)
                self.assertNotIn('canary', done.stdout + done.stderr)

    def test_log_injection_a_line_of_the_log_is_one_record_whatever_a_client_sends(self):
        """Line breaks, escapes and quotes of a client neither begin a record nor reach a terminal as they are."""
        audit = self.folder / 'audit.log'
        server = self.server(config={'log': {'level': 'debug', 'audit': str(audit)}})
        evil = 'x"}\\n{"level":"forged"\\u001b[31m\u202e\u009b31m'
        for path in ('/v2/a%0d%0a%7b%22level%22%3a%22forged%22%7d/tags/list', '/v2/%1b%5b31m/tags/list',
                     '/%00%ff%e2%80%ae', '/v2/a/tags/list?n=%0a%7b', '/v2/"}{"level":"forged"}/tags/list'):
            connection = server.connect()
            connection.putrequest('GET', path, skip_accept_encoding=True)
            connection.putheader('User-Agent', evil.encode() + b'\xff')
            connection.putheader('Referer', '\t"\\')
            connection.endheaders()
            connection.getresponse().read()
            connection.close()
        server.push_blob('team/app', b'x')
        lines = server.log().splitlines() + audit.read_text().splitlines()
        self.assertGreater(len(lines), 5)
        for line in lines:
            record = json.loads(line)
            self.assertNotEqual(record.get('level'), 'forged')
            self.assertTrue(line.isascii() and line.isprintable(), line)


if __name__ == '__main__':
    ht.main()
