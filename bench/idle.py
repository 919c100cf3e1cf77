"""What servers hold that do nothing: memory at rest, memory of a connection that waits, and whether those who ask feel
ten thousand who do not. Each server is started anew for it.
"""
import resource
import socket
import statistics

import hansa_testing as ht
import loads
import peers as servers

MANY, SOME = 10_000, 1_000
ROUNDS = 3
SECONDS = 3
ASKING = 8  # connections
FILES_OF_EACH, OTHER_FILES = 2, 2_000  # open files that a server wants for a connection, and for all else


NAME = 'memory at rest and of idle connections'


def measure(folder, connections, say):
    """A row for each server."""
    connections = possible(connections)
    rows = []
    for number, start in enumerate(servers.starters()):
        place = folder / f'idle-{number}'
        place.mkdir()
        peer = start(place)
        try:
            rows.append(one(peer, place, connections))
        finally:
            peer.stop()
        say(line(rows[-1]))
    return rows


def possible(wanted):
    """So many connections, or as many as the system's limit of open files allows a process here."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(wanted, (hard - OTHER_FILES) // FILES_OF_EACH)


def one(peer, folder, connections):
    """The figures of one server."""
    rest = peer.resident()
    if peer.pushes:
        config, layer = b'{}', b'a layer'
        body = loads.manifest(config, [layer], annotations={'filler': 'x' * 900})
        for blob in (config, layer):
            peer.push('bench/app', blob)
        peer.push_manifest('bench/app', 'v1', body)
        path = '/v2/bench/app/manifests/v1'
    else:
        (folder / 'www/manifest').write_bytes(b'x' * 1200)
        path = '/manifest'
    alone = latency(peer, path)
    before = peer.resident()
    waiting = []
    try:
        for _ in range(connections):
            wire = socket.create_connection(('127.0.0.1', peer.port), 20)
            wire.sendall(f'GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {ht.OCI_MANIFEST}\r\n\r\n'.encode())
            if b' 200 ' not in wire.recv(65536)[:20]:
                raise SystemExit(f'{peer.name} did not answer connection {len(waiting)}')
            waiting.append(wire)
        each = (peer.resident() - before) / connections
        beside = latency(peer, path)
        for wire in (waiting[0], waiting[-1]):  # the first and the last are served still
            wire.sendall(f'GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {ht.OCI_MANIFEST}\r\n\r\n'.encode())
            if b' 200 ' not in wire.recv(65536)[:20]:
                raise SystemExit(f'{peer.name} has dropped an idle connection')
    finally:
        for wire in waiting:
            wire.close()
    return {'server': peer.name, 'rest': rest / servers.MIB, 'connections': connections, 'each': each / 1024,
            'p99 alone': alone, 'p99 beside': beside}


def latency(peer, path):
    """p99 in milliseconds: the median of some runs."""
    return statistics.median(loads.latencies(peer.url + path, ASKING, SECONDS)[1] for _ in range(ROUNDS))


BARS = {'rest': 20, 'each': 8}


def line(row):
    return (f'{row["server"]}: {row["rest"]:.1f} MiB at rest, {row["each"]:.1f} KiB for each of {row["connections"]} idle '
            f'connections; p99 {row["p99 alone"]:.2f} ms alone, {row["p99 beside"]:.2f} ms beside them')


def table(rows):
    if not rows:
        return ''
    text = f'''
Started anew, then beside {rows[0]["connections"]} connections that asked once and wait; latency of a closed loop of {ASKING} connections.

| server | memory at rest, MiB | of an idle connection, KiB | p99 alone, ms | p99 beside them, ms |
|---|---|---|---|---|
'''
    for row in rows:
        bars = {key: f' ({bar})' if row['server'] == 'hansa' else '' for key, bar in BARS.items()}
        text += (f'| {row["server"]} | {row["rest"]:.1f}{bars["rest"]} | {row["each"]:.1f}{bars["each"]} | '
                 f'{row["p99 alone"]:.2f} | {row["p99 beside"]:.2f} |\n')
    return text
