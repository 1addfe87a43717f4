"""Plain text, in which columns are made of spaces: a table row gets its cells parted by " | ", all else stays."""

from __future__ import annotations

import re

from gguf_bench.filing_text.rows import is_figure, joined_row

_LEADERS = re.compile(r"(?:\s?\.){4,}\s?|(?<=\s)_{3,}(?=\s)")
_GAP = re.compile(r"\s{2,}|\t")
_WIDE_GAP = re.compile(r"\s{3,}|\t")
_RULE = re.compile(r"[\s=_\-–—|+]*")


def plain_text(text: str) -> str:
    """The text with its table rows as "Basic | $(0.57) | $0.12"; rulers ("-----  -----") are left out.

    A line is a row when all behind its first cell are figures, or when gaps of three spaces and more part it into
    short cells, as the heads of columns are. Other lines keep their words, with single spaces.
    """
    lines: list[str] = []
    for line in text.split("\n"):
        row = plain_row(line)
        if row or (lines and lines[-1] and not line.strip()):
            lines.append(row)
    return "\n".join(lines).strip("\n")


def plain_row(line: str) -> str:
    """One line of `plain_text`; "" for an empty one and for a ruler."""
    line = line.replace("\xa0", " ").strip()
    if _RULE.fullmatch(line):
        return ""
    if "  " not in line and "\t" not in line:
        return line
    leaders = _LEADERS.sub("   ", line)
    cells = [cell.strip() for cell in _GAP.split(leaders) if cell.strip()]
    row = joined_row(cells).split(" | ")
    if len(row) > 1 and all(is_figure(cell) for cell in row[1:]):
        return " | ".join(row)
    wide = [cell.strip() for cell in _WIDE_GAP.split(leaders) if cell.strip()]
    if len(wide) > 1 and max(map(len, wide)) < 60:
        return joined_row(wide)
    return " ".join(line.split())
