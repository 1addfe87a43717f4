"""Damaged input without end: every number stands for one, the same on every machine.

    python -m tests.fuzz                        10,000 inputs of every target, and a table
    python -m tests.fuzz pickle -n 500          500 of one
    python -m tests.fuzz pickle --one 4711      one of them again; it is written to build/fuzz, too

Exits with 1 where something was found: an exception that is no known error, a message of several lines, a hang, or
memory without end. What was found is kept in build/fuzz.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.run import KEPT, ROOT, Result, keep, run
from tests.fuzz.targets import TARGETS
from tests.fuzz.worker import outcome

HEADS = ("target", "inputs", "seconds", "accepted", "refused", "died", "slowest", "peak", "findings")
ROW = "{:12} {:>7} {:>8} {:>9} {:>8} {:>6} {:>8} {:>9} {:>9}"


def line(name: str, found: Result) -> str:
    counts = (f"{count:,}" for count in (found.accepted, found.refused, found.died))
    slowest, peak = f"{found.slowest_seconds:.1f} s", f"{found.peak_bytes / 2**20:.0f} MiB"
    return ROW.format(name, f"{found.inputs:,}", f"{found.seconds:.0f}", *counts, slowest, peak, len(found.findings))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("target", nargs="*", choices=[[], *TARGETS], help=", ".join(TARGETS))
    parser.add_argument("-n", "--inputs", type=int, default=10_000)
    parser.add_argument("--one", type=int, metavar="NUMBER", help="try this one alone, in this process")
    options = parser.parse_args()
    chosen = options.target or list(TARGETS)
    if options.one is not None:
        return max(again(name, options.one) for name in chosen)
    print(ROW.format(*HEADS), flush=True)  # noqa: T201
    n_findings = 0
    for name in chosen:
        found = run(name, options.inputs)
        print(line(name, found), flush=True)  # noqa: T201
        for finding in found.findings:
            print(f"  {name} {finding.n}: {finding.what} ({finding.kept.relative_to(ROOT)})", flush=True)  # noqa: T201
        n_findings += len(found.findings)
    return 1 if n_findings else 0


def again(name: str, n: int) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        cases = TARGETS[name].open(Path(scratch))
        case = cases.case(n)
        print(f"{name} {n}: {case.name}, {case.how}, {len(case.content):,} bytes, in {keep(KEPT, name, n, case)}")  # noqa: T201
        what, message = outcome(cases, case)
    print(f"{what}: {message}" if message else what)  # noqa: T201
    return 1 if what == "finding" else 0


if __name__ == "__main__":
    sys.exit(main())
