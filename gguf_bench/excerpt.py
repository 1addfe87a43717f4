"""The excerpt: what of a long release a model gets to read. Pure, and blind to the gold.

A real release has a median of 28,000 characters, and its per-share rows stand at half its length on average, so cutting
off the end loses them. The release is cut into lines (a long paragraph into sentences); each gets a weight by what it
shows, and the heaviest are taken while they fit. A row in a table brings the heads of its columns with it, for a figure
without its period is worth nothing. What is taken keeps its order and its characters; a gap is marked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

EXCERPT_VERSION = "1"
"""Raised whenever the same text could give another excerpt."""

DEFAULT_EXCERPT_CHARS = 6000
GAP = "[...]"

_OPENING_CHARS = 300  # who reports and what for
_LONG_OPENING_CHARS = 1500  # and, after all rows, the headline figures in words
_HEAD_REACH = 60  # lines from a row up to the heads of its columns
_CONTEXT_REACH = 30  # lines after "Earnings per share:" whose rows are per-share rows
_MAX_UNIT_CHARS = 600

_PIECE = re.compile(r"[^\n]{1,600}(?:(?<=[.;!?])(?=\s)|$)|[^\n]{1,600}(?=\s)|[^\n]{1,600}", re.MULTILINE)
_FIGURE = re.compile(r"(?<![\d.,])\d{0,4}[.]\d{2,4}(?![\d.,]*\d|\s?%|\s?(?:million|billion))|\d\s?(?:cents|cps|¢|p\b)")
_PER_SHARE = re.compile(
    r"\bper\s+(?:[a-z\-]+\s+){0,4}(?:shares?|stock|unit|ads)\b|\beps\b|/share|\bshare\s*[\-–—]\s*(?:basic|diluted)|\bcps\b"
)
_BASIC_DILUTED = re.compile(r"\b(?:basic|diluted)\b")
_ADJUSTED = re.compile(r"\b(?:adjusted|non-?gaap|core|operating|underlying|excluding|normalized|economic)\b")
_DISTRACTOR = re.compile(
    r"\bdividends?\b|\bdistributions?\b|book value|\bguidance\b|\boutlook\b|\bexpect|\bforecast|\brange\b|tangible"
)
_HEAD = re.compile(
    r"\b(?:months?|weeks?|quarters?|years?|periods?|half|fiscal)\b[^.|]{0,30}\b(?:ended|ending|to)\b"
    r"|\b(?:three|six|nine|twelve|3|6|9|12|13|26|39|52)[\s-](?:months?|weeks?)\b|\b[1-4]q\s?'?\d\d|\bq[1-4]\b"
    r"|\b(?:january|february|march|april|may|june|july|august|september|october|november|december)\s\d"
    r"|\b(?:first|second|third|fourth)[\s-]quarter\b|^[^a-z]*(?:19|20)\d\d\b|in (?:thousands|millions|billions)"
    r"|\([^)]*(?:000|million)[^)]*\)|unaudited"
)
_TITLE = re.compile(
    r"statements?\s+of|income statement|reconciliation|highlights|results of operations|selected financial"
    r"|per share data"
)
_DECIMAL = re.compile(r"\.\d\d|\d\s?(?:c|¢|p)")  # cheap: most lines end here
_HEAD_WORD = re.compile(
    r"\d{4}|onth|eek|uarter|year|q\d|\dq|thousand|million|statement|reconc|highl|result|select|data|000|unaud"
)


@dataclass(slots=True)
class _Unit:
    """A line, or a sentence of a long one: where it stands, its weight, and which units it needs beside it."""

    start: int
    end: int
    weight: float = 0.0
    heads: tuple[int, ...] = ()


def excerpt(text: str, budget_chars: int | None) -> str:
    """The lines of `text` that tell earnings per share, in their order, in at most `budget_chars` characters.

    A text that fits, or any text when `budget_chars` is None, comes back unchanged. Left-out stretches are marked by a
    line "[...]". Takes time linear in the text. Raises ValueError for a negative budget.
    """
    if budget_chars is None or len(text) <= budget_chars:
        return text
    if budget_chars < 0:
        raise ValueError(f"an excerpt of {budget_chars} characters; wanted 0 or more")
    units = _weighed(text)
    taken: set[int] = set()
    left = budget_chars - len(GAP) - 1
    for index in sorted(range(len(units)), key=lambda i: (-units[i].weight, i)):
        if units[index].weight <= 0:
            break
        wanted = [i for i in (index, *units[index].heads) if i not in taken]
        # Each unit may open a gap before it; neighbours give that room back.
        cost = sum(units[i].end - units[i].start + 1 + (len(GAP) + 1) * (i - 1 not in taken) for i in wanted)
        if wanted and cost <= left:
            taken.update(wanted)
            left -= cost
    return _joined(text, units, sorted(taken))


def _weighed(text: str) -> list[_Unit]:
    units: list[_Unit] = []
    recent_heads: list[int] = []
    seen: dict[str, int] = {}
    context_until = adjusted_until = -1
    for match in _PIECE.finditer(text):
        start, end = match.span()
        if match.group().isspace():
            continue
        index = len(units)
        unit = _Unit(start, end)
        units.append(unit)
        line = match.group().lower()
        if (
            len(line) < 250
            and line[-1] != "."
            and _HEAD_WORD.search(line)
            and (_TITLE.search(line) or _HEAD.search(line))
        ):
            recent_heads.append(index)
        per_share = ("share" in line or "eps" in line or "per " in line or "cps" in line) and bool(
            _PER_SHARE.search(line)
        )
        figure = bool(_DECIMAL.search(line) and _FIGURE.search(line))
        is_row = len(line) < 120 or "|" in line or "  " in line.strip()
        if per_share and len(line) < 250:
            context_until = index + _CONTEXT_REACH
        if _ADJUSTED.search(line):
            adjusted_until = index + _CONTEXT_REACH
        if figure:
            unit.weight = _row_weight(line, per_share, is_row, index <= context_until, index <= adjusted_until)
            # The first rows and sentences of a release are the ones on the quarter as a whole.
            unit.weight += 1.0 / (1 + start / 10_000)
            key = " ".join(line.split())
            unit.weight -= 2 * seen.get(key, 0)
            seen[key] = seen.get(key, 0) + 1
            if is_row and unit.weight > 3:
                unit.heads = tuple(i for i in recent_heads[-4:] if index - i <= _HEAD_REACH)
                if not per_share:
                    unit.heads += tuple(
                        i for i in range(index - 1, max(index - 7, -1), -1) if _opens_rows(text, units[i])
                    )[:1]
        if end <= _OPENING_CHARS:
            unit.weight = max(unit.weight, 20.0)
        elif end <= _LONG_OPENING_CHARS:
            unit.weight = max(unit.weight, 2.0)
        elif index in recent_heads[-1:]:
            unit.weight = max(unit.weight, 1.0)
    for index, unit in enumerate(units):
        if unit.weight > 3:  # what stands next to a row explains it
            for neighbour in (index - 1, index + 1):
                if 0 <= neighbour < len(units):
                    units[neighbour].weight = max(units[neighbour].weight, 1.5)
    return units


def _row_weight(line: str, per_share: bool, is_row: bool, in_context: bool, in_adjusted: bool) -> float:
    """How likely a piece with a per-share-like figure is to show one of the three figures."""
    basic_diluted = bool(_BASIC_DILUTED.search(line))
    weight = 0.0
    if per_share:
        weight = 9.0 if basic_diluted else 7.0
    elif basic_diluted and is_row:
        weight = 9.0 if in_context else 6.0
    elif in_context and is_row:
        weight = 4.0
    if weight and (_ADJUSTED.search(line) or in_adjusted):
        weight += 1.0
    if weight and _DISTRACTOR.search(line):
        weight -= 4.0
    return weight


def _opens_rows(text: str, unit: _Unit) -> bool:
    """A line such as "Earnings per share:", which says what the rows below it are."""
    line = text[unit.start : unit.end].lower()
    return len(line) < 200 and bool(_PER_SHARE.search(line)) and not _FIGURE.search(line)


def _joined(text: str, units: list[_Unit], taken: list[int]) -> str:
    parts: list[str] = []
    last = -1
    for index in taken:
        if index != last + 1:
            parts.append(f"{GAP}\n" if not parts else f"\n{GAP}\n")
        elif parts:
            between = text[units[last].end : units[index].start]
            parts.append("\n" if "\n" in between else " " if between else "")
        parts.append(text[units[index].start : units[index].end])
        last = index
    if parts and last != len(units) - 1:
        parts.append(f"\n{GAP}")
    return "".join(parts)


# --------------------------------------------------------------------------------------------------------------- recall

_PRINTED = re.compile(r"(?P<currency>[$€£¥]\s?[(\-−–—]?\s?)?(?P<number>(?:\d[\d.,]*)?\d|\.\d+)(?P<percent>\s?%)?")
_DECIMAL_COMMA = re.compile(r"\d+,\d\d?|0,\d{3}")
_CENTS = re.compile(r"\b(?:cents?|pence|cps)\b|¢|(?<=\d)[cp]\b", re.IGNORECASE)


def gold_kept(text: str, gold: Mapping[str, Decimal | None]) -> dict[str, bool | None]:
    """For each field of `gold`: whether its figure is printed in `text` (an excerpt); None where the gold is null.

    Any spelling counts: 0.57, .57, (0.57), −0.57, 0,57, 57 cents (where the text speaks of cents on the same line or
    above). Signs are not compared, since "a loss of $0.57" prints none. The number must be a whole one: 10.57, 0.571,
    2023 and 57% hold no 0.57 and no 57. One without a decimal point counts where the gold has none either, behind a
    currency sign, or as cents. What is kept may stand for another figure that is equal to it, such as a dividend.
    """
    cents = _CENTS.search(text)
    line_of_cents = len(text) if cents is None else text.rfind("\n", 0, cents.start()) + 1
    dollars_printed: set[Decimal] = set()
    whole_printed: set[Decimal] = set()
    for match in _PRINTED.finditer(text):
        number = match["number"]
        if match["percent"] or len(number) > 20:
            continue
        number = number.replace(",", ".") if _DECIMAL_COMMA.fullmatch(number) else number.replace(",", "")
        if number.count(".") > 1:
            continue
        value = Decimal(number)
        if "." in number or match["currency"]:
            dollars_printed.add(value)
        else:
            whole_printed.add(value)
        if match.start() >= line_of_cents:
            dollars_printed.add(value.scaleb(-2))
    return {
        field: None
        if figure is None
        else abs(figure) in dollars_printed or ("." not in str(figure) and abs(figure) in whole_printed)
        for field, figure in gold.items()
    }
