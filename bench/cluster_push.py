#!/usr/bin/env python3
"""Pushes to clusters of 1, 3 and 5 nodes over shaped links: what the second copy costs, and how the rest get theirs.

The rig of cluster_pull.py, with the client's link shaped like the nodes'. Layers are pushed one after the other, as one
PATCH each. A node holds a blob when its file has its name. Needs root (ip, tc).
"""
import argparse
import json
import pathlib
import random
import shutil
import sys
import tempfile
import time

import cluster_pull as rig
from cluster_pull import ct, ht

HEADING = '## Pushes over shaped links'
BYTES = {'Content-Type': 'application/octet-stream'}


def random_bytes(source, mib):
    # One call of randbytes gives less than 256 MiB.
    return b''.join(source.randbytes(1 << 20) for _ in range(mib))


def path_of(location):
    return location[location.index('/v2/'):]


def push_layer(client, repository, blob):
    at = path_of(client.expect(202, 'POST', f'/v2/{repository}/blobs/uploads/').headers['Location'])
    at = path_of(client.expect(202, 'PATCH', at, blob, BYTES).headers['Location'])
    separator = '&' if '?' in at else '?'
    client.expect(201, 'PUT', f'{at}{separator}digest={ht.sha256(blob)}', b'', BYTES)


def measure(cluster, network, blobs):
    """One image; returns the figures."""
    client = ct.Node(cluster.nodes[0].url, 600.0)
    repository, digests = f'push/{ht.sha256(blobs[0])[7:19]}', [ht.sha256(blob) for blob in blobs]
    before, start = network.sent(), time.monotonic()
    for blob in blobs:
        push_layer(client, repository, blob)
    client.push_blob(repository, b'{}')
    client.push_manifest(repository, 'v1', ct.manifest_of(b'{}', blobs))
    pushed = time.monotonic()
    if not ct.tool.wait_until(lambda: all(ct.holds(n, d) for n in cluster.nodes for d in digests), 600):
        raise ct.tool.Problem('not every node got the blobs')
    spread, after = time.monotonic(), network.sent()
    size = sum(map(len, blobs))
    return {'push': pushed - start, 'spread': spread - pushed, 'size': size,
            'first': (after[0] - before[0]) / size,
            'all': (sum(after) - sum(before)) / size}


def inside(options):
    folder = pathlib.Path(tempfile.mkdtemp(prefix='hansa-bench-'))
    cluster, source = rig.NetCluster(folder / 'cluster'), random.Random(options.inside)
    network = rig.Network(options.inside, options.rate)
    try:
        cluster.prepare(options.inside, {'log': {'level': 'warn'}}, rig.NetNode)
        cluster.up()
        time.sleep(2)
        ticks, rows = rig.busy(), []
        for layers, mib in ((1, options.blob_mib), (options.layers, options.blob_mib // options.layers)):
            rows.append(measure(cluster, network, [random_bytes(source, mib) for _ in range(layers)]))
        later = rig.busy()
        print(json.dumps({'nodes': options.inside, 'rows': rows, 'busy': (later[0] - ticks[0]) / (later[1] - ticks[1])}))
    except ct.tool.Problem as problem:
        sys.exit(f'cluster-push: {problem}')
    finally:
        cluster.down()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--nodes', default='1,3,5', help='sizes of clusters; the first is what the others are compared with')
    parser.add_argument('--rate', type=int, default=200, help='Mbit/s of each link')
    parser.add_argument('--blob-mib', type=int, default=128)
    parser.add_argument('--layers', type=int, default=8)
    parser.add_argument('--write', action='store_true', help='put the table into docs/benchmarks.md')
    parser.add_argument('--inside', type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        return inside(options)
    lines = [HEADING, '',
             f'`./dev bench cluster-push` on a 2-core machine: an image of {options.blob_mib} MiB, as one layer and as {options.layers}, pushed through the '
             f'first node; every link, the client\'s too, carries {options.rate} Mbit/s. Copies are bytes that left a node, by the image\'s size.', '',
             '| nodes | layers | push, s | of one node\'s | all hold it after the 201, of one transfer | copies the first node sent | copies sent in all | CPU busy |',
             '|---|---|---|---|---|---|---|---|']
    alone = {}
    for figures in rig.sizes(__file__, options, options.rate, ('--blob-mib', options.blob_mib, '--layers', options.layers)):
        for layers, row in zip((1, options.layers), figures['rows']):
            transfer = row['size'] * 8 / (options.rate * 1e6 * rig.TBF_PAYLOAD)
            base = alone.setdefault(layers, row['push'])
            lines.append(f'| {figures["nodes"]} | {layers} | {row["push"]:.2f} | {row["push"] / base:.2f} | {row["spread"] / transfer:.2f} | '
                         f'{row["first"]:.2f} | {row["all"]:.2f} | {figures["busy"] * 100:.0f} % |')
            print(lines[-1], file=sys.stderr)
    rig.show(lines, HEADING, options.write)


if __name__ == '__main__':
    main()
