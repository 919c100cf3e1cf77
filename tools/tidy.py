#!/usr/bin/env python3
"""House rules that a compiler does not check: sizes, banned constructs, headers that nobody includes."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MAX_FILE, MAX_FUNCTION, MAX_LINE = 500, 70, 120

# (pattern, folders or files where it is allowed, what to use instead)
BANNED = [
    (r'\bstd::regex\b|#include <regex>', (), 'RE2 or a hand-written parser: std::regex overflows the stack'),
    (r'\basio::detached\b', (), 'TaskScope::spawn'),
    (r'\b(system|steady|high_resolution)_clock::now\b', ('src/io/asio/',), 'io::Clock'),
    (r'\brandom_device\b|\bmt19937|#include <random>', (), 'io::Random'),
    (r'\bthis_thread::sleep|\busleep\(', ('src/io/asio/',), 'io::sleep_for, or wait for the event itself'),
    (r'\bvolatile\b', (), 'std::atomic'),
    (r'\bFIXME\b|\bTODO\b|\bXXX\b', (), 'do it now or write an issue'),
    (r'catch \(\.\.\.\)(?!.*throw)', ('src/io/', 'src/http/'), 'catch what you expect'),
    (r'std::filesystem::', ('src/io/asio/', 'src/server/', 'tests/'), 'io::Disk'),
    (r'co_await[^;]*\?[^;]*co_await', (), 'one co_await per statement'),
    (r'/work/|/root/', (), 'no paths of a machine'),
]
FUNCTION_END = re.compile(r'^\}')
CONTROL = re.compile(r'^(namespace|class|struct|enum|union|extern|#|\}|//|template <|using|static_assert|constexpr auto)')


def long_functions(lines):
    """Functions as clang-format lays them out: a line at column 0 that opens a brace, closed by '}' at column 0."""
    start = None
    for number, line in enumerate(lines, 1):
        if start is None:
            if line and not line[0].isspace() and line.rstrip().endswith('{') and not CONTROL.match(line):
                start = number
        elif FUNCTION_END.match(line):
            if number - start + 1 > MAX_FUNCTION:
                yield start, number - start + 1
            start = None


def main():
    problems = []
    files = [f for base in ('src', 'sim', 'bench', 'tests') for f in sorted((ROOT / base).rglob('*'))
             if f.suffix in ('.h', '.cc')]
    included = set()
    for file in files:
        name = str(file.relative_to(ROOT))
        lines = file.read_text().splitlines()
        is_test = re.search(r'_(test|bench|fuzz)\.cc$', name) is not None
        if len(lines) > MAX_FILE:
            problems.append(f'{name}: {len(lines)} lines; divide it (at most {MAX_FILE})')
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_LINE and 'http' not in line:
                problems.append(f'{name}:{number}: line of {len(line)} characters (at most {MAX_LINE})')
            for pattern, allowed, instead in BANNED:
                code = line if 'TODO' in pattern or '/work/' in pattern else line.split('//')[0]
                if re.search(pattern, code) and not name.startswith(allowed or ('\0',)):
                    problems.append(f'{name}:{number}: banned: {line.strip()[:60]}; use {instead}')
            match = re.match(r'\s*#include "([^"]+)"', line)
            if match:
                included.add(match.group(1))
        if not is_test:
            for start, length in long_functions(lines):
                problems.append(f'{name}:{start}: function of {length} lines (at most {MAX_FUNCTION})')
    for file in files:
        if file.suffix == '.h':
            name = str(file.relative_to(ROOT))
            short = name[4:] if name.startswith('src/') else name
            if short not in included:
                problems.append(f'{name}: nobody includes this header')
    print('\n'.join(problems) if problems else 'tidy: the house rules hold')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
