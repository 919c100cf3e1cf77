"""What the nemesis does to a cluster: each kind is a pair of acts, to hurt and to heal, on one node. A node is hurt only while
every other one is well, as promised (P5): the next fault waits until all is whole again where the last one took bytes."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time

import cluster_testing as ct
import lasting_pushes as lp
from fake_clock import FakeClock
from net_cluster import NetCluster, NetNode, Network, address, namespace, run
from tags_workload import Fault

DISK = '2500m'  # of a node, a tmpfs
PIECE, SPACE_LEFT = 64 << 20, 16 << 10  # bytes, of a disk that is being filled
# Certificates are what reads the wall clock: they are valid since an hour before they were made, and for 90 days.
JUMPS = ('+20d', '-50m', '+1h', '-20m')
LOSS = 15  # per cent
SLOW = 2  # Mbit/s


class NemesisNode(NetNode):
    """A node with a disk of its own and a wall clock that a file sets."""

    def write_config(self):
        super().write_config()
        self.clock = FakeClock(self.folder / 'clock')
        self.data.mkdir(exist_ok=True)
        run('mount', '-t', 'tmpfs', '-o', f'size={DISK}', f'hansa-disk{self.number}', self.data)

    def within(self, *words):
        # etcd is a child of Hansa, but makes no calls that the library could catch.
        clock = [f'{name}={value}' for name, value in self.clock.environment().items()] if 'serve' in words else []
        return [*super().within(), 'env', *clock, *map(str, words)]

    def wipe(self):
        for entry in self.data.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


class NemesisCluster(ct.TestCluster):
    def __init__(self, folder):
        super().__init__(folder, 0)
        self.tool = NetCluster(folder)

    def prepare_nodes(self, count):
        self.tool.network = Network(count, None)  # made by who started this program
        self.tool.prepare(count, {'log': {'level': 'warn'}}, NemesisNode)

    def stop(self):
        try:
            super().stop()
        finally:
            for node in self.nodes:
                run('umount', '-l', node.data, check=False)


class Nemesis:
    def __init__(self, cluster, source):
        self.cluster, self.source, self.pushers, self.done = cluster, source, [], {}
        self.kinds = {
            'kill -9 of a node': self.kill, 'kill -9 of a node and its etcd': self.kill_all,
            'kill -9 of the etcd leader': self.kill_leader, 'SIGSTOP of a node': self.pause,
            'SIGSTOP of the etcd leader': self.pause_leader, 'partition of a node': self.partition,
            'partition of one direction': self.deafen, 'lost packets': self.lose, 'a slow link': self.slow,
            'a full disk': self.fill, 'a jump of the wall clock': self.jump, 'a destroyed disk': self.destroy,
            'a disk set back to a copy': self.set_back, 'a cloned disk': self.clone}

    def course(self, count, only=()):
        """Every kind in turn (of `only`, if any are named), in a drawn order, on drawn nodes."""
        faults, names = [], []
        for _ in range(count):
            if not names:
                names = self.source.sample(sorted(set(only) or self.kinds), len(only) or len(self.kinds))
            faults.append(self.fault(names.pop(), self.source.choice(self.cluster.nodes), f'{len(faults) + 1}/{count}'))
        return faults

    def fault(self, name, node, place):
        state = {'began': 0.0}

        def hurt():
            state['began'] = time.monotonic()
            state['heal'], silent = self.kinds[name](node)
            for pusher in self.pushers:
                pusher.away = {n.number for n in self.cluster.nodes if n.url in silent}
            return silent

        def heal():
            state['heal']()
            for pusher in self.pushers:
                pusher.away = set()
            self.cluster.wait_ready()
            self.done[name] = self.done.get(name, 0) + 1
            print(f'fault {place}: {name} (node {node.number}), all ready again after '
                  f'{time.monotonic() - state["began"]:.1f} s', flush=True)
        return Fault(f'{name} (node {node.number})', hurt, heal, seconds=self.source.uniform(1.0, 3.0))

    # --- processes ---

    def kill(self, node):
        self.cluster.kill(node.number)
        return lambda: self.cluster.start(node.number), [node.url]

    def kill_all(self, node):
        self.cluster.kill(node.number, etcd=bool(node.etcd_pid))
        return lambda: self.cluster.start(node.number), [node.url]

    def kill_leader(self, _):
        ct.tool.send(self.cluster.wait_leader().etcd_pid, signal.SIGKILL)
        return lambda: self.cluster.wait(lambda: all(n.etcd_pid for n in self.cluster.nodes), 60, 'every etcd runs again'), []

    def pause(self, node):
        pid = node.pid
        self.cluster.pause(pid)
        return lambda: self.cluster.resume(pid), [node.url]

    def pause_leader(self, _):
        pid = self.cluster.wait_leader().etcd_pid
        self.cluster.pause(pid)
        return lambda: self.cluster.resume(pid), []

    # --- wires: clients reach every node, nodes do not reach each other ---

    def filter(self, node, rules):
        base = [*NetNode.within(node), 'nft']
        run(*base, 'add', 'table', 'inet', 'nemesis')
        for hook in ('input', 'output'):
            run(*base, f'add chain inet nemesis {hook} {{ type filter hook {hook} priority 0; }}')
        for rule in rules:
            run(*base, f'add rule inet nemesis {rule}')
        return lambda: run(*base, 'delete', 'table', 'inet', 'nemesis')

    def others(self, node):
        return [address(n.number) for n in self.cluster.nodes if n is not node]

    def partition(self, node):
        rules = [rule for ip in self.others(node) for rule in (f'input ip saddr {ip} drop', f'output ip daddr {ip} drop')]
        return self.filter(node, rules), [node.url]

    def deafen(self, node):
        """What one of the others says to it is lost; what it says arrives."""
        return self.filter(node, [f'input ip saddr {self.source.choice(self.others(node))} drop']), [node.url]

    def lose(self, node):
        return self.filter(node, [f'input numgen random mod 100 < {LOSS} drop']), []

    def slow(self, node):
        name, port = namespace(node.number), f'n{node.number}'
        network = self.cluster.tool.network
        network.shape(name, port, SLOW)
        return lambda: network.unshape(name, port), []

    # --- disks and clocks ---

    def fill(self, node):
        filler, size, step = node.data / 'filler', 0, PIECE
        with open(filler, 'wb') as file:
            while step > SPACE_LEFT:  # others take of it meanwhile
                try:
                    os.posix_fallocate(file.fileno(), size, step)
                    size += step
                except OSError:
                    step //= 2

        def heal():
            filler.unlink()
            # A process that could not go on without space ended; its service manager starts it again.
            if not node.pid:
                self.cluster.start(node.number)
        return heal, [node.url]

    def jump(self, node):
        node.clock.set(self.source.choice(JUMPS))
        return lambda: node.clock.set('+0'), []

    def wait_whole(self):
        """For every node: each of them may lead the tasks that make it so."""
        for node in self.cluster.nodes:
            lp.wait_full(self.cluster, node=node)
        self.cluster.wait(lambda: len(self.cluster.tool.voters()) == len(self.cluster.nodes), 120, 'three voters')

    def destroy(self, node):
        self.wait_whole()
        witness = next(n for n in self.cluster.nodes if n is not node)
        lost = node.id
        self.cluster.kill(node.number, etcd=bool(node.etcd_pid))
        node.wipe()

        def heal():
            self.cluster.wait(lambda: self.cluster.hansa('cluster', 'forget', lost, witness.config, check=False).returncode == 0,
                              60, 'the lost member is given up')
            self.cluster.tool.join_url = self.cluster.hansa('cluster', 'token', witness.config).stdout.strip()
            self.cluster.start(node.number)
            self.wait_whole()
        return heal, [node.url]

    def set_back(self, node):
        self.wait_whole()
        copy = node.folder / 'copy'
        ct.copy_frozen(node, copy)
        threading.Event().wait(self.source.uniform(0.5, 2.0))  # of commits that the copy does not know
        self.cluster.kill(node.number, etcd=bool(node.etcd_pid))
        node.wipe()

        def heal():
            for entry in copy.iterdir():
                shutil.move(entry, node.data / entry.name)
            copy.rmdir()
            self.cluster.start(node.number)
            self.wait_whole()
        return heal, [node.url]

    def clone(self, node):
        """A second process on a copy of a folder whose node runs ends by itself, and hurts nobody."""
        twin_data, log = node.folder / 'twin', node.folder / 'twin.log'
        subprocess.run(['cp', '-a', str(node.data), str(twin_data)], check=False, stderr=subprocess.DEVNULL)
        config = json.loads(node.config.read_text())
        config['storage']['rootDirectory'] = str(twin_data)
        config['http']['port'] = '6000'
        config['cluster']['node'] |= {'url': node.url.replace('5000', '6000'), 'peer': f'n{node.number}.hansa.test:6001'}
        config['cluster']['metadata']['managed'] |= {'clientPort': 6379, 'peerPort': 6380}
        file = node.folder / 'twin.json'
        file.write_text(json.dumps(config))
        with open(log, 'wb') as out:
            twin = subprocess.Popen([*NetNode.within(node), str(ct.tool.binaries()[0]), 'serve', str(file)],
                                    stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)

        def heal():
            try:
                code = twin.wait(60)
                assert code != 0 and 'another process is alive' in log.read_text(errors='replace'), \
                    f'a clone ended with {code}: {log.read_text(errors="replace")[-2000:]}'
            finally:
                if twin.poll() is None:
                    twin.kill()
                    twin.wait()
                shutil.rmtree(twin_data, ignore_errors=True)
        return heal, []
