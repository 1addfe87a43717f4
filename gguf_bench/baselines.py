"""What no model gives: answers of plain rules, and of nothing at all, to stand beside every model's. Pure.

The rules read as an analyst in a hurry would: find the rows of tables that are labelled as earnings per share, choose
the column of the period asked for, and where no table tells, take the headline sentence. Every figure found is a
candidate for a field, with points for how plainly it says what it is; the best one is the answer, none is null.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from gguf_bench.records import FIELDS, Document

BASELINES_VERSION = "1"
"""Raised whenever the same document and excerpt could give another answer."""

_REACH_OF_HEADS = 110  # lines from a row up to what its columns are called
_REACH_OF_OPENER = 6  # lines from a row up to "Earnings per share:"
_MAX_LINE_CHARS = 2000  # of a longer line only so much is read
_MAX_LABEL_CHARS = 250

# ------------------------------------------------------------------------------------------------- what lines look like

_GAP = re.compile(r"\s*\|\s*|\s{2,}|\t")
_CELL = re.compile(
    r"(?:[a-z]{0,3}[$€£¥])?\s?(?P<sign>[(−–—-])?\s?(?:[a-z]{0,3}[$€£¥])?\s?(?P<sign_inside>[(−–—-])?\s?"
    r"(?P<number>\d{0,4}\.\d{1,4}|\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+)\s?(?P<cents>cents?|¢|cps|pence|[cp]\b)?"
    r"\s?\)?\s?(?P<percent>%?)\s?\)?(?:\s?(?:\(\w\)|\*+))?"
)
_NOTHING = re.compile(r"(?:[$€£¥]\s?)?(?:[-−–—]+|n/?a|nm|n/m|nil)\s?%?")
_DROPPED = re.compile(r"[a-z]{0,3}[$€£¥()]|\)?\s?%\s?\)?|\(|")
_DATA = re.compile(r"\d,\d{3}|\.\d|\d\s?%|(?:\||\s{2})[ $€£(]*\d{1,3}\s?\)?(?:\s*\||\s{2}|$)")
_SENTENCE = re.compile(r"(?<=[a-z\d)%][.;!?])\s+(?=[A-Z“\"(])|(?<=[.;!?][”\")])\s+")

# ------------------------------------------------------------------------------------------------------ what words mean

_PER_SHARE = re.compile(
    r"\bper\s+(?:[a-z\-]+\s+){0,4}(?:shares?|stock|units?|ads)\b|\beps\b|/share|\bshare\s?[-–—]\s?(?:basic|diluted)|"
    r"\bearnings/eps"
)
_BASIC, _DILUTED = re.compile(r"\bbasic\b"), re.compile(r"\bdiluted\b|\bassuming dilution\b|\bdilution\b")
_ADJUSTED = re.compile(
    r"\b(?:adjusted|adj|non-?gaap|core|underlying|excluding|excl|normali[sz]ed|economic|operating|before\s+special)\b"
)
_NOT_EPS = re.compile(
    r"\b(?:dividends?|distributions?|book value|net asset value|nav|cash flows?|ffo|affo|nareit|funds from operations"
    r"|weighted|outstanding|shares used|number of|market|stock price|closing price|revenues?|sales|pro forma"
    r"|comprehensive|discontinued|extraordinary|taxable|tax|guidance|outlook|forecast|expect\w*|range|targets?|estimates?"
    r"|target\w*|impact|effects?|charges?|costs?|amortization|gains?|per share price|par value|repurchase\w*)\b"
)
_BASIC_DILUTED = re.compile(r"\b(?:basic|diluted)\b")
_ITEM = re.compile(
    r"\b(?:impact|effects?|charges?|costs?|amortization|gains?|revenues?|sales|tax|expenses?|dividend)\b"
)
_CONTINUING = re.compile(r"\bcontinuing\b|\bbefore\b")
_CENTS = re.compile(r"\bcents\b|\bcps\b|¢|\bpence\b")
_LOSS = re.compile(r"\bloss(?:es)?\b")
_PROFIT = re.compile(r"\b(?:income|earnings|profit|eps)\b")

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
_QUARTER_NAMES = ("first", "second", "third", "fourth")
_OTHER_COLUMN = re.compile(r"change|variance|%|guidance|outlook|forecast|pro forma|increase|decrease|growth")
_PERIOD = re.compile(
    rf"\b(?:months?|weeks?|quarter|half)\b|\byears?\b.{{0,20}}\bended\b|\b(?:{'|'.join(_MONTHS)})[a-z]{{0,6}}\.?\s\d"
    r"|\bq[1-4]\b|\b[1-4]q|\b(?:19|20)\d\d\b|\d/\d\d?/\d|\bfy\s?\d"
)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The period a figure is wanted for: its length in months, its quarter (1 to 4), its year, all 0 where unknown."""

    months: int
    quarter: int
    year: int
    fiscal: bool

    @classmethod
    def of(cls, period: str) -> _Asked:
        text = period.lower()
        quarter = re.search(r"q([1-4])", text)
        year = re.search(r"(?:19|20)\d\d", text)
        months = 3 if quarter else 6 if re.search(r"h[12]|half", text) else 12 if year else 0
        return cls(months, int(quarter[1]) if quarter else 0, int(year[0]) if year else 0, "fy" in text)


@dataclass(frozen=True, slots=True)
class _Value:
    """A figure of a row, or None where the cell says that there is none; `plain` has no decimal point."""

    figure: Decimal | None
    plain: bool = False


@dataclass(frozen=True, slots=True)
class _Candidate:
    field: str
    points: float
    figure: Decimal


# -------------------------------------------------------------------------------------------------------------- answers


def baseline_null(document: Document, excerpt: str) -> str:
    """Null for every field, whatever the document says."""
    return _written({})


def baseline_rules(document: Document, excerpt: str) -> str:
    """What the rules of this module find in `excerpt` for the period of `document`."""
    asked = _Asked.of(document.period)
    best: dict[str, _Candidate] = {}
    for candidate in _candidates(excerpt, asked):
        if candidate.field not in best or candidate.points > best[candidate.field].points:
            best[candidate.field] = candidate
    return _written({field: candidate.figure for field, candidate in best.items()})


BASELINES: dict[str, Callable[[Document, str], str]] = {
    "baseline_null": baseline_null,
    "baseline_rules": baseline_rules,
}
"""By name: `answer(document, excerpt) -> output`, as a good model writes it. Of the document only the period counts."""


def _written(figures: Mapping[str, Decimal]) -> str:
    """The answer as JSON, each figure with the decimals it was printed with."""
    return "{" + ", ".join(f'"{field}": {figures.get(field, "null")}' for field in FIELDS) + "}"


def _candidates(excerpt: str, asked: _Asked) -> Iterator[_Candidate]:
    lines = [line[:_MAX_LINE_CHARS].strip() for line in excerpt.split("\n")]
    lowered = [line.lower() for line in lines]
    tables = _Tables(lowered, asked)
    for index, line in enumerate(lowered):
        label, values = _row(line)
        if values and len(label) <= _MAX_LABEL_CHARS:
            yield from tables.read(index, label, values)
        else:
            for sentence in _SENTENCE.split(lines[index]):
                yield from _read_sentence(sentence.lower(), asked)


# --------------------------------------------------------------------------------------------------------------- tables


def _row(line: str) -> tuple[str, list[_Value]]:
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
    if negative or match["sign"] or match["sign_inside"]:
        figure = -figure
    return _Value(figure, "." not in number and not match["cents"])


class _Tables:
    """Rows in the light of what stands above them."""

    def __init__(self, lines: list[str], asked: _Asked) -> None:
        self.lines = lines
        self.asked = asked
        self.data = [bool(_DATA.search(line)) for line in lines]

    def read(self, index: int, label: str, values: list[_Value]) -> Iterator[_Candidate]:
        opener = self._opener(index)
        said = f"{opener} {label}"
        if not _PER_SHARE.search(said) or _NOT_EPS.search(label) or _NOT_EPS.search(opener):
            return
        heads = self._heads(index)
        cents = bool(_CENTS.search(said)) or any(_CENTS.search(head) for head in heads)
        figures = [_figure(value, cents) for value in values]
        figure = self._choose(figures, heads)
        if figure is None:
            return
        # A row that says itself what it is tells more than one that only stands below such words.
        points = 10.0 + 2 * bool(_PER_SHARE.search(label)) - 3 * bool(_CONTINUING.search(said)) - index / 10_000
        yield from _fields(said, figure, points)

    def _opener(self, index: int) -> str:
        """The words right above a row that it continues, as "Earnings per share:" or "Diluted"."""
        found: list[str] = []
        for above in range(index - 1, max(index - 1 - _REACH_OF_OPENER, -1), -1):
            line = self.lines[above]
            if line == "[...]":
                break
            if line and not self.data[above] and len(line) < 160 and not _PERIOD.search(line) and line[-1] not in ".":
                if _PER_SHARE.search(line) or _BASIC.search(line) or _DILUTED.search(line):
                    found.append(line)
                if _PER_SHARE.search(line):
                    break
        return " ".join(reversed(found))

    def _heads(self, index: int) -> list[str]:
        """The lines above a row that name the periods of its columns, from the top."""
        found: list[str] = []
        missed = 0
        for above in range(index - 1, max(index - 1 - _REACH_OF_HEADS, -1), -1):
            line = self.lines[above]
            if (
                line
                and line != "[...]"
                and not self.data[above]
                and len(line) < 200
                and line[-1] != "."
                and _PERIOD.search(line)
            ):
                found.append(line)
                missed = 0
            elif found and line and line != "[...]":
                missed += 1
                if missed > 1 or len(found) > 5:
                    break
        return found[::-1]

    def _choose(self, figures: list[Decimal | None], heads: list[str]) -> Decimal | None:
        """The figure in the column of the period asked for; the first one where the heads do not tell."""
        names = _columns(heads, len(figures))
        ranked = [
            (_fit(name, self.asked), -index, figure)
            for index, (name, figure) in enumerate(zip(names, figures, strict=True))
            if figure is not None
        ]
        return max(ranked, key=lambda entry: entry[:2])[2] if ranked else None


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
        if len(cells) > count or count % max(len(cells), 1):
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


def _fit(name: str, asked: _Asked) -> tuple[int, int, int, int, int]:
    """How well a column's head fits the period asked for: larger is better."""
    months = _months(name)
    length = 1 if asked.months and months == asked.months else 0 if not months or not asked.months else -1
    years = [int(full or ("20" + short)[-4:]) for full, short in _YEAR.findall(name)]
    year = max(years, default=0)
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


def _fields(said: str, figure: Decimal, points: float) -> Iterator[_Candidate]:
    """Which fields a figure is of, by the words it stands with."""
    basic, diluted = bool(_BASIC.search(said)), bool(_DILUTED.search(said))
    if _ADJUSTED.search(said):
        if diluted or not basic:
            yield _Candidate("adjusted", points + 2 * diluted, figure)
        return
    if basic:
        yield _Candidate("basic", points, figure)
    if diluted or not basic:
        yield _Candidate("diluted", points - 4 * (not diluted), figure)


# ------------------------------------------------------------------------------------------------------------ sentences

_AMOUNT = re.compile(
    r"(?<![\d.,])(?P<open>[(−–-])?\s?(?:[a-z]{0,3}[$€£¥]\s?)?(?P<inside>[(−–-])?\s?"
    r"(?P<number>\d{0,3}\.\d{2,4}|\d{1,3}(?:\.\d{1,2})?(?=\s?(?:cents|¢|pence|cps)\b))(?![\d,]*\d)"
    r"\s?\)?(?P<cents>\s?(?:cents|¢|pence|cps))?(?!\s?(?:%|million|billion|percent))"
)
_SHARE_BEHIND = re.compile(
    r"[\s)]{0,3}(?:\(?(?:basic|diluted|and|/|,)\)?\s?){0,4}(?:per|a)\s+(?:[a-z\-]+\s+){0,4}(?:share|ads|unit)"
)
_KIND_BEHIND = re.compile(r"[\s)]{0,3}(?:for\s|\()?\s?(basic and diluted|basic|diluted)\b")
_PRIOR = re.compile(r"\b(?:compared|versus|vs|against|from|prior|previous|year[\s-]ago|last year|year earlier|than)\b")
_FROM_TO = re.compile(r"^\W*to\W*$")
_AHEAD = re.compile(
    r"\bexpect\w*|\bguidance\b|\boutlook\b|\btarget\w*|\branges?\b|\bforecast\w*|\banticipat\w*|\bestimate[sd]?\b"
)
_ADJUSTED_WORDS = re.compile(
    r"\b(?:adjusted|non-?gaap|core|underlying|excluding|normali[sz]ed|without)\b|\bleaving out\b"
)
_NO_EARNINGS = re.compile(
    r"\b(?:dividends?|distributions?|ffo|affo|funds from operations|book value|asset value|cash flows?|charges?|benefits?"
    r"|impact|par value|comprehensive|pro forma|repurchase\w*|average price)\b"
)
_OTHER_LENGTH = {
    3: re.compile(
        r"\b(?:full|fiscal|whole)[\s-]year\b|\bfor the year\b|\b(?:six|nine|twelve)[\s-]months\b|\byear[\s-]to[\s-]date\b"
        r"|\bfirst half\b|\bannual"
    ),
    12: re.compile(r"\bquarter\b|\b(?:three|six|nine)[\s-]months\b"),
}


def _read_sentence(sentence: str, asked: _Asked) -> Iterator[_Candidate]:
    """Figures per share in a sentence in lower case, by the words before and behind each."""
    if ("share" not in sentence and "eps" not in sentence) or _AHEAD.search(sentence):
        return
    start, prior, adjusted = 0, False, False
    matches = list(_AMOUNT.finditer(sentence))
    for number, match in enumerate(matches):
        before = sentence[start : match.start()].replace("(loss)", "")
        until = matches[number + 1].start() if number + 1 < len(matches) else len(sentence)
        behind = sentence[match.end() : min(until, match.end() + 80)]
        start = match.end()
        if ";" in before:
            prior = False
        prior = bool(_PRIOR.search(before)) or (prior and not _FROM_TO.search(before))
        per_share = _PER_SHARE.search(before) or _SHARE_BEHIND.match(behind)
        if not per_share or prior or _NO_EARNINGS.search(before):
            continue
        adjusted = bool(_ADJUSTED_WORDS.search(before))
        figure = Decimal(match["number"]).scaleb(-2 if match["cents"] else 0)
        words = [*_LOSS.finditer(before), *_PROFIT.finditer(before)]
        lost = bool(words) and "loss" in max(words, key=lambda word: word.start())[0]
        if lost or match["open"] or match["inside"]:
            figure = -figure
        kind = _KIND_BEHIND.match(behind)
        said = kind[1] if kind else f"{before[-120:]} {behind[: behind.find('share') + 1]}"
        said = f"{'adjusted' if adjusted else ''} {' '.join(_BASIC_DILUTED.findall(said))}"
        other_period = asked.months in _OTHER_LENGTH and bool(_OTHER_LENGTH[asked.months].search(before))
        yield from _fields(said, figure, 5.0 - 4 * other_period)
