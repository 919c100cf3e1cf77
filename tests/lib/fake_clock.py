"""A wall clock that a file sets, for processes started with its environment (libfaketime). Monotonic clocks stay true.

A static program (etcd) is not caught, and a program built for the thread sanitizer hangs at its start.
"""
import pathlib

LIBRARY = next(iter(sorted(pathlib.Path('/usr/lib').glob('*/faketime/libfaketimeMT.so.1'))), None)
SECONDS = 1  # after which a process sees that the clock was set


class FakeClock:
    def __init__(self, file):
        self.file = pathlib.Path(file)
        self.set('+0')

    def set(self, offset):
        """Before (-) or after the true time: '+20d', '-50m', '+0'."""
        new = self.file.with_suffix('.new')
        new.write_text(offset + '\n')
        new.replace(self.file)

    def environment(self):
        """Empty where the library is not there."""
        if not LIBRARY:
            return {}
        return {'LD_PRELOAD': str(LIBRARY), 'FAKETIME_TIMESTAMP_FILE': str(self.file), 'FAKETIME_DONT_FAKE_MONOTONIC': '1',
                'FAKETIME_CACHE_DURATION': str(SECONDS)}
