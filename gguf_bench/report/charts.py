"""Figures of contenders -> Vega-Lite specs, as plain dicts. Pure: no file, no drawing.

Colours are CSS variables of the page, so that one drawing serves light, dark and print. Each chart comes in the two
widths of SIZES, because text that shrinks with a drawing cannot be read on a phone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gguf_bench.report.places import Point, at_level, placed

Spec = dict[str, Any]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"
COLOURS = tuple(f"var(--c{number})" for number in range(1, 9))
INK, MUTED, RULE, PAPER, OTHER = (f"var(--{name})" for name in ("ink", "muted", "rule", "paper", "other"))

CONFIG: Spec = {
    "background": None,
    "font": FONT,
    "view": {"stroke": None},
    "aria": True,
    "axis": {
        "aria": False,
        "domain": False,
        "grid": True,
        "gridColor": RULE,
        "gridWidth": 1,
        "labelColor": MUTED,
        "labelFontSize": 12,
        "labelPadding": 6,
        "ticks": False,
        "titleColor": MUTED,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
    },
    "text": {"fill": INK, "fontSize": 12},
}


@dataclass(frozen=True, slots=True)
class Size:
    """A width that charts are drawn for, in pixels."""

    name: Literal["wide", "narrow"]
    pixels: int


SIZES = (Size("wide", 520), Size("narrow", 328))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A contender in a chart: `x` in the axis's unit, scores in percent, `colour` a CSS colour."""

    name: str
    label: str
    about: str
    x: float
    score: float
    low: float
    high: float
    colour: str
    is_front: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A horizontal axis: `words` maps the values that are written at it to how they are written."""

    title: str
    low: float
    high: float
    words: Mapping[float, str]
    is_log: bool = False

    def share(self, value: float) -> float:
        """How far along the axis a value lies, 0 … 1."""
        scale = math.log if self.is_log else float
        return (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))


@dataclass(frozen=True, slots=True)
class Line:
    """A level to compare with, in percent."""

    label: str
    score: float


LEFT, TOP, RIGHT, BOTTOM = 40, 8, 14, 46
ROOM_FOR_WORDS = 22
"""What two labels of a horizontal axis need between them, beside their own width."""


def dots(
    points: Sequence[Dot], x: Axis, lines: Sequence[Line], size: Size, *, join: str | None, height: int = 300
) -> Spec:
    """Scores over `x` with their intervals. `join` is how those on the front are joined, as Vega names it.

    Labels that find no room are left out; `about` says everything when pointed at.
    """
    width, high = size.pixels - LEFT - RIGHT, height - TOP - BOTTOM
    low_score, high_score = score_range(points)
    across = {"field": "x", "type": "quantitative", "scale": _scale(x), "axis": _axis(x, width)}
    up = {
        "field": "score",
        "type": "quantitative",
        "title": "EPS score, %",
        "scale": {"domain": [low_score, high_score], "nice": False, "zero": False},
        "axis": {"tickCount": 6, "titlePadding": 4},
    }

    def row(score: float) -> float:
        return high * (1 - (score - low_score) / (high_score - low_score))

    first = sorted(points, key=lambda dot: (not dot.is_front, -dot.score))
    pixels = [Point(width * x.share(dot.x), row(dot.score), row(dot.low), row(dot.high), dot.label) for dot in first]
    front = sorted((width * x.share(dot.x), row(dot.score)) for dot in points if dot.is_front)
    path = _corners(front, join) if join is not None else []
    shown = [line for line in lines if low_score <= line.score <= high_score]
    places = placed(pixels, path, width + RIGHT, high)
    labels = [
        {"text": dot.label, "x": place.x, "y": place.y, "align": place.align, "is_front": dot.is_front}
        for dot, place in zip(first, places, strict=True)
        if place is not None
    ]
    levels = [(line.label, at_level(line.label, row(line.score), width, pixels, path, places)) for line in shown]
    labels += [
        {"text": label, "x": place.x, "y": place.y, "align": place.align, "is_front": False} for label, place in levels
    ]
    values = [
        {name: getattr(dot, name) for name in ("name", "about", "x", "score", "low", "high", "colour", "is_front")}
        for dot in points
    ]
    here = {"x": across, "y": up}
    colour = {"field": "colour", "type": "nominal", "scale": None}
    layers: list[Spec] = [
        {
            "data": {"values": [{"score": line.score} for line in shown]},
            "mark": {"type": "rule", "strokeDash": [2, 3], "stroke": MUTED, "aria": False},
            "encoding": {"y": up},
        }
    ]
    if join is not None:
        layers.append(
            {
                "transform": [{"filter": "datum.is_front"}],
                "mark": {"type": "line", "interpolate": join, "stroke": MUTED, "strokeWidth": 1.5, "aria": False},
                "encoding": {**here, "order": {"field": "x", "type": "quantitative"}},
            }
        )
    layers += [
        {
            "mark": {"type": "rule", "strokeWidth": 1.5, "aria": False},
            "encoding": {
                "x": across,
                "y": {**up, "field": "low"},
                "y2": {"field": "high"},
                "stroke": colour,
                "opacity": {"condition": {"test": "datum.is_front", "value": 0.75}, "value": 0.4},
            },
        },
        {
            "mark": {"type": "point", "size": 80, "strokeWidth": 2, "opacity": 1},
            "encoding": {
                **here,
                "stroke": colour,
                "fill": {"condition": {"test": "datum.is_front", **colour}, "value": PAPER},
                "description": {"field": "about"},
            },
        },
        {
            "data": {"values": labels},
            "mark": {"type": "text", "align": {"expr": "datum.align"}, "baseline": "middle", "aria": False},
            "encoding": {  # at the pixels that `places` found
                "x": {"field": "x", "type": "quantitative", "scale": None, "axis": None},
                "y": {"field": "y", "type": "quantitative", "scale": None, "axis": None},
                "text": {"field": "text"},
                "opacity": {"condition": {"test": "datum.is_front", "value": 1}, "value": 0.55},
            },
        },
    ]
    return {
        "$schema": SCHEMA,
        "config": CONFIG,
        "width": width,
        "height": high,
        "autosize": "none",
        "padding": {"left": LEFT + 8, "top": TOP, "right": RIGHT, "bottom": BOTTOM},
        "data": {"values": values},
        "layer": layers,
    }


def _corners(points: Sequence[tuple[float, float]], join: str) -> list[tuple[float, float]]:
    """The corners of the line that joins `points`, as Vega draws it."""
    corners = list(points[:1])
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        corners += {"step-after": [(x1, y0)], "step-before": [(x0, y1)]}.get(join, [])
        corners.append((x1, y1))
    return corners


SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"


def score_range(points: Iterable[Dot]) -> tuple[float, float]:
    """From where to where scores are drawn, in percent: all intervals with some air, and zero where it is near."""
    lows, highs = zip(*((dot.low, dot.high) for dot in points), strict=True)
    air = max(2.0, 0.08 * (max(highs) - min(lows)))
    low, high = math.floor(min(lows) - air), math.ceil(max(highs) + air)
    return (0 if low < 10 else low), min(100, high)


def _scale(x: Axis) -> Spec:
    return {"type": "log" if x.is_log else "linear", "domain": [x.low, x.high], "nice": False, "zero": False}


def _axis(x: Axis, width: float) -> Spec:
    """The axis with as many of its words as have room."""
    written: dict[float, str] = {}
    end = -math.inf
    for value, words in x.words.items():
        half = 6.2 * len(words) / 2
        at = width * x.share(value)
        if at - half >= end:
            written[value] = words
            end = at + half + ROOM_FOR_WORDS / 2
    cases = "".join(f"datum.value == {value!r} ? {_quoted(words)} : " for value, words in written.items())
    return {"values": list(written), "labelExpr": f"{cases}''", "title": x.title, "labelOverlap": False}


def _quoted(text: str) -> str:
    """As a string of Vega's expressions; texts are ours."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


# ------------------------------------------------------------------------------------------------------------ the axes


ROUND_NUMBERS = [factor * 10.0**exponent for exponent in range(-9, 7) for factor in (1, 2, 5)]


def size_axis(sizes_bytes: Sequence[int]) -> Axis:
    """File sizes in MiB."""
    mebibytes = [size / 2**20 for size in sizes_bytes]
    unit = 1024 if max(mebibytes) >= 2048 else 1
    doubled = [2.0**exponent for exponent in range(-10, 31)]
    return _ranged("file size", mebibytes, doubled, _mebibytes, unit)


def speed_axis(speeds: Sequence[float]) -> Axis:
    return _ranged("documents a minute", speeds, ROUND_NUMBERS, lambda value: f"{value:,g}")


def divergence_axis(nats: Sequence[float]) -> Axis:
    return _ranged("KL divergence, nats", nats, ROUND_NUMBERS, lambda value: f"{value:g}")


def bits_axis(bits: Sequence[float]) -> Axis:
    low, high = min(bits), max(bits)
    air = max(0.35, 0.08 * (high - low))
    low, high = low - air, high + air
    step = next(step for step in (0.5, 1, 2, 4, 8, 16) if (high - low) / step <= 8)
    values = [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return Axis(title="bits per weight", low=low, high=high, words={value: f"{value:g}" for value in values})


MUCH = 6
"""From this ratio on values are drawn on a logarithmic axis."""


def _ranged(
    title: str, values: Sequence[float], log_ticks: Sequence[float], words: Callable[[float], str], unit: float = 1
) -> Axis:
    """An axis that has room around `values`, all positive; a linear one is written at round numbers of `unit`."""
    low, high = min(values), max(values)
    if high / low >= MUCH:
        low, high = low / 1.25, high * 1.25
        shown = {tick: words(tick) for tick in log_ticks if low <= tick <= high}
        return Axis(title=f"{title} (logarithmic)", low=low, high=high, words=shown, is_log=True)
    air = max(0.1 * (high - low), 0.04 * high)
    low, high = max(0.0, low - air), high + air
    step = unit * nice((high - low) / unit / 6)
    ticks = [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return Axis(title=title, low=low, high=high, words={tick: words(tick) for tick in ticks})


def nice(rough: float) -> float:
    """The round number next above `rough`: 1, 2 or 5 of a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def _mebibytes(value: float) -> str:
    return f"{value:,.0f} MiB" if value < 1024 else f"{value / 1024:.3g} GiB"
