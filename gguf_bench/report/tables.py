"""The tables of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gguf_bench.records import FIELDS, Recommendation
from gguf_bench.report.contents import Cell, Column, TableRow, TableView
from gguf_bench.report.found import Found, Row, signed
from gguf_bench.report.kinds import KINDS
from gguf_bench.report.repeating import origin
from gguf_bench.wording import percent, printable, size


def board(found: Found) -> TableView:
    has_price = any(row["usd_per_document"] is not None for row in found.board)
    has_gpu = any(row["peak_vram_bytes"] for row in found.board)
    has_unread, has_long = (any(row[name] for row in found.board) for name in ("unparseable", "over_context"))
    is_measured = any(row["fidelity"] for row in found.board)
    columns = [
        Column(title="Contender", is_text=True),
        Column(title="EPS score", about="the share of figures that are right, in %, and the 95 % interval"),
        Column(title="Exact", about="documents with all three figures right, in %"),
        Column(title="Size", about="the file"),
        Column(title="Bits/w", about="real bits per weight"),
        *(FIDELITY if is_measured else []),
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
                    *(_fidelity_cells(row) if is_measured else []),
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


FIDELITY = (
    Column(title="KL divergence", about="mean, of the predicted tokens from the reference's, in nats"),
    Column(title="Same token", about="where it and its reference think the same one likeliest, in %"),
    Column(title="Perplexity", about="how surprised it is by the text that it was measured on"),
)
"""How near a file predicts to the one it is held against."""


def _fidelity_cells(row: Row) -> list[Cell]:
    return [
        _number(row["kl_divergence"], lambda nats: f"{nats:z.4f}"),
        _number(row["top1_agreement"], percent),
        _number(row["perplexity"], lambda perplexity: f"{perplexity:.2f}"),
    ]


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


def candidates(advice: Recommendation) -> TableView:
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
            words = f"{100 * each.behind:.1f} [{signed(each.low)}, {signed(each.high)}]"
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


def by_field(found: Found) -> dict[str, Any]:
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


def _fields_title(found: Found, tiers: Mapping[str, int]) -> str:
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


def by_kind(found: Found) -> TableView:
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


def file_table(found: Found) -> TableView:
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
