"""A cluster whose nodes have a network namespace and a link each, joined by a switch in another one. Needs root (ip, tc).

The programs that talk to it run in the clients' namespace: `ip netns exec hansa-client ...`. Names: n1.hansa.test ... in
the namespaces' own hosts files.
"""
import json
import os
import pathlib
import shutil
import subprocess

import cluster_testing as ct

SWITCH, CLIENT = 'hansa-sw', 'hansa-client'


def run(*words, check=True):
    return subprocess.run([str(word) for word in words], check=check, capture_output=True, text=True)


def namespace(number):
    return f'hansa-n{number}'


def address(number):
    return f'10.77.0.{10 + number}'


def problem():
    """Why there can be no such cluster here; None: there can."""
    if os.geteuid():
        return 'it needs root, for network namespaces'
    for program in ('ip', 'tc', 'nft'):
        if not shutil.which(program, path=f'{os.environ.get("PATH", "")}:/usr/sbin:/sbin'):
            return f'{program} is not there; apt-get install iproute2 nftables'
    probe = 'hansa-probe'
    try:
        made = run('ip', 'netns', 'add', probe, check=False)
        if made.returncode:
            return f'this machine makes no network namespaces: {made.stderr.strip()}'
        filtered = run('ip', 'netns', 'exec', probe, 'nft', 'add table inet probe', check=False)
        return f'nft does not work here: {filtered.stderr.strip()}' if filtered.returncode else None
    finally:
        run('ip', 'netns', 'del', probe, check=False)


class Network:
    """A switch with a port for the clients and one for each node; links of `rate` Mbit/s in both directions, or unshaped."""

    def __init__(self, nodes, rate, client_rate=None):
        self.nodes, self.rate, self.client_rate = nodes, rate, client_rate
        self.names = [SWITCH, CLIENT, *(namespace(n) for n in range(1, nodes + 1))]

    def __enter__(self):
        self.remove()
        hosts = '127.0.0.1 localhost\n' + ''.join(f'{address(n)} n{n}.hansa.test\n' for n in range(1, self.nodes + 1))
        for name in self.names:
            run('ip', 'netns', 'add', name)
            folder = pathlib.Path('/etc/netns') / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / 'hosts').write_text(hosts)
            run('ip', '-n', name, 'link', 'set', 'lo', 'up')
        run('ip', '-n', SWITCH, 'link', 'add', 'br0', 'type', 'bridge')
        run('ip', '-n', SWITCH, 'link', 'set', 'br0', 'up')
        self.plug(CLIENT, 'client', '10.77.0.2', self.client_rate)
        for number in range(1, self.nodes + 1):
            self.plug(namespace(number), f'n{number}', address(number), self.rate)
        return self

    def plug(self, name, port, ip, rate):
        run('ip', '-n', SWITCH, 'link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
        run('ip', '-n', SWITCH, 'link', 'set', port, 'master', 'br0', 'up')
        run('ip', '-n', name, 'addr', 'add', f'{ip}/24', 'dev', 'eth0')
        run('ip', '-n', name, 'link', 'set', 'eth0', 'up')
        if rate:
            self.shape(name, port, rate)

    def shape(self, name, port, rate):
        for place, device in ((name, 'eth0'), (SWITCH, port)):
            run('tc', '-n', place, 'qdisc', 'replace', 'dev', device, 'root', 'tbf', 'rate', f'{rate}mbit', 'burst', '256k',
                'latency', '50ms')

    def unshape(self, name, port):
        for place, device in ((name, 'eth0'), (SWITCH, port)):
            run('tc', '-n', place, 'qdisc', 'del', 'dev', device, 'root')

    def sent(self):
        """Bytes that each node's port has received so far."""
        return [int(run('ip', 'netns', 'exec', SWITCH, 'cat', f'/sys/class/net/n{n}/statistics/rx_bytes').stdout)
                for n in range(1, self.nodes + 1)]

    def remove(self):
        for name in self.names:
            run('ip', 'netns', 'del', name, check=False)
            shutil.rmtree(pathlib.Path('/etc/netns') / name, ignore_errors=True)

    def __exit__(self, *_):
        self.remove()


class NetNode(ct.tool.Node):
    """A node inside its namespace, on the default ports."""

    def __init__(self, folder, number, ports, etcd, extra=None):
        super().__init__(folder, number, {'http': 5000, 'peer': 5001, 'etcd': 5379, 'etcd_peer': 5380}, etcd, extra)
        self.url, self.etcd_host = f'http://n{number}.hansa.test:5000', address(number)

    def write_config(self):
        super().write_config()
        config = json.loads(self.config.read_text())
        config['http']['address'] = address(self.number)
        config['cluster']['node'] = {'url': self.url, 'peer': f'n{self.number}.hansa.test:5001',
                                     'listen': address(self.number)}
        self.config.write_text(json.dumps(config, indent=1))

    def within(self, *words):
        return ['ip', 'netns', 'exec', namespace(self.number), *map(str, words)]

    def start(self, hansa, join=None):
        is_member = (self.data / 'cluster' / 'cluster.json').exists()
        joining = ['--join', join] if join and not is_member else []
        with open(self.log, 'ab') as log:
            self.child = subprocess.Popen(self.within(hansa, 'serve', *joining, self.config), stdin=subprocess.DEVNULL,
                                          stdout=log, stderr=log, start_new_session=True)


class NetCluster(ct.tool.Cluster):
    def found(self):
        node = self.nodes[0]
        done = run(*node.within(ct.tool.binaries()[0], 'cluster', 'init', node.config), check=False)
        self.join_url = next((word for word in done.stdout.split() if word.startswith('hansa://')), None)
        if not self.join_url:
            raise ct.tool.Problem(f'hansa cluster init failed:\n{done.stdout}{done.stderr}')
