#!/usr/bin/env python3
"""Refuses every #include that tools/rooms.txt does not allow. Run by the build's tests and by ./dev check."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# Headers of the C and POSIX world that carry ".h" or a folder and are free to all rooms.
SYSTEM = re.compile(r'^(sys/|arpa/|netinet/|netdb\.h|linux/|fcntl\.h|unistd\.h|signal\.h|malloc\.h|poll\.h|immintrin\.h|nmmintrin\.h|'
                    r'cpuid\.h|pthread\.h|sched\.h|pwd\.h|spawn\.h|dirent\.h|stdlib\.h|string\.h|stdio\.h|stdint\.h|errno\.h|time\.h|sanitizer/)')


def read_rooms():
    rooms = {}
    for number, line in enumerate((ROOT / 'tools/rooms.txt').read_text().splitlines(), 1):
        if not line or line.startswith('#'):
            continue
        match = re.match(r'^([a-z/_]+)\s*:([^|]*)\|\s*(?:third:(.*))?$', line)
        if not match:
            sys.exit(f'tools/rooms.txt:{number}: not "room : imports | third: prefixes"')
        room, imports, third = match.group(1), match.group(2).split(), (match.group(3) or '').split()
        rooms[room] = (imports, third)
    for room, (imports, _) in rooms.items():
        for other in imports:
            if other != '*' and other not in rooms:
                sys.exit(f'tools/rooms.txt: room {room} imports {other}, which is no room')
    return rooms


def room_of(path, rooms):
    """The room with the longest folder that holds `path` (relative to src/, or to the root for sim/)."""
    best = None
    for room in rooms:
        if str(path).startswith(room + '/') and (best is None or len(room) > len(best)):
            best = room
    return best


def check_file(file, relative, rooms, problems):
    room = room_of(relative, rooms)
    if room is None:
        problems.append(f'{file}: belongs to no room of tools/rooms.txt')
        return
    imports, third = rooms[room]
    is_test = re.search(r'(_test|_bench|_fuzz)\.(cc|h)$', relative) or '/testing/' in relative
    for number, line in enumerate(file.read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        bracket, name = match.groups()
        where = f'{file.relative_to(ROOT)}:{number}'
        if bracket == '"':
            target = room_of(name, rooms)
            if target is None:
                problems.append(f'{where}: "{name}" is in no room; include project headers by their path under src/')
            elif target != room and target not in imports and imports != ['*'] and not is_test:
                problems.append(f'{where}: room {room} may not include {name} (room {target}); see tools/rooms.txt')
        elif ('/' in name or name.endswith('.h')) and not SYSTEM.match(name):
            allowed = any(name == p or (p.endswith('/') and name.startswith(p)) for p in third)
            if not allowed and not (is_test and name.startswith(('gtest/', 'gmock/', 'benchmark/', 'openssl/'))) \
                    and not is_test:
                problems.append(f'{where}: room {room} may not include <{name}>; see tools/rooms.txt')


def main():
    rooms = read_rooms()
    problems = []
    for base in (ROOT / 'src', ROOT / 'sim'):
        for file in sorted(base.rglob('*')):
            if file.suffix in ('.h', '.cc'):
                anchor = ROOT / 'src' if base.name == 'src' else ROOT
                check_file(file, str(file.relative_to(anchor)), rooms, problems)
    print('\n'.join(problems) if problems else 'rooms: every include is allowed')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
