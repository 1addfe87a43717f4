"""What a company's XBRL facts say of a press release: the figures that can be known, and why the others cannot.

A press release has no XBRL of its own. Its figures are in the quarterly or annual report that follows it, so they are
joined by period: the first report filed on the release's day or within 60 days after it, and in that report's facts the
ones that end with the period and are three months long. No figure is computed (a fourth quarter is never a year less
nine months), and none is taken on trust: it must stand in the release, on a line that says "basic" or "diluted", with
its sign. Stock splits, corrections between release and report, signs that were tagged wrongly and releases of another
period are all found by that. What is left is unknown, not null: null means "not disclosed".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

from gguf_bench.excerpt import gold_kept

FORMS = ("10-Q", "10-K", "10-QT", "10-KT")
"""The reports that a release of results comes before."""

COMBINED = "us-gaap:EarningsPerShareBasicAndDiluted"
CONCEPTS = {
    "basic": ("us-gaap:EarningsPerShareBasic", "ifrs-full:BasicEarningsLossPerShare", COMBINED),
    "diluted": ("us-gaap:EarningsPerShareDiluted", "ifrs-full:DilutedEarningsLossPerShare", COMBINED),
}
"""Totals only: a figure of continuing operations is another one."""
ALL_CONCEPTS = frozenset(concept for concepts in CONCEPTS.values() for concept in concepts)

QUARTER_DAYS = range(80, 101)
"""Three months, and quarters of 12, 13 and 14 weeks."""
DAYS_TO_REPORT = 60
DAYS_SINCE_PERIOD = 90
"""A release later than this after the period's end may be of the next one."""
DAYS_APART = 7
"""How far a fact's period may end from the day the report names: 52/53-week years are tagged either way."""
SAME_QUARTER_DAYS_APART = 10

_DIGITS = re.compile(r"(?<![^\W_])[\d.,]+")
_NUMBER = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d{1,9})?(?:\.\d{1,6})?")
_NEGATIVE = re.compile(r"[(\-−–—][\s$€£¥]*\Z")
_BEFORE_CHARACTERS = 8
_CENTS = re.compile(r"\s?(?:cents?\b|¢)", re.IGNORECASE)
_PERCENT = re.compile(r"\s?%")
_NAMED = {
    "basic": re.compile(r"\bbasic\b", re.IGNORECASE),
    "diluted": re.compile(r"\bdilut(?:ed|ion|ive)\b", re.IGNORECASE),
}
_LOSS = re.compile(r"\bloss", re.IGNORECASE)
_EITHER = re.compile(r"income|earnings|profit|\(loss", re.IGNORECASE)

_BEYOND_GAAP = re.compile(
    r"non[-\s‑–]?\s?(?:gaap|ifrs)|\badjusted\b|exclu(?:d|sive)|\bcore\b|\bunderlying\b|normali[sz]ed|pro[-\s]forma"
    r"|\b(?:operating|cash|comparable|economic|distributable|recurring|ongoing) (?:eps|earnings|income|net income)\b"
    r"|\bfunds from operations\b|\bffo\b|\bone[- ]time\b|\bspecial (?:items?|charges?)\b|\bunusual\b|\bnon-?recurring\b"
    r"|\bbefore (?:certain|special|one)",
    re.IGNORECASE,
)
"""Any of these may go with an adjusted figure per share."""

_DAY_AFTER = re.compile(r"\s{1,9}(\d{1,2})\b")
_DAY_BEFORE = re.compile(r"\b(\d{1,2})\s{1,3}\Z")
_DATE = re.compile(r"\b(?:(\d{1,2})/(\d{1,2})/(?:20)?(\d\d)|20(\d\d)-(\d\d)-(\d\d))\b")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One figure per share of a company as a whole, as filed; `start` and `end` are the first and last day."""

    concept: str
    unit: str
    start: date
    end: date
    value: Decimal
    form: str
    accession: str
    filed: date

    @property
    def days(self) -> int:
        return (self.end - self.start).days + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A quarterly or annual report, as filed."""

    form: str
    filed: date
    period_end: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What is known of a release: `gold` has the fields that are, `unknown` says of the others why they are not.

    `period_end` is None where it is not known which period is reported, `fact` the filing that the figures are from.
    `notes` are remarks, such as that a later filing says otherwise.
    """

    gold: Mapping[str, Decimal | None] = field(default_factory=dict)
    unknown: Mapping[str, str]
    traps: Mapping[str, Decimal] = field(default_factory=dict)
    period_end: date | None = None
    fact: Fact | None = None
    notes: Sequence[str] = ()

    @property
    def period(self) -> str:
        """'three months ended March 31, 2024', or ''."""
        if self.period_end is None:
            return ""
        day = self.period_end
        return f"three months ended {_MONTHS[day.month - 1]} {day.day}, {day.year}"


def label(text: str, filed: date, reports: Sequence[Report], facts: Sequence[Fact]) -> Labels:
    """Label a release of `text`, filed on `filed`, by the company's `reports` and `facts`, in any order.

    `facts` are those of ALL_CONCEPTS without dimensions (a class of shares is one), from all filings.
    """
    adjusted, adjusted_unknown = _adjusted(text)
    period_end, why = _reported(text, filed, reports)
    if period_end is None:
        return Labels(gold=adjusted, unknown={**dict.fromkeys(CONCEPTS, why), **adjusted_unknown})
    near = [fact for fact in facts if abs((fact.end - period_end).days) <= DAYS_APART]
    quarters = [fact for fact in near if fact.days in QUARTER_DAYS and fact.filed >= filed]
    in_time = [fact for fact in quarters if fact.filed <= filed + timedelta(DAYS_TO_REPORT)]
    if not in_time:
        unknown = dict.fromkeys(CONCEPTS, _why_no_quarter(near, period_end))
        return Labels(gold=adjusted, unknown={**unknown, **adjusted_unknown}, period_end=period_end)
    first = min(in_time, key=lambda fact: (fact.filed, fact.accession))
    gold: dict[str, Decimal | None] = {}
    unknown = {}
    notes: list[str] = []
    for name, concepts in CONCEPTS.items():
        own = [fact for fact in quarters if fact.accession == first.accession and fact.concept in concepts]
        figure, why = _agreed(name, own, first)
        printed = None if figure is None else _as_printed(text, name, figure)
        if printed is None:
            unknown[name] = why or f"the {first.form} has {figure}, which no line of the release gives as {name}"
            continue
        gold[name] = printed
        notes += _said_otherwise(name, printed, [fact for fact in quarters if fact.concept in concepts], first)
    traps = _traps(gold, facts, first)
    stands = gold_kept(text, traps)
    return Labels(
        gold={**gold, **adjusted},
        unknown={**unknown, **adjusted_unknown},
        traps={name: figure for name, figure in traps.items() if stands[name]},
        period_end=first.end,
        fact=first,
        notes=notes,
    )


def _adjusted(text: str) -> tuple[dict[str, Decimal | None], dict[str, str]]:
    """Null where no word of the release could go with an adjusted figure; else unknown, as XBRL has no such figures."""
    found = _BEYOND_GAAP.search(text)
    if found is None:
        return {"adjusted": None}, {}
    words = " ".join(found.group().split())
    return {}, {"adjusted": f'XBRL has no adjusted figures, and the release says "{words}"'}


def _reported(text: str, filed: date, reports: Sequence[Report]) -> tuple[date | None, str]:
    """The last day of the period that a release reports, else None and why it is not known."""
    following = [report for report in reports if filed <= report.filed <= filed + timedelta(DAYS_TO_REPORT)]
    if not following:
        return None, f"no {FORMS[0]} or {FORMS[1]} was filed within {DAYS_TO_REPORT} days after it"
    report = min(following, key=lambda report: (report.filed, report.period_end))
    end = report.period_end
    of_report = f"the {report.form} filed next, on {report.filed}, is of the period to {end}"
    if end >= filed:
        return None, f"{of_report}, which had not ended"
    if (filed - end).days > DAYS_SINCE_PERIOD:
        return None, f"{of_report}, and a later one may have ended"
    if not _names_a_day(text, [end + timedelta(apart) for apart in range(-DAYS_APART, DAYS_APART + 1)]):
        return None, f"{of_report}, a day that the release does not name"
    return end, ""


def _names_a_day(text: str, days: Sequence[date]) -> bool:
    """Whether the text says one of the days: "March 31", "31 Mar.", "3/31/24" or "2024-03-31"."""
    wanted = {(day.month, day.day) for day in days}
    for month in {month for month, _ in wanted}:
        name = _MONTHS[month - 1]
        for word in re.finditer(rf"\b(?:{name}|{name[:3]}t?)\b\.?", text, re.IGNORECASE):
            after = _DAY_AFTER.match(text, word.end())
            before = _DAY_BEFORE.search(text[max(0, word.start() - 5) : word.start()])
            if any(found and (month, int(found[1])) in wanted for found in (after, before)):
                return True
    dates = ((found[1] or found[5], found[2] or found[6], found[3] or found[4]) for found in _DATE.finditer(text))
    short = {(day.month, day.day, day.year % 100) for day in days}
    return any((int(month), int(number), int(year)) in short for month, number, year in dates)


def _why_no_quarter(near: Sequence[Fact], period_end: date) -> str:
    longer = sorted({fact.days for fact in near if fact.days not in QUARTER_DAYS})
    only = f", only of {' and '.join(map(str, longer))} days" if longer else ""
    return f"XBRL has no figure for three months to {period_end}{only}"


def _agreed(name: str, own: Sequence[Fact], first: Fact) -> tuple[Decimal | None, str]:
    """The one figure that a filing gives for a field, else None and why there is none."""
    figures = sorted({fact.value for fact in own})
    if not figures:
        return None, f"the {first.form} has no {name} figure in XBRL"
    if len(figures) > 1 or len({fact.unit for fact in own}) > 1:
        said = ", ".join(f"{fact.value} {fact.unit}" for fact in own)
        return None, f"the {first.form} has more than one {name} figure in XBRL: {said}"
    return figures[0], ""


def _as_printed(text: str, name: str, figure: Decimal) -> Decimal | None:
    """`figure` with the decimals that the release prints, found on a line that names the field and fits its sign."""
    for line in text.splitlines():
        if not _NAMED[name].search(line):
            continue
        has_loss = bool(_LOSS.search(line))
        for match in _DIGITS.finditer(line):
            digits = match.group().rstrip(".,")
            end = match.start() + len(digits)
            if not digits or not _NUMBER.fullmatch(digits) or _PERCENT.match(line, end):
                continue
            printed = Decimal(digits.replace(",", ""))
            printed = printed.scaleb(-2) if _CENTS.match(line, end) else printed
            if printed != abs(figure):
                continue
            is_negative = bool(_NEGATIVE.search(line[max(0, match.start() - _BEFORE_CHARACTERS) : match.start()]))
            if figure < 0 and (is_negative or has_loss):
                return -printed
            if figure >= 0 and not is_negative and (not has_loss or _EITHER.search(line)):
                return printed
    return None


def _said_otherwise(name: str, gold: Decimal, quarters: Iterable[Fact], first: Fact) -> list[str]:
    later = sorted(quarters, key=lambda fact: (fact.filed, fact.accession))
    return [
        f"{name}: {fact.value} in the {fact.form} filed {fact.filed}"
        for fact in later
        if fact.accession != first.accession and fact.value != gold
    ]


def _traps(gold: Mapping[str, Decimal | None], facts: Iterable[Fact], first: Fact) -> dict[str, Decimal]:
    """Figures of the same filing that are the wrong ones: of a year ago (`py`), and of the year so far (`ytd`)."""
    traps: dict[str, Decimal] = {}
    year_ago = first.end - timedelta(364)
    for fact in facts:
        if fact.accession != first.accession:
            continue
        is_quarter = fact.days in QUARTER_DAYS
        if abs((fact.end - first.end).days) <= DAYS_APART:
            what = "" if is_quarter else "ytd"
        elif abs((fact.end - year_ago).days) <= SAME_QUARTER_DAYS_APART:
            what = "py" if is_quarter else "ytd_py"
        else:
            what = ""
        for name, figure in gold.items():
            if what and fact.concept in CONCEPTS[name] and fact.value != figure:
                traps[f"{name}_{what}"] = fact.value
    return traps
