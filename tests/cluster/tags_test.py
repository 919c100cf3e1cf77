#!/usr/bin/env python3
"""The tag workload and its judge where the answer is known: one node is linearizable, two strangers are not.

HANSA_SEED: another course of events.
"""
import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import hansa_testing as ht  # noqa: E402
import porcupine  # noqa: E402
from tags_workload import Fault, Workload  # noqa: E402

SEED = os.environ.get('HANSA_SEED', '1')


class OfOneNode(ht.TestCase):
    """The workload and its judge, where the answer is known."""

    def test_a_single_node_is_linearizable(self):
        report = Workload([f'http://127.0.0.1:{self.server().port}'], 600, seed=SEED).run()
        print(report.text())
        self.assertTrue(report.is_good(), report.text())

    def test_a_single_node_killed_and_paused_loses_nothing(self):
        server = self.server()
        url = f'http://127.0.0.1:{server.port}'

        def kill():
            server.stop(signal.SIGKILL)
            server.start()
            return []

        def pause():
            server.process.send_signal(signal.SIGSTOP)
            return [url]
        faults = [Fault(f'kill -9 ({turn})', kill, lambda: None, 0.5) for turn in range(3)]
        faults.append(Fault('SIGSTOP', pause, lambda: server.process.send_signal(signal.SIGCONT), 1.0))
        report = Workload([url], 600, faults, seed=SEED).run()
        print(report.text())
        self.assertTrue(report.is_good(), report.text())
        self.assertGreater(report.unknown + report.refused, 0, 'the faults hurt nobody')

    def test_nodes_that_know_nothing_of_each_other_are_found_out(self):
        urls = [f'http://127.0.0.1:{self.server(name).port}' for name in ('one', 'two')]
        workload = Workload(urls, 300, seed=SEED)
        report = workload.run()
        self.assertGreater(len(report.illegal), 10)
        self.assertGreater(len(report.lost), 10)
        verdict = porcupine.judge(workload.journal.histories)
        if verdict:
            self.assertEqual(verdict.undecided, [])
            self.assertEqual(sorted(verdict.illegal), sorted(report.illegal), 'the two checkers do not agree')


if __name__ == '__main__':
    ht.main()
