"""RECOMMEND. A comparison and a user's limits -> the file to run, and why not the others. Pure: rows in.

A file is recommended where the documents *show* that it is not worse than the best by more than a margin: the whole
95 % interval of the difference lies under the margin (non-inferiority). That nothing was shown against a file is not
enough, for with few documents nothing is shown against any. docs/comparing.md says more, docs/statistics.md how often
it errs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from scipy.special import ndtri

from gguf_bench.paired import ALPHA, POWER
from gguf_bench.records import Candidate, Limits, Recommendation, Verdict
from gguf_bench.units import size_in_words

Row = Mapping[str, Any]

RULES, NULL = "baseline_rules", "baseline_null"

MOST_DOCUMENTS = 100_000
"""More than these nobody will read."""

ENDPOINT = "an endpoint: there is no file of it"


def recommend(
    leaderboard: Sequence[Row], verdicts: Sequence[Verdict], limits: Limits, *, speeds_compare: bool = True
) -> Recommendation:
    """The smallest and the fastest file within `limits` that is shown to be within the margin of the best of them.

    `leaderboard` as of Comparison; `verdicts` are about all its finished contenders, whether asked for or not. The best
    is the contender with the highest score that fits the limits. A file is within the margin where *no* contender that
    fits is better by more than that, whichever truly is the best: the one with the highest score has to show it, too.
    Where no file is shown to be, the one with the highest score is named, and `is_shown` is false. `smallest` and
    `fastest` are None where no file fits, and the latter where speeds do not compare.
    """
    pairs = {frozenset((pair.better, pair.worse)): pair for pair in verdicts}
    models = [row for row in leaderboard if row["asked"] and row["model"] not in (RULES, NULL)]
    refused = {row["name"]: "; ".join(_refusals(row, limits)) for row in models}
    fitting = [row for row in models if not refused[row["name"]]]
    files = [row for row in fitting if _is_file(row)]
    remarks = []
    judge = _Judge(fitting, pairs, limits.margin)
    if files and not _is_file(judge.best) and not any(judge.found(row)[0] == "shown" for row in files):
        remarks.append(
            f"no file is shown to be within the margin of {judge.best['name']}, {ENDPOINT}; the files are measured by "
            "the best of them"
        )
        judge = _Judge(files, pairs, limits.margin)
    passing = [row for row in files if judge.found(row)[0] == "shown"]
    is_shown = bool(passing)
    passing = passing or files[:1]
    smallest = min(passing, key=lambda row: (row["size_bytes"], -row["eps_score"]), default=None)
    timed = [row for row in passing if row["documents_per_minute"]] if speeds_compare else []
    fastest = max(timed, key=lambda row: (row["documents_per_minute"], -row["size_bytes"]), default=None)
    chosen = [row for row in (smallest, fastest) if row is not None]
    fronts = _front(files, "size_bytes", -1), _front(files, "documents_per_minute", 1) if speeds_compare else set()
    candidates = [
        _candidate(row, judge, refused[row["name"]], is_chosen=row in chosen, fronts=fronts) for row in models
    ]
    remarks += _about_limits(models, judge)
    if files and not is_shown:
        remarks.append(_nothing_shown(judge, candidates))
    remarks += _about_baselines(leaderboard, judge, chosen)
    return Recommendation(
        limits=limits,
        best=judge.best["name"] if judge.rivals else None,
        smallest=smallest["name"] if smallest else None,
        fastest=fastest["name"] if fastest else None,
        is_shown=is_shown,
        candidates=candidates,
        remarks=remarks,
    )


def _candidate(
    row: Row, judge: _Judge, refused: str, *, is_chosen: bool, fronts: tuple[Collection[str], Collection[str]]
) -> Candidate:
    """What is to be said of `row`; `refused` is why it is out whatever it scores, '' where it is not."""
    within, reason, needed = judge.found(row) if row in judge.rivals else (None, "", None)
    if refused:
        reason = refused
    elif not _is_file(row):
        reason = ENDPOINT
    elif is_chosen:
        reason = ""
    behind = judge.behind_best(row) if judge.rivals and row["eps_score"] is not None else None
    return Candidate(
        name=row["name"],
        model=row["model"],
        quant=row["quant"],
        eps_score=row["eps_score"],
        size_bytes=row["size_bytes"],
        documents_per_minute=row["documents_per_minute"],
        memory_bytes=_memory(row),
        behind=behind.difference if behind else None,
        low=behind.low if behind else None,
        high=behind.high if behind else None,
        within=within,
        documents_needed=needed,
        on_size_front=row["name"] in fronts[0],
        on_speed_front=row["name"] in fronts[1],
        reason=reason or ("" if is_chosen else "within the margin, but neither the smallest nor the fastest"),
    )


def _is_file(row: Row) -> bool:
    return row["size_bytes"] is not None


def _memory(row: Row) -> int | None:
    """What a contender took, of the machine's memory and of GPUs' together."""
    return None if row["peak_rss_bytes"] is None else int(row["peak_rss_bytes"] + (row["peak_vram_bytes"] or 0))


def _refusals(row: Row, limits: Limits) -> Iterator[str]:
    """Why a contender is out whatever it scores. An endpoint takes no room here, and has a speed only."""
    if row["eps_score"] is None:
        yield f"{row['status']}: {row['error']}" if row["error"] else f"not finished, but {row['status']}"
        return
    if _is_file(row):
        sizes: tuple[tuple[str, int | None, int | None], ...] = (
            ("size", row["size_bytes"], limits.max_size_bytes),
            ("memory", _memory(row), limits.max_memory_bytes),
        )
        for what, value, most in sizes:
            if most is not None and value is None:
                yield f"its {what} is not known"
            elif most is not None and value is not None and value > most:
                yield f"{what} {_over(value, most)}"
    speed, least = row["documents_per_minute"], limits.min_documents_per_minute
    if least is not None and speed is None:
        yield "its speed is not known"
    elif least is not None and speed < least:
        yield f"{speed:.4g} documents a minute, under {least:.4g}"


def _over(value: int, most: int) -> str:
    words, limit = size_in_words(value), size_in_words(most)
    return f"{words}, over {limit}" if words != limit else f"{value:,} bytes, over {most:,}"


def _front(files: Sequence[Row], column: str, sign: int) -> set[str]:
    """The names of those `files` beside which no other has as good a score and as good a figure in `column`, too.

    `sign` is 1 where more of it is better, -1 where less is. As good in both and better in one: that one is in front.
    """
    known = [(row["eps_score"], sign * row[column], row["name"]) for row in files if row[column] is not None]
    return {
        name
        for score, figure, name in known
        if not any(
            other[0] >= score and other[1] >= figure and (other[0], other[1]) != (score, figure) for other in known
        )
    }


# ----------------------------------------------------------------------------------------------------------- the margin


Within = Literal["shown", "open", "refuted"]


@dataclass(frozen=True, slots=True)
class _Behind:
    """By how much `rival` is better, with the ends of its 95 % interval."""

    rival: str
    difference: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.difference:.1f} points [{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True, slots=True)
class _Judge:
    """Who is within `margin` of all `rivals`, the best of whom is the first."""

    rivals: Sequence[Row]
    pairs: Mapping[frozenset[str], Verdict]
    margin: float

    @property
    def best(self) -> Row:
        return self.rivals[0]

    def behind(self, row: Row, rival: Row) -> _Behind:
        pair = self.pairs[frozenset((rival["name"], row["name"]))]
        return _Behind(rival["name"], *pair.seen_from(rival["name"]))

    def behind_best(self, row: Row) -> _Behind | None:
        return None if row is self.best else self.behind(row, self.best)

    def found(self, row: Row) -> tuple[Within, str, int | None]:
        """Whether `row` is within the margin, why not, and how many documents might show it where that is open."""
        behind = [self.behind(row, rival) for rival in self.rivals if rival is not row]
        best = self.behind_best(row)
        if best is not None and best.low > self.margin:
            return "refuted", f"shown to be worse than {best.rival} by more than the margin: {best}", None
        farthest = max(behind, key=lambda one: one.high, default=None)
        if farthest is None or farthest.high < self.margin:
            return "shown", "", None
        rival = best if best is not None and best.high >= self.margin else farthest
        needed = self._documents_needed(row, rival)
        outlook = f"; about {needed:,} documents might show that it is not" if needed else ""
        return "open", f"may be worse than {rival.rival} by more than the margin: {rival}{outlook}", needed

    def _documents_needed(self, row: Row, behind: _Behind) -> int | None:
        """How many documents would show `row` to be within the margin four times out of five, if what was seen is true.

        The interval's half-width shrinks with the root of their number. None where what was seen is not within the
        margin, or it takes more than MOST_DOCUMENTS.
        """
        room = self.margin - behind.difference
        if room <= 0:
            return None
        n_documents = self.pairs[frozenset((behind.rival, row["name"]))].n_documents
        surer = 1 + float(ndtri(POWER) / ndtri(1 - ALPHA / 2))
        needed = n_documents * (surer * (behind.high - behind.difference) / room) ** 2
        if needed > MOST_DOCUMENTS:
            return None
        digits = 2 - len(str(math.ceil(needed)))
        return int(max(round(needed, digits), n_documents + 1))


# --------------------------------------------------------------------------------------------------- what must be said


def _about_limits(models: Sequence[Row], judge: _Judge) -> Iterator[str]:
    """What the limits cost: who is out and scores more."""
    if not judge.rivals or judge.best["eps_score"] is None:
        return
    above = [row for row in models if row["eps_score"] is not None and row["eps_score"] > judge.best["eps_score"]]
    out = [row for row in above if row not in judge.rivals and _is_file(row)]
    if out:
        yield (
            f"{out[0]['name']} is beyond the limits and scores {100 * out[0]['eps_score']:.1f}: better than "
            f"{judge.best['name']} by {judge.behind(judge.best, out[0])}"
        )


def _nothing_shown(judge: _Judge, candidates: Sequence[Candidate]) -> str:
    soonest = min((each.documents_needed for each in candidates if each.documents_needed), default=None)
    return f"at n = {judge.best['n_documents']} no file is shown to be within the margin of all others" + (
        f"; about {soonest:,} documents might show one to be" if soonest else ""
    )


def _about_baselines(leaderboard: Sequence[Row], judge: _Judge, chosen: Sequence[Row]) -> Iterator[str]:
    """Whether a model is worth running at all."""
    scored = {row["model"]: row for row in leaderboard if row["eps_score"] is not None}
    if not judge.rivals:
        return
    rules, null = scored.get(RULES), scored.get(NULL)
    if rules is not None and rules["eps_score"] > judge.best["eps_score"]:
        yield (
            f"plain rules without any model ({rules['name']}) score {100 * rules['eps_score']:.1f} and beat every "
            f"model that fits: {judge.best['name']}, the best, by {judge.behind(judge.best, rules)}"
        )
    for row in {row["name"]: row for row in chosen}.values():
        if null is not None and judge.behind(row, null).high >= 0:
            yield (
                f"{row['name']} is not shown to be better than the answer null to everything, which scores "
                f"{100 * null['eps_score']:.1f}"
            )
