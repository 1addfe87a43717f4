"""What is recommended is shown to be as good as the best, and whatever is not recommended is told why."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from benchmarks.paired import CLUSTERS, MARGIN_CASES, margin_alarms
from gguf_bench.paired import differences
from gguf_bench.recommend import recommend
from gguf_bench.records import Candidate, Limits, Recommendation
from gguf_bench.units import size_bytes, size_in_words

MIB = 2**20


def made(name: str, wrong: float, *, n: int = 300, **columns: Any) -> tuple[dict[str, Any], list[float]]:
    """A contender of 100 MiB that has every document right but for a share of `wrong`, always the same first ones."""
    n_wrong = round(wrong * n)
    scores = [0.0] * n_wrong + [1.0] * (n - n_wrong)
    row = {
        "name": name,
        "model": name,
        "quant": None,
        "status": "finished",
        "error": None,
        "asked": 1,
        "n_documents": n,
        "eps_score": sum(scores) / n,
        "size_bytes": 100 * MIB,
        "documents_per_minute": 10.0,
        "peak_rss_bytes": 500 * MIB,
        "peak_vram_bytes": None,
    }
    return {**row, **columns}, scores


def advised(*contenders: tuple[dict[str, Any], list[float]], **limits: Any) -> Recommendation:
    speeds_compare = limits.pop("speeds_compare", True)
    finished = {row["name"]: dict(enumerate(scores)) for row, scores in contenders if row["status"] == "finished"}
    scores = {name: {str(number): score for number, score in own.items()} for name, own in finished.items()}
    n = max(len(own) for _, own in contenders)
    verdicts = differences(scores, {str(number): f"company {number}" for number in range(n)})
    rows = sorted((row for row, _ in contenders), key=lambda row: (row["eps_score"] is None, -(row["eps_score"] or 0)))
    return recommend(rows, verdicts, Limits(**limits), speeds_compare=speeds_compare)


def of(advice: Recommendation, name: str) -> Candidate:
    (found,) = (each for each in advice.candidates if each.name == name)
    return found


def failed(
    name: str, status: str = "failed", error: str | None = "died (SIGSEGV)"
) -> tuple[dict[str, Any], list[float]]:
    unknown = ("eps_score", "size_bytes", "documents_per_minute", "peak_rss_bytes", "n_documents")
    return {**made(name, 0)[0], **dict.fromkeys(unknown), "status": status, "error": error}, []


WHOLE = made("whole", 0.10, size_bytes=400 * MIB, documents_per_minute=5.0)
SMALL = made("small", 0.11, size_bytes=100 * MIB, documents_per_minute=8.0)
QUICK = made("quick", 0.10, size_bytes=200 * MIB, documents_per_minute=20.0)
WRONG = made("wrong", 0.30, size_bytes=10 * MIB, documents_per_minute=50.0)


def test_the_smallest_and_the_fastest_within_the_margin() -> None:
    advice = advised(WHOLE, SMALL, QUICK, WRONG, margin=0.04)
    assert (advice.smallest, advice.fastest, advice.is_shown) == ("small", "quick", True)
    assert of(advice, "small").reason == of(advice, "quick").reason == ""
    assert of(advice, "whole").reason == "within the margin, but neither the smallest nor the fastest"
    assert (of(advice, "wrong").within, of(advice, "small").within) == ("refuted", "shown")
    assert of(advice, "wrong").reason.startswith("shown to be worse than ")
    assert "20.0 points [" in of(advice, "wrong").reason


def test_one_file_may_be_both() -> None:
    assert advised(SMALL, WHOLE, margin=0.04).fastest == "small"


def test_not_seen_to_be_worse_is_not_enough() -> None:
    """Two points behind at n = 20 nothing is shown against the small one, and nothing for it either."""
    best, small = made("best", 0.10, n=20, size_bytes=200 * MIB), made("small", 0.10, n=20)
    small[1][:] = small[1][::-1]  # right and wrong elsewhere
    advice = advised(best, small)
    assert (advice.smallest, advice.fastest, advice.is_shown) == ("best", "best", False)
    found = of(advice, "small")
    assert (found.within, found.low is not None and found.low < 0.02 < (found.high or 0)) == ("open", True)
    assert "may be worse than best by more than the margin" in found.reason
    assert found.documents_needed is not None
    assert found.documents_needed > 500
    assert f"about {found.documents_needed:,} documents" in found.reason
    (remark,) = advice.remarks
    assert remark.startswith("at n = 20 no file is shown to be within the margin")


def test_the_best_score_alone_proves_nothing() -> None:
    """At n = 40 chance decides which of two that differ on many documents comes out best."""
    rng = random.Random(1)
    one, other = made("one", 0.5, n=40), made("other", 0.55, n=40)
    rng.shuffle(other[1])
    advice = advised(one, other)
    assert (advice.best, advice.smallest, advice.is_shown) == ("one", "one", False)
    assert of(advice, "one").within == "open"


def test_as_many_documents_as_are_said_to_be_needed_do_show_it() -> None:
    def at(n: int) -> Candidate:
        best, small = made("best", 0, n=n, size_bytes=200 * MIB), made("small", 0, n=n)
        for scores, offset in ((best[1], 0), (small[1], 10)):
            scores[offset::20] = [0.0] * len(scores[offset::20])
        return of(advised(best, small), "small")

    needed = at(100).documents_needed
    assert needed is not None
    assert at(needed).within == "shown"
    assert at(needed // 4).within == "open"


def test_more_than_the_margin_behind_no_number_is_said_to_help() -> None:
    found = of(advised(made("best", 0.1, n=30), made("small", 0.2, n=30)), "small")
    assert found.behind == pytest.approx(0.1)
    assert (found.within, found.documents_needed) == ("open", None), "three documents show nothing yet"


def test_a_file_has_to_be_near_every_other_not_only_the_best_seen() -> None:
    """b is close to a, which comes out best by a hair; c errs elsewhere, and may be much better than b."""
    a, b, c = made("a", 0.10), made("b", 0.103), made("c", 0.107, size_bytes=900 * MIB)
    c[1].reverse()
    with_c, without = advised(a, b, c, margin=0.02), advised(a, b, margin=0.02)
    assert of(without, "b").within == "shown"
    assert of(with_c, "b").within == "open"
    assert "may be worse than c" in of(with_c, "b").reason


@pytest.mark.parametrize(
    ("limits", "smallest", "name", "reason"),
    [
        ({"max_size_bytes": 150 * MIB}, "small", "whole", "size 400 MiB, over 150 MiB"),
        ({"max_size_bytes": 400 * MIB - 1}, "small", "whole", "size 419,430,400 bytes, over 419,430,399"),
        ({"max_memory_bytes": 600 * MIB}, "small", "hungry", "memory 700 MiB, over 600 MiB"),
        ({"min_documents_per_minute": 7.5}, "small", "whole", "5 documents a minute, under 7.5"),
        ({"min_documents_per_minute": 9}, "hungry", "small", "8 documents a minute, under 9"),
    ],
    ids=str,
)
def test_limits(limits: dict[str, Any], smallest: str, name: str, reason: str) -> None:
    hungry = made("hungry", 0.10, size_bytes=150 * MIB, peak_vram_bytes=200 * MIB)
    advice = advised(WHOLE, SMALL, hungry, margin=0.04, **limits)
    assert (advice.smallest, of(advice, name).reason) == (smallest, reason)


def test_the_best_is_the_best_of_those_that_fit_and_what_the_limits_cost_is_said() -> None:
    advice = advised(made("large", 0.0, size_bytes=999 * MIB), SMALL, max_size_bytes=200 * MIB)
    assert (advice.best, advice.smallest, advice.is_shown) == ("small", "small", True)
    (remark,) = advice.remarks
    assert remark.startswith("large is beyond the limits and scores 100.0: better than small by 11.0 points [")


def test_a_figure_that_is_not_known_is_no_figure_within_a_limit() -> None:
    unknown = made("unknown", 0.1, documents_per_minute=None, peak_rss_bytes=None)
    advice = advised(unknown, max_memory_bytes=2**40, min_documents_per_minute=0.1)
    assert (advice.smallest, of(advice, "unknown").reason) == (
        None,
        "its memory is not known; its speed is not known",
    )


def test_where_nothing_fits_nothing_is_recommended() -> None:
    advice = advised(WHOLE, SMALL, max_size_bytes=5 * MIB)
    assert (advice.best, advice.smallest, advice.fastest, advice.is_shown) == (None, None, None, False)
    assert all("over 5 MiB" in each.reason for each in advice.candidates)


def test_nobody_is_dropped_silently() -> None:
    advice = advised(SMALL, failed("wreck"), failed("late", "interrupted", None))
    assert of(advice, "wreck").reason == "failed: died (SIGSEGV)"
    assert of(advice, "late").reason == "not finished, but interrupted"
    assert advised(failed("wreck")).smallest is None


def test_an_endpoint_can_be_the_best_but_is_no_file() -> None:
    served = made("served", 0.0, size_bytes=None, peak_rss_bytes=None, documents_per_minute=90.0)
    advice = advised(served, WHOLE, SMALL, margin=0.04, max_size_bytes=2**40, max_memory_bytes=2**40)
    assert of(advice, "served").reason == "an endpoint: there is no file of it"
    assert (advice.best, advice.smallest, advice.fastest) == ("whole", "small", "small")
    assert advice.remarks[0].startswith("no file is shown to be within the margin of served")
    near = advised(made("served", 0.10, size_bytes=None, peak_rss_bytes=None), WHOLE, SMALL, margin=0.04)
    assert (near.best, near.smallest, near.is_shown) == ("served", "small", True)
    assert of(near, "served").reason == "an endpoint: there is no file of it"


def test_rules_that_beat_every_model_are_named() -> None:
    rules = made("baseline_rules", 0.02, size_bytes=None, asked=0)
    null = made("baseline_null", 0.12, size_bytes=None, asked=0)
    advice = advised(WHOLE, SMALL, rules, null, margin=0.04)
    assert [each.name for each in advice.candidates] == ["whole", "small"]
    first, second = advice.remarks
    assert first.startswith("plain rules without any model (baseline_rules) score 98.0 and beat every model that fits")
    assert "whole, the best, by 8.0 points [" in first
    assert second.startswith("small is not shown to be better than the answer null to everything, which scores 88.0")
    assert advised(WHOLE, SMALL, made("baseline_rules", 0.9, asked=0), margin=0.04).remarks == []


def test_the_fronts_are_those_beside_whom_nobody_is_better_in_both() -> None:
    twin = made("twin", 0.11, size_bytes=100 * MIB, documents_per_minute=8.0)
    larger = made("larger", 0.11, size_bytes=101 * MIB, documents_per_minute=7.9)
    advice = advised(WHOLE, SMALL, QUICK, WRONG, twin, larger)
    assert {each.name for each in advice.candidates if each.on_size_front} == {"quick", "small", "twin", "wrong"}
    assert {each.name for each in advice.candidates if each.on_speed_front} == {"quick", "wrong"}


def test_speeds_that_do_not_compare_make_none_the_fastest() -> None:
    advice = advised(WHOLE, SMALL, QUICK, margin=0.04, speeds_compare=False)
    assert (advice.smallest, advice.fastest) == ("small", None)
    assert not any(each.on_speed_front for each in advice.candidates)


REPLICATES = 400


@pytest.mark.parametrize("name", ["1 a company", "3 a company"])
@pytest.mark.parametrize("n", [40, 100, 300])
def test_what_is_worse_by_the_margin_is_seldom_taken_for_as_good(n: int, name: str) -> None:
    """A contender that is truly worse by exactly the margin: shown to be within it at most 5 times out of 100."""
    shares = [
        margin_alarms(case, CLUSTERS[name], n, REPLICATES, np.random.default_rng((n, seed)))
        for seed, case in enumerate(MARGIN_CASES.values())
    ]
    assert max(shares) <= 0.05 + 3 * (0.05 * 0.95 / REPLICATES) ** 0.5, shares
    assert sum(shares) / len(shares) <= 0.035, shares


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GiB", 4 * 2**30), ("4.5 gib", 4.5 * 2**30), ("800MB", 8e8), ("123", 123), (" .5 KiB ", 512), ("1b", 1)],
)
def test_sizes_are_read(text: str, size: float) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "4G", "GiB", "-1GiB", "0", "0.0001b", "1e9", "nan", "1" * 16, "4 GiB GiB", "٤GiB"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"no size|less than a byte"):
        size_bytes(text)


def test_sizes_in_words() -> None:
    assert (size_in_words(78 * MIB), size_in_words(4.1 * 2**30)) == ("78 MiB", "4.1 GiB")
