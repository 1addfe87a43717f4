"""Where the labels of points go, so that they cover neither each other nor the points. Pure: pixels in, pixels out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

CHARACTER = 7.2
"""The width of an average character at the charts' font size, in pixels; a little generous."""

HEIGHT = 14.0
RADIUS = 7.0


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """The area that both cover."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, wide) * max(0.0, high)

    def distance(self, point: Point) -> float:
        """From a point outside; 0 within."""
        across = max(self.left - point.x, 0.0, point.x - self.right)
        return math.hypot(across, max(self.top - point.y, 0.0, point.y - self.bottom))


class Point(NamedTuple):
    """A point at `x`, `y` with its interval from `low` to `high`, and its label; all in pixels, y downwards."""

    x: float
    y: float
    low: float
    high: float
    label: str


class Place(NamedTuple):
    """Where a label's text begins or ends (`align`), at half of its height."""

    x: float
    y: float
    align: str


def placed(
    points: Sequence[Point], path: Sequence[tuple[float, float]], width: float, height: float
) -> list[Place | None]:
    """A place for each label, earlier points first; None where it would cover something wherever it stood, or be nearer
    to another point than to its own.

    `path` are the corners of a line that labels keep off, too.
    """
    taken = _drawn(points, path)
    found: list[Place | None] = []
    for point in points:
        boxes = {each: _box(each, point.label) for each in _candidates(point)}
        free = (each for each, box in boxes.items() if _is_free(box, taken, width, height))
        place = next((each for each in free if _is_its_own(boxes[each], point, points)), None)
        if place is not None:
            taken.append(_box(place, point.label))
        found.append(place)
    return found


def at_level(
    label: str,
    y: float,
    width: float,
    points: Sequence[Point],
    path: Sequence[tuple[float, float]],
    places: Sequence[Place | None],
) -> Place:
    """Where the label of a level line at `y` covers least: at one of its ends, above or below it.

    `places` are the labels of `points`, which stay where they are.
    """
    taken = _drawn(points, path)
    taken += [_box(place, point.label) for point, place in zip(points, places, strict=True) if place is not None]
    ends = [Place(x, y + step * HEIGHT, align) for step in (-0.6, 0.6) for x, align in ((width, "right"), (0, "left"))]
    return min(ends, key=lambda end: sum(_box(end, label).overlap(other) for other in taken))


def _drawn(points: Sequence[Point], path: Sequence[tuple[float, float]]) -> list[Box]:
    """What labels are to keep off: points, the line that joins them, intervals."""
    return [
        *(Box(p.x - RADIUS, p.y - RADIUS, p.x + RADIUS, p.y + RADIUS) for p in points),
        *(box for start, end in itertools.pairwise(path) for box in _along(start, end)),
        *(Box(p.x - 2, min(p.low, p.high), p.x + 2, max(p.low, p.high)) for p in points),
    ]


def _along(start: tuple[float, float], end: tuple[float, float]) -> list[Box]:
    """A straight line, as boxes no longer than a label is high."""
    (x0, y0), (x1, y1) = start, end
    steps = max(1, math.ceil(max(abs(x1 - x0), abs(y1 - y0)) / HEIGHT * 2))
    corners = [(x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps) for step in range(steps + 1)]
    return [
        Box(min(a, c) - 1, min(b, d) - 1, max(a, c) + 1, max(b, d) + 1)
        for (a, b), (c, d) in itertools.pairwise(corners)
    ]


def _candidates(point: Point) -> list[Place]:
    away, up = RADIUS + 3, HEIGHT
    top, bottom = min(point.low, point.high) - 9, max(point.low, point.high) + 10
    return [
        *(Place(point.x + away, point.y + step * up, "left") for step in (0, -0.7, 0.7)),
        *(Place(point.x - away, point.y + step * up, "right") for step in (0, -0.7, 0.7)),
        *(Place(point.x, y, "center") for y in (top, bottom)),
        *(Place(point.x + 4, point.y + step * up, "left") for step in (-1.2, 1.2, -2, 2)),
        *(Place(point.x - 4, point.y + step * up, "right") for step in (-1.2, 1.2, -2, 2)),
    ]


def _box(place: Place, label: str) -> Box:
    wide = CHARACTER * len(label)
    left = place.x - {"left": 0.0, "center": wide / 2, "right": wide}[place.align]
    return Box(left, place.y - HEIGHT / 2, left + wide, place.y + HEIGHT / 2)


def _is_its_own(box: Box, point: Point, points: Sequence[Point]) -> bool:
    """Whether no other point is nearer to the label: it would be read as that one's."""
    return all(box.distance(point) <= box.distance(other) for other in points)


def _is_free(box: Box, taken: Sequence[Box], width: float, height: float) -> bool:
    inside = box.left >= 0 and box.right <= width and box.top >= 0 and box.bottom <= height
    return inside and not any(box.overlap(other) for other in taken)
