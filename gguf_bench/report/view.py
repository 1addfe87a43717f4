"""Comparison and material -> what the page shows: titles, tables and charts, everything in words. Pure.

All text of models and documents is made printable here: what a terminal or a browser would obey is spelled out. The
template escapes markup.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gguf_bench.records import FIELDS, Comparison, Recommendation, Verdict
from gguf_bench.report import charts
from gguf_bench.report.charts import COLOURS, OTHER, SIZES, Bar, Dot, Line, Pair
from gguf_bench.report.gather import MOST_ANSWERS, Disagreement, Material
from gguf_bench.report.marking import Piece, marked
from gguf_bench.report.repeating import commands, facts, origin
from gguf_bench.terminal import in_words, percent, printable, size

Row = Mapping[str, Any]

MOST_DRAWN = 40
"""Contenders in a chart, the best ones, and pairs in the forest plot."""

MOST_LABELLED = 14
"""Up to so many points all have a label; of more, those on the front."""

MOST_CURVES = 6
VERDICTS_AT_ONCE = 10
MOST_VERDICTS = 400
MOST_TEXT = 12_000
"""Characters of a document, or of an answer, that are shown."""


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
    """A chart: the title says what is seen, `specs` has it in each of SIZES. `legend` is (CSS colour, word)."""

    id: str
    title: str
    caption: str
    specs: Mapping[str, charts.Spec]
    legend: Sequence[tuple[str, str]] = ()


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
    trade_offs: Sequence[Figure]
    curves: Sequence[Figure]
    curves_note: str
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


def page(comparison: Comparison, advice: Recommendation, material: Material, *, default_dataset: str) -> Page:
    """The page of `comparison`, whose strings are all printable."""
    board = [_printable_row(row) for row in comparison.leaderboard]
    found = _Found(comparison, material, board)
    return Page(
        title=_title(comparison),
        facts=list(_facts(found)),
        lead=list(_lead(found)),
        warnings=list(_warnings(found)),
        board=_board(found),
        board_note=_board_note(found),
        wrong=list(_wrong(found)),
        recommended=list(_recommended(advice, found)),
        remarks=[printable(f"{remark[:1].upper()}{remark[1:]}.") for remark in advice.remarks],
        candidates=_candidates(advice),
        **_verdicts(found),
        trade_offs=list(filter(None, (_size_figure(found), _speed_figure(found)))),
        **_curves(found),
        **_fields(found),
        parts=_parts(found),
        kinds=_kinds(found),
        forest=_forest(found),
        documents=[_document(each, found) for each in material.apart],
        documents_note=_documents_note(found),
        repeats=list(_repeats(found, default_dataset)),
        files=_files(found),
    )


def _printable_row(row: Row) -> dict[str, Any]:
    return {name: printable(value) if isinstance(value, str) else value for name, value in row.items()}


@dataclass(frozen=True, slots=True)
class _Found:
    """What all parts of the page are made from. `board` is the leaderboard with printable strings."""

    comparison: Comparison
    material: Material
    board: Sequence[Row]
    colours: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        models = list(dict.fromkeys(row["model"] for row in self.finished if not _is_baseline(row)))
        colours = {name: COLOURS[number] if number < len(COLOURS) else OTHER for number, name in enumerate(models)}
        object.__setattr__(self, "colours", colours)

    @property
    def run(self) -> Row:
        return self.comparison.run

    @property
    def finished(self) -> list[Row]:
        return [row for row in self.board if row["eps_score"] is not None]

    @property
    def models(self) -> list[Row]:
        """The finished contenders that are no baseline."""
        return [row for row in self.finished if not _is_baseline(row)]

    def short(self, row: Row) -> str:
        """A contender's name where all are of one model, which then need not be said each time."""
        if len(self.colours) == 1 and row["model"] in self.colours and row["quant"]:
            return str(row["name"]).removeprefix(f"{row['model']} ")
        return str(row["name"])


def _is_baseline(row: Row) -> bool:
    return str(row["model_group"]) == "baselines" and row["file_sha256"] is None


# ------------------------------------------------------------------------------------------------------------- the head


def _title(comparison: Comparison) -> str:
    names = [run["name"] or f"run {run['id']}" for run in comparison.runs]
    return printable(" and ".join(filter(None, [", ".join(names[:-1]), names[-1]])))


def _facts(found: _Found) -> Iterator[str]:
    run = found.run
    yield f"{run['n_documents']:,} documents of {printable(run['dataset'])}"
    if found.material.n_companies:
        yield f"{found.material.n_companies:,} companies"
    chars = run["excerpt_chars"]
    yield "whole texts" if chars is None else f"excerpts of {chars:,} characters"
    if run["settings"].get("grammar") is False:
        yield "free answers"
    cpu, gpus = run["machine"].get("cpu"), run["machine"].get("gpus") or []
    yield from (printable(name) for name in [*(gpu["description"] for gpu in gpus), cpu][:1] if name)
    yield str(run["created"])[:10]


def _lead(found: _Found) -> Iterator[str]:
    """The two or three sentences that somebody who reads nothing else should read."""
    models = found.models
    if not models:
        yield "No model has a score yet."
        return
    best = models[0]
    yield (
        f"{best['name']} scores highest{f' of {len(models)}' if len(models) > 1 else ''}: "
        f"{percent(best['eps_score'])} % of the figures right {_interval(best)}."
    )
    against = [pair for pair in found.comparison.verdicts if printable(pair.better) == best["name"]]
    others = [pair for pair in against if pair.worse in {row["name"] for row in models}]
    if others:
        shown = sum(pair.shown for pair in others)
        open_ = [printable(pair.worse) for pair in others if not pair.shown]
        which = "all" if shown > 1 and not open_ else f"{shown}"
        if shown:
            yield f"It is shown to be better than {which} of the {_count(len(others), 'other')}" + (
                "," if open_ else "."
            )
        if open_:
            names = (
                " and ".join(open_) if len(open_) < NAMED else f"{'the other ' if shown else 'any of the '}{len(open_)}"
            )
            n = f"at n = {best['n_documents']:,}"
            yield (
                f"but no difference from {names} can be shown {n}."
                if shown
                else f"No difference from {names} can be shown {n}."
            )
    above = [row for row in found.finished if _is_baseline(row) and row["eps_score"] > best["eps_score"]]
    if above:
        yield f"{above[0]['name']}, plain rules without a model, scores {percent(above[0]['eps_score'])}."


NAMED = 3
"""From so many contenders on it is only said how many they are."""


def _count(number: int, word: str) -> str:
    return word if number == 1 else f"{number} {word}s"


def _interval(row: Row) -> str:
    return f"[{percent(row['eps_score_low'])}, {percent(row['eps_score_high'])}]"


def _warnings(found: _Found) -> Iterator[str]:
    for run in found.comparison.runs:
        if run["status"] != "finished":
            yield f"Run {run['id']} is not finished ({run['status']}): what is shown is what is stored so far."
    failed = sum(row["status"] == "failed" for row in found.board)
    if failed:
        yield f"{failed} of {len(found.board)} contenders failed; they have no score, and are named below."
    yield from (printable(f"{remark[:1].upper()}{remark[1:]}.") for remark in found.comparison.remarks)


# ------------------------------------------------------------------------------------------------------ the leaderboard


def _board(found: _Found) -> TableView:
    has_price = any(row["usd_per_document"] is not None for row in found.board)
    has_gpu = any(row["peak_vram_bytes"] for row in found.board)
    has_unread, has_long = (any(row[name] for row in found.board) for name in ("unparseable", "over_context"))
    columns = [
        Column(title="Contender", is_text=True),
        Column(title="EPS score", about="the share of figures that are right, in %, and the 95 % interval"),
        Column(title="Exact", about="documents with all three figures right, in %"),
        Column(title="Size", about="the file"),
        Column(title="Bits/w", about="real bits per weight"),
        Column(title="Docs/min", about="documents a minute"),
        Column(title="Prompt t/s", about="prompt tokens a second"),
        Column(title="Answer t/s", about="answer tokens a second"),
        Column(title="Memory", about="peak memory"),
        *([Column(title="GPU memory", about="peak memory of GPUs")] if has_gpu else []),
        *([Column(title="$/1k docs", about="dollars for a thousand documents")] if has_price else []),
        *([Column(title="Unread", about="answers that could not be parsed, scored 0")] if has_unread else []),
        *([Column(title="Too long", about="documents over the context, scored 0")] if has_long else []),
    ]
    return TableView(
        columns=columns,
        rows=[
            TableRow(
                cells=[
                    Cell(text=row["name"], value=row["name"], note=_named(row)),
                    _score_cell(row),
                    _number(row["exact_match"], percent),
                    _number(row["size_bytes"], size),
                    _number(row["bits_per_weight"], lambda bits: f"{bits:.2f}"),
                    _number(row["documents_per_minute"], lambda speed: f"{speed:.1f}"),
                    _number(row["prompt_tokens_per_second"], lambda speed: f"{speed:.0f}"),
                    _number(row["generation_tokens_per_second"], lambda speed: f"{speed:.0f}"),
                    _number(row["peak_rss_bytes"], size),
                    *([_number(row["peak_vram_bytes"], size)] if has_gpu else []),
                    *([_number(row["usd_per_document"], lambda usd: f"{1000 * usd:.2f}")] if has_price else []),
                    *([_number(row["unparseable"], str)] if has_unread else []),
                    *([_number(row["over_context"], str)] if has_long else []),
                ],
                is_quiet=not row["asked"],
                is_failed=row["eps_score"] is None,
            )
            for row in found.board
        ],
    )


def _named(row: Row) -> str:
    shown = str(row["display_name"])
    return "" if shown == row["model"] else shown


def _number(value: Any, words: Callable[[Any], str]) -> Cell:
    return Cell(text="–") if value is None else Cell(text=words(value), value=float(value))


def _score_cell(row: Row) -> Cell:
    if row["eps_score"] is None:
        return Cell(text=row["status"], note="")
    low, score, high = (100 * row[name] for name in ("eps_score_low", "eps_score", "eps_score_high"))
    return Cell(text=f"{score:.1f}", value=score, bar=(low, score, high), note=f"{low:.1f} – {high:.1f}")


def _board_note(found: _Found) -> str:
    recall = found.comparison.excerpts
    kept = ""
    if recall is not None:
        kept = f" The excerpts keep {recall['gold_kept']:,} of {recall['gold_figures']:,} figures asked for."
    quiet = " What stands in every run by itself is set back." if any(not row["asked"] for row in found.board) else ""
    return (
        f"n = {found.run['n_documents']:,} documents of {found.material.n_companies:,} companies. Each asks for three "
        "figures: basic, diluted and adjusted EPS. The bar is the 95 % interval, clustered by company, on a scale from "
        f"0 to 100.{quiet}{kept}"
    )


def _wrong(found: _Found) -> Iterator[str]:
    """Who failed, and whose documents did not fit or could not be read."""
    for row in found.board:
        name, n = row["name"], row["n_documents"]
        if row["error"]:
            yield f"{name} {row['status']}: {row['error']}"
        elif row["eps_score"] is None:
            yield f"{name} has no score: it is {row['status']}"
        if row["over_context"]:
            yield f"{name}: {row['over_context']} of {n} documents do not fit its context; each scores 0"
        if row["unparseable"]:
            yield f"{name}: {row['unparseable']} of {n} answers could not be read; each scores 0"
        if row["schema_kept"] == 0:
            yield f"{name}: the server took a JSON schema for the answers, but did not keep to it"


# --------------------------------------------------------------------------------------------------------- the verdicts


def _verdicts(found: _Found) -> dict[str, Any]:
    pairs = found.comparison.verdicts
    said = [printable(in_words(pair)) for pair in pairs[:MOST_VERDICTS]]
    note = ""
    if pairs:
        note = (
            f"{_pairs(len(pairs))}, compared document by document. A difference counts as shown where its permutation "
            "p-value, adjusted by Holm's method over all pairs, is below 5 %."
        )
    return {
        "verdicts": said[:VERDICTS_AT_ONCE],
        "more_verdicts": said[VERDICTS_AT_ONCE:],
        "verdicts_left_out": max(0, len(pairs) - MOST_VERDICTS),
        "verdicts_note": note,
    }


def _recommended(advice: Recommendation, found: _Found) -> Iterator[tuple[str, str, str]]:
    """What to run: (in which words, its name, the command)."""
    points = 100 * advice.limits.margin
    within = f"file within {points:.4g} point{'' if points == 1 else 's'} of the best"
    named = {f"Smallest {within}": advice.smallest, f"Fastest {within}": advice.fastest}
    if advice.smallest == advice.fastest:
        named = {f"Smallest and fastest {within}": advice.smallest}
    if not advice.is_shown:
        named = {"File with the best score": advice.smallest}
    for words, name in named.items():
        if name is not None:
            yield words, printable(name), printable(_without_folders(advice.commands.get(name, ""), found))


def _without_folders(command: str, found: _Found) -> str:
    """The files that a command names, without the folders they lie in, which are nobody's business."""
    for file in found.material.files.values():
        path = Path(file["path"])
        command = command.replace(shlex.quote(str(path)), shlex.quote(path.name))
    return command


def _candidates(advice: Recommendation) -> TableView:
    """Everybody who might have been recommended, and why not."""
    columns = [
        Column(title="Contender", is_text=True),
        Column(title="EPS score", about="in %"),
        Column(title="Behind the best", about="points, with the 95 % interval of the difference"),
        Column(title="Size"),
        Column(title="Docs/min", about="documents a minute"),
        Column(title="In front", about="on the Pareto front of score against size or speed", is_text=True),
        Column(title="Why not", is_text=True),
    ]
    rows = []
    for each in advice.candidates:
        behind = Cell(text="the best" if each.name == advice.best else "–")
        if each.behind is not None and each.low is not None and each.high is not None:
            words = f"{100 * each.behind:.1f} [{_signed(each.low)}, {_signed(each.high)}]"
            behind = Cell(text=words, value=each.behind)
        fronts = [word for word, is_on in (("size", each.on_size_front), ("speed", each.on_speed_front)) if is_on]
        name = printable(each.name)
        rows.append(
            TableRow(
                cells=[
                    Cell(text=name, value=name),
                    _number(each.eps_score, percent),
                    behind,
                    _number(each.size_bytes, size),
                    _number(each.documents_per_minute, lambda speed: f"{speed:.1f}"),
                    Cell(text=", ".join(fronts)),
                    Cell(text=printable(each.reason) or "recommended"),
                ]
            )
        )
    return TableView(columns=columns, rows=rows)


def _pairs(number: int) -> str:
    return "One pair" if number == 1 else f"{number:,} pairs"


def _forest(found: _Found) -> Figure | None:
    everything = [pair for pair in found.comparison.verdicts if pair.n_companies > 1]
    if not everything:
        return None
    rows = {row["name"]: row for row in found.board}
    pairs, caption = everything, ""
    if len(everything) > MOST_DRAWN:
        best = found.models[0]["name"] if found.models else printable(everything[0].better)
        pairs = [pair for pair in everything if best in (printable(pair.better), printable(pair.worse))][:MOST_DRAWN]
        caption = (
            f" Drawn are {len(pairs)} pairs with {best}, the highest score; {len(everything) - len(pairs):,} others "
            "are left out, and stand in the words above."
        )
    shown = sum(pair.shown for pair in everything)
    drawn = [_pair(pair, rows, found) for pair in pairs]
    return _figure(
        "forest",
        f"{shown} of {len(everything):,} differences {'is' if shown == 1 else 'are'} shown",
        "Paired differences with their 95 % intervals, each taken alone; filled where the difference is shown among "
        f"all pairs, hollow where it may be chance. n = {_spread(pair.n_documents for pair in pairs)} "
        f"documents.{caption}",
        lambda width: charts.forest(drawn, width),
    )


def _spread(numbers: Iterable[int]) -> str:
    found = sorted(set(numbers))
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"


def _pair(pair: Verdict, rows: Mapping[str, Row], found: _Found) -> Pair:
    names = [found.short(rows[name]) if name in rows else name for name in map(printable, (pair.better, pair.worse))]
    numbers = f"{100 * pair.difference:.1f} [{_signed(pair.low)}, {_signed(pair.high)}]"
    return Pair(
        label=" − ".join(names),
        words=numbers,
        about=f"{' less '.join(names)}: {numbers} points, p = {_p(pair.p_value)} of {pair.n_pairs} pairs",
        difference=100 * pair.difference,
        low=100 * pair.low,
        high=100 * pair.high,
        is_shown=pair.shown,
    )


def _signed(share: float) -> str:
    return f"{100 * share:.1f}".replace("-", "−")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


# ----------------------------------------------------------------------------------------------------------- the charts


def _figure(
    identity: str,
    title: str,
    caption: str,
    draw: Callable[[charts.Size], charts.Spec],
    legend: Sequence[tuple[str, str]] = (),
) -> Figure:
    return Figure(
        id=identity, title=title, caption=caption, specs={each.name: draw(each) for each in SIZES}, legend=legend
    )


def _size_figure(found: _Found) -> Figure | None:
    return _trade_off(found, "size", "size_bytes", lambda row: row["size_bytes"] / 2**20, charts.size_axis, -1)


def _speed_figure(found: _Found) -> Figure | None:
    if not found.comparison.speeds_compare:
        return None
    name = "documents_per_minute"
    return _trade_off(found, "speed", name, lambda row: float(row[name]), charts.speed_axis, 1)


def _trade_off(
    found: _Found,
    identity: str,
    column: str,
    across: Callable[[Row], float],
    axis: Callable[[Sequence[Any]], charts.Axis],
    better: int,
) -> Figure | None:
    """Score against what it costs: `better` is 1 where more of it is better, -1 where less is."""
    rows = [row for row in found.models if row[column]]
    drawn = rows[:MOST_DRAWN]
    if not drawn:
        return None
    front = _front(drawn, column, better)
    points = [_dot(row, across(row), found, is_front=row in front, n=len(drawn)) for row in drawn]
    left_out = f" The {len(rows) - len(drawn)} lowest scores are left out." if len(rows) > len(drawn) else ""
    lines, beyond = _levels(found, points)
    what = {"size": "smaller", "speed": "faster"}[identity]
    return _figure(
        identity,
        _front_title(front, drawn, found, identity),
        f"{'File size' if identity == 'size' else 'Speed'} against EPS score with its 95 % interval, n = "
        f"{_spread(row['n_documents'] for row in drawn)} documents. Filled and joined: the Pareto front, where nothing "
        f"{what} scores as high.{left_out}{beyond}",
        lambda width: charts.dots(
            points,
            axis([row[column] for row in drawn]),
            lines,
            width,
            join="step-after" if better < 0 else "step-before",
        ),
        _legend(drawn, found),
    )


def _front(rows: Sequence[Row], column: str, better: int) -> list[Row]:
    """The rows that no other beats in one of score and `column` and equals in the other, best score first."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (-row["eps_score"], -better * row[column])):
        if not front or better * row[column] > better * front[-1][column]:
            front.append(row)
    return front


def _front_title(front: Sequence[Row], rows: Sequence[Row], found: _Found, identity: str) -> str:
    best, last = found.short(front[0]), found.short(front[-1])
    end = {"size": "smallest", "speed": "fastest"}[identity]
    if len(rows) == 1:
        return f"{best}: {percent(front[0]['eps_score'])}"
    if len(front) == 1:
        return f"{best} is the best and the {end}"
    lost = 100 * (front[0]["eps_score"] - front[-1]["eps_score"])
    if identity == "size":
        saved = front[0]["size_bytes"] - front[-1]["size_bytes"]
        return f"{last} is {size(saved)} smaller than {best} and scores {lost:.1f} points less"
    times = front[-1]["documents_per_minute"] / front[0]["documents_per_minute"]
    return f"{last} is {times:.1f} times as fast as {best} and scores {lost:.1f} points less"


def _dot(row: Row, x: float, found: _Found, *, is_front: bool, n: int, label: str | None = None) -> Dot:
    about = [f"{row['name']}: {percent(row['eps_score'])} {_interval(row)}"]
    if row["size_bytes"]:
        about.append(size(row["size_bytes"]))
    if row["bits_per_weight"]:
        about.append(f"{row['bits_per_weight']:.2f} bits per weight")
    if row["documents_per_minute"]:
        about.append(f"{row['documents_per_minute']:.1f} documents a minute")
    named = found.short(row) if label is None else label
    return Dot(
        name=row["name"],
        label=named if is_front or n <= MOST_LABELLED else "",
        about=", ".join(about),
        x=x,
        score=100 * row["eps_score"],
        low=100 * row["eps_score_low"],
        high=100 * row["eps_score_high"],
        colour=found.colours.get(row["model"], OTHER),
        is_front=is_front,
    )


def _levels(found: _Found, points: Sequence[Dot]) -> tuple[list[Line], str]:
    """The baselines as levels; those outside the chart as words."""
    low, high = charts.score_range(points)
    lines = [
        Line(f"{row['name']} {percent(row['eps_score'])}", 100 * row["eps_score"])
        for row in found.finished
        if _is_baseline(row)
    ]
    inside = [line for line in lines if low <= line.score <= high]
    outside = [line.label for line in lines if line not in inside]
    return inside, f" Beyond the scale: {', '.join(outside)}." if outside else ""


def _legend(rows: Sequence[Row], found: _Found) -> list[tuple[str, str]]:
    """Colours of models; nothing where there is one model alone."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    if len(models) < 2:
        return []
    named = [(found.colours[model], model) for model in models if found.colours[model] != OTHER]
    return [*named, (OTHER, "other models")] if len(named) < len(models) else named


def _curves(found: _Found) -> dict[str, Any]:
    """A curve for each base model that has a score at several quantizations."""
    by_model: dict[str, list[Row]] = {}
    for row in found.models:
        if row["bits_per_weight"]:
            by_model.setdefault(row["base_model"], []).append(row)
    several = {model: rows for model, rows in by_model.items() if len({row["bits_per_weight"] for row in rows}) > 1}
    left_out = list(several)[MOST_CURVES:]
    figures = [
        _curve(number, model, rows, found) for number, (model, rows) in enumerate(list(several.items())[:MOST_CURVES])
    ]
    note = f"Left out: the curves of {', '.join(left_out)}." if left_out else ""
    return {"curves": figures, "curves_note": note}


def _curve(number: int, model: str, rows: Sequence[Row], found: _Found) -> Figure:
    points = [
        _dot(row, row["bits_per_weight"], found, is_front=True, n=0, label=row["quant"] or row["name"]) for row in rows
    ]
    lines, beyond = _levels(found, points)
    most = max(rows, key=lambda row: row["bits_per_weight"])
    least = min(rows, key=lambda row: row["bits_per_weight"])
    lost = 100 * (most["eps_score"] - least["eps_score"])
    saved = 100 * (1 - least["size_bytes"] / most["size_bytes"])
    change = f"{abs(lost):.1f} points {'less' if lost >= 0 else 'more'}"
    return _figure(
        f"curve-{number}",
        f"{model}: {least['quant']} saves {saved:.0f} % of {most['quant']} and scores {change}",
        f"EPS score of {model} by the real bits per weight of its quantizations, with 95 % intervals, n = "
        f"{_spread(row['n_documents'] for row in rows)} documents.{beyond}",
        lambda width: charts.dots(
            points, charts.bits_axis([row["bits_per_weight"] for row in rows]), lines, width, join="linear"
        ),
    )


# ------------------------------------------------------------------------------------------------------ what went wrong


def _fields(found: _Found) -> dict[str, Any]:
    """The share right by field and by tier, as a table whose cells are warm where it is high."""
    tiers: dict[str, int] = {}
    for row in found.finished:
        for tier, of in row["tiers"].items():
            tiers[tier] = max(tiers.get(tier, 0), of["n_documents"])
    columns = [Column(title="Contender", is_text=True)]
    columns += [Column(title=name.capitalize(), about=f"{name} EPS right, in %") for name in FIELDS]
    columns += [
        Column(title=f"{printable(tier).capitalize() or 'No tier'}", about=f"EPS score of {n} documents, in %")
        for tier, n in tiers.items()
    ]
    rows = [
        TableRow(
            cells=[
                Cell(text=row["name"], value=row["name"]),
                *(_warm(row[f"{name}_accuracy"]) for name in FIELDS),
                *(_warm(row["tiers"][tier]["eps_score"] if tier in row["tiers"] else None) for tier in tiers),
            ],
            is_quiet=not row["asked"],
        )
        for row in found.finished
    ]
    counts = ", ".join(f"{printable(tier) or 'no tier'} {n:,}" for tier, n in tiers.items())
    by_tier = f" Documents by tier: {counts}." if tiers else ""
    return {
        "fields": TableView(columns=columns, rows=rows),
        "fields_title": _fields_title(found, tiers),
        "fields_note": f"Share of figures that are right by field{' and tier' if tiers else ''}, in %; n = "
        f"{found.run['n_documents']:,} documents.{by_tier}",
    }


def _fields_title(found: _Found, tiers: Mapping[str, int]) -> str:
    models = found.models
    if not models:
        return "By field"
    means = {name: sum(row[f"{name}_accuracy"] for row in models) / len(models) for name in FIELDS}
    best, worst = max(means, key=lambda name: means[name]), min(means, key=lambda name: means[name])
    if percent(means[best]) == percent(means[worst]):
        return "The models read all three figures alike"
    return (
        f"The models read {best} EPS best ({percent(means[best])} % on average), {worst} EPS worst "
        f"({percent(means[worst])} %)"
    )


def _warm(share: float | None) -> Cell:
    return Cell(text="–") if share is None else Cell(text=percent(share), value=share, heat=round(10 * share))


GROUPS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "right": ("var(--right)", ("right",)),
    "wrong period": ("var(--k1)", ("prior_period", "year_to_date")),
    "another EPS": ("var(--k2)", ("basic_diluted_swap", "gaap_adjusted_swap")),
    "another figure": ("var(--k3)", ("other_trap",)),
    "sign or scale": ("var(--k4)", ("sign", "scale")),
    "hallucinated": ("var(--k5)", ("hallucinated",)),
    "missed": ("var(--k6)", ("missed",)),
    "other": ("var(--k7)", ("other",)),
    "no answer": ("var(--k8)", ("unparseable", "over_context")),
}
"""The kinds of a figure, together where they are alike: name -> (colour, kinds)."""

KINDS = tuple(kind for _, kinds in GROUPS.values() for kind in kinds if kind != "right")


def _parts(found: _Found) -> Figure | None:
    drawn = found.finished[:MOST_DRAWN]
    bars = [_bar(row, found) for row in drawn]
    if not bars:
        return None
    used = [name for name in GROUPS if any(_grouped(row, found)[name] for row in drawn)]
    left_out = len(found.finished) - len(drawn)
    return _figure(
        "parts",
        _parts_title(found),
        f"Every figure asked for, three a document, n = {3 * found.run['n_documents']:,} a contender."
        + (f" The {left_out} lowest scores are left out." if left_out else ""),
        lambda width: charts.parts(bars, width),
        [(GROUPS[name][0], name) for name in used],
    )


def _grouped(row: Row, found: _Found) -> dict[str, int]:
    counts = found.material.kinds[row["contender_id"]]
    return {name: sum(counts.get(kind, 0) for kind in kinds) for name, (_, kinds) in GROUPS.items()}


def _bar(row: Row, found: _Found) -> Bar:
    groups = _grouped(row, found)
    total = sum(groups.values()) or 1
    return Bar(
        label=row["name"],
        words=f"{100 * groups['right'] / total:.1f} % right",
        parts=[
            (
                100 * count / total,
                GROUPS[name][0],
                f"{row['name']}: {name}, {count:,} of {total:,} figures ({100 * count / total:.1f} %)",
            )
            for name, count in groups.items()
        ],
    )


def _parts_title(found: _Found) -> str:
    counts: dict[str, int] = {}
    for row in found.models:
        for name, count in _grouped(row, found).items():
            counts[name] = counts.get(name, 0) + count
    right = counts.pop("right", 0)
    wrong = sum(counts.values())
    if not wrong:
        return "Every figure is right" if right else "How figures come out"
    most = max(counts, key=lambda name: counts[name])
    return f"The models' most common error is “{most}”: {counts[most]:,} of {wrong:,} wrong figures"


def _kinds(found: _Found) -> TableView:
    used = [kind for kind in KINDS if any(of.get(kind) for of in found.material.kinds.values())]
    columns = [Column(title="Contender", is_text=True), Column(title="right")]
    columns += [Column(title=kind.replace("_", " ")) for kind in used]
    rows = []
    for row in found.finished:
        counts = found.material.kinds[row["contender_id"]]
        wrong = sum(count for kind, count in counts.items() if kind != "right")
        cells = [Cell(text=row["name"], value=row["name"]), _number(counts.get("right", 0), lambda n: f"{n:,}")]
        for kind in used:
            count = counts.get(kind, 0)
            cells.append(
                Cell(text=f"{count:,}", value=count, heat=round(10 * count / wrong) if wrong and count else None)
            )
        rows.append(TableRow(cells=cells, is_quiet=not row["asked"]))
    return TableView(columns=columns, rows=rows)


# -------------------------------------------------------------------------------------------------------- the documents


def _document(apart: Disagreement, found: _Found) -> DocumentView:
    names = {row["contender_id"]: row["name"] for row in found.board}
    labels = apart.document
    gold: list[str | None] = [labels["gold"][name] for name in FIELDS] if labels else [None] * len(FIELDS)
    answers = [_answer(names[contender_id], row) for contender_id, row in apart.answers.items()]
    wrong = {
        row[name]
        for row in apart.answers.values()
        for name in FIELDS
        if row[name] is not None and row[f"kind_{name}"] != "right"
    }
    text, note = _cut(apart.text or "")
    if apart.text is None:
        note = "The text is not stored: the run was made by an earlier version."
    about = [labels[name] for name in ("company", "period", "tier") if labels[name]] if labels else []
    return DocumentView(
        id=printable(apart.document_id),
        about=printable(", ".join(about)),
        gold=["null" if figure is None else printable(figure) for figure in gold] if labels else ["?"] * len(FIELDS),
        pieces=marked(text, filter(None, gold), wrong) if text else [],
        text_note=note,
        answers=answers,
    )


def _cut(text: str) -> tuple[str, str]:
    """As much of `text` as is shown, and what is said of the rest."""
    left_out = len(text) - MOST_TEXT
    shown = printable(text[:MOST_TEXT])
    return shown, f"{left_out:,} characters more are not shown." if left_out > 0 else ""


def _answer(name: str, row: Row) -> AnswerView:
    if row["status"] != "answered":
        output, note = _cut(row["output"])
        said = {"unparseable": "could not be read", "over_context": "did not fit the context"}[row["status"]]
        return AnswerView(name=name, cells=[(said, "", False)], output=f"{output}{note and ' … '}{note}")
    cells = [(_figure_words(row[each]), row[f"kind_{each}"].replace("_", " ")) for each in FIELDS]
    return AnswerView(name=name, cells=[(figure, kind, kind == "right") for figure, kind in cells])


def _figure_words(value: float | None) -> str:
    """As the model wrote it, nearly: 12 for 12.0, and no exponent."""
    return "null" if value is None else re.sub(r"\.0$", "", f"{value:.12g}")


def _documents_note(found: _Found) -> str:
    n, shown = found.material.n_apart, len(found.material.apart)
    between = {row["contender_id"]: row["name"] for row in found.board}
    names = [between[contender_id] for contender_id in found.material.apart_between]
    if len(names) < 2:
        return "There is one contender alone."
    who = " and ".join(names) if len(names) == 2 else f"{len(names)} contenders"
    if not n:
        return f"There is no document that {who} read apart."
    some = f"Of {n:,} documents that {who} read apart, " if n > shown else ""
    which = f"the {shown} that part them most evenly are shown, {n - shown:,} left out" if n > shown else ""
    rest = f"{some}{which}" if some else f"{_pairs_of_documents(n)} that {who} read apart"
    answers = sum(row["eps_score"] is not None for row in found.board) - MOST_ANSWERS
    cut = f" Of answers, the {MOST_ANSWERS} best contenders' are shown, {answers} left out." if answers > 0 else ""
    return f"{rest}.{cut}"


def _pairs_of_documents(n: int) -> str:
    return "The one document" if n == 1 else f"All {n:,} documents"


# ------------------------------------------------------------------------------------------------------ to run it again


def _repeats(found: _Found, default_dataset: str) -> Iterator[tuple[str, list[str], list[tuple[str, str]]]]:
    contenders = list(found.material.contenders.values())
    for run in found.comparison.runs:
        own = sorted((row for row in contenders if row["run_id"] == run["id"]), key=lambda row: row["position"])
        lines = commands(run, own, found.material.files, default_dataset)
        told = [(printable(what), printable(which)) for what, which in facts(run)]
        description = printable(run["description"] or "")
        yield description, [printable(line) for line in lines], told


def _files(found: _Found) -> TableView:
    files = found.material.files
    rows = []
    for row in found.board:
        contender = found.material.contenders[row["contender_id"]]
        for column, word in (("file_sha256", ""), ("adapter_sha256", ", adapter")):
            file = files.get(contender[column] or "")
            if file is not None:
                rows.append(_file(f"{row['name']}{word}", file, files))
        if row["base_url"]:
            served = row["served_model"] or ""
            rows.append(
                TableRow(
                    cells=[
                        Cell(text=row["name"]),
                        Cell(text="–"),
                        Cell(text=f"{row['base_url']} {served}"),
                        Cell(text="–"),
                    ]
                )
            )
    columns = [
        Column(title="Contender", is_text=True),
        Column(title="Type", is_text=True),
        Column(title="Where it comes from", is_text=True),
        Column(title="sha256", is_text=True),
    ]
    return TableView(columns=columns, rows=rows)


def _file(name: str, file: Row, files: Mapping[str, Row]) -> TableRow:
    return TableRow(
        cells=[
            Cell(text=name),
            Cell(text=printable(f"{file['quant']}, {file['architecture']}")),
            Cell(text=printable(origin(file, files))),
            Cell(text=file["sha256"]),
        ]
    )
