#!/usr/bin/env python3
"""The linearizability checker itself: against brute force on thousands of small histories, many of them made illegal.

HANSA_SEED: another set of histories (1). Brute force tries every order, which is beyond doubt and slow.
"""
import dataclasses
import os
import pathlib
import random
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing as ht  # noqa: E402
import linearizability as lin  # noqa: E402
import porcupine  # noqa: E402
from linearizability import ABSENT, DELETE, GET, PUT, UNKNOWN, Operation  # noqa: E402

SEED = os.environ.get('HANSA_SEED', '1')
HISTORIES = 5000 if os.environ.get('HANSA_FULL') else 1000  # illegal ones, of each of four kinds


def brute_force(history, value=ABSENT):
    """Every order of the operations that respects time, and for unknown writes every choice of whether."""
    if not any(o.end != UNKNOWN for o in history):
        return True
    first_end = min(o.end for o in history)
    for number, o in enumerate(history):
        if o.call > first_end or (o.kind == GET and o.value != value):
            continue
        rest = history[:number] + history[number + 1:]
        if brute_force(rest, value if o.kind == GET else o.value):
            return True
    return False  # an unknown write that never happens is one that comes after all others


def draw(source, unique, deletes):
    """A legal history: operations take effect one after the other at drawn points, seen from outside as spans."""
    value, history, number = ABSENT, [], 0
    for point in range(source.randint(2, 8)):
        call = point - source.choice([0.1, 0.6, 1.3, 2.6]) - source.random() / 100
        end = point + source.choice([0.1, 0.6, 1.3, 2.6]) + source.random() / 100
        kind = source.choice([PUT, GET, GET] + [DELETE] * deletes)
        if kind == GET:
            history.append(Operation(GET, value, call, end))
            continue
        number += 1
        written = ABSENT if kind == DELETE else f'v{number}' if unique else source.choice(['x', 'y'])
        answered = source.random() < 0.75
        if answered or source.random() < 0.5:
            value = written
        history.append(Operation(kind, written, call, end if answered else UNKNOWN))
    return history


def spoil(source, history):
    """Changes one thing that usually makes it illegal: what a get saw, or when an operation ended."""
    history = list(history)
    at = source.randrange(len(history))
    o = history[at]
    values = [x.value for x in history] + [ABSENT]
    if source.random() < 0.3:  # a look at the end, at what may be long gone
        last = max([0.0] + [max(x.call, x.end) for x in history if x.end != UNKNOWN])
        history.append(Operation(GET, source.choice(values), last + 1, last + 2))
    elif o.kind == GET:
        history[at] = dataclasses.replace(o, value=source.choice(values))
    elif o.end != UNKNOWN:
        history[at] = dataclasses.replace(o, call=o.call + 1.5, end=max(o.end, o.call + 1.6))
    else:
        history.append(Operation(GET, source.choice(values), o.call - 2, o.call - 1))
    return history


class AgainstBruteForce(unittest.TestCase):
    def compare(self, unique, deletes):
        source = random.Random(f'{SEED} {unique} {deletes}')
        illegal = 0
        while illegal < HISTORIES:  # half of what is checked here is illegal, or nearly
            history = draw(source, unique, deletes)
            self.assertTrue(lin.check(history), history)
            spoiled = spoil(source, history)
            expected = brute_force(spoiled)
            illegal += not expected
            self.assertEqual(bool(lin.check(spoiled)), expected, '\n'.join(map(str, spoiled)))
            # Both ways agree where both apply.
            self.assertEqual(bool(lin.check_search(spoiled, ABSENT)), expected, '\n'.join(map(str, spoiled)))

    def test_unique_values_by_intervals(self):
        self.compare(unique=True, deletes=0)

    def test_unique_values_with_deletes(self):
        self.compare(unique=True, deletes=1)

    def test_equal_values(self):
        self.compare(unique=False, deletes=0)

    def test_equal_values_with_deletes(self):
        self.compare(unique=False, deletes=1)


    def test_porcupine_says_the_same(self):
        source, histories = random.Random(f'{SEED} porcupine'), {}
        for number in range(HISTORIES):
            history = draw(source, unique=number % 2, deletes=number % 3)
            histories[f'h{number}'] = spoil(source, history) if source.random() < 0.7 else history
        verdict = porcupine.judge(histories)
        if not verdict:
            self.skipTest('porcupine-check was not built (./dev clients)')
        expected = sorted(name for name, history in histories.items() if not lin.check(history))
        self.assertGreater(len(expected), HISTORIES // 20)
        self.assertEqual(verdict.illegal, expected)
        self.assertEqual(verdict.undecided, [])


class Known(unittest.TestCase):
    def test_a_stale_read_is_named_with_the_write_it_missed(self):
        old, new = Operation(PUT, 'a', 0, 1), Operation(PUT, 'b', 2, 3)
        stale = Operation(GET, 'a', 4, 5, 'reader 1')
        for verdict in (lin.check([old, new, stale]), lin.check_search([old, new, stale], ABSENT)):
            self.assertFalse(verdict)
            self.assertIn('reader 1', str(verdict))
            self.assertIn('put b', str(verdict))

    def test_a_lost_write_is_illegal(self):
        self.assertFalse(lin.check([Operation(PUT, 'a', 0, 1), Operation(GET, ABSENT, 2, 3)]))

    def test_a_value_that_nobody_put_is_illegal(self):
        self.assertFalse(lin.check([Operation(GET, 'a', 0, 1)]))
        self.assertTrue(lin.check([Operation(GET, 'a', 0, 1)], initial='a'))

    def test_an_unknown_write_may_appear_late_but_not_twice(self):
        unknown, other = Operation(PUT, 'a', 0), Operation(PUT, 'b', 1, 2)
        seen = [Operation(GET, 'b', 3, 4), Operation(GET, 'a', 5, 6)]
        self.assertTrue(lin.check([unknown, other, *seen]))
        again = [Operation(PUT, 'c', 7, 8), Operation(GET, 'a', 9, 10)]
        self.assertFalse(lin.check([unknown, other, *seen, *again]))
        delete = Operation(DELETE, ABSENT, 0)
        gone_twice = [Operation(GET, ABSENT, 3, 4), Operation(PUT, 'c', 5, 6), Operation(GET, ABSENT, 7, 8)]
        self.assertTrue(lin.check([other, delete, *gone_twice[:1]]))
        self.assertFalse(lin.check([other, delete, *gone_twice]))

    def test_a_search_that_grows_too_large_says_so_and_gives_no_verdict(self):
        crowd = [Operation(PUT, f'v{n}', 0, 100 + n) for n in range(25)]
        with self.assertRaises(lin.Undecided):
            lin.check([*crowd, Operation(DELETE, ABSENT, 0, 200), Operation(GET, ABSENT, 201, 202),
                       Operation(GET, 'v1', 203, 204)])

    def test_big_histories_take_seconds(self):
        source, history, value, start = random.Random(1), [], ABSENT, time.process_time()
        for n in range(100_000):
            kind = source.choice([PUT, GET])
            value = f'v{n}' if kind == PUT else value
            history.append(Operation(kind, value, n - source.random() * 3, n + source.random() * 3))
        self.assertTrue(lin.check(history))
        some_deletes = history[:20_000] + [Operation(DELETE, ABSENT, 200_000, 200_001)]
        self.assertTrue(lin.check(some_deletes))
        self.assertLess(time.process_time() - start, 30)


if __name__ == '__main__':
    ht.main()
