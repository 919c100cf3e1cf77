#!/usr/bin/env python3
"""What a cluster costs: the same load on a single node and on one node of three, in one run, taking turns.

CPU is that of Hansa's own processes (all nodes together; neither etcd's nor the load's), per manifest GET by tag at 64
concurrent requests. Reads of the engine are counted by etcd's own metrics; commits of a push by the revisions at which
its records stand. HANSA_ETCD names another etcd.
"""
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'tests/lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402
import report  # noqa: E402

ROUNDS, SECONDS, CONNECTIONS, LAYERS = 5, 4, 64, 10
CPU_BAR, COMMIT_BAR = 1.3, 12
HEADING = '## A cluster of three'


def cpu_seconds(pids):
    """Of the processes alone: a managed etcd is a child of its node."""
    total = 0
    for pid in pids:
        for thread in pathlib.Path(f'/proc/{pid}/task').iterdir():
            total += int((thread / 'schedstat').read_text().split()[0])
    return total / 1e9


def load(url, path, pids):
    """(CPU µs per request, requests per second, requests)."""
    before = cpu_seconds(pids)
    done = subprocess.run(['wrk', '-t1', f'-c{CONNECTIONS}', f'-d{SECONDS}s', '-H', f'Accept: {ht.OCI_MANIFEST}', url + path],
                          capture_output=True, text=True, check=True)
    cpu = cpu_seconds(pids) - before
    if 'Non-2xx' in done.stdout:
        raise SystemExit(f'{url} answered errors:\n{done.stdout}')
    count = int(re.search(r'(\d+) requests in', done.stdout).group(1))
    return cpu / count * 1e6, count / SECONDS, count


def engine_calls(cluster):
    """{method: calls that etcd's members have answered so far}; what Hansa may use for a barrier."""
    totals = {}
    for node in cluster.nodes:
        for method in ('Range', 'Put', 'Txn'):
            pattern = rf'grpc_server_handled_total\{{.*grpc_code="OK".*grpc_method="{method}"'
            totals[method] = totals.get(method, 0) + cluster.etcd_metric(node, pattern)
    return totals


def compare(single, cluster, path):
    alone, together, calls, requests = [], [], {}, 0
    pids = [node.pid for node in cluster.nodes]
    for _ in range(ROUNDS):
        alone.append(load(f'http://127.0.0.1:{single.port}', path, [single.process.pid]))
        before = engine_calls(cluster)
        together.append(load(cluster.urls[0], path, pids))
        after = engine_calls(cluster)
        requests += together[-1][2]
        for method in after:
            calls[method] = calls.get(method, 0) + after[method] - before[method]

    def median(rows):
        return statistics.median(row[0] for row in rows), statistics.median(row[1] for row in rows)
    return median(alone), median(together), {method: count / requests for method, count in calls.items()}


def push_commits(cluster, together):
    """Commits of one push of an image of LAYERS layers: distinct revisions of the records that pushes write."""
    name = 'cost/together' if together else 'cost/apart'
    before = cluster.etcd_revision()
    client = ct.Node(cluster.urls[0], 30.0)
    layers = [os.urandom(3000) for _ in range(LAYERS)]
    config = json.dumps({'architecture': 'amd64', 'os': 'linux', 'x': name}).encode()
    if together:  # as clients push: several layers at once
        threads = [threading.Thread(target=ct.Node(cluster.urls[0], 30.0).push_blob, args=(name, layer)) for layer in layers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:
        for layer in layers:
            client.push_blob(name, layer)
    client.push_blob(name, config)
    client.push_manifest(name, 'v1', ct.manifest_of(config, layers))
    records = [f'{kind}/{name}'.encode() for kind in ('link', 'manifest', 'tag', 'repo', 'in')]
    rows = cluster.etcd_range(ct.PREFIX)
    return len({mod for key, _, mod, _, _ in rows if mod > before and key[len(ct.PREFIX):].startswith(tuple(records))})


def table(version, alone, together, calls, commits):
    ratio = together[0] / alone[0]
    return f'''{HEADING}

`./dev bench cluster-cost` on a 2-core machine that carries three nodes, three etcds {version} and the load; CPU is Hansa's processes
alone, medians of {ROUNDS} rounds, taking turns with a single node.

| case | single node | cluster | bar |
|---|---|---|---|
| GET manifest by tag, {CONNECTIONS} at once, CPU µs | {alone[0]:.1f} | {together[0]:.1f} ({ratio:.2f}x) | {CPU_BAR}x (etcd 3.6.9) |
| the same, requests/s | {alone[1]:.0f} | {together[1]:.0f} | |
| calls of etcd per request: Range, Put, Txn | - | {calls["Range"]:.4f}, {calls["Put"]:.4f}, {calls["Txn"]:.4f} | far below 1 |
| commits of a push of {LAYERS} layers, one after the other | - | {commits[0]} | {COMMIT_BAR} |
| the same, layers at once | - | {commits[1]} | {COMMIT_BAR} |
'''


def measure(folder):
    single = ht.Server(folder / 'single', config={'log': {'level': 'error'}})
    cluster = ct.TestCluster(folder / 'cluster', extra={'log': {'level': 'error'}})
    try:
        single.start()
        cluster.begin()
        for client in (ct.Node(f'http://127.0.0.1:{single.port}', 30.0), ct.Node(cluster.urls[0], 30.0)):
            client.push_image('bench/app', 'v1')
        alone, together, calls = compare(single, cluster, '/v2/bench/app/manifests/v1')
        commits = push_commits(cluster, False), push_commits(cluster, True)
        version = cluster.etcd_status(cluster.nodes[0])['version']
        return version, alone, together, calls, commits
    finally:
        single.stop()
        cluster.stop()


if __name__ == '__main__':
    report.run(__doc__, HEADING, lambda folder: table(*measure(folder)))
