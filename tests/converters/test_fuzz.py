"""Whatever is done to the files of a checkpoint, converting it makes a whole file or says in one line why not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.converters.fuzz import TARGETS

N_FILES = 2100
N_PROCESSES = 2
ROOT = Path(__file__).parents[2]


def start(first: int, log: Path) -> subprocess.Popen[bytes]:
    """Begin at number `first`; every N_PROCESSES-th one is done."""
    command = [sys.executable, "-m", "tests.converters.fuzz", str(first), str(N_FILES), str(N_PROCESSES)]
    with log.open("ab") as out, log.with_suffix(".err").open("ab") as errors:
        return subprocess.Popen(command, stdout=out, stderr=errors, cwd=ROOT)


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


@pytest.mark.timeout(900)
def test_damaged_checkpoints(tmp_path: Path) -> None:
    logs = [tmp_path / f"{i}.log" for i in range(N_PROCESSES)]
    processes = [start(i, log) for i, log in enumerate(logs)]
    died = []
    for i, log in enumerate(logs):
        while code := processes[i].wait():
            last = lines(log)[-1] if log.stat().st_size else {}
            assert "start" in last, log.with_suffix(".err").read_text(encoding="utf-8")
            died.append({**last, "exit code": code})
            assert len(died) < 10, died
            processes[i] = start(int(last["start"]) + N_PROCESSES, log)
    assert died == []
    done = [line for log in logs for line in lines(log) if "outcome" in line]
    assert sorted(line["n"] for line in done) == list(range(N_FILES))
    complaints = [line for line in done if line["outcome"] not in ("converted", "refused")]
    assert complaints == []

    outcomes = Counter((line["file"], line["outcome"]) for line in done)
    for file in {file for _, file in TARGETS} - {"special_tokens_map.json"}:
        assert outcomes[file, "refused"], file  # else nothing of it is read, or nothing of it is damaged
    # Some damage does not matter: a value that is not used, the bits of a weight.
    assert N_FILES / 2 < sum(n for (_, outcome), n in outcomes.items() if outcome == "refused") < N_FILES
