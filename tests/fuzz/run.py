"""Tries many cases of a target in worker processes, whatever becomes of these."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.target import Case
from tests.fuzz.targets import TARGETS
from tests.fuzz.worker import HUNG

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "fuzz"
MAX_FINDINGS = 20
"""After so many, a target is left alone: something is wrong with all of it."""


@dataclass(frozen=True)
class Found:
    """What went wrong with the case of number `n`, and the file that it is kept in."""

    n: int
    what: str
    kept: Path


@dataclass
class Result:
    """`seconds` is the time on the clock; `died` counts the deaths of contained targets;
    `peak_bytes` holds
    what was loaded before the first case, too."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    died: int = 0
    seconds: float = 0.0
    slowest_seconds: float = 0.0
    peak_bytes: int = 0
    findings: list[Found] = field(default_factory=list)


def run(name: str, inputs: int, *, first: int = 0, processes: int = 1, kept: Path = KEPT) -> Result:
    """Try the cases `first` to `first + inputs` of a target, shared out to `processes`."""
    began, result = time.monotonic(), Result()
    with ThreadPoolExecutor(processes) as pool:
        for share in [
            pool.submit(_share, name, first + i, first + inputs, processes, kept, result) for i in range(processes)
        ]:
            share.result()
    result.seconds = time.monotonic() - began
    result.findings.sort(key=lambda found: found.n)
    return result


def _share(name: str, first: int, stop: int, step: int, kept: Path, result: Result) -> None:
    while first < stop and len(result.findings) < MAX_FINDINGS:
        command = [sys.executable, "-m", "tests.fuzz.worker", name, *map(str, (first, stop, step))]
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=ROOT)
            assert process.stdout is not None
            started: int | None = None
            for line in process.stdout:
                told = json.loads(line)
                started = told.get("start", started)
                if "outcome" in told:
                    _count(name, told, kept, result)
                    started = None
                    if len(result.findings) >= MAX_FINDINGS:
                        process.kill()
                        break
                result.peak_bytes = max(result.peak_bytes, told.get("peak_bytes", 0))
            process.stdout.close()
            code = process.wait()
            log.seek(0)
            said = log.read().decode("utf-8", "replace").strip()
        if started is None:
            if code and len(result.findings) < MAX_FINDINGS:
                raise RuntimeError(f"the worker of {name} ended with {code}: {said[-2000:]}")
            return
        result.inputs += 1
        if code < 0 and TARGETS[name].contained:
            result.died += 1
        else:
            what = "hung" if code == HUNG else f"ended its process with {code}"
            result.findings.append(_found(name, started, f"{what}: {' / '.join(said.splitlines()[:3])}", kept))
        first = started + step


def _count(name: str, told: dict[str, Any], kept: Path, result: Result) -> None:
    result.inputs += 1
    result.slowest_seconds = max(result.slowest_seconds, told["seconds"])
    if told["outcome"] == "accepted":
        result.accepted += 1
    elif told["outcome"] == "refused":
        result.refused += 1
    else:
        result.findings.append(_found(name, told["n"], told["message"], kept))


def _found(name: str, n: int, what: str, kept: Path) -> Found:
    with tempfile.TemporaryDirectory() as scratch:
        return Found(n, what, keep(kept, name, n, TARGETS[name].open(Path(scratch)).case(n)))


def keep(folder: Path, name: str, n: int, case: Case) -> Path:
    """Write a case to a file that is named by its target and number."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{n}-{Path(case.name).name}"
    path.write_bytes(case.content)
    return path
