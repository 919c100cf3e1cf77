#!/usr/bin/env python3
"""What honest clients feel while others attack: latencies of a manifest GET by tag, alone and beside an attack that goes
on, in one run. The attack: requests hidden in requests, floods of headers, manifests that are bombs, and connections
that say one byte a second; paced, so that it costs the server and not only the machine that it shares with it.
"""
import multiprocessing
import pathlib
import re
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'tests/lib'))
import hansa_testing as ht  # noqa: E402
import hostile_corpus as hc  # noqa: E402
import loads  # noqa: E402
import report  # noqa: E402

SECONDS, CONNECTIONS, ROUNDS = 8, 8, 3
SLOW, PAUSE = 300, 0.02  # connections; seconds between two attacks of one attacker
P99_BAR, MEMORY_BAR = 3.0, 256
MANIFESTS = '/v2/bench/app/manifests'
HEADING = '## Beside an attack'


def attack(port, digest, image):
    """Until it is ended."""
    raw = [*hc.smuggling(MANIFESTS, digest).values(), *(data for data, _ in hc.floods(MANIFESTS).values())]
    for body in hc.bombs(digest, image).values():
        kind = ht.OCI_INDEX if '"manifests"' in body[:200] else ht.OCI_MANIFEST
        raw.append(hc.request(f'PUT {MANIFESTS}/bomb HTTP/1.1', f'Content-Type: {kind}', f'Content-Length: {len(body.encode())}',
                              body=body.encode()))
    while True:
        for data in raw:
            try:
                with socket.create_connection(('127.0.0.1', port), timeout=10) as wire:
                    wire.sendall(data)
                    while wire.recv(65536):
                        pass
            except OSError:
                pass
            time.sleep(PAUSE)


def dawdle(port):
    """Heads that do not end, and answers that nobody reads."""
    wires = []
    while True:
        while len(wires) < SLOW:
            wires.append(socket.create_connection(('127.0.0.1', port)))
        for wire in list(wires):
            try:
                wire.sendall(b'G')
            except OSError:
                wires.remove(wire)
        time.sleep(1)


def measure(folder):
    server = ht.Server(folder, config={'log': {'level': 'error'}})
    try:
        server.start()
        digest = server.push_image('bench/app', 'v1')
        image = server.request('GET', f'{MANIFESTS}/v1').body
        url = f'http://127.0.0.1:{server.port}{MANIFESTS}/v1'
        rows = {'alone': [], 'attacked': []}
        for _ in range(ROUNDS):
            rows['alone'].append(loads.latencies(url, CONNECTIONS, SECONDS))
            attackers = [multiprocessing.Process(target=attack, args=(server.port, digest, image), daemon=True),
                         multiprocessing.Process(target=dawdle, args=(server.port,), daemon=True)]
            for attacker in attackers:
                attacker.start()
            rows['attacked'].append(loads.latencies(url, CONNECTIONS, SECONDS))
            for attacker in attackers:
                attacker.kill()
                attacker.join()
        status = pathlib.Path(f'/proc/{server.process.pid}/status').read_text()
        return rows, int(re.search(r'VmHWM:\s+(\d+)', status).group(1)) // 1024
    finally:
        server.stop()


def table(rows, peak):
    def middle(name, column):
        return sorted(row[column] for row in rows[name])[ROUNDS // 2]
    text = f'''{HEADING}

`./dev bench hostile`: {CONNECTIONS} honest connections that ask for a manifest by tag, alone and beside smuggled requests, floods, manifests
that are bombs and {SLOW} slow connections; medians of {ROUNDS} rounds of {SECONDS} s. Peak memory of the server: {peak} MiB (bar {MEMORY_BAR}).

| | alone | attacked | bar |
|---|---|---|---|
'''
    for name, column, bar in (('median, ms', 0, ''), ('p99, ms', 1, f'{P99_BAR:.0f}x'), ('requests/s', 2, '')):
        one, other = middle('alone', column), middle('attacked', column)
        text += f'| {name} | {one:.2f} | {other:.2f} ({other / one:.2f}x) | {bar} |\n'
    return text


if __name__ == '__main__':
    report.run(__doc__, HEADING, lambda folder: table(*measure(folder)))
