"""Intervals cover what they claim, pairs are compared document by document, and nothing is claimed from noise."""

from __future__ import annotations

import random

import pytest

from gguf_bench.compare import by_tier, interval, summarise, verdicts
from gguf_bench.report import in_words

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


def scored(values: list[float]) -> dict[str, float]:
    return {str(number): value for number, value in enumerate(values)}


def test_a_steady_difference_is_shown_in_words() -> None:
    rng = random.Random(1)
    worse = [rng.choice([0, THIRD, 2 / 3]) for _ in range(100)]
    better = [score + (THIRD if rng.random() < 0.4 else 0) for score in worse]
    (verdict,) = verdicts({"Q2_K": scored(worse), "Q8_0": scored(better)}, {str(n): str(n) for n in range(100)})
    assert verdict.shown
    assert in_words(verdict).startswith("Q8_0 is better than Q2_K by 1")
    assert verdict.low > 0


def test_pairing_shows_what_the_totals_hide() -> None:
    """The same difference of means, shuffled over documents, is lost in the noise."""
    rng = random.Random(2)
    base = [rng.choice([0.0, 1.0]) for _ in range(60)]
    up = [min(1.0, score + (1.0 if number % 6 == 0 else 0.0)) for number, score in enumerate(base)]
    shuffled = rng.sample(up, len(up))
    companies = {str(n): str(n) for n in range(60)}
    (paired,) = verdicts({"a": scored(base), "b": scored(up)}, companies)
    (unpaired,) = verdicts({"a": scored(base), "b": scored(shuffled)}, companies)
    assert paired.p_value < unpaired.p_value


def test_equal_contenders_show_nothing() -> None:
    same = scored([1.0, 0.0, THIRD] * 10)
    (verdict,) = verdicts({"a": same, "b": dict(same)}, {str(n): str(n) for n in range(30)})
    assert not verdict.shown
    assert "no difference can be shown at n = 30" in in_words(verdict)


def test_many_pairs_need_more_evidence() -> None:
    """Holm: the same difference that is shown alone may not be shown among ten pairs."""
    rng = random.Random(3)
    companies = {str(n): str(n) for n in range(40)}
    base = [rng.choice([0.0, THIRD, 1.0]) for _ in range(40)]
    up = [min(1.0, score + (THIRD if number % 7 == 0 else 0)) for number, score in enumerate(base)]
    few = {"a": scored(base), "b": scored(up)}
    alone_p = verdicts(few, companies)[0].p_value
    many = few | {f"x{i}": scored([rng.choice([0.0, 1.0]) for _ in range(40)]) for i in range(3)}
    among = next(v for v in verdicts(many, companies) if {v.better, v.worse} == {"a", "b"})
    assert among.p_value > alone_p


def test_false_alarms_stay_under_five_percent() -> None:
    """2,000 pairs of equally good contenders over 40 documents."""
    rng = random.Random(4)
    companies = {str(n): str(n) for n in range(40)}
    alarms = 0
    for _ in range(2000):
        a, b = ([sum(rng.random() < 0.5 for _ in range(3)) / 3 for _ in range(40)] for _ in range(2))
        alarms += verdicts({"a": scored(a), "b": scored(b)}, companies)[0].shown
    assert alarms / 2000 <= 0.06


def test_contenders_without_a_document_in_common() -> None:
    (verdict,) = verdicts({"a": {"1": 1.0}, "b": {"2": 0.0}}, {"1": "1", "2": "2"})
    assert "nothing can be said" in in_words(verdict)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_few_documents_that_all_agree_prove_nothing(n: int) -> None:
    """1 − 2/3 and 1/3 − 0 differ in the last bit: that noise is no evidence."""
    up, down = [1.0, 1 / 3, 1.0, 1 / 3][:n], [2 / 3, 0.0, 2 / 3, 0.0][:n]
    (verdict,) = verdicts({"a": scored(up), "b": scored(down)}, {str(i): str(i) for i in range(n)})
    assert not verdict.shown
    assert verdict.p_value >= 2 * 0.5**n


def test_many_documents_that_all_agree_do_prove_it() -> None:
    (verdict,) = verdicts({"a": scored([1.0] * 60), "b": scored([0.0] * 60)}, {str(i): str(i) for i in range(60)})
    assert verdict.shown
    assert "a is better than b by 100.0 points" in in_words(verdict)


def test_documents_of_one_company_prove_nothing() -> None:
    (verdict,) = verdicts({"a": scored([1.0] * 60), "b": scored([0.0] * 60)}, {str(i): "one" for i in range(60)})
    assert not verdict.shown
    assert (verdict.low, verdict.high) == (-1.0, 1.0)


def test_equal_answers_may_still_hide_a_small_difference() -> None:
    same = scored([1.0, 0.0, THIRD] * 10)
    (verdict,) = verdicts({"a": same, "b": dict(same)}, {str(n): str(n) for n in range(30)})
    assert verdict.detectable == pytest.approx(0.1)
