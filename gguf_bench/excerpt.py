"""The excerpt: what of a long release a model gets to read. Pure, and blind to the gold.

A real release has a median of 28,000 characters, and its per-share rows stand at half its length on average, so cutting
off the end loses them. The release is cut into lines (a long paragraph into sentences); each gets a weight by what it
shows, and the heaviest are taken while they fit. A row of a table brings the lines above the table that name period,
columns and units with it, for a figure without its period is worth nothing. What is taken keeps its order and its
characters; a gap is marked.

Lines that differ in digits only are looked at once, which is what keeps a megabyte of rows quick.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

EXCERPT_VERSION = "4"
"""Raised whenever the same text could give another excerpt."""

DEFAULT_EXCERPT_CHARS = 6000
GAP = "[...]"

_OPENING_CHARS = 300  # who reports and what for
_LONG_OPENING_CHARS = 1500  # and, after all rows, the headline figures in words
_HEAD_REACH = 90  # lines from a row up to the heads of its columns; a bank's income statement has 60 rows
_UNITS_REACH = 12  # lines from these heads up to a line that names the units of several tables
_MAX_HEADS = 8
_CONTEXT_REACH = 30  # lines after "Earnings per share:" whose rows are per-share rows
_OPENER_REACH = 6
_LONG_LINE_CHARS = 250  # a longer one is cut into sentences
_SENTENCE_CHARS, _MAX_PIECE_CHARS = 80, 600

_SENTENCE_END = re.compile(r"[.;!?]\s+(?=[\"“(]?[A-Z])")
_FIGURE = re.compile(r"(?<![\d.,])\d{0,4}[.]\d{2,4}(?![\d.,]*\d|\s?%|\s?(?:million|billion))|\d\s?(?:cents|cps|¢|p\b)")
_CELL = re.compile(r"\|[ $€£(\-–−]*\d{1,3}\s?(?:[)|]|$)|\s{2}[$€£(\-–−]*\d{1,3}\)?(?:\s{2}|$)")
_PER_SHARE = re.compile(
    r"\bper\s+(?:[a-z\-]+\s+){0,4}(?:shares?|stock|unit|ads)\b|\beps\b|/share|\bshare\s*[\-–—]\s*(?:basic|diluted)|\bcps\b"
)
_ADJUSTED = re.compile(r"\b(?:adjusted|non-?gaap|core|operating|underlying|excluding|normalized|economic)\b")
_PERIOD = re.compile(
    r"\b(?:(?:months?|weeks?|quarters?|years?|periods?|half|fiscal)\b[^.|]{0,30}\b(?:ended|ending|to)\b"
    r"|(?:three|six|nine|twelve|thirteen|twenty[\s-]six|thirty[\s-]nine|fifty[\s-]\w{2,5}|\d\d?)[\s-](?:months?|weeks?)\b"
    r"|[1-4]q\s?'?\d\d|(?:q[1-4]|h[12])\b|(?:first|second|third|fourth)[\s-]quarter\b|\d\d?/\d\d?/(?:20)?\d\d\b"
    r"|(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?\s\d)"
)
_YEAR_HEAD = re.compile(r"(?:^[^a-z]*|\|\s*)\b(?:19|20)\d\d\b")
_UNITS = re.compile(r"\bin (?:thousands|millions|billions|cents)|\([^()]{0,60}(?:000|million|thousand|cents)|\(in ")
_TITLE = re.compile(
    r"statements?\s+of|income statement|reconciliation|highlights|results of operations|selected financial"
    r"|per share data"
)
_CENTS = re.compile(r"\b(?:cents?|pence|cps)\b|¢|(?<=\d)[cp]\b", re.IGNORECASE)
_CENT_WORDS = ("cent", "cps", "pence", "¢")
_SHARE_WORDS = ("share", "eps", "cps", "per ")
_ADJUSTED_WORDS = ("adjusted", "gaap", "core", "operating", "underlying", "excluding", "normalized", "economic")
_DISTRACTORS = (
    *("dividend", "distribution", "book value", "tangible"),
    *("guidance", "outlook", "expect", "forecast", " range"),
)
_HEAD_WORDS = (
    *("month", "week", "quarter", "year", "period", "half", "fiscal", "thousand", "million", "billion", "cents", "(in"),
    *("statement", "reconc", "highl", "result", "selected", "data"),
)
_BULLET = re.compile(r"^\s*[^\w\s|(]\s*\|?|^\s*o?\s*\|")
_NONBLANK = re.compile(r"\S")
_NO_WEIGHTS = (0.0, 0.0, 0.0, 0.0)
_DIGITS = bytes.maketrans(b"123456789", b"000000000")


@dataclass(frozen=True, slots=True)
class _Kind:
    """What lines of one shape have in common.

    `figure`: there is one such as EPS. `cents`: the line speaks of cents, so that whole numbers below it are figures.
    `weights`: in no context, below a line on earnings per share, below one on adjusted figures, below both.
    `data`: there are numbers that no head of a table has.
    """

    figure: bool
    cents: bool
    weights: tuple[float, float, float, float]
    per_share: bool
    adjusted: bool
    data: bool
    maybe_head: bool


@dataclass(slots=True)
class _Heads:
    """The lines above one table: all of them, and what they name."""

    lines: list[int]
    period: bool = False
    units: bool = False


def excerpt(text: str, budget_chars: int | None) -> str:
    """The lines of `text` that tell earnings per share, in their order, in at most `budget_chars` characters.

    A text that fits, or any text when `budget_chars` is None, comes back unchanged. Left-out stretches are marked by a
    line "[...]". Takes time linear in the text. Raises ValueError for a negative budget.
    """
    if budget_chars is None or len(text) <= budget_chars:
        return text
    if budget_chars < 0:
        raise ValueError(f"an excerpt of {budget_chars} characters; wanted 0 or more")
    return _Selection(text).within(budget_chars)


class _Selection:
    """A text cut into pieces, with the weight of each that has one, and the heads of its tables."""

    def __init__(self, text: str) -> None:
        self.text = text
        lowered = text.replace("İ", "i").lower()  # the one letter that two come of, which would move all behind it
        self.starts, self.lines = _pieces(text, lowered)
        self.weights: dict[int, float] = {}
        self.heads: list[_Heads] = []
        self.head_starts: list[int] = []
        self._weigh()
        self._weigh_opening()

    def _weigh(self) -> None:
        lines = self.lines
        shapes = "\n".join(lines).encode("utf-8", "surrogatepass").translate(_DIGITS).split(b"\n") if lines else []
        kinds = {
            shape: kind for shape, line in dict(zip(shapes, lines, strict=True)).items() if (kind := _kind(line, shape))
        }
        seen: dict[str, int] = {}
        names: dict[str, tuple[bool, bool, bool]] = {}
        context_until = adjusted_until = cents_until = -1
        is_open = False
        for index in [i for i, shape in enumerate(shapes) if shape in kinds] if kinds else ():
            kind = kinds[shapes[index]]
            line = lines[index]
            if kind.data:
                is_open = False
            elif kind.maybe_head:
                named = names.get(line)
                if named is None:
                    named = names[line] = _named(line)
                if any(named) or (is_open and "|" in line):
                    if not is_open:
                        self.heads.append(_Heads([]))
                        self.head_starts.append(index)
                        is_open = True
                    heads = self.heads[-1]
                    heads.lines.append(index)
                    heads.period |= named[0]
                    heads.units |= named[1]
            if kind.per_share:
                context_until = index + _CONTEXT_REACH
            if kind.adjusted:
                adjusted_until = index + _CONTEXT_REACH
            if kind.cents:
                cents_until = index + _HEAD_REACH
            if not (kind.figure or index <= cents_until):
                continue
            weight = kind.weights[(index <= context_until) + 2 * (index <= adjusted_until)]
            if weight:
                # The first rows and sentences of a release are the ones on the quarter as a whole.
                times = seen[line] = seen.get(line, -1) + 1
                weight += 1.0 / (1 + self.starts[index] / 10_000) - 2 * times
                if weight > 0:
                    self.weights[index] = weight

    def _weigh_opening(self) -> None:
        """Give the opening, and what stands beside a row, a weight below that of any row."""
        for index in [i for i, weight in self.weights.items() if weight > 3]:
            for neighbour in (index - 1, index + 1):
                if 0 <= neighbour < len(self.lines):
                    self.weights[neighbour] = max(self.weights.get(neighbour, 0.0), 1.5)
        for index in range(len(self.lines)):
            end = self.starts[index] + len(self.lines[index])
            if end > _LONG_OPENING_CHARS:
                break
            least = 20.0 if end <= _OPENING_CHARS else 2.0
            self.weights[index] = max(self.weights.get(index, 0.0), least)

    def within(self, budget_chars: int) -> str:
        """The heaviest pieces that fit, with the heads they need."""
        order = sorted(self.weights, key=lambda i: (-self.weights[i], i))
        taken: set[int] = set()
        left = budget_chars - len(GAP) - 1
        for index in order[: budget_chars // 4]:
            wanted = {index, *self._above(index)} - taken
            # Each piece may open a gap before it; neighbours give that room back.
            cost = sum(len(self.lines[i]) + 1 + (len(GAP) + 1) * (i - 1 not in taken) for i in wanted)
            if wanted and cost <= left:
                taken |= wanted
                left -= cost
        return self._joined(sorted(taken))

    def _above(self, index: int) -> Iterator[int]:
        """The lines that say what a row's figures are: period, columns and units, and the words it continues."""
        line = self.lines[index]
        if self.weights[index] <= 3 or not _is_row(line):
            return
        for above in range(index - 1, max(index - 1 - _OPENER_REACH, -1), -1):
            other = self.lines[above]
            if "per" in other and len(other) < 200 and _PER_SHARE.search(other) and not _FIGURE.search(other):
                yield above
                break
        at = bisect_right(self.head_starts, index) - 1
        if at < 0 or index - self.heads[at].lines[-1] > _HEAD_REACH:
            return
        heads = self.heads[at]
        yield from heads.lines[-_MAX_HEADS:]
        for lacking, reach in (("period", _HEAD_REACH), ("units", _UNITS_REACH)):
            if getattr(heads, lacking):
                continue
            for earlier in range(at - 1, max(at - 5, -1), -1):
                if heads.lines[0] - self.heads[earlier].lines[-1] > reach:
                    break
                if getattr(self.heads[earlier], lacking):
                    yield from self.heads[earlier].lines[-_MAX_HEADS:]
                    break

    def _joined(self, taken: list[int]) -> str:
        parts: list[str] = []
        last = -1
        for index in taken:
            if index != last + 1:
                parts.append(f"\n{GAP}\n" if parts else f"{GAP}\n")
            elif parts:
                between = self.text[self._end(last) : self.starts[index]]
                parts.append("\n" if "\n" in between else " " if between else "")
            parts.append(self.text[self.starts[index] : self._end(index)])
            last = index
        if parts and last != len(self.lines) - 1:
            parts.append(f"\n{GAP}")
        return "".join(parts)

    def _end(self, index: int) -> int:
        return self.starts[index] + len(self.lines[index])


def _pieces(text: str, lowered: str) -> tuple[list[int], list[str]]:
    """Where the lines that are not blank, or the sentences of long ones, start, and what they are in lower case."""
    starts: list[int] = []
    lines: list[str] = []
    start = 0
    for line in lowered.split("\n"):
        if len(line) > _LONG_LINE_CHARS:
            for piece_start, piece_end in _sentences(text, start, start + len(line)):
                starts.append(piece_start)
                lines.append(lowered[piece_start:piece_end])
        elif line and not line.isspace():
            starts.append(start)
            lines.append(line)
        start += len(line) + 1
    return starts, lines


def _sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Spans of whole sentences, each as short as _SENTENCE_CHARS allow; one without an end is cut between words."""
    stops = [match.start() + 1 for match in _SENTENCE_END.finditer(text, start, end)]
    for stop in (*stops, end):
        if stop - start < _SENTENCE_CHARS and stop != end:
            continue
        while stop - start > _MAX_PIECE_CHARS:
            cut = text.rfind(" ", start + 1, start + _MAX_PIECE_CHARS)
            cut = cut if cut > 0 else start + _MAX_PIECE_CHARS
            if first := _NONBLANK.search(text, start, cut):
                yield first.start(), cut
            start = cut
        if first := _NONBLANK.search(text, start, stop):
            yield first.start(), stop
        start = stop


def _is_row(line: str) -> bool:
    """Whether a line with a figure stands in a table, or is one cell of it."""
    line = _BULLET.sub("", line, 1)
    return "|" in line or "  " in line.strip() or (len(line) < 120 and line.rstrip()[-1:] not in ".;!?")


def _has(words: tuple[str, ...], line: str) -> bool:
    for word in words:  # noqa: SIM110, any() of a generator takes twice the time
        if word in line:
            return True
    return False


def _kind(line: str, shape: bytes) -> _Kind | None:
    """What a line shows that does not hang on which digits it has; None where that is nothing.

    Plain words are looked for before any pattern: most lines have none.
    """
    digits = b"0" in shape
    cents = (b"0p" in shape or _has(_CENT_WORDS, line)) and bool(_CENTS.search(line))
    figure = digits and (cents or b".00" in shape) and bool(_FIGURE.search(line))
    data = figure or (digits and (b".0" in shape or b"0,000" in shape))
    data = data or (digits and ("|" in line or "  " in line) and bool(_CELL.search(line)))
    per_share = _has(_SHARE_WORDS, line) and bool(_PER_SHARE.search(line))
    adjusted = _has(_ADJUSTED_WORDS, line) and bool(_ADJUSTED.search(line))
    maybe_head = (
        not data
        and len(line) < _LONG_LINE_CHARS
        and line[-1] != "."
        and (digits or "|" in line or _has(_HEAD_WORDS, line))
    )
    if not (data or per_share or adjusted or cents or maybe_head):
        return None
    return _Kind(
        figure=figure,
        cents=cents,
        weights=_weights(line, per_share, adjusted) if figure or (data and b",0" not in shape) else _NO_WEIGHTS,
        per_share=per_share and len(line) <= _LONG_LINE_CHARS,
        adjusted=adjusted,
        data=data,
        maybe_head=maybe_head,
    )


def _weights(line: str, per_share: bool, adjusted: bool) -> tuple[float, float, float, float]:
    """How likely a piece with a per-share-like figure is to show one of the three figures, in each context."""
    is_row = _is_row(line)
    if not (per_share or is_row):
        return _NO_WEIGHTS
    basic_diluted = "basic" in line or "diluted" in line
    distractor = _has(_DISTRACTORS, line)

    def weight(in_context: bool, in_adjusted: bool) -> float:
        weight = 0.0
        if per_share:
            weight = 9.0 if basic_diluted else 7.0
        elif basic_diluted and is_row:
            weight = 9.0 if in_context else 6.0
        elif in_context and is_row:
            weight = 4.0
        return weight and weight + 1.0 * (adjusted or in_adjusted) - 4.0 * distractor

    return (
        weight(False, False),
        weight(True, False),
        weight(False, True),
        weight(True, True),
    )


def _named(line: str) -> tuple[bool, bool, bool]:
    """Whether a line without data names a period, names units, is a title."""
    return (
        bool(_PERIOD.search(line) or _YEAR_HEAD.search(line)),
        bool(_UNITS.search(line)),
        bool(_TITLE.search(line)),
    )


# --------------------------------------------------------------------------------------------------------------- recall

_PRINTED = re.compile(r"(?P<currency>[$€£¥]\s?[(\-−–—]?\s?)?(?P<number>(?:\d[\d.,]*)?\d|\.\d+)(?P<percent>\s?%)?")
_DECIMAL_COMMA = re.compile(r"\d+,\d\d?|0,\d{3}")


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
