"""A short run of every target of the fuzz suite; `make fuzz` does 10,000 inputs of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from gguf_bench.errors import GgufBenchError
from tests.fuzz import run as running
from tests.fuzz import worker
from tests.fuzz.run import Found, Result, run
from tests.fuzz.target import Case, Finding
from tests.fuzz.targets import TARGETS

N_INPUTS = 120


def tried(name: str, folder: Path) -> Result:
    """In this process, which is quicker, where what is tested runs in the user's too."""
    if TARGETS[name].contained:
        return run(name, N_INPUTS, kept=folder / "kept")
    cases, result = TARGETS[name].open(folder), Result()
    for n in range(N_INPUTS):
        what, message = worker.outcome(cases, cases.case(n))
        result.inputs += 1
        result.accepted += what == "accepted"
        result.refused += what == "refused"
        if what == "finding":
            result.findings.append(Found(n, message, folder))
    return result


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_is_read_is_accepted_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    found = tried(name, tmp_path)
    assert found.findings == []
    assert found.inputs == found.accepted + found.refused + found.died == N_INPUTS
    assert found.accepted > 1  # else the damage hides what comes after it
    assert found.refused > 1


FOUND = {
    "checkpoint": (8507,),  # a number that no float32 holds: OverflowError
    "safetensors": (81, 1904, 3034, 9177),  # taken, although the format does not allow it
    "pickle": (3359,),  # a member beyond the end of its archive: EOFError
    "gguf": (40, 42, 125, 258),  # control characters in the message
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_once_is_refused(name: str, tmp_path: Path) -> None:
    """As long as the seeds and the damage stay as they are; where these change, so does what a number stands for."""
    cases = TARGETS[name].open(tmp_path)
    assert [worker.outcome(cases, cases.case(n))[0] for n in FOUND[name]] == ["refused"] * len(FOUND[name])


def test_a_number_stands_for_the_same_input_each_time(tmp_path: Path) -> None:
    for name, target in TARGETS.items():
        cases = []
        for folder in (tmp_path / name / "a", tmp_path / name / "b"):
            folder.mkdir(parents=True)
            opened = target.open(folder)
            cases.append([opened.case(n) for n in range(3)])
        assert cases[0] == cases[1], name


class Careless:
    """A target with everything that is to be found."""

    def case(self, n: int) -> Case:
        return Case("x.txt", "none", str(n).encode())

    def check(self, case: Case) -> bool:
        match int(case.content):
            case 1:
                raise ValueError("not ours")
            case 2:
                raise Finding("what must not be")
            case 3:
                error = GgufBenchError("")
                error.message = "two\nlines"
                raise error
            case 4:
                raise GgufBenchError("known")
        return True


@pytest.mark.parametrize(
    ("n", "outcome", "said"),
    [
        (0, "accepted", ""),
        (1, "finding", "raised ValueError: not ours"),
        (2, "finding", "what must not be"),
        (3, "finding", "not one short line"),
        (4, "refused", "known"),
    ],
)
def test_what_is_a_finding(n: int, outcome: str, said: str) -> None:
    cases = Careless()
    what, message = worker.outcome(cases, cases.case(n))
    assert what == outcome
    assert said in message


WORKER = """
import json, os, sys, time
name, first, stop, step = sys.argv[1:]
for n in range(int(first), int(stop), int(step)):
    print(json.dumps({"start": n}), flush=True)
    if n == 2:
        os.abort()
    if n == 3:
        os._exit(1)
    print(json.dumps({"n": n, "outcome": "refused", "message": "", "seconds": 0.5}), flush=True)
print(json.dumps({"peak_bytes": 7}), flush=True)
"""


@pytest.mark.parametrize(("name", "n_findings", "died"), [("gguf", 2, 0), ("llama.cpp", 1, 1)])
def test_what_ends_its_process_is_found_and_the_next_is_tried(
    name: str, n_findings: int, died: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A death is none of a contained target's faults, a hang is."""
    fuzz = tmp_path / "root" / "tests" / "fuzz"
    fuzz.mkdir(parents=True)
    (fuzz / "worker.py").write_text(WORKER)
    for package in (fuzz, fuzz.parent):
        (package / "__init__.py").touch()
    monkeypatch.setattr(running, "ROOT", tmp_path / "root")
    found = run(name, 6, kept=tmp_path / "kept")
    assert (found.inputs, found.refused, found.died, found.peak_bytes) == (6, 4, died, 7)
    assert [finding.n for finding in found.findings] == [2, 3][-n_findings:]
    assert found.findings[-1].what.startswith("hung")
    assert all(finding.kept.read_bytes() for finding in found.findings)
    assert len(list((tmp_path / "kept").iterdir())) == n_findings
