"""The command line: options in, one call, result out. Data goes to standard output, everything else to standard error.

Exit codes: 0 done, 1 known failure, 2 usage, 3 finished but some contenders failed, 130 interrupted (run it again).
The commands are imported by `main` once an interrupt leaves no traceback, and they import the stages inside their
functions, so that `--help` costs nothing.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
FAREWELL = "interrupted; run the same command again to go on\n"
GRACE_SECONDS = 1.5
"""What an interrupt leaves for tidying up. Then the process ends as by `kill -9`, which every stage is made for."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> NoReturn:
    """The `gguf-bench` command."""
    try:
        _on_signals(_interrupt)
        _open_closed_streams()
        from gguf_bench.cli.commands import run

        exit_code = run()
    except BaseException:
        # While a module is imported Python may wrap the interrupt in an error of its own.
        if not _interrupted:
            raise
        exit_code = INTERRUPTED
    if not _interrupted:
        sys.exit(_flushed(exit_code))
    _on_signals(_leave)
    with suppress(OSError):
        sys.stderr.write(FAREWELL)
    _flushed(exit_code)
    _leave()  # not sys.exit: Python would end itself by SIGINT where the interrupt met an exec, as dataclasses use


_interrupted: list[int] = []
"""The signals that asked us to stop."""


def _on_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, handler)


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    if _interrupted:
        _leave()  # a second one
    _interrupted.append(number)
    sys.unraisablehook = _nothing  # Python would print, and drop, one that meets a destructor or an import's callback
    _thread.start_new_thread(_leave_soon, ())  # takes no lock that the interrupted code may hold, as Thread() would
    raise KeyboardInterrupt


def _nothing(_unraisable: object) -> None:
    pass


def _leave_soon() -> NoReturn:
    """End the process where the interrupt is lost (Python drops one that meets a destructor) or the end takes long."""
    time.sleep(GRACE_SECONDS)
    with suppress(OSError):
        os.write(2, FAREWELL.encode())
    _leave()


def _leave(_number: int = 0, _frame: FrameType | None = None) -> NoReturn:
    os._exit(INTERRUPTED)


def _open_closed_streams() -> None:
    """Put the null device where a standard stream is closed (`>&-`), or the next file opened would take its place."""
    null_device = Path(os.devnull)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, null_device.open(mode, encoding="utf-8", errors="backslashreplace"))


def _flushed(exit_code: int) -> int:
    """Write what is left, or drop it where that failed and was said already, lest the interpreter tries once more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return exit_code
