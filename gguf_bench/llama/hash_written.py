"""The sha256 of a file while llama.cpp writes it: reading gigabytes again afterwards takes as long as some types do."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

CHUNK_BYTES = 2**20
LOOK_EVERY_SECONDS = 0.02
LEAST_PRIORITY = 19


class HashWritten:
    """Follows the file at `path`, which is written from front to back but for `header`, its first bytes, put in last.

    Use as a context manager around the writing; `sha256` is there when the block is over, or None where the file
    begins otherwise than foretold or could not be read to its end. A thread reads what has come, from memory still; it
    neither waits for the writer nor keeps it waiting, since hashlib lets go of Python's lock.
    """

    def __init__(self, path: Path, header: bytes) -> None:
        self.sha256: str | None = None
        self._path, self._header = path, header
        self._digest = hashlib.sha256(header)
        self._written = threading.Event()
        self._is_whole = False
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> HashWritten:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._written.set()
        self._thread.join()
        if kind is None and self._is_whole:
            with self._path.open("rb") as file:
                if file.read(len(self._header)) == self._header:
                    self.sha256 = self._digest.hexdigest()

    def _follow(self) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own: llama.cpp's threads wait for each other
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LEAST_PRIORITY)
        with suppress(OSError), self._path.open("rb", buffering=0) as file:
            place, buffer = len(self._header), memoryview(bytearray(CHUNK_BYTES))
            while True:
                is_whole = self._written.is_set()  # asked before reading, or the last bytes could be missed
                n = os.preadv(file.fileno(), [buffer], place)
                self._digest.update(buffer[:n])
                place += n
                if n == 0:
                    if is_whole:
                        self._is_whole = True
                        return
                    self._written.wait(LOOK_EVERY_SECONDS)
