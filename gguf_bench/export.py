"""EXPORT: a run as other programs take it: its answers as rows of a table, its leaderboard and verdicts as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gguf_bench.records import FIELDS, Comparison
from gguf_bench.wording import in_words, percent, printable, size

Row = Mapping[str, Any]

COLUMNS = (
    *("run_id", "run_name", "contender_id", "contender", "model", "quant"),
    *("document_id", "company", "period", "tier", "status"),
    *(f"{what}{field}" for field in FIELDS for what in ("gold_", "", "kind_")),
    *("score", "prompt_tokens", "decoded_prompt_tokens", "generated_tokens", "sampled_tokens"),
    *("prompt_seconds", "generation_seconds", "seconds", "prompt_sha256", "output"),
)
"""Of an answer. `score` is the share of the three kinds that are "right"."""

FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
"""How a cell begins that a spreadsheet may compute instead of showing it, full-width signs included."""
NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def answer_rows(answers: Iterable[Row], *, for_spreadsheets: bool) -> Iterator[list[Any]]:
    """A row of COLUMNS for each of `answers`, rows of `Store.each_answer`, as they come.

    A cell that a spreadsheet would take for a formula begins with an apostrophe where it is `for_spreadsheets`: what
    models and documents say is untrusted. Numbers, negative ones included, stay numbers.
    """
    for answer in answers:
        row = {**answer, "contender": " ".join(filter(None, [answer["model"], answer["quant"]]))}
        cells = [row[column] for column in COLUMNS]
        yield [as_text(cell) for cell in cells] if for_spreadsheets else cells


def as_text(cell: Any) -> Any:
    """`cell`, with an apostrophe before it where a spreadsheet would compute it."""
    is_formula = isinstance(cell, str) and FORMULA.match(cell) and not NUMBER.fullmatch(cell)
    return f"'{cell}" if is_formula else cell


def markdown(comparison: Comparison) -> str:
    """The leaderboard as a table and the verdicts as a list, to be pasted; ends with a line break."""
    run = comparison.run
    named = f" {run['name']}" if run["name"] else ""
    title = f"Run {run['id']}{named}: {run['n_documents']} documents of {run['dataset']}"
    heads = ["Model", "Quant", "Size", "Bits/w", "EPS score", "95 %", "Exact", "Docs/min", "Memory"]
    measured = any(row["kl_divergence"] is not None for row in comparison.leaderboard)
    heads += ["KL divergence", "Same token", "Perplexity"] if measured else []
    lines = [f"**{escaped(title)}**", "", _row(heads), _row(["---", "---", *["---:"] * (len(heads) - 2)])]
    for row in comparison.leaderboard:
        lines.append(_row(map(escaped, [*_cells(row), *(_fidelity_cells(row) if measured else [])])))
    words = [f"{row['name']} {row['status']}: {row['error']}" for row in comparison.leaderboard if row["error"]]
    words += [*comparison.remarks, *map(in_words, comparison.verdicts)]
    if words:
        lines += ["", *(f"- {escaped(line)}" for line in words)]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> Iterator[str]:
    scored = row["eps_score"] is not None
    yield row["model"]
    yield row["quant"] or ""
    yield size(row["size_bytes"])
    yield "–" if row["bits_per_weight"] is None else f"{row['bits_per_weight']:.2f}"
    yield percent(row["eps_score"]) if scored else row["status"]
    yield f"{percent(row['eps_score_low'])} to {percent(row['eps_score_high'])}" if scored else "–"
    yield percent(row["exact_match"])
    yield "–" if row["documents_per_minute"] is None else f"{row['documents_per_minute']:.1f}"
    yield size(row["peak_rss_bytes"])


def _fidelity_cells(row: Row) -> Iterator[str]:
    yield "–" if row["kl_divergence"] is None else f"{row['kl_divergence']:z.4f}"
    yield percent(row["top1_agreement"])
    yield "–" if row["perplexity"] is None else f"{row['perplexity']:.2f}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


OBEYED = re.compile(r"[\\`*\[\]<>|~$&#!]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""What Markdown makes something of; an underscore within a word it leaves alone."""


def escaped(text: str) -> str:
    """`text` on one line, as Markdown shows it."""
    return OBEYED.sub(lambda found: f"\\{found[0]}", printable(" ".join(text.split())))


FORMS: Sequence[str] = ("csv", "json", "markdown")
SUFFIXES = {".csv": "csv", ".json": "json", ".md": "markdown", ".markdown": "markdown"}
