"""What a page holds: plain strings, numbers and charts, which the template writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gguf_bench.report import charts
from gguf_bench.report.marking import Piece
from gguf_bench.report.strips import Strips


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of a table: what stands in it, what it is sorted by (None: last), how warm it is (0 … 10)."""

    text: str
    value: float | str | None = None
    heat: int | None = None
    bar: tuple[float, float, float] | None = None  # low, value, high, in percent
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    title: str
    about: str = ""
    is_text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A row of a table; one that nobody asked for is set back."""

    cells: Sequence[Cell]
    is_quiet: bool = False
    is_failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TableView:
    columns: Sequence[Column]
    rows: Sequence[TableRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart: the title says what is seen, `specs` has it in SIZES, or in "narrow" alone; or it is one of `strips`.

    `legend` is (CSS colour, word).
    """

    id: str
    title: str
    caption: str
    specs: Mapping[str, charts.Spec] = field(default_factory=dict)
    strips: Strips | None = None
    legend: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plots:
    """The charts that have `specs`."""

    trade_offs: Sequence[Figure]
    curves: Sequence[Figure]
    curves_note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerView:
    name: str
    cells: Sequence[tuple[str, str, bool]]  # figure, kind, whether right
    output: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentView:
    id: str
    about: str
    gold: Sequence[str]
    pieces: Sequence[Piece]
    text_note: str
    answers: Sequence[AnswerView]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Everything the template writes; all strings are plain text."""

    title: str
    facts: Sequence[str]
    lead: Sequence[str]
    warnings: Sequence[str]
    board: TableView
    board_note: str
    wrong: Sequence[str]
    recommended: Sequence[tuple[str, str, str]]
    remarks: Sequence[str]
    candidates: TableView
    verdicts: Sequence[str]
    more_verdicts: Sequence[str]
    verdicts_left_out: int
    verdicts_note: str
    plots: Plots
    fields: TableView
    fields_title: str
    fields_note: str
    parts: Figure | None
    kinds: TableView
    forest: Figure | None
    documents: Sequence[DocumentView]
    documents_note: str
    repeats: Sequence[tuple[str, Sequence[str], Sequence[tuple[str, str]]]]
    files: TableView
