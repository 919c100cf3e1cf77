#!/usr/bin/env python3
"""The OCI conformance program against three nodes behind a balancer that picks another node for every request."""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402

PROGRAM = ht.CLIENTS / 'conformance'


class Conformance(ct.SharedCluster):
    @classmethod
    def setUpClass(cls):
        if not PROGRAM.exists():
            raise unittest.SkipTest(f'{PROGRAM} is not there; ./dev clients builds it')
        super().setUpClass()

    def run_profile(self, profile):
        with ct.Balancer(self.folder, self.cluster.urls) as balancer:
            done = ht.run(sys.executable, ht.ROOT / 'tests/conformance/run.py', '--profile', profile, '--program', PROGRAM,
                          '--registry', f'127.0.0.1:{balancer.port}', check=False)
        print(done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr + self.cluster.log())

    def test_profile_1_1(self):
        self.run_profile('1.1')

    def test_development_profile(self):
        self.run_profile('dev')


if __name__ == '__main__':
    ct.main()
