"""llama.cpp's log, heard through a callback: what it says of a load, and why something failed."""

from __future__ import annotations

import ctypes
import os
import re
from collections import deque
from collections.abc import Callable

from gguf_bench.llama.bindings import llama_cpp

ERROR, WARN = 4, 3
"""ggml's log levels (llama-cpp-python's own table is off by one)."""


MOST_ERRORS = 20


class Log:
    """llama.cpp's log: `recent` lines for reading facts back, `errors` for saying why something failed."""

    def __init__(self) -> None:
        self.recent: deque[str] = deque(maxlen=2000)
        self.errors: list[str] = []
        self.on_line: Callable[[str], None] | None = None
        self._level, self._partial = 0, ""
        self._callback = llama_cpp.llama_log_callback(self._hear)  # kept: llama.cpp holds only the pointer
        llama_cpp.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _hear(self, level: int, text: bytes, _user_data: object) -> None:
        self._level = self._level if level == 5 else level  # 5 continues the line before
        *lines, self._partial = (self._partial + text.decode("utf-8", "replace")).split("\n")
        for line in lines:
            self.recent.append(line)
            if self._level in (WARN, ERROR):
                os.write(2, (line + "\n").encode())
            if self._level == ERROR and line.strip() and len(self.errors) < MOST_ERRORS:
                self.errors.append(line.strip())
            if self.on_line is not None:
                self.on_line(line)

    def why(self) -> str:
        """The first error since the last clear (later ones only repeat that it failed), as ': reason', or nothing."""
        return f": {self.errors[0]}" if self.errors else ""

    def last_match(self, pattern: str) -> re.Match[str] | None:
        return next((match for line in reversed(self.recent) if (match := re.search(pattern, line))), None)


_log: Log | None = None


def log() -> Log:
    """The one log of this process; the first call starts llama.cpp's backends."""
    global _log
    if _log is None:
        _log = Log()
        llama_cpp.llama_backend_init()
    return _log
