"""Comparison, recommendation and material -> the page. Pure.

All text of models and documents is made printable on the way: what a terminal or a browser would obey is spelled out.
The template escapes markup.
"""

from __future__ import annotations

from gguf_bench.records import Comparison, Recommendation
from gguf_bench.report.contents import Page, Plots
from gguf_bench.report.documents import document_view, documents_note
from gguf_bench.report.figures import curves, forest, parts_figure, trade_offs
from gguf_bench.report.found import Found, Standings, sentence
from gguf_bench.report.gather import Material
from gguf_bench.report.tables import board, by_field, by_kind, candidates, file_table
from gguf_bench.report.words import board_note, head, lead, recommended, repeats, title, troubles, verdicts, warnings


def plots(comparison: Comparison) -> Plots:
    """The charts that are plotted, which takes time: they need the comparison alone."""
    standings = Standings(comparison)
    figures, note = curves(standings)
    return Plots(trade_offs=trade_offs(standings), curves=figures, curves_note=note)


def page(
    comparison: Comparison, advice: Recommendation, material: Material, plotted: Plots, *, default_dataset: str
) -> Page:
    """The page of `comparison`, whose strings are all printable."""
    found = Found(comparison, material)
    return Page(
        title=title(comparison),
        facts=list(head(found)),
        lead=list(lead(found)),
        warnings=list(warnings(found)),
        board=board(found),
        board_note=board_note(found),
        wrong=list(troubles(found)),
        recommended=list(recommended(advice, found)),
        remarks=[sentence(remark) for remark in advice.remarks],
        candidates=candidates(advice),
        **verdicts(found),
        plots=plotted,
        **by_field(found),
        parts=parts_figure(found),
        kinds=by_kind(found),
        forest=forest(found),
        documents=[document_view(each, found) for each in material.apart],
        documents_note=documents_note(found),
        repeats=list(repeats(found, default_dataset)),
        files=file_table(found),
    )
