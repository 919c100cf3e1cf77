"""The servers that are compared: how each is started, what it serves under which path, what it costs.

Hansa runs in three ways at once (plain, with passwords and access control, with TLS), nginx plainly and with TLS.
docker-registry and, where ZOT_BIN names a binary, zot are plain.
"""
import base64
import http.client
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'tests/lib'))
import hansa_testing as ht  # noqa: E402

MIB = 1024 * 1024
USER, PASSWORD = 'bench', 'a password'
START_SECONDS = 30


def tree(pid):
    """A process and its descendants."""
    found = [pid]
    for thread in pathlib.Path(f'/proc/{pid}/task').iterdir():
        for child in (thread / 'children').read_text().split():
            found += tree(int(child))
    return found


class Peer:
    """A server under test: a process tree on a port. `pushes`: it takes blobs and manifests."""

    def __init__(self, name, port, command, pushes=True, tls=None, user=None, server=None):
        self.name, self.port, self.pushes, self.tls, self.paths, self.server = name, port, pushes, tls, {}, server
        self.fields = {}
        if user:
            self.fields['Authorization'] = 'Basic ' + base64.b64encode(f'{user}:{PASSWORD}'.encode()).decode()
        self.process = server.process if server else subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait()

    @property
    def url(self):
        return f'{"https" if self.tls else "http"}://127.0.0.1:{self.port}'

    def wait(self):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            try:
                socket.create_connection(('127.0.0.1', self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise SystemExit(f'{self.name} does not listen on port {self.port}')

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    # ---- what it costs ----

    def cpu(self):
        """Seconds of CPU so far, of all its threads; a thread that ended is missing, so servers with a fixed number."""
        total = 0
        for process in tree(self.process.pid):
            for thread in pathlib.Path(f'/proc/{process}/task').iterdir():
                try:
                    total += int((thread / 'schedstat').read_text().split()[0])
                except OSError:
                    pass
        return total / 1e9

    def resident(self):
        """Bytes of memory; pages that a parent and its children share count for each."""
        pages = sum(int(pathlib.Path(f'/proc/{p}/statm').read_text().split()[1]) for p in tree(self.process.pid))
        return pages * os.sysconf('SC_PAGE_SIZE')

    # ---- talking to it ----

    def connect(self):
        """A socket, with TLS where the server has it."""
        wire = socket.create_connection(('127.0.0.1', self.port), 60)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return ssl_context(self.tls).wrap_socket(wire, server_hostname='localhost') if self.tls else wire

    def session(self):
        """A kept connection for requests one after the other."""
        if self.tls:
            return http.client.HTTPSConnection('localhost', self.port, timeout=120, context=ssl_context(self.tls))
        return http.client.HTTPConnection('127.0.0.1', self.port, timeout=120)

    def request(self, method, path, body=None, headers=None, session=None):
        connection = session or self.session()
        connection.request(method, path, body=body, headers={**self.fields, **(headers or {})})
        answer = connection.getresponse()
        answer.body = answer.read()
        if session is None:
            connection.close()
        return answer

    def done(self, answer, *statuses):
        if answer.status not in statuses:
            raise SystemExit(f'{self.name} answered {answer.status}: {answer.body[:500]}')
        return answer

    def push(self, repository, data, session=None, chunk=None):
        """A blob: POST, then one PUT; or, with `chunk`, PATCHes of so many bytes and an empty PUT. Returns its digest."""
        begun = self.done(self.request('POST', f'/v2/{repository}/blobs/uploads/', session=session), 202)
        place = path_of(begun.headers['Location'])
        digest, rest = ht.sha256(data), data
        if chunk:
            for start in range(0, len(data), chunk):
                part = data[start:start + chunk]
                fields = {**ht.OCTETS, 'Content-Range': f'{start}-{start + len(part) - 1}'}
                place = path_of(self.done(self.request('PATCH', place, part, fields, session), 202).headers['Location'])
            rest = b''
        self.done(self.request('PUT', f'{place}{"&" if "?" in place else "?"}digest={digest}', rest, ht.OCTETS, session), 201)
        return digest

    def push_manifest(self, repository, reference, body, session=None):
        fields = {'Content-Type': ht.OCI_MANIFEST}
        self.done(self.request('PUT', f'/v2/{repository}/manifests/{reference}', body, fields, session), 201)
        return ht.sha256(body)


def path_of(location):
    return re.sub(r'^https?://[^/]+', '', location)


def ssl_context(tls):
    return ssl.create_default_context(cafile=str(tls.ca))


def start_hansa(folder, name='hansa', tls=None, user=None, **options):
    """`options` go to the configuration; `root`: an own data folder."""
    config = {'log': {'level': 'error'}, 'http': {'limits': {'connectionsPerClient': 0}}}  # all clients are one here
    if user:
        policies = [{'users': [user], 'actions': ht.ALL_ACTIONS}]
        config['http']['accessControl'] = {'repositories': {'**': {'policies': policies}}}
    root = options.pop('root', None)
    ht.merge(config, options)
    server = ht.Server(folder / name, tls=tls, users={user: PASSWORD} if user else None, config=config, root=root)
    server.start()
    return Peer(name, server.port, None, tls=tls, user=user, server=server)


def start_registry(folder):
    port = ht.free_port()
    (folder / 'registry.yml').write_text(f'''version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/registry}}, delete: {{enabled: true}}, cache: {{blobdescriptor: inmemory}}}}
http: {{addr: "127.0.0.1:{port}"}}
''')
    return Peer('docker-registry', port, ['docker-registry', 'serve', folder / 'registry.yml'])


def start_zot(folder):
    port = ht.free_port()
    config = {'distSpecVersion': '1.1.1', 'storage': {'rootDirectory': str(folder / 'zot')},
              'http': {'address': '127.0.0.1', 'port': str(port)}, 'log': {'level': 'error'}}
    (folder / 'zot.json').write_text(json.dumps(config))
    return Peer('zot', port, [os.environ['ZOT_BIN'], 'serve', folder / 'zot.json'])


def starters():
    """Each server in its plain way; zot where there is one."""
    return [start_hansa, start_nginx, start_registry, *([start_zot] if 'ZOT_BIN' in os.environ else [])]


def start_nginx(folder, name='nginx', tls=None):
    """As fast as it can be set: sendfile, kept files, no log, a worker for each core."""
    port, place = ht.free_port(), folder / name
    www = folder / 'www'
    www.mkdir(exist_ok=True)
    place.mkdir()
    secure = f'ssl_certificate {tls.cert}; ssl_certificate_key {tls.key};' if tls else ''
    (place / 'nginx.conf').write_text(f'''worker_processes {os.cpu_count()}; pid {place}/pid; daemon off; error_log /dev/null;
user root; worker_rlimit_nofile 65536;
events {{ worker_connections 16384; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000; keepalive_timeout 600s;
  open_file_cache max=1000 inactive=600s;
  client_body_temp_path {place}/body; proxy_temp_path {place}/p; fastcgi_temp_path {place}/f;
  uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
  server {{ listen 127.0.0.1:{port} reuseport {'ssl' if tls else ''}; {secure} root {www}; }} }}
''')
    return Peer(name, port, ['nginx', '-c', place / 'nginx.conf'], pushes=False, tls=tls)
