"""The books of an invented company, from which every figure of a document is computed.

Amounts and share counts are whole thousands, so that each statement adds up exactly and earnings per share are what a
reader gets who divides: (net income - noncontrolling interest - preferred dividends) / shares, rounded half up.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from typing import Any

FIELDS = ("basic", "diluted", "adjusted")

ADJUSTMENTS = (
    "Amortization of acquired intangibles",
    "Share-based compensation",
    "Restructuring and severance",
    "Acquisition and integration costs",
    "Impairment of long-lived assets",
    "Litigation settlement",
    "Loss on early retirement of debt",
    "Inventory write-down",
)


@dataclass
class Period:
    """One column of the books. `adjustments` are before tax, `tax_effect` is what they save in tax."""

    revenue: int
    cost: int
    interest: int
    tax: int
    discontinued: int
    noncontrolling: int
    preferred: int
    net_income: int
    shares_basic: int
    shares_diluted: int
    adjusted_shares: int
    adjustments: list[tuple[str, int]] = field(default_factory=list)
    tax_effect: int = 0

    @property
    def pretax(self) -> int:
        return self.net_income - self.discontinued + self.tax

    @property
    def operating_income(self) -> int:
        return self.pretax + self.interest

    @property
    def operating_expenses(self) -> int:
        return self.revenue - self.cost - self.operating_income

    @property
    def common(self) -> int:
        return self.net_income - self.noncontrolling - self.preferred

    @property
    def adjusted_income(self) -> int:
        return self.common + sum(amount for _, amount in self.adjustments) - self.tax_effect

    def eps(self, name: str, decimals: int) -> Decimal:
        return {
            "basic": per_share(self.common, self.shares_basic, decimals),
            "diluted": per_share(self.common, self.shares_diluted, decimals),
            "adjusted": per_share(self.adjusted_income, self.adjusted_shares, decimals),
            "adjusted_basic": per_share(self.adjusted_income, self.shares_basic, decimals),
            "continuing": per_share(self.common - self.discontinued, self.shares_diluted, decimals),
            "discontinued": per_share(self.discontinued, self.shares_diluted, decimals),
        }[name]


def per_share(amount: int, shares: int, decimals: int) -> Decimal:
    return (Decimal(amount) / Decimal(shares)).quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP)


@dataclass
class Ledger:
    decimals: int
    periods: dict[str, Period]

    def eps(self, name: str, key: str = "q") -> Decimal:
        return self.periods[key].eps(name, self.decimals)

    def record(self) -> dict[str, Any]:
        return {"decimals": self.decimals, "periods": {key: asdict(period) for key, period in self.periods.items()}}


def make_ledger(
    random: Random, keys: list[str], *, loss: bool, discontinued: bool, preferred: bool, minority: bool, decimals: int
) -> Ledger:
    """Books with one column for each of `keys`; drawn again until no two figures can be mistaken for one another."""
    while True:
        shares = random.randrange(6_000, 420_000)
        target = math.exp(random.uniform(math.log(0.09 if decimals == 2 else 0.03), math.log(7.5)))
        labels = list(ADJUSTMENTS)
        random.shuffle(labels)
        labels = labels[: random.randrange(2, 5)]
        turns_positive = random.random() < 0.5
        current = _period(random, target, shares, loss, labels, discontinued, preferred, minority, turns_positive)
        periods = {"q": current}
        for key in keys:
            if key == "q":
                continue
            long = key.startswith(("ytd", "fy"))
            factor = random.uniform(1.6, 3.4) if long else random.uniform(0.55, 1.7)
            sign_kept = random.random() < 0.85
            periods[key] = _period(
                random,
                target * factor,
                int(shares * random.uniform(0.97, 1.03)),
                loss == sign_kept,
                labels,
                discontinued,
                preferred,
                minority,
                turns_positive,
            )
        ledger = Ledger(decimals, {key: periods[key] for key in keys})
        if _distinct(ledger):
            return ledger


def _period(
    random: Random,
    target: float,
    shares: int,
    loss: bool,
    labels: list[str],
    has_discontinued: bool,
    has_preferred: bool,
    has_minority: bool,
    turns_positive: bool,
) -> Period:
    common = int(target * shares * random.uniform(0.98, 1.02)) * (-1 if loss else 1)
    size = abs(common)
    preferred = int(size * random.uniform(0.02, 0.06)) if has_preferred else 0
    minority = int(size * random.uniform(0.01, 0.05)) if has_minority else 0
    discontinued = int(size * random.uniform(0.08, 0.3)) * random.choice((-1, 1)) if has_discontinued else 0
    net_income = common + preferred + minority
    continuing = net_income - discontinued
    tax = (
        int(continuing * random.uniform(0.18, 0.28)) if continuing > 0 else int(continuing * random.uniform(0.01, 0.1))
    )
    interest = int(size * random.uniform(0.03, 0.2)) + 11
    operating = continuing + tax + interest
    revenue = int((abs(operating) + size) * random.uniform(4.0, 9.0))
    cost = int(revenue * random.uniform(0.45, 0.62))
    strength = random.uniform(1.2, 2.0) if loss and turns_positive else random.uniform(0.12, 0.6)
    parts = [random.uniform(0.4, 1.0) for _ in labels]
    adjustments = [
        (label, int(size * strength * part / sum(parts)) + 7) for label, part in zip(labels, parts, strict=True)
    ]
    tax_effect = int(sum(amount for _, amount in adjustments) * random.uniform(0.15, 0.24))
    diluted = int(shares * random.uniform(1.012, 1.045))
    adjusted_income = common + sum(amount for _, amount in adjustments) - tax_effect
    return Period(
        revenue=revenue,
        cost=cost,
        interest=interest,
        tax=tax,
        discontinued=discontinued,
        noncontrolling=minority,
        preferred=preferred,
        net_income=net_income,
        shares_basic=shares,
        # Shares that would make a loss per share smaller are left out, so a loss is the same basic and diluted.
        shares_diluted=shares if loss else diluted,
        adjusted_shares=shares if adjusted_income < 0 else diluted,
        adjustments=adjustments,
        tax_effect=tax_effect,
    )


def _distinct(ledger: Ledger) -> bool:
    """No zero; the fields differ (but for losses); no other column, sign or unit gives a figure of the quarter."""
    gold = {name: ledger.eps(name) for name in FIELDS}
    loss = ledger.periods["q"].common < 0
    if any(abs(value) < Decimal("0.02") for value in gold.values()):
        return False
    if (gold["basic"] == gold["diluted"]) != loss:
        return False
    if abs(gold["adjusted"]) in (abs(gold["basic"]), abs(gold["diluted"])):
        return False
    others = [ledger.eps(name, key) for key in ledger.periods if key != "q" for name in FIELDS]
    digits = {_digits(value) for value in gold.values()}
    if any(_digits(value) in digits for value in others):
        return False
    # A whole number of cents such as 0.50 is fine; the current figures may not be one another's power of ten.
    return len(digits) == (2 if loss else 3)


def _digits(value: Decimal) -> str:
    return str(abs(value)).replace(".", "").strip("0")
