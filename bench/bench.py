#!/usr/bin/env python3
"""Compares Hansa on one node with nginx (static files), docker-registry and, where ZOT_BIN names a binary, zot: the same
data, one run, the servers taking turns within every case, medians of several rounds.

The steady figure is a server's own CPU time per unit of work, from /proc/<pid>/task/*/schedstat of its process tree;
what a client saw stands beside it. Everything runs on loopback in a temporary folder.
"""
import argparse
import json
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

import cases as comparison
import idle
import plot
import report

HEADING = '## One node beside others'
PLOT = 'one-node.svg'


class Progress:
    """One line that is drawn anew on a terminal; a line a case elsewhere."""

    def __init__(self, steps):
        self.steps, self.done, self.start = steps, 0, time.monotonic()
        self.live = sys.stderr.isatty()

    def step(self, name):
        if self.live:
            filled = 30 * self.done // self.steps
            spent = time.monotonic() - self.start
            left = f', {spent / self.done * (self.steps - self.done):.0f} s left' if self.done else ''
            print(f'\r\033[K[{"#" * filled}{"." * (30 - filled)}] {self.done}/{self.steps} {name}{left}', end='',
                  file=sys.stderr, flush=True)
        self.done += 1

    def line(self, text):
        if self.live:
            print('\r\033[K', end='', file=sys.stderr)
        print(text, flush=True)

    def end(self):
        if self.live:
            print('\r\033[K', end='', file=sys.stderr, flush=True)


def measure(case, peers, rounds, progress):
    """Medians by column: 'hansa' and the others that are there."""
    columns = {'hansa': case.hansa, **{column: name for column, name in case.others.items() if name in peers}}
    seen = {column: [] for column in columns}
    for number in range(rounds):
        for column, name in columns.items():
            progress.step(f'{case.name}: {name}, round {number + 1}')
            seen[column].append(case.load(peers[name], number))
    figures = {column: {key: statistics.median(value[key] for value in values) for key in ('cpu', 'wall')}
               for column, values in seen.items()}
    row = {'case': case.name, 'unit': case.unit, 'wall_unit': case.wall_unit, 'figures': figures, 'ratios': {}, 'missed': []}
    for column in figures:
        if column == 'hansa':
            continue
        ratio = figures['hansa']['cpu'] / figures[column]['cpu']
        row['ratios'][column] = {'cpu': ratio, 'bar': case.bars.get(column)}
        if column in case.bars and ratio > case.bars[column]:
            row['missed'].append(f'{ratio:.2f}x of {column}, the bar is {case.bars[column]:.3g}')
        wall = figures['hansa']['wall'] / figures[column]['wall']
        if column in case.wall_bars and wall > case.wall_bars[column]:
            row['missed'].append(f'{wall:.2f}x of the time of {column}, the bar is {case.wall_bars[column]:.3g}')
    return row


def number(value):
    return f'{value:.0f}' if value >= 100 else f'{value:.1f}' if value >= 10 else f'{value:.2f}'


def line(row):
    text = '  '.join(f'{column} {number(figure["cpu"])} ({number(figure["wall"])} {row["wall_unit"]})'
                     for column, figure in row['figures'].items())
    ratios = '  '.join(f'{ratio["cpu"]:.2f}x {column}' for column, ratio in row['ratios'].items())
    missed = ''.join(f'  MISSED: {text}' for text in row['missed'])
    return f'{row["case"]}, CPU {row["unit"]}: {text} | {ratios}{missed}'


def table(rows, rounds, command):
    """For docs/benchmarks.md."""
    others = ['nginx', 'docker-registry', 'zot']
    text = f'''{HEADING}

`{command}`: Hansa's CPU per unit of work and what one client saw, beside the same for others that had the same data in the same
run; medians of {rounds} rounds, the servers taking turns. Ratios are of CPU; in brackets the bar. Hansa hashes, checks every chunk that it
sends, and syncs what it acknowledges.

| case | unit | Hansa | {' | '.join(others)} | {' | '.join(f'of {other}' for other in others)} |
|---|---|---|{'---|' * 2 * len(others)}
'''
    for row in rows:
        figures, ratios = row['figures'], row['ratios']

        def cell(column):
            if column not in figures:
                return 'not measured' if column == 'zot' else '-'
            return f'{number(figures[column]["cpu"])} ({number(figures[column]["wall"])} {row["wall_unit"]})'

        def ratio(column):
            if column not in ratios:
                return '-'
            bar = ratios[column]['bar']
            return f'{ratios[column]["cpu"]:.2f}' + (f' ({bar:.3g})' if bar else '')
        text += (f'| {row["case"]} | CPU {row["unit"]} | {cell("hansa")} | {" | ".join(map(cell, others))} | '
                 f'{" | ".join(map(ratio, others))} |\n')
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', metavar='FILE', help='write the figures there')
    parser.add_argument('--cases', metavar='TEXT', help='only cases whose names hold this text')
    parser.add_argument('--rounds', type=int, default=3, help='of each case (3)')
    parser.add_argument('--seconds', type=int, default=2, help='of each closed loop (2)')
    parser.add_argument('--quick', action='store_true', help='without what is 100 MiB or 10,000 connections')
    parser.add_argument('--write', action='store_true', help='put the table and the plot into docs')
    options = parser.parse_args()
    wanted = [case for case in comparison.cases(options.seconds, options.quick) if (options.cases or '') in case.name]
    memory = (options.cases or '') in idle.NAME
    if not wanted and not memory:
        sys.exit(f'bench: no case has {options.cases!r} in its name')
    folder = pathlib.Path(tempfile.mkdtemp(prefix='hansa-bench-'))
    peers, rows, others = {}, [], []
    try:
        if memory:
            others = idle.measure(folder, idle.SOME if options.quick else idle.MANY, print)
        if wanted:
            peers = comparison.start(folder)
            progress = Progress(sum(options.rounds * (1 + sum(name in peers for name in case.others.values())) for case in wanted))
            for case in wanted:
                rows.append(measure(case, peers, options.rounds, progress))
                progress.line(line(rows[-1]))
            progress.end()
    finally:
        for peer in peers.values():
            peer.stop()
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({'compared': rows, 'memory': others}, indent=1) + '\n')
    if options.write:
        report.write(table(rows, options.rounds, './dev bench') + idle.table(others) + f'\n![ratios by case]({PLOT})\n', HEADING)
        plot.ratios(report.DOCS / PLOT, rows)


if __name__ == '__main__':
    main()
