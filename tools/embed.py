#!/usr/bin/env python3
"""Turns the files of src/api/ui into one C++ source, for src/api/ui_files.h: embed.py OUTPUT FILE..."""
import pathlib
import sys

MOST_BYTES = 60_000  # of one file: compilers need not take longer literals
DELIMITER = 'hansa_ui'  # of the raw literals; at most 16 characters


def literal(file):
    text = file.read_text(encoding='utf-8')
    if len(text.encode()) > MOST_BYTES:
        sys.exit(f'{file}: {len(text.encode())} bytes; at most {MOST_BYTES}: divide it')
    if f'){DELIMITER}"' in text:
        sys.exit(f'{file}: holds the end of a C++ raw literal')
    return f'R"{DELIMITER}({text}){DELIMITER}"'


def main():
    output, files = pathlib.Path(sys.argv[1]), sorted(pathlib.Path(name) for name in sys.argv[2:])
    entries = '\n'.join(f'    {{"{file.name}", {literal(file)}}},' for file in files)
    source = f'''// Made by tools/embed.py from src/api/ui.
#include <array>

#include "api/ui_files.h"

namespace hansa::api {{
namespace {{

constexpr std::array<UiFile, {len(files)}> files = {{{{
{entries}
}}}};

}}  // namespace

std::span<const UiFile> ui_files() {{
  return files;
}}

}}  // namespace hansa::api
'''
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(source, encoding='utf-8')


if __name__ == '__main__':
    main()
