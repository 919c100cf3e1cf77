#!/usr/bin/env python3
"""Planted bugs: shows that the simulator finds what it is there to find.

sim/planted/NN-name.patch breaks one promise each. For every patch this program builds a copy of the work tree with it
and runs seeds until a checker objects; in the end the copy without any patch runs the same seeds and must pass.
Lines of a patch before its diff say what it breaks and, where the defaults do not fit:

    # finds: sim --cluster            the program and its arguments: sim (the default), or a test program with a filter
    # limit: 3000                     seeds that are tried at most (default 1,000)

The copy lies in build/planted, with a build folder of its own that is kept, so that only what changed is built. With
--check nothing is built: every patch must still fit the work tree.
"""
import argparse
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PATCHES = ROOT / 'sim' / 'planted'
COPY = ROOT / 'build' / 'planted'
BUILD = COPY / 'build' / 'release'
DEFAULT_COMMAND, DEFAULT_LIMIT = 'sim', 1000
SHOWN = 100  # characters of a checker's message
TEST_LIMIT = 900  # seconds for a named test
TABLE, HEADER = ROOT / 'docs' / 'proof.md', '| patch | breaks | found by | seeds | as |'
COPIED = ('CMakeLists.txt', 'CMakePresets.json', 'cmake', 'sim', 'src', 'tests', 'tools', 'ui')


class Patch:
    def __init__(self, file):
        self.file = file
        self.name = file.stem
        head = file.read_text().split('\ndiff --git ')[0].splitlines()
        self.about = ' '.join(line[2:].strip() for line in head
                              if line.startswith('# ') and not re.match(r'# (finds|limit): ', line))
        self.command, self.limit = DEFAULT_COMMAND, DEFAULT_LIMIT
        for line in head:
            match = re.fullmatch(r'# (finds|limit): (.+)', line)
            if match and match[1] == 'finds':
                self.command = match[2]
            elif match:
                self.limit = int(match[2])
        self.found = None  # (seed or None, message)
        self.problem = None

    def is_sim(self):
        return shlex.split(self.command)[0] == 'sim'

    def target(self):
        return 'hansa_sim' if self.is_sim() else shlex.split(self.command)[0]

    def arguments(self):
        return shlex.split(self.command)[1:]


def sync():
    """Makes the copy equal to the work tree; files that are equal already keep their times."""
    listed = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard', '--', *COPIED],
                            cwd=ROOT, check=True, capture_output=True).stdout.decode().split('\0')
    wanted = {name for name in listed if name and (ROOT / name).is_file()}
    for name in sorted(wanted):
        source, target = ROOT / name, COPY / name
        content = source.read_bytes()
        if target.is_file() and target.read_bytes() == content:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(source.stat().st_mode)
    for base in COPIED:
        folder = COPY / base
        if not folder.is_dir():
            continue
        for file in folder.rglob('*'):
            if file.is_file() and str(file.relative_to(COPY)) not in wanted:
                file.unlink()


def apply(patch, tree, *options):
    # The copy lies inside a repository that does not know it.
    environment = dict(os.environ, GIT_CEILING_DIRECTORIES=str(COPY.parent))
    done = subprocess.run(['git', 'apply', '--whitespace=nowarn', *options, str(patch.file)], cwd=tree,
                          env=environment, capture_output=True, text=True)
    return None if done.returncode == 0 else 'the patch no longer applies: ' + done.stderr.strip().replace('\n', '; ')


def build(target):
    if not (BUILD / 'build.ninja').is_file():
        done = subprocess.run(['cmake', '--preset', 'release'], cwd=COPY, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit('planted: cmake failed:\n' + done.stdout[-2000:] + done.stderr[-2000:])
    jobs = os.environ.get('HANSA_JOBS') or str(os.cpu_count() or 1)
    done = subprocess.run(['ninja', '-C', str(BUILD), '-j', jobs, '--quiet', target], capture_output=True, text=True)
    return None if done.returncode == 0 else 'it does not compile:\n' + done.stdout[-3000:] + done.stderr[-3000:]


def run_seeds(arguments, seeds):
    """Runs seeds from 1 until one fails: (seed, message), or None. A process that stops itself has found it too."""
    command = [str(BUILD / 'hansa_sim'), *arguments, '--seeds', str(seeds), '--from', '1']
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            match = re.match(r'seed (\d+): (.*)', line)
            if match:
                process.kill()
                return int(match[1]), match[2]
        error = process.stderr.read().strip()
    if process.returncode != 0:
        return None, (error.splitlines() or [f'it ended with {process.returncode}'])[-1]
    return None


def run_test(patch):
    command = [str(BUILD / patch.target()), *patch.arguments()]
    try:
        done = subprocess.run(command, cwd=COPY, capture_output=True, text=True, timeout=TEST_LIMIT)
    except subprocess.TimeoutExpired:
        return None, f'it did not end within {TEST_LIMIT} s'
    if done.returncode == 0:
        return None
    failed = re.findall(r'^\[  FAILED  \] (\S+)', done.stdout, re.MULTILINE)
    return None, 'fails: ' + (failed[0] if failed else done.stderr.strip()[-SHOWN:])


def look(patch):
    sync()
    patch.problem = apply(patch, COPY) or build(patch.target())
    if patch.problem:
        return
    patch.found = run_seeds(patch.arguments(), patch.limit) if patch.is_sim() else run_test(patch)
    if not patch.found:
        patch.problem = f'not found by {patch.command}' + (f' in {patch.limit} seeds' if patch.is_sim() else '')


def look_at_clean(patches):
    """The same seeds and tests without a patch; what fails."""
    sync()
    seeds, tests = {}, {}
    for patch in patches:
        if patch.found and patch.is_sim():
            known = seeds.setdefault(tuple(patch.arguments()), 0)
            seeds[tuple(patch.arguments())] = max(known, patch.found[0] or patch.limit)
        elif patch.found:
            tests[patch.command] = patch
    problems = []
    for target in sorted({patch.target() for patch in patches}):
        problem = build(target)
        if problem:
            return [problem]
    for arguments, count in seeds.items():
        failed = run_seeds(arguments, count)
        if failed:
            problems.append(f'without a patch sim {" ".join(arguments)} fails too: seed {failed[0]}: {failed[1]}')
    for command, patch in tests.items():
        failed = run_test(patch)
        if failed:
            problems.append(f'without a patch {command} fails too: {failed[1]}')
    if not problems:
        names = [f'{" ".join(("sim",) + arguments)}: {count} seeds' for arguments, count in seeds.items()]
        print('without a patch the same runs pass (' + '; '.join(names + list(tests)) + ')')
    return problems


def show(patch, seconds):
    if patch.problem:
        print(f'{patch.name:<28} NOT FOUND: {patch.problem}', flush=True)
        return
    seed, message = patch.found
    message = message if len(message) <= SHOWN else message[:SHOWN - 1] + '…'
    seeds = '-' if seed is None else str(seed)
    print(f'{patch.name:<28} {patch.command:<14} {seeds:>5}  {seconds:>4.0f} s  {message}', flush=True)


def row(patch):
    seed, message = patch.found
    message = re.sub(r'(sha256:[0-9a-f]{8})[0-9a-f]+', r'\1', message).replace('|', '/')
    names = {'sim': 'one node', 'sim --cluster': 'cluster', 'sim --oracle': 'reference', 'sim --memory': 'memory'}
    return (f'| `{patch.name}` | {patch.about} | {names.get(patch.command, f"`{patch.command}`")} | '
            f'{"-" if seed is None else seed} | {message if len(message) <= SHOWN else message[:SHOWN - 1] + "…"} |')


def write_table(patches):
    lines = TABLE.read_text().splitlines()
    begin = lines.index(HEADER) + 2
    end = next((n for n in range(begin, len(lines)) if not lines[n].startswith('|')), len(lines))
    TABLE.write_text('\n'.join(lines[:begin] + [row(patch) for patch in patches] + lines[end:]) + '\n')


def is_named(patch, text):
    number, name = patch.name.split('-', 1)
    return number == text.zfill(2) or text in name


def check(patches):
    problems = [f'{patch.file.relative_to(ROOT)}: {problem}' for patch in patches
                if (problem := apply(patch, ROOT, '--check'))]
    print('\n'.join(problems) if problems else 'planted: every patch applies')
    return 1 if problems else 0


def main():
    parser = argparse.ArgumentParser(prog='./dev sim --planted', description=__doc__.split('\n')[0])
    parser.add_argument('numbers', nargs='*', metavar='NN', help='only these patches, by number or part of the name')
    parser.add_argument('--check', action='store_true', help='only whether every patch still applies')
    parser.add_argument('--write', action='store_true', help='put the table into docs/proof.md; of all patches')
    options = parser.parse_args()
    if options.write and options.numbers:
        parser.error('--write is for all patches')
    patches = [Patch(file) for file in sorted(PATCHES.glob('*.patch'))]
    if options.numbers:
        patches = [patch for patch in patches if any(is_named(patch, text) for text in options.numbers)]
    if not patches:
        sys.exit(f'planted: no patch in sim/planted is named {" or ".join(options.numbers)}')
    if options.check:
        return check(patches)
    COPY.mkdir(parents=True, exist_ok=True)
    print(f'{"patch":<28} {"by":<14} {"seeds":>5}  {"time":>6}  found as', flush=True)
    for patch in patches:
        began = time.monotonic()
        look(patch)
        show(patch, time.monotonic() - began)
    problems = look_at_clean(patches)
    for problem in problems:
        print(problem)
    failed = bool(problems) or any(patch.problem for patch in patches)
    if options.write and not failed:
        write_table(patches)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
