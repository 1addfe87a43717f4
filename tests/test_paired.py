"""Paired differences: their intervals cover what they claim, their p-values give no more alarms than they may.

The simulations are those of benchmarks/paired.py, which prints the tables of docs/statistics.md; here they are small.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.paired import CASES, CLUSTERS, Found, covers, find, percentile, power, simulate, totals_of
from gguf_bench import paired
from gguf_bench.paired import agreed, differences, holm, intervals, mcnemar_p, permutation_p
from gguf_bench.records import Verdict
from gguf_bench.wording import in_words

THIRD = 1 / 3


def scored(values: list[float]) -> dict[str, float]:
    return {str(number): value for number, value in enumerate(values)}


def alone(n: int) -> dict[str, str]:
    """Every document its own company."""
    return {str(number): f"company {number}" for number in range(n)}


def luck(n: int, chance: float, seed: int) -> list[float]:
    rng = random.Random(seed)
    return [sum(rng.random() < chance for _ in range(3)) / 3 for _ in range(n)]


def pair_of(a: list[float], b: list[float], companies: dict[str, str] | None = None) -> Verdict:
    (pair,) = differences({"a": scored(a), "b": scored(b)}, companies or alone(len(a)))
    return pair


# ------------------------------------------------------------------------------------------------------------- p-values


@pytest.mark.parametrize(
    ("better", "worse", "p_value"), [(6, 0, 0.03125), (12, 4, 0.076813), (13, 3, 0.021271), (1, 0, 1.0), (0, 0, 1.0)]
)
def test_mcnemar(better: int, worse: int, p_value: float) -> None:
    assert mcnemar_p(better, worse) == pytest.approx(p_value, abs=1e-6)
    assert permutation_p([3] * better + [-3] * worse) == pytest.approx(p_value, abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_the_permutation_p_value_is_that_of_all_swaps(seed: int) -> None:
    """Counted one by one for ten companies."""
    rng = random.Random(seed)
    totals = [rng.randint(-9, 9) for _ in range(10)]
    sums = [
        abs(sum(sign * total for sign, total in zip(signs, totals, strict=True)))
        for signs in itertools.product((1, -1), repeat=10)
    ]
    assert permutation_p(totals) == pytest.approx(np.mean([s >= abs(sum(totals)) for s in sums]), abs=1e-12)


def test_a_p_value_is_never_0() -> None:
    assert 0 < permutation_p([3] * 5000) <= 1e-12
    assert permutation_p([9, 9, 9]) == pytest.approx(0.25)


def test_holm() -> None:
    assert holm([0.04, 0.01, 0.03, 0.9]) == pytest.approx([0.09, 0.04, 0.09, 0.9])
    assert holm([]) == []


# ------------------------------------------------------------------------------------------------------------- one pair


def test_the_same_scores_give_the_same_figures_in_any_order_and_company() -> None:
    a, b, c = (luck(60, chance, seed) for seed, chance in enumerate((0.7, 0.5, 0.4)))
    companies = {str(number): f"company {number // 2}" for number in range(60)}
    (pair,) = differences({"a": scored(a), "b": scored(b)}, companies)
    shuffled = list(scored(a).items())
    random.Random(1).shuffle(shuffled)
    among = differences({"c": scored(c), "b": scored(b), "a": dict(shuffled)}, companies)
    again = next(found for found in among if {found.better, found.worse} == {"a", "b"})
    for name in ("better", "difference", "low", "high", "p_alone", "better_only", "worse_only", "exact_p_value"):
        assert getattr(again, name) == getattr(pair, name), name


def test_what_one_pair_holds() -> None:
    pair = pair_of([0.0, 1.0, 1.0, 2 / 3] * 10, [0.0, THIRD, 2 / 3, 1.0] * 10)
    assert (pair.better, pair.worse, pair.n_documents, pair.n_companies, pair.n_pairs) == ("a", "b", 40, 40, 1)
    assert pair.difference == pytest.approx((2 / 3 + THIRD - THIRD) / 4)
    assert (pair.better_only, pair.worse_only) == (20, 10)
    assert pair.exact_p_value == pytest.approx(mcnemar_p(20, 10))
    assert pair.low < pair.difference < pair.high
    assert pair.shown


def test_the_worse_one_is_named_second_whoever_comes_first() -> None:
    pair = pair_of([0.0] * 60, [1.0] * 60)
    assert (pair.better, pair.worse, pair.difference) == ("b", "a", 1.0)


def test_documents_of_one_company_count_as_fewer() -> None:
    a, b = luck(90, 0.6, 1), luck(90, 0.4, 2)
    thrice_a, thrice_b = ([score for score in scores[:30] for _ in range(3)] for scores in (a, b))
    wide = pair_of(thrice_a, thrice_b, {str(number): str(number // 3) for number in range(90)})
    narrow = pair_of(thrice_a, thrice_b)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
    assert wide.p_alone > narrow.p_alone


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_a_few_documents_that_all_agree_prove_nothing(n: int) -> None:
    pair = pair_of([1.0] * n, [0.0] * n)
    assert not pair.shown
    assert pair.low <= 0
    assert "no difference can be shown" in in_words(pair)


def test_differences_that_are_all_alike_still_leave_doubt() -> None:
    pair = pair_of([2 / 3] * 40, [THIRD] * 40)
    assert pair.shown
    assert pair.low < THIRD - 0.02
    assert pair.high > THIRD + 0.02


def test_contenders_alike_leave_doubt_and_show_nothing() -> None:
    pair = pair_of([1.0, 0.0, THIRD] * 10, [1.0, 0.0, THIRD] * 10)
    assert (pair.difference, pair.p_value, pair.shown) == (0.0, 1.0, False)
    assert pair.low < -0.01
    assert pair.high > 0.01
    assert 0.15 < pair.detectable < 0.3  # six documents must differ; where eight are to be expected, six are likely


@pytest.mark.parametrize(
    ("low", "p_value", "agree"),
    [
        (0.01, 0.01, (0.01, 0.01)),
        (0.01, 0.06, (0.0, 0.06)),
        (-0.01, 0.03, (-0.01, 0.05)),
        (-0.01, 0.5, (-0.01, 0.5)),
        (0.0, 0.03, (0.0, 0.05)),
    ],
)
def test_whichever_sees_less_decides(low: float, p_value: float, agree: tuple[float, float]) -> None:
    assert agreed(low, p_value) == pytest.approx(agree)


@pytest.mark.parametrize("seed", range(40))
def test_interval_and_p_value_never_contradict_each_other(seed: int) -> None:
    chance = random.Random(seed).uniform(0.4, 0.7)
    pair = pair_of(luck(30, chance, seed), luck(30, 0.45, seed + 1000))
    assert (pair.low > 0) == (pair.p_alone < 0.05) == pair.shown


@pytest.mark.parametrize("score", [0.5, -THIRD, 4 / 3, float("nan"), float("inf")])
def test_a_score_that_no_document_can_have(score: float) -> None:
    with pytest.raises(ValueError, match="of document 1, but a score is 0, 1/3, 2/3 or 1"):
        differences({"a": {"1": score}, "b": {"1": 1.0}}, {"1": "1"})


# ------------------------------------------------------------------------------------------------------------ all pairs


def test_many_pairs_need_more_evidence() -> None:
    few = {"a": scored([1.0] * 9 + luck(31, 0.5, 7)), "b": scored([THIRD] * 9 + luck(31, 0.5, 7))}
    many = few | {f"x{number}": scored(luck(40, 0.5, number)) for number in range(4)}
    (pair,) = differences(few, alone(40))
    among = next(found for found in differences(many, alone(40)) if {found.better, found.worse} == {"a", "b"})
    assert pair.shown
    assert among.p_alone == pair.p_alone < among.p_value
    assert among.n_pairs == 15


def test_pairs_are_compared_on_the_documents_that_both_have() -> None:
    whole = {"a": scored([1.0] * 40), "b": scored([0.0] * 40), "c": dict.fromkeys(map(str, range(20)), THIRD)}
    found = differences(whole, alone(40))
    assert {(pair.better, pair.worse): pair.n_documents for pair in found} == {
        ("a", "b"): 40,
        ("a", "c"): 20,
        ("c", "b"): 20,
    }
    assert [pair.difference for pair in found] == sorted((pair.difference for pair in found), reverse=True)


def test_no_documents_or_companies_in_common() -> None:
    (apart,) = differences({"a": {"1": 1.0}, "b": {"2": 0.0}}, {"1": "1", "2": "2"})
    assert in_words(apart) == "a and b share 0 documents of 0 companies: nothing can be said"
    one = pair_of([1.0] * 60, [0.0] * 60, {str(number): "one" for number in range(60)})
    assert (one.low, one.high, one.shown, one.detectable) == (-1.0, 1.0, False, 1.0)
    assert "nothing can be said" in in_words(one)
    assert differences({"a": {"1": 1.0}}, {"1": "1"}) == []


# ------------------------------------------------------------------------------------------------------------- in words


WORDED = Verdict(
    better="Q8_0",
    worse="Q2_K",
    n_documents=300,
    n_companies=300,
    n_pairs=1,
    difference=0.061,
    low=0.02,
    high=0.103,
    p_alone=0.001,
    p_value=0.001,
    detectable=0.034,
    shown=True,
    better_only=0,
    worse_only=0,
    exact_p_value=1.0,
)


def worded(**changes: Any) -> str:
    return in_words(replace(WORDED, **changes))


def test_words() -> None:
    assert worded() == "Q8_0 is better than Q2_K by 6.1 points [2.0, 10.3]"
    assert worded(low=0.0003) == "Q8_0 is better than Q2_K by 6.10 points [0.03, 10.30]"
    assert worded(shown=False, low=-0.004, difference=0.01, high=0.024) == (
        "Q8_0 and Q2_K: no difference can be shown at n = 300 (1.0 points [-0.4, 2.4]); "
        "differences under 3.4 points would not be seen"
    )
    assert worded(shown=False, n_pairs=66, difference=0.03, high=0.058) == (
        "Q8_0 and Q2_K: no difference can be shown at n = 300 "
        "(3.0 points [2.0, 5.8], which may be chance among 66 pairs); differences under 3.4 points would not be seen"
    )


# ---------------------------------------------------------------------------------------------------------- simulations

REPLICATES = 250
SETTINGS = [pytest.param(n, name, id=f"{n} documents, {name}") for n in (40, 100, 300) for name in CLUSTERS]


def simulated(n: int, name: str) -> dict[str, tuple[float, Found]]:
    """Case -> how many companies tell the two apart on average, and what was found."""
    clusters = CLUSTERS[name]
    sizes = clusters.sizes(n)
    found = {}
    for seed, (of_case, case) in enumerate(CASES.items()):
        a, b = simulate(case, sizes, clusters.alike, REPLICATES, np.random.default_rng((n, seed)))
        totals = totals_of(a - b, sizes)
        found[of_case] = float((totals != 0).sum(axis=0).mean()), find(totals, sizes, case.difference)
    return found


def above(share: float, replicates: int) -> float:
    """Three Monte-Carlo standard errors of a share."""
    return 3 * float(np.sqrt(share * (1 - share) / replicates))


@pytest.mark.parametrize(("n", "name"), SETTINGS)
def test_95_percent_intervals_cover_and_alarms_are_few(n: int, name: str) -> None:
    """Coverage is at least 93 % everywhere; above 97 % it is only where few companies tell the two apart."""
    found = simulated(n, name)
    for of_case, (_, of) in found.items():
        assert of.covered >= 0.93 - above(0.93, REPLICATES), of_case
        assert ((of.low > 0) == (of.p_value < 0.05)).all(), of_case
    telling = [of.covered for companies, of in found.values() if companies >= 20]
    if telling:
        assert 0.93 <= np.mean(telling) <= 0.97 + above(0.97, REPLICATES * len(telling))
    alarms = {of_case: of.alarms for of_case, (_, of) in found.items() if CASES[of_case].difference == 0}
    assert max(alarms.values()) <= 0.05 + above(0.05, REPLICATES), alarms
    assert np.mean(list(alarms.values())) <= 0.05


def test_the_plain_percentile_interval_would_not_do() -> None:
    """So the simulation can tell: at n = 40, near 0 and near 1, it covers less than 93 %."""
    sizes, shares = [1] * 40, []
    for of_case in ("near 0, 4 apart", "near 1, 4 apart", "at 0, 1.5 apart", "opposite ends"):
        a, b = simulate(CASES[of_case], sizes, 0.0, REPLICATES, np.random.default_rng(3))
        low, high = percentile(totals_of(a - b, sizes), np.array(sizes))
        shares.append(covers(low, high, CASES[of_case].difference))
    assert np.mean(shares) < 0.9


@pytest.mark.parametrize("of_case", ["alike, middling", "twins (ties)", "near 1, alike"])
@pytest.mark.parametrize("n", [100, 300])
def test_what_is_called_detectable_is_seen_four_times_out_of_five(n: int, of_case: str) -> None:
    """More often where a true difference makes no more documents differ, only others win."""
    _, shown = power(CASES[of_case], [1] * n, 0.0, REPLICATES, np.random.default_rng(n))
    assert 0.72 <= shown <= 0.98


def test_twelve_contenders_are_compared_at_once() -> None:
    scores = {f"Q{number}": scored(luck(300, 0.3 + number / 30, number)) for number in range(12)}
    found = differences(scores, alone(300))
    assert len(found) == 66
    assert any(pair.shown for pair in found)
    assert not all(pair.shown for pair in found)


def test_more_pairs_than_are_resampled_at_once_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    totals = np.random.default_rng(1).integers(-3, 4, (50, 7))
    low, high = intervals(totals, np.ones(50, np.int64))
    monkeypatch.setattr(paired, "_CELLS", 5000)
    again = intervals(totals, np.ones(50, np.int64))
    assert np.array_equal(low, again[0])
    assert np.array_equal(high, again[1])
