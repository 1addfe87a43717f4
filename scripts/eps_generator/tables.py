"""Tables: income statements, reconciliations, five quarters, segments, balance sheets, cash flows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from scripts.eps_generator.draft import SHARES, Draft, column_heads
from scripts.eps_generator.ledger import DEBT_LOSS, Period
from scripts.eps_generator.style import CURRENCIES, PIPED

Rows = list[list[str]]


def noun(d: Draft, columns: Sequence[str], per: str = "") -> str:
    """What the rows are called: by the signs of what they hold."""
    values = [d.ledger.eps("diluted", key, per) for key in columns]
    which = 0 if all(value >= 0 for value in values) else 1 if all(value < 0 for value in values) else 2
    share = SHARES.get(per, d.share)
    label = d.nouns[which].replace("{share}", share)
    if label == "EPS" and (per or d.share != "share"):
        label = f"EPS ({share})"
    return label


def lowered(label: str) -> str:
    return label if label.startswith("EPS") else label[:1].lower() + label[1:]


def per_share_rows(d: Draft, columns: Sequence[str], per: str = "") -> Rows:
    """The rows of basic and diluted figures, in one of the ways that statements have."""
    blank = [""] * len(columns)
    unit = d.minor_words
    label = noun(d, columns, per)
    if not d.basic:
        form = d.random.choice(("Diluted {low}", "{label} - diluted", "{label}, diluted"))
        return [[form.format(low=lowered(label), label=label) + unit, *d.cells("diluted", columns, per)]]
    same = all(d.ledger.eps("basic", key, per) == d.ledger.eps("diluted", key, per) for key in columns)
    if same and d.random.random() < 0.8:
        d.tags.add("combined_basic_and_diluted_row")
        cells = [c for c in d.cells("basic", columns, per) if d.cells("diluted", columns, per)]
        form = d.random.choice(
            ("{label}, basic and diluted", "Basic and diluted {low}", "{label} - basic and diluted", ":")
        )
        if form == ":":
            return [[f"{label}{unit}:", *blank], ["Basic and diluted", *cells]]
        return [[form.format(label=label, low=lowered(label)) + unit, *cells]]
    if d.random.random() < 0.1 and not d.style.minor and d.style.layout in ("piped", "fenced") and len(columns) <= 4:
        d.tags.add("basic_slash_diluted")
        pairs = zip(d.cells("basic", columns, per), d.cells("diluted", columns, per), strict=True)
        return [[f"{label}, basic / diluted", *(" / ".join(pair) for pair in pairs)]]
    basic, diluted = d.cells("basic", columns, per), d.cells("diluted", columns, per)
    form = d.random.randrange(8)
    if form == 0:
        return [[f"{label}{unit}:", *blank], ["Basic", *basic], ["Diluted", *diluted]]
    if form == 1:
        return [[f"Basic {lowered(label)}{unit}", *basic], [f"Diluted {lowered(label)}{unit}", *diluted]]
    if form == 2:
        d.tags.add("diluted_row_first")
        return [[f"{label} - diluted{unit}", *diluted], [f"{label} - basic{unit}", *basic]]
    if form == 3:
        d.tags.add("row_split_over_lines")
        return [
            [label.split(" attributable")[0] + unit, *blank],
            ["attributable to shareholders of the company:", *blank],
            ["  Basic", *basic],
            ["  Diluted", *diluted],
        ]
    if form == 4:
        d.tags.add("row_split_over_lines")
        head = f"{label.split(' attributable')[0]}{unit}, attributable"
        return [
            [head, *blank],
            [f"to {d.company.short} shareholders - basic", *basic],
            [head, *blank],
            [f"to {d.company.short} shareholders - diluted", *diluted],
        ]
    if form == 5:
        return [[f"{label}, basic{unit}", *basic], [f"{label}, diluted{unit}", *diluted]]
    if form == 6:
        return [[f"{label}{unit}", *blank], ["- Basic (1)", *basic], ["- Diluted (1)", *diluted]]
    mark = f" ({d.style.symbol.strip()})" if d.style.ifrs and not unit else unit
    return [[f"Basic {lowered(label)}{mark}", *basic], [f"Diluted {lowered(label)}{mark}", *diluted]]


def part_rows(d: Draft, columns: Sequence[str], part: str) -> Rows:
    """Continuing against total, or before and after an extraordinary item, for each of basic and diluted."""
    first = "Continuing operations" if part == "discontinued" else "Before extraordinary item"
    second = "Discontinued operations" if part == "discontinued" else "Extraordinary item"
    last = d.random.choice(("Net income (loss)", "Total", "Net earnings (loss)"))
    label, unit = noun(d, columns), d.minor_words
    rows: Rows = []
    blank = [""] * len(columns)
    for name in ("basic", "diluted") if d.basic else ("diluted",):
        rows.append([f"{name.title()} {lowered(label)}{unit}:", *blank])
        rows.append([f"  {first}", *d.cells(f"{name}_continuing", columns)])
        rows.append([f"  {second}", *d.cells(f"{name}_{part}", columns)])
        rows.append([f"  {last}", *d.cells(name, columns)])
    return rows


def all_share_rows(d: Draft, columns: Sequence[str]) -> Rows:
    """The per-share part of a statement, of every kind of share and part that the document has."""
    if d.theme == "continuing":
        return part_rows(d, columns, "discontinued")
    if d.theme == "extraordinary":
        return part_rows(d, columns, "extraordinary")
    if d.theme == "ads":
        rows = [row for per in ("ordinary", "ads") for row in per_share_rows(d, columns, per)]
    elif d.theme == "two_class":
        rows = [row for per in ("class_a", "class_b") for row in per_share_rows(d, columns, per)]
    else:
        rows = per_share_rows(d, columns)
    return rows


def adjusted_row(d: Draft, columns: Sequence[str]) -> list[str]:
    label = d.adjusted_names[1].replace("{share}", d.share)
    if d.ledger.per != "share" and d.share not in label:
        label = f"{label} ({d.share})"
    return [label + d.minor_words, *d.cells("adjusted", columns)]


def dividend_row(d: Draft, columns: Sequence[str]) -> Rows:
    if d.dividend is None:
        return []
    cells = []
    for i, key in enumerate(columns):
        quarters = len(d.ledger.spans[key])
        paid = d.dividend * quarters
        name = f"dividend_{key}" if key != "q" else "dividend" if quarters == 1 else "dividend_total"
        cells.append(d.style.cell(d.note(name, paid), first=i == 0 or d.style.layout in PIPED))
    label = d.random.choice(("Dividends declared per {share}", "Cash dividends per {share}", "Dividends per {share}"))
    return [[label.replace("{share}", d.share) + d.minor_words, *cells]]


def statement(d: Draft, columns: Sequence[str], *, short: bool = False) -> str:
    """The income statement, as the company's line of business prints it."""
    d.tags.add("income_statement")
    shown = [d.ledger.period(key) for key in columns]
    change = len(columns) == 2 and columns[0] == "q" and d.random.random() < (0.15 if d.tier != "plain" else 0)
    rows: Rows = []

    def row(label: str, pick: Callable[[Period], int], *, symbol: bool = False, needed: bool = True) -> None:
        values = [pick(period) for period in shown]
        if not needed and not any(values):
            return
        cells = [d.style.amount(value, symbol=symbol and d.style.currency_in_rows) for value in values]
        rows.append([label, *cells, *([d.style.per_cent(values[0], values[1])] if change else [])])

    _top(d, row, short)
    _bottom(d, row)
    share_rows = all_share_rows(d, columns) + (dividend_row(d, columns) if d.tier != "plain" else [])
    if change:
        d.tags.add("change_column")
        share_rows = [[*r, ""] for r in share_rows]
    weighted = _share_counts(d, shown)
    if d.tier != "plain" or d.random.random() < 0.3:
        rows = [*rows, *share_rows, *weighted] if d.random.random() < 0.7 else [*rows, *weighted, *share_rows]
    else:
        rows += share_rows
    heads = column_heads(d, columns)
    if change:
        heads[-1].append(d.random.choice(("Change", "% Change")))
    return f"{_title(d)}\n{d.style.table(heads + rows)}"


def _title(d: Draft) -> str:
    ifrs = ("Consolidated Income Statement", "Consolidated Statement of Profit or Loss", "Interim Income Statement")
    gaap = (
        "Condensed Consolidated Statements of Operations",
        "Consolidated Statements of Income",
        "Condensed Consolidated Income Statements",
        "Statements of Consolidated Earnings",
        "CONSOLIDATED STATEMENTS OF OPERATIONS",
        "Consolidated Statements of Income (Loss)",
    )
    currency = CURRENCIES[d.style.symbol]
    units = d.style.unit_words
    return f"{d.company.name}\n{d.random.choice(ifrs if d.style.ifrs else gaap)}\n" + d.random.choice(
        (
            f"(in {units} of {currency}, except per share data; unaudited)",
            f"(Unaudited; {currency} in {units}, except per share amounts)",
            f"(In {units}, except per share data) ({currency})",
        )
    )


def _top(d: Draft, row: Callable[..., None], short: bool) -> None:
    """From sales to the profit before tax."""
    books, ifrs, pick = d.company.sector.books, d.style.ifrs, d.random.choice
    if books == "bank":
        row("Interest and fee income", lambda p: p.revenue * 4 // 5, symbol=True)
        row("Interest expense", lambda p: p.cost * 9 // 10)
        row("Net interest income", lambda p: p.revenue * 4 // 5 - p.cost * 9 // 10)
        row("Provision for credit losses", lambda p: p.cost - p.cost * 9 // 10)
        row("Noninterest income", lambda p: p.revenue - p.revenue * 4 // 5)
        row("Noninterest expense", lambda p: p.revenue - p.cost - p.pretax)
    elif short:
        row(_sales(d), lambda p: p.revenue, symbol=True)
        row(
            pick(("Operating income (loss)", "Operating profit (loss)", "Income (loss) from operations")),
            lambda p: p.operating_income,
        )
    else:
        row(_sales(d), lambda p: p.revenue, symbol=True)
        cost = {"realty": "Property operating expenses", "services": "Cost of services", "retail": "Cost of goods sold"}
        row(cost.get(books, "Cost of sales"), lambda p: p.cost)
        if books != "realty":
            row("Gross profit" if ifrs or d.random.random() < 0.7 else "Gross margin", lambda p: p.revenue - p.cost)
        row("Research and development", lambda p: p.research, needed=False)
        row("Depreciation", lambda p: p.depreciation, needed=False)
        row(
            "Administrative expenses" if ifrs else "Selling, general and administrative",
            lambda p: p.selling + p.property_gain - p.depreciation,
        )
        for label in d.ledger.period("q").lines:
            row(label, lambda p, label=label: p.lines[label], needed=False)
        row("Gain on sale of properties", lambda p: p.property_gain, needed=False)
        row("Operating profit" if ifrs else "Income (loss) from operations", lambda p: p.operating_income)
        row("Finance costs" if ifrs else "Interest expense", lambda p: p.interest)
        row(DEBT_LOSS, lambda p: p.charges.get(DEBT_LOSS, 0), needed=False)
    if not short or books == "bank":
        row("Profit (loss) before tax" if ifrs else "Income (loss) before income taxes", lambda p: p.pretax)
        row(
            "Income tax"
            if ifrs
            else pick(("Income tax expense (benefit)", "Provision for income taxes", "Income taxes")),
            lambda p: p.tax,
        )


def _bottom(d: Draft, row: Callable[..., None]) -> None:
    """From the profit after tax to that of the shareholders."""
    ifrs = d.style.ifrs
    if any(d.ledger.period(key).discontinued for key in ("q", "py")):
        row("Income (loss) from continuing operations", lambda p: p.continuing)
        row("Income (loss) from discontinued operations, net of tax", lambda p: p.discontinued)
    if any(d.ledger.period(key).extraordinary for key in ("q", "py")):
        row("Income (loss) before extraordinary item", lambda p: p.continuing)
        row("Extraordinary item, net of tax", lambda p: p.extraordinary)
    row("Profit (loss) for the period" if ifrs else "Net income (loss)", lambda p: p.net_income, symbol=True)
    period = d.ledger.period("q")
    if period.noncontrolling:
        row("Less: noncontrolling interests", lambda p: p.noncontrolling)
    if period.preferred:
        row("Less: preferred dividends", lambda p: p.preferred)
    if period.noncontrolling or period.preferred:
        row(
            "Attributable to owners of the parent" if ifrs else "Net income (loss) attributable to common shareholders",
            lambda p: p.common,
        )


def _sales(d: Draft) -> str:
    if d.company.sector.books == "realty":
        return "Rental revenue"
    return (
        "Revenue"
        if d.style.ifrs
        else d.random.choice(("Net sales", "Revenue", "Sales", "Total revenues", "Net revenues"))
    )


def _share_counts(d: Draft, shown: list[Period]) -> Rows:
    def row(label: str, pick: Callable[[Period], int]) -> list[str]:
        return [label, *(d.style.count(pick(period)) for period in shown)]

    basic, diluted = d.random.choice(
        (
            ("Weighted average shares, basic", "Weighted average shares, diluted"),
            (
                "Weighted average number of shares outstanding - basic",
                "Weighted average number of shares outstanding - diluted",
            ),
            ("Basic weighted average shares", "Diluted weighted average shares"),
        )
    )
    if d.theme == "two_class":
        return [
            row("Weighted average Class A shares, basic", lambda p: p.shares),
            row("Weighted average Class A shares, diluted", lambda p: p.shares_diluted),
            row("Weighted average Class B shares, basic and diluted", lambda p: p.class_b),
        ]
    if d.theme == "ads":
        basic, diluted = basic.replace("shares", "ordinary shares"), diluted.replace("shares", "ordinary shares")
    if not d.basic:
        return [row(diluted, lambda p: p.shares_diluted)]
    return [row(basic, lambda p: p.shares), row(diluted, lambda p: p.shares_diluted)]


# -------------------------------------------------------------------------------------------------------- other tables


def reconciliation(d: Draft, columns: Sequence[str], *, per_item: bool) -> str:
    """From net income to adjusted net income, in amounts; `per_item` adds the bridge per share."""
    d.tags.add("reconciliation")
    shown = [d.ledger.period(key) for key in columns]

    def row(label: str, pick: Callable[[Period], int]) -> list[str]:
        return [label, *(d.style.amount(pick(period)) for period in shown)]

    adjusted = d.adjusted_names[0].split(" per ")[0].split(" EPS")[0].replace(" diluted", "")
    adjusted = adjusted if adjusted.endswith(("income", "earnings")) else f"{adjusted} earnings"
    adjusted = "adjusted earnings" if adjusted.startswith(("diluted", "earnings")) else adjusted
    kind = "IFRS profit" if d.style.ifrs else d.random.choice(("GAAP net income", "Net income"))
    rows = [
        row(
            f"{kind} (loss) attributable to {'owners of the parent' if d.style.ifrs else 'common shareholders'}",
            lambda p: p.common,
        )
    ]
    if any(p.discontinued for p in shown):
        rows.append(row("(Income) loss from discontinued operations", lambda p: -p.discontinued))
    if any(p.extraordinary for p in shown):
        rows.append(row("Extraordinary item", lambda p: -p.extraordinary))
    for label in shown[0].charges:
        if any(p.charges[label] for p in shown):
            rows.append(row(label, lambda p, label=label: p.charges[label]))
    rows.append(row("Income tax effect of the above", lambda p: -p.tax_effect))
    rows.append(row(f"{adjusted[:1].upper()}{adjusted[1:]} (loss)", lambda p: p.adjusted_income))
    rows.append(adjusted_row(d, columns))
    if d.adjusted and d.tier == "hard" and d.theme not in ("two_class", "ads") and d.random.random() < 0.25:
        d.tags.add("adjusted_basic_row")
        label = d.adjusted_names[1].replace("{share}", d.share)
        label = label.replace("Diluted", "Basic").replace("diluted", "basic")
        rows.append([label + d.minor_words, *d.cells("adjusted_basic", columns)])
    title = d.random.choice(
        (
            f"Reconciliation of {kind} to {adjusted.title() if 'GAAP' not in adjusted else 'Non-GAAP Net Income'}",
            "Reconciliation of Non-GAAP Measures" if not d.style.ifrs else "Reconciliation of Alternative Measures",
            "Supplemental Reconciliation",
        )
    )
    text = f"{title}\n(in {d.style.unit_words}, except per share data)\n" + d.style.table(
        column_heads(d, columns) + rows
    )
    return f"{text}\n\n{per_share_bridge(d, columns)}" if per_item else text


def per_share_bridge(d: Draft, columns: Sequence[str]) -> str:
    """The reconciliation per share: each item, and what tax, rounding and the number of shares make up."""
    d.tags.add("item_per_share")
    shown = [d.ledger.period(key) for key in columns]
    first = d.style.layout in PIPED
    gaap = "IFRS" if d.style.ifrs else "GAAP"
    rows: Rows = [[f"{gaap} diluted earnings (loss) per {d.share}{d.minor_words}", *d.cells("diluted", columns)]]
    rest = [d.ledger.eps("adjusted", key) - d.ledger.eps("diluted", key) for key in columns]
    for label, pick in (
        ("Discontinued operations", lambda p: -p.discontinued),
        ("Extraordinary item", lambda p: -p.extraordinary),
    ):
        values = [d.item(pick(p), p.shares_diluted) for p in shown]
        if any(values):
            rest = [left - value for left, value in zip(rest, values, strict=True)]
            for key, value in zip(columns, values, strict=True):
                d.note("item_left_out" + ("" if key == "q" else f"_{key}"), value)
            rows.append([label, *(d.style.cell(value, first=first) for value in values)])
    for number, label in enumerate(shown[0].charges, 1):
        values = [
            d.item(p.charges[label] * (d.ledger.ratio if d.ledger.per == "ads" else 1), p.shares_adjusted)
            for p in shown
        ]
        rest = [left - value for left, value in zip(rest, values, strict=True)]
        if not any(values):
            continue
        for key, value in zip(columns, values, strict=True):
            if value:
                d.note(f"item_{number}" + ("" if key == "q" else f"_{key}"), value)
        rows.append([label, *(d.style.cell(value, first=first) for value in values)])
    for key, value in zip(columns, rest, strict=True):
        if value:
            d.note("item_rest" + ("" if key == "q" else f"_{key}"), value)
    rows.append(["Income tax, dilution and other", *(d.style.cell(value, first=first) for value in rest)])
    rows.append(adjusted_row(d, columns))
    return f"Per diluted {d.share}\n" + d.style.table(column_heads(d, columns) + rows)


def columns_bridge(d: Draft) -> str:
    """As reported, adjustments, adjusted: side by side for both years, six columns."""
    d.tags |= {"six_columns", "reconciliation", "reported_adjustments_adjusted_columns"}
    gaap = "IFRS" if d.style.ifrs else "GAAP"
    years = d.calendar.quarter_label(0), d.calendar.quarter_label(4)
    spans = [years[0], "", "", years[1], "", ""] if d.style.layout in ("aligned", "dotted") else list(years)
    heads = [["", *spans], ["", *([gaap, "Adjustments", "Adjusted"] * 2)]]
    income: list[str] = []
    diluted: list[str] = []
    for key in ("q", "py"):
        period = d.ledger.period(key)
        income += [
            d.style.amount(period.common),
            d.style.amount(period.adjusted_income - period.common),
            d.style.amount(period.adjusted_income),
        ]
        reported, adjusted = d.figure("diluted", key), d.figure("adjusted", key)
        between = d.note("adjustment_total" + ("" if key == "q" else f"_{key}"), adjusted - reported)
        diluted += [d.style.cell(value, first=d.style.layout in PIPED) for value in (reported, between, adjusted)]
    rows = [["Net income (loss)", *income], [f"Diluted earnings (loss) per {d.share}{d.minor_words}", *diluted]]
    return f"Reported and Adjusted Results\n(in {d.style.unit_words}, except per share data)\n" + d.style.table(
        heads + rows
    )


def five_quarters(d: Draft) -> str:
    d.tags.add("five_quarter_table")
    columns = ["q", "pq", "q-2", "q-3", "py"]
    if d.random.random() < 0.3:
        columns.reverse()
        d.tags.add("prior_year_column_first")
    rows = [
        [
            d.random.choice(("Net income (loss)", "Net income (loss) to common")),
            *(d.style.amount(d.ledger.period(key).common) for key in columns),
        ]
    ]
    rows += all_share_rows(d, columns)
    if d.adjusted:
        rows.append(adjusted_row(d, columns))
    rows += dividend_row(d, columns)
    title = d.random.choice(
        ("Summary of Five Quarters", "Quarterly Trend", "Selected Quarterly Data", "Five Quarter Comparison")
    )
    return f"{title}\n(in {d.style.unit_words}, except per share data; unaudited)\n" + d.style.table(
        column_heads(d, columns) + rows
    )


def restatement(d: Draft) -> str:
    """Last year's quarter as first reported, the correction, and as restated."""
    d.tags.add("restated_prior_year")
    period = d.ledger.period("py")
    reported, restated = d.figure("diluted_reported", "py"), d.figure("diluted", "py")
    change = d.note("diluted_py_correction", restated - reported)
    values = (period.net_income - period.restated, period.restated, period.net_income)
    rows = [
        [
            d.calendar.quarter_label(4)
            if d.calendar.months == 3
            else d.calendar.label.replace(str(d.calendar.year), str(d.calendar.year - 1)),
            "As reported",
            "Correction",
            "As restated",
        ],
        ["Net income (loss)", *(d.style.amount(value) for value in values)],
        [
            f"Diluted earnings (loss) per {d.share}{d.minor_words}",
            *(d.style.cell(v, first=d.style.layout in PIPED) for v in (reported, change, restated)),
        ],
    ]
    return f"Restatement of Prior-Year Amounts\n(in {d.style.unit_words}, except per share data)\n" + d.style.table(
        rows
    )


def segments(d: Draft) -> str:
    rest = {key: d.ledger.period(key).revenue for key in ("q", "py")}
    rows = [*column_heads(d, ["q", "py"])]
    rows[-1].append("Change")
    share = d.random.uniform(0.3, 0.6)
    for i, line in enumerate(d.company.lines):
        last = i == len(d.company.lines) - 1
        values = {key: rest[key] if last else int(rest[key] * share * d.random.uniform(0.94, 1.06)) for key in rest}
        rest = {key: rest[key] - values[key] for key in rest}
        rows.append(
            [
                line.capitalize(),
                d.style.amount(values["q"]),
                d.style.amount(values["py"]),
                d.style.per_cent(values["q"], values["py"]),
            ]
        )
    now, then = (d.ledger.period(key).revenue for key in ("q", "py"))
    rows.append(["Total", d.style.amount(now), d.style.amount(then), d.style.per_cent(now, then)])
    title = d.random.choice(("Sales by Line", "Segment Sales", "Revenue by Business", "Disaggregated Revenue"))
    return f"{title}\n(in {d.style.unit_words})\n" + d.style.table(rows)


def balance_sheet(d: Draft) -> str:
    current = d.ledger.period("q")
    bank = d.company.sector.books == "bank"
    base = max(current.revenue, abs(current.common) * 3) * (
        12 if bank else 3 if d.company.sector.books == "realty" else 2
    )
    labels = {
        "bank": ("Cash and due from banks", "Securities", "Loans, net", "Premises", "Goodwill"),
        "realty": ("Land", "Buildings, net", "Cash and equivalents", "Receivables", "Other assets"),
    }.get(
        d.company.sector.books,
        (
            "Cash and cash equivalents",
            "Receivables, net",
            "Inventories",
            "Property, plant and equipment, net",
            "Goodwill and intangible assets",
        ),
    )
    backs = (0, d.calendar.quarter if d.calendar.months == 3 else 4)
    now = [(label, int(base * d.random.uniform(0.05, 0.5))) for label in labels]
    then = [(label, int(amount * d.random.uniform(0.85, 1.1))) for label, amount in now]
    if bank:
        now[2], then[2] = (now[2][0], 4 * now[2][1]), (then[2][0], 4 * then[2][1])
        now[3:], then[3:] = [(n, v // 9) for n, v in now[3:]], [(n, v // 9) for n, v in then[3:]]
    debts = ("Deposits", "Borrowings") if bank else ("Accounts payable", "Long-term debt")
    rows: Rows = [["", d.calendar.end(backs[0]), d.calendar.end(backs[1])]]
    rows += [
        [label, d.style.amount(amount), d.style.amount(old)]
        for (label, amount), (_, old) in zip(now, then, strict=True)
    ]
    totals = [sum(amount for _, amount in side) for side in (now, then)]
    rows.append(["Total assets", *(d.style.amount(total) for total in totals)])
    shares = (0.7, 0.18) if bank else (0.14, d.random.uniform(0.15, 0.4))
    owed = [[int(total * share) for total in totals] for share in shares]
    rows += [
        [label, *(d.style.amount(amount) for amount in amounts)] for label, amounts in zip(debts, owed, strict=True)
    ]
    equity = [total - sum(amounts[i] for amounts in owed) for i, total in enumerate(totals)]
    par = d.random.choice(("0.01", "0.001", "0.10", "0.05"))
    shown = (
        f"Common stock, {d.style.symbol}{par} par value, and paid-in capital"
        if not d.style.ifrs
        else "Share capital and premium"
    )
    if not d.style.ifrs:
        d.note("par_value", Decimal(par))
    paid = [value * 2 // 5 for value in equity]
    rows.append([shown, *(d.style.amount(value) for value in paid)])
    rows.append(["Retained earnings and other", *(d.style.amount(v - p) for v, p in zip(equity, paid, strict=True))])
    rows.append(
        ["Total equity" if d.style.ifrs else "Total shareholders' equity", *(d.style.amount(value) for value in equity)]
    )
    if not d.style.minor and not d.ledger.ratio and d.theme != "two_class" and (bank or d.random.random() < 0.35):
        d.tags.add("book_value")
        values = [d.item(value, current.shares) for value in equity]
        d.note("book_value", values[0])
        d.note("book_value_old", values[1])
        rows.append(
            [f"Book value per {d.share}", *(d.style.cell(value, first=d.style.layout in PIPED) for value in values)]
        )
    title = "Consolidated Statement of Financial Position" if d.style.ifrs else "Condensed Consolidated Balance Sheets"
    return f"{title}\n(in {d.style.unit_words}; unaudited)\n" + d.style.table(rows)


def cash_flows(d: Draft) -> str:
    columns = [d.long, f"{d.long}_py"] if d.long and f"{d.long}_py" in d.ledger.spans else ["q", "py"]
    rows: Rows = []
    lines: dict[str, list[int]] = {}
    for key in columns:
        period = d.ledger.period(key)
        scale = period.revenue
        parts = {
            "Net income (loss)": period.net_income,
            "Depreciation and amortization": period.depreciation or int(scale * 0.045),
            "Share-based compensation": period.charges.get("Share-based compensation") or int(scale * 0.011),
            "Change in working capital": int(scale * d.random.uniform(-0.05, 0.04)),
        }
        parts["Cash from operating activities"] = sum(parts.values())
        parts["Capital expenditure"] = -int(scale * d.random.uniform(0.02, 0.06))
        parts["Cash from investing activities"] = parts["Capital expenditure"]
        parts["Repayment of borrowings"] = -int(scale * d.random.uniform(0.0, 0.03))
        parts["Cash from financing activities"] = parts["Repayment of borrowings"]
        parts["Change in cash"] = sum(parts[name] for name in parts if name.startswith("Cash from"))
        for label, amount in parts.items():
            lines.setdefault(label, []).append(amount)
    rows = [[label, *(d.style.amount(amount) for amount in amounts)] for label, amounts in lines.items()]
    title = d.random.choice(
        ("Condensed Statements of Cash Flows", "Cash Flow Summary", "Consolidated Statements of Cash Flows")
    )
    return f"{title}\n(in {d.style.unit_words}; unaudited)\n" + d.style.table(column_heads(d, columns) + rows)


def funds_from_operations(d: Draft, columns: Sequence[str]) -> str:
    """FFO, core FFO and adjusted FFO, which are no earnings per share."""
    d.tags.add("ffo")
    shown = [d.ledger.period(key) for key in columns]

    def row(label: str, pick: Callable[[Period], int]) -> list[str]:
        return [label, *(d.style.amount(pick(period)) for period in shown)]

    rows = [
        row("Net income (loss) attributable to common shareholders", lambda p: p.common),
        row("Depreciation of real estate", lambda p: p.depreciation),
        row("Gain on sale of properties", lambda p: -p.property_gain),
        row("Funds from operations (FFO)", lambda p: p.ffo),
        *(row(label, lambda p, label=label: p.charges[label]) for label in shown[0].charges),
        row("Core FFO", lambda p: p.ffo + sum(p.charges.values())),
        row("Recurring capital expenditure", lambda p: -p.upkeep),
        row("Adjusted FFO (AFFO)", lambda p: p.ffo + sum(p.charges.values()) - p.upkeep),
        [f"FFO per diluted {d.share}", *d.cells("ffo", columns)],
        [f"Core FFO per diluted {d.share}", *d.cells("core-ffo", columns)],
    ]
    if d.random.random() < 0.6:
        rows.append([f"AFFO per diluted {d.share}", *d.cells("affo", columns)])
    rows += dividend_row(d, columns)
    return f"Funds from Operations\n(in {d.style.unit_words}, except per share data)\n" + d.style.table(
        column_heads(d, columns) + rows
    )


def statement_without_eps(d: Draft, columns: Sequence[str], *, short: bool = False) -> str:
    """An income statement that ends with the net income."""
    d.tags.add("income_statement")
    shown = [d.ledger.period(key) for key in columns]
    rows: Rows = []

    def row(label: str, pick: Callable[[Period], int], *, symbol: bool = False, needed: bool = True) -> None:
        values = [pick(period) for period in shown]
        if needed or any(values):
            rows.append([label, *(d.style.amount(v, symbol=symbol and d.style.currency_in_rows) for v in values)])

    _top(d, row, short)
    _bottom(d, row)
    title = _title(d).replace(", except per share data", "").replace(", except per share amounts", "")
    return f"{title}\n{d.style.table(column_heads(d, columns) + rows)}"
