#!/usr/bin/env python3
"""Whether those who pull feel the upkeep: latencies of a manifest GET by tag at parts of the load that the server takes,
alone and while collection, scrubs, slow readers and pushes go on, in one run. The load is open (oha): requests are due at
their time whether or not earlier ones were answered, so a pause of the server counts for all that came in it.
"""
import http.client
import itertools
import json
import multiprocessing
import os
import pathlib
import random
import socket
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'tests/lib'))
import hansa_testing as ht  # noqa: E402
import loads  # noqa: E402
import peers as servers  # noqa: E402
import report  # noqa: E402

OHA = ht.CLIENTS / 'oha'
SECONDS, ROUNDS = 8, 3
WORKERS = 32  # connections that measure what the server takes
CONNECTIONS = 100  # of the open load
READERS, READ_BYTES = 200, 16 * 1024  # each so many bytes in a second
PUSHERS, PUSHES, PUSHED = 4, 100, 4096  # processes; pushes a second of all; bytes of a pushed layer
TAGS = 50  # that the pushes move: what they showed before is collected
SCRUB_RATE = 50  # MiB a second, as the periodic one does
LAYERS, LAYER = 20, 10 * loads.MIB  # what is scrubbed and read slowly
LOADS = (0.5, 0.25)
BAR = 2.0
HEADING = '## Beside upkeep'
CONFIG = {'storage': {'gc': True, 'gcDelay': '4s', 'gcInterval': '1s',
                      'retention': {'delay': '4s', 'policies': [{'repositories': ['**'], 'deleteUntagged': True}]}}}


def pull(url, rate, seconds):
    """oha's report. `rate` 0: as fast as WORKERS can."""
    speed = ['-q', str(rate), '--latency-correction', '-c', str(CONNECTIONS)] if rate else ['-c', str(WORKERS)]
    done = subprocess.run([OHA, *speed, '-z', f'{seconds}s', '--no-tui', '--output-format', 'json', '-w', '-H', f'Accept: {ht.OCI_MANIFEST}',
                           url], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f'oha ended with {done.returncode}: {done.stderr}')
    found = json.loads(done.stdout)
    if set(found['statusCodeDistribution']) != {'200'} or found['errorDistribution']:
        raise SystemExit(f'a client that asks for {url} got {found["statusCodeDistribution"]} {found["errorDistribution"]}')
    return {'rate': found['summary']['requestsPerSec'], **{name: found['latencyPercentiles'][name] * 1e3 for name in ('p50', 'p99')}}


def read_slowly(port, digest):
    """Until it is ended."""
    asked = f'GET /v2/bench/large/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode()
    wires = []
    while True:
        while len(wires) < READERS:
            wire = socket.socket()
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BYTES)
            wire.connect(('127.0.0.1', port))
            wire.sendall(asked)
            wires.append(wire)
        began = time.monotonic()
        for wire in list(wires):
            if not wire.recv(READ_BYTES):
                wires.remove(wire)
        time.sleep(max(0.0, began + 1 - time.monotonic()))


def push(port, number, count):
    """Images of one layer under tags that move, PUSHES / PUSHERS a second, until it is ended."""
    session = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
    source, config, repository = random.Random(time.time_ns()), b'{}', f'bench/pushed{number}'
    loads.post_blob(session, repository, config)
    for turn in itertools.count():
        began = time.monotonic()
        layer = source.randbytes(PUSHED)
        loads.post_blob(session, repository, layer)
        session.request('PUT', f'/v2/{repository}/manifests/v{turn % TAGS}', loads.manifest(config, [layer]),
                        {'Content-Type': ht.OCI_MANIFEST})
        answer = session.getresponse()
        answer.read()
        if answer.status != 201:
            raise SystemExit(f'a manifest was not taken: {answer.status}')
        with count.get_lock():
            count.value += 1
        time.sleep(max(0.0, began + PUSHERS / PUSHES - time.monotonic()))


def scrub(config_file):
    while True:
        subprocess.run([ht.BINARY, 'scrub', config_file, '--rate', str(SCRUB_RATE)], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=True)


def beside_upkeep(peer, digest, measure):
    """What `measure` gives while all of it goes on, and the pushes a second meanwhile."""
    pushed = multiprocessing.Value('i', 0)
    tasks = [multiprocessing.Process(target=push, args=(peer.port, number, pushed)) for number in range(PUSHERS)]
    tasks += [multiprocessing.Process(target=read_slowly, args=(peer.port, digest)),
              multiprocessing.Process(target=scrub, args=(peer.server.config_file,))]
    for task in tasks:
        task.start()
    try:
        time.sleep(2)
        before, begun = pushed.value, time.monotonic()
        found = measure()
        found['pushes'] = (pushed.value - before) / (time.monotonic() - begun)
        if not all(task.is_alive() for task in tasks):
            raise SystemExit('what should go on beside the load has ended')
        return found
    finally:
        for task in tasks:
            task.terminate()
            task.join()


def table(folder):
    peer = servers.start_hansa(folder, **CONFIG)
    try:
        blobs = [random.Random(number).randbytes(LAYER) for number in range(LAYERS)]
        for blob in (b'{}', *blobs):
            peer.push('bench/large', blob)
        peer.push_manifest('bench/large', 'v1', loads.manifest(b'{}', blobs))
        for blob in (b'{}', blobs[0][:PUSHED]):
            peer.push('bench/app', blob)
        peer.push_manifest('bench/app', 'v1', loads.manifest(b'{}', [blobs[0][:PUSHED]]))
        url = f'{peer.url}/v2/bench/app/manifests/v1'
        most = pull(url, 0, SECONDS // 2)['rate']
        found = {}
        for load in LOADS:
            rows = found[load] = {'alone': [], 'beside': []}
            for _ in range(ROUNDS):
                rows['alone'].append(pull(url, int(most * load), SECONDS))
                rows['beside'].append(beside_upkeep(peer, ht.sha256(blobs[0]), lambda at=int(most * load): pull(url, at, SECONDS)))
    finally:
        peer.stop()
    return shown(most, found)


def shown(most, found):
    text = f'''{HEADING}

`./dev bench busy`: GETs of a manifest by tag, of the {most:,.0f} requests/s that client and server do together on {os.cpu_count()} cores; open
load, medians of {ROUNDS} rounds of {SECONDS} s. Beside it: {PUSHES} pushes/s of images whose tags move, their collection at the smallest grace,
{READERS} readers of {READ_BYTES // 1024} KiB/s, and scrubs at {SCRUB_RATE} MiB/s one after the other; on the same cores, as is the client.

| load | median alone, ms | beside | p99 alone, ms | beside | ratio of p99 (bar {BAR:.0f}x at 50 %) | pushes/s |
|---|---|---|---|---|---|---|
'''
    for load, rows in found.items():
        def of(name, key, rows=rows):
            return statistics.median(row[key] for row in rows[name])
        text += (f'| {load:.0%} | {of("alone", "p50"):.2f} | {of("beside", "p50"):.2f} | {of("alone", "p99"):.2f} | {of("beside", "p99"):.2f} '
                 f'| {of("beside", "p99") / of("alone", "p99"):.2f}x | {of("beside", "pushes"):.0f} |\n')
    return text


if __name__ == '__main__':
    report.run(__doc__, HEADING, table)
