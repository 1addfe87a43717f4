"""How a company writes figures and tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from random import Random

LAYOUTS = ("piped", "cells", "aligned", "dotted", "fenced")
PIPED = ("piped", "cells", "fenced")
CURRENCIES = {
    "$": "U.S. dollars",
    "€": "euros",
    "£": "pounds sterling",
    "C$": "Canadian dollars",
    "A$": "Australian dollars",
    "CHF ": "Swiss francs",
    "RMB ": "renminbi",
    "SEK ": "Swedish kronor",
    "¥": "Japanese yen",
}


@dataclass(frozen=True)
class Style:
    """`negative` is a pattern of sign and currency; `minor` writes per-share figures in cents (or pence).

    Layouts of tables: cells parted by "|"; the same with "$" and ")" in cells of their own, as HTML tables have them;
    columns of equal width; labels with leader dots; "|" around each row.
    """

    symbol: str = "$"
    negative: str = "({symbol}{number})"
    decimals: int = 2
    minor: str = ""
    leading_zero: bool = True
    layout: str = "piped"
    currency_in_rows: bool = True
    ifrs: bool = False
    unit: str = "thousands"
    nil: str = "\u2014"

    def bare(self, value: Decimal) -> str:
        """A per-share figure without sign and currency."""
        if self.minor:
            return f"{abs(value) * 100:.{max(self.decimals - 2, 0)}f}"
        written = f"{abs(value):,.{self.decimals}f}"
        return written if self.leading_zero else written.removeprefix("0")

    def cell(self, value: Decimal, *, first: bool = True) -> str:
        """A per-share figure in a table."""
        symbol = self.symbol if self.currency_in_rows and first and not self.minor else ""
        if value == 0:
            return self.nil
        return self._signed(value < 0, symbol, self.bare(value))

    def said(self, value: Decimal) -> str:
        """A per-share figure in a sentence, sign included."""
        if not self.minor:
            return self._signed(value < 0, self.symbol, self.bare(value))
        bare = f"{self.bare(value)}{'' if self.minor == 'p' else ' '}{self.minor}"
        return bare if value >= 0 else f"({bare})"

    def amount(self, units: int, *, symbol: bool = False) -> str:
        """An amount of money in a table, in the unit of its statement."""
        if units == 0:
            return self.nil
        number = f"{abs(units):,}" if self.unit != "tenths" else f"{Decimal(abs(units)) / 10:,.1f}"
        return self._signed(units < 0, self.symbol if symbol else "", number)

    def count(self, units: int) -> str:
        """A number of shares in the unit of the statement."""
        return f"{units:,}" if self.unit != "tenths" else f"{Decimal(units) / 10:,.1f}"

    def money(self, units: int) -> str:
        """An amount in a sentence, without its sign."""
        millions = Decimal(abs(units)) / {"thousands": 1000, "tenths": 10, "millions": 1}[self.unit]
        if millions >= 1000:
            return f"{self.symbol}{millions / 1000:,.2f} billion"
        return f"{self.symbol}{millions:,.{0 if self.unit == 'millions' else 1}f} million"

    @property
    def unit_words(self) -> str:
        return "thousands" if self.unit == "thousands" else "millions"

    def per_cent(self, now: Decimal | int, then: Decimal | int) -> str:
        """The change in a column of its own; "NM" where it would mean nothing."""
        if then <= 0 or now <= 0 or now > 3 * then:
            return "NM"
        change = (Decimal(now) / Decimal(then) - 1) * 100
        return f"{change:.1f}%" if change >= 0 else f"({-change:.1f})%"

    def _signed(self, below: bool, symbol: str, number: str) -> str:
        return self.negative.format(symbol=symbol, number=number) if below else f"{symbol}{number}"

    def table(self, rows: list[list[str]]) -> str:
        """Rows of cells, the first a label."""
        if self.layout == "piped":
            return "\n".join(" | ".join(row if any(row[1:]) else row[:1]).lstrip(" |") for row in rows)
        if self.layout == "fenced":
            return "\n".join(f"| {' | '.join(row if any(row[1:]) else row[:1])} |" for row in rows)
        if self.layout == "cells":
            return "\n".join(
                " | ".join(part for cell in (row if any(row[1:]) else row[:1]) for part in _parts(cell)) for row in rows
            )
        columns = max(len(row) for row in rows)
        padded = [row + [""] * (columns - len(row)) for row in rows]
        label = min(max(len(row[0]) for row in padded if any(row[1:])) + 2, 100)
        widths = [max(len(row[i]) for row in padded) + 2 for i in range(1, columns)]
        lines = []
        for row in padded:
            filled = bool(row[0]) and any(row[1:]) and self.layout == "dotted"
            head = f"{row[0]} ".ljust(label, "." if filled else " ") if row[0] else " " * label
            lines.append(head + "".join(cell.rjust(width) for cell, width in zip(row[1:], widths, strict=True)))
        return "\n".join(line.rstrip() for line in lines)


def _parts(cell: str) -> list[str]:
    """A figure's "$" and ")" as cells of their own."""
    found = re.fullmatch(r"(\$|€|£|C\$|A\$|¥|[A-Z]{3} )?(\(?[\d.,]+)(\)%?|%)?", cell)
    return [part.strip() for part in found.groups() if part] if found else [cell]


NEGATIVES = (
    "({number})",
    "({symbol}{number})",
    "{symbol}({number})",
    "\u2212{symbol}{number}",
    "-{symbol}{number}",
    "\u2013{symbol}{number}",
    "( {symbol}{number} )",
)


def draw_style(random: Random, tier: str, *, symbol: str = "", layout: str = "") -> Style:
    """What a company keeps to in all it publishes. A `symbol` or `layout` that is given stays."""
    plain, hard = tier == "plain", tier == "hard"
    others = ("€", "£", "C$", "A$", "CHF ", "SEK ", "€", "£")
    symbol = symbol or ("$" if random.random() < (0.86 if plain else 0.8) else random.choice(others))
    ifrs = symbol not in ("$", "C$")
    minor = ""
    if symbol == "£" and random.random() < 0.7:
        minor = random.choice(("pence", "p"))
    elif random.random() < (0.06 if not hard else 0.1) and symbol in ("$", "A$", "C$", "€"):
        minor = "cents"
    decimals = 3 if random.random() < (0.5 if minor else 0.05 if plain else 0.08) else 2
    layout = layout or random.choice(
        ("piped",) * 5 + ("aligned",) * 3 + (("fenced",) if plain else (*LAYOUTS[1:], "cells"))
    )
    negative = random.choice(NEGATIVES[:4] if plain else NEGATIVES)
    return Style(
        symbol=symbol,
        negative="{symbol}({number})" if layout == "cells" else negative,
        decimals=decimals,
        minor=minor,
        leading_zero=not (hard and random.random() < 0.12),
        layout=layout,
        currency_in_rows=random.random() < 0.75 or layout == "cells",
        ifrs=ifrs,
        unit=random.choice(("thousands",) * 5 + ("tenths",) * 2 + ("millions",) * 2) if not plain else "thousands",
        nil=random.choice(("\u2014", "-", "\u2013")),
    )
