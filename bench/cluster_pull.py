#!/usr/bin/env python3
"""One hot image pulled by many clients that know one address, from clusters of 1, 2, 3 and 5 nodes.

Every node has a network namespace and a link of its own, shaped by tbf in both directions; the clients' link is not
shaped. Bytes are those that the kernel counted at the switch. Clients are curl, three layers at a time, following
redirects; with --ranges the image is one layer of the same size, and they fetch it in parts of 16 MiB. Needs root (ip, tc). Names: n1.hansa.test ... in the namespaces' own hosts files.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'tests/lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402
import plot  # noqa: E402
import report  # noqa: E402
from net_cluster import CLIENT, NetCluster, NetNode, Network, run  # noqa: E402

LAYERS, CLIENTS, PARALLEL = 8, 20, 3
TBF_PAYLOAD = 0.957  # of the rate arrives as payload: headers of Ethernet, IP and TCP
HEADING = '## One hot image from N nodes'
PART = 16 * 1024 * 1024  # bytes
LEAST = 0.90  # of N links, as asked for


def busy():
    """(busy, all) ticks of the machine."""
    ticks = [int(word) for word in pathlib.Path('/proc/stat').read_text().splitlines()[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def push(url, layers, size):
    client, source = ct.Node(url, 300.0), random.Random(1)
    # In pieces: Python's generator makes less than 256 MiB at once.
    blobs = [b''.join(source.randbytes(min(PART, size - at)) for at in range(0, size, PART)) for _ in range(layers)]
    for blob in blobs:
        client.push_blob('hot/app', blob)
    client.push_blob('hot/app', b'{}')
    client.push_manifest('hot/app', 'v1', ct.manifest_of(b'{}', blobs))
    return [ht.sha256(blob) for blob in blobs]


def wait_all_hold(cluster, digests):
    """Until the first node sends clients to every other for every layer, and the bytes are there."""
    client = ct.Node(cluster.nodes[0].url, 60.0)
    names = {node.url for node in cluster.nodes[1:]}
    for digest in digests:
        seen, end = set(), time.monotonic() + 300
        while not names <= seen:
            if time.monotonic() > end:
                raise ct.tool.Problem(f'clients are sent to {seen} only')
            answer = client.request('GET', f'/v2/hot/app/blobs/{digest}', None, {'Range': 'bytes=0-1048575'})
            seen.add(answer.headers.get('Location', '').split('/v2/')[0])
    time.sleep(30)  # what was asked for just now is forgotten: the shares begin evenly


def pull(url, pieces):
    """All clients at once; returns seconds. `pieces`: (digest, range or None), of which each client begins at another."""
    jobs = []
    for number in range(CLIENTS):
        begin = number * len(pieces) // CLIENTS if len(pieces) > CLIENTS else number % len(pieces)
        words = ['curl', '--parallel', '--parallel-max', str(PARALLEL)]
        for index, (digest, part) in enumerate(pieces[begin:] + pieces[:begin]):
            words += ['--next'] if index else []
            words += ['-sS', '-L', '--fail', '-o', '/dev/null', *(['-r', part] if part else [])]
            words.append(f'{url}/v2/hot/app/blobs/{digest}')
        jobs.append(words)
    start = time.monotonic()
    running = [subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for words in jobs]
    # curl shows its progress on standard error when it works in parallel, whatever it is told.
    failures = [error.decode()[-200:] for job in running if (error := job.communicate()[1]) is not None and job.returncode]
    if failures:
        raise ct.tool.Problem(f'{len(failures)} clients failed: {failures[0]}')
    return time.monotonic() - start


def inside(options):
    """One size of cluster; runs in the clients' namespace. Prints the figures as JSON."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix='hansa-bench-'))
    cluster = NetCluster(folder / 'cluster')
    network = Network(options.inside, options.rate)
    size = options.layer_mib * 1024 * 1024
    try:
        cluster.prepare(options.inside, {'log': {'level': 'warn'}}, NetNode)
        cluster.up()
        layers = 1 if options.ranges else LAYERS
        size = size * LAYERS // layers
        digests = push(cluster.nodes[0].url, layers, size)
        wait_all_hold(cluster, digests)
        parts = [f'{at}-{min(at + PART, size) - 1}' for at in range(0, size, PART)] if options.ranges else [None]
        before, ticks = network.sent(), busy()
        seconds = pull(cluster.nodes[0].url, [(digest, part) for digest in digests for part in parts])
        after, later = network.sent(), busy()
        sent = [b - a for a, b in zip(before, after)]
        print(json.dumps({'nodes': options.inside, 'seconds': seconds, 'sent': sent, 'payload': CLIENTS * layers * size,
                          'busy': (later[0] - ticks[0]) / (later[1] - ticks[1])}))
    finally:
        cluster.down()
        shutil.rmtree(folder, ignore_errors=True)


def sizes(program, options, client_rate=None, more=()):
    """The figures of each size of cluster, as `program --inside N` prints them in the clients' namespace."""
    name = pathlib.Path(program).stem.replace('_', '-')
    if os.geteuid():
        sys.exit(f'{name}: needs root, for network namespaces')
    for count in map(int, options.nodes.split(',')):
        with Network(count, options.rate, client_rate):
            done = run('ip', 'netns', 'exec', CLIENT, sys.executable, program, '--inside', count, '--rate', options.rate, *more,
                       check=False)
        if done.returncode:
            sys.exit(f'{name}: {done.stdout}{done.stderr}')
        yield json.loads(done.stdout.strip().splitlines()[-1])


def show(lines, heading, write):
    text = '\n'.join(lines) + '\n'
    print(text)
    if write:
        report.write(text, heading)


def row(figures, rate):
    sent, payload = figures['sent'], figures['payload']
    ideal = figures['nodes'] * rate * 1e6 / 8 * TBF_PAYLOAD
    own = payload / figures['nodes']
    return (f'| {figures["nodes"]} | {payload / figures["seconds"] * 8 / 1e6:.0f} | {payload / figures["seconds"] / ideal:.2f} | '
            f'{payload / figures["seconds"] * 8 / 1e6 / (figures["nodes"] * rate):.2f} | {max(sent) / min(sent):.2f} | '
            f'{(sent[0] / sum(sent) * payload - own) / payload * 100:+.1f} % | {figures["busy"] * 100:.0f} % |')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--nodes', default='1,2,3,5', help='sizes of clusters')
    parser.add_argument('--rate', type=int, default=200, help='Mbit/s of each node\'s link')
    parser.add_argument('--layer-mib', type=int, default=16)
    parser.add_argument('--ranges', action='store_true', help='one layer, fetched in parts')
    parser.add_argument('--both', action='store_true', help='the image as layers, then as one that is fetched in parts')
    parser.add_argument('--write', action='store_true', help='put table and chart into docs')
    parser.add_argument('--inside', type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        return inside(options)
    series = {}
    lines = [HEADING, '',
             f'`./dev bench cluster-pull` on a 2-core machine: {CLIENTS} clients (curl, {PARALLEL} requests at a time) that all know the first '
             f'node only pull one image of {LAYERS} x {options.layer_mib} MiB, or one layer of the same size in parts of {PART >> 20} MiB; each '
             f'node\'s link carries {options.rate} Mbit/s.', '',
             '| image | nodes | payload Mbit/s | of what the links can carry | of N links\' rate | bytes per node max/min | the first node beyond its share | CPU busy |',
             '|---|---|---|---|---|---|---|---|']
    for ranges in (False, True) if options.both else (options.ranges,):
        kind = 'one layer in parts' if ranges else f'{LAYERS} layers'
        for figures in sizes(__file__, options, more=('--layer-mib', options.layer_mib, *(['--ranges'] if ranges else []))):
            lines.append(f'| {kind} ' + row(figures, options.rate))
            series.setdefault(kind, {})[figures['nodes']] = figures['payload'] / figures['seconds'] * 8 / 1e6
            print(lines[-1], file=sys.stderr)
    if options.write:
        plot.chart(ht.ROOT / 'docs/hot-image.svg', 'One hot image from N nodes, clients that know one address', series, options.rate, LEAST)
        lines += ['', '![aggregate throughput by number of nodes](hot-image.svg)']
    show(lines, HEADING, options.write)


if __name__ == '__main__':
    main()
