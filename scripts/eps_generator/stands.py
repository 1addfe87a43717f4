"""Whether a text prints a figure."""

from __future__ import annotations

import re
from decimal import Decimal


def stands(value: Decimal, text: str) -> bool:
    """Whether `text` prints the figure, in units or in cents, with any sign."""
    decimals = max(-int(value.as_tuple().exponent) - 2, 0)
    forms = {
        f"{abs(value):f}",
        f"{abs(value):,f}",
        f"{abs(value):f}".removeprefix("0"),
        f"{abs(value) * 100:.{decimals}f}",
    }
    printed = "|".join(re.escape(form) for form in sorted(forms))
    return re.search(rf"(?<![\d.,])(?:{printed})(?![\d]|[.,]\d|\s?%)", text) is not None
