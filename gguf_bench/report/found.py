"""What the parts of the page are made from: a comparison, then the material beside it, all strings printable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gguf_bench.records import Comparison
from gguf_bench.report.charts import COLOURS, OTHER
from gguf_bench.report.gather import Material
from gguf_bench.wording import percent, printable

Row = Mapping[str, Any]


MOST_DRAWN = 40
"""Contenders in a chart, the best ones, and pairs in the forest plot."""


def printable_row(row: Row) -> dict[str, Any]:
    return {name: printable(value) if isinstance(value, str) else value for name, value in row.items()}


@dataclass(frozen=True, slots=True)
class Standings:
    """A comparison. `board` is the leaderboard with printable strings, `colours` has one for each model."""

    comparison: Comparison
    board: Sequence[Row] = field(init=False)
    colours: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "board", list(map(printable_row, self.comparison.leaderboard)))
        models = list(dict.fromkeys(row["model"] for row in self.finished if not is_baseline(row)))
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
        return [row for row in self.finished if not is_baseline(row)]

    def short(self, row: Row) -> str:
        """A contender's name where all are of one model, which then need not be said each time."""
        if len(self.colours) == 1 and row["model"] in self.colours and row["quant"]:
            return str(row["name"]).removeprefix(f"{row['model']} ")
        return str(row["name"])


@dataclass(frozen=True, slots=True)
class Found(Standings):
    """A comparison, and what a page shows beside it."""

    material: Material


def is_baseline(row: Row) -> bool:
    return str(row["model_group"]) == "baselines" and row["file_sha256"] is None


def interval(row: Row) -> str:
    return f"[{percent(row['eps_score_low'])}, {percent(row['eps_score_high'])}]"


def spread(numbers: Iterable[int]) -> str:
    found = sorted(set(numbers))
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"


def signed(share: float) -> str:
    return f"{100 * share:.1f}".replace("-", "−")


def sentence(remark: str) -> str:
    """A remark with a capital and a stop; what begins with a model's name keeps its letters."""
    first = remark.partition(" ")[0]
    begun = remark[:1].upper() + remark[1:] if first.isalpha() and first.islower() else remark
    return printable(f"{begun}.")
