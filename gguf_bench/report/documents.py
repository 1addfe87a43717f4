"""The documents that contenders read apart, as they are shown side by side."""

from __future__ import annotations

import re

from gguf_bench.records import FIELDS
from gguf_bench.report.contents import AnswerView, DocumentView
from gguf_bench.report.found import Found, Row
from gguf_bench.report.gather import MOST_ANSWERS, Disagreement
from gguf_bench.report.marking import marked
from gguf_bench.wording import printable

MOST_TEXT = 12_000
"""Characters of a document, or of an answer, that are shown."""


def document_view(apart: Disagreement, found: Found) -> DocumentView:
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


def documents_note(found: Found) -> str:
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
