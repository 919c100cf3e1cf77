#!/usr/bin/env python3
"""A cluster of Hansa nodes with managed etcd on loopback: ./dev cluster up | down | status | kill ID | start ID.

Everything of it lies in one folder: cluster.json (who runs where), node1/ node2/ ... with each node's configuration, log
and data. ID is a node's id as in the output, or its number (1, 2, ...). HANSA_BINARY and HANSA_ETCD name other programs.
A managed etcd outlives its Hansa by design; `down` stops both.
"""
import argparse
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
START_SECONDS = 120  # until every node is ready and a member; fsyncs of a busy machine included
STOP_SECONDS = 60
VOTERS = 3
# Below the range that systems give to outgoing connections, so that a stopped node's ports stay free.
LOWEST_PORT, HIGHEST_PORT = 15000, 31000


class Problem(Exception):
    """What a person can do something about; its text says what."""


def default_folder():
    state = os.environ.get('XDG_STATE_HOME') or pathlib.Path.home() / '.local/state'
    return pathlib.Path(state) / 'hansa' / 'dev-cluster'


def binaries():
    hansa = pathlib.Path(os.environ.get('HANSA_BINARY') or ROOT / 'build/release/hansa')
    if not os.access(hansa, os.X_OK):
        raise Problem(f'{hansa} is not there; ./dev build makes it (HANSA_BINARY names another)')
    etcd = os.environ.get('HANSA_ETCD') or shutil.which('etcd', path=f'{os.environ.get("PATH", "")}:/usr/bin')
    if not etcd or not os.access(etcd, os.X_OK):
        raise Problem(f'{etcd or "etcd"} is not there; apt-get install etcd-server, or let HANSA_ETCD name one')
    return hansa.resolve(), pathlib.Path(etcd).absolute()  # a link stays one: whoever made it may take it away


def free_ports(count):
    ports, source = set(), random.SystemRandom()
    for _ in range(10_000):
        port = source.randint(LOWEST_PORT, HIGHEST_PORT)
        try:
            with socket.socket() as probe:
                probe.bind(('127.0.0.1', port))
            ports.add(port)
        except OSError:
            continue
        if len(ports) == count:
            return list(ports)
    raise Problem(f'no {count} free ports between {LOWEST_PORT} and {HIGHEST_PORT}')


def command_line(pid):
    """Of a living process; [] for one that is gone or a zombie."""
    try:
        state = pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0]
        words = pathlib.Path(f'/proc/{pid}/cmdline').read_bytes().split(b'\0')
    except (OSError, IndexError):
        return []
    return [] if state in 'ZX' else [word.decode(errors='replace') for word in words if word]


def living():
    for entry in os.listdir('/proc'):
        if entry.isdigit() and (words := command_line(entry)):
            yield int(entry), words


def wait_until(condition, seconds, pause=0.05):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def get(url, timeout=5.0):
    """(status, body) of a GET; (0, reason) when nobody answers."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        connection.request('GET', parts.path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error).encode()
    finally:
        connection.close()


class Node:
    """One node: its folder, its ports, its processes."""

    def __init__(self, folder, number, ports, etcd, extra=None):
        self.number, self.folder = number, folder / f'node{number}'
        self.ports, self.etcd_binary, self.extra = dict(ports), str(etcd), extra or {}
        self.data, self.config, self.log = self.folder / 'data', self.folder / 'hansa.json', self.folder / 'hansa.log'
        self.url, self.child = f'http://127.0.0.1:{self.ports["http"]}', None
        self.etcd_host = '127.0.0.1'

    def as_state(self):
        return {'number': self.number, 'id': self.id, 'url': self.url, 'pid': self.pid, 'data': str(self.data),
                'ports': self.ports, 'etcd': self.etcd_binary}

    @property
    def id(self):
        try:
            return json.loads((self.data / 'disk.json').read_text())['node']
        except (OSError, ValueError, KeyError):
            return f'node{self.number}'

    def write_config(self):
        config = {
            'distSpecVersion': '1.1.1', 'storage': {'rootDirectory': str(self.data)},
            'http': {'address': '127.0.0.1', 'port': str(self.ports['http'])}, 'log': {'level': 'info'},
            'extensions': {'metrics': {'enable': True, 'prometheus': {'path': '/metrics'}}},
            'cluster': {'node': {'url': self.url, 'peer': f'127.0.0.1:{self.ports["peer"]}'}, 'stopDelay': '0s',
                        'metadata': {'managed': {'binary': self.etcd_binary, 'clientPort': self.ports['etcd'],
                                                 'peerPort': self.ports['etcd_peer']}}}}
        merge(config, self.extra)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(json.dumps(config, indent=1) + '\n')

    # --- processes, found by what they were started with: a number in a file may be somebody else's by now ---

    @property
    def pid(self):
        """Of the node's `hansa serve`; None when it does not run."""
        if self.child and self.child.poll() is None:
            return self.child.pid
        return next((pid for pid, words in living() if 'serve' in words and str(self.config) in words), None)

    @property
    def etcd_pid(self):
        """Of the etcd that the node keeps."""
        for pid, words in living():
            if pathlib.Path(words[0]).name.startswith('etcd') and any(self.is_inside(word) for word in words[1:]):
                return pid
        return None

    def is_inside(self, word):
        path = word.split('=', 1)[-1]
        return path.startswith('/') and pathlib.Path(path).is_relative_to(self.data)

    def start(self, hansa, join=None):
        if self.pid:
            raise Problem(f'node {self.id} runs already, process {self.pid}')
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(('127.0.0.1', self.ports['http']))
            except OSError as error:
                raise Problem(f'node {self.id} needs port {self.ports["http"]}: {error.strerror}; who has it: '
                              f'ss -ltnp') from None
        is_member = (self.data / 'cluster' / 'cluster.json').exists()
        joining = ['--join', join] if join and not is_member else []
        with open(self.log, 'ab') as log:
            self.child = subprocess.Popen([str(hansa), 'serve', *joining, str(self.config)], stdin=subprocess.DEVNULL,
                                          stdout=log, stderr=log, start_new_session=True)

    def is_ready(self):
        if self.child and self.child.poll() is not None:
            raise Problem(f'node {self.id} ended with {self.child.returncode}:\n{self.log_tail()}')
        return get(self.url + '/readyz')[0] == 200

    def members(self):
        """What the node says about its cluster; [] when it says nothing."""
        status, body = get(self.url + '/v2/_hansa/cluster')
        return json.loads(body).get('members', []) if status == 200 else []

    def log_tail(self, lines=15):
        text = self.log.read_text(errors='replace') if self.log.exists() else ''
        return '\n'.join(text.splitlines()[-lines:])

    def wait_end(self, pid, seconds):
        """Whether the process has ended; a child of ours is reaped."""
        def ended():
            if self.child and self.child.pid == pid:
                return self.child.poll() is not None
            return not command_line(pid)
        return wait_until(ended, seconds)

    def etcd_request(self, method, path, body=None, timeout=5.0):
        """A request to this node's etcd, with the member's own certificate; OSError unless it answers 200."""
        folder = self.data / 'cluster'
        context = ssl.create_default_context(cafile=str(folder / 'ca.crt'))
        context.check_hostname = False
        context.load_cert_chain(folder / 'node.crt', folder / 'node.key')
        connection = http.client.HTTPSConnection(self.etcd_host, self.ports['etcd'], timeout=timeout, context=context)
        return etcd_answer(connection, method, path, body)

    def etcd_call(self, path, request, timeout=5.0):
        """A call over its JSON gateway."""
        return json.loads(self.etcd_request('POST', path, json.dumps(request), timeout))

    def etcd_metrics(self):
        return self.etcd_request('GET', '/metrics').decode()


def etcd_answer(connection, method, path, body):
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        text = answer.read()
    except http.client.HTTPException as error:
        raise OSError(f'etcd broke off its answer to {path}: {error}') from error
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(f'etcd answered {answer.status} to {path}: {text[:300]!r}')
    return text


def merge(base, extra):
    for key, value in extra.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value


class Cluster:
    """N nodes in one folder. Its state is in cluster.json, so that a later command finds it."""

    def __init__(self, folder, say=lambda text: None):
        self.folder, self.say = pathlib.Path(folder).absolute(), say
        self.state, self.nodes, self.join_url = self.folder / 'cluster.json', [], None

    @classmethod
    def load(cls, folder, say=lambda text: None):
        cluster = cls(folder, say)
        try:
            state = json.loads(cluster.state.read_text())
        except FileNotFoundError:
            raise Problem(f'no cluster in {cluster.folder}; ./dev cluster up --dir {cluster.folder} makes one') from None
        except ValueError as error:
            raise Problem(f'{cluster.state} is damaged ({error}); remove {cluster.folder} if nothing of it runs') from None
        cluster.join_url = state['join']
        cluster.nodes = [Node(cluster.folder, n['number'], n['ports'], n['etcd']) for n in state['nodes']]
        return cluster

    def save(self):
        whole = {'join': self.join_url, 'nodes': [node.as_state() for node in self.nodes]}
        new = self.state.with_suffix('.new')
        new.write_text(json.dumps(whole, indent=1) + '\n')
        new.replace(self.state)

    def node(self, name):
        for node in self.nodes:
            if name in (node.id, str(node.number), f'node{node.number}'):
                return node
        raise Problem(f'no node {name}; there are {", ".join(f"{n.number} ({n.id})" for n in self.nodes)}')

    # --- up ---

    def prepare(self, count, extra=None, node_class=Node):
        """Makes the folder and the configurations; starts nothing."""
        binaries()
        if not 1 <= count <= 9:
            raise Problem(f'--nodes {count}: it must be from 1 to 9')
        if self.folder.exists() and any(self.folder.iterdir()):
            raise Problem(f'{self.folder} holds something that is no cluster; name another --dir, or remove it')
        self.folder.mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            self.add(node_class, extra)

    def add(self, node_class=Node, extra=None):
        """Prepares one more node; starts nothing."""
        number = len(self.nodes) + 1
        taken = {port for node in self.nodes for port in node.ports.values()}  # of nodes that do not run yet
        free = [port for port in free_ports(4 + len(taken)) if port not in taken]
        names = dict(zip(('http', 'peer', 'etcd', 'etcd_peer'), free))
        node = node_class(self.folder, number, names, binaries()[1], extra)
        node.write_config()
        self.nodes.append(node)
        return node

    def found(self):
        """`hansa cluster init` on the first node; keeps the join URL."""
        hansa, _ = binaries()
        node = self.nodes[0]
        done = subprocess.run([str(hansa), 'cluster', 'init', str(node.config)], capture_output=True, text=True,
                              timeout=START_SECONDS, stdin=subprocess.DEVNULL)
        words = done.stdout.split()
        self.join_url = next((word for word in words if word.startswith('hansa://')), None)
        if done.returncode or not self.join_url:
            raise Problem(f'hansa cluster init failed:\n{done.stdout}{done.stderr}')

    def up(self, found=True):
        """Starts what is prepared and waits until all nodes are ready and members. `found`: unless that was done."""
        hansa, _ = binaries()
        if found and not self.join_url:
            self.say(f'founding a cluster in {self.folder}')
            self.found()
        self.save()
        for node in self.nodes:
            self.say(f'starting node {node.number} at {node.url}')
            node.start(hansa, None if node.number == 1 else self.join_url)
        self.wait_ready()
        self.save()

    def wait_ready(self, seconds=START_SECONDS):
        end = time.monotonic() + seconds
        for node in self.nodes:
            if not wait_until(node.is_ready, max(0.0, end - time.monotonic())):
                raise Problem(f'node {node.number} was not ready within {seconds} s:\n{node.log_tail()}')
        for node in self.nodes:
            if not wait_until(lambda n=node: self.sees_all(n), max(0.0, end - time.monotonic())):
                raise Problem(f'node {node.number} does not see {len(self.nodes)} living members within {seconds} s but '
                              f'{json.dumps(node.members())}:\n{node.log_tail()}')
        if not wait_until(self.has_voters, max(0.0, end - time.monotonic()), 0.2):
            raise Problem(f'etcd does not have {min(VOTERS, len(self.nodes))} voters within {seconds} s:\n' +
                          '\n'.join(node.log_tail() for node in self.nodes))

    def sees_all(self, node):
        good = [m for m in node.members() if m.get('alive') and m.get('state') == 'active' and m.get('in_layout')]
        return len(good) == len(self.nodes)

    def has_voters(self):
        return len(self.voters()) >= min(VOTERS, len(self.nodes))

    def voters(self):
        """etcd's voting members that have started, as its first answering member lists them."""
        for node in self.nodes:
            try:
                members = node.etcd_call('/v3/cluster/member/list', {})['members']
                return [m for m in members if not m.get('isLearner') and m.get('name')]
            except (OSError, ValueError, KeyError):
                continue
        return []

    # --- down ---

    def processes(self):
        """[(what, pid)] of everything of this cluster that runs."""
        found = []
        for node in self.nodes:
            found += [(f'hansa of node {node.number}', node.pid)] if node.pid else []
            found += [(f'etcd of node {node.number}', node.etcd_pid)] if node.etcd_pid else []
        return found

    def down(self):
        """Hansa first, then etcd. Raises what did not end by itself (it is killed all the same)."""
        stuck = []
        for ask in (lambda n: n.pid, lambda n: n.etcd_pid):
            pids = [(node, pid) for node in self.nodes if (pid := ask(node))]
            for _, pid in pids:
                send(pid, signal.SIGCONT)
                send(pid, signal.SIGTERM)
            for node, pid in pids:
                if not node.wait_end(pid, STOP_SECONDS):
                    stuck.append(f'process {pid} of node {node.number} did not end within {STOP_SECONDS} s of SIGTERM')
                    send(pid, signal.SIGKILL)
                    node.wait_end(pid, STOP_SECONDS)
        left = self.processes()
        if stuck or left:
            raise Problem('\n'.join(stuck + [f'{what} still runs, process {pid}' for what, pid in left]))

    def kill(self, name, etcd=False):
        """kill -9 of a node; with `etcd` its etcd too. Returns the process ids."""
        node = self.node(name)
        pids = [pid for pid in (node.pid, node.etcd_pid if etcd else None) if pid]
        if not pids:
            raise Problem(f'node {node.id} does not run')
        for pid in pids:
            send(pid, signal.SIGKILL)
        for pid in pids:
            if not node.wait_end(pid, STOP_SECONDS):
                raise Problem(f'process {pid} of node {node.number} outlives kill -9')
        return pids

    def start(self, name, wait=True):
        node = self.node(name)
        node.start(binaries()[0], self.join_url)
        if wait and not wait_until(node.is_ready, START_SECONDS):
            raise Problem(f'node {node.number} was not ready within {START_SECONDS} s:\n{node.log_tail()}')
        self.save()
        return node


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


# --- the commands ---

def say(text):
    print(f'dev: {text}', file=sys.stderr, flush=True)


def as_json(cluster):
    return json.dumps({'nodes': [{'id': n.id, 'url': n.url, 'pid': n.pid, 'data': str(n.data)} for n in cluster.nodes]})


def explain(cluster):
    first, last = cluster.nodes[0], cluster.nodes[-1]
    host = [urllib.parse.urlsplit(n.url).netloc for n in (first, last)]
    lines = [f'{len(cluster.nodes)} nodes:'] + [f'  {n.number}  {n.url}  process {n.pid}  id {n.id}' for n in cluster.nodes]
    lines += ['push to one:        skopeo copy --dest-tls-verify=false docker://docker.io/library/alpine:3 '
              f'docker://{host[0]}/alpine:3',
              f'pull from another:  skopeo inspect --tls-verify=false docker://{host[1]}/alpine:3',
              f'stop them:          ./dev cluster down --dir {cluster.folder}']
    return '\n'.join(lines)


def up_command(options):
    binaries()
    if (options.dir / 'cluster.json').exists():
        cluster = Cluster.load(options.dir, say)
        running = cluster.processes()
        if any(what.startswith('hansa') for what, _ in running):
            raise Problem(f'the cluster in {cluster.folder} runs already: ' +
                          ', '.join(f'{what} (process {pid})' for what, pid in running) +
                          f'; ./dev cluster down --dir {cluster.folder} stops it')
        if options.nodes not in (None, len(cluster.nodes)):
            raise Problem(f'{cluster.folder} holds a stopped cluster of {len(cluster.nodes)} nodes, not {options.nodes}; '
                          f'./dev cluster down --wipe --dir {cluster.folder} removes it')
        say(f'starting the stopped cluster in {cluster.folder} again, with its data')
    else:
        cluster = Cluster(options.dir, say)
        cluster.prepare(options.nodes or 3)
    try:
        cluster.up()
    except (Problem, KeyboardInterrupt, subprocess.TimeoutExpired):
        try:
            cluster.down()
        except Problem as error:
            say(str(error))
        raise
    print(as_json(cluster) if options.json else explain(cluster))


def down_command(options):
    cluster = Cluster.load(options.dir, say)
    cluster.down()
    if options.wipe:
        shutil.rmtree(cluster.folder)
    say(f'stopped; {"its data is removed" if options.wipe else f"its data stays in {cluster.folder}"}')


def status_command(options):
    cluster = Cluster.load(options.dir)
    if options.json:
        print(as_json(cluster))
        return
    print(f'{"":2} {"id":24} {"url":26} {"hansa":>9} {"etcd":>9}  state')
    for node in cluster.nodes:
        ready = 'ready' if get(node.url + '/readyz')[0] == 200 else 'not ready' if node.pid else 'stopped'
        alive = sum(1 for m in node.members() if m.get('alive'))
        seen = f', sees {alive} living members' if ready == 'ready' else ''
        print(f'{node.number:2} {node.id:24} {node.url:26} {node.pid or "-":>9} {node.etcd_pid or "-":>9}  {ready}{seen}')


def kill_command(options):
    cluster = Cluster.load(options.dir)
    pids = cluster.kill(options.id, options.etcd)
    say(f'killed process{"es" if len(pids) > 1 else ""} {", ".join(map(str, pids))}; '
        f'./dev cluster start {options.id} --dir {cluster.folder} starts the node again')


def start_command(options):
    node = Cluster.load(options.dir, say).start(options.id)
    say(f'node {node.id} is ready at {node.url}, process {node.pid}')


def main():
    parser = argparse.ArgumentParser(prog='./dev cluster', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    for name, function, text in [('up', up_command, 'start N nodes and wait until they are ready'),
                                 ('down', down_command, 'stop them cleanly'),
                                 ('status', status_command, 'who runs'),
                                 ('kill', kill_command, 'kill -9 a node'),
                                 ('start', start_command, 'start a stopped node again')]:
        command = commands.add_parser(name, help=text)
        command.set_defaults(run=function)
        command.add_argument('--dir', type=pathlib.Path, default=default_folder(), help='folder of the cluster (%(default)s)')
        if name in ('up', 'status'):
            command.add_argument('--json', action='store_true', help='one line: {"nodes":[{"id","url","pid","data"}]}')
        if name in ('kill', 'start'):
            command.add_argument('id', help="a node's id or number")
    commands.choices['up'].add_argument('--nodes', type=int, help='how many (3)')
    commands.choices['down'].add_argument('--wipe', action='store_true', help='remove the data too')
    commands.choices['kill'].add_argument('--etcd', action='store_true', help='its etcd too')
    options = parser.parse_args()
    options.dir = options.dir.absolute()
    try:
        options.run(options)
    except Problem as problem:
        print(f'dev: {problem}', file=sys.stderr)
        sys.exit(1)


if __name__ == '__main__':
    main()
