#!/usr/bin/env python3
"""One configuration for each of zot's examples: `hansa verify` accepts it, or names exactly the keys not built yet.

tests/zot-configs/expected.json lists for every file the keys that are refused; an empty list: accepted.
"""
import json
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import hansa_testing as ht  # noqa: E402

CONFIGS = ht.ROOT / 'tests/zot-configs'
EXPECTED = json.loads((CONFIGS / 'expected.json').read_text())
STRAY = 'strayKey'
# What stands below these keys is up to a driver; and the keys of these maps are anybody's.
FREE = {'storageDriver', 'cacheDriver', 'sessionDriver', 'headers', 'mgmt'}
MAPS = {'repositories', 'groups', 'providers', 'subPaths'}


def with_strays(value, path, found):
    """A copy with an unknown key in every object; their paths go to `found`."""
    if isinstance(value, list):
        return [with_strays(item, f'{path}[{index}]', found) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    name = path.rsplit('.', 1)[-1]
    if name in FREE:
        return value
    copy = {key: with_strays(item, f'{path}.{key}' if path else key, found) for key, item in value.items()}
    if name not in MAPS or path.endswith('.policies'):
        found.append(f'{path}.{STRAY}' if path else STRAY)
        copy[STRAY] = 1
    return copy


class ZotConfigs(ht.TestCase):
    def hansa(self, command, path):
        return subprocess.run([str(ht.BINARY), command, str(path)], capture_output=True, text=True, timeout=30,
                              cwd=self.folder)

    def refused_keys(self, done, path):
        keys = []
        for line in done.stderr.splitlines():
            start = f'hansa: {path}: '
            self.assertTrue(line.startswith(start), line)
            keys.append(line[len(start):].split(': ', 1)[0])
        return keys

    def test_every_file_is_listed(self):
        files = {path.name for path in CONFIGS.iterdir()} - {'expected.json'}
        self.assertEqual(files, set(EXPECTED))

    def test_each_is_accepted_or_names_what_is_not_built(self):
        for name, keys in EXPECTED.items():
            with self.subTest(name):
                path = CONFIGS / name
                done = self.hansa('verify', path)
                self.assertEqual(done.returncode, 1 if keys else 0, done.stderr)
                if not keys:
                    self.assertIn('valid', done.stdout)
                    continue
                self.assertEqual(sorted(self.refused_keys(done, path)), sorted(keys), done.stderr)
                for line in done.stderr.splitlines():
                    self.assertIn('not built yet', line)

    def test_none_is_half_accepted(self):
        """What verify refuses, serve refuses in the same words, before it touches the disk."""
        for name, keys in EXPECTED.items():
            if keys:
                with self.subTest(name):
                    done = self.hansa('serve', CONFIGS / name)
                    self.assertEqual(done.returncode, 1)
                    self.assertEqual(done.stderr, self.hansa('verify', CONFIGS / name).stderr)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_an_unknown_key_is_found_wherever_it_stands(self):
        for name in EXPECTED:
            if not name.endswith('.json'):
                continue
            with self.subTest(name):
                found = []
                path = self.folder / name
                path.write_text(json.dumps(with_strays(json.loads((CONFIGS / name).read_text()), '', found)))
                done = self.hansa('verify', path)
                unknown = [line for line in done.stderr.splitlines() if 'unknown key' in line]
                for key in found:
                    self.assertTrue(any(f': {key}: ' in line for line in unknown), f'{key} in\n{done.stderr}')

    def test_every_key_is_documented(self):
        schema = json.loads(subprocess.run([str(ht.BINARY), 'schema'], capture_output=True, text=True).stdout)
        text = (ht.ROOT / 'docs/operations/configuration.md').read_text()
        top = [key for key in keys_of(schema, '') if f'`{key}`' not in text]
        self.assertEqual(top, [])


def keys_of(schema, path):
    """Paths of the keys that a document must name: what is built, and the outermost of what is not."""
    for name, child in schema.get('properties', {}).items():
        key = f'{path}.{name}' if path else name
        if 'not built yet' in child.get('description', ''):
            yield key
            continue
        inner = child.get('items', child)
        if isinstance(child.get('additionalProperties'), dict):
            yield from keys_of(child['additionalProperties'], key + '.*')
        elif 'properties' in inner:
            yield from keys_of(inner, key)
        else:
            yield key


if __name__ == '__main__':
    ht.main()
