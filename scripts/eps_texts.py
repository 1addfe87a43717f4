"""Write the texts that models are calibrated and measured on, beside the module that reads them.

    python -m scripts.eps_texts

Releases of the same kind as the built-in dataset's, by the same generator from other seeds and of other companies, put
as a model is asked about them, with the right answer behind each. What the generator says of every company alike would
stand in the dataset, too: sentences, and lines with figures, that do are left out.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator

from gguf_bench.dataset import load
from gguf_bench.excerpt import DEFAULT_EXCERPT_CHARS, excerpt
from gguf_bench.records import FIELDS, Document
from gguf_bench.tasks import TASKS
from gguf_bench.texts import CALIBRATION, FOLDER, MEASUREMENT
from scripts.eps_generator import TIERS, generate

COMPANIES_FROM = {CALIBRATION: 320, MEASUREMENT: 640}
"""Numbers of companies that neither the dataset (0 to 299) nor the other text has."""
PER_TIER = {CALIBRATION: 20, MEASUREMENT: 10}

LEAST_WORDS = 6
"""Shorter ones are phrases that any release may have."""
_SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"”]))\s+(?=[A-Z\"“(])")
_FIGURE = re.compile(r"\d[.,]\d")
"""Amounts, other than dates and years, have a point or comma."""


def passages(text: str) -> Iterator[str]:
    """What may not stand in two texts: each sentence of some length, and each line or sentence with a figure."""
    for line in text.splitlines():
        for piece in _SENTENCE_END.split(line):
            is_sentence = len(piece.split()) >= LEAST_WORDS and piece.rstrip(' "”').endswith((".", "!", "?"))
            if is_sentence or _FIGURE.search(piece):
                yield plain(piece)


def plain(passage: str) -> str:
    """White space and capitals make no difference."""
    return " ".join(passage.split()).casefold()


def written(name: str, taken: Iterable[str]) -> str:
    """The text of this name without the passages that are `taken`."""
    known = set(taken)
    records = list(generate(PER_TIER[name], dataset=name, companies_from=COMPANIES_FROM[name]))
    random.Random(name).shuffle(records)
    return "\n\n\n".join(_asked(record, known) for record in records) + "\n"


def _asked(record: dict[str, object], known: set[str]) -> str:
    document = Document(
        id=str(record["id"]),
        company=str(record["company"]),
        period=str(record["period"] or ""),
        text=_without(str(record["text"]), known),
        gold={},
    )
    gold = record["gold"]
    assert isinstance(gold, dict)
    shown = excerpt(document.text, DEFAULT_EXCERPT_CHARS)
    answer = ", ".join(f'"{field}": {gold[field] or "null"}' for field in FIELDS)
    return f"{TASKS['eps_extraction'].prompt(document, shown)}\n\n{{{answer}}}"


def _without(text: str, known: set[str]) -> str:
    """`text` without what is `known`; lines that nothing is left of go, too."""
    lines = []
    for line in text.split("\n"):
        kept = [piece for piece in _SENTENCE_END.split(line) if plain(piece) not in known]
        if any(kept) or not line.strip():
            lines.append(" ".join(kept))
    return "\n".join(lines)


def main() -> None:
    taken = {passage for document in load("eps-v1").documents for passage in passages(document.text)}
    FOLDER.mkdir(exist_ok=True)
    for name in (CALIBRATION, MEASUREMENT):
        text = written(name, taken)
        (FOLDER / f"{name}.txt").write_text(text, encoding="utf-8", newline="\n")
        taken |= set(passages(text))
        print(f"wrote {name}: {len(text):,} characters of {PER_TIER[name] * len(TIERS)} releases")


if __name__ == "__main__":
    main()
