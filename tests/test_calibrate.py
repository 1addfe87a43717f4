"""Which settings are chosen: by what was measured, the same for all contenders, and measured once."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gguf_bench import calibrate, child
from gguf_bench.calibrate import CHOICES, Subject, Work
from gguf_bench.gguf_header import GgufHeader, read_header
from gguf_bench.paths import cache_folder
from tests.tiny_models import lfm2, mamba

WORK = Work(message="x" * 5000, longest_chars=6500, sampled_tokens=16, max_answer_tokens=96)
GIB = 1 << 30


@pytest.fixture
def headers(tmp_path: Path) -> list[GgufHeader]:
    return [read_header(mamba(tmp_path / "a.gguf")), read_header(lfm2(tmp_path / "b.gguf"))]


def chosen(
    headers: Sequence[GgufHeader],
    seconds: list[list[float | None]],
    monkeypatch: pytest.MonkeyPatch,
    usual: int | None = None,
) -> Any:
    """The choice where each model would take so many `seconds` a document by each of CHOICES."""
    costs = {header.name: cost for header, cost in zip(headers, seconds, strict=True)}
    monkeypatch.setattr(calibrate, "_measured", lambda subject, work, *_: costs[subject.header.name])
    subjects = [Subject(path=Path(h.name), header=h, settings={}, template_kwargs={}) for h in headers]
    work = WORK if usual is None else replace(WORK, usual=CHOICES[usual])
    return calibrate.choose(subjects, work, "a machine")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([[2, 1, 3], [20, 10, 30]], 1),
        ([[1, 2, 3], [20, 10, 30]], 0),  # a fast and a slow model weigh alike
        ([[1, 2, 3], [60, 10, 30]], 1),
        ([[1, 0.99, 3], [1, 0.98, 3]], 0),  # not clearly better
        ([[2, None, 1], [2, 0.1, 1]], 2),  # what one of them cannot be run with
        ([[], [2, 1, 3]], 1),  # one that could not be measured has no say
        ([[], []], 0),
    ],
)
def test_the_cheapest_for_all(
    seconds: list[list[float | None]], expected: int, headers: list[GgufHeader], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chosen(headers, seconds, monkeypatch) == CHOICES[expected]


@pytest.mark.parametrize(
    ("seconds", "usual", "expected"),
    [
        ([[2, 1.8, 1.6]], 0, 0),  # 20 % are not worth answers that cannot be taken over
        ([[1.6, 1.8, 2]], 2, 2),
        ([[2, 1.4, 1.4]], 0, 1),
        ([[1.4, 1.41, 2]], 2, 0),
        ([[1, 3, None]], 2, 0),  # what this model cannot be run with
        ([[1, 1, 1], []], 2, 2),
    ],
)
def test_the_usual_choice_stays_unless_another_is_worth_it(
    seconds: list[list[float | None]],
    usual: int,
    expected: int,
    headers: list[GgufHeader],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert chosen(headers[: len(seconds)], seconds, monkeypatch, usual) == CHOICES[expected]


def test_what_was_measured_is_remembered(headers: list[GgufHeader], monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(headers[:1], [[3, 2, 1]], monkeypatch) == CHOICES[2]
    assert chosen(headers[:1], [[1, 2, 3]], monkeypatch) == CHOICES[2]
    assert chosen(headers[1:], [[1, 2, 3]], monkeypatch) == CHOICES[0]
    assert len(list((cache_folder() / "calibration").glob("*.json"))) == 2


def test_what_could_not_be_measured_is_tried_again(headers: list[GgufHeader], monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(headers[:1], [[]], monkeypatch) == CHOICES[0]
    assert chosen(headers[:1], [[3, 2, 1]], monkeypatch) == CHOICES[2]


def test_one_that_broke_off_is_not_remembered(
    headers: list[GgufHeader], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    event = {"event": "measured", "choice": 0, "prompt_tokens": 9}
    event |= {"prompt_seconds_per_token": 1, "step_seconds_per_token": 1}
    dying = f"import sys\nsys.stdin.readline()\nprint({json.dumps(event)!r}, flush=True)\nraise SystemExit(1)\n"
    monkeypatch.setattr(child, "WORKER", (sys.executable, "-c", dying))
    subject = Subject(path=tmp_path / "a.gguf", header=headers[0], settings={}, template_kwargs={})
    assert calibrate.choose([subject], WORK, "a machine") == CHOICES[0]
    assert not (cache_folder() / "calibration").exists()


def test_sequences_side_by_side_are_as_many_as_the_memory_holds(headers: list[GgufHeader], smollm2: Path) -> None:
    real = read_header(smollm2)  # 23 kB a token, 2,696 tokens a sequence: 62 MB
    assert calibrate.parallel_that_fits([real], WORK, 24 * GIB) == 8
    assert calibrate.parallel_that_fits([real], WORK, 2 * GIB) == 4
    assert calibrate.parallel_that_fits([real, *headers], WORK, GIB) == 2
    assert calibrate.parallel_that_fits([real], WORK, GIB // 8) == 1


@pytest.mark.model
def test_a_real_model_is_measured(smollm2: Path) -> None:
    settings = {
        **CHOICES[0],
        "gpu_layers": "auto",
        "n_threads": 2,
        "n_parallel": 2,
        "extra_buffers": True,
        "max_answer_tokens": 20,
    }
    subject = Subject(path=smollm2, header=read_header(smollm2), settings=settings, template_kwargs={})
    work = calibrate.work(["Diluted EPS was $1.20. " * 20] * 3, has_grammar=True, max_answer_tokens=20)
    assert calibrate.choose([subject], work, "this machine") in CHOICES
    (remembered,) = (cache_folder() / "calibration").glob("*.json")
    seconds = json.loads(remembered.read_text())["seconds"]
    assert len(seconds) == len(CHOICES)
    assert all(0.01 < cost < 300 for cost in seconds)
