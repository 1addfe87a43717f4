"""Where the figures that were meant, and those that were answered, stand in a document. Pure: text in, pieces out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import NamedTuple


class Piece(NamedTuple):
    """A stretch of text; `mark` is "gold" for a figure that was asked for, "wrong" for one that was answered."""

    text: str
    mark: str


def marked(text: str, gold: Iterable[str], wrong: Iterable[float]) -> list[Piece]:
    """`text` in pieces, which together are `text`. A figure is found by its digits, whatever stands around them."""
    meant = {form for figure in gold if (form := _form(figure))}
    other = {form for figure in wrong if (form := _form(str(figure)))} - meant
    if not meant and not other:
        return [Piece(text, "")]
    either = "|".join(
        f"(?P<{mark}>{'|'.join(sorted(forms))})" for mark, forms in (("gold", meant), ("wrong", other)) if forms
    )
    pieces, end = [], 0
    for found in re.finditer(rf"(?<![\d.,])(?:{either})(?!\d|[.,]\d)", text):
        pieces += [Piece(text[end : found.start()], ""), Piece(found[0], str(found.lastgroup))]
        end = found.end()
    pieces.append(Piece(text[end:], ""))
    return [piece for piece in pieces if piece.text]


def _form(figure: str) -> str | None:
    """A pattern for the digits of a figure: '0.5' is printed as .5, 0.5, 0.50 and 50 cents. None for zero."""
    try:
        number = abs(Decimal(figure))
    except InvalidOperation:
        return None
    if not number.is_finite() or not number:
        return None
    whole, _, decimals = f"{number:f}".partition(".")
    decimals = decimals.rstrip("0")
    start = "0?" if whole == "0" else whole
    printed = rf"{start}\.{decimals}0*" if decimals else rf"{start}(?:\.0+)?"
    cents = f"{(100 * number).normalize():f}"
    return rf"{printed}|{re.escape(cents)}(?:\.0+)?(?=\s*(?:cents?\b|¢|pence\b|cps\b))"
