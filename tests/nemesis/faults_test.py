#!/usr/bin/env python3
"""The nemesis: three real nodes with etcd, each in a network namespace with a disk of its own, hurt one after the other in
every way that is listed in nemesis_faults.py, while writers move tags and pushers push images. A journal outside keeps what
was acknowledged. Every tag's history must be linearizable, for the project's own checker and for Porcupine, and every
acknowledged image whole through every node in the end. Needs root (namespaces, nft, tc, tmpfs).

HANSA_FAULTS: faults (3; 20 with HANSA_FULL; `./dev nemesis --faults N`). HANSA_NEMESIS_JSON: a file for the figures.
HANSA_FAULT_KINDS: only these, separated by commas. HANSA_SEED: another course of events.
"""
import dataclasses
import json
import os
import pathlib
import random
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402
import lasting_pushes as lp  # noqa: E402
import porcupine  # noqa: E402
import tags_workload as tags  # noqa: E402
from nemesis_faults import Nemesis, NemesisCluster  # noqa: E402
from net_cluster import CLIENT, Network, problem  # noqa: E402

NODES = 3
FAULTS = int(os.environ.get('HANSA_FAULTS') or (20 if ct.FULL else 3))
KINDS = [kind for kind in os.environ.get('HANSA_FAULT_KINDS', '').split(',') if kind]
SEED = os.environ.get('HANSA_SEED', '1')
# Seconds of a client between two requests: the load is steady for hours. In a long run writers and pushers are slower:
# what they push stays, and a new disk gets all of it again.
READ_PAUSE, WRITE_PAUSE, PUSH_PAUSE = 0.04, max(0.25, FAULTS / 400), max(0.3, FAULTS / 100)
LAYER = 8_000  # bytes of an image's layer
PATIENCE = 120.0  # seconds until a write must go through every node that nothing hurts


class Faults(ht.TestCase):
    def test_nothing_acknowledged_is_lost_and_every_history_is_linearizable(self):
        reason = problem()
        if reason:
            self.skipTest(reason)
        with Network(NODES, None):
            words = ['ip', 'netns', 'exec', CLIENT, sys.executable, __file__, '--inside', str(self.folder)]
            done = subprocess.run(words)  # it says how far it is, and what went wrong
        self.assertEqual(done.returncode, 0)


def figures_of(report, pushers, verdict, course, seconds):
    return {
        'seconds': round(seconds, 1), 'faults': dict(sorted(course.items())), 'fault_count': sum(course.values()),
        'writes': report.acknowledged, 'refused': report.refused, 'unknown': report.unknown, 'reads': report.reads,
        'stale_reads': report.stale, 'images': sum(len(p.done) for p in pushers),
        'pushes_refused': sum(p.refused for p in pushers), 'lost': report.lost, 'failures': report.failures,
        'illegal': sorted(report.illegal), 'resume_p99_seconds': round(report.resume_p99(), 2),
        'porcupine': dataclasses.asdict(verdict) if verdict else 'not built: ./dev clients'}


def inside(folder):
    """In the clients' namespace. Prints the figures; the last line is JSON."""
    cluster = NemesisCluster(folder / 'cluster')
    began = time.monotonic()
    pushers = []
    try:
        cluster.prepare_nodes(NODES)
        cluster.tool.up()
        nemesis = Nemesis(cluster, random.Random(f'{SEED} nemesis'))
        pushers = [lp.Pusher(f'image/p{n}', cluster, layer=LAYER, pause=PUSH_PAUSE) for n in range(2)]
        nemesis.pushers = pushers
        for pusher in pushers:
            pusher.start()
        workload = tags.Workload(cluster.urls, 0, nemesis.course(FAULTS, KINDS), seed=SEED, pause=WRITE_PAUSE,
                                 read_pause=READ_PAUSE, patience=PATIENCE)
        report = workload.run()
        for pusher in pushers:
            pusher.end()
        nemesis.wait_whole()
        lp.check_all(unittest.TestCase(), cluster, pushers, 'in the end')
        verdict = porcupine.judge(workload.journal.histories)
        figures = figures_of(report, pushers, verdict, nemesis.done, time.monotonic() - began)
        good = not (report.illegal or report.lost or report.failures)
        agrees = verdict is None or not (verdict.illegal or verdict.undecided)
        print(report.text())
        if not (good and agrees):
            print(cluster.log())
        print(json.dumps(figures))
        if os.environ.get('HANSA_NEMESIS_JSON'):
            pathlib.Path(os.environ['HANSA_NEMESIS_JSON']).write_text(json.dumps(figures, indent=1) + '\n')
        return 0 if good and agrees else 1
    except BaseException:
        print(cluster.log())
        raise
    finally:
        cluster.stop()


if __name__ == '__main__':
    if sys.argv[1:2] == ['--inside']:
        sys.exit(inside(pathlib.Path(sys.argv[2])))
    ct.main()
