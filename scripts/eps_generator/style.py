"""How a company writes figures and tables."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from random import Random


@dataclass(frozen=True)
class Style:
    """`negative` is a pattern of sign and currency; `minor` writes per-share figures in cents (or pence)."""

    symbol: str
    negative: str
    decimals: int = 2
    minor: str = ""
    leading_zero: bool = True
    piped: bool = True
    currency_in_rows: bool = True
    ifrs: bool = False

    def _bare(self, value: Decimal) -> str:
        if self.minor:
            shifted = abs(value) * 100
            return f"{shifted:.{max(self.decimals - 2, 0)}f}"
        written = f"{abs(value):.{self.decimals}f}"
        return written if self.leading_zero else written.removeprefix("0")

    def cell(self, value: Decimal, *, first: bool = True) -> str:
        """A per-share figure in a table."""
        symbol = self.symbol if self.currency_in_rows and first and not self.minor else ""
        if value >= 0:
            return f"{symbol}{self._bare(value)}"
        return self.negative.format(symbol=symbol, number=self._bare(value))

    def said(self, value: Decimal) -> str:
        """A per-share figure in a sentence, sign included."""
        if self.minor:
            bare = f"{self._bare(value)} {self.minor}"
            return bare if value >= 0 else f"({bare})"
        if value >= 0:
            return f"{self.symbol}{self._bare(value)}"
        return self.negative.format(symbol=self.symbol, number=self._bare(value))

    def size(self, value: Decimal) -> str:
        """The same without its sign, for "a loss of ..."."""
        return self.said(abs(value))

    def amount(self, thousands: int) -> str:
        """An amount of money in a table, in thousands."""
        return f"{thousands:,}" if thousands >= 0 else self.negative.format(symbol="", number=f"{-thousands:,}")

    def millions(self, thousands: int) -> str:
        value = Decimal(abs(thousands)) / 1000
        return f"{self.symbol}{value:,.1f} million"

    def table(self, rows: list[list[str]]) -> str:
        """Rows of cells, the first a label: with pipes, or in columns of equal width."""
        if self.piped:
            return "\n".join(" | ".join(row if any(row[1:]) else row[:1]) for row in rows)
        columns = max(len(row) for row in rows)
        padded = [row + [""] * (columns - len(row)) for row in rows]
        label = max(len(row[0]) for row in padded if row[1]) + 2
        widths = [max(len(row[i]) for row in padded) + 3 for i in range(1, columns)]
        lines = [
            row[0].ljust(label) + "".join(cell.rjust(width) for cell, width in zip(row[1:], widths, strict=True))
            for row in padded
        ]
        return "\n".join(line.rstrip() for line in lines)


NEGATIVES = (
    "({number})",
    "{symbol}({number})",
    "({symbol}{number})",
    "\u2212{symbol}{number}",
    "-{symbol}{number}",
    "\u2013{symbol}{number}",
)


def draw_style(random: Random, *, hard: bool) -> Style:
    symbol = random.choice(("$",) * 7 + ("€", "£", "C$", "CHF ")) if hard else random.choice(("$",) * 9 + ("€",))
    ifrs = symbol in ("€", "£", "CHF ")
    minor = ""
    if hard and random.random() < 0.2:
        minor = {"£": "pence"}.get(symbol, "cents")
    elif not hard and symbol == "$" and random.random() < 0.08:
        minor = "cents"
    return Style(
        symbol=symbol,
        negative=random.choice(NEGATIVES if hard else NEGATIVES[:4]),
        decimals=3 if (minor and random.random() < 0.6) or (hard and random.random() < 0.12) else 2,
        minor=minor,
        leading_zero=not (hard and random.random() < 0.12),
        piped=random.random() < 0.7,
        currency_in_rows=random.random() < 0.75,
        ifrs=ifrs,
    )
