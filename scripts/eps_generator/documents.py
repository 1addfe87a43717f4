# ruff: noqa: E501  (a sentence with its figures is easier to read in one piece)
"""Documents of three tiers, each with gold, traps, tags, tier and the books it was written from.

plain     300-1,200 characters: a few sentences, a list or a small table
ordinary  2-6 thousand: headline, highlights, an income statement, often a reconciliation
hard      6-20 thousand: more columns and periods, more figures per share that are not asked for, more text between them

A tier's themes (`THEMES`) are counted, not drawn, so that every form of real releases occurs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from random import Random
from typing import Any

from gguf_bench.excerpt import gold_kept
from scripts.eps_generator import tables, words
from scripts.eps_generator.draft import ASKED, SHARES, Draft, column_heads
from scripts.eps_generator.ledger import FIELDS, Ledger, Wants, make_ledgers, total
from scripts.eps_generator.names import BANK, REALTY, Calendar, Company, draw_company
from scripts.eps_generator.other_releases import without_eps
from scripts.eps_generator.style import Style, draw_style

DATASET = "eps-v1"
PER_TIER = 100
TIERS = ("plain", "ordinary", "hard")
THEMES = {
    "plain": "standard 54 other 5 no_eps 2 ads 4 two_class 3 split 3 reverse 1 restated 3 continuing 4 extraordinary 3 ffo 3 core 3 year 5 half 4 bank 3",
    "ordinary": "standard 36 other 5 no_eps 2 ads 5 two_class 4 split 4 reverse 1 restated 4 continuing 6 extraordinary 4 ffo 4 core 5 year 6 half 5 bank 5 six 4",
    "hard": "standard 30 other 4 no_eps 2 ads 5 two_class 5 split 3 reverse 2 restated 5 continuing 8 extraordinary 4 ffo 5 core 6 year 5 half 3 bank 5 six 8",
}
TAGS = {
    "ads": "ads",
    "two_class": "two_class",
    "continuing": "continuing_vs_total",
    "extraordinary": "extraordinary_item",
}


def generate(per_tier: int = PER_TIER, *, dataset: str = DATASET, companies_from: int = 0) -> Iterator[dict[str, Any]]:
    """The records of the dataset in their order.

    Another `dataset` has other documents; they are of other companies where `companies_from` (below 960) says so.
    """
    for place, tier in enumerate(TIERS):
        for number in range(per_tier):
            yield _record(place, tier, number, dataset, companies_from)


def themes(tier: str, dataset: str = DATASET) -> list[str]:
    """The theme of each document of a tier, of 100 and then from the start again."""
    counts = THEMES[tier].split()
    made = [theme for theme, count in zip(counts[::2], counts[1::2], strict=True) for _ in range(int(count))]
    Random(f"{dataset}/{tier}/themes").shuffle(made)
    return made


def _reports_twice(tier: str, number: int, dataset: str) -> tuple[int, int]:
    """The document that a company was drawn for, and which of its reports this is: of four standard ones two are one's."""
    order = themes(tier, dataset)
    alike = [i for i, theme in enumerate(order) if theme == "standard"]
    place = alike.index(number % 100) if number % 100 in alike else -1
    if place >= 0 and place % 4 == 1:
        return number - number % 100 + alike[place - 1], 1
    twin = place >= 0 and place % 4 == 0 and place + 1 < len(alike)
    return number, 0 if twin else -1


def _record(place: int, tier: str, number: int, dataset: str, companies_from: int) -> dict[str, Any]:
    theme = themes(tier, dataset)[number % 100]
    first, report = _reports_twice(tier, number, dataset)
    profile = Random(f"{dataset}/{tier}/{first}/company")
    random = Random(f"{dataset}/{tier}/{number}")
    style = _style(profile, tier, theme)
    sector = {"bank": BANK, "ffo": REALTY}.get(theme) or (
        BANK if theme == "core" and style.symbol == "$" and profile.random() < 0.5 else None
    )
    company = draw_company(profile, companies_from + place + 3 * first, style.symbol, sector)
    calendar = _calendar(profile, theme, company, style)
    identity = f"{dataset}-{tier}-{number + 1:03d}"
    if theme == "other":
        place_of_kind = TIERS.index(tier) * 5 + themes(tier, dataset)[: number % 100].count("other")
        return without_eps(tier, identity, place_of_kind, random, company, calendar, style)
    ledgers, share = _books(profile, tier, theme, style, company, calendar, reports=2 if report >= 0 else 1)
    ledger = ledgers[max(report, 0)]
    if report == 0:
        calendar = calendar.previous()
    draft = Draft(random, tier, "split" if theme == "reverse" else theme, company, calendar, style, ledger, share)
    _disclosed(draft, profile)
    text = _WRITERS[tier](draft)
    return _finished(draft, identity, text)


def _style(random: Random, tier: str, theme: str) -> Style:
    symbols = {
        "ads": ("RMB ", "RMB ", "$", "€"),
        "half": ("£", "€", "A$", "£", "CHF ", "SEK "),
        "two_class": ("$",),
        "extraordinary": ("$",),
        "ffo": ("$",),
        "bank": ("$",),
        "core": ("$", "$", "C$"),
    }
    symbol = random.choice(symbols[theme]) if theme in symbols else ""
    while True:
        style = draw_style(random, tier, symbol=symbol)
        if not (style.minor and theme in ("ads", "ffo", "two_class", "bank")) and not (
            theme == "six" and style.layout == "fenced"
        ):
            return style


def _calendar(random: Random, theme: str, company: Company, style: Style) -> Calendar:
    year = random.randrange(2003, 2015) if theme == "extraordinary" else random.randrange(2012, 2025)
    if theme == "half":
        return Calendar(2, year, random.choice((12, 12, 6, 3)), months=6)
    housed = company.sector.books in ("bank", "realty")
    last_month = 12 if housed else random.choice((12,) * 6 + (6, 9, 1, 3))
    if theme == "year":
        return Calendar(4, year, last_month, months=12)
    quarter = random.choice((2, 3, 4)) if theme == "six" else random.choice((1, 2, 3, 4))
    weekly = not style.ifrs and not housed and random.random() < (0.7 if company.sector.books == "retail" else 0.05)
    return Calendar(quarter, year, last_month, weekly=weekly)


def _spans(random: Random, tier: str, theme: str, calendar: Calendar) -> dict[str, list[int]]:
    """Which periods the document has, each as the quarters it is made of."""
    quarter = calendar.quarter
    if theme == "half":
        return {"q": [0, 1], "py": [4, 5]} | ({"fy_py": [2, 3, 4, 5]} if random.random() < 0.4 else {})
    if theme == "year":
        spans = {"q": [0, 1, 2, 3], "py": [4, 5, 6, 7]}
        if random.random() < 0.5:
            return spans | {"q4": [0], "q4_py": [4]}
        return spans | ({"py2": [8, 9, 10, 11]} if tier != "plain" and random.random() < 0.6 else {})
    spans = {"q": [0], "py": [4]}
    key = "fy" if quarter == 4 else "ytd"
    long = {key: list(range(quarter)), f"{key}_py": list(range(4, 4 + quarter))} if quarter > 1 else {}
    if theme == "six":
        form = random.randrange(3)
        if form == 0:
            return spans | {"py2": [8]} | long | {f"{key}_py2": list(range(8, 8 + quarter))}
        if form == 1 and quarter < 4:
            return spans | {"pq": [1]} | long
        return spans | {"py2": [8]} | long | {f"{key}_py2": list(range(8, 8 + quarter))}
    if tier == "plain":
        return spans | (long if theme == "standard" and random.random() < 0.25 else {})
    if tier == "ordinary":
        if random.random() < 0.65:
            return (
                spans | ({"pq": [1]} if quarter > 1 and random.random() < 0.15 and theme == "standard" else {}) | long
            )
        return spans | ({"pq": [1]} if random.random() < 0.5 and theme in ("standard", "core", "bank") else {})
    if random.random() < (0.6 if theme == "bank" else 0.35):
        spans |= {"pq": [1], "q-2": [2], "q-3": [3]}
    return spans | (long if random.random() < 0.9 else {})


def _books(
    random: Random, tier: str, theme: str, style: Style, company: Company, calendar: Calendar, *, reports: int
) -> tuple[list[Ledger], str]:
    """The ledgers of a company's reports, the older first, and what its shares are called."""
    kind: dict[str, Any] = {}
    share = "ordinary share" if style.ifrs and random.random() < 0.5 else "share"
    if theme == "ads":
        kind = {"per": random.choice(("ads", "ads", "ordinary")), "ratio": random.choice((2, 3, 4, 5, 8, 10))}
    elif theme == "two_class":
        kind = {"per": random.choice(("class_a", "class_a", "class_b"))}
    elif theme == "reverse":
        kind = {"split": random.choice(((1, 8), (1, 15), (1, 20)))}
    elif theme == "split":
        kind = {"split": random.choice(((2, 1), (3, 1), (4, 1), (3, 2), (2, 1), (5, 1)))}
    elif theme == "ffo":
        share = random.choice(("share", "share", "unit"))
    loss = theme == "reverse" or (theme not in ("bank", "ffo") and random.random() < 0.36)
    sector = company.sector
    chronic = sector.books == "research"
    wants = Wants(
        decimals=style.decimals,
        unit=style.unit,
        loss=loss,
        turns=loss and random.random() < (0.25 if chronic else 0.6),
        equal=not loss and theme != "two_class" and random.random() < 0.3,
        discontinued=theme == "continuing",
        extraordinary=theme == "extraordinary",
        preferred=tier != "plain" and random.random() < 0.12,
        minority=tier != "plain" and random.random() < 0.2,
        classes=theme == "two_class",
        restated=theme == "restated",
        realty=theme == "ffo",
        lender=sector.books == "bank",
        research=chronic,
        low=0.3 if style.decimals == 2 and theme != "ads" else 0.09,
        high=2.5 if theme == "ads" else 7.0,
        charges=random.choice((2, 3, 3, 4)) if tier != "hard" else random.choice((2, 3, 4, 5)),
        no_goods=sector.books in ("bank", "realty", "services") or sector.word == "Software",
    )
    calendars = [calendar] if reports == 1 else [calendar.previous(), calendar]
    spans = [_spans(random, tier, theme, each) for each in calendars]
    return make_ledgers(random, wants, spans, **kind), SHARES.get(kind.get("per", ""), share)


def _disclosed(d: Draft, profile: Random) -> None:
    """Which fields the document has, and whether there is a dividend."""
    rare_adjusted = {"ffo": 1.0, "extraordinary": 0.7, "year": 0.5, "core": 0.0}
    d.adjusted = profile.random() >= rare_adjusted.get(d.theme, 0.22) and d.theme != "no_eps"
    d.basic = not (d.theme in ("standard", "core", "split", "restated", "six") and profile.random() < 0.15)
    gold = d.ledger.eps("diluted")
    paying = not d.loss and profile.random() < 0.6
    if not paying:
        return
    if d.theme in ("standard", "bank", "six", "core", "split") and gold < 2 and d.random.random() < 0.2:
        d.dividend = gold
        d.tags.add("dividend_equals_eps")
        return
    digits = {str(d.ledger.eps(name)).replace(".", "").strip("-0") for name in FIELDS}
    while d.dividend is None or str(d.dividend).replace(".", "").strip("0") in digits:
        d.dividend = d.drawn(3, max(8, min(70, int(gold * 60))))


def _finished(d: Draft, identity: str, text: str) -> dict[str, Any]:
    gold = {name: d.printed.get(name) for name in FIELDS}
    traps = {name: value for name, value in d.printed.items() if name not in FIELDS and _differs(name, value, gold)}
    traps = {name: value for name, value in traps.items() if not _told_already(name, value, traps)}
    missing = [name for name, stands in gold_kept(text, d.printed).items() if not stands]
    assert not missing, (identity, missing)
    d.tags.update(_form_tags(d))
    return {
        "id": identity,
        "company": d.company.name,
        "period": d.calendar.label + ASKED[d.ledger.per],
        "text": text,
        "gold": {name: None if value is None else str(value) for name, value in gold.items()},
        "traps": {name: str(value) for name, value in traps.items()},
        "tags": sorted(d.tags),
        "tier": d.tier,
        "source": {"kind": "generated", "theme": d.theme, "ledger": d.ledger.record()},
    }


def _differs(name: str, value: Decimal, gold: dict[str, Decimal | None]) -> bool:
    """A trap is no trap where it equals the gold of its field; one of no field must differ from all three."""
    owner = name.split("_")[0]
    rivals = [gold[owner]] if owner in FIELDS else list(gold.values())
    return all(rival is None or rival != value for rival in rivals)


def _told_already(name: str, value: Decimal, traps: dict[str, Decimal]) -> bool:
    """Whether a trap of a kind that counts first has the same figure, so that nobody could tell the two apart."""
    owner, kind = _kind(name)
    rivals = [_kind(other) for other, figure in traps.items() if figure == value]
    return any(other < kind for rival, other in rivals if rival in (owner, ""))


def _kind(name: str) -> tuple[str, int]:
    """The field that a trap belongs to, and the place of its kind: another period, another length, a swap, others."""
    words = name.split("_")
    owner = words.pop(0) if words[0] in FIELDS else ""
    kinds = ("py py2 pq q-2 q-3", "ytd fy q4", "basic", "")
    return owner, next(
        place for place, kind in enumerate(kinds) if not kind or (words[:1] and words[0] in kind.split())
    )


def _form_tags(d: Draft) -> Iterator[str]:
    if d.theme in TAGS:
        yield TAGS[d.theme]
    if d.theme == "no_eps":
        yield "no_eps_in_document"
        yield "statement_without_eps"
        return
    if d.theme == "split":
        yield "reverse_split" if d.ledger.split[1] > 1 and d.ledger.split[0] == 1 else "split"
    if d.loss:
        yield "loss"
        if d.style.negative.startswith(("\u2212", "\u2013")):
            yield "typographic_minus"
        elif "(" in d.style.negative:
            yield "parentheses"
    if d.adjusted and (d.ledger.eps("adjusted") < 0) != d.loss:
        yield "gaap_vs_adjusted_sign_differs"
    if d.basic and not d.loss and d.printed["basic"] == d.printed["diluted"]:
        yield "basic_equals_diluted"
    for name, holds in (
        ("cents", d.style.minor),
        ("three_decimals", d.style.decimals == 3),
        ("ifrs", d.style.ifrs),
        ("other_currency", d.style.symbol != "$"),
        ("basic_not_disclosed", not d.basic),
        ("adjusted_not_disclosed", not d.adjusted),
        ("non_calendar_year", d.calendar.fiscal),
        ("weeks", d.calendar.weekly),
        ("full_year", d.calendar.months == 12),
        ("half_year", d.calendar.months == 6),
        ("bank", d.company.sector.books == "bank"),
        ("core_earnings", d.adjusted and d.adjusted_names in words.CORE_NAMES),
        ("no_leading_zero", not d.style.leading_zero),
        ("dividend", any(name.startswith("dividend") for name in d.printed)),
        (f"layout_{d.style.layout}", d.tier != "plain" or "table" in d.tags or "income_statement" in d.tags),
    ):
        if holds:
            yield name


# ------------------------------------------------------------------------------------------------------------- sentences


def _gaap_sentence(d: Draft) -> str:
    bank = words.DILUTED_ONLY if not d.basic else words.BOTH_LOSS if d.loss else words.BOTH_PROFIT
    said = d.say(_of_its_kind(d, bank))
    if d.basic and d.loss:  # one figure is both
        d.figure("basic")
        d.figure("diluted")
    return said


def _of_its_kind(d: Draft, bank: tuple[str, ...]) -> tuple[str, ...]:
    """Where there are several kinds of shares, only sentences that say which one is meant."""
    return bank if d.ledger.per == "share" else tuple(template for template in bank if "{share}" in template)


def _theme_sentence(d: Draft) -> str:
    """What has to be said about splits, restatements, kinds of shares, and parts of the result."""
    if d.theme == "split":
        now, then = d.ledger.split
        return d.say(
            words.SPLIT,
            ratio=f"{now}-for-{then}",
            split_kind="stock split" if now > then else "reverse stock split",
            split_day=_split_day(d),
        )
    if d.theme == "restated":
        d.tags.add("restated_prior_year")
        return d.say(words.RESTATED)
    bank = {
        "continuing": words.CONTINUING,
        "extraordinary": words.EXTRAORDINARY,
        "ads": words.ADS,
        "two_class": words.CLASSES,
        "ffo": words.FFO,
    }
    if d.theme == "ffo":
        d.tags.add("ffo")
    return d.say(bank[d.theme]) if d.theme in bank else ""


def _split_day(d: Draft) -> str:
    return d.calendar.end(1).split(" ")[0] + f" {d.random.randrange(2, 27)}, {d.calendar.year_of(1)}"


def _split_trap(d: Draft) -> str:
    d.tags.add("presplit_figures")
    return d.say(
        words.SPLIT_TRAPS, split_kind="stock split" if d.ledger.split[0] > d.ledger.split[1] else "reverse stock split"
    )


def _longer(d: Draft) -> str:
    d.tags.add("quarter_vs_longer_period")
    return d.say(words.LONGER)


def _dividend(d: Draft) -> str:
    assert d.dividend is not None
    paid = d.dividend * (2 if d.calendar.months == 6 else 1)  # by the half year
    d.note("dividend_total" if paid != d.dividend else "dividend", paid)
    return d.say(words.DIVIDENDS, dividend=d.style.said(paid))


def _guidance(d: Draft) -> str:
    """A forecast for the year, for the next year where this one is over, or for the quarter to come."""
    d.tags.add("guidance")
    step = Decimal(1).scaleb(-d.style.decimals)
    near = d.calendar.months == 3 and d.random.random() < 0.35
    whole = total(d.ledger.quarters[:4])
    if near or d.ledger.per != "share":
        base = d.ledger.eps("adjusted") * (1 if near else 4)
    else:
        base = d.item(whole.adjusted_income, whole.shares_adjusted)
    low = (abs(base) * d.random.randrange(90, 121) / 100).quantize(step) + step
    high = (low * d.random.randrange(103, 111) / 100).quantize(step) + step
    sign = -1 if base < 0 else 1
    d.note("guidance_low", sign * low)
    d.note("guidance_high", sign * high)
    over = d.calendar.quarter == 4
    year = (
        f"{'fiscal ' if d.calendar.fiscal else ''}{d.calendar.year + over}"
        if over or d.random.random() < 0.5
        else d.random.choice(("the full year", "the year", "the year as a whole"))
    )
    said = {
        "low": d.style.said(low),
        "high": d.style.said(high),
        "year": "the coming quarter" if near and sign < 0 else year,
    }
    return d.say(words.LOSS_GUIDANCE if sign < 0 else words.NEXT_GUIDANCE if near else words.GUIDANCE, **said)


def _highlights(d: Draft, mark: str) -> list[str]:
    """A list: sales, GAAP figures, adjusted ones."""
    d.tags.add("highlights_list")
    items = [d.filled("{Sales} of {sales}, {moved} {pct}%")]
    draw = d.random.choice
    if not d.basic:
        items.append(d.say(_of_its_kind(d, words.SHORT_GAAP)))
    elif d.loss:
        d.figure("basic")
        d.figure("diluted")
        items.append(
            d.filled(
                draw(
                    (
                        "Basic and diluted loss per {share} of {b} (prior year: {Bp} and {Dp})",
                        "Net loss per {share}, basic and diluted: {B}; a year ago {Bp} and {Dp}",
                        "Loss of {b} per {share}, both basic and diluted, versus {Bp} and {Dp} last year",
                    )
                )
            )
        )
    elif d.tier == "plain" or d.random.random() < 0.5:
        forms = (
            "{N} EPS of {F}, prior year {P}",
            "{N} earnings per {share}: {F}; a year ago {P}",
            "{N} earnings per {share} were {F}, versus {P}",
            "{N} earnings per {share} | {F} | {P}",
        )
        form = draw(_of_its_kind(d, forms[:3] if "|" not in mark else forms))
        for name, letter in (("Basic", "B"), ("Diluted", "D")):
            items.append(
                d.filled(form.replace("{N}", name).replace("{F}", f"{{{letter}}}").replace("{P}", f"{{{letter}p}}"))
            )
        if d.random.random() < 0.3:
            items[1:] = items[:0:-1]
    else:
        items.append(d.say(_of_its_kind(d, words.SHORT_GAAP)))
    if d.adjusted:
        items.append(
            d.filled(
                draw(
                    ("{Adj} of {A}, prior year {Ap}", "{Adj}: {A}; last year {Ap}", "{Adj} was {A}, compared with {Ap}")
                )
            )
        )
    return [f"{mark} {item}" for item in items]


def _order(d: Draft, columns: list[str], *, prior_first: bool) -> list[str]:
    """Columns as printed: the present one first, or each prior one before its present one."""
    if not prior_first:
        return columns
    d.tags.add("prior_year_column_first")
    order = ("py2", "py", "pq", "q", "q4_py", "q4", "ytd_py2", "ytd_py", "ytd", "fy_py2", "fy_py", "fy")
    return sorted(columns, key=order.index)


def _statement_columns(d: Draft) -> list[str]:
    """The columns of the income statement; five quarters have a table of their own, but for banks."""
    spans = d.ledger.spans
    columns = [key for key in spans if key not in ("q-2", "q-3")]
    if "q-2" in spans:
        columns.remove("pq")
    elif "pq" in columns and d.theme != "six":
        columns = ["q", "pq", "py", *(key for key in columns if key not in ("q", "pq", "py"))]
    columns = _order(
        d, columns, prior_first=d.random.random() < (0.3 if d.tier == "hard" else 0.2) and "pq" not in columns
    )
    longer = [key for key in columns if key.startswith(("ytd", "fy", "q4"))]
    if longer and d.calendar.months == 3:
        d.tags.add("quarter_vs_longer_period")
        d.tags.add(f"three_and_{ {1: 'three', 2: 'six', 3: 'nine', 4: 'twelve'}[d.calendar.quarter] }_months")
        if d.tier == "hard" and columns[0] == "q" and d.random.random() < 0.25:
            columns = longer + [key for key in columns if key not in longer]
            d.tags.add("longer_period_first")
    elif longer:
        d.tags.add("other_period_columns")
        if columns[0] == "q" and d.calendar.months == 12 and d.random.random() < 0.5:
            columns = longer + [key for key in columns if key not in longer]
    names = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
    d.tags.add(f"{names[len(columns)]}_columns")
    return columns


# ----------------------------------------------------------------------------------------------------------------- tiers


def _plain(d: Draft) -> str:
    random = d.random
    title = d.filled(random.choice(words.HEADLINES[:7]))
    place = d.company.city.split(",")[0].title()
    tails = words.PLAIN_TAILS if d.company.sector.books not in ("bank", "realty") else words.PLAIN_TAILS_OTHER
    tail = " ".join(d.say(tails) for _ in range(random.choice((1, 2, 2))))
    if d.company.name not in title:
        tail = f"{d.company.name} is based in {place}. {tail}"
    if d.theme == "no_eps":
        return f"{title}\n{tables.statement_without_eps(d, list(d.ledger.spans), short=True)}\n{tail}"
    form = random.choice(("sentences", "sentences", "table", "table", "list"))
    if any(key not in ("q", "py") for key in d.ledger.spans):
        form = "table"
    extra = _theme_sentence(d)
    parts: list[str] = []
    if form == "sentences":
        d.tags.add("headline_sentences")
        gaap, adjusted = _gaap_sentence(d), d.say(words.ADJUSTED) if d.adjusted else ""
        said = [gaap, adjusted] if random.random() < 0.8 or not adjusted or d.theme == "restated" else [adjusted, gaap]
        parts = [f"{place}: {' '.join(part for part in (*said, extra) if part)}"]
    elif form == "list":
        parts = [
            d.filled(f"{place}: Highlights of the {{when}}:"),
            *_highlights(d, random.choice(("-", "\u2022", "*", "\u2022 |"))),
            *([extra] if extra else []),
        ]
    else:
        d.tags.add("table")
        columns = _statement_columns(d)
        intro = d.filled(
            random.choice(
                (
                    "{co} today gave its figures for the {when}.",
                    "Results for the {when}, which ended {end}:",
                    "{co} closed the {when} on {end}.",
                    "Key figures, {when}:",
                )
            )
        )
        rows = column_heads(d, columns)
        if random.random() < 0.6:
            label = "Profit (loss)" if d.style.ifrs else "Net income (loss)"
            rows.append(
                [f"{label}, {d.style.unit_words}", *(d.style.amount(d.ledger.period(key).common) for key in columns)]
            )
        rows += tables.all_share_rows(d, columns)
        if d.adjusted:
            rows.append(tables.adjusted_row(d, columns))
        if d.dividend is not None and random.random() < 0.5:
            rows += tables.dividend_row(d, columns)
        parts = [f"{place}: {intro}{' ' + extra if extra else ''}", d.style.table(rows)]
    if d.theme == "split":
        parts.append(_split_trap(d))
    if (
        d.dividend is not None
        and "dividend" not in d.printed
        and (random.random() < 0.5 or "dividend_equals_eps" in d.tags)
    ):
        parts.append(_dividend(d))
    if random.random() < 0.18:
        parts.append(_guidance(d))
    return "\n".join([title, *parts, tail])


def _ordinary(d: Draft) -> str:
    random = d.random
    parts = [d.filled(random.choice(words.HEADLINES))]
    opening = _opening(d)
    extra = _theme_sentence(d)
    if d.theme == "no_eps":
        parts += [opening, _prose(d, 3), tables.statement_without_eps(d, list(d.ledger.spans)), _boilerplate(d, 0)]
        return _named(d, parts)
    told = random.choice(("sentences", "sentences", "list", "both", "none"))
    if told == "none":
        d.tags.add("no_headline_figures")
        parts.append(" ".join(part for part in (opening, extra) if part))
    else:
        said = ""
        if told != "list":
            d.tags.add("headline_sentences")
            said = f" {_gaap_sentence(d)}" + (f" {d.say(words.ADJUSTED)}" if d.adjusted else "")
        items = (
            _highlights(d, random.choice(("-", "\u2022", "\u2022 |", "*", "\u00b7 |"))) if told != "sentences" else []
        )
        parts.append(opening + said + (f" {extra}" if extra else ""))
        if items:
            parts.insert(
                random.choice((1, 2)),
                d.filled(random.choice(("{title} Highlights", "Highlights", "Financial Highlights")))
                + "\n"
                + "\n".join(items),
            )
    parts.append(_prose(d, random.randrange(2, 5)))
    if d.theme == "split":
        parts.append(_split_trap(d))
    if d.long and f"{d.long}_py" in d.ledger.spans and d.calendar.months == 3 and random.random() < 0.4:
        parts.append(_longer(d))
    if d.dividend is not None and random.random() < 0.7:
        parts.append(_dividend(d))
    if random.random() < 0.35:
        parts.append(f"{random.choice(('Outlook', 'Guidance', 'Looking Ahead'))}\n{_guidance(d)}")
    columns = _statement_columns(d)
    parts += [
        _boilerplate(d, random.randrange(len(words.BOILERPLATE))),
        tables.statement(d, columns, short=random.random() < 0.15),
    ]
    if d.theme == "restated":
        parts.append(tables.restatement(d))
    if d.theme == "ffo":
        parts.append(tables.funds_from_operations(d, ["q", "py"]))
    if d.adjusted:
        pair = _order(d, ["q", "py"], prior_first=columns.index("py") < columns.index("q"))
        if random.random() < 0.2 and d.theme != "two_class":
            d.tags.add("reconciliation")
            parts.append(
                f"Reconciliation of Non-GAAP Measures\n{tables.per_share_bridge(d, pair)}"
                if not d.style.ifrs
                else f"Alternative Measures\n{tables.per_share_bridge(d, pair)}"
            )
        else:
            parts.append(
                tables.reconciliation(
                    d,
                    pair if random.random() < 0.5 else columns,
                    per_item=random.random() < 0.12 and d.theme != "two_class",
                )
            )
    parts += _footnotes(d, parts)
    if random.random() < 0.5:
        parts.append(d.say(words.CONTACTS))
    return _named(d, parts)


def _hard(d: Draft) -> str:
    random = d.random
    periods = d.ledger.spans
    opening = _opening(d)
    parts = [
        d.filled(
            random.choice(("Exhibit 99.1\n\n", "", "FOR IMMEDIATE RELEASE\n\n", "")) + random.choice(words.HEADLINES)
        ),
        opening,
    ]
    extra = _theme_sentence(d)
    if d.theme == "no_eps":
        parts += [
            *(_section(d) for _ in range(random.randrange(4, 9))),
            tables.segments(d),
            tables.statement_without_eps(d, list(periods)),
        ]
        parts += [tables.balance_sheet(d), tables.cash_flows(d), *_all_boilerplate(d), _about(d)]
        return _named(d, parts)
    # The figures in words come first, late, or not at all.
    told = random.choice(("first", "list", "late", "none", "none"))
    if told == "first":
        d.tags.add("headline_sentences")
        parts.append(_gaap_sentence(d) + (f" {d.say(words.ADJUSTED)}" if d.adjusted else ""))
    elif told == "list":
        parts.append(
            d.filled("{title} Highlights\n") + "\n".join(_highlights(d, random.choice(("-", "\u2022", "\u2022 |"))))
        )
    else:
        d.tags.add("no_headline_figures")
    if extra and (told != "none" or d.theme in ("split", "restated", "ads")):
        parts.append(extra)
    housed = d.company.sector.books in ("bank", "realty")
    parts += [_section(d) for _ in range(5 if housed else random.randrange(5, 14))]
    if d.company.sector.books not in ("bank",):
        parts.append(tables.segments(d))
    if d.long and f"{d.long}_py" in periods and d.long in periods and d.calendar.months == 3:
        parts.append(_longer(d))
    if told == "late":
        parts.append(
            f"Results of the Period\n{_gaap_sentence(d)}" + (f" {d.say(words.ADJUSTED)}" if d.adjusted else "")
        )
    if d.theme == "split":
        parts.append(_split_trap(d))
    if d.dividend is not None:
        parts.append(_dividend(d))
    if random.random() < 0.55:
        parts.append(f"{random.choice(('Outlook', 'Guidance', 'Looking Ahead', 'Business Outlook'))}\n{_guidance(d)}")
    boilerplate = _all_boilerplate(d)
    parts += boilerplate[: len(boilerplate) // 2]
    columns = _statement_columns(d)
    parts.append(tables.statement(d, columns))
    parts += [
        write(d)
        for write in random.sample((tables.balance_sheet, tables.cash_flows), 2 if housed else random.choice((1, 2, 2)))
    ]
    if "q-2" in periods:
        parts.append(tables.five_quarters(d))
    if d.theme == "restated":
        parts.append(tables.restatement(d))
    if d.theme == "ffo":
        parts.append(tables.funds_from_operations(d, [key for key in columns if key[0] in "qpyf"]))
    if d.adjusted:
        pair = _order(d, ["q", "py"], prior_first=columns.index("py") < columns.index("q"))
        if d.theme in ("standard", "six", "core") and d.calendar.months == 3 and random.random() < 0.3:
            parts.append(tables.columns_bridge(d))
        parts.append(tables.reconciliation(d, pair, per_item=random.random() < 0.6 and d.theme != "two_class"))
        if d.long and f"{d.long}_py" in periods and d.long in periods:
            parts.append(tables.reconciliation(d, [d.long, f"{d.long}_py"], per_item=False))
    parts += [*_footnotes(d, parts), *boilerplate[len(boilerplate) // 2 :], _about(d), d.say(words.CONTACTS)]
    return _named(d, parts)


def _named(d: Draft, parts: list[str]) -> str:
    """The parts as a text, in which the company's full name stands."""
    text = "\n\n".join(part for part in parts if part)
    return text if d.company.name in text else f"{d.company.name}\n{text}"


def _prose(d: Draft, sentences: int) -> str:
    own = {"bank": words.BANK_PROSE, "realty": words.REALTY_PROSE}.get(d.company.sector.books)
    bank = words.PROSE if own is None else own + words.ANY_PROSE
    fresh = sum(template not in d.used for template in bank)  # no release says a thing twice
    return " ".join(d.say(bank) for _ in range(min(sentences, fresh)))


def _section(d: Draft) -> str:
    text = _prose(d, d.random.randrange(3, 7))
    fresh = [title for title in words.SECTIONS if title not in d.used]
    if fresh and text and d.random.random() < 0.4:
        title = d.random.choice(fresh)
        d.used.add(title)
        return f"{title}\n{text}"
    return text


def _opening(d: Draft) -> str:
    if d.company.sector.books in ("bank", "realty"):
        return d.say(tuple(template for template in words.OPENINGS if "{line1}" not in template))
    return d.say(words.OPENINGS)


def _about(d: Draft) -> str:
    return d.say(words.ABOUT if d.company.sector.books not in ("bank", "realty") else words.ABOUT[2:])


def _footnotes(d: Draft, parts: list[str]) -> list[str]:
    """A footnote where something is marked."""
    return [d.say(words.FOOTNOTES)] if any("(1)" in part for part in parts) else []


def _boilerplate(d: Draft, index: int) -> str:
    if index == 1 and not d.adjusted:
        index = 0
    title = d.random.choice(words.BOILERPLATE[index])
    if d.style.ifrs:
        title = title.replace("Non-GAAP", "Alternative")
    return f"{title}\n{d.say(words.BOILERPLATE_TEXTS[index])}"


def _all_boilerplate(d: Draft) -> list[str]:
    others = [i for i in range(1, len(words.BOILERPLATE)) if i != 1 or d.adjusted]
    return [_boilerplate(d, index) for index in sorted(d.random.sample(others, d.random.randrange(4, 7)))] + [
        _boilerplate(d, 0)
    ]


_WRITERS: dict[str, Callable[[Draft], str]] = {"plain": _plain, "ordinary": _ordinary, "hard": _hard}
