"""Figures, verdicts and names in the words of tables and pages. It imports next to nothing."""

from __future__ import annotations

import unicodedata

from gguf_bench.records import Verdict
from gguf_bench.units import size_in_words


def printable(text: str) -> str:
    """`text` with what a terminal would obey (escape sequences, a change of direction) spelled out, as \\x1b."""
    if text.isprintable():
        return text
    return "".join(character if _is_harmless(character) else _spelled_out(character) for character in text)


def _is_harmless(character: str) -> bool:
    return character.isprintable() or character in "\n\t" or unicodedata.category(character) == "Zs"


def _spelled_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def size(size_bytes: float | None) -> str:
    """'78 MiB', '4.1 GiB'."""
    return "–" if size_bytes is None else size_in_words(size_bytes)


def in_words(pair: Verdict) -> str:
    """What a pair shows, in words; points are hundredths of the score."""
    both = f"{pair.better} and {pair.worse}"
    if pair.n_companies < 2:
        return f"{both} share {pair.n_documents} documents of {pair.n_companies} companies: nothing can be said"
    if pair.shown:
        return f"{pair.better} is better than {pair.worse} by {_points(pair)}"
    chance = f", which may be chance among {pair.n_pairs} pairs" if pair.low > 0 else ""
    return (
        f"{both}: no difference can be shown at n = {pair.n_documents} ({_points(pair)}{chance}); "
        f"differences under {100 * pair.detectable:.1f} points would not be seen"
    )


def _points(pair: Verdict) -> str:
    """As many decimals as keep an interval above 0 from looking as if it touched it."""
    digits = next((digits for digits in (1, 2) if not 0 < 100 * pair.low < 10**-digits), 3)
    return f"{100 * pair.difference:.{digits}f} points [{100 * pair.low:.{digits}f}, {100 * pair.high:.{digits}f}]"
