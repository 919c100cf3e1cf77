#!/usr/bin/env python3
"""http.tls.cacert: a client's certificate names its user, and nobody comes in without a certificate or a password."""
import http.client
import pathlib
import ssl
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing as ht  # noqa: E402


class ClientCertificates(ht.TestCase):
    def client(self, folder, name, ca=None):
        """A client certificate with this common name; returns (certificate, key)."""
        cert, key, request = folder / f'{name}.crt', folder / f'{name}.key', folder / f'{name}.csr'
        ht.run('openssl', 'req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
               '-keyout', key, '-out', request, '-subj', f'/CN={name}')
        ca = ca or folder
        ht.run('openssl', 'x509', '-req', '-in', request, '-CA', ca / 'ca.crt', '-CAkey', ca / 'ca.key',
               '-CAcreateserial', '-out', cert, '-days', '2')
        return cert, key

    def ask(self, server, path, pair=None):
        context = ssl.create_default_context(cafile=str(server.tls.ca))
        if pair:
            context.load_cert_chain(*map(str, pair))
        connection = http.client.HTTPSConnection('localhost', server.port, timeout=20, context=context)
        try:
            connection.request('GET', path)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def test_the_common_name_is_the_user(self):
        certificates = ht.Certificates(self.folder / 'certs')
        rights = {'repositories': {'**': {'policies': [{'users': ['builder'], 'actions': ht.ALL_ACTIONS}]}}}
        server = self.server(tls=certificates, config={
            'http': {'tls': {'cacert': str(certificates.ca)}, 'accessControl': rights}})
        builder = self.client(self.folder / 'certs', 'builder')
        guest = self.client(self.folder / 'certs', 'guest')
        self.assertEqual(self.ask(server, '/v2/'), 401)
        self.assertEqual(self.ask(server, '/v2/', builder), 200)
        self.assertEqual(self.ask(server, '/v2/team/app/manifests/v1', builder), 404)
        self.assertEqual(self.ask(server, '/v2/team/app/manifests/v1', guest), 403)

    def test_certificates_of_strangers_are_refused_in_the_handshake(self):
        certificates = ht.Certificates(self.folder / 'certs')
        ht.Certificates(self.folder / 'strangers')
        server = self.server(tls=certificates, config={'http': {'tls': {'cacert': str(certificates.ca)}}})
        stranger = self.client(self.folder / 'strangers', 'builder')
        with self.assertRaises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
            self.ask(server, '/v2/', stranger)


if __name__ == '__main__':
    ht.main()
