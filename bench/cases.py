"""The cases of one node: what is done to which servers, and the ratio that is promised for each.

A case names the way in which Hansa runs ('hansa', 'hansa+rights', 'hansa+tls') and what it is compared with. The ratio
is Hansa's CPU per unit of work by the other's.
"""
import dataclasses
import json
import random
from typing import Callable

import loads
import peers as servers
from loads import MIB

import hansa_testing as ht

BLOBS = {'1 MiB': MIB, '10 MiB': 10 * MIB, '100 MiB': 100 * MIB}
PART = 256 * 1024
TAGS = 100
REPOSITORIES = 50
CHUNK = 5 * MIB
MOUNTED = 20


@dataclasses.dataclass
class Case:
    name: str
    unit: str  # of the CPU figure
    wall_unit: str
    load: Callable  # (peer, round) -> {'cpu', 'wall'}
    hansa: str = 'hansa'
    others: dict = dataclasses.field(default_factory=dict)  # column: peer
    bars: dict = dataclasses.field(default_factory=dict)    # column: the most that the ratio may be
    wall_bars: dict = dataclasses.field(default_factory=dict)


def start(folder):
    """All servers, filled with the same image and blobs."""
    tls = ht.Certificates(folder / 'certificates')
    started = []
    try:
        for plain in servers.starters():
            started.append(plain(folder))
        started.append(servers.start_hansa(folder, 'hansa+rights', user=servers.USER))
        started.append(servers.start_hansa(folder, 'hansa+tls', tls=tls))
        started.append(servers.start_nginx(folder, 'nginx+tls', tls=tls))
        fill(started, folder)
    except BaseException:
        for peer in started:
            peer.stop()
        raise
    return {peer.name: peer for peer in started}


def fill(started, folder):
    source = random.Random(7)
    blobs = {name: source.randbytes(size) for name, size in BLOBS.items()}
    config, layer = b'{"architecture":"amd64","os":"linux"}', source.randbytes(5000)
    body = loads.manifest(config, [layer], annotations={'filler': 'x' * 600})
    tags = [f'v{number:03}' for number in range(TAGS)]
    small = fresh_small(source)
    for peer in started:
        peer.mountable = [ht.sha256(blob) for blob in small]
        if not peer.pushes:
            continue
        session = peer.session()
        for blob in (config, layer, *small, *blobs.values()):
            peer.push('bench/app', blob, session)
        for tag in tags:
            peer.push_manifest('bench/app', tag, body, session)
        for number in range(REPOSITORIES):
            for blob in (config, layer):
                peer.push(f'many/r{number:03}', blob, session)
            peer.push_manifest(f'many/r{number:03}', 'v1', body, session)
        session.close()
        repository = '/v2/bench/app'
        peer.paths = {'ping': '/v2/', 'by tag': f'{repository}/manifests/v001',
                      'by digest': f'{repository}/manifests/{ht.sha256(body)}',
                      'tags': f'{repository}/tags/list?n={TAGS}', 'catalogue': f'/v2/_catalog?n={REPOSITORIES}',
                      **{name: f'{repository}/blobs/{ht.sha256(data)}' for name, data in blobs.items()}}
        peer.body = body
    serve_files(started, folder, blobs, body, tags)


def fresh_small(source):
    return [source.randbytes(2000) for _ in range(MOUNTED)]


def serve_files(started, folder, blobs, body, tags):
    """What nginx serves: the bytes of the same answers."""
    repositories = ['bench/app', *(f'many/r{number:03}' for number in range(REPOSITORIES))][:REPOSITORIES]
    files = {'ping': b'{}', 'manifest': body, 'tags': json.dumps({'name': 'bench/app', 'tags': tags}).encode(),
             'catalogue': json.dumps({'repositories': repositories}).encode(),
             **{name.replace(' ', ''): data for name, data in blobs.items()}}
    for name, data in files.items():
        (folder / 'www' / name).write_bytes(data)
    for peer in started:
        if not peer.pushes:
            peer.paths = {'ping': '/ping', 'by tag': '/manifest', 'by digest': '/manifest', 'tags': '/tags',
                          'catalogue': '/catalogue', **{name: '/' + name.replace(' ', '') for name in blobs}}


def cases(seconds, quick=False):
    """`seconds` of each closed loop."""
    nginx, registry, zot = {'nginx': 'nginx'}, {'docker-registry': 'docker-registry'}, {'zot': 'zot'}
    pushers, everyone = {**registry, **zot}, {**nginx, **registry, **zot}
    micro = {'unit': 'µs', 'wall_unit': 'requests/s'}
    bulk = {'unit': 's/GB', 'wall_unit': 'MB/s'}
    out = []

    def small(name, resource, bar, **more):
        more = {'others': everyone, **more}
        out.append(Case(name, load=lambda peer, _: loads.wrk(peer, peer.paths[resource], seconds),
                        bars={'nginx': bar} if bar else {}, **micro, **more))
    small('GET /v2/', 'ping', 2)
    small('GET manifest by tag', 'by tag', 1.5)
    small('GET manifest by digest', 'by digest', 1.5)
    small('GET manifest by tag, with passwords and access control', 'by tag', 2.5, hansa='hansa+rights', others=nginx)
    out.append(Case('HEAD manifest by tag', load=lambda peer, _: loads.heads(peer, peer.paths['by tag'], seconds),
                    others=everyone, **micro))
    small(f'tags, a page of {TAGS}', 'tags', 2)
    small(f'catalogue, a page of {REPOSITORIES}', 'catalogue', None)
    small('GET manifest by tag, TLS', 'by tag', None, hansa='hansa+tls', others={'nginx': 'nginx+tls'})
    blobs = dict(list(BLOBS.items())[:2]) if quick else BLOBS
    for size, count in blobs.items():
        out.append(Case(f'GET blob {size}', load=lambda peer, _, r=size, c=count: loads.download(peer, peer.paths[r], c),
                        others=everyone, bars={'nginx': 1.1}, **bulk))
    out.append(Case('GET blob 10 MiB in parts of 256 KiB',
                    load=lambda peer, _: loads.download(peer, peer.paths['10 MiB'], 10 * MIB, PART), others=everyone, **bulk))
    for size, count in blobs.items():
        out.append(Case(f'GET blob {size}, TLS', load=lambda peer, _, r=size, c=count: loads.download(peer, peer.paths[r], c),
                        hansa='hansa+tls', others={'nginx': 'nginx+tls'}, bars={'nginx': 1.2}, **bulk))
    for index, (size, count) in enumerate(blobs.items()):
        bars = {'docker-registry': 0.25, 'zot': 0.4} if count > MIB else {}
        for kind, chunk in (('', None), (', in chunks of 5 MiB', CHUNK)):
            if chunk and count <= chunk:
                continue
            out.append(Case(f'push blob {size}{kind}', others=pushers, bars={} if chunk else bars, **bulk,
                            load=lambda peer, n, c=count, k=chunk, i=index: loads.upload(peer, c, f'{i}-{n}-{bool(k):d}', k)))
    out.append(Case('push an image of 10 small layers', 'ms', 'ms', lambda peer, n: loads.push_images(peer, n), others=pushers,
                    bars={'docker-registry': 1 / 8, 'zot': 1 / 3}, wall_bars={'zot': 2}))
    out.append(Case('cross-mount of a blob', load=lambda peer, n: loads.mounts(peer, n, peer.mountable), others=pushers,
                    unit='µs', wall_unit='mounts/s'))
    out.append(Case('9 manifests by tag to 1 push of one', load=lambda peer, _: mixed(peer, seconds), others=pushers, **micro))
    return out


def mixed(peer, seconds):
    path = peer.paths['by tag'].rsplit('/', 1)[0]
    head, rest = peer.body.decode().split('"filler": "', 1)
    script = f'''local n = 0
request = function()
  n = n + 1
  if n % 10 == 0 then
    local body = [==[{head}"number": "]==] .. os.time() .. "-" .. n .. [==[", "filler": "{rest}]==]
    return wrk.format("PUT", "{path}/m" .. (n / 10 % 1000), {{["Content-Type"] = "{ht.OCI_MANIFEST}"}}, body)
  end
  return wrk.format("GET", "{path}/v001", {{["Accept"] = "{ht.OCI_MANIFEST}"}})
end
'''
    return loads.wrk(peer, path, seconds, script)
