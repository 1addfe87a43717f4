"""Intervals cover what they claim, pairs are compared document by document, and nothing is claimed from noise."""

from __future__ import annotations

import random

import pytest

from gguf_bench.compare import by_tier, interval, summarise

THIRD = 1 / 3


def alone(values: list[float]) -> list[str]:
    """Every document its own company."""
    return [str(number) for number in range(len(values))]


def test_a_share_has_wilsons_interval() -> None:
    """71 of 79 right: Wilson's interval is [81 %, 95 %] with the normal quantile, a little wider with Student's."""
    values = [1.0] * 71 + [0.0] * 8
    low, high = interval(values, alone(values))
    assert low == pytest.approx(0.812, abs=0.01)
    assert high == pytest.approx(0.948, abs=0.01)


@pytest.mark.parametrize("value", [0.0, 1.0, THIRD])
def test_equal_scores_still_leave_doubt(value: float) -> None:
    low, high = interval([value] * 20, alone([value] * 20))
    assert low is not None
    assert high is not None
    assert 0 <= low <= value <= high <= 1
    assert high - low > 0.1


def test_no_documents_no_interval() -> None:
    assert interval([], []) == (None, None)


def test_documents_of_one_company_count_as_fewer() -> None:
    values = [0.0, 0.0, 1.0, 1.0] * 10
    pairs = [str(number // 2) for number in range(len(values))]
    narrow, wide = interval(values, alone(values)), interval(values, pairs)
    assert wide[1] - wide[0] > 1.2 * (narrow[1] - narrow[0])


@pytest.mark.parametrize("n", [40, 100, 300])
@pytest.mark.parametrize("hard", [0.05, 0.5, 0.95])
def test_95_percent_intervals_cover_the_true_score(n: int, hard: float) -> None:
    """2,000 simulated datasets of n documents whose three fields are right together more often than not."""
    rng = random.Random(n * 1000 + int(hard * 100))
    covered = 0
    for _ in range(2000):
        values = []
        for _ in range(n):
            chance = hard if rng.random() < 0.5 else float(rng.random() < hard)
            values.append(sum(rng.random() < chance for _ in range(3)) / 3)
        low, high = interval(values, alone(values))
        covered += low <= hard <= high
    assert 0.93 <= covered / 2000 <= 0.98


def rows(scores: dict[str, float]) -> list[dict[str, object]]:
    return [
        {
            "document_id": document,
            "status": "answered",
            "score": score,
            "kind_basic": "right" if score > 0.9 else "missed",
            "kind_diluted": "right" if score > 0.5 else "hallucinated",
            "kind_adjusted": "right" if score > 0.1 else "other",
            "prompt_seconds": 2.0,
            "generation_seconds": 1.0,
            "seconds": 3.0,
            "decoded_prompt_tokens": 200,
            "generated_tokens": 30,
        }
        for document, score in scores.items()
    ]


def test_figures_of_a_contender() -> None:
    figures = summarise(rows({"a": 1.0, "b": 2 / 3, "c": THIRD, "d": 0.0}), {d: d for d in "abcd"})
    assert figures["eps_score"] == pytest.approx(0.5)
    assert figures["exact_match"] == pytest.approx(0.25)
    assert figures["basic_accuracy"] == pytest.approx(0.25)
    assert figures["adjusted_accuracy"] == pytest.approx(0.75)
    assert (figures["n_documents"], figures["missed"], figures["hallucinated"]) == (4, 3, 2)
    assert figures["prompt_tokens_per_second"] == pytest.approx(100)
    assert figures["generation_tokens_per_second"] == pytest.approx(30)
    assert figures["documents_per_minute"] == pytest.approx(20)


def test_scores_by_tier_are_means_over_its_documents() -> None:
    tiers = {"a": "plain", "b": "hard", "c": "plain", "d": "unseen"}
    found = by_tier({"c": 1.0, "b": THIRD, "a": 0.0}, tiers)
    assert found == {
        "plain": {"n_documents": 2, "eps_score": pytest.approx(0.5)},
        "hard": {"n_documents": 1, "eps_score": pytest.approx(THIRD)},
    }
    assert list(found) == ["plain", "hard"], "in the dataset's order"


def test_documents_without_a_tier_stand_for_themselves() -> None:
    assert by_tier({"a": 1.0}, {"a": "", "b": ""}) == {}
    assert list(by_tier({"a": 1.0, "b": 0.0}, {"a": "", "b": "hard"})) == ["", "hard"]
