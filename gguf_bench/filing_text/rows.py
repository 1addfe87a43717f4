"""Rows of figures: cells that belong together put together, and the row as one line."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_DATA_COLUMNS = 40
"""Columns of figures in a table whose empty cells are shown; with more it is a layout."""

_CURRENCY = r"(?:[A-Z]{0,3}[$€£¥]|USD|EUR|GBP|CHF|RMB|CNY|JPY|Rs\.?)"
_OPENING = re.compile(rf"\(?{_CURRENCY}?\(?|{_CURRENCY}\s\(")
_CLOSING = re.compile(r"\)|\)?\s?(?:%|¢|pts?\.?|bps|bp|ppts?|x)\)?|\)\s?(?:%|¢)|\[[^\]]{1,8}\]|\*{1,3}|†|‡")
_DASH = r"[-—–−]{1,3}"
_FIGURE = re.compile(
    rf"\(?{_CURRENCY}?\s?(?:\(?\s?[-−–]?\s?{_CURRENCY}?\s?[\d,]*\.?\d+|{_DASH})\s?(?:%|¢|x|cents)?\s?\)?\s?(?:%|¢)?"
    r"(?:\s?(?:\[[^\]]{1,8}\]|\*{1,3}))?"
    r"|(?:n\.?[am]\.?|n/[am])\*?|\*{1,3}",
    re.IGNORECASE,
)
_MAX_FIGURE_CHARACTERS = 40
_YEAR = re.compile(r"(?:19|20)\d\d")
_BULLET = re.compile(r"[•·▪■●◦‣○§➢❖✓*o–—-]|\(?\d{1,2}[.)]|\[[^\]]{1,8}\]")


@dataclass(slots=True)
class Cell:
    """A cell from grid column `start` up to `end`, with its lines."""

    start: int
    end: int
    lines: list[str]

    @property
    def text(self) -> str:
        return " ".join(filter(None, self.lines))


def joined_row(cells: list[str]) -> str:
    """The cells of a row, left to right, as one line: what belongs to a figure stands with it, empty cells go."""
    return " | ".join(cell.text for cell in merged([Cell(i, i + 1, [text]) for i, text in enumerate(cells)]))


def is_figure(text: str) -> bool:
    """Whether the text is one printed amount, such as "$(0.57)", "12.5%", "1,234" or a dash for nought."""
    return len(text) <= _MAX_FIGURE_CHARACTERS and bool(_FIGURE.fullmatch(text))


def merged(cells: list[Cell]) -> list[Cell]:
    """The filled cells of a row, with "$", "(", ")" and "%" put to the figure they belong to."""
    found: list[Cell] = []
    opening: Cell | None = None
    for cell in cells:
        text = cell.text
        if not text:
            continue
        if opening is not None:
            if is_figure(opening.text + text):
                text = opening.text + text
            else:
                found.append(opening)
            opening = None
        if _OPENING.fullmatch(text):
            opening = Cell(cell.start, cell.end, [text])
        elif found and _CLOSING.fullmatch(text) and _takes(found[-1].text, text):
            last = found[-1]
            found[-1] = Cell(last.start, cell.end, [_tight(last.text + text)])
        elif len(found) == 1 and _BULLET.fullmatch(found[0].text) and not is_figure(text):
            found[0] = Cell(found[0].start, cell.end, [f"{found[0].text} {text}"])
        else:
            found.append(Cell(cell.start, cell.end, [_tight(text)]))
    if opening is not None:
        found.append(opening)
    return found


def _takes(text: str, closing: str) -> bool:
    """Whether `closing` ends the figure `text`: a parenthesis only where one is open."""
    if closing.startswith(")") and text.count("(") <= text.count(")"):
        return False
    return is_figure(text) or (closing.startswith(("[", "*")) and len(text) < 200)


def _tight(text: str) -> str:
    """A figure without the spaces in it; any other text as it is."""
    return re.sub(r"(?<=[$€£¥(−-])\s|\s(?=[)%¢])", "", text) if is_figure(text) else text


def data_columns(rows: list[list[Cell]]) -> list[tuple[int, int]]:
    """The stretches of grid columns that figures stand in, left to right; none where there are too many for a table."""
    places = {
        (cell.start, cell.end)
        for row in rows
        for cell in row
        if len(cell.lines) == 1 and len(cell.lines[0]) < 40 and _is_amount(cell.lines[0])
    }
    columns: list[tuple[int, int]] = []
    for start, end in sorted(places):
        if columns and start < columns[-1][1]:
            columns[-1] = (columns[-1][0], max(end, columns[-1][1]))
        else:
            columns.append((start, end))
            if len(columns) > MAX_DATA_COLUMNS:
                return []
    return columns


def _is_amount(text: str) -> bool:
    return is_figure(text) and not _YEAR.fullmatch(text)


def with_empty_places(cells: list[Cell], columns: list[tuple[int, int]]) -> list[str]:
    """The cells' texts, with "" for a column of figures that is left empty between the label and the last figure."""
    if len(cells) < 2 or not any(_is_amount(cell.text) for cell in cells):
        return [cell.text for cell in cells]
    texts = [cells[0].text]
    reached = cells[0].end
    remaining = [column for column in columns if column[0] >= reached]
    for cell in cells[1:]:
        texts.extend("" for start, end in remaining if reached <= start and end <= cell.start)
        texts.append(cell.text)
        reached = cell.end
    return texts
