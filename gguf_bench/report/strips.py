"""Charts of one strip a row: a name, what is drawn, figures. Pure: numbers in, shares of the width out.

All is placed in hundredths of the width, and names are text of the page. So one drawing, which the template writes,
fits every screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gguf_bench.report.charts import nice


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A difference with its interval, where they lie; hollow where it is not shown."""

    low: float
    at: float
    high: float
    is_shown: bool
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a bar: where it begins, and how long it is; `colour` is a CSS colour."""

    begin: float
    length: float
    colour: str
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    label: str
    words: str
    interval: Interval | None = None
    segments: Sequence[Segment] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Strips:
    """`ticks` are (where, what is written there); `zero` is where a line parts what is less from what is more."""

    strips: Sequence[Strip]
    ticks: Sequence[tuple[float, str]]
    axis: str
    zero: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A difference of two scores in points, with its interval."""

    label: str
    words: str
    about: str
    difference: float
    low: float
    high: float
    is_shown: bool


def forest(pairs: Sequence[Pair]) -> Strips:
    """Differences with their intervals, and zero between what they may mean."""
    low = min(0.0, *(pair.low for pair in pairs))
    high = max(0.0, *(pair.high for pair in pairs))
    air = 0.04 * (high - low) or 1.0
    low, high = low - air, high + air

    def where(points: float) -> float:
        return 100 * (points - low) / (high - low)

    step = nice((high - low) / MOST_TICKS)
    ticks = [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return Strips(
        strips=[
            Strip(
                label=pair.label,
                words=pair.words,
                interval=Interval(
                    low=where(pair.low),
                    at=where(pair.difference),
                    high=where(pair.high),
                    is_shown=pair.is_shown,
                    about=pair.about,
                ),
            )
            for pair in pairs
        ],
        ticks=[(where(tick), f"{tick:g}".replace("-", "−")) for tick in ticks],
        axis="points of EPS score, the better less the other",
        zero=where(0.0),
    )


MOST_TICKS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A contender's figures, parted: `parts` are (share in percent, CSS colour, what is said when pointed at)."""

    label: str
    parts: Sequence[tuple[float, str, str]]
    words: str


def parts(bars: Sequence[Bar]) -> Strips:
    """How the figures of each contender came out, one stacked bar each."""
    return Strips(
        strips=[Strip(label=bar.label, words=bar.words, segments=_segments(bar)) for bar in bars],
        ticks=[(share, str(share)) for share in range(0, 101, 20)],
        axis="share of all figures asked for, %",
    )


def _segments(bar: Bar) -> list[Segment]:
    found, begin = [], 0.0
    for share, colour, about in bar.parts:
        if share > 0:
            found.append(Segment(begin=begin, length=share, colour=colour, about=about))
        begin += share
    return found
