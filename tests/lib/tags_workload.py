#!/usr/bin/env python3
"""Many writers move tags through many nodes, while nodes and etcds are hurt; a journal of every answer is kept and judged.

Sixteen writers put distinct manifests to the same tags, tags of their own, equal manifests to the same tags, and delete;
readers pull by tag. Every request goes to a random node. At the end every tag is read through every node. The verdict:
each tag's history is linearizable (tests/lib/linearizability.py), no acknowledged write is lost, and writes went on
within RESUME_BAR of every fault. Answers that carry a Warning promise nothing about freshness; they are only counted.
"""
import dataclasses
import json
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402
import linearizability as lin  # noqa: E402

WRITERS, READERS = 16, 4
REPOSITORIES = ['team/app', 'team/lib', 'other']
RESUME_BAR = 5.0  # seconds, the 99th percentile over faults and nodes that still run
REQUEST_SECONDS = 6.0  # a client's patience; what got no answer by then is unknown
READ_PAUSE = 0.002  # between two reads of a reader: writes are what is measured
EQUAL_SPAN = 40  # operations on one tag of equal manifests, then the next: keeps their search small

EMPTY = b'{}'


@dataclasses.dataclass
class Fault:
    """Something done to the cluster: `hurt` returns the urls of nodes that cannot answer until `heal`."""
    name: str
    hurt: callable
    heal: callable
    seconds: float = 2.5


@dataclasses.dataclass
class Report:
    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    reads: int = 0
    stale: int = 0
    unanswered_reads: int = 0
    seconds: float = 0.0
    illegal: dict = dataclasses.field(default_factory=dict)
    lost: list = dataclasses.field(default_factory=list)
    resumed: list = dataclasses.field(default_factory=list)  # (seconds, fault, node)
    failures: list = dataclasses.field(default_factory=list)

    def resume_p99(self):
        times = sorted(seconds for seconds, _, _ in self.resumed)
        return times[min(len(times) - 1, int(len(times) * 0.99))] if times else 0.0

    def text(self):
        lines = [f'{self.acknowledged} writes acknowledged in {self.seconds:.1f} s '
                 f'({self.acknowledged / max(self.seconds, 0.001):.0f}/s), {self.refused} refused, {self.unknown} unknown; '
                 f'{self.reads} reads, {self.stale} of them marked stale, {self.unanswered_reads} unanswered; '
                 f'{len(self.lost)} lost, {len(self.illegal)} tags with an illegal history']
        if self.resumed:
            lines.append(f'writes resumed after {len({f for _, f, _ in self.resumed})} faults within '
                         f'{self.resume_p99():.2f} s (p99); slowest: {max(self.resumed)[0]:.2f} s '
                         f'after {max(self.resumed)[1]} through {max(self.resumed)[2]}')
        lines += self.failures[:10] + [f'lost: {text}' for text in self.lost[:10]]
        lines += [f'{tag}: {verdict}' for tag, verdict in list(self.illegal.items())[:5]]
        return '\n'.join(lines)

    def is_good(self):
        return not (self.illegal or self.lost or self.failures) and self.resume_p99() <= RESUME_BAR


class Journal:
    """Every operation by tag, every acknowledged write by time and node."""

    def __init__(self):
        self.mutex = threading.Lock()
        self.histories, self.acknowledged_at = {}, []
        self.report = Report()

    def add(self, tag, kind, value, call, end, who, url=None):
        operation = lin.Operation(kind, value, call, end, who)
        with self.mutex:
            self.histories.setdefault(tag, []).append(operation)
            if kind == lin.GET:
                self.report.reads += 1
            elif end == lin.UNKNOWN:
                self.report.unknown += 1
            else:
                self.report.acknowledged += 1
                self.acknowledged_at.append((end, call, url))

    def count(self, name):
        with self.mutex:
            setattr(self.report, name, getattr(self.report, name) + 1)

    def fail(self, text):
        with self.mutex:
            self.report.failures.append(text)


class Workload:
    def __init__(self, urls, writes, faults=(), seed='1', pause=0.0, read_pause=READ_PAUSE, patience=60.0):
        self.urls, self.writes, self.faults, self.seed, self.pause = urls, writes, list(faults), seed, pause
        self.read_pause, self.patience = read_pause, patience  # seconds
        self.journal, self.stop_readers = Journal(), threading.Event()
        self.equal_operations, self.faults_done = 0, threading.Event()

    def run(self):
        """Returns the report. Raises only what is wrong with the test itself."""
        for url in self.urls:  # through a cluster the second one finds them; stand-alone servers need their own
            client = ct.Node(url, 60.0)
            for repository in REPOSITORIES:
                client.push_blob(repository, EMPTY)
            client.close()
        start = time.monotonic()
        threads = [threading.Thread(target=self.guard, args=(self.write, n)) for n in range(WRITERS)]
        readers = [threading.Thread(target=self.guard, args=(self.read, n)) for n in range(READERS)]
        hurting = threading.Thread(target=self.guard, args=(self.hurt, 0))
        for thread in [*threads, *readers, hurting]:
            thread.start()
        for thread in [hurting, *threads]:
            thread.join()
        self.stop_readers.set()
        for thread in readers:
            thread.join()
        self.journal.report.seconds = time.monotonic() - start
        self.read_everything()
        return self.judge()

    def guard(self, function, number):
        try:
            function(number)
        except Exception as error:  # a thread's failure must fail the run
            self.journal.fail(f'{function.__name__} {number}: {type(error).__name__}: {error}')

    # --- clients ---

    def write(self, number):
        source = random.Random(f'{self.seed} writer {number}')
        nodes = [ct.Node(url, REQUEST_SECONDS) for url in self.urls]
        serial = 0
        while self.journal.report.acknowledged < self.writes or not self.faults_done.is_set():
            serial += 1
            node = source.choice(nodes)
            repository, kind = source.choice(REPOSITORIES), source.random()
            if kind < 0.5:
                self.put(node, repository, f'shared-{source.randrange(6)}', f'{number} {serial}', number)
            elif kind < 0.9:
                self.put(node, repository, f'own-{number}-{serial}', f'{number} {serial}', number)
            else:
                self.equal(node, repository, source, number)
            if self.pause:
                time.sleep(self.pause)
        for node in nodes:
            node.close()

    def equal(self, node, repository, source, number):
        """The same few manifests to the same tag, and deletes."""
        with self.journal.mutex:
            self.equal_operations += 1
            tag = f'equal-{self.equal_operations // EQUAL_SPAN}'
        if source.random() < 0.7:
            self.put(node, repository, tag, f'equal {source.randrange(3)}', number)
        else:
            self.delete(node, repository, tag, number)

    def put(self, node, repository, tag, content, number):
        body = json.dumps(ct.manifest_of(EMPTY, [EMPTY], annotations={'content': content})).encode()
        who, call = f'writer {number} at {node.url}', time.monotonic()
        try:
            answer = node.request('PUT', f'/v2/{repository}/manifests/{tag}', body, {'Content-Type': ht.OCI_MANIFEST})
        except ct.NO_ANSWER as error:
            return self.unanswered(node, error, repository, tag, lin.PUT, ht.sha256(body), call, who)
        end = time.monotonic()
        if answer.status == 201:
            self.journal.add((repository, tag), lin.PUT, ht.sha256(body), call, end, who, node.url)
        else:
            self.not_done(answer, repository, tag, lin.PUT, ht.sha256(body), call, who)

    def delete(self, node, repository, tag, number):
        who, call = f'writer {number} at {node.url}', time.monotonic()
        try:
            answer = node.request('DELETE', f'/v2/{repository}/manifests/{tag}')
        except ct.NO_ANSWER as error:
            return self.unanswered(node, error, repository, tag, lin.DELETE, lin.ABSENT, call, who)
        end = time.monotonic()
        if answer.status == 202:
            self.journal.add((repository, tag), lin.DELETE, lin.ABSENT, call, end, who, node.url)
        elif answer.status == 404:
            self.journal.add((repository, tag), lin.GET, lin.ABSENT, call, end, who)
        else:
            self.not_done(answer, repository, tag, lin.DELETE, lin.ABSENT, call, who)

    def unanswered(self, node, error, repository, tag, kind, value, call, who):
        if node.sent:
            self.journal.add((repository, tag), kind, value, call, lin.UNKNOWN, f'{who} ({error})')
        else:
            self.journal.count('refused')
            time.sleep(0.02)  # nobody listens there; do not spin

    def not_done(self, answer, repository, tag, kind, value, call, who):
        """A 5xx may have happened; anything else but 429 must not be said to these requests at all."""
        if answer.status >= 500:
            self.journal.add((repository, tag), kind, value, call, lin.UNKNOWN, f'{who} ({answer.status})')
        elif answer.status == 429:
            self.journal.count('refused')
        else:
            self.journal.fail(f'{kind} {repository}:{tag} got {answer.status}: {answer.body[:300]}')

    def read(self, number):
        source = random.Random(f'{self.seed} reader {number}')
        nodes = [ct.Node(url, REQUEST_SECONDS) for url in self.urls]
        while not self.stop_readers.is_set():
            time.sleep(self.read_pause)
            with self.journal.mutex:
                equal, recent = self.equal_operations // EQUAL_SPAN, self.journal.acknowledged_at[-1:]
            tag = source.choice([f'shared-{source.randrange(6)}', f'shared-{source.randrange(6)}', f'equal-{equal}'])
            if recent:
                self.get(source.choice(nodes), source.choice(REPOSITORIES), tag, f'reader {number}')
        for node in nodes:
            node.close()

    def get(self, node, repository, tag, who):
        call = time.monotonic()
        try:
            answer = node.request('GET', f'/v2/{repository}/manifests/{tag}', None, {'Accept': ht.OCI_MANIFEST})
        except ct.NO_ANSWER:
            self.journal.count('unanswered_reads')
            return False
        end = time.monotonic()
        if answer.headers.get('Warning'):
            self.journal.count('stale')
            return False
        if answer.status == 404:
            self.journal.add((repository, tag), lin.GET, lin.ABSENT, call, end, f'{who} at {node.url}')
            return True
        if answer.status != 200:
            self.journal.count('unanswered_reads')
            if answer.status < 500 and answer.status != 429:
                self.journal.fail(f'GET {repository}:{tag} got {answer.status}: {answer.body[:300]}')
            return False
        digest = ht.sha256(answer.body)
        if digest != answer.headers['Docker-Content-Digest']:
            self.journal.fail(f'{node.url} serves other bytes than {answer.headers["Docker-Content-Digest"]}')
        self.journal.add((repository, tag), lin.GET, digest, call, end, f'{who} at {node.url}')
        return True

    # --- faults ---

    def hurt(self, _):
        """One fault after the other; after each, how long until a write went through every node that still runs."""
        try:
            for fault in self.faults:
                self.wait_writes(time.monotonic(), self.urls, None)
                silent = fault.hurt()
                moment = time.monotonic()
                running = [url for url in self.urls if url not in silent]
                self.wait_writes(moment, running, fault)
                time.sleep(max(0.0, moment + fault.seconds - time.monotonic()))
                fault.heal()
            self.wait_writes(time.monotonic(), self.urls, None)
        finally:
            self.faults_done.set()

    def wait_writes(self, moment, urls, fault):
        """Waits until each node acknowledged a write that began after the moment."""
        waiting, at = set(urls), 0
        end = moment + self.patience
        while waiting:
            if time.monotonic() > end:
                raise AssertionError(f'no write through {sorted(waiting)} within {self.patience:.0f} s after '
                                     f'{fault.name if fault else "the last fault was healed"}')
            time.sleep(0.01)
            with self.journal.mutex:
                new, at = self.journal.acknowledged_at[at:], len(self.journal.acknowledged_at)
            for done, call, url in new:
                if call >= moment and url in waiting:
                    waiting.discard(url)
                    if fault:
                        self.journal.report.resumed.append((done - moment, fault.name, url))

    # --- the end ---

    def read_everything(self):
        """Every tag through every node: what was acknowledged must be there."""
        tags = sorted(self.journal.histories)

        def through(url):
            node = ct.Node(url, 30.0)
            for repository, tag in tags:
                if not any(self.get(node, repository, tag, 'last look') for _ in range(20)):
                    self.journal.fail(f'{url} does not answer for {repository}:{tag}')
            node.close()
        threads = [threading.Thread(target=through, args=(url,)) for url in self.urls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def judge(self):
        report = self.journal.report
        report.illegal = {f'{r}:{t}': verdict for (r, t), verdict in lin.check_all(self.journal.histories).items()}
        for (repository, tag), history in self.journal.histories.items():
            writes = [o for o in history if o.written]
            if len(writes) == 1 and writes[0].end != lin.UNKNOWN:  # written once: no order excuses its absence
                missing = [o for o in history if o.who.startswith('last look') and o.value != writes[0].value]
                report.lost += [f'{repository}:{tag}: {o}, but {writes[0]}' for o in missing[:1]]
        return report
