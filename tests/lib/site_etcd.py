"""A cluster whose metadata is in an etcd of the site's own (cluster.metadata.etcd): three members that the test keeps.

As TestCluster, but Hansa neither starts nor heals these etcds: revive() does.
"""
import http.client
import json
import signal
import subprocess

import cluster_testing as ct

tool = ct.tool
HASH_KEY = 'loremipsumdolors'


class SiteNode(tool.Node):
    """A node together with the etcd of the same number, for tests that hurt one of each."""
    addresses = ()  # of the HTTP ports
    endpoints = ()

    def write_config(self):
        super().write_config()
        config = json.loads(self.config.read_text())
        config['cluster'] = {'node': config['cluster']['node'], 'stopDelay': config['cluster']['stopDelay'],
                             'hashKey': HASH_KEY, 'members': list(self.addresses),
                             'metadata': {'etcd': {'endpoints': list(self.endpoints)}}}
        self.config.write_text(json.dumps(config, indent=1) + '\n')

    @property
    def etcd_folder(self):
        return self.folder / 'etcd'

    def is_inside(self, word):
        path = word.split('=', 1)[-1]
        return path.startswith('/') and tool.pathlib.Path(path).is_relative_to(self.etcd_folder)

    def etcd_url(self, port):
        return f'http://127.0.0.1:{self.ports[port]}'

    def start_etcd(self, everybody):
        self.etcd_folder.mkdir(parents=True, exist_ok=True)
        peers = ','.join(f'e{n.number}={n.etcd_url("etcd_peer")}' for n in everybody)
        with open(self.folder / 'etcd.log', 'ab') as log:
            self.etcd = subprocess.Popen(
                [self.etcd_binary, f'--name=e{self.number}', f'--data-dir={self.etcd_folder}/data',
                 f'--listen-client-urls={self.etcd_url("etcd")}', f'--advertise-client-urls={self.etcd_url("etcd")}',
                 f'--listen-peer-urls={self.etcd_url("etcd_peer")}',
                 f'--initial-advertise-peer-urls={self.etcd_url("etcd_peer")}', f'--initial-cluster={peers}'],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    @property
    def etcd_pid(self):
        etcd = getattr(self, 'etcd', None)
        return etcd.pid if etcd and etcd.poll() is None else None

    def etcd_request(self, method, path, body=None, timeout=5.0):
        connection = http.client.HTTPConnection('127.0.0.1', self.ports['etcd'], timeout=timeout)
        return tool.etcd_answer(connection, method, path, body)


class SiteCluster(ct.TestCluster):
    __test__ = False
    node_kind = SiteNode

    def begin(self):
        self.tool.prepare(self.count, self.extra, self.node_kind)
        SiteNode.addresses = [node.url.removeprefix('http://') for node in self.nodes]
        SiteNode.endpoints = [node.etcd_url('etcd') for node in self.nodes]
        for node in self.nodes:
            node.write_config()
        self.revive()
        self.wait_leader()
        self.tool.join_url = ''
        self.tool.up(found=False)

    def revive(self):
        for node in self.nodes:
            if not node.etcd_pid:
                node.start_etcd(self.nodes)

    def stop(self):
        super().stop()
        for node in self.nodes:
            if node.etcd_pid:
                node.etcd.send_signal(signal.SIGKILL)
                node.etcd.wait()
