# ruff: noqa: E501  (a sentence with its figures is easier to read in one piece)
"""Documents of three tiers, each with gold, traps, tags, tier and the books it was written from.

plain     300-900 characters: a few sentences, a list or a small table
ordinary  2-5 thousand: headline, highlights, an income statement, often a reconciliation
hard      6-20 thousand: more columns and periods, more figures per share that are not asked for, more text between them
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

from scripts.eps_generator import words
from scripts.eps_generator.ledger import FIELDS, Ledger, make_ledger, per_share
from scripts.eps_generator.style import Style, draw_style
from scripts.eps_generator.words import Calendar, Company

DATASET = "eps-v1"
PER_TIER = 20
TIERS = ("plain", "ordinary", "hard")


@dataclass
class Draft:
    """A document being written. `shown` are the fields it discloses, `extra` other per-share figures in it by trap name."""

    random: Random
    company: Company
    calendar: Calendar
    style: Style
    ledger: Ledger
    shown: tuple[str, ...]
    tags: set[str] = field(default_factory=set)
    extra: dict[str, Decimal] = field(default_factory=dict)

    @property
    def loss(self) -> bool:
        return self.ledger.periods["q"].common < 0

    @property
    def share(self) -> str:
        return "ordinary share" if self.style.ifrs else "share"

    def said(self, name: str, key: str = "q") -> str:
        return self.style.said(self.ledger.eps(name, key))

    def result(self, key: str = "q") -> str:
        return "net loss" if self.ledger.periods[key].common < 0 else "net income"

    def money(self, key: str = "q") -> str:
        return self.style.millions(self.ledger.periods[key].net_income)


def generate(per_tier: int = PER_TIER) -> Iterator[dict[str, Any]]:
    """The records of the dataset in their order."""
    for place, tier in enumerate(TIERS):
        taken: set[str] = set()
        for number in range(per_tier):
            yield _record(tier, number, taken, words.HEADS[place :: len(TIERS)])


def stands(value: Decimal, text: str) -> bool:
    """Whether `text` prints the figure, in units or in cents, with any sign."""
    decimals = max(-int(value.as_tuple().exponent) - 2, 0)
    forms = {f"{abs(value):f}", f"{abs(value):f}".removeprefix("0"), f"{abs(value) * 100:.{decimals}f}"}
    printed = "|".join(re.escape(form) for form in sorted(forms))
    return re.search(rf"(?<![\d.,])(?:{printed})(?![\d]|[.,]\d|\s?%)", text) is not None


def _record(tier: str, number: int, taken: set[str], heads: tuple[str, ...]) -> dict[str, Any]:
    random = Random(f"{DATASET}/{tier}/{number}")
    company = words.draw_company(random, taken, heads)
    calendar = words.draw_calendar(random)
    style = draw_style(random, hard=tier == "hard")
    identity = f"{DATASET}-{tier}-{number + 1:03d}"
    if number % 20 == 13:
        return _without_eps(tier, identity, random, company, calendar, style)
    shown = tuple(
        name
        for name in FIELDS
        if not (name == "adjusted" and number % 4 == 1) and not (name == "basic" and number % 10 == 6)
    )
    ledger = make_ledger(
        random,
        _columns(tier, number, calendar),
        loss=number % 10 in (2, 5, 8),
        discontinued=tier == "hard" and number % 3 == 1,
        preferred=tier != "plain" and random.random() < 0.2,
        minority=tier != "plain" and random.random() < 0.25,
        decimals=style.decimals,
    )
    draft = Draft(random, company, calendar, style, ledger, shown)
    text = _WRITERS[tier](draft)
    gold = {name: ledger.eps(name) if name in shown else None for name in FIELDS}
    traps = {
        f"{name}_{key}": ledger.eps(name, key)
        for key in ledger.periods
        if key != "q"
        for name in FIELDS
        if name in shown
    } | draft.extra
    draft.tags.update(_form_tags(draft))
    return {
        "id": identity,
        "company": company.name,
        "period": calendar.label,
        "text": text,
        "gold": {name: None if value is None else str(value) for name, value in gold.items()},
        "traps": {
            name: str(value) for name, value in traps.items() if stands(value, text) and _differs(name, value, gold)
        },
        "tags": sorted(draft.tags),
        "tier": tier,
        "source": {"kind": "generated", "shown": list(shown), "ledger": ledger.record()},
    }


def _columns(tier: str, number: int, calendar: Calendar) -> list[str]:
    columns = ["q", "py"]
    if tier == "plain":
        return columns
    if tier == "hard" and number % 3 == 2:
        columns += ["pq", "q-2", "q-3"]
    if calendar.quarter > 1:
        long = "fy" if calendar.quarter == 4 else "ytd"
        columns += [long, f"{long}_py"]
    return columns


def _differs(name: str, value: Decimal, gold: dict[str, Decimal | None]) -> bool:
    """A trap is no trap where it equals the gold of its field; one of no field must differ from all three."""
    owner = name.split("_")[0]
    rivals = [gold[owner]] if owner in FIELDS else list(gold.values())
    return all(rival is None or rival != value for rival in rivals)


def _form_tags(draft: Draft) -> Iterator[str]:
    current = draft.ledger.periods["q"]
    if draft.loss:
        yield "loss"
    if draft.loss and current.adjusted_income > 0 and "adjusted" in draft.shown:
        yield "gaap_vs_adjusted_sign_differs"
    if draft.style.minor:
        yield "cents"
    if draft.style.decimals == 3:
        yield "three_decimals"
    if draft.style.ifrs:
        yield "ifrs"
    if draft.style.symbol != "$":
        yield "other_currency"
    if "basic" not in draft.shown:
        yield "basic_not_disclosed"
    if "adjusted" not in draft.shown:
        yield "adjusted_not_disclosed"
    if draft.calendar.fiscal:
        yield "non_calendar_year"


# ------------------------------------------------------------------------------------------------------------- sentences


def _gaap_sentence(draft: Draft) -> str:
    d, share = draft, draft.share
    when = f"the {d.calendar.words}"
    if d.loss and "basic" in d.shown:
        amount = d.style.size(d.ledger.eps("basic"))
        return d.random.choice(
            (
                f"{d.company.short} had a net loss of {d.money()} in {when}, or {amount} per {share}, basic and diluted. "
                f"A year earlier basic and diluted earnings per {share} were {d.said('basic', 'py')} and {d.said('diluted', 'py')}.",
                f"Basic and diluted loss per {share} for {when} was {d.said('basic')}; "
                f"in the same quarter of the previous year, earnings per {share} were {d.said('basic', 'py')} basic and {d.said('diluted', 'py')} diluted.",
                f"In {when} the company lost {amount} per {share}, basic as well as diluted, after {d.said('basic', 'py')} basic and "
                f"{d.said('diluted', 'py')} diluted in the year before.",
            )
        )
    if "basic" not in d.shown:
        return d.random.choice(
            (
                f"{d.company.short} reported a {d.result()} of {d.money()} for {when}, or {d.said('diluted')} per diluted {share}, compared "
                f"with {d.said('diluted', 'py')} per diluted {share} a year earlier.",
                f"Diluted earnings per {share} went from {d.said('diluted', 'py')} a year ago to {d.said('diluted')} in {when}.",
            )
        )
    return d.random.choice(
        (
            f"{d.company.short} earned {d.money()} in {when}, or {d.said('diluted')} per diluted {share} ({d.said('basic')} per basic "
            f"{share}), compared with {d.said('diluted', 'py')} per diluted {share} ({d.said('basic', 'py')} basic) a year earlier.",
            f"Basic earnings per {share} for {when} were {d.said('basic')} and diluted earnings per {share} were {d.said('diluted')}, against "
            f"{d.said('basic', 'py')} and {d.said('diluted', 'py')} in the same quarter of the previous year.",
            f"Compared with a year ago, basic earnings per {share} moved from {d.said('basic', 'py')} to {d.said('basic')} and diluted "
            f"earnings per {share} from {d.said('diluted', 'py')} to {d.said('diluted')} in {when}.",
        )
    )


def _adjusted_sentence(draft: Draft) -> str:
    d = draft
    if "adjusted" not in d.shown:
        return ""
    left_out = d.ledger.periods["q"].adjustments[0][0].lower()
    name = d.random.choice(("Adjusted", "Non-GAAP", "Adjusted") if not d.style.ifrs else ("Adjusted", "Underlying"))
    return d.random.choice(
        (
            f" {name} diluted earnings per {d.share}, without {left_out} and other items, were {d.said('adjusted')}, against "
            f"{d.said('adjusted', 'py')}.",
            f" Leaving out {left_out} and other items, {name.lower() if name == 'Adjusted' else name} diluted EPS was {d.said('adjusted')} "
            f"(prior year: {d.said('adjusted', 'py')}).",
        )
    )


def _dividend(draft: Draft, *, equal: bool = False) -> str:
    d = draft
    gold = d.ledger.eps("diluted")
    amount = (
        gold if equal else Decimal(d.random.randrange(3, 70)).scaleb(-2).quantize(Decimal(1).scaleb(-d.style.decimals))
    )
    if equal:
        d.tags.add("dividend_equals_eps")
    d.extra["dividend"] = amount
    d.tags.add("dividend")
    return (
        f"The board of directors declared a quarterly dividend of {d.style.said(amount)} per {d.share}, payable in the middle of the "
        "following quarter to holders of record two weeks earlier."
    )


def _guidance(draft: Draft) -> str:
    d = draft
    base = abs(d.ledger.eps("adjusted")) * Decimal(d.random.randrange(330, 470)) / 100
    low = base.quantize(Decimal(1).scaleb(-d.style.decimals))
    high = (base * Decimal("1.06")).quantize(low) + Decimal(1).scaleb(-d.style.decimals) * 3
    d.extra |= {"guidance_low": low, "guidance_high": high}
    d.tags.add("guidance")
    return (
        f"Outlook\nFor the full year the company expects diluted earnings per {d.share} between {d.style.said(low)} and "
        f"{d.style.said(high)}, and sales growth of {d.random.randrange(2, 9)}% to {d.random.randrange(10, 15)}%."
    )


# ---------------------------------------------------------------------------------------------------------------- tables


def _per_share_rows(draft: Draft, columns: list[str]) -> list[list[str]]:
    """The rows of basic and diluted figures, in one of the ways that statements have."""
    d = draft
    cells = {
        name: [d.style.cell(d.ledger.eps(name, key), first=i == 0 or d.style.piped) for i, key in enumerate(columns)]
        for name in ("basic", "diluted")
    }
    same = all(d.ledger.eps("basic", key) == d.ledger.eps("diluted", key) for key in columns)
    noun = "Loss" if d.loss else "Earnings"
    unit = f" ({d.style.minor})" if d.style.minor else ""
    if same and "basic" in d.shown:
        d.tags.add("combined_basic_and_diluted_row")
        return [[f"{noun} per {d.share}, basic and diluted{unit}", *cells["basic"]]]
    if "basic" not in d.shown:
        return [[f"Diluted {noun.lower()} per {d.share}{unit}", *cells["diluted"]]]
    form = d.random.randrange(4)
    if form == 0:
        return [
            [f"{noun} per {d.share}{unit}:", *[""] * len(columns)],
            ["Basic", *cells["basic"]],
            ["Diluted", *cells["diluted"]],
        ]
    if form == 1:
        return [
            [f"Basic {noun.lower()} per {d.share}{unit}", *cells["basic"]],
            [f"Diluted {noun.lower()} per {d.share}{unit}", *cells["diluted"]],
        ]
    if form == 2:
        d.tags.add("diluted_row_first")
        return [
            [f"{noun} per {d.share} - diluted{unit}", *cells["diluted"]],
            [f"{noun} per {d.share} - basic{unit}", *cells["basic"]],
        ]
    d.tags.add("row_split_over_lines")
    return [
        [f"Net {'loss' if d.loss else 'income'} per {d.share}{unit}", *[""] * len(columns)],
        ["attributable to shareholders:", *[""] * len(columns)],
        ["  Basic", *cells["basic"]],
        ["  Diluted", *cells["diluted"]],
    ]


def _adjusted_row(draft: Draft, columns: list[str]) -> list[str]:
    cells = [
        draft.style.cell(draft.ledger.eps("adjusted", key), first=i == 0 or draft.style.piped)
        for i, key in enumerate(columns)
    ]
    unit = f" ({draft.style.minor})" if draft.style.minor else ""
    label = "Underlying diluted earnings" if draft.style.ifrs else "Adjusted diluted earnings"
    return [f"{label} per {draft.share}{unit}", *cells]


def _heads(draft: Draft, columns: list[str]) -> list[list[str]]:
    """One or two rows that say which period each column is."""
    d, c = draft, draft.calendar
    if any(key in ("pq", "q-2", "q-3") for key in columns):
        back = {"q": 0, "pq": 1, "q-2": 2, "q-3": 3, "py": 4}
        return [["", *(c.quarter_label(back[key]) for key in columns)]]
    years = [c.column_year(1) if key.endswith("py") else c.column_year() for key in columns]
    months = words.LENGTHS[3 * c.quarter]
    spans = []
    for key in columns:
        span = (
            f"Three Months Ended {c.head_date()}," if key in ("q", "py") else f"{months} Months Ended {c.head_date()},"
        )
        spans.append("" if span in spans else span)
    return [["", *(span for span in spans if span)] if d.style.piped else ["", *spans], ["", *years]]


def _statement(draft: Draft, columns: list[str]) -> str:
    d, books = draft, draft.ledger.periods
    d.tags.add("income_statement")
    shown = [books[key] for key in columns]

    def row(label: str, pick: Callable[[Any], int]) -> list[str]:
        return [label, *(d.style.amount(pick(period)) for period in shown)]

    rows = [
        row("Revenue" if d.style.ifrs else "Net sales", lambda p: p.revenue),
        row("Cost of sales", lambda p: p.cost),
        row("Gross profit", lambda p: p.revenue - p.cost),
        row("Selling, general and administrative", lambda p: p.operating_expenses),
        row("Operating profit" if d.style.ifrs else "Income (loss) from operations", lambda p: p.operating_income),
        row("Finance costs" if d.style.ifrs else "Interest expense", lambda p: p.interest),
        row("Profit (loss) before tax" if d.style.ifrs else "Income (loss) before income taxes", lambda p: p.pretax),
        row("Income tax", lambda p: p.tax),
    ]
    if shown[0].discontinued:
        rows.append(row("Income (loss) from continuing operations", lambda p: p.net_income - p.discontinued))
        rows.append(row("Income (loss) from discontinued operations, net of tax", lambda p: p.discontinued))
    rows.append(row("Profit (loss) for the period" if d.style.ifrs else "Net income (loss)", lambda p: p.net_income))
    if shown[0].noncontrolling:
        rows.append(row("Less: noncontrolling interests", lambda p: p.noncontrolling))
    if shown[0].preferred:
        rows.append(row("Less: preferred dividends", lambda p: p.preferred))
    if shown[0].noncontrolling or shown[0].preferred:
        rows.append(row("Attributable to common shareholders", lambda p: p.common))
    if shown[0].discontinued and "diluted" in d.shown:
        d.tags.add("continuing_vs_total")
        for name in ("continuing", "discontinued"):
            cells = [d.style.cell(d.ledger.eps(name, key)) for key in columns]
            rows.append(
                [f"Diluted per {d.share}, {name} operations{f' ({d.style.minor})' if d.style.minor else ''}", *cells]
            )
            d.extra[f"diluted_{name}"] = d.ledger.eps(name)
        rows.append([f"In total, per {d.share}:", *[""] * len(columns)])
    rows += _per_share_rows(d, columns)
    rows.append(row("Weighted average shares, basic", lambda p: p.shares_basic))
    rows.append(row("Weighted average shares, diluted", lambda p: p.shares_diluted))
    title = "Consolidated Income Statement" if d.style.ifrs else "Condensed Consolidated Statements of Operations"
    currency = {
        "$": "U.S. dollars",
        "€": "euros",
        "£": "pounds sterling",
        "C$": "Canadian dollars",
        "CHF ": "Swiss francs",
    }[d.style.symbol]
    return (
        f"{d.company.name}\n{title}\n(in thousands of {currency}, except per share data; unaudited)\n"
        + d.style.table(_heads(d, columns) + rows)
    )


def _reconciliation(draft: Draft, columns: list[str], *, per_item: bool) -> str:
    d, books = draft, draft.ledger.periods
    first = books["q"]
    heads = _heads(d, columns)
    rows = [
        [
            "Net income (loss) attributable to common shareholders",
            *(d.style.amount(books[key].common) for key in columns),
        ]
    ]
    for i, (label, _) in enumerate(first.adjustments):
        rows.append([label, *(d.style.amount(books[key].adjustments[i][1]) for key in columns)])
    rows.append(["Tax effect of adjustments", *(d.style.amount(-books[key].tax_effect) for key in columns)])
    rows.append(["Adjusted net income (loss)", *(d.style.amount(books[key].adjusted_income) for key in columns)])
    rows.append(_adjusted_row(d, columns))
    text = (
        "Reconciliation of Net Income to Adjusted Net Income\n(in thousands, except per share data)\n"
        + d.style.table(heads + rows)
    )
    if per_item:
        items = [
            (label, per_share(amount, first.adjusted_shares, d.style.decimals)) for label, amount in first.adjustments
        ]
        d.tags.add("item_per_share")
        d.extra |= {f"item_{i + 1}": value for i, (_, value) in enumerate(items)}
        table = d.style.table([["", d.calendar.label], *([label, d.style.cell(value)] for label, value in items)])
        text += f"\nOf which per diluted {d.share}{f' ({d.style.minor})' if d.style.minor else ''}:\n{table}"
    return text


def _order(draft: Draft, columns: list[str], *, prior_first: bool) -> list[str]:
    """Columns as printed: the present one first, or each prior one before its present one."""
    if not prior_first:
        return columns
    draft.tags.add("prior_year_column_first")
    order = {key: place for place, key in enumerate(("py", "q", "ytd_py", "ytd", "fy_py", "fy"))}
    return sorted(columns, key=order.__getitem__)


# ----------------------------------------------------------------------------------------------------------------- tiers


def _plain(draft: Draft) -> str:
    d = draft
    title = f"{d.company.name} Reports {d.calendar.label} Results"
    place = f"{d.company.city}: "
    line = d.random.choice(d.company.lines)
    tails = (
        f"Sales of {line} made up {d.random.randrange(30, 80)}% of the total.",
        f"The company makes most of its sales with {line}.",
        f"Orders for {line} were up {d.random.randrange(2, 19)}% at the end of the quarter.",
        f"Capital spending in the quarter was {d.style.millions(d.ledger.periods['q'].revenue // d.random.randrange(9, 30))}.",
    )
    tail = " ".join(d.random.sample(tails, 2))
    form = d.random.choice(("sentences", "table", "table", "list"))
    d.tags.add(form)
    columns = _order(d, ["q", "py"], prior_first=d.random.random() < 0.25)
    if form == "sentences":
        return f"{title}\n{place}{_gaap_sentence(d)}{_adjusted_sentence(d)}\n{tail}"
    if form == "table":
        rows = [
            *_heads(d, columns),
            ["Net income (loss), thousands", *(d.style.amount(d.ledger.periods[key].net_income) for key in columns)],
            *_per_share_rows(d, columns),
        ]
        if "adjusted" in d.shown:
            rows.append(_adjusted_row(d, columns))
        return f"{title}\n{place}{d.company.short} today gave its figures for the {d.calendar.words}. {tail}\n{d.style.table(rows)}"
    combined = d.loss and "basic" in d.shown
    items = [f"Net sales of {d.style.millions(d.ledger.periods['q'].revenue)}"]
    if combined:
        items.append(
            f"Basic and diluted loss per {d.share} of {d.said('basic')} (prior year: {d.said('basic', 'py')} and {d.said('diluted', 'py')})"
        )
    else:
        names = [name for name in ("basic", "diluted") if name in d.shown]
        items += [f"{name.title()} EPS of {d.said(name)}, prior year {d.said(name, 'py')}" for name in names]
    if "adjusted" in d.shown:
        items.append(f"Adjusted diluted EPS of {d.said('adjusted')}, prior year {d.said('adjusted', 'py')}")
    return (
        f"{title}\n{place}Highlights of the {d.calendar.words}:\n"
        + "\n".join(f"- {item}" for item in items)
        + f"\n{tail}"
    )


def _ordinary(draft: Draft) -> str:
    d = draft
    columns = _order(d, list(d.ledger.periods), prior_first=d.random.random() < 0.2)
    parts = [
        f"{d.company.name} Announces {d.calendar.title} Results",
        f"{d.company.city} - {d.company.name}, a provider of {', '.join(d.company.lines[:2])} and {d.company.lines[2]}, today announced results for the "
        f"{d.calendar.words}, which ended {d.calendar.end()}. {_gaap_sentence(d)}{_adjusted_sentence(d)}",
        words.management_words(d.random, d.company),
    ]
    if d.random.random() < 0.5:
        parts.append(_dividend(d))
    if d.random.random() < 0.4:
        parts.append(_guidance(d))
    parts += [d.random.choice(words.BOILERPLATE), _statement(d, columns)]
    if "adjusted" in d.shown:
        parts.append(_reconciliation(d, columns, per_item=d.random.random() < 0.3))
    if len(columns) == 4:
        d.tags.add("quarter_vs_longer_period")
    return "\n\n".join(parts)


def _hard(draft: Draft) -> str:
    d = draft
    periods = list(d.ledger.periods)
    long = [key for key in periods if key.startswith(("ytd", "fy"))]
    five = [key for key in ("q", "pq", "q-2", "q-3", "py") if key in periods]
    quarters = ["q", "py"]
    columns = _order(d, quarters + long, prior_first=d.random.random() < 0.4)
    if d.random.random() < 0.25:
        columns = long + quarters if not columns[0].startswith(("ytd", "fy")) else columns
        d.tags.add("longer_period_first")
    parts = [f"{d.company.name}\n{d.calendar.title} Results\n{d.company.city}, {d.calendar.end()}"]
    opening = words.management_words(d.random, d.company)
    # The figures in words come first, late, or not at all.
    told = d.random.randrange(3)
    if told == 0:
        parts.append(_gaap_sentence(d) + _adjusted_sentence(d))
    else:
        d.tags.add("no_headline_figures")
    parts += [opening, *(words.management_words(d.random, d.company) for _ in range(d.random.randrange(6, 30)))]
    parts.append(_segments(d))
    if long:
        d.tags.add("quarter_vs_longer_period")
        span = words.LENGTHS[3 * d.calendar.quarter].lower()
        words_for = "full year" if long[0] == "fy" else f"first {span} months"
        parts.append(
            f"For the {words_for}, diluted earnings per {d.share} were {d.said('diluted', long[0])}, compared with "
            f"{d.said('diluted', long[1])} in the same period of the previous year."
        )
    if told == 1:
        parts.append(f"Results of the quarter\n{_gaap_sentence(d)}{_adjusted_sentence(d)}")
    equal = not d.loss and d.random.random() < 0.5 and d.ledger.eps("diluted") < 3
    parts.append(_dividend(d, equal=equal))
    if d.random.random() < 0.6:
        parts.append(_guidance(d))
    parts += d.random.sample(words.BOILERPLATE, d.random.randrange(3, 6))
    parts.append(_statement(d, columns))
    parts.append(_balance_sheet(d))
    if len(five) == 5:
        d.tags.add("five_quarter_table")
        rows = _heads(d, five) + _per_share_rows(d, five)
        if "adjusted" in d.shown:
            rows.append(_adjusted_row(d, five))
        parts.append("Summary of Five Quarters\n(per share data; unaudited)\n" + d.style.table(rows))
    if "adjusted" in d.shown:
        parts.append(_reconciliation(d, _order(d, quarters, prior_first=columns[0] == "py"), per_item=True))
        if long:
            parts.append(_reconciliation(d, long, per_item=False))
    if d.random.random() < 0.3:
        parts.append(_funds_from_operations(d))
    parts.append(
        f"About {d.company.short}\n{d.company.name} of {d.company.city} offers {', '.join(d.company.lines)}. "
        f"Its shares are listed on the regional exchange. {words.management_words(d.random, d.company)}"
    )
    return "\n\n".join(parts)


def _segments(draft: Draft) -> str:
    d, books = draft, draft.ledger.periods
    rest = {key: books[key].revenue for key in ("q", "py")}
    rows = [["", d.calendar.column_year(), d.calendar.column_year(1), "Change"]]
    for i, line in enumerate(d.company.lines):
        last = i == len(d.company.lines) - 1
        values = {key: rest[key] if last else int(rest[key] * d.random.uniform(0.3, 0.6)) for key in rest}
        rest = {key: rest[key] - values[key] for key in rest}
        change = (values["q"] / values["py"] - 1) * 100
        rows.append([line.capitalize(), d.style.amount(values["q"]), d.style.amount(values["py"]), f"{change:.1f}%"])
    rows.append(["Total", d.style.amount(books["q"].revenue), d.style.amount(books["py"].revenue), ""])
    return f"Sales by Line, {d.calendar.label}\n(in thousands)\n" + d.style.table(rows)


def _balance_sheet(draft: Draft) -> str:
    d = draft
    current = d.ledger.periods["q"]
    scale = current.revenue
    labels = (
        "Cash and equivalents",
        "Receivables",
        "Inventories",
        "Property and equipment",
        "Goodwill and intangibles",
    )
    assets = [(label, int(scale * d.random.uniform(0.1, 0.9))) for label in labels]
    total = sum(amount for _, amount in assets)
    debts = [("Payables", int(total * 0.17)), ("Borrowings", int(total * d.random.uniform(0.1, 0.4)))]
    equity = total - sum(amount for _, amount in debts)
    book = per_share(equity, current.shares_basic, 2)
    rows = [[label, d.style.amount(amount)] for label, amount in assets]
    rows += [["Total assets", d.style.amount(total)], *([label, d.style.amount(amount)] for label, amount in debts)]
    rows.append(["Shareholders' equity", d.style.amount(equity)])
    if not d.style.minor:
        d.extra["book_value"] = book
        rows.append([f"Book value per {d.share}", f"{d.style.symbol}{book:,}"])
    return f"Condensed Balance Sheet at {d.calendar.end()}\n(in thousands)\n" + d.style.table(rows)


def _funds_from_operations(draft: Draft) -> str:
    d = draft
    current = d.ledger.periods["q"]
    depreciation = int(abs(current.common) * d.random.uniform(0.3, 0.8)) + 5
    free = per_share(current.common + depreciation, current.shares_diluted, d.style.decimals)
    d.extra["cash_flow"] = free
    d.tags.add("cash_flow_per_share")
    rows = [
        ["Net income (loss) attributable to common shareholders", d.style.amount(current.common)],
        ["Depreciation", d.style.amount(depreciation)],
        ["Funds from operations", d.style.amount(current.common + depreciation)],
        [
            f"Funds from operations per diluted {d.share}{f' ({d.style.minor})' if d.style.minor else ''}",
            d.style.cell(free),
        ],
    ]
    return f"Funds from Operations, {d.calendar.label}\n(in thousands, except per share data)\n" + d.style.table(rows)


def _without_eps(
    tier: str, identity: str, random: Random, company: Company, calendar: Calendar, style: Style
) -> dict[str, Any]:
    """A release of another kind: a dividend, a meeting, a contract. It has no earnings per share."""
    dividend = Decimal(random.randrange(5, 60)).scaleb(-2)
    line, other = random.sample(company.lines, 2)
    parts = [
        f"{company.name} Declares Dividend",
        f"{company.city}: The board of directors of {company.name} declared a dividend of {style.symbol}{dividend} per share for the "
        f"{calendar.words}, payable to holders of record at the end of the month. The company will publish its results for the quarter "
        f"in the coming weeks. It also signed a contract for {line} that runs {random.randrange(2, 8)} years.",
    ]
    if tier != "plain":
        votes = [random.randrange(30, 90) * 1_000_000 + random.randrange(1_000_000) for _ in range(4)]
        rows = [["Proposal", "Votes for", "Votes against"]]
        rows += [
            [f"Proposal {i + 1}", f"{vote:,}", f"{vote // random.randrange(8, 40):,}"] for i, vote in enumerate(votes)
        ]
        parts += [
            f"Annual Meeting\nThe shareholders voted on four proposals. All were accepted.\n{style.table(rows)}",
            *(words.management_words(random, company) for _ in range(3)),
            f"New location\nThe company will move its {other} to a new building of {random.randrange(9, 60)},000 square feet.",
            words.BOILERPLATE[0],
        ]
    if tier == "hard":
        parts += [*(words.management_words(random, company) for _ in range(18)), *words.BOILERPLATE[2:]]
    return {
        "id": identity,
        "company": company.name,
        "period": calendar.label,
        "text": "\n\n".join(parts),
        "gold": dict.fromkeys(FIELDS),
        "traps": {"dividend": str(dividend)},
        "tags": ["no_eps_in_document"],
        "tier": tier,
        "source": {"kind": "generated", "shown": [], "ledger": None},
    }


_WRITERS: dict[str, Callable[[Draft], str]] = {"plain": _plain, "ordinary": _ordinary, "hard": _hard}
