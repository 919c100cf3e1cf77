"""Is what clients of a tag were told one order of events? A linearizability checker for registers.

A history is a list of operations on one register (a tag): put a value, delete, get. Each was called at one moment and
returned at another; it must have taken effect at one point between the two. A write without a clear answer (UNKNOWN)
happened at any point after its call, or never. A get without an answer says nothing and is left out.

check(history) says whether an order exists that explains every answer, and else names the operations that cannot be
explained. It is exact, in both directions:
  - where every value is put at most once and nothing is deleted, by intervals (Gibbons and Korach, 1997): the cluster
    of a value is its put and the gets that saw it. Sorting makes it fit for millions of operations.
  - else by search: a sweep over calls and returns that keeps every state that some order allows (value, operations under
    way that have happened), merged when equal. An operation is placed only when a return demands it; gets are placed
    as soon as they fit. More than MAX_STATES at once is an Undecided, never a verdict.
"""
import bisect
import dataclasses
import math

PUT, GET, DELETE = 'put', 'get', 'delete'
ABSENT = None  # what a get of a tag that is not there returns
UNKNOWN = math.inf  # the moment of return of a write whose outcome is not known
MAX_STATES = 200_000


class Undecided(Exception):
    """The search grew past its limit."""


@dataclasses.dataclass(frozen=True, eq=False)
class Operation:
    kind: str
    value: object  # put: the new one, get: the one seen, delete: ABSENT
    call: float
    end: float = UNKNOWN
    who: str = ''  # for the reader of a verdict: client, node, request

    def __str__(self):
        end = 'no answer' if self.end == UNKNOWN else f'{self.end:.6f}'
        value = '' if self.kind == DELETE else f' {self.value}'
        return f'{self.call:.6f} .. {end}: {self.kind}{value}{" by " + self.who if self.who else ""}'

    @property
    def written(self):
        return self.kind != GET


@dataclasses.dataclass
class Verdict:
    legal: bool
    reason: str = ''
    offending: tuple = ()

    def __bool__(self):
        return self.legal

    def __str__(self):
        return 'legal' if self.legal else '\n  '.join([self.reason, *map(str, self.offending)])


def check(history, initial=ABSENT):
    """The verdict on one register's history. `initial`: its value before the first operation."""
    operations = [o for o in history if o.kind != GET or o.end != UNKNOWN]
    for o in operations:
        if o.call > o.end:
            raise ValueError(f'returns before its call: {o}')
    puts = [o.value for o in operations if o.kind == PUT]
    unique = len(set(puts)) == len(puts) and initial not in puts
    if unique and ABSENT not in puts and all(o.kind != DELETE for o in operations):
        return check_intervals(operations, initial)
    return check_search(operations, initial)


def check_all(histories, initial=None):
    """{register: history} -> {register: verdict} of those that are not legal."""
    initial = initial or {}
    verdicts = {name: check(history, initial.get(name, ABSENT)) for name, history in histories.items()}
    return {name: verdict for name, verdict in verdicts.items() if not verdict}


# --- unique values ---

class Cluster:
    """A value's put and the gets that saw it. All of them lie, in an order, between two other clusters."""

    def __init__(self, put):
        self.put, self.gets = put, []

    def close(self):
        members = [self.put, *self.gets]
        self.first_end = min(members, key=lambda o: o.end)
        self.last_call = max(members, key=lambda o: o.call)
        self.low = min(self.first_end.end, self.last_call.call)
        self.high = max(self.first_end.end, self.last_call.call)
        # Forward: the value is certainly there from low to high. Else it fits at any single point of that span.
        self.forward = self.first_end.end < self.last_call.call

    def witnesses(self):
        return tuple(dict.fromkeys([self.put, self.first_end, self.last_call]))


def check_intervals(operations, initial):
    clusters = {initial: Cluster(Operation(PUT, initial, -math.inf, -math.inf, 'what was there before'))}
    for o in operations:
        if o.kind == PUT:
            clusters[o.value] = Cluster(o)
    for o in operations:
        if o.kind != GET:
            continue
        cluster = clusters.get(o.value)
        if cluster is None:
            return Verdict(False, 'a value that nobody put', (o,))
        if o.end < cluster.put.call:
            return Verdict(False, 'seen before it was put', (o, cluster.put))
        cluster.gets.append(o)
    # A write of unknown outcome that nobody saw never happened, for all that anybody can tell.
    seen = [c for c in clusters.values() if c.gets or c.put.end != UNKNOWN]
    for cluster in seen:
        cluster.close()
    return compare_zones(seen)


def compare_zones(clusters):
    forward = sorted((c for c in clusters if c.forward), key=lambda c: c.low)
    for one, other in zip(forward, forward[1:]):
        if other.low < one.high:
            return Verdict(False, 'two values were certainly there at the same time',
                           tuple(sorted(one.witnesses() + other.witnesses(), key=lambda o: o.call)))
    lows = [c.low for c in forward]
    for cluster in clusters:
        if cluster.forward:
            continue
        at = bisect.bisect_left(lows, cluster.low) - 1  # the last forward zone that begins before it
        if at >= 0 and cluster.high < forward[at].high:
            around = forward[at]
            return Verdict(False, 'a value was certainly there during the whole time of another one',
                           tuple(sorted(around.witnesses() + cluster.witnesses(), key=lambda o: o.call)))
    return Verdict(True)


# --- any history ---

class Search:
    """The states that some order allows after the events so far: (value, happened, used). `happened` holds the numbers
    of those operations under way that have taken effect. Writes of unknown outcome are all alike once called if they
    write the same value, so a state only counts how many of each it has used: a sorted tuple of (value, count)."""

    def __init__(self, operations, initial):
        self.operations = operations
        self.states = {(initial, frozenset(), ())}
        self.pending = set()
        self.spare = {}  # value: writes of unknown outcome called so far

    def call(self, number):
        o = self.operations[number]
        if o.end == UNKNOWN:
            self.spare[o.value] = self.spare.get(o.value, 0) + 1
            return
        self.pending.add(number)
        if o.kind == GET:
            self.states = {self.see(state) for state in self.states}

    def see(self, state):
        """Places every get under way that fits now: this changes no value, so it forbids nothing later."""
        value, happened, used = state
        fits = [n for n in self.pending
                if n not in happened and self.operations[n].kind == GET and self.operations[n].value == value]
        return (value, happened.union(fits), used) if fits else state

    def successors(self, state):
        value, happened, used = state
        for n in self.pending:
            o = self.operations[n]
            if n not in happened and o.written:
                yield self.see((o.value, happened | {n}, used))
        counts = dict(used)
        for other, available in self.spare.items():
            if counts.get(other, 0) < available and other != value:
                more = {**counts, other: counts.get(other, 0) + 1}
                yield self.see((other, happened, tuple(sorted(more.items(), key=str))))

    def end(self, number):
        """Keeps the states in which the operation can have happened by now. Returns those before if none is left."""
        reached, waiting, done = set(self.states), list(self.states), set()
        while waiting:
            state = waiting.pop()
            if number in state[1]:
                done.add(state)  # no further step is demanded yet
                continue
            for following in self.successors(state):
                if following not in reached:
                    reached.add(following)
                    waiting.append(following)
            if len(reached) > MAX_STATES:
                raise Undecided(f'more than {MAX_STATES} states at {self.operations[number]}')
        self.pending.discard(number)
        before = self.states
        self.states = without_wasteful({(v, happened - {number}, used) for v, happened, used in done})
        return before if not self.states else None


def without_wasteful(states):
    """Leaves out the states that differ from another one only in having used more writes of unknown outcome."""
    if len(states) < 2 or not any(used for _, _, used in states):
        return states
    groups = {}
    for value, happened, used in states:
        groups.setdefault((value, happened), []).append(dict(used))
    kept = set()
    for (value, happened), uses in groups.items():
        uses.sort(key=lambda use: sum(use.values()))
        least = []
        for use in uses:
            if not any(all(use.get(v, 0) >= count for v, count in other.items()) for other in least):
                least.append(use)
        kept.update((value, happened, tuple(sorted(use.items(), key=str))) for use in least)
    return kept


def bound_unknown(operations):
    """An unknown put whose value is its own and that nobody saw never happened; one that was seen happened before that
    get returned. Neither changes the verdict, both keep the search small."""
    counts, first_seen = {}, {}
    for o in operations:
        if o.kind == PUT:
            counts[o.value] = counts.get(o.value, 0) + 1
        elif o.kind == GET:
            first_seen[o.value] = min(o.end, first_seen.get(o.value, UNKNOWN))
    for o in operations:
        if o.kind != PUT or o.end != UNKNOWN:
            yield o
        elif o.value not in first_seen:
            continue  # whoever put it: without a get nothing depends on it
        elif counts[o.value] > 1 or first_seen[o.value] < o.call:
            yield o
        else:
            yield dataclasses.replace(o, end=first_seen[o.value])


def check_search(operations, initial):
    operations = list(bound_unknown(operations))
    search = Search(operations, initial)
    # At one moment calls come before returns: both orders are then allowed.
    events = sorted([(o.call, 0, n) for n, o in enumerate(operations)] +
                    [(o.end, 1, n) for n, o in enumerate(operations) if o.end != UNKNOWN])
    for _, is_end, number in events:
        if not is_end:
            search.call(number)
            continue
        before = search.end(number)
        if before is not None:
            return explain(operations, number, before)
    return Verdict(True)


def explain(operations, number, states):
    """Names the operation that fits nowhere, what ran beside it, and the latest write before that."""
    o = operations[number]
    beside = [x for x in operations if x is not o and x.call <= o.end and x.end >= o.call and x.end != UNKNOWN]
    earlier = [x for x in operations if x.written and x.end < o.call]
    last = [max(earlier, key=lambda x: x.end)] if earlier else []
    same = [x for x in operations if x.written and o.kind == GET and x.value == o.value and x not in beside + last]
    values = sorted({str(state[0]) for state in states})
    text = f'no order explains: {o}; the value before could be {" or ".join(values)}; what matters around it:'
    return Verdict(False, text, tuple(sorted([*last, *same, *beside], key=lambda x: x.call))[:20])
