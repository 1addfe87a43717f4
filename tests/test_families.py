"""Contenders taken together by what they share, and what quantizing costs."""

from __future__ import annotations

from typing import Any

import pytest

from gguf_bench.families import base_models, families, parameters, quantization_costs
from gguf_bench.paired import differences


def row(
    model: str, quant: str | None, score: float | None, bits: float | None = None, **columns: Any
) -> dict[str, Any]:
    return {
        "name": f"{model} {quant}" if quant else model,
        "base_model": model,
        "model_group": "",
        "parameters": None,
        "quant": quant,
        "eps_score": score,
        "bits_per_weight": bits,
        "size_bytes": None if bits is None else int(bits * 1e6),
        "documents_per_minute": 10.0,
        "asked": 1,
        **columns,
    }


BOARD = [
    row("rules", None, 0.9, asked=0),
    row("a", "Q8_0", 0.8, 8.0, model_group="small"),
    row("b", "Q4_K_M", 0.7, 4.5, model_group="large", documents_per_minute=None),
    row("a", "Q4_K_M", 0.6, 4.0, model_group="small", documents_per_minute=25.0),
    row("served", None, 0.5),
    row("c", "Q2_K", None, model_group="small"),
    row("d", "Q2_K", None),
]


def test_families_by_group() -> None:
    found = families(BOARD, "group")
    assert [(family.value, family.best, family.n_scored, family.n_unscored) for family in found] == [
        ("small", "a Q8_0", 2, 1),
        ("large", "b Q4_K_M", 1, 0),
        ("", "served", 1, 1),
    ]
    assert [family.eps_score for family in found] == [0.8, 0.7, 0.5]
    assert found[0].mean_eps_score == pytest.approx(0.7)


def test_families_that_failed_whole_come_last_and_are_there() -> None:
    (*_, last) = families(BOARD, "quant")
    assert (last.value, last.best, last.eps_score, last.mean_eps_score, last.n_unscored) == (
        "Q2_K",
        None,
        None,
        None,
        2,
    )


def test_what_quantizing_costs() -> None:
    """a loses 20 points, on 20 of 100 documents, for half of its size."""
    scores = {
        "a Q8_0": {str(number): float(number < 80) for number in range(100)},
        "a Q4_K_M": {str(number): float(number < 60) for number in range(100)},
        "b Q4_K_M": {str(number): float(number < 70) for number in range(100)},
    }
    (cost,) = quantization_costs(BOARD, differences(scores, {str(number): str(number) for number in range(100)}))
    assert (cost.base_model, cost.name, cost.beside) == ("a", "a Q4_K_M", "a Q8_0")
    assert (cost.size_saved, cost.times_as_fast) == (0.5, 2.5)
    assert cost.score_lost == pytest.approx(0.2)
    assert 0.1 < cost.low < 0.2 < cost.high < 0.3
    assert cost.shown


def test_a_smaller_file_may_be_better_than_the_whole_one() -> None:
    scores = {
        "a Q8_0": {str(number): float(number < 60) for number in range(100)},
        "a Q4_K_M": {str(number): float(number < 80) for number in range(100)},
    }
    (cost,) = quantization_costs(BOARD[:2] + BOARD[3:4], differences(scores, {str(n): str(n) for n in range(100)}))
    assert cost.score_lost == pytest.approx(-0.2)
    assert cost.low < -0.2 < cost.high < 0


def contender(key: int, model: str, quant: str | None, sha: str | None, **columns: Any) -> dict[str, Any]:
    return {
        "id": key,
        "model": model,
        "quant": quant,
        "file_sha256": sha,
        "adapter_sha256": None,
        "parameters": None,
        **columns,
    }


def artifact(sha: str, repo: str | None = None, parent: str | None = None, n_params: int = 0) -> dict[str, Any]:
    return {"sha256": sha, "source_repo": repo, "parent_sha256": parent, "n_params": n_params}


ARTIFACTS = {
    each["sha256"]: each
    for each in (
        artifact("f16", "org/one"),
        artifact("q8", "org/one", "f16"),
        artifact("package", n_params=134_515_008),
        artifact("q4", None, "package"),
        artifact("q2", None, "q4"),
        artifact("loop", None, "loop"),
        artifact("ready4", "org/ready"),
        artifact("ready8", "org/ready"),
        artifact("large", n_params=7_241_732_096),
    )
}


def test_files_of_one_checkpoint_are_of_one_model() -> None:
    found = base_models(
        [
            contender(1, "one", "F16", "f16"),
            contender(2, "one", "Q8_0", "q8"),
            contender(3, "smol", "Q4_1", "package"),
            contender(4, "smol", "Q2_K", "q2"),
            contender(5, "tuned", "Q8_0", "q8", adapter_sha256="lora"),
            contender(6, "org/ready:Q4_K_M", "Q4_K_M", "ready4"),
            contender(7, "org/ready:Q8_0", "Q8_0", "ready8"),
            contender(8, "served", None, None),
            contender(9, "looped", "Q4_0", "loop"),
        ],
        ARTIFACTS,
    )
    assert list(found.values()) == ["one", "one", "smol", "smol", "tuned", "org/ready", "org/ready", "served", "looped"]


def test_one_repo_called_in_two_ways_is_called_by_itself() -> None:
    found = base_models([contender(1, "one_8bit", "Q8_0", "q8"), contender(2, "one_whole", "F16", "f16")], ARTIFACTS)
    assert set(found.values()) == {"org/one"}


def test_files_of_one_name_but_for_the_type_are_of_one_model() -> None:
    files = ("./x.Q4_K_M.gguf", "./x-q8_0.gguf", "./x-F16-00001-of-00002.gguf")
    quants = ("Q4_K_M", "Q8_0", "F16")
    found = base_models(
        [contender(n, file, quant, None) for n, (file, quant) in enumerate(zip(files, quants, strict=True))], {}
    )
    assert set(found.values()) == {"./x"}


def test_parameters_are_as_the_entry_says_or_counted() -> None:
    assert parameters(contender(1, "x", None, "package", parameters="0.1B"), ARTIFACTS) == "0.1B"
    assert parameters(contender(1, "x", None, "package"), ARTIFACTS) == "135M"
    assert parameters(contender(1, "x", None, "large"), ARTIFACTS) == "7.2B"
    assert parameters(contender(1, "x", None, None), ARTIFACTS) is None
