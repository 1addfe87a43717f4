"""HTML to text that a model can read: a paragraph a line, a table row a line, its cells parted by " | ".

Made for press releases as filed with the SEC, where a figure is spread over cells ("$", "(0.57", ")"), tables lay out
paragraphs as well as figures, and inline XBRL carries a hidden part. lxml (libxml2) says what the tags mean, as events:
no tree is built, so neither depth nor size of what a stranger nested costs more than it is long.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gguf_bench.errors import DatasetError
from gguf_bench.filing_text.characters import CHARACTERS
from gguf_bench.filing_text.plain import plain_row
from gguf_bench.filing_text.rows import Cell, data_columns, is_figure, joined_row, merged, with_empty_places

MAX_ROWSPANS = 100
"""Cells reaching down into a row; with more, it is no table of figures, and none of them reaches."""
MAX_DEPTH = 1000
"""Elements open at once. libxml2 looks through all of them at an end tag that closes none."""
MAX_NESTED_TABLES = 30
"""A table further in is read as paragraphs: each level reads the lines of those within once more."""
PROSE_CHARACTERS = 300
"""A cell of several lines and so long holds paragraphs, not a label."""

_CHUNK_BYTES = 1 << 14  # what is still read after the reader has raised an error
_HIDDEN = {"head", "title", "script", "style", "noscript", "template", "ix:header", "svg", "object", "select", "iframe"}
_BLOCKS = {
    *("address", "article", "blockquote", "body", "caption", "center", "dd", "div", "dl", "dt", "fieldset", "figure"),
    *("footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "html", "main", "nav", "ol", "p", "page"),
    *("section", "table", "ul", "pre"),
}
_CELLS = {"td", "th"}
_DISPLAY_NONE = re.compile(r"display\s*:\s*none", re.IGNORECASE)
_RAISED = re.compile(r"vertical-align\s*:\s*(?:super|text-top)|(?<![-\w])top\s*:\s*-\d", re.IGNORECASE)
_INLINE = {"font", "span", "a", "b", "i"}
_NOTE_MARKS = re.compile(r"[(\[]*(?:[a-z]|\d{1,2})(?:[\s,()\[\]]+(?:[a-z]|\d{1,2}))*[)\]]*", re.IGNORECASE)
_NOTE_MARK = re.compile(r"\w+")
_SPACE = re.compile(r"\s+")


def html_text(html: str) -> str:
    """The text of an HTML page as a reader sees it, one table row a line.

    A row reads "Basic | $(0.57) | $0.12": what is spread over cells stands together, and a cell left empty between or
    before figures stays an empty place, so that the figures of a column keep their rank. What is hidden is left out;
    footnote marks are set in brackets ("EPS[1]"), lest they pass for digits. Takes time linear in the page.
    Raises DatasetError for a page nested deeper than any real one.
    """
    from lxml import etree

    reader = _Reader()
    # The encoding is given so that a <meta charset> inside cannot change it; huge_tree lifts libxml2's limits on depth.
    parser = etree.HTMLParser(target=reader, encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
    data = html.replace("\0", "").encode("utf-8", "replace")
    for start in range(0, len(data), _CHUNK_BYTES):
        parser.feed(data[start : start + _CHUNK_BYTES])
    try:
        parser.close()
    except etree.XMLSyntaxError:  # nothing in it
        return ""
    return reader.text()


class _Flow:
    """Lines as they come. None stands for the gap between two blocks, "" for a line that is left empty."""

    def __init__(self) -> None:
        self.lines: list[str | None] = []
        self._parts: list[str] = []

    def add(self, text: str) -> None:
        self._parts.append(text)

    def end_line(self, *, keep_empty: bool = False) -> None:
        line = _SPACE.sub(" ", "".join(self._parts)).strip()
        self._parts.clear()
        if line or keep_empty:
            self.lines.append(line)

    def end_block(self) -> None:
        self.end_line()
        if self.lines and self.lines[-1] is not None:
            self.lines.append(None)


@dataclass(slots=True)
class _Table:
    rows: list[list[Cell]] = field(default_factory=list)
    row_is_open: bool = False
    span: tuple[int, int] = (1, 1)
    # (start, end, rows still to come) of cells that reach down from the rows above, left to right
    reaching: list[tuple[int, int, int]] = field(default_factory=list)
    opened: list[tuple[int, int, int]] = field(default_factory=list)

    def open_row(self) -> None:
        self.close_row()
        self.rows.append([])
        self.row_is_open = True

    def close_row(self) -> None:
        if self.row_is_open:
            left = [(start, end, rows - 1) for start, end, rows in self.reaching if rows > 1]
            reaching = sorted(left + self.opened)
            self.reaching = reaching if len(reaching) <= MAX_ROWSPANS else []
            self.opened = []
            self.row_is_open = False

    def add(self, lines: list[str]) -> None:
        if not self.row_is_open:
            self.open_row()
        columns, rows = self.span
        row = self.rows[-1]
        start = row[-1].end if row else 0
        for taken_start, taken_end, _ in self.reaching:
            if start < taken_end and taken_start < start + columns:
                start = taken_end
        row.append(Cell(start, start + columns, lines))
        if rows > 1:
            self.opened.append((start, start + columns, rows - 1))


class _Reader:
    """Takes lxml's events, and keeps the text."""

    def __init__(self) -> None:
        self._flows = [_Flow()]
        self._tables: list[_Table | None] = [None]  # the innermost table open in each flow
        self._outer: list[_Table | None] = []
        self._hidden = 0
        self._pre = 0
        self._raised: list[str] | None = None
        self._open: list[str] = []  # what the end of each open element calls for

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if self._hidden:
            self._hidden += 1
            return
        style = attributes.get("style", "") if attributes else ""
        if tag in _HIDDEN or (attributes and "hidden" in attributes) or (style and _DISPLAY_NONE.search(style)):
            self._hidden = 1
            return
        if self._raised is None and (tag == "sup" or (tag in _INLINE and style and _RAISED.search(style))):
            self._raised = []
            self._open.append("raised")
            return
        if self._raised is not None and (tag in _BLOCKS or tag in _CELLS or tag in ("br", "tr", "li")):
            self._end_raised()  # a <sup> that nobody closed
        flow = self._flows[-1]
        end = ""
        if tag == "br":
            flow.end_line(keep_empty=True)
        elif tag == "table" and len(self._outer) < MAX_NESTED_TABLES:
            flow.end_block()
            self._outer.append(self._tables[-1])
            self._tables[-1] = _Table()
            end = "table"
        elif (tag == "tr" or tag in _CELLS) and (table := self._tables[-1]) is not None:
            if tag == "tr":
                table.open_row()
                end = "row"
            else:
                table.span = (_span(attributes, "colspan"), _span(attributes, "rowspan"))
                self._flows.append(_Flow())
                self._tables.append(None)
                end = "cell"
        elif tag == "li":
            flow.end_line()
            flow.add("• ")
            end = "line"
        elif tag in _BLOCKS or tag == "tr":
            flow.end_block()
            end = "block"
            if tag == "pre":
                self._pre += 1
                end = "pre"
        elif tag in _CELLS:
            flow.add(" ")
        self._open.append(end)
        if len(self._open) > MAX_DEPTH:
            raise DatasetError(f"tags nested more than {MAX_DEPTH} deep; no page has that")

    def end(self, tag: str) -> None:
        if self._hidden:
            self._hidden -= 1
            return
        end = self._open.pop() if self._open else ""
        if end == "raised":
            if self._raised is not None:
                self._end_raised()
        elif end == "cell":
            self._end_cell()
        elif end == "row":
            if (table := self._tables[-1]) is not None:
                table.close_row()
        elif end == "table":
            self._end_table()
        elif end == "line":
            self._flows[-1].end_line()
        elif end:
            self._flows[-1].end_block()
            self._pre -= end == "pre"

    def data(self, text: str) -> None:
        if self._hidden:
            return
        text = text.translate(CHARACTERS)
        if self._raised is not None:
            self._raised.append(text)
        elif self._pre:
            first, *others = text.split("\n")
            flow = self._flows[-1]
            flow.add(first)
            for line in others:
                self._end_pre_line()
                flow.add(line)
        else:
            self._flows[-1].add(text)

    def close(self) -> None:
        pass

    def text(self) -> str:
        """All lines; one empty line between blocks."""
        while len(self._flows) > 1:
            self._end_cell()
        self._end_table()
        flow = self._flows[0]
        flow.end_line()
        return "\n".join(_single_gaps(flow.lines)).strip("\n")

    def _end_pre_line(self) -> None:
        flow = self._flows[-1]
        line = plain_row("".join(flow._parts))
        flow._parts[:] = [line]
        flow.end_line(keep_empty=True)

    def _end_raised(self) -> None:
        text = _SPACE.sub(" ", "".join(self._raised or []))
        self._raised = None
        if len(text) < 20 and _NOTE_MARKS.fullmatch(text.strip()):
            text = f"[{','.join(_NOTE_MARK.findall(text))}]"
        self._flows[-1].add(text)

    def _end_cell(self) -> None:
        self._end_table()
        flow = self._flows.pop()
        self._tables.pop()
        flow.end_line()
        lines = ["" if line is None else line for line in flow.lines]
        while lines and not lines[-1]:
            lines.pop()
        if (table := self._tables[-1]) is not None:
            table.add(lines)

    def _end_table(self) -> None:
        """Put the lines of the innermost table into the flow that it stands in."""
        table = self._tables[-1]
        if table is None:
            return
        table.close_row()
        self._tables[-1] = self._outer.pop()
        flow = self._flows[-1]
        flow.lines.extend(_table_lines(table.rows))
        flow.end_block()


def _table_lines(rows: list[list[Cell]]) -> list[str | None]:
    columns = data_columns(rows)
    lines: list[str | None] = []
    for row in rows:
        lines.extend(_row_lines(row, columns))
    return lines


def _row_lines(row: list[Cell], columns: list[tuple[int, int]]) -> list[str | None]:
    """The line of a row; several where its cells hold paragraphs, tables, or one figure above the other."""
    filled = [cell for cell in row if any(cell.lines)]
    several = [cell for cell in filled if len(cell.lines) > 1]
    if not several:
        return [" | ".join(with_empty_places(merged(filled), columns))] if filled else []
    if len(filled) == 1:
        (cell,) = filled
        if columns and len(cell.text) <= PROSE_CHARACTERS and not any("|" in line for line in cell.lines):
            return [cell.text]  # a label or a head, broken to fit its column
        return [line or None for line in cell.lines]
    depth = {len(cell.lines) for cell in several}
    if len(depth) == 1 and several[0] is filled[0] and any(_is_stack(cell) for cell in several):
        (n_lines,) = depth
        return [
            joined_row([cell.lines[i] if i < len(cell.lines) else "" for cell in filled]) or None
            for i in range(n_lines)
        ]
    if any(len(cell.text) > PROSE_CHARACTERS or sum("|" in line for line in cell.lines) > 1 for cell in several):
        return [line or None for cell in filled for line in (*cell.lines, "")]
    cells = merged([Cell(cell.start, cell.end, [cell.text]) for cell in filled])
    return [" | ".join(with_empty_places(cells, columns))]


def _is_stack(cell: Cell) -> bool:
    """Whether a cell holds figures one above the other."""
    return sum(is_figure(line) for line in cell.lines if line) > 1


def _single_gaps(lines: list[str | None]) -> list[str]:
    kept: list[str] = []
    for line in lines:
        text = line or ""
        if text or (kept and kept[-1]):
            kept.append(text)
    return kept


def _span(attributes: Mapping[str, str], name: str) -> int:
    given = attributes.get(name)
    found = re.match(r"\s*(\d{1,9})", given) if given else None
    return max(1, int(found[1])) if found else 1
