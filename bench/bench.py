#!/usr/bin/env python3
"""Compares Hansa with nginx (static files) and docker-registry on the same data in one run.

The steady figure is the server's own CPU time per unit of work, read from /proc/<pid>/schedstat of its whole process
tree; wall-clock figures stand beside it. The servers take turns within every case, several rounds, medians. ZOT_BIN may
name a zot binary. Everything runs on loopback in a temporary folder.
"""
import argparse
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'tests/lib'))
import hansa_testing as ht  # noqa: E402

MIB = 1024 * 1024
ROUNDS = 3
WRK_SECONDS = 2
BLOB_SIZES = {'1 MiB': MIB, '10 MiB': 10 * MIB, '100 MiB': 100 * MIB}
TRANSFER_BYTES = 300 * MIB  # per case and round


def tree(pid):
    """A process and its descendants."""
    found = [pid]
    for thread in pathlib.Path(f'/proc/{pid}/task').iterdir():
        for child in (thread / 'children').read_text().split():
            found += tree(int(child))
    return found


def cpu_seconds(pid):
    total = 0
    for process in tree(pid):
        for thread in pathlib.Path(f'/proc/{process}/task').iterdir():
            try:
                total += int((thread / 'schedstat').read_text().split()[0])
            except OSError:
                pass
    return total / 1e9


def resident_mib(pid):
    pages = sum(int(pathlib.Path(f'/proc/{p}/statm').read_text().split()[1]) for p in tree(pid))
    return pages * os.sysconf('SC_PAGE_SIZE') / MIB


class Peer:
    """A server under test. `paths` maps a case's resource to its URL path here."""

    def __init__(self, name, port, process, pushes):
        self.name, self.port, self.process, self.pushes, self.paths = name, port, process, pushes, {}

    @property
    def pid(self):
        return self.process.pid

    def request(self, method, path, body=None, headers=None):
        import http.client
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=120)
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        answer.body = answer.read()
        connection.close()
        return answer


def wait_port(port):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            socket.create_connection(('127.0.0.1', port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f'nothing listens on port {port}')


def start_hansa(folder):
    port = ht.free_port()
    config = {'distSpecVersion': '1.1.1', 'storage': {'rootDirectory': str(folder / 'hansa')},
              'http': {'address': '127.0.0.1', 'port': str(port)}, 'log': {'level': 'error'}}
    (folder / 'hansa.json').write_text(json.dumps(config))
    process = subprocess.Popen([str(ht.BINARY), 'serve', str(folder / 'hansa.json')], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    return Peer('hansa', port, process, True)


def start_registry(folder):
    port = ht.free_port()
    (folder / 'registry.yml').write_text(f'''version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/registry}}, delete: {{enabled: true}}, cache: {{blobdescriptor: inmemory}}}}
http: {{addr: "127.0.0.1:{port}"}}
''')
    process = subprocess.Popen(['docker-registry', 'serve', str(folder / 'registry.yml')], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    return Peer('docker-registry', port, process, True)


def start_zot(folder):
    port = ht.free_port()
    config = {'distSpecVersion': '1.1.1', 'storage': {'rootDirectory': str(folder / 'zot')},
              'http': {'address': '127.0.0.1', 'port': str(port)}, 'log': {'level': 'error'}}
    (folder / 'zot.json').write_text(json.dumps(config))
    process = subprocess.Popen([os.environ['ZOT_BIN'], 'serve', str(folder / 'zot.json')], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    return Peer('zot', port, process, True)


def start_nginx(folder):
    port = ht.free_port()
    (folder / 'www').mkdir()
    (folder / 'nginx.conf').write_text(f'''worker_processes 2; pid {folder}/nginx.pid; daemon off; error_log /dev/null;
user root;
events {{ worker_connections 4096; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000; open_file_cache max=1000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port} reuseport; root {folder}/www; }} }}
''')
    process = subprocess.Popen(['nginx', '-c', str(folder / 'nginx.conf')], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    return Peer('nginx', port, process, False)


def fill(peers, folder):
    """The same image and blobs on every server; nginx serves the bytes as files."""
    source = random.Random(7)
    blobs = {name: source.randbytes(size) for name, size in BLOB_SIZES.items()}
    config, layer = b'{"architecture":"amd64","os":"linux"}', source.randbytes(5000)
    manifest = json.dumps({'schemaVersion': 2, 'mediaType': ht.OCI_MANIFEST,
                           'config': ht.descriptor(ht.OCI_CONFIG, config),
                           'layers': [ht.descriptor(ht.OCI_LAYER, layer)],
                           'annotations': {'filler': 'x' * 600}}).encode()
    for peer in peers:
        if peer.pushes:
            for blob in (config, layer, *blobs.values()):
                push(peer, 'bench/app', blob)
            answer = peer.request('PUT', '/v2/bench/app/manifests/v1', manifest, {'Content-Type': ht.OCI_MANIFEST})
            assert answer.status == 201, (peer.name, answer.status, answer.body)
            peer.paths = {'ping': '/v2/', 'by tag': '/v2/bench/app/manifests/v1',
                          'by digest': f'/v2/bench/app/manifests/{ht.sha256(manifest)}'}
            peer.paths.update({name: f'/v2/bench/app/blobs/{ht.sha256(data)}' for name, data in blobs.items()})
        else:
            (folder / 'www/manifest').write_bytes(manifest)
            (folder / 'www/ping').write_bytes(b'{}')
            peer.paths = {'ping': '/ping', 'by tag': '/manifest', 'by digest': '/manifest'}
            for name, data in blobs.items():
                (folder / 'www' / name.replace(' ', '')).write_bytes(data)
                peer.paths[name] = '/' + name.replace(' ', '')


def push(peer, repository, data):
    """POST, then one PUT with the whole body."""
    answer = peer.request('POST', f'/v2/{repository}/blobs/uploads/')
    location = re.sub(r'^https?://[^/]+', '', answer.headers['Location'])
    digest = 'sha256:' + hashlib.sha256(data).hexdigest()
    answer = peer.request('PUT', f'{location}{"&" if "?" in location else "?"}digest={digest}', data,
                          {'Content-Type': 'application/octet-stream'})
    assert answer.status == 201, (peer.name, answer.status, answer.body)


def small_requests(peer, resource):
    """CPU microseconds per request and requests per second, by wrk."""
    before = cpu_seconds(peer.pid)
    # docker-registry answers 404 to a client that does not name the manifest's type.
    done = subprocess.run(['wrk', '-t1', '-c32', f'-d{WRK_SECONDS}s', '-H', f'Accept: {ht.OCI_MANIFEST}',
                           f'http://127.0.0.1:{peer.port}{peer.paths[resource]}'],
                          capture_output=True, text=True)
    cpu = cpu_seconds(peer.pid) - before
    count = int(re.search(r'(\d+) requests in', done.stdout).group(1))
    if 'Non-2xx' in done.stdout:
        raise SystemExit(f'{peer.name} answered errors to {peer.paths[resource]}:\n{done.stdout}')
    return {'cpu': cpu / count * 1e6, 'wall': count / WRK_SECONDS}


def download(peer, resource):
    """CPU seconds per GB and MB/s, one connection."""
    size = BLOB_SIZES[resource]
    count = max(1, TRANSFER_BYTES // size)
    buffer = bytearray(MIB)
    request = f'GET {peer.paths[resource]} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode()
    before, start = cpu_seconds(peer.pid), time.monotonic()
    with socket.create_connection(('127.0.0.1', peer.port)) as connection:
        for _ in range(count):
            connection.sendall(request)
            got = connection.recv(65536)
            while b'\r\n\r\n' not in got:
                got += connection.recv(65536)
            left = size - (len(got) - got.index(b'\r\n\r\n') - 4)
            while left > 0:
                left -= connection.recv_into(buffer, min(left, MIB))
    wall = time.monotonic() - start
    return {'cpu': (cpu_seconds(peer.pid) - before) / (count * size) * 1e9, 'wall': count * size / wall / 1e6}


def upload(peer, resource, number):
    """CPU seconds per GB and MB/s of pushes of fresh content, hash, checks and fsync included."""
    size = BLOB_SIZES[resource]
    count = max(1, TRANSFER_BYTES // size // 3)
    bodies = [random.Random(number * 1000 + i).randbytes(size) for i in range(min(count, 10))]
    before, start, done = cpu_seconds(peer.pid), time.monotonic(), 0
    for index in range(count):
        body = bodies[index % len(bodies)]
        if index >= len(bodies):
            body = index.to_bytes(8, 'big') + body[8:]
        push(peer, f'bench/push{number}', body)
        done += size
    wall = time.monotonic() - start
    return {'cpu': (cpu_seconds(peer.pid) - before) / done * 1e9, 'wall': done / wall / 1e6}


def measure(peers, results, case, unit, wall_unit, function):
    rounds = {peer.name: [] for peer in peers}
    for number in range(ROUNDS):
        for peer in peers:
            rounds[peer.name].append(function(peer, number))
    row = {'unit': unit, 'wall_unit': wall_unit}
    for name, values in rounds.items():
        row[name] = {key: statistics.median(value[key] for value in values) for key in ('cpu', 'wall')}
    results[case] = row
    text = '  '.join(f'{name} {row[name]["cpu"]:.2f} ({row[name]["wall"]:.0f} {wall_unit})' for name in rounds)
    ratios = '  '.join(f'{row["hansa"]["cpu"] / row[name]["cpu"]:.2f}x {name}' for name in rounds if name != 'hansa')
    print(f'{case:32} CPU {unit}: {text}   | {ratios}', flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', metavar='FILE', help='write the figures there')
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix='hansa-bench-'))
    peers, results = [], {}
    try:
        starters = [start_hansa, start_nginx, start_registry] + ([start_zot] if os.environ.get('ZOT_BIN') else [])
        for start in starters:
            peers.append(start(folder))
        for peer in peers:
            wait_port(peer.port)
        results['idle memory, MiB'] = {peer.name: round(resident_mib(peer.pid), 1) for peer in peers}
        print('idle memory, MiB:', results['idle memory, MiB'])
        fill(peers, folder)
        for resource in ('ping', 'by tag', 'by digest'):
            case = 'GET /v2/' if resource == 'ping' else f'GET manifest {resource}'
            measure(peers, results, case, 'µs/request', 'req/s', lambda peer, _, r=resource: small_requests(peer, r))
        for resource in BLOB_SIZES:
            measure(peers, results, f'GET blob {resource}', 's/GB', 'MB/s', lambda peer, _, r=resource: download(peer, r))
        pushers = [peer for peer in peers if peer.pushes]
        for index, resource in enumerate(BLOB_SIZES):
            measure(pushers, results, f'push blob {resource}', 's/GB', 'MB/s',
                    lambda peer, n, r=resource, i=index: upload(peer, r, i * 100 + n))
        results['memory after, MiB'] = {peer.name: round(resident_mib(peer.pid), 1) for peer in peers}
        print('memory after, MiB:', results['memory after, MiB'])
    finally:
        for peer in peers:
            peer.process.terminate()
        for peer in peers:
            peer.process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=1) + '\n')


if __name__ == '__main__':
    main()
