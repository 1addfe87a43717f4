"""Rows of tables: label, values, and the column of the period asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from gguf_bench.baselines.words import ADJUSTED, BASIC, DILUTED, PER_SHARE, Asked, Candidate, fields
from gguf_bench.excerpt import GAP

_REACH_OF_HEADS = 110  # lines from a row up to what its columns are called
_MAX_HEADS, _HEIGHT_OF_HEADS = 6, 30
_REACH_OF_OPENER = 6  # lines from a row up to "Earnings per share:"

_GAP = re.compile(r"\s*\|\s*|\s{2,}|\t")
_CURRENCY = r"(?:(?:[a-z]{1,3}\s?)?[$€£¥]|[a-z]{3}\b|rs\.?)?"
_CELL = re.compile(
    rf"(?P<sign>[(−–-])?\s?{_CURRENCY}\s?(?P<inside>[(−–-])?\s?{_CURRENCY}\s?"
    r"(?P<number>\d{0,4}\.\d{1,4}|\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+)\s?(?P<cents>cents?|¢|cps|pence|[cp]\b)?"
    r"\s?\)?\s?(?P<percent>%?)\s?\)?(?:\s?(?:\(\w\)|\*+))?"
)
_NOTHING = re.compile(r"(?:[$€£¥]\s?)?(?:[-−–—]+|n/?a|nm|n/m|nil)\s?%?")
_DROPPED = re.compile(r"[a-z]{0,3}[$€£¥()]|\)?\s?%\s?\)?|\(|")
_DATA = re.compile(r"\d,\d{3}|\.\d|\d\s?\)?\s?%|(?:\||\s{2})[ $€£(]*\d{1,3}\s?\)?(?:\s*\||\s{2}|$)")

_NOT_EPS = re.compile(
    r"\b(?:dividends?|distributions?|book value|net asset value|nav|cash flows?|ffo|affo|nareit|funds from operations"
    r"|weighted|outstanding|shares used|number of|market|stock price|closing price|revenues?|sales|pro forma"
    r"|comprehensive|discontinued|extraordinary|taxable|tax|guidance|outlook|forecast|expect\w*|range|targets?|estimates?"
    r"|target\w*|impact|effects?|charges?|costs?|amortization|gains?|per share price|par value|repurchase\w*)\b"
)
_GAAP, _NON_GAAP = re.compile(r"\b(?:gaap|reported|ifrs)\b"), re.compile(r"\bnon-?gaap\b")
_ADJUSTED_EPS = re.compile(r"\b(?:adjusted|core|underlying|normali[sz]ed)\b")
_CONTINUING = re.compile(r"\bcontinuing\b|\bbefore\b")
_CENTS = re.compile(r"\bcents\b|\bcps\b|¢|\bpence\b")

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = re.compile(rf"\b({'|'.join(_MONTHS)})[a-z]*\.?\s\d")
_YEAR = re.compile(r"\b((?:19|20)\d\d)\b|/((?:20)?\d\d)\b")
_MONTHS_LONG = {
    3: re.compile(
        r"\b(?:three|3)[\s-]months?|\b(?:thirteen|twelve|sixteen|1[2-7])[\s-]weeks?|\bquarter|\bq[1-4]\b|\b[1-4]q"
    ),
    6: re.compile(r"\b(?:six|6)[\s-]months?|\b(?:twenty[\s-](?:four|six)|2[4-8])[\s-]weeks?|\bhalf\b|\bh[12]\b"),
    9: re.compile(r"\b(?:nine|9)[\s-]months?|\b(?:thirty[\s-](?:six|nine)|3[6-9]|40)[\s-]weeks?"),
    12: re.compile(
        r"\b(?:twelve|12)[\s-]months?|\b(?:fifty[\s-](?:two|three)|5[23])[\s-]weeks?|\byears?\b|\bannual|\bfy"
    ),
}
_YEAR_TO_DATE = re.compile(r"\byear[\s-]to[\s-]date\b|\bytd\b")
_OTHER_COLUMN = re.compile(r"change|variance|%|guidance|outlook|forecast|pro forma|increase|decrease|growth")
_PERIOD = re.compile(
    rf"\b(?:months?|weeks?|quarter|half)\b|\byears?\b.{{0,20}}\bended\b|\b(?:{'|'.join(_MONTHS)})[a-z]{{0,6}}\.?\s\d"
    r"|\bq[1-4]\b|\b[1-4]q|\b(?:19|20)\d\d\b|\d/\d\d?/\d|\bfy\s?\d"
)


@dataclass(frozen=True, slots=True)
class _Value:
    """A figure of a row, or None where the cell says that there is none; `plain` has no decimal point."""

    figure: Decimal | None
    plain: bool = False


def read_row(line: str) -> tuple[str, list[_Value]]:
    """The label of a line and the values behind it; none where it is no row of a table."""
    cells = _GAP.split(line)
    values: list[_Value] = []
    labels: list[str] = []
    negative = False
    for cell in cells:
        match = _CELL.fullmatch(cell)
        if match:
            values.append(_value(match, negative))
            negative = False
        elif _NOTHING.fullmatch(cell):
            values.append(_Value(None))
        elif _DROPPED.fullmatch(cell):
            negative = "(" in cell
            if "%" in cell and values:
                values[-1] = _Value(None)
        elif not values:
            labels.append(cell)
        else:
            values.append(_Value(None))
    return " ".join(labels), values if len(cells) > 1 else []


def _value(match: re.Match[str], negative: bool) -> _Value:
    number = match["number"].replace(",", "")
    if match["percent"] or len(number) > 12:
        return _Value(None)
    figure = Decimal(number)
    if match["cents"]:
        figure = figure.scaleb(-2)
    if negative or match["sign"] or match["inside"]:
        figure = -figure
    return _Value(figure, "." not in number and not match["cents"])


class Tables:
    """Rows in the light of what stands above them."""

    def __init__(self, lines: list[str], asked: Asked) -> None:
        self.lines = lines
        self.asked = asked
        self.data = [bool(_DATA.search(line)) for line in lines]
        self.head_above = [-1]  # for each line, the last one above it that names periods
        for index, line in enumerate(lines):
            is_head = not self.data[index] and 0 < len(line) < 200 and line[-1] != "." and bool(_PERIOD.search(line))
            self.head_above.append(index if is_head else self.head_above[-1])

    def read(self, index: int, label: str, values: list[_Value]) -> Iterator[Candidate]:
        opener = self._opener(index)
        said = f"{opener} {label}"
        if not PER_SHARE.search(said) or _NOT_EPS.search(label) or _NOT_EPS.search(opener):
            return
        heads = self._heads(index)
        cents = bool(_CENTS.search(said)) or any(_CENTS.search(head) for head in heads)
        figures = [_figure(value, cents) for value in values]
        figure, fits = self._choose(figures, heads)
        if figure is None:
            return
        if _GAAP.search(_NON_GAAP.sub("", label)) and not ADJUSTED.search(label):
            said = label  # "GAAP net income" in a table that reconciles it to adjusted EPS
        # The statement of income has both figures; a row says more of itself than the words that it stands below.
        points = 10.0 + 2 * bool(PER_SHARE.search(label)) + 2 * self._in_pair(index)
        points -= 3 * bool(_CONTINUING.search(said)) + 5 * (not fits) + index / 10_000
        if ADJUSTED.search(said):
            points += 2 * bool(_ADJUSTED_EPS.search(label)) - 3 * (not ADJUSTED.search(label))
        yield from fields(said, figure, points)

    def _in_pair(self, index: int) -> bool:
        """Whether a row on basic stands near one on diluted, as in a statement of income."""
        near = " ".join(self.lines[max(index - 4, 0) : index + 5])
        return bool(BASIC.search(near) and DILUTED.search(near))

    def _opener(self, index: int) -> str:
        """The words right above a row that it continues, as "Earnings per share:" or "Diluted"."""
        found: list[str] = []
        for above in range(index - 1, max(index - 1 - _REACH_OF_OPENER, -1), -1):
            line = self.lines[above]
            if line == GAP:
                break
            if line and not self.data[above] and len(line) < 160 and not _PERIOD.search(line) and line[-1] not in ".":
                if PER_SHARE.search(line) or BASIC.search(line) or DILUTED.search(line):
                    found.append(line)
                if PER_SHARE.search(line):
                    break
        return " ".join(reversed(found))

    def _heads(self, index: int) -> list[str]:
        """The lines above a row that name the periods of its columns, from the top."""
        found: list[str] = []
        above = self.head_above[index]
        if above < 0 or index - above > _REACH_OF_HEADS:
            return found
        missed = 0
        for line in range(above, max(above - _HEIGHT_OF_HEADS, -1), -1):
            if self.head_above[line + 1] == line:
                found.append(self.lines[line])
                missed = 0
            elif self.lines[line] not in ("", GAP):
                missed += 1
            if missed == 2 or len(found) == _MAX_HEADS:
                break
        return found[::-1]

    def _choose(self, figures: list[Decimal | None], heads: list[str]) -> tuple[Decimal | None, bool]:
        """The figure in the column of the period asked for, and whether its head says nothing else.

        It is the first one where the heads do not tell.
        """
        names = _columns(heads, len(figures))
        ranked = [
            (_fit(name, self.asked), -index, figure)
            for index, (name, figure) in enumerate(zip(names, figures, strict=True))
            if figure is not None
        ]
        if not ranked:
            return None, False
        fit, _, figure = max(ranked, key=lambda entry: entry[:2])
        return figure, min(fit[:4]) >= 0


def _figure(value: _Value, cents: bool) -> Decimal | None:
    """The value as EPS, if it can be: with decimals, or whole cents."""
    if value.figure is None or abs(value.figure) >= 10_000 or (value.plain and not cents):
        return None
    exponent = value.figure.as_tuple().exponent
    if cents and isinstance(exponent, int) and exponent >= -1:
        return value.figure.scaleb(-2)
    return value.figure if isinstance(exponent, int) and exponent <= -2 else None


def _columns(heads: list[str], count: int) -> list[str]:
    """What stands above each of `count` columns: a head cell spans as many as there are for each."""
    names = [""] * count
    for head in heads:
        cells = [cell for cell in _GAP.split(head) if cell]
        cells = [cell for cell in cells if _PERIOD.search(cell) or _OTHER_COLUMN.search(cell)]
        if not cells:
            continue
        if count % len(cells) and len(cells) < count:  # columns of changes that have no head, at the end
            cells += [""] * (count - len(cells))
        width = max(count // len(cells), 1)
        for index in range(count):
            names[index] += " " + cells[min(index // width, len(cells) - 1)]
    return names


def _months(text: str) -> int:
    """How many months a period is long, by its words; 0 where they do not say. The shortest that is named counts."""
    if _YEAR_TO_DATE.search(text):
        return 9
    return next((months for months, pattern in _MONTHS_LONG.items() if pattern.search(text)), 0)


def _fit(name: str, asked: Asked) -> tuple[int, int, int, int, int]:
    """How well a column's head fits the period asked for: larger is better."""
    months = _months(name)
    length = 1 if asked.months and months == asked.months else 0 if not months or not asked.months else -1
    years = [int(full or ("20" + short)[-4:]) for full, short in _YEAR.findall(name)]
    year = years[-1] if years else 0  # the lowest head is the nearest to the column
    named = re.search(r"\bq([1-4])\b|\b([1-4])q", name)
    quarter = int(named[1] or named[2]) if named else 0
    month = _MONTH.search(name)
    return (
        -bool(_OTHER_COLUMN.search(name)),
        length,
        # A fiscal year may be called after either calendar year that it has a part in.
        0 if asked.fiscal or not asked.year else int(year == asked.year) - int(bool(year) and year != asked.year),
        int(quarter == asked.quarter) - int(bool(quarter) and quarter != asked.quarter),
        year * 12 + (_MONTHS.index(month[1]) if month else 0),
    )
