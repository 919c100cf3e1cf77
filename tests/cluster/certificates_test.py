#!/usr/bin/env python3
"""Certificates that the site gives (cluster.tls): renewed in their files, they are in use without a restart."""
import json
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402
from site_etcd import SiteCluster, SiteNode  # noqa: E402

SOON = 30  # seconds until new files are in use: they are looked at every five


class SecuredNode(SiteNode):
    certificates = None

    def write_config(self):
        super().write_config()
        config = json.loads(self.config.read_text())
        tls = self.certificates
        config['cluster']['tls'] = {'cert': str(tls.cert), 'key': str(tls.key), 'cacert': str(tls.ca)}
        self.config.write_text(json.dumps(config, indent=1) + '\n')


class SecuredCluster(SiteCluster):
    __test__ = False
    node_kind = SecuredNode


class SiteCertificates(ct.TestCase):
    def serial(self, node, tls):
        """Of the certificate that the listener for peers shows."""
        shown = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{node.ports["peer"]}', '-cert', str(tls.cert),
                                '-key', str(tls.key)], input='', capture_output=True, text=True, timeout=20).stdout
        pem = re.search(r'-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----', shown, re.DOTALL)
        self.assertTrue(pem, shown)
        return ht.run('openssl', 'x509', '-noout', '-serial', stdin=pem[0]).stdout.strip()

    def test_renewed_files_are_in_use_without_a_restart(self):
        tls = SecuredNode.certificates = ht.Certificates(self.folder / 'certs')
        cluster = self.cluster(kind=SecuredCluster, nodes=2)
        before = tls.serial()
        for node in cluster.nodes:
            self.assertEqual(self.serial(node, tls), before)
        tls.issue(self.folder / 'certs', 'server', self.folder / 'certs/ca.key')
        after = tls.serial()
        self.assertNotEqual(after, before)
        for node in cluster.nodes:
            cluster.wait(lambda: self.serial(node, tls) == after, SOON, 'the new certificate is shown')
        client = ct.Node(cluster.urls[0], 30.0)
        image = client.push_image('team/app', 'v1', layer_size=2_000_000)  # goes to the other member
        client.close()
        other = ct.Node(cluster.urls[1], 30.0)
        self.assertEqual(other.tag('team/app', 'v1'), (image[0], False))
        other.close()


if __name__ == '__main__':
    ct.main()
