#!/usr/bin/env python3
"""Changes of users, rights and configuration take effect while the server runs; mistakes leave the old ones in force."""
import json
import os
import pathlib
import signal
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing as ht  # noqa: E402


class Reload(ht.TestCase):
    def until(self, what, seconds=20):
        """Asks until the answer is true."""
        end = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), end, 'it never happened')
            time.sleep(0.02)

    def status(self, server, user, path='/v2/'):
        return server.request('GET', path, user=user).status

    def test_a_changed_password_file_is_read_again(self):
        server = self.server(users={'alice': 'old', 'bob': 'word'})
        self.assertEqual(self.status(server, 'alice:old'), 200)
        users = server.folder / 'htpasswd'
        ht.htpasswd(server.folder / 'new', {'alice': 'fresh'})
        os.replace(server.folder / 'new', users)
        self.until(lambda: self.status(server, 'alice:fresh') == 200)
        # What was remembered of the old file is forgotten with it.
        self.assertEqual(self.status(server, 'alice:old'), 401)
        self.assertEqual(self.status(server, 'bob:word'), 401)

    def test_a_password_file_behind_a_link_is_read_again(self):
        server = self.server(users={'alice': 'old'})
        users, elsewhere = server.folder / 'htpasswd', server.folder / 'elsewhere/users'
        elsewhere.parent.mkdir()
        ht.htpasswd(elsewhere, {'alice': 'linked'})
        (server.folder / 'link').symlink_to(elsewhere)
        os.replace(server.folder / 'link', users)
        self.until(lambda: self.status(server, 'alice:linked') == 200)
        ht.htpasswd(elsewhere, {'alice': 'written'})
        self.until(lambda: self.status(server, 'alice:written') == 200)
        ht.htpasswd(elsewhere.parent / 'new', {'alice': 'replaced'})
        os.replace(elsewhere.parent / 'new', elsewhere)
        self.until(lambda: self.status(server, 'alice:replaced') == 200)

    def test_a_password_file_that_is_gone_leaves_the_users(self):
        server = self.server(users={'alice': 'old'})
        (server.folder / 'htpasswd').unlink()
        self.until(lambda: 'users are not read again' in server.log())
        self.assertEqual(self.status(server, 'alice:old'), 200)
        ht.htpasswd(server.folder / 'htpasswd', {'alice': 'fresh'})
        self.until(lambda: self.status(server, 'alice:fresh') == 200)

    def write_config(self, server, **access):
        server.config['http']['accessControl'] = access
        text = json.dumps(server.config)
        (server.folder / 'next').write_text(text)
        os.replace(server.folder / 'next', server.config_file)

    def test_changed_rights_are_in_force_without_a_restart(self):
        rights = {'repositories': {'**': {'policies': [{'users': ['alice'], 'actions': ht.ALL_ACTIONS}]}}}
        server = self.server(users={'alice': 'a', 'bob': 'b'}, config={'http': {'accessControl': rights}})
        server.push_image('team/app', 'v1', user='alice')
        path = '/v2/team/app/manifests/v1'
        self.assertEqual(self.status(server, 'bob', path), 403)
        self.assertEqual(server.request('GET', path).status, 401)
        self.write_config(server, repositories={'team/**': {'policies': [{'users': ['bob'], 'actions': ['read']}]}})
        self.until(lambda: self.status(server, 'bob', path) == 200)
        self.assertEqual(self.status(server, 'alice', path), 403)

    def test_a_broken_configuration_is_told_and_changes_nothing(self):
        server = self.server()
        server.config_file.write_text('{"storage": {"rootDirectry": "x"}}')
        self.until(lambda: 'rootDirectry' in server.log())
        self.assertEqual(server.request('GET', '/v2/').status, 200)
        self.assertIsNone(server.process.poll())

    def test_client_certificates_in_place_of_passwords_open_nothing_before_the_restart(self):
        server = self.server(users={'alice': 'a'})
        certificates = ht.Certificates(server.folder / 'tls')
        del server.config['http']['auth']
        server.config['http']['tls'] = {'cert': str(certificates.cert), 'key': str(certificates.key), 'cacert': str(certificates.ca)}
        server.config_file.write_text(json.dumps(server.config))
        self.until(lambda: 'needs a restart; until then the old users' in server.log())
        self.assertEqual(server.request('GET', '/v2/').status, 401)
        self.assertEqual(self.status(server, 'alice:a'), 200)

    def test_what_needs_a_restart_says_so_at_a_hang_up(self):
        server = self.server()
        server.config['http']['port'] = str(ht.free_port())
        server.config_file.write_text(json.dumps(server.config))
        server.process.send_signal(signal.SIGHUP)
        self.until(lambda: 'need a restart' in server.log())
        self.assertEqual(server.request('GET', '/v2/').status, 200)

    def test_a_hang_up_changes_the_level_and_opens_the_log_anew(self):
        log = self.folder / 'own.log'
        server = self.server(config={'log': {'level': 'info', 'output': str(log)}})
        server.request('GET', '/v2/')
        self.assertIn('HTTP API', log.read_text())
        os.rename(log, self.folder / 'rotated.log')
        server.process.send_signal(signal.SIGHUP)
        self.until(lambda: log.exists() and 'loaded new configuration' in log.read_text())
        server.config['log']['level'] = 'error'
        server.config_file.write_text(json.dumps(server.config))
        self.until(lambda: self.quiet(server, log))

    def test_changes_go_to_the_audit_log(self):
        audit = self.folder / 'audit.log'
        server = self.server(users={'alice': 'a'}, config={'log': {'audit': str(audit)}})
        server.push_blob('team/app', b'data', user='alice')
        self.assertEqual(server.request('GET', '/v2/', user='alice').status, 200)
        self.assertEqual(server.request('DELETE', '/v2/team/app/manifests/none', user='alice').status, 404)
        lines = [json.loads(line) for line in audit.read_text().splitlines()]
        self.assertEqual([(l['message'], l['subject'], l['action'], l['status']) for l in lines],
                         [('HTTP API Audit', 'alice', 'POST', 201)])
        self.assertTrue(lines[0]['object'].startswith('/v2/team/app/blobs/uploads/'))
        self.assertEqual(lines[0]['clientIP'], '127.0.0.1')
        self.assertEqual(audit.stat().st_mode & 0o777, 0o600)

    def quiet(self, server, log):
        before = log.read_text()
        server.request('GET', '/v2/')
        return log.read_text() == before

    def test_the_rights_decide_what_each_caller_may_do(self):
        rights = {'groups': {'dev': {'users': ['bob']}},
                  'repositories': {'**': {'defaultPolicy': ['read'], 'anonymousPolicy': ['read'],
                                          'policies': [{'users': ['alice'], 'actions': ['read', 'create']}]},
                                   'team/**': {'policies': [{'groups': ['dev'], 'actions': ht.ALL_ACTIONS}]}},
                  'adminPolicy': {'users': ['root'], 'actions': ht.ALL_ACTIONS}}
        users = {name: name for name in ('alice', 'bob', 'root')}
        server = self.server(users=users, config={'http': {'accessControl': rights}})
        server.push_image('lib/app', 'v1', seed=1, user='alice')
        server.push_image('team/app', 'v1', seed=2, user='bob')
        manifest = server.request('GET', '/v2/lib/app/manifests/v1').body
        put = lambda user, tag: server.request('PUT', f'/v2/lib/app/manifests/{tag}', manifest,
                                               {'Content-Type': ht.OCI_MANIFEST}, user).status
        self.assertEqual(put('alice', 'v2'), 201)   # create: a new tag
        other = json.dumps(dict(json.loads(manifest), annotations={'a': 'b'})).encode()
        moved = server.request('PUT', '/v2/lib/app/manifests/v1', other, {'Content-Type': ht.OCI_MANIFEST}, 'alice')
        self.assertEqual(moved.status, 403)         # update is another right
        self.assertEqual(put('bob', 'v3'), 403)
        self.assertEqual(put(None, 'v3'), 401)
        self.assertEqual(put('root', 'v3'), 201)
        self.assertEqual(server.request('GET', '/v2/team/app/manifests/v1').status, 401)
        self.assertEqual(self.status(server, 'alice', '/v2/team/app/manifests/v1'), 403)
        self.assertEqual(server.request('DELETE', '/v2/lib/app/manifests/v1', user='alice').status, 403)
        self.assertEqual(server.request('DELETE', '/v2/lib/app/manifests/v1', user='root').status, 202)
        names = lambda user: json.loads(server.request('GET', '/v2/_catalog', user=user).body)['repositories']
        self.assertEqual(names('alice'), ['lib/app'])
        self.assertEqual(names('bob'), ['lib/app', 'team/app'])
        self.assertEqual(names(None), ['lib/app'])

    def test_a_right_that_nobody_can_get_by_logging_in_is_403(self):
        rights = {'repositories': {'**': {'anonymousPolicy': ['read', 'create']}}}
        server = self.server(config={'http': {'accessControl': rights}})
        manifest = server.push_image('team/app', 'v1')
        other = dict(json.loads(server.request('GET', '/v2/team/app/manifests/v1').body), annotations={'a': 'b'})
        moved = server.request('PUT', '/v2/team/app/manifests/v1', json.dumps(other).encode(), {'Content-Type': ht.OCI_MANIFEST})
        self.assertEqual((moved.status, json.loads(moved.body)['errors'][0]['code']), (403, 'DENIED'), manifest)


if __name__ == '__main__':
    ht.main()
