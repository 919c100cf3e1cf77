"""A second opinion on histories of tags: Porcupine, built by `./dev clients` from tests/porcupine."""
import dataclasses
import json
import subprocess

import hansa_testing as ht
import linearizability as lin

PROGRAM = ht.CLIENTS / 'porcupine-check'
NANOSECONDS = 1_000_000_000


@dataclasses.dataclass
class Verdict:
    checked: int  # registers
    operations: int
    illegal: list
    undecided: list  # given up after two minutes


def line_of(name, history):
    operations = []
    for o in history:
        if o.kind == lin.GET and o.end == lin.UNKNOWN:
            continue
        end = None if o.end == lin.UNKNOWN else int(o.end * NANOSECONDS)
        operations.append([o.kind, o.value, int(o.call * NANOSECONDS), end])
    return json.dumps({'name': ':'.join(name) if isinstance(name, tuple) else name, 'operations': operations})


def judge(histories):
    """{register: [linearizability.Operation]} -> Verdict; None where the program was not built (no Go)."""
    if not PROGRAM.exists():
        return None
    text = '\n'.join(line_of(name, history) for name, history in sorted(histories.items())) + '\n'
    done = subprocess.run([str(PROGRAM)], input=text, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f'{PROGRAM} failed: {done.stderr[-2000:]}')
    return Verdict(**json.loads(done.stdout))
