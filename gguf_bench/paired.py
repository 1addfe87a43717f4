"""PAIRED. Scores of contenders on the same documents -> what they show about each two. Pure: no file, clock or chance.

Two contenders are compared document by document, and the unit is the company: releases of one company are alike. All
sums are counted in thirds of a document, which is what one field is worth, so they are whole numbers and come out the
same on every machine. docs/statistics.md says why these methods, and what simulations found about them.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtri, stdtrit

from gguf_bench.records import Verdict

FIELDS_OF_A_DOCUMENT = 3
"""A document's score is a whole number of fields out of these."""

ALPHA = 0.05
POWER = 0.8

RESAMPLES = 4000
SEED = 20_240_229
PHANTOMS = (1, 1, -1, -1)
"""Pseudo-companies that join every resampling, in fields won or lost. They count no document."""

LEAST_P = 1e-12
"""p-values below this are not told apart: the transform behind them is exact to about 1e-15."""

_CELLS = 2_000_000
"""Numbers held at once by a resampling: 16 MB."""

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]


def differences(scores: Mapping[str, Mapping[str, float]], companies: Mapping[str, str]) -> list[Verdict]:
    """Every pair of contenders, widest difference first.

    `scores` maps a contender's name to its scores by document id (0, 1/3, 2/3 or 1), `companies` a document id to its
    company. A pair is compared on the documents that both have. The same scores give the same figures, whatever their
    order, and whoever else is compared (but for `p_value`, `shown` and `detectable`, which are of all the pairs).
    Raises ValueError for a score that is not of thirds.
    """
    return among(alone(scores, companies), scores)


@dataclass(frozen=True, slots=True)
class Alone:
    """A pair taken alone: its verdict, with what `intervals` calls totals and sizes."""

    pair: Verdict
    totals: Integers
    sizes: Integers


def alone(scores: Mapping[str, Mapping[str, float]], companies: Mapping[str, str]) -> list[Alone]:
    """Every pair of contenders, each taken alone, as if nobody else were compared; `scores` as in `differences`."""
    fields = {
        name: {document: _fields(score, document) for document, score in own.items()} for name, own in scores.items()
    }
    together: dict[frozenset[str], list[tuple[str, str]]] = defaultdict(list)
    for a, b in itertools.combinations(fields, 2):
        together[frozenset(fields[a].keys() & fields[b].keys())].append((a, b))
    return [
        found
        for documents, pairs in together.items()
        for found in _compare(fields, sorted(documents), companies, pairs)
    ]


def among(pairs: Iterable[Alone], names: Collection[str]) -> list[Verdict]:
    """The verdicts of those `pairs` whose two are both among `names`, widest difference first, by Holm's method."""
    own = [each for each in pairs if each.pair.better in names and each.pair.worse in names]
    adjusted = holm([each.pair.p_alone for each in own])
    n_open = sum(p_value >= ALPHA for p_value in adjusted)
    return sorted(
        (_among_all(each, p_value, len(own), n_open) for each, p_value in zip(own, adjusted, strict=True)),
        key=lambda pair: (-pair.difference, pair.better, pair.worse),
    )


# ---------------------------------------------------------------------------------------------------------- the figures


def intervals(totals: Integers, sizes: Integers, *, phantoms: Sequence[int] = PHANTOMS) -> tuple[Floats, Floats]:
    """The ends of the 95 % intervals of differences (score, -1 … 1), one a column of `totals`.

    `totals` (n_companies, n_pairs) holds the fields won less those lost by company, `sizes` (n_companies,) the
    documents of each; at least two companies.

    A bootstrap over companies: as many as there are, and the pseudo-companies `phantoms`, are drawn with replacement.
    Without those, resamples of few telling documents know no doubt (pseudo-observations for paired proportions: Agresti
    & Min 2005). With several documents a company, a phantom's size grows as the spread of a company's total does. The
    percentiles' distances from the estimate are stretched by Student's t over the normal quantile and √(G / (G - 1)),
    which is what the plain percentile interval lacks at small n (Hesterberg 2015, "expanded percentile interval").
    """
    n_companies, n_documents = len(sizes), int(sizes.sum())
    estimates = totals.sum(axis=0) / (FIELDS_OF_A_DOCUMENT * n_documents)
    scale = _phantom_scale(sizes)
    resampled = np.empty((RESAMPLES, totals.shape[1]))
    row = 0
    wide, counts, of_phantoms = totals.astype(np.float64), sizes.astype(np.float64), np.array(phantoms, np.float64)
    for drawn in draws(n_companies + len(phantoms)):
        own = drawn[:, :n_companies]
        won = own @ wide + scale * (drawn[:, n_companies:] @ of_phantoms)[:, None]
        # A resample of phantoms alone is as good as impossible, but for two companies it does happen.
        resampled[row : row + len(drawn)] = won / np.maximum(own @ counts, 1)[:, None] / FIELDS_OF_A_DOCUMENT
        row += len(drawn)
    low, high = np.quantile(resampled, [ALPHA / 2, 1 - ALPHA / 2], axis=0)
    student = stdtrit(n_companies - 1, 1 - ALPHA / 2) / ndtri(1 - ALPHA / 2)
    stretch = float(student) * math.sqrt(n_companies / (n_companies - 1))
    return (
        np.maximum(-1.0, estimates + stretch * (low - estimates)),
        np.minimum(1.0, estimates + stretch * (high - estimates)),
    )


def draws(population: int) -> Iterator[Floats]:
    """How often each of `population` is drawn, one row a resample, some rows at a time; always the same."""
    rng = np.random.default_rng((SEED, population))
    rows = max(1, _CELLS // population)
    for start in range(0, RESAMPLES, rows):
        n = min(rows, RESAMPLES - start)
        drawn = rng.integers(0, population, (n, population)) + population * np.arange(n)[:, None]
        yield np.bincount(drawn.ravel(), minlength=n * population).reshape(n, population).astype(np.float64)


def _phantom_scale(sizes: Integers) -> float:
    return math.sqrt(float((sizes**2).sum() / sizes.sum()))


def permutation_p(totals: Iterable[int]) -> float:
    """The two-sided p-value of the sum of `totals`, one whole number a company; never 0.

    The share of all 2^G ways to swap the two contenders, company by company, that give a sum at least as far from 0.
    Exact however many companies there are, without drawing any: the swapped sum is a sum of independent signs times
    whole numbers, so the product of cosines is its characteristic function, and one Fourier transform inverts it.
    """
    sizes, counts = np.unique(np.abs(np.array([total for total in totals if total], np.int64)), return_counts=True)
    signed = sum(totals)
    if not len(sizes):
        return 1.0
    reach = int(sizes @ counts)
    length = 1 << (2 * reach).bit_length()
    characteristic = np.ones(length // 2 + 1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        characteristic *= _power(_cosines(size, length), count)
    chances = np.fft.irfft(characteristic, length)
    tail = float(chances[abs(signed) : reach + 1].sum())
    least = max(LEAST_P, 2.0 ** (1 - int(counts.sum())))  # all swapped or none: no such test can be surer
    return min(1.0, max(2 * tail, least)) if signed else 1.0


@lru_cache(maxsize=32)
def _cosines(size: int, length: int) -> Floats:
    """The characteristic function of a sign times `size`, where a transform of `length` asks for it."""
    cosines: Floats = np.cos(np.arange(length // 2 + 1) * (2 * math.pi * size / length))
    return cosines


def _power(base: Floats, exponent: int) -> Floats:
    """By squaring: a tenth of the time that numpy's takes, and the same on every machine."""
    power = np.ones_like(base)
    while exponent:
        if exponent & 1:
            power *= base
        base = base * base
        exponent >>= 1
    return power


def agreed(low: float, p_value: float) -> tuple[float, float]:
    """The interval's lower end and the permutation p-value of a difference that is not below 0, made to agree.

    Whichever sees less decides: an interval that reaches 0 makes the p-value at least 5 %, and a p-value of at least
    5 % makes the interval reach 0. An interval only grows by it, and so does a p-value: both keep what they promise.
    """
    if low <= 0:
        return low, max(p_value, ALPHA)
    return (0.0 if p_value >= ALPHA else low), p_value


def mcnemar_p(first_only: int, second_only: int) -> float:
    """McNemar's exact two-sided p-value for the documents that only one of two contenders had all right.

    It takes documents for independent. Where companies have several, as many as fail together count as evidence
    several times over, and it gives false alarms; `permutation_p` does not.
    """
    n = first_only + second_only
    return min(1.0, 2 * float(bdtr(min(first_only, second_only), n, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted by Holm's step-down method, in their order."""
    adjusted, at_least = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        at_least = max(at_least, min(1.0, p_values[number] * (len(p_values) - rank)))
        adjusted[number] = at_least
    return adjusted


def detectable(totals: Integers, sizes: Integers, alpha: float) -> float:
    """The smallest true difference of scores that a test at level `alpha` would show with about 80 % power.

    `totals` and `sizes` are of one pair, as in `intervals`. The spread is what was seen, phantoms included, and what
    the difference itself would add: a difference as large as those seen (or of a whole document, where none was) that
    falls on a company that had none. That matters where few documents differ: eight must, before six are likely to.
    """
    n_companies, scale = len(sizes), _phantom_scale(sizes)
    needed = float(stdtrit(n_companies - 1, 1 - alpha / 2) + ndtri(POWER))
    squares = float((totals.astype(np.float64) ** 2).sum())
    whole = FIELDS_OF_A_DOCUMENT * scale
    typical = (squares + whole**2) / (float(np.abs(totals).sum()) + whole)
    spread = squares + scale**2 * sum(phantom**2 for phantom in PHANTOMS)
    free = 1 - float((totals != 0).mean())
    # sum = needed * sqrt(spread + free * typical * sum - sum^2 / G), solved for the sum
    a, b, c = 1 + needed**2 / n_companies, needed**2 * free * typical, needed**2 * spread
    total = (b + math.sqrt(b**2 + 4 * a * c)) / (2 * a)
    return min(1.0, total / (FIELDS_OF_A_DOCUMENT * float(sizes.sum())))


# ------------------------------------------------------------------------------------------------------------ the pairs


def _fields(score: float, document: str) -> int:
    fields = round(FIELDS_OF_A_DOCUMENT * score) if math.isfinite(score) else -1
    if not 0 <= fields <= FIELDS_OF_A_DOCUMENT or abs(FIELDS_OF_A_DOCUMENT * score - fields) > 1e-6:
        raise ValueError(f"score {score} of document {document}, but a score is 0, 1/3, 2/3 or 1")
    return fields


def _compare(
    fields: Mapping[str, Mapping[str, int]],
    documents: Sequence[str],
    companies: Mapping[str, str],
    pairs: Sequence[tuple[str, str]],
) -> Iterator[Alone]:
    """The pairs that share exactly these documents."""
    names = sorted({companies[document] for document in documents})
    numbers = {name: number for number, name in enumerate(names)}
    of = np.array([numbers[companies[document]] for document in documents], np.int64)
    sizes = np.bincount(of, minlength=len(names)).astype(np.int64)
    right = {
        name: np.array([fields[name][document] for document in documents], np.int64)
        for name in dict.fromkeys(itertools.chain(*pairs))
    }
    at_once = max(1, _CELLS // (RESAMPLES + len(documents)))
    for start in range(0, len(pairs), at_once):
        # The better one first; of two alike, the one named first in the alphabet: a pair has one reading only.
        ordered = [sorted(pair, key=lambda name: (-right[name].sum(), name)) for pair in pairs[start : start + at_once]]
        won = [right[better] - right[worse] for better, worse in ordered]
        totals = np.array([np.bincount(of, row, len(names)) for row in won], np.int64).reshape(len(won), len(names)).T
        ends = intervals(totals, sizes) if len(names) > 1 else (np.full(len(won), -1.0), np.full(len(won), 1.0))
        for (better, worse), column, low, high in zip(ordered, totals.T, *ends, strict=True):
            pair = _alone(better, worse, right, column, sizes, float(low), float(high))
            yield Alone(pair, column, sizes)


def _alone(
    better: str, worse: str, right: Mapping[str, Integers], totals: Integers, sizes: Integers, low: float, high: float
) -> Verdict:
    n_documents = int(sizes.sum())
    low, p_value = agreed(low, permutation_p(totals.tolist()))
    whole = {name: right[name] == FIELDS_OF_A_DOCUMENT for name in (better, worse)}
    better_only, worse_only = (int((whole[a] & ~whole[b]).sum()) for a, b in ((better, worse), (worse, better)))
    return Verdict(
        better=better,
        worse=worse,
        n_documents=n_documents,
        n_companies=len(sizes),
        n_pairs=1,
        difference=int(totals.sum()) / (FIELDS_OF_A_DOCUMENT * n_documents) if n_documents else 0.0,
        low=low,
        high=high,
        p_alone=p_value,
        p_value=p_value,
        detectable=1.0,
        shown=False,
        better_only=better_only,
        worse_only=worse_only,
        exact_p_value=mcnemar_p(better_only, worse_only),
    )


def _among_all(alone: Alone, p_value: float, n_pairs: int, n_open: int) -> Verdict:
    """The pair with what Holm's method says of it, `n_open` of the `n_pairs` not being shown.

    The next pair to be shown must pass 5 % / `n_open`. A difference as large as one that was not shown cannot be called
    detectable.
    """
    pair, shown = alone.pair, p_value < ALPHA
    if pair.n_companies < 2:
        return replace(pair, p_value=p_value, n_pairs=n_pairs, shown=shown, detectable=1.0)
    least = detectable(alone.totals, alone.sizes, ALPHA / max(1, n_open))
    return replace(
        pair,
        p_value=p_value,
        n_pairs=n_pairs,
        shown=shown,
        detectable=least if shown else max(least, pair.difference),
    )
