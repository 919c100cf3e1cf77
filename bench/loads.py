"""The loads: each returns {'cpu': the server's CPU per unit of work, 'wall': what a client saw}."""
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'tests/lib'))
import hansa_testing as ht  # noqa: E402

MIB = 1024 * 1024
CONNECTIONS = 32
TRANSFER_BYTES = 300 * MIB  # per case and round
PUSH_BYTES = 100 * MIB
SLICE = 1 * MIB


def wrk(peer, path, seconds, script=None, connections=CONNECTIONS):
    """Closed loop. `script`: lines of Lua. Microseconds of CPU for a request, requests per second."""
    command = ['wrk', '-t1', f'-c{connections}', f'-d{seconds}s', '--timeout', '30s', '-H', f'Accept: {ht.OCI_MANIFEST}']
    for name, value in peer.fields.items():
        command += ['-H', f'{name}: {value}']
    with tempfile.NamedTemporaryFile('w', suffix='.lua') as file:
        if script:
            file.write(script)
            file.flush()
            command += ['-s', file.name]
        before = peer.cpu()
        done = subprocess.run([*command, f'{peer.url}{path}'], capture_output=True, text=True)
        cpu = peer.cpu() - before
    found = re.search(r'(\d+) requests in ([\d.]+)(s|m)', done.stdout)
    if not found or 'Non-2xx' in done.stdout or 'Socket errors' in done.stdout or int(found.group(1)) == 0:
        raise SystemExit(f'{peer.name} did not answer {path} as it should:\n{done.stdout}{done.stderr}')
    count = int(found.group(1))
    return {'cpu': cpu / count * 1e6, 'wall': count / seconds}


def latencies(url, connections, seconds):
    """Of a manifest's GETs in a closed loop: (median, p99) in milliseconds, requests per second."""
    done = subprocess.run(['wrk', '-t1', f'-c{connections}', f'-d{seconds}s', '--latency', '-H', f'Accept: {ht.OCI_MANIFEST}', url],
                          capture_output=True, text=True)
    if done.returncode or 'Non-2xx' in done.stdout or 'Socket errors' in done.stdout:
        raise SystemExit(f'a client that asks for {url} got errors:\n{done.stdout}{done.stderr}')

    def milliseconds(name):
        value, unit = re.search(rf'{name}%\s+([\d.]+)(us|ms|s)', done.stdout).groups()
        return float(value) * {'us': 0.001, 'ms': 1, 's': 1000}[unit]
    return milliseconds('50'), milliseconds('99'), float(re.search(r'Requests/sec:\s+([\d.]+)', done.stdout).group(1))


def heads(peer, path, seconds):
    """HEAD in rounds over as many connections (wrk waits for the body of an answer that has none)."""
    lines = ''.join(f'{name}: {value}\r\n' for name, value in {'Accept': ht.OCI_MANIFEST, **peer.fields}.items())
    asked = f'HEAD {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n'.encode()
    wires = [peer.connect() for _ in range(CONNECTIONS)]
    before, start, count = peer.cpu(), time.monotonic(), 0
    while time.monotonic() - start < seconds:
        for wire in wires:
            wire.sendall(asked)
        for wire in wires:
            if b' 200 ' not in wire.recv(65536)[:20]:
                raise SystemExit(f'{peer.name} did not answer HEAD {path}')
        count += len(wires)
    wall = time.monotonic() - start
    for wire in wires:
        wire.close()
    return {'cpu': (peer.cpu() - before) / count * 1e6, 'wall': count / wall}


def download(peer, path, size, part=None):
    """Bytes over one connection, whole or in parts. CPU seconds for a GB, MB/s."""
    buffer = bytearray(SLICE)
    lines = ''.join(f'{name}: {value}\r\n' for name, value in peer.fields.items())
    offsets = [None] if part is None else range(0, size - part + 1, part)
    count = max(1, TRANSFER_BYTES // size)
    sizes = size if part is None else part
    before, start, total = peer.cpu(), time.monotonic(), 0
    with peer.connect() as wire:
        for _ in range(count):
            for offset in offsets:
                ranged = '' if offset is None else f'Range: bytes={offset}-{offset + part - 1}\r\n'
                wire.sendall(f'GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}{ranged}\r\n'.encode())
                receive(peer, wire, sizes, buffer, b' 200 ' if offset is None else b' 206 ')
                total += sizes
    wall = time.monotonic() - start
    return {'cpu': (peer.cpu() - before) / total * 1e9, 'wall': total / wall / 1e6}


def receive(peer, wire, size, buffer, status):
    got = wire.recv(65536)
    while b'\r\n\r\n' not in got:
        got += wire.recv(65536)
    if status not in got[:20]:
        raise SystemExit(f'{peer.name} answered {got[:200]}')
    left = size - (len(got) - got.index(b'\r\n\r\n') - 4)
    while left > 0:
        some = wire.recv_into(buffer, min(left, SLICE))
        if some == 0:
            raise SystemExit(f'{peer.name} ended in the middle of a body')
        left -= some


def fresh(size, count, seed):
    """Bodies that no server has seen; made before the clock starts."""
    return [random.Random(f'{seed} {number}').randbytes(size) for number in range(count)]


def upload(peer, size, seed, chunk=None):
    """Pushes of fresh blobs over one connection. CPU seconds for a GB, MB/s."""
    bodies = fresh(size, max(1, PUSH_BYTES // size), f'{peer.name} {seed}')
    session = peer.session()
    before, start = peer.cpu(), time.monotonic()
    for body in bodies:
        peer.push(f'bench/push{seed}', body, session, chunk)
    wall, total = time.monotonic() - start, size * len(bodies)
    session.close()
    return {'cpu': (peer.cpu() - before) / total * 1e9, 'wall': total / wall / 1e6}


def post_blob(session, repository, data):
    """A blob in one request, for pushers without a Peer: processes of their own."""
    path = f'/v2/{repository}/blobs/uploads/?digest={ht.sha256(data)}'
    session.request('POST', path, data, ht.OCTETS)
    answer = session.getresponse()
    answer.read()
    if answer.status != 201:
        raise SystemExit(f'POST {path}: {answer.status}')


def push_images(peer, seed, count=20, layers=10, size=4096):
    """Images of small layers, one after the other over one connection. CPU and wall milliseconds for an image."""
    images = [fresh(size, layers, f'{peer.name} image {seed} {number}') for number in range(count)]
    session = peer.session()
    before, start = peer.cpu(), time.monotonic()
    for number, parts in enumerate(images):
        config = f'{{"architecture":"amd64","os":"linux","seed":"{seed} {number}"}}'.encode()
        for blob in (config, *parts):
            peer.push(f'bench/image{seed}', blob, session)
        peer.push_manifest(f'bench/image{seed}', f'v{number}', manifest(config, parts), session)
    wall = time.monotonic() - start
    session.close()
    return {'cpu': (peer.cpu() - before) / count * 1e3, 'wall': wall / count * 1e3}


def mounts(peer, seed, digests):
    """Cross-mounts of known blobs into new repositories. CPU microseconds, mounts per second."""
    session = peer.session()
    before, start, count = peer.cpu(), time.monotonic(), 0
    for number in range(10):
        for digest in digests:
            path = f'/v2/bench/mount{seed}-{number}/blobs/uploads/?mount={digest}&from=bench/app'
            peer.done(peer.request('POST', path, session=session), 201)
            count += 1
    wall = time.monotonic() - start
    session.close()
    return {'cpu': (peer.cpu() - before) / count * 1e6, 'wall': count / wall}


def manifest(config, layers, **more):
    return json.dumps({'schemaVersion': 2, 'mediaType': ht.OCI_MANIFEST, 'config': ht.descriptor(ht.OCI_CONFIG, config),
                       'layers': [ht.descriptor(ht.OCI_LAYER, layer) for layer in layers], **more}).encode()
