#!/usr/bin/env python3
"""The mistakes a new user makes: each message says what is wrong, where, and what to do."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing as ht  # noqa: E402


class Mistakes(ht.TestCase):
    def hansa(self, *arguments, timeout=30):
        return subprocess.run([str(ht.BINARY), *[str(a) for a in arguments]], capture_output=True, text=True,
                              timeout=timeout)

    def config(self, text, name='config.json'):
        path = self.folder / name
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return path

    def base(self, **changes):
        config = {'distSpecVersion': '1.1.1', 'storage': {'rootDirectory': str(self.folder / 'root')},
                  'http': {'address': '127.0.0.1', 'port': str(ht.free_port())}}
        ht.merge(config, changes)
        return config

    def refused(self, path, *words, command='verify'):
        done = self.hansa(command, path)
        text = done.stdout + done.stderr
        self.assertNotEqual(done.returncode, 0, text)
        for word in words:
            self.assertIn(word, text)
        return text

    def test_a_right_configuration_is_accepted(self):
        done = self.hansa('verify', self.config(self.base()))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_an_unknown_key_names_the_file_the_key_and_the_nearest_known_one(self):
        path = self.config(self.base(storage={'rootDirectry': '/tmp/x'}))
        self.refused(path, str(path), 'rootDirectry', 'rootDirectory')

    def test_a_missing_file_is_named(self):
        self.refused(self.folder / 'absent.json', 'absent.json')

    def test_broken_json_tells_the_place(self):
        self.refused(self.config('{"http": {"port": 5000,}}'), 'config.json', '1')

    def test_a_wrong_type_names_the_key(self):
        self.refused(self.config(self.base(storage={'gcDelay': 'soon'})), 'gcDelay', 'soon')

    def test_a_port_out_of_range_is_refused(self):
        self.refused(self.config(self.base(http={'port': '70000'})), 'port', '70000')

    def test_what_is_not_built_yet_says_so(self):
        path = self.config(self.base(storage={'storageDriver': {'name': 's3', 'bucket': 'b', 'region': 'r'}}))
        self.refused(path, 'storageDriver', 'not built yet')

    def test_missing_root_directory_is_an_error(self):
        self.refused(self.config({'http': {'port': '5000'}, 'storage': {}}), 'rootDirectory')

    def test_policies_without_any_authentication_are_refused(self):
        policies = {'repositories': {'**': {'policies': [{'users': ['a'], 'actions': ['read']}]}}}
        self.refused(self.config(self.base(http={'accessControl': policies})), 'accessControl')

    def test_a_port_in_use_is_named(self):
        first = self.server('first')
        path = self.config(self.base(http={'port': str(first.port)}))
        self.refused(path, str(first.port), 'in use', command='serve')

    def test_an_unreadable_certificate_is_named(self):
        path = self.config(self.base(http={'tls': {'cert': str(self.folder / 'no.crt'), 'key': str(self.folder / 'no.key')}}))
        self.refused(path, 'no.crt', command='serve')

    def test_a_key_of_another_certificate_is_named(self):
        one, two = ht.Certificates(self.folder / 'one'), ht.Certificates(self.folder / 'two')
        path = self.config(self.base(http={'tls': {'cert': str(one.cert), 'key': str(two.key)}}))
        self.refused(path, str(two.key), command='serve')

    def test_a_missing_htpasswd_file_is_named(self):
        path = self.config(self.base(http={'auth': {'htpasswd': {'path': str(self.folder / 'nobody')}}}))
        self.refused(path, 'nobody', command='serve')

    def test_a_second_process_on_the_same_data_is_refused(self):
        first = self.server('first')
        config = self.base()
        config['storage']['rootDirectory'] = str(first.root)
        self.refused(self.config(config), str(first.root), command='serve')

    def test_a_data_directory_that_cannot_be_written_is_named(self):
        blocker = self.folder / 'file'
        blocker.write_text('not a folder')
        config = self.base()
        config['storage']['rootDirectory'] = str(blocker / 'root')
        self.refused(self.config(config), str(blocker), command='serve')

    def test_a_damaged_database_is_named_and_not_overwritten(self):
        first = self.server('first')
        first.push_image('team/app', 'v1')
        first.stop()
        database = next(first.root.rglob('*.db'))
        data = bytearray(database.read_bytes())
        for place in range(0, len(data), 50):
            data[place] ^= 0xFF
        database.write_bytes(data)
        before = database.read_bytes()
        self.refused(first.config_file, str(database), command='serve')
        self.assertEqual(database.read_bytes(), before)

    def test_wrong_passwords_are_refused_and_right_ones_accepted(self):
        server = self.server(users={'alice': 'secret'})
        self.assertEqual(server.request('GET', '/v2/').status, 401)
        wrong = server.request('GET', '/v2/', user='alice:wrong')
        self.assertEqual(wrong.status, 401)
        self.assertTrue(wrong.headers['WWW-Authenticate'].startswith('Basic realm="'))
        self.assertEqual(json.loads(wrong.body)['errors'][0]['code'], 'UNAUTHORIZED')
        self.assertEqual(server.request('GET', '/v2/', user='alice').status, 200)

    def test_unknown_commands_show_the_help(self):
        done = self.hansa('sevre')
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('serve', done.stdout + done.stderr)

    def test_version_and_schema_print(self):
        self.assertIn('hansa', self.hansa('version').stdout.lower())
        schema = json.loads(self.hansa('schema').stdout)
        self.assertIn('rootDirectory', json.dumps(schema))

    def test_without_a_configuration_the_first_line_tells_how_to_push(self):
        port_taken = False
        environment = dict(os.environ, HOME=str(self.folder), XDG_STATE_HOME=str(self.folder / 'state'))
        process = subprocess.Popen([str(ht.BINARY), 'serve'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, env=environment)
        try:
            line = process.stdout.readline()
            port_taken = 'in use' in line
            if not port_taken:
                self.assertIn('127.0.0.1:5000', line)
                self.assertTrue((self.folder / 'state/hansa').is_dir())
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
        if port_taken:
            self.skipTest('port 5000 is taken on this machine')


if __name__ == '__main__':
    ht.main()
