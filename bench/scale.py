"""Whether costs stay flat as a registry grows: starts, pushes and lists with a million tags, memory under load, and how
the cost of collecting grows with what is to be collected. Hansa is compared with itself; each figure has its bar.

The sets are made by the server itself under eatmydata (a set is data that nobody loses anything with), pushed by wrk,
and kept in $HANSA_BENCH_SETS (~/.cache/hansa/bench-sets) until a server cannot start on them.
"""
import contextlib
import http.client
import json
import math
import multiprocessing
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'tests/lib'))
import hansa_testing as ht  # noqa: E402
import loads  # noqa: E402
import peers as servers  # noqa: E402
import report  # noqa: E402

SETS = pathlib.Path(os.environ.get('HANSA_BENCH_SETS', pathlib.Path.home() / '.cache/hansa/bench-sets'))
LARGE, SMALL = 'bulk/large', 'bulk/small'
PAGE = 100
ROUNDS = 3
SECONDS = 3
PUSHES = 300
SET_SECONDS = 3600  # the longest that a set may take
ORPHANS = (10_000, 100_000)
ORPHAN_SECONDS = 900  # the longest that a collection of them may take before the run is given up
HEADING = '## As it grows'
IDLE = {'log': {'level': 'error'}, 'storage': {'gc': False}}
COLLECTING = {'log': {'level': 'error'}, 'storage': {'gc': True, 'gcDelay': '4s', 'gcInterval': '1s'}}


def tag(number):
    return f't{number:07}'


def put_script(repository, count):
    """Manifests that differ, each under a tag of its own."""
    config, layer = b'{}', b'a layer'
    head, rest = loads.manifest(config, [layer], annotations={'number': '@'}).decode().split('@')
    return f'''local n, answered = -2, 0  -- wrk asks once for nothing
response = function(status)
  if status == 200 then return end
  if status ~= 201 then os.exit(1) end
  answered = answered + 1
  if answered == {count} then os.exit(0) end
end
request = function()
  n = n + 1
  if n >= {count} then return wrk.format("GET", "/v2/") end
  local body = [==[{head}]==] .. n .. [==[{rest}]==]
  return wrk.format("PUT", string.format("/v2/{repository}/manifests/t%07d", n), {{["Content-Type"] = "{ht.OCI_MANIFEST}"}}, body)
end
'''


@contextlib.contextmanager
def unsynced(folder, root=None):
    """A server that syncs nothing, collects nothing, and is stopped at the end: it makes data, no figures."""
    server = ht.Server(folder, config=IDLE, root=root)
    server.config_file.write_text(json.dumps(server.config))
    server.process = subprocess.Popen(['eatmydata', str(ht.BINARY), 'serve', str(server.config_file)], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)
    try:
        server.wait_ready()
        yield server
        server.stop()
    finally:
        server.stop(signal.SIGKILL)


def made_set(count, folder):
    """A data folder with one repository of so many tags and another of a hundred; made once, then copied by nobody."""
    place = SETS / str(count)
    if place.exists():
        return place
    part = SETS / f'{count}.part'
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    print(f'making a set of {count} manifests in {place}', file=sys.stderr, flush=True)
    with unsynced(folder / f'make-{count}', root=part) as server:
        for repository, tags in ((SMALL, PAGE), (LARGE, count)):
            for blob in (b'{}', b'a layer'):
                server.push_blob(repository, blob)
            script = folder / 'put.lua'
            script.write_text(put_script(repository, tags))
            subprocess.run(['wrk', '-t1', '-c16', f'-d{SET_SECONDS}s', '--timeout', '60s', '-s', str(script), f'http://127.0.0.1:{server.port}/'],
                           capture_output=True, text=True, check=True)
            last = server.request('GET', f'/v2/{repository}/manifests/{tag(tags - 1)}')
            if last.status != 200:
                raise SystemExit(f'the set was not made: {last.status} {last.body[:200]}')
    subprocess.run(['sync', '-f', str(part)], check=True)
    part.rename(place)
    return place


def started(root, folder, config, name='scale'):
    """(the server, seconds until it was ready)"""
    begun = time.monotonic()
    peer = servers.start_hansa(folder, name, root=root, **config)
    return peer, time.monotonic() - begun


def start_up(counts, folder):
    rows = []
    for count in counts:
        root, seconds = made_set(count, folder), []
        for number in range(ROUNDS):
            peer, taken = started(root, folder, IDLE, f'start-{count}-{number}')
            peer.stop()
            seconds.append(taken)
        rows.append((f'ready with {count:,} manifests, s', f'{statistics.median(seconds):.2f}', '1' if count == max(counts) else ''))
    return rows


def with_many(count, folder):
    """Pages, pushes and memory of a server that holds the set."""
    peer, _ = started(made_set(count, folder), folder, IDLE, 'many')
    try:
        pages = {name: [] for name in (SMALL, LARGE)}
        for _ in range(ROUNDS):
            for name in pages:
                last = '' if name == SMALL else f'&last={tag(count // 2)}'
                pages[name].append(loads.wrk(peer, f'/v2/{name}/tags/list?n={PAGE}{last}', SECONDS)['cpu'])
        pushes = {'bulk/empty': [], LARGE: []}
        for number in range(ROUNDS):
            for name in pushes:
                pushes[name].append(push_manifests(peer, name, number))
        reading = random_reads(peer, count)
        memory = peak(peer)
    finally:
        peer.stop()
    small, large = statistics.median(pages[SMALL]), statistics.median(pages[LARGE])
    empty, full = ({key: statistics.median(value[key] for value in pushes[name]) for key in ('cpu', 'wall')} for name in pushes)
    return [(f'a page of {PAGE} tags of {PAGE}, of {count:,}: CPU µs', f'{small:.1f}, {large:.1f}: {large / small:.2f}x', '1.5x'),
            (f'push of a manifest into an empty repository, into {count:,} tags: CPU ms',
             f'{empty["cpu"]:.2f}, {full["cpu"]:.2f}: {full["cpu"] / empty["cpu"]:.2f}x', '1.2x'),
            ('the same, time a push takes, ms', f'{empty["wall"]:.2f}, {full["wall"]:.2f}: {full["wall"] / empty["wall"]:.2f}x', ''),
            (f'GET of any of {count:,} tags at random, CPU µs', f'{reading:.1f}', ''),
            ('most memory in all of that, MiB', f'{memory:.0f}', '200')]


def push_manifests(peer, repository, number):
    config, layer = b'{}', b'a layer'
    session = peer.session()
    for blob in (config, layer):
        peer.push(repository, blob, session)
    bodies = [loads.manifest(config, [layer], annotations={'fresh': f'{time.time_ns()} {number} {i}'}) for i in range(PUSHES)]
    before, start = peer.cpu(), time.monotonic()
    for i, body in enumerate(bodies):
        peer.push_manifest(repository, f'fresh-{number}-{i}', body, session)
    wall = time.monotonic() - start
    session.close()
    return {'cpu': (peer.cpu() - before) / PUSHES * 1e3, 'wall': wall / PUSHES * 1e3}


def random_reads(peer, count):
    script = f'''math.randomseed(7)
request = function()
  return wrk.format("GET", string.format("/v2/{LARGE}/manifests/t%07d", math.random(0, {count - 1})))
end
'''
    return loads.wrk(peer, '/', SECONDS * 3, script)['cpu']


def peak(peer):
    status = pathlib.Path(f'/proc/{peer.process.pid}/status').read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith('VmHWM'))) / 1024


def push_orphans(port, name, begin, end):
    session = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
    for number in range(begin, end):
        loads.post_blob(session, 'orphans/app', f'orphan {name} {number}'.encode())


def collection(folder):
    """CPU seconds that the server takes from the last push of so many blobs that nothing names until all are gone."""
    cost = []
    for count in ORPHANS:
        place = folder / f'orphans-{count}'
        place.mkdir()
        with unsynced(place) as server:
            cores = os.cpu_count() or 1
            step = math.ceil(count / cores)
            pushers = [multiprocessing.Process(target=push_orphans, args=(server.port, str(i), 0, min(step, count - i * step)))
                       for i in range(cores)]
            for pusher in pushers:
                pusher.start()
            for pusher in pushers:
                pusher.join()
            if any(pusher.exitcode for pusher in pushers):
                raise SystemExit('not all orphans were taken')
        peer, _ = started(server.root, place, COLLECTING, 'collect')
        try:
            before, begun = peer.cpu(), time.monotonic()
            while blobs_left(server.root):
                if time.monotonic() - begun > ORPHAN_SECONDS:
                    raise SystemExit(f'{blobs_left(server.root)} of {count} orphans are still there after {ORPHAN_SECONDS} s')
                time.sleep(1)
            cost.append(peer.cpu() - before)
        finally:
            peer.stop()
            shutil.rmtree(place, ignore_errors=True)
    exponent = math.log(cost[1] / cost[0]) / math.log(ORPHANS[1] / ORPHANS[0])
    shown = ', '.join(f'{cpu:.2f}' for cpu in cost)
    return [(f'collection of {ORPHANS[0]:,} and {ORPHANS[1]:,} blobs that nothing names, CPU s', f'{shown}: exponent {exponent:.2f}', '1.1')]


def blobs_left(root):
    return sum(not name.endswith('.crc') for _, _, names in os.walk(root / 'blobs') for name in names)


def table(folder, counts):
    rows = start_up(counts, folder)
    print('\n'.join(' | '.join(row) for row in rows), flush=True)
    more = with_many(max(counts), folder)
    print('\n'.join(' | '.join(row) for row in more), flush=True)
    rows += more + collection(folder)
    text = f'''{HEADING}

`./dev bench scale`: one node beside itself; medians of {ROUNDS} rounds.

| what | figure | bar |
|---|---|---|
'''
    return text + ''.join(f'| {what} | {figure} | {bar} |\n' for what, figure, bar in rows)


if __name__ == '__main__':
    counts = [int(text) for text in os.environ.get('HANSA_BENCH_COUNTS', '100000,1000000').split(',')]
    report.run(__doc__, HEADING, lambda folder: table(folder, counts))
