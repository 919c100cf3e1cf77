#!/usr/bin/env python3
"""The cluster page in a real browser: on every node of a cluster, on a single node, behind a login, and with what only a
made-up node says."""
import copy
import http.server
import json
import pathlib
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402
import lasting_pushes as lp  # noqa: E402
from browser import Browser  # noqa: E402

MIB = 1024 * 1024
LEASE_SECONDS = 15  # a sign of life lasts 2 s; etcd and two questions of the page come on top

# {member: [state, content]} of the table.
MEMBERS = '''return Object.fromEntries([...document.querySelectorAll('#members tbody tr')].map((row) =>
  [row.dataset.member, [row.querySelector('.cell-state .main').textContent,
                        row.querySelector('.cell-content .main').textContent]]))'''
STATE = 'return document.body.dataset.state'
# How high the lines of a chart reach, from 0 to 1; null without lines.
ALIKE = 0.05  # of two pages that draw the same: one more or less of the samples of a second
SHOWN = 0.01  # of the chart's highest point: how high a transfer is depends on how long it took
HEIGHT = '''const [chart, kind] = arguments;
const lines = [...document.querySelectorAll(`[data-chart="${chart}"] path.line.${kind}`)];
if (lines.length === 0) return null;
return Math.max(...lines.map((line) => 1 - Math.min(...line.getAttribute('d').split(/[ML]/).filter((point) => point.trim())
  .map((point) => Number(point.trim().split(' ')[1]))) / 100))'''


def setUpModule():
    PageCase.browser = Browser()
    unittest.addModuleCleanup(PageCase.browser.stop)
    PageCase.browser.start()


class PageCase(ct.TestCase):
    browser = None  # one for all tests, begun with an empty page

    def setUp(self):
        super().setUp()
        self.addCleanup(lambda: self.browser.open('about:blank'))
        self.browser.open('about:blank')
        self.browser.complaints()

    def wait_members(self, wanted, what, seconds=30):
        """Until the states of the table's members are these."""
        self.browser.wait(f'const found = (() => {{{MEMBERS}}})(); const wanted = arguments[0];'
                          'return Object.keys(found).length === Object.keys(wanted).length && Object.keys(wanted)'
                          '.every((id) => found[id] && found[id][0] === wanted[id])', wanted, what=what, seconds=seconds)

    def text(self, selector):
        return self.browser.run('return document.querySelector(arguments[0])?.innerText ?? null', selector)


class OfACluster(PageCase):
    def test_every_node_shows_all_members_what_they_move_and_a_death_without_a_reload(self):
        cluster = self.cluster()
        one, two, three = cluster.nodes
        alive = {node.id: 'alive' for node in cluster.nodes}
        first = self.browser.current()
        windows = {}
        for node in cluster.nodes:
            windows[node.number] = first if not windows else self.browser.window()
            self.browser.open(f'{node.url}/cluster')
            self.wait_members(alive, f'the page of {node.number} shows three living members')
            self.assertEqual(self.browser.run(STATE), 'live')
        self.addCleanup(self.close_others, first)

        client = ct.Node(one.url)
        self.browser.use(windows[one.number])
        client.push_image('page/app', 'v1', layers=3, layer_size=8 * MIB)
        for chart in ('total', one.id, two.id, three.id):  # the others take their copies
            self.browser.wait(f'return (() => {{{HEIGHT}}})(...arguments) > {SHOWN}', chart, 'received',
                              what=f'the chart of {chart} shows the push')
        self.browser.wait(f'return (() => {{{HEIGHT}}})(...arguments) > {SHOWN}', 'total', 'sent', what='copies were sent')
        lp.wait_full(cluster)  # nothing moves any more
        # A page that is opened only now has the last minutes at once, also of the others.
        self.browser.use(windows[two.number])
        self.browser.open(f'{two.url}/cluster')
        self.wait_members(alive, 'the page shows three living members')
        late = self.browser.run(HEIGHT, one.id, 'received')
        self.assertGreater(late, SHOWN)
        self.browser.use(windows[one.number])  # which saw it come
        self.browser.wait(f'return Math.abs((() => {{{HEIGHT}}})(...arguments) - {late}) < {ALIKE}', one.id, 'received',
                          what=f'the page that saw it come shows {late} too')
        self.browser.use(windows[two.number])
        self.assertEqual(self.browser.complaints(), [])

        cluster.kill(three.number)
        dead = {**alive, three.id: 'dead'}
        for node in (one, two):
            self.browser.use(windows[node.number])
            self.wait_members(dead, f'the page of {node.number} shows the death', LEASE_SECONDS)
            self.assertIn(f'member {three.id} is dead', self.text('#degraded'))
            self.assertEqual(self.text('#tile-members dd'), '2 of 3 alive')
        self.browser.use(windows[three.number])
        self.browser.wait('return document.body.dataset.state === "stale"', what='the dead node’s own page says so')
        self.assertIn('does not answer', self.text('#connection'))
        self.assertEqual(len(self.browser.run(MEMBERS)), 3, 'what was known stays, marked as old')

    def close_others(self, first):
        base = f'/session/{self.browser.session}/window'
        for handle in self.browser.call('GET', f'{base}/handles'):
            if handle != first:
                self.browser.use(handle)
                self.browser.call('DELETE', base)
        self.browser.use(first)


class OfASingleNode(PageCase):
    def test_it_shows_itself(self):
        server = self.server()
        server.push_blob('page/app', b'x' * 6 * MIB)
        self.browser.open(f'http://127.0.0.1:{server.port}/cluster')
        self.browser.wait('return document.querySelectorAll("#members tbody tr").length === 1', what='one member')
        member, (state, content) = next(iter(self.browser.run(MEMBERS).items()))
        self.assertEqual((state, content), ('alive', 'complete'))
        self.assertEqual(self.text('#title'), 'Single node')
        self.assertTrue(self.browser.run('return document.getElementById("alarms").hidden'))
        self.assertRegex(self.text('.cell-disk'), r'\d+ % used')
        self.browser.wait(f'return (() => {{{HEIGHT}}})(...arguments) > {SHOWN}', member, 'received', what='it took a push')
        self.assertEqual(self.browser.complaints(), [])

    def test_where_a_login_is_needed_the_page_asks_for_it(self):
        server = self.server(users={'alice': 'secret'})
        for path in ('/cluster', '/cluster/page.js', '/v2/_hansa/cluster'):
            answer = server.request('GET', path)
            self.assertEqual(answer.status, 401, path)
            self.assertRegex(answer.headers['WWW-Authenticate'], '^Basic realm=')
        self.browser.open(f'http://127.0.0.1:{server.port}/cluster')
        self.assertIsNone(self.text('#members'), 'nothing is shown before')
        self.browser.open(f'http://alice:secret@127.0.0.1:{server.port}/cluster')
        self.browser.wait('return document.querySelectorAll("#members tbody tr").length === 1', what='one member')
        self.assertEqual(self.browser.run(STATE), 'live')
        # The password is changed while the page is open.
        ht.htpasswd(server.folder / 'htpasswd', {'alice': 'another'})
        self.browser.wait('return document.body.dataset.state === "login"', what='the page says that a login is needed')
        self.assertIn('log in', self.text('#connection'))


class SaysAnything(http.server.BaseHTTPRequestHandler):
    """The page's files from a real node, the data from the test."""
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path.startswith('/cluster'):
            real = self.server.real.request('GET', self.path)
            status, headers, body = real.status, dict(real.headers), real.body
        else:
            status, headers, body = self.server.says
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ('content-length', 'date', 'connection', 'server'):
                self.send_header(name, value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class OfAMadeUpNode(PageCase):
    """What a real cluster does not show at will."""

    def setUp(self):
        super().setUp()
        real = self.server()
        self.node = http.server.ThreadingHTTPServer(('127.0.0.1', 0), SaysAnything)
        self.node.daemon_threads, self.node.real = True, real
        self.status = json.loads(real.request('GET', '/v2/_hansa/cluster').body)
        self.say(self.status)
        threading.Thread(target=self.node.serve_forever, daemon=True).start()
        self.addCleanup(self.node.server_close)
        self.addCleanup(self.node.shutdown)

    def say(self, body, status=200):
        self.node.says = (status, {'Content-Type': 'application/json'}, body)

    def members(self, count):
        """A cluster of so many members that are well."""
        status = copy.deepcopy(self.status)
        one = {**status['members'][0], 'alive': True, 'holds': {'layout': 1, 'revision': 1, 'left_out': 0,
                                                                'left_out_digests': [], 'full': True}}
        status['members'] = [{**copy.deepcopy(one), 'id': f'n{i}', 'url': f'http://n{i}.example:5000'}
                             for i in range(1, count + 1)]
        status.update(self='n1', cluster='c', metadata={'reachable': True, 'version': '3.6.9'})
        return status

    def open(self):
        self.browser.open(f'http://127.0.0.1:{self.node.server_port}/cluster')
        self.browser.wait('return document.body.dataset.state !== undefined && document.body.dataset.state !== "connecting"',
                          what='the page has an answer')

    def test_who_lacks_what_and_how_long_the_repair_takes(self):
        status = self.members(3)
        digests = [f'sha256:{i:064x}' for i in range(20)]
        status['members'][1]['holds'].update(left_out=31, left_out_digests=digests)
        status['members'][2]['holds']['full'] = False
        status['members'][2]['repair'] = {'owed': 412, 'owed_bytes': 3 * 10**9, 'fetched_bytes': 10**9, 'seconds_left': 200}
        status['drift'] = [{'rule': 'storage.gcDelay', 'groups': [['n1', 'n2'], ['n3']]}]
        self.say(status)
        self.open()
        lacks = self.text('#lacks')
        self.assertIn('n1 complete', lacks)
        self.assertIn('n2 lacks 31 blobs', lacks)
        self.assertIn('the first 20 of 31 digests', lacks)
        self.assertIn('n3 412 blobs missing (3.0 GB), 1.0 GB fetched since its start, about 3 min left', lacks)
        self.assertEqual(self.browser.run('return [...document.querySelectorAll(".digest")].map((d) => d.textContent)'), digests)
        self.assertEqual(self.browser.run('return document.querySelectorAll("#lacks progress")[2].value'), 0.25)
        self.assertIn('storage.gcDelay: n1, n2 | n3', self.text('#drift'))
        # What is open stays open when the next answer comes.
        self.browser.run('document.querySelectorAll("#lacks details")[1].open = true')
        status['members'][2].update(repair={'owed': 0}, holds=status['members'][0]['holds'])
        self.say(status)
        self.browser.wait('return document.getElementById("lacks").innerText.includes("n3 complete")', what='n3 is filled')
        self.assertTrue(self.browser.run('return document.querySelectorAll("#lacks details")[1].open'))

    def test_names_that_are_markup_or_scripts_stay_text(self):
        status = self.members(2)
        evil = '<img src=x onerror="document.title=1"><script>window.owned = 1</script>'
        status['members'][1].update(id=evil, version=evil, role=evil, url='javascript:window.owned = 1', may_stop=False,
                                    may_stop_reason=evil, holds={'full': True, 'left_out': 1, 'left_out_digests': [evil]})
        status['degraded'] = [evil]
        status['voters'] = {'members': [{'node': evil, 'member': evil}]}
        status['history'] = {'step_seconds': 5, 'members': [{'id': evil, 'sent': [1], 'received': [None]}]}
        self.say(status)
        self.open()
        self.assertEqual(self.browser.run(STATE), 'live')
        self.assertEqual(self.text('#degraded li'), evil)
        self.assertEqual(self.browser.run('return document.querySelectorAll("main img, main script").length'), 0)
        self.assertEqual(self.browser.run('return [...document.querySelectorAll("main a[href]")].map((a) => a.href)'), [])
        self.assertIsNone(self.browser.run('return window.owned ?? null'))

    def test_old_data_is_marked_until_the_node_answers_again(self):
        self.open()
        self.assertEqual(self.browser.run(STATE), 'live')
        self.say(b'it broke', 500)
        self.browser.wait('return document.body.dataset.state === "stale"', what='the page says that its data is old')
        self.assertIn('status 500', self.text('#connection'))
        self.say({'members': 'none'})
        self.browser.wait('return document.getElementById("connection").innerText.includes("does not understand")',
                          what='the page says that it does not understand')
        self.assertEqual(len(self.browser.run(MEMBERS)), 1)
        self.say(self.status)
        self.browser.wait('return document.body.dataset.state === "live"', what='it is live again')
        self.assertTrue(self.browser.run('return document.getElementById("connection").hidden'))


if __name__ == '__main__':
    ct.main()
