"""COMPARE: stored answers -> the figures of a contender, with intervals. Pure: rows in, rows out.

The unit is the document: the three fields of one release are correlated, and so are releases of one company, so
variances are clustered by company.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.special import stdtrit

from gguf_bench.records import FIELDS

Row = Mapping[str, Any]

EXACT = 1 - 1e-9
"""A document's score counts as all right from here on: thirds are not exact in binary."""


def summarise(
    answers: Sequence[Row], companies: Mapping[str, str], wall_seconds: float | None = None
) -> dict[str, float | int | None]:
    """The figures of one contender, named as in the view `eps_scores`.

    `answers` are rows of `answers`, `companies` maps document ids to the company that issued them. `wall_seconds` is
    how long all the answers took together; without it, one is taken to have begun where another ended.
    """
    seconds = wall_seconds or math.fsum(answer["seconds"] for answer in answers)
    clusters = [companies[answer["document_id"]] for answer in answers]
    scores = [answer["score"] for answer in answers]
    exact = [float(score >= EXACT) for score in scores]
    low, high = interval(scores, clusters)
    exact_low, exact_high = interval(exact, clusters)
    asked = sum(answer["status"] != "over_context" for answer in answers)
    kinds = [answer[f"kind_{field}"] for answer in answers for field in FIELDS]
    return {
        "n_documents": len(answers),
        "eps_score": _mean(scores),
        "eps_score_low": low,
        "eps_score_high": high,
        "exact_match": _mean(exact),
        "exact_match_low": exact_low,
        "exact_match_high": exact_high,
        **{
            f"{field}_accuracy": _mean([float(answer[f"kind_{field}"] == "right") for answer in answers])
            for field in FIELDS
        },
        "unparseable": sum(answer["status"] == "unparseable" for answer in answers),
        "over_context": sum(answer["status"] == "over_context" for answer in answers),
        "missed": kinds.count("missed"),
        "hallucinated": kinds.count("hallucinated"),
        "prompt_tokens_per_second": _rate(answers, "decoded_prompt_tokens", "prompt_seconds"),
        "generation_tokens_per_second": _rate(answers, "generated_tokens", "generation_seconds"),
        "documents_per_minute": 60 * asked / seconds if seconds else None,
    }


def by_tier(scores: Mapping[str, float], tiers: Mapping[str, str]) -> dict[str, dict[str, float | int]]:
    """Tier -> {"n_documents", "eps_score"} of one contender, in the order of `tiers` (document id -> tier).

    `scores` maps document ids to scores. Empty where no document has a tier.
    """
    found: dict[str, list[float]] = {tier: [] for tier in tiers.values()}
    for document_id, score in scores.items():
        found[tiers[document_id]].append(score)
    return {
        tier: {"n_documents": len(values), "eps_score": math.fsum(values) / len(values)}
        for tier, values in found.items()
        if values and any(tiers.values())
    }


def interval(
    values: Sequence[float], clusters: Sequence[str], level: float = 0.95
) -> tuple[float | None, float | None]:
    """A two-sided interval for the mean of `values` in [0, 1], clustered.

    Wilson's interval at the effective number of documents: as many independent yes/no answers as have the variance of
    the clustered mean (Franco et al. 2019 compare such intervals for survey proportions). It stays in [0, 1]. The ratio
    of the two variances is shrunk towards 1 by one pseudo-observation, because near 0 and 1 the sample has too few
    telling documents to estimate it, and a score that every document shares would leave no doubt at all.
    """
    if not values:
        return None, None
    mean, n_clusters = math.fsum(values) / len(values), len(set(clusters))
    spread = mean * (1 - mean)
    telling = 4 * n_clusters * spread
    ratio = _variance_of_mean(values, clusters) * n_clusters / spread if spread > 0 else 1.0
    effective = n_clusters * (telling + 1) / (ratio * telling + 1)
    quantile = float(stdtrit(max(1, n_clusters - 1), 0.5 + level / 2))
    square = quantile**2 / effective
    centre = (mean + square / 2) / (1 + square)
    half = math.sqrt(square * (spread + square / 4)) / (1 + square)
    return max(0.0, centre - half), min(1.0, centre + half)


def _rate(answers: Sequence[Row], amount: str, seconds: str) -> float | None:
    """A rate of nothing is unknown rather than 0: an endpoint's time is not told apart."""
    total, total_seconds = sum(answer[amount] for answer in answers), math.fsum(answer[seconds] for answer in answers)
    return total / total_seconds if total and total_seconds else None


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _variance_of_mean(values: Sequence[float], clusters: Sequence[str]) -> float:
    """Variance of the mean with the cluster as the unit (the sandwich estimator with its G / (G - 1) correction)."""
    mean = math.fsum(values) / len(values)
    totals: dict[str, float] = defaultdict(float)
    for value, cluster in zip(values, clusters, strict=True):
        totals[cluster] += value - mean
    n_clusters = len(totals)
    if n_clusters < 2:
        return 0.0
    return n_clusters / (n_clusters - 1) * math.fsum(total**2 for total in totals.values()) / len(values) ** 2
