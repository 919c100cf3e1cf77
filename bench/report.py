"""What the benchmarks share: a table that is printed, and with --write put under its heading in docs/benchmarks.md."""
import argparse
import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'tests/lib'))
import cluster_testing as ct  # noqa: E402
import hansa_testing as ht  # noqa: E402

DOCS = ht.ROOT / 'docs'


def write(text, heading):
    file = DOCS / 'benchmarks.md'
    whole = file.read_text()
    start = whole.find(heading)
    if start < 0:
        file.write_text(whole.rstrip('\n') + '\n\n' + text)
        return
    end = whole.find('\n## ', start + 1)
    file.write_text(whole[:start] + text + ('' if end < 0 else whole[end:]))


def run(description, heading, measure):
    """`measure(folder)` gives the table; the folder is there for it alone."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--write', action='store_true', help='put the table into docs/benchmarks.md')
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix='hansa-bench-'))
    try:
        text = measure(folder)
    except ct.tool.Problem as problem:
        sys.exit(f'{sys.argv[0]}: {problem}')
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(text)
    if options.write:
        write(text, heading)
