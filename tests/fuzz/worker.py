"""The process in which the cases of one target are tried, one after the other.

    python -m tests.fuzz.worker TARGET FIRST STOP STEP

One line of JSON each on standard output: {"start": n} before a case, so that whoever started this knows which one ended
the process, then what came of it; at last the peak of its memory.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from converters import ConversionError
from gguf_bench.errors import GgufBenchError
from tests.fuzz.target import Case, Cases, Finding
from tests.fuzz.targets import TARGETS

MAX_MESSAGE = 4200
"""Of an error and its hint."""

HUNG = 1
"""The exit code of a process that faulthandler ended; whoever died of memory or a signal has another."""


def outcome(cases: Cases, case: Case) -> tuple[str, str]:
    """`accepted`, `refused` or `finding`, and what was said."""
    try:
        return ("accepted", "") if cases.check(case) else ("refused", "")
    except (ConversionError, GgufBenchError) as error:
        message = str(error)
        if not message or not message.isprintable() or len(message) > MAX_MESSAGE:
            return "finding", f"the message is not one short line that prints: {message[:300]!r}"
        return "refused", message[:300]
    except Finding as finding:
        return "finding", str(finding)[:1000]
    except BaseException as error:  # noqa: BLE001 - that is what this is about
        return "finding", f"raised {type(error).__name__}: {str(error)[:300]}"


def tell(**line: Any) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


def _peak_kilobytes() -> int:
    """Of this program: what getrusage tells holds that of the parent, too, from before the program was started."""
    (peak,) = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
    return int(peak)


def main() -> None:
    name, *numbers = sys.argv[1:]
    target = TARGETS[name]
    warnings.simplefilter("error")
    logging.disable()  # gguf's own, about cards it cannot make sense of
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as scratch:
        cases = target.open(Path(scratch))
        outcome(cases, cases.case(0))  # what is loaded when it is needed first does not count
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + target.spare_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for n in range(*map(int, numbers)):
            case = cases.case(n)
            tell(start=n)
            faulthandler.dump_traceback_later(target.seconds, exit=True)
            began = time.process_time()
            what, message = outcome(cases, case)
            faulthandler.cancel_dump_traceback_later()
            tell(n=n, outcome=what, message=message, seconds=time.process_time() - began)
    tell(peak_bytes=_peak_kilobytes() * 1024)


if __name__ == "__main__":
    main()
