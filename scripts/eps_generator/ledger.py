"""The books of an invented company, from which every figure of a document is computed.

A company has a row of quarters; a year to date or a full year is their sum, so all columns of a document agree. Amounts
and share counts are whole numbers of one unit (thousands, tenths of a million, millions), so that each statement adds
up as printed and a figure per share is what a reader gets who divides, rounded half up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from typing import Any

FIELDS = ("basic", "diluted", "adjusted")
QUARTERS = 13  # three years, and one more for a company that reports twice

# What is left out of adjusted earnings: label, whether it has a line of its own among operating expenses.
CHARGES = {
    "Amortization of acquired intangibles": True,
    "Restructuring and severance": True,
    "Acquisition and integration costs": True,
    "Impairment of long-lived assets": True,
    "Litigation settlement": True,
    "Share-based compensation": False,
    "Loss on early retirement of debt": False,
    "Inventory write-down": False,
    "Plant closure costs": False,
    "Costs of the new enterprise system": False,
    "Pension settlement charge": False,
    "Gain on sale of a product line": False,
}
GAIN = "Gain on sale of a product line"
DEBT_LOSS = "Loss on early retirement of debt"


@dataclass
class Period:
    """One column of the books. `charges` are before tax, `tax_effect` is what they save in tax; a gain is negative.

    `shares` are weighted average shares (of Class A where there are two), `dilutive` what options and awards add.
    """

    revenue: int = 0
    cost: int = 0
    research: int = 0
    interest: int = 0
    tax: int = 0
    net_income: int = 0
    discontinued: int = 0
    extraordinary: int = 0
    noncontrolling: int = 0
    preferred: int = 0
    shares: int = 0
    dilutive: int = 0
    class_b: int = 0
    charges: dict[str, int] = field(default_factory=dict)
    tax_effect: int = 0
    depreciation: int = 0
    property_gain: int = 0
    upkeep: int = 0
    restated: int = 0

    @property
    def continuing(self) -> int:
        return self.net_income - self.discontinued - self.extraordinary

    @property
    def pretax(self) -> int:
        return self.continuing + self.tax

    @property
    def operating_income(self) -> int:
        return self.pretax + self.interest + self.charges.get(DEBT_LOSS, 0)

    @property
    def lines(self) -> dict[str, int]:
        """The charges that have a line of their own in the statement."""
        return {label: amount for label, amount in self.charges.items() if CHARGES[label]}

    @property
    def selling(self) -> int:
        return self.revenue - self.cost - self.research - sum(self.lines.values()) - self.operating_income

    @property
    def common(self) -> int:
        return self.net_income - self.noncontrolling - self.preferred

    @property
    def common_continuing(self) -> int:
        return self.common - self.discontinued - self.extraordinary

    @property
    def adjusted_income(self) -> int:
        return self.common_continuing + sum(self.charges.values()) - self.tax_effect

    @property
    def shares_diluted(self) -> int:
        """Shares that would make a loss per share smaller are left out; income from continuing operations decides."""
        return self.shares + (self.dilutive if self.common_continuing > 0 else 0)

    @property
    def shares_adjusted(self) -> int:
        return self.shares + (self.dilutive if self.adjusted_income > 0 else 0)

    @property
    def ffo(self) -> int:
        return self.common + self.depreciation - self.property_gain

    def record(self) -> dict[str, Any]:
        """The numbers that are not zero."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name))}


def per_share(amount: int, shares: int, decimals: int) -> Decimal:
    return (Decimal(amount) / Decimal(shares)).quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP)


def total(quarters: Iterable[Period]) -> Period:
    """One period of several quarters: amounts are sums, shares are means."""
    parts = list(quarters)
    made = Period()
    for f in fields(Period):
        values = [getattr(part, f.name) for part in parts]
        if f.name == "charges":
            made.charges = {label: sum(value[label] for value in values) for label in values[0]}
        elif f.name in ("shares", "dilutive", "class_b"):
            setattr(made, f.name, round(sum(values) / len(values)))
        else:
            setattr(made, f.name, sum(values))
    return made


# Of what a figure per share is made: amount and shares.
_RECIPES: dict[str, Callable[[Period], tuple[int, int]]] = {
    "basic": lambda p: (p.common, p.shares),
    "diluted": lambda p: (p.common, p.shares_diluted),
    "adjusted": lambda p: (p.adjusted_income, p.shares_adjusted),
    "adjusted_basic": lambda p: (p.adjusted_income, p.shares),
    "basic_continuing": lambda p: (p.common_continuing, p.shares),
    "diluted_continuing": lambda p: (p.common_continuing, p.shares_diluted),
    "basic_discontinued": lambda p: (p.discontinued, p.shares),
    "diluted_discontinued": lambda p: (p.discontinued, p.shares_diluted),
    "basic_extraordinary": lambda p: (p.extraordinary, p.shares),
    "diluted_extraordinary": lambda p: (p.extraordinary, p.shares_diluted),
    "basic_reported": lambda p: (p.common - p.restated, p.shares),
    "diluted_reported": lambda p: (p.common - p.restated, p.shares_diluted),
    "ffo": lambda p: (p.ffo, p.shares + p.dilutive),
    "core-ffo": lambda p: (p.ffo + sum(p.charges.values()), p.shares + p.dilutive),
    "affo": lambda p: (p.ffo + sum(p.charges.values()) - p.upkeep, p.shares + p.dilutive),
    "pretax": lambda p: (p.pretax, p.shares_diluted),
}


@dataclass
class Ledger:
    """The quarters (the reported one first) and what a share is: `per` is the one that is asked for.

    share      one kind of share
    ordinary   an ordinary share, where there are depositary shares as well
    ads        an American depositary share stands for `ratio` ordinary shares
    class_a    Class A gets 11 parts of what is earned for each 10 of Class B, per share
    presplit   a share before the split: `split` shares now for each one then (a fraction after a reverse split)
    """

    decimals: int
    unit: str
    quarters: list[Period]
    spans: dict[str, list[int]]
    per: str = "share"
    ratio: int = 0
    split: tuple[int, int] = (1, 1)

    def period(self, key: str) -> Period:
        return total(self.quarters[index] for index in self.spans[key])

    def eps(self, name: str, key: str = "q", per: str = "") -> Decimal:
        period = self.period(key)
        amount, shares = _RECIPES[name](period)
        per = per or self.per
        if per == "ads":
            amount *= self.ratio
        elif per == "presplit":
            amount, shares = amount * self.split[0], shares * self.split[1]
        elif per in ("class_a", "class_b"):
            of_a = allocated(amount, shares, period.class_b)
            amount, shares = (of_a, shares) if per == "class_a" else (amount - of_a, period.class_b)
        return per_share(amount, shares, self.decimals)

    def record(self) -> dict[str, Any]:
        made: dict[str, Any] = {"decimals": self.decimals, "unit": self.unit, "per": self.per}
        if self.ratio:
            made["ratio"] = self.ratio
        if self.split != (1, 1):
            made["split"] = list(self.split)
        return made | {"periods": {key: self.period(key).record() for key in self.spans}}


def allocated(amount: int, class_a: int, class_b: int) -> int:
    """What of `amount` falls to Class A."""
    return round(Decimal(amount) * 11 * class_a / (11 * class_a + 10 * class_b))


@dataclass(frozen=True)
class Wants:
    """What the books of a company should hold."""

    decimals: int
    unit: str
    loss: bool = False
    turns: bool = False  # the loss of the quarter comes from charges: adjusted earnings are positive
    equal: bool = False  # little dilution: basic and diluted figures are mostly the same
    discontinued: bool = False
    extraordinary: bool = False
    preferred: bool = False
    minority: bool = False
    classes: bool = False
    restated: bool = False
    realty: bool = False
    lender: bool = False
    research: bool = False
    low: float = 0.12
    high: float = 7.0
    charges: int = 3
    no_goods: bool = False  # a bank or a landlord: no stock, no plants


def make_ledgers(random: Random, wants: Wants, spans: list[dict[str, list[int]]], **kind: Any) -> list[Ledger]:
    """Ledgers of one company, one for each of `spans`; the last reports the newest quarter, each before it one older.

    Drawn again until no figure of another period can be mistaken for one of the reported one.
    """
    for _ in range(100_000):
        quarters = _quarters(random, wants)
        if quarters is None:
            continue
        newest = len(spans) - 1
        ledgers = [
            Ledger(wants.decimals, wants.unit, quarters[newest - i :], span, **kind) for i, span in enumerate(spans)
        ]
        if all(_distinct(ledger, wants) for ledger in ledgers):
            return ledgers
    raise AssertionError(f"no books for {wants}")


def _quarters(random: Random, wants: Wants) -> list[Period] | None:
    shares = random.randrange(
        *{"thousands": (18_000, 240_000), "tenths": (900, 9_500), "millions": (350, 1_600)}[wants.unit]
    )
    chronic = wants.loss and not wants.turns
    high = min(wants.high, 2.5) if chronic else wants.high
    usual = math.exp(random.uniform(math.log(wants.low), math.log(high)))
    margin = random.uniform(0.18, 0.3) if wants.lender or wants.realty else random.uniform(0.05, 0.17)
    losing = (0.4, 5.0) if wants.research else (4.0, 14.0)
    revenue = usual * shares * random.uniform(*losing) if chronic else usual * shares / margin
    season = [random.uniform(0.85, 1.15) for _ in range(4)]
    growth = random.uniform(-0.02, 0.035)
    gross = random.uniform(0.64, 0.74) if wants.lender or wants.realty else random.uniform(0.34, 0.62)
    tax_rate = random.uniform(0.004, 0.015) if wants.realty else random.uniform(0.17, 0.28)
    debt = (0.08, 0.13) if wants.realty else (0.006, 0.011)
    dilution = random.uniform(0.0005, 0.004) if wants.equal else random.uniform(0.012, 0.045)
    drift = random.uniform(-0.008, 0.006)
    goods = ("Inventory write-down", "Plant closure costs", GAIN)
    labels = [label for label in CHARGES if label != GAIN and not (wants.no_goods and label in goods)]
    random.shuffle(labels)
    labels = labels[: wants.charges]
    if not wants.loss and not wants.no_goods and random.random() < 0.2:
        labels.append(GAIN)
    weights = [random.uniform(0.03, 0.16) for _ in labels]
    made = []
    for back in range(QUARTERS):
        trend = (1 - growth) ** back * season[back % 4]
        factor = trend * random.uniform(0.8, 1.2)
        underlying = int(usual * shares * factor) * (-1 if chronic and random.random() < 0.93 else 1)
        if not wants.loss and random.random() < 0.06 and back:
            underlying = -underlying // 2
        size = abs(usual * shares)
        charges = {
            label: 0 if random.random() < 0.12 and back else max(1, int(size * weight * random.uniform(0.5, 1.6)))
            for label, weight in zip(labels, weights, strict=True)
        }
        if GAIN in charges:
            charges[GAIN] = -charges[GAIN] if back == 0 or random.random() < 0.3 else 0
        if wants.turns and (back == 0 or random.random() < 0.12):  # one large charge makes the loss
            charges[labels[0]] = int(size * random.uniform(1.6, 3.0))
        tax_effect = int(sum(charges.values()) * random.uniform(0.16, 0.24))
        count = int(shares * (1 - drift) ** back * random.uniform(0.997, 1.003))
        period = Period(shares=count, dilutive=int(count * dilution * random.uniform(0.9, 1.1)))
        period.charges, period.tax_effect = charges, tax_effect
        common = underlying - sum(charges.values()) + tax_effect
        period.preferred = int(size * 0.04) if wants.preferred else 0
        period.noncontrolling = int(size * random.uniform(0.01, 0.05)) if wants.minority else 0
        if wants.discontinued:
            period.discontinued = int(size * random.uniform(0.06, 0.3)) * random.choice((-1, -1, 1))
        if wants.extraordinary:
            period.extraordinary = (
                int(size * random.uniform(0.1, 0.35)) * random.choice((-1, 1))
                if back == 0 or (back == 4 and random.random() < 0.3)
                else 0
            )
        if wants.classes:
            period.class_b = int(count * 0.31)
        if wants.restated and 3 < back < 8:
            period.restated = int(size * random.uniform(0.06, 0.2)) * random.choice((-1, 1))
        continuing = common + period.preferred + period.noncontrolling
        period.net_income = continuing + period.discontinued + period.extraordinary
        period.tax = int(continuing * (tax_rate / (1 - tax_rate) if continuing > 0 else random.uniform(0.01, 0.12)))
        period.revenue = int(revenue * (1 - growth) ** back * season[back % 4] * random.uniform(0.96, 1.04))
        period.interest = max(1, int(period.revenue * random.uniform(*debt)))
        period.cost = int(period.revenue * (1 - gross) * random.uniform(0.98, 1.02))
        period.research = int(abs(underlying) * random.uniform(0.3, 0.5)) if wants.research else 0
        if wants.realty:
            period.depreciation = int(size * random.uniform(0.7, 1.1))
            period.property_gain = int(size * random.uniform(0.1, 0.5)) if random.random() < 0.5 else 0
            period.upkeep = int(size * random.uniform(0.1, 0.25))
        if period.selling - period.depreciation < period.revenue * 0.04:
            return None
        made.append(period)
    return made


def _distinct(ledger: Ledger, wants: Wants) -> bool:
    """The sign is as wanted, no figure is tiny, GAAP and adjusted differ, no other column gives one of its figures."""
    gold = {name: ledger.eps(name) for name in FIELDS}
    if (gold["diluted"] < 0) != wants.loss or (wants.turns and gold["adjusted"] <= 0):
        return False
    if not wants.turns and (gold["adjusted"] < 0) != wants.loss:
        return False
    if any(abs(value) < Decimal("0.02") for value in gold.values()):
        return False
    if wants.loss and ledger.period("q").common_continuing > 0:
        return False
    if not wants.loss and wants.equal != (gold["basic"] == gold["diluted"]):
        return False
    digits = {_digits(value) for value in gold.values()}
    if _digits(gold["adjusted"]) in (_digits(gold["basic"]), _digits(gold["diluted"])):
        return False
    others = [ledger.eps(name, key) for key in ledger.spans if key != "q" for name in FIELDS]
    for name in ("basic", "diluted"):
        if wants.discontinued:
            others += [ledger.eps(f"{name}_{part}") for part in ("continuing", "discontinued")]
        if wants.extraordinary:
            others += [ledger.eps(f"{name}_{part}") for part in ("continuing", "extraordinary")]
        if wants.restated:
            others.append(ledger.eps(f"{name}_reported", "py"))
        if ledger.ratio:
            other = "ordinary" if ledger.per == "ads" else "ads"
            others += [ledger.eps(name, key, other) for key in ("q", "py")]
        if wants.classes:
            others.append(ledger.eps(name, "q", "class_b" if ledger.per == "class_a" else "class_a"))
    return not any(_digits(value) in digits for value in others)


def _digits(value: Decimal) -> str:
    return str(abs(value)).replace(".", "").strip("0")
