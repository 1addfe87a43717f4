"""The sha256 of a file while llama.cpp writes it: reading gigabytes again afterwards takes as long as some types do."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from gguf_bench.errors import QuantizeError

CHUNK_BYTES = 2**20
LOOK_EVERY_SECONDS = 0.02
LEAST_PRIORITY = 19


class HashWritten:
    """Follows the file at `path`, written from front to back but for its header, which is put in last.

    `foretell` says what that will be, and `data_bytes` what comes behind it. Use as a context manager around the
    writing; `sha256` is there when the block is over, or None where the file came to something else, the header cannot
    be foretold or the file not be read to its end. A thread foretells and reads what has come, from memory still; it
    neither waits for the writer nor keeps it waiting, since ggml and hashlib let go of Python's lock.
    """

    def __init__(self, path: Path, foretell: Callable[[], bytes], data_bytes: int) -> None:
        self.sha256: str | None = None
        self._path, self._foretell, self._data_bytes = path, foretell, data_bytes
        self._header = b""
        self._digest = hashlib.sha256()
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
        with suppress(OSError, QuantizeError):
            self._header = self._foretell()
            self._digest.update(self._header)
            with self._path.open("rb", buffering=0) as file:
                self._read(file.fileno())

    def _read(self, file: int) -> None:
        place, buffer = len(self._header), memoryview(bytearray(CHUNK_BYTES))
        while True:
            is_end = self._written.is_set()  # asked before reading, or the last bytes could be missed
            n = os.preadv(file, [buffer], place)
            self._digest.update(buffer[:n])
            place += n
            if n == 0:
                if is_end:
                    self._is_whole = place == len(self._header) + self._data_bytes
                    return
                self._written.wait(LOOK_EVERY_SECONDS)
