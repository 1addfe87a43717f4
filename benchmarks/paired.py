"""Do the paired comparison's 95 % intervals cover 95 %, and how often does it see what is not there?

    python -m benchmarks.paired                    # the tables of docs/statistics.md (half an hour of one slow core)
    python -m benchmarks.paired --replicates 200   # a rough look

Two contenders with known true scores answer documents; that is done some thousand times, and each time the comparison
says what it finds. Whether a field comes out right is decided by a normal variable: in part how hard company, document
and field are, which both contenders meet, in part each contender's own luck with company, document and field.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtr, ndtri, stdtrit

from gguf_bench import paired
from gguf_bench.paired import Floats, Integers

FIELDS = 3


@dataclass(frozen=True, slots=True)
class Case:
    """Two true scores, how much of the luck both share, and how much of their own luck is the whole document's."""

    a: float
    b: float
    shared: float = 0.5
    whole_a: float = 0.5
    whole_b: float = 0.5

    @property
    def difference(self) -> float:
        return self.a - self.b


CASES = {
    "alike, middling": Case(0.5, 0.5),
    "5 points apart": Case(0.525, 0.475),
    "40 points apart": Case(0.7, 0.3),
    "twins (ties)": Case(0.5, 0.5, shared=0.97),
    "twins, 3 apart": Case(0.515, 0.485, shared=0.97),
    "near 0, alike": Case(0.03, 0.03),
    "near 0, 4 apart": Case(0.06, 0.02),
    "near 1, alike": Case(0.97, 0.97),
    "near 1, 4 apart": Case(0.985, 0.945),
    "near 1, unlike errors": Case(0.95, 0.95, whole_a=1.0, whole_b=0.0),
    "at 0, alike": Case(0.01, 0.01),
    "at 0, 1.5 apart": Case(0.02, 0.005),
    "opposite ends": Case(0.97, 0.04),
}


@dataclass(frozen=True, slots=True)
class Clusters:
    """Documents of each company for n documents, and what share of difficulty and own luck is the company's."""

    sizes: Callable[[int], list[int]]
    alike: float


def threes(n: int) -> list[int]:
    return [3] * (n // 3) + [n % 3] * (n % 3 > 0)


CLUSTERS = {
    "1 a company": Clusters(lambda n: [1] * n, 0.0),
    "mostly 1": Clusters(lambda n: [1] * (n - 3 * (n // 10)) + [3] * (n // 10), 0.3),
    "3 a company": Clusters(threes, 0.3),
    "3, much alike": Clusters(threes, 0.6),
}


def simulate(
    case: Case, sizes: list[int], alike: float, replicates: int, rng: np.random.Generator
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Fields right of a and of b, each (n_documents, replicates); `sizes` are the documents of each company."""
    company = np.repeat(np.arange(len(sizes)), sizes)
    n = len(company)

    def luck(variance: float, of_company: bool = False) -> NDArray[np.float32]:
        drawn = rng.standard_normal((len(sizes) if of_company else n, replicates), np.float32)
        drawn *= np.float32(math.sqrt(variance))
        return drawn[company] if of_company else drawn

    shared, own = case.shared, 1 - case.shared
    difficulty = luck(shared * alike, True) + luck(shared * (1 - alike) * 0.6)
    of_field = [luck(shared * (1 - alike) * 0.4) for _ in range(FIELDS)]
    right: list[NDArray[np.int8]] = []
    for score, whole in ((case.a, case.whole_a), (case.b, case.whole_b)):
        document = difficulty + luck(own * alike, True) + luck(own * (1 - alike) * whole)
        bar = np.float32(ndtri(score))
        fields = [document + common + luck(own * (1 - alike) * (1 - whole)) < bar for common in of_field]
        right.append(np.array(fields).sum(axis=0, dtype=np.int8))
    return right[0], right[1]


def totals_of(fields: NDArray[np.int8], sizes: list[int]) -> Integers:
    """(n_documents, replicates) -> (n_companies, replicates)."""
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return np.add.reduceat(fields.astype(np.int64), starts, axis=0)


@dataclass(frozen=True, slots=True)
class Found:
    """What the comparison found in each replicate, the contender that came out better being named first."""

    truth: Floats
    low: Floats
    high: Floats
    p_value: Floats
    permutation_p: Floats
    bare_low: Floats

    @property
    def covered(self) -> float:
        return covers(self.low, self.high, self.truth)

    @property
    def width(self) -> float:
        return float((self.high - self.low).mean())

    @property
    def alarms(self) -> float:
        return float((self.p_value < 0.05).mean())


def find(totals: Integers, sizes: list[int], truth: float) -> Found:
    """As `gguf_bench.paired.differences` does for one pair, many times over."""
    sign = np.where(totals.sum(axis=0) < 0, -1, 1)
    totals = totals * sign
    of = np.array(sizes, np.int64)
    p = np.array([paired.permutation_p(column.tolist()) for column in totals.T])
    bare, high = _by_parts(paired.intervals, totals, of)
    low, p_value = np.array([paired.agreed(*pair) for pair in zip(bare.tolist(), p.tolist(), strict=True)]).T
    return Found(truth * sign, low, high, p_value, p, bare)


def _by_parts(
    method: Callable[[Integers, Integers], tuple[Floats, Floats]], totals: Integers, sizes: Integers
) -> tuple[Floats, Floats]:
    parts = [method(totals[:, start : start + 2000], sizes) for start in range(0, totals.shape[1], 2000)]
    return np.concatenate([low for low, _ in parts]), np.concatenate([high for _, high in parts])


# ------------------------------------------------------------------------------------------------------ non-inferiority

MARGIN_CASES = {
    "middling, 2 apart": Case(0.51, 0.49),
    "middling, 5 apart": Case(0.525, 0.475),
    "twins, 2 apart": Case(0.51, 0.49, shared=0.97),
    "twins, 5 apart": Case(0.525, 0.475, shared=0.97),
    "near 0, 2 apart": Case(0.05, 0.03),
    "near 0, 5 apart": Case(0.08, 0.03),
    "near 1, 2 apart": Case(0.97, 0.95),
    "near 1, 5 apart": Case(0.97, 0.92),
    "near 1, twins, 5 apart": Case(0.97, 0.92, shared=0.9),
}
"""Contenders of which the second is worse by exactly what is allowed."""


def margin_alarms(case: Case, clusters: Clusters, n: int, replicates: int, rng: np.random.Generator) -> float:
    """How often the whole interval lies under the true difference, so that b is wrongly shown to be within it."""
    sizes = clusters.sizes(n)
    a, b = simulate(case, sizes, clusters.alike, replicates, rng)
    _, high = _by_parts(paired.intervals, totals_of(a - b, sizes), np.array(sizes))
    return float((high < case.difference - 1e-9).mean())


# ------------------------------------------------------------------------------------------------------- what was tried


def _resampled(totals: Integers, sizes: Integers) -> tuple[Floats, Floats, Floats, Floats]:
    """Estimates, their variances, and both of every resample: plain, without phantoms."""
    g, n = len(sizes), sizes.sum()
    wide, counts = totals / FIELDS, sizes.astype(float)
    estimate = wide.sum(axis=0) / n
    variance = g / (g - 1) * ((wide - estimate * counts[:, None]) ** 2).sum(axis=0) / n**2
    drawn = np.concatenate(list(paired.draws(g)))
    documents = (drawn @ counts)[:, None]
    again = drawn @ wide / documents
    squares = drawn @ wide**2 - 2 * again * (drawn @ (wide * counts[:, None])) + again**2 * (drawn @ counts**2)[:, None]
    return estimate, variance, again, np.maximum(g / (g - 1) * squares / documents**2, 0)


def percentile(totals: Integers, sizes: Integers) -> tuple[Floats, Floats]:
    low, high = np.quantile(_resampled(totals, sizes)[2], [0.025, 0.975], axis=0)
    return low, high


def bca(totals: Integers, sizes: Integers) -> tuple[Floats, Floats]:
    estimate, _, again, _ = _resampled(totals, sizes)
    influence = totals / FIELDS - estimate * sizes[:, None]
    spread = (influence**2).sum(axis=0)
    skew = np.where(spread > 0, (influence**3).sum(axis=0) / (6 * np.maximum(spread, 1e-12) ** 1.5), 0)
    below = (again < estimate - 1e-9).mean(axis=0) + 0.5 * (abs(again - estimate) <= 1e-9).mean(axis=0)
    bias = ndtri(np.clip(below, 1 / len(again), 1 - 1 / len(again)))
    again.sort(axis=0)
    ends = []
    for z in (ndtri(0.025), ndtri(0.975)):
        share = ndtr(bias + (bias + z) / (1 - skew * (bias + z)))
        ends.append(again[np.clip((share * len(again)).astype(int), 0, len(again) - 1), np.arange(again.shape[1])])
    return ends[0], ends[1]


def bootstrap_t(totals: Integers, sizes: Integers) -> tuple[Floats, Floats]:
    """A resample without spread counts as one that is not off."""
    estimate, variance, again, variances = _resampled(totals, sizes)
    t = np.where(variances > 1e-14, (again - estimate) / np.sqrt(np.maximum(variances, 1e-14)), 0)
    low, high = np.quantile(t, [0.025, 0.975], axis=0)
    return estimate - high * np.sqrt(variance), estimate - low * np.sqrt(variance)


def student(totals: Integers, sizes: Integers) -> tuple[Floats, Floats]:
    """Student's t on the clustered standard error, one pseudo-company without a difference counted in it."""
    g, n = len(sizes), sizes.sum()
    estimate = totals.sum(axis=0) / FIELDS / n
    variance = g / (g - 1) * ((totals / FIELDS - estimate * sizes[:, None]) ** 2).sum(axis=0) / n**2
    half = stdtrit(g - 1, 0.975) * np.sqrt(variance + (estimate / g) ** 2)
    return estimate - half, estimate + half


Method: TypeAlias = Callable[[Integers, Integers], tuple[Floats, Floats]]

METHODS: dict[str, Method] = {
    "percentile": percentile,
    "BCa": bca,
    "bootstrap-t": bootstrap_t,
    "Student's t": student,
    "percentile, stretched": partial(paired.intervals, phantoms=()),
    "the same, 2 phantoms": partial(paired.intervals, phantoms=(1, -1)),
    "the same, 4 phantoms (chosen)": paired.intervals,
    "the same, 6 phantoms": partial(paired.intervals, phantoms=(1, 1, 1, -1, -1, -1)),
}


# ----------------------------------------------------------------------------------------------------------- the tables


def mcnemar_alarms(a: NDArray[np.int8], b: NDArray[np.int8]) -> float:
    only_a = ((a == FIELDS) & (b < FIELDS)).sum(axis=0)
    only_b = ((b == FIELDS) & (a < FIELDS)).sum(axis=0)
    return float(
        (np.minimum(1, 2 * bdtr(np.minimum(only_a, only_b).astype(float), only_a + only_b, 0.5)) < 0.05).mean()
    )


def power(case: Case, sizes: list[int], alike: float, replicates: int, rng: np.random.Generator) -> tuple[float, float]:
    """What two contenders alike call detectable (the median), and how often a difference as large is shown."""
    a, b = simulate(case, sizes, alike, min(replicates, 500), rng)
    of = np.array(sizes, np.int64)
    claimed = float(np.median([paired.detectable(column, of, 0.05) for column in totals_of(a - b, sizes).T]))
    up = claimed if case.b < 0.5 else claimed / 2 if case.b == 0.5 else 0.0
    apart = replace(case, a=case.a + up, b=case.b + up - claimed)
    a, b = simulate(apart, sizes, alike, replicates, rng)
    return claimed, find(totals_of(a - b, sizes), sizes, claimed).alarms


def print_found(n: int, name: str, replicates: int) -> None:
    clusters = CLUSTERS[name]
    sizes = clusters.sizes(n)
    for of_case, case in CASES.items():
        a, b = simulate(case, sizes, clusters.alike, replicates, np.random.default_rng(n))
        totals = totals_of(a - b, sizes)
        found = find(totals, sizes, case.difference)
        telling = float((totals != 0).sum(axis=0).mean())
        bare = covers(found.bare_low, found.high, found.truth)
        shown, permutation = found.alarms, float((found.permutation_p < 0.05).mean())
        shares = (found.covered, found.width, bare, shown, permutation, mcnemar_alarms(a, b))
        row(n, name, of_case, telling, *(100 * share for share in shares))


def print_tried(n: int, name: str, replicates: int) -> None:
    clusters = CLUSTERS[name]
    sizes = clusters.sizes(n)
    drawn = []
    for case in CASES.values():
        a, b = simulate(case, sizes, clusters.alike, replicates, np.random.default_rng(n + 1))
        drawn.append((totals_of(a - b, sizes), case.difference))
    for method, ends in METHODS.items():
        found = [(*_by_parts(ends, totals, np.array(sizes)), truth) for totals, truth in drawn]
        shares = [100 * covers(low, high, truth) for low, high, truth in found]
        width = 100 * float(np.mean([(high - low).mean() for low, high, _ in found]))
        under, over = sum(share < 93 for share in shares), sum(share > 97 for share in shares)
        row(n, name, method, min(shares), float(np.mean(shares)), max(shares), width, under, over)


def print_power(n: int, name: str, replicates: int) -> None:
    clusters = CLUSTERS[name]
    for of_case, case in CASES.items():
        if case.difference == 0:
            rng = np.random.default_rng(n + 2)
            claimed, shown = power(case, clusters.sizes(n), clusters.alike, replicates, rng)
            row(n, name, of_case, 100 * claimed, 100 * shown)


def print_margins(n: int, name: str, replicates: int) -> None:
    rng = np.random.default_rng(n + 3)
    shares = [100 * margin_alarms(case, CLUSTERS[name], n, replicates, rng) for case in MARGIN_CASES.values()]
    row(n, name, *shares)


TRIED_IN = ("1 a company", "3 a company")
SIZES = (40, 100, 300)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--replicates", type=int, default=2000)
    arguments.add_argument("--margin", action="store_true", help="only how often what is too bad passes as good enough")
    given = arguments.parse_args()
    replicates = given.replicates
    if given.margin:
        print_all_margins(replicates)
        return
    print(f"{replicates} replicates a row, half as many in the second and third table\n")
    table(
        *("n", "companies", "scores", "telling", "covers %", "width"),
        *("bootstrap alone covers %", "shown %", "permutation %", "McNemar %"),
    )
    for name, n in itertools.product(CLUSTERS, SIZES):
        print_found(n, name, replicates)
    print()
    table("n", "companies", "method", "least covers %", "mean", "most", "width", "under 93 %", "over 97 %")
    for name, n in itertools.product(TRIED_IN, SIZES):
        print_tried(n, name, replicates // 2)
    print()
    table("n", "companies", "scores", "called detectable", "then shown %")
    for name, n in itertools.product(CLUSTERS, SIZES):
        print_power(n, name, replicates // 2)
    print()
    print_all_margins(replicates)


def print_all_margins(replicates: int) -> None:
    table("n", "companies", *MARGIN_CASES)
    for name, n in itertools.product(CLUSTERS, SIZES):
        print_margins(n, name, replicates)


def covers(low: Floats, high: Floats, truth: Floats | float) -> float:
    return float(((low - 1e-9 <= truth) & (truth <= high + 1e-9)).mean())


def table(*names: str) -> None:
    print("| " + " | ".join(names) + " |\n" + "| --- " * len(names) + "|")


def row(*cells: object) -> None:
    print(
        "| " + " | ".join(f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |", flush=True
    )


if __name__ == "__main__":
    main()
