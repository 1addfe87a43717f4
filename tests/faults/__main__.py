"""What may go wrong with a run, done to real ones of SmolLM2, one fault after the other.

    python -m tests.faults                             everything; about three quarters of an hour
    python -m tests.faults --only hub "kill -9"        those whose suite, fault or place has a NAME in it
    python -m tests.faults --list                      what there is, and what each is held to
    python -m tests.faults --write docs/faults.md      put what came of it into the table there

Prints a table as Markdown; exits with 1 where something did not come out as promised.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.disks import NotHere
from tests.faults.fault import Fault, Outcome, suffer
from tests.faults.suites import SUITES, chosen
from tests.faults.table import HEAD, row, with_rows

REPEATS = 50


def tried(fault: Fault, repeats: int) -> Outcome | None:
    """None where this machine cannot make it."""
    began = time.monotonic()
    try:
        found = suffer(fault, repeats)
    except NotHere as why:
        _say(f"not tried: {fault.name}, {fault.where}: {why}")
        return None
    except Exception as error:  # noqa: BLE001 (the others are to be tried all the same)
        found = Outcome(f"the trial itself broke: {type(error).__name__}: {error}"[:600], False)
    _say(f"{time.monotonic() - began:6.0f} s  {fault.name}, {fault.where}")
    return found


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help=f"of a suite ({', '.join(SUITES)}) or fault"
    )
    parser.add_argument("--repeats", type=int, default=REPEATS, help="kills of the parent, and as many of the child")
    parser.add_argument("--list", action="store_true", help="try nothing, but say what there is")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the rows into the table of this Markdown file")
    options = parser.parse_args(arguments)
    faults = chosen(options.only)
    if not faults:
        parser.error(f"there is none of: {', '.join(options.only)}")
    if options.list:
        for fault in faults:
            print(f"{fault.name}, {fault.where}: {fault.promise}")  # noqa: T201
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that disks are unmounted and folders removed
    print(HEAD, flush=True)  # noqa: T201
    as_promised = True
    for fault in faults:
        found = tried(fault, options.repeats)
        if found is None:
            continue
        as_promised = as_promised and found.as_promised
        line = row(fault, found)
        print(line, flush=True)  # noqa: T201
        if options.write is not None:
            options.write.write_text(with_rows(options.write.read_text("utf-8"), [line]), "utf-8")
    return 0 if as_promised else 1


if __name__ == "__main__":
    sys.exit(main())
