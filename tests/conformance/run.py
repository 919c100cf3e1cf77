#!/usr/bin/env python3
"""Runs the OCI conformance program against a fresh server and demands that everything passes.

The verdict comes from the program's results (results.yaml and junit.xml), not from its exit code: that one is also
zero when tests were skipped. Exit code 77 when the program is not installed (./dev clients builds it).

usage: run.py [--binary build/release/hansa] [--profile 1.1|dev|both] [--program PATH] [--registry HOST:PORT]
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing  # noqa: E402

PROGRAM_SECONDS = 600
# What a profile leaves out by its own definition. Sparse manifests, whose content was never pushed, are in none: Hansa
# refuses them like most registries do.
DISABLED = {
    '1.1': {'Blob upload cancel', 'Manifest put with tag params', 'Sparse Manifests', 'Tag Param', 'Tag Param sha512'},
    'dev': {'Sparse Manifests'},
}


def read_statuses(results):
    """{'apis': {name: status}, 'data': {...}} of results.yaml: two levels of plain `name: Status` lines."""
    statuses, section = {'apis': {}, 'data': {}}, None
    for line in results.read_text().splitlines():
        if line and not line.startswith(' '):
            section = line.rstrip(':') if line.rstrip(':') in statuses else None
        elif section:
            name, _, status = line.strip().rpartition(':')
            statuses[section][name.strip('"\'')] = status.strip()
    if not statuses['apis'] or not statuses['data']:
        sys.exit(f'{results}: no statuses found; has the format of the conformance program changed?')
    return statuses


def read_junit(junit):
    """The counts of the suite and every test that did not pass as (name, outcome, message)."""
    suite = xml.parse(junit).getroot().find('testsuite')
    counts = {name: int(suite.get(name, 0)) for name in ['tests', 'failures', 'errors', 'skipped', 'disabled']}
    bad = [(case.get('name'), case.get('status'), (case.findtext('system-out') or '').strip())
           for case in suite.iter('testcase') if case.get('status') != 'passed']
    return counts, bad


def run_program(program, registry, profile, folder):
    environment = {**os.environ, 'OCI_REGISTRY': registry, 'OCI_TLS': 'disabled', 'OCI_VERSION': profile,
                   'OCI_RESULTS_DIR': str(folder), 'OCI_REPO1': 'conformance/repo1', 'OCI_REPO2': 'conformance/repo2'}
    with open(folder / 'output.txt', 'w') as output:
        subprocess.run([str(program)], env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT,
                       timeout=PROGRAM_SECONDS, check=False)
    for name in ['results.yaml', 'junit.xml']:
        if not (folder / name).exists():
            sys.exit(f'the conformance program wrote no {name}:\n{(folder / "output.txt").read_text()[-3000:]}')


def judge(profile, folder):
    """Prints the counts and every test that did not pass; returns whether all is well."""
    counts, not_passed = read_junit(folder / 'junit.xml')
    failed = counts['failures'] + counts['errors']
    passed = counts['tests'] - failed - counts['skipped'] - counts['disabled']
    print(f'conformance, profile {profile}: {passed} passed, {failed} failed, {counts["skipped"]} skipped, '
          f'{counts["disabled"]} left out by the profile')
    bad = []
    for section, statuses in read_statuses(folder / 'results.yaml').items():
        for name, status in statuses.items():
            if status != 'Pass' and not (status == 'Disabled' and name in DISABLED[profile]):
                bad.append(f'  {section}: {name}: {status}')
    if failed or counts['skipped']:  # the program calls what it left out skipped too
        bad += [f'  {outcome}: {name}\n    {message}' for name, outcome, message in not_passed]
    if bad:
        print('\n'.join(bad))
    return passed > 0 and not failed and not counts['skipped'] and not bad


def run_profile(arguments, profile):
    with tempfile.TemporaryDirectory(prefix='hansa-conformance-') as folder:
        folder = pathlib.Path(folder)
        if arguments.registry:
            run_program(arguments.program, arguments.registry, profile, folder)
            return judge(profile, folder)
        with hansa_testing.Server(folder / 'server') as server:
            run_program(arguments.program, f'127.0.0.1:{server.port}', profile, folder)
            return judge(profile, folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--binary', type=pathlib.Path, default=hansa_testing.BINARY)
    parser.add_argument('--profile', choices=['1.1', 'dev', 'both'], default='both')
    parser.add_argument('--program', type=pathlib.Path, default=hansa_testing.CLIENTS / 'conformance')
    parser.add_argument('--registry', help='a server that runs already, instead of a fresh one')
    arguments = parser.parse_args()
    if not arguments.program.exists():
        print(f'skipped: {arguments.program} is not there; ./dev clients builds it')
        sys.exit(hansa_testing.SKIPPED)
    hansa_testing.BINARY = arguments.binary
    profiles = ['1.1', 'dev'] if arguments.profile == 'both' else [arguments.profile]
    results = [run_profile(arguments, profile) for profile in profiles]
    sys.exit(0 if all(results) else 1)


if __name__ == '__main__':
    main()
