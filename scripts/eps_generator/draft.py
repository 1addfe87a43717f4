"""A document being written, which notes every figure per share that it prints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from random import Random

from scripts.eps_generator import words
from scripts.eps_generator.ledger import FIELDS, Ledger, per_share
from scripts.eps_generator.names import LENGTHS, WEEKS, Calendar, Company
from scripts.eps_generator.style import PIPED, Style

SHARES = {
    "ads": "ADS",
    "ordinary": "ordinary share",
    "class_a": "Class A share",
    "class_b": "Class B share",
}
ASKED = {
    "share": "",
    "ads": " (per ADS)",
    "ordinary": " (per ordinary share)",
    "class_a": " (per Class A share)",
    "class_b": " (per Class B share)",
}
_FIGURE = re.compile(
    r"(?P<name>B|D|A|b|d|a|FFO|CORE|AFFO)(?P<key>lp|l|p)?(?:_(?P<what>continuing|discontinued|extraordinary|reported)"
    r"|_(?P<per>ordinary|ads|class_a|class_b|presplit))?"
)
_NAMES = {"B": "basic", "D": "diluted", "A": "adjusted", "FFO": "ffo", "CORE": "core-ffo", "AFFO": "affo"}


@dataclass
class Draft:
    """`basic` and `adjusted` say whether these figures are disclosed; `printed` holds what the text shows, by name.

    The name of a figure is its field, alone for the figure that is asked for, else with what makes it another:
    diluted_py, basic_continuing, diluted_py_ordinary. Names that begin with no field belong to no field: dividend.
    """

    random: Random
    tier: str
    theme: str
    company: Company
    calendar: Calendar
    style: Style
    ledger: Ledger
    share: str = "share"
    basic: bool = True
    adjusted: bool = True
    dividend: Decimal | None = None
    tags: set[str] = field(default_factory=set)
    printed: dict[str, Decimal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        draw = self.random.choice
        if self.theme in ("core", "bank") and not self.style.ifrs:
            self.adjusted_names = draw(words.CORE_NAMES)
        else:
            self.adjusted_names = draw(words.ADJUSTED_NAMES_IFRS if self.style.ifrs else words.ADJUSTED_NAMES)
        self.nouns = draw(words.NOUNS_IFRS if self.style.ifrs else words.NOUNS)
        self.head_form = self.random.randrange(4)
        minor = {"p": "pence"}.get(self.style.minor, self.style.minor)
        self.minor_words = f" ({draw((minor, f'in {minor}'))})" if minor else ""
        self.used: set[str] = set()

    # ---------------------------------------------------------------------------------------------------------- figures

    @property
    def loss(self) -> bool:
        return self.ledger.eps("diluted") < 0

    @property
    def long(self) -> str | None:
        """The longer period's key, where the document has one."""
        return next((key for key in ("fy", "ytd") if key in self.ledger.spans), None)

    def figure(self, name: str, key: str = "q", per: str = "") -> Decimal:
        """A figure from the books, noted as printed."""
        value = self.ledger.eps(name, key, per)
        owner, _, what = name.partition("_") if name.split("_")[0] in FIELDS else (name, "", "")
        parts = [owner, key if key != "q" else "", what, per if per and per != self.ledger.per else ""]
        self.note("_".join(part for part in parts if part), value)
        return value

    def note(self, name: str, value: Decimal) -> Decimal:
        """A printed figure per share, but for zero; a second one of the same name gets a number."""
        if value == 0:
            return value
        if self.printed.get(name, value) != value:
            name = next(other for i in range(2, 99) if self.printed.get(other := f"{name}_{i}", value) == value)
        self.printed[name] = value
        return value

    def drawn(self, low: int, high: int) -> Decimal:
        """A figure per share that is in no books: a dividend, a forecast."""
        return (Decimal(self.random.randrange(low, high)) / 100).quantize(Decimal(1).scaleb(-self.style.decimals))

    def cells(self, name: str, columns: Sequence[str], per: str = "") -> list[str]:
        return [
            self.style.cell(self.figure(name, key, per), first=i == 0 or self.style.layout in PIPED)
            for i, key in enumerate(columns)
        ]

    def item(self, amount: int, shares: int) -> Decimal:
        return per_share(amount, shares, self.style.decimals)

    # -------------------------------------------------------------------------------------------------------- sentences

    def say(self, bank: Sequence[str], **more: str) -> str:
        """A sentence of `bank` that the document has not used yet, if there is one, with its figures."""
        fresh = [template for template in bank if template not in self.used] or list(bank)
        template = self.random.choice(fresh)
        self.used.add(template)
        return self.filled(template, **more)

    def filled(self, template: str, **more: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda match: more.get(match[1]) or self._word(match[1]), template)

    def got(self, key: str = "q") -> str:
        period = self.ledger.period(key)
        kind = ("profit", "loss") if self.style.ifrs else ("net income", "net loss")
        owners = (
            f" attributable to {'owners' if self.style.ifrs else 'common shareholders'}"
            if period.preferred or period.noncontrolling
            else ""
        )
        amount = self.style.money(period.common)
        return f"a {kind[1]}{owners} of {amount}" if period.common < 0 else f"{kind[0]}{owners} of {amount}"

    def _word(self, name: str) -> str:
        found = _FIGURE.fullmatch(name)
        if found:
            key = {None: "q", "p": "py", "l": self.long, "lp": f"{self.long}_py"}[found["key"]] or "q"
            base = _NAMES[found["name"].upper()] + (f"_{found['what']}" if found["what"] else "")
            value = self.figure(base, key, found["per"] or "")
            return self.style.said(abs(value) if found["name"].islower() else value)
        return str(_WORDS[name](self))


def _number(low: int, high: int):  # type: ignore[no-untyped-def]
    return lambda d: f"{d.random.randrange(low, high):,}"


def _heads(d: Draft) -> str:
    """How many people (or shares bought back) go with the company's sales."""
    millions = d.ledger.period("q").revenue / {"thousands": 1000, "tenths": 10, "millions": 1}[d.style.unit]
    return f"{int(min(220_000, 60 + millions * d.random.uniform(6, 18))):,}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _later(d: Draft) -> str:
    day = d.calendar.day() + timedelta(days=d.random.randrange(18, 50))
    return f"{day:%B} {day.day}, {day.year}"


def _long_words(d: Draft) -> str:
    if d.long == "fy":
        return d.random.choice(
            ("full year", "twelve months", f"{'fiscal ' if d.calendar.fiscal else ''}year {d.calendar.year}")
        )
    months = 3 * d.calendar.quarter
    if d.calendar.weekly:
        return f"first {WEEKS[months]} weeks"
    return d.random.choice((f"first {LENGTHS[months].lower()} months", f"{LENGTHS[months].lower()}-month period"))


def _moved(d: Draft) -> str:
    return "up" if d.ledger.period("q").revenue >= d.ledger.period("py").revenue else "down"


def _pct(d: Draft) -> str:
    now, then = (d.ledger.period(key).revenue for key in ("q", "py"))
    return f"{abs(now / then - 1) * 100:.1f}"


def _said_income(d: Draft, key: str = "q") -> str:
    period = d.ledger.period(key)
    owners = (
        f" for {'owners of the parent' if d.style.ifrs else 'common shareholders'}"
        if period.preferred or period.noncontrolling
        else ""
    )
    return d.style.money(period.common) + owners


_COUNTS = {2: "two", 3: "three", 4: "four", 5: "five", 8: "eight", 10: "ten"}
_WORDS = {
    "name": lambda d: d.company.name,
    "co": lambda d: d.company.short,
    "ticker": lambda d: d.company.ticker,
    "slug": lambda d: d.company.short.lower(),
    "city": lambda d: d.company.city,
    "town": lambda d: d.company.city.split(",")[0].title(),
    "line1": lambda d: d.company.lines[0],
    "line2": lambda d: d.company.lines[1],
    "line3": lambda d: d.company.lines[2],
    "line1c": lambda d: _capital(d.company.lines[0]),
    "line2c": lambda d: _capital(d.company.lines[1]),
    "line3c": lambda d: _capital(d.company.lines[2]),
    "when": lambda d: d.calendar.words,
    "when_p": lambda d: d.calendar.words_py,
    "title": lambda d: d.calendar.title,
    "Label": lambda d: d.calendar.label,
    "end": lambda d: d.calendar.end(),
    "later": _later,
    "share": lambda d: d.share,
    "paid": lambda d: d.share,
    "long": _long_words,
    "long_c": lambda d: _capital(_long_words(d)),
    "sales": lambda d: d.style.money(d.ledger.period("q").revenue),
    "salesp": lambda d: d.style.money(d.ledger.period("py").revenue),
    "capital": lambda d: d.style.money(d.ledger.period("q").revenue // d.random.randrange(9, 30) + 1),
    "moved": _moved,
    "pct": _pct,
    "NI": _said_income,
    "got": lambda d: d.got(),
    "got_c": lambda d: _capital(d.got()),
    "gotp": lambda d: d.got("py"),
    "gotl": lambda d: d.got(d.long or "q"),
    "Adj": lambda d: _capital(d.adjusted_names[0].replace("{share}", d.share)),
    "adj": lambda d: d.adjusted_names[0].replace("{share}", d.share),
    "gaap": lambda d: "IFRS" if d.style.ifrs else "GAAP",
    "item": lambda d: next(iter(d.ledger.period("q").charges)).lower(),
    "n1": _number(2, 19),
    "n2": _number(2, 9),
    "n3": _number(31, 79),
    "n4": _heads,
    "n5": _number(40, 900),
    "ads_rule": lambda d: d.say(words.ADS_RULES),
    "ratio": lambda d: _COUNTS[d.ledger.ratio],
    "ratio_c": lambda d: _capital(_COUNTS[d.ledger.ratio]),
    "disaster": lambda d: d.random.choice(words.GAINS if d.ledger.period("q").extraordinary > 0 else words.LOSSES),
    "rate": lambda d: f"{d.random.uniform(0.6, 9.8):.1f}",
    "n6": _number(4, 10),
    "Sales": lambda d: "Sales" if d.company.sector.books not in ("bank", "realty") else "Revenue",
    "a_dividend": lambda d: (
        "a quarterly dividend"
        if d.calendar.months == 3
        else "an interim dividend"
        if d.calendar.months == 6
        else "a final dividend"
    ),
    "gain_or_loss": lambda d: "gain" if d.ledger.period("q").extraordinary > 0 else "loss",
}


def column_heads(d: Draft, columns: Sequence[str]) -> list[list[str]]:
    """One or two rows that say which period each column is."""
    c = d.calendar
    backs = {"q": 0, "py": 4, "pq": 1, "q-2": 2, "q-3": 3, "py2": 8, "q4": 0, "q4_py": 4}
    if any(key in ("q-2", "q-3") for key in columns):
        form = ("Q{q} {year}", "{q}Q{yy}", "Q{q} '{yy}", "Q{q} {year}")[d.head_form]
        if d.head_form == 3:
            return [["Quarter ended", *(short_date(c.end(backs[key])) for key in columns)]]
        return [["", *(c.quarter_label(backs[key], form) for key in columns)]]
    back = {key: backs.get(key, 8 if key.endswith("py2") else 4 if key.endswith("py") else 0) for key in columns}
    if c.months == 6 and "fy_py" in back:
        back["fy_py"] = 2
    spans = [_span(d, key) for key in columns]
    ends = [c.end(back[key]) for key in columns]
    if d.head_form == 3 and len(columns) <= 4 and not c.weekly:
        return [["", *(f"{span} {end}" for span, end in zip(spans, ends, strict=True))]]
    if d.head_form == 2 and len(columns) == 2 and c.months == 3 and set(columns) <= {"q", "py", "pq"}:
        return [["", *(c.quarter_label(back[key]) for key in columns)]]
    days = {end.rsplit(",", 1)[0] for end in ends}
    if len(days) > 1:  # days differ: spans above, whole dates below
        return [["", *_once(spans, d)], ["", *(short_date(end) for end in ends)]]
    if d.head_form == 1:
        return [["", *_once(spans, d)], ["", *ends]]
    return [["", *_once([f"{span} {days.copy().pop()}," for span in spans], d)], ["", *(end[-4:] for end in ends)]]


def short_date(end: str) -> str:
    """Dec. 31, 2022"""
    month, rest = end.split(" ", 1)
    return f"{month[:3]}. {rest}" if len(month) > 4 else end


def _span(d: Draft, key: str) -> str:
    c = d.calendar
    if key in ("q", "py", "pq", "py2"):
        months = c.months if key != "pq" else 3
    elif key.startswith("q4"):
        months = 3
    else:
        months = 3 * c.quarter if key.startswith("ytd") else 12
    if c.weekly:
        return f"{WEEKS[months]} Weeks Ended"
    if months == 12 and (d.head_form or d.style.ifrs):
        return "Year Ended"
    if months == 3 and d.head_form == 0 and d.style.ifrs:
        return "Quarter Ended"
    return f"{LENGTHS[months]} Months Ended"


def _once(spans: list[str], d: Draft) -> list[str]:
    """Each span where its columns begin; without the empty cells where cells are parted by bars."""
    shown = [span if i == 0 or span != spans[i - 1] else "" for i, span in enumerate(spans)]
    return [span for span in shown if span] if d.style.layout in PIPED else shown
