"""What figures per share are called, and how the period asked for is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

PER_SHARE = re.compile(
    r"\bper\s+(?:[a-z\-]+\s+){0,4}(?:shares?|stock|units?|ads)\b|\beps\b|/share|\bshare\s?[-–—]\s?(?:basic|diluted)|"
    r"\bearnings/eps"
)
BASIC, DILUTED = re.compile(r"\bbasic\b"), re.compile(r"\bdiluted\b|\bassuming dilution\b|\bdilution\b")
ADJUSTED = re.compile(
    r"\b(?:adjusted|adj|non-?gaap|core|underlying|excluding|excl|normali[sz]ed|economic|operating|before\s+special)\b"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """The period a figure is wanted for: its length in months, its quarter (1 to 4), its year, all 0 where unknown."""

    months: int
    quarter: int
    year: int
    fiscal: bool

    @classmethod
    def of(cls, period: str) -> Asked:
        text = period.lower()
        quarter = re.search(r"q([1-4])", text)
        year = re.search(r"(?:19|20)\d\d", text)
        months = 3 if quarter else 6 if re.search(r"h[12]|half", text) else 12 if year else 0
        return cls(months, int(quarter[1]) if quarter else 0, int(year[0]) if year else 0, "fy" in text)


@dataclass(frozen=True, slots=True)
class Candidate:
    field: str
    points: float
    figure: Decimal


def fields(said: str, figure: Decimal, points: float) -> Iterator[Candidate]:
    """Which fields a figure is of, by the words it stands with."""
    basic, diluted = bool(BASIC.search(said)), bool(DILUTED.search(said))
    if ADJUSTED.search(said):
        if diluted or not basic:
            yield Candidate("adjusted", points + diluted, figure)
        return
    if basic:
        yield Candidate("basic", points, figure)
    if diluted or not basic:
        yield Candidate("diluted", points - 4 * (not diluted), figure)
