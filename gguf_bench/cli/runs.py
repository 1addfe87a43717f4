"""Options about stored runs that several commands share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from gguf_bench.records import FAMILY_COLUMNS

RUN_ID = click.IntRange(1, 2**63 - 1)
"""As large as SQLite's largest integer."""

by_option = click.option(
    "--by",
    type=click.Choice(list(FAMILY_COLUMNS)),
    help="Show the best of each of these, too, and what quantizing costs.",
)


class Runs(click.ParamType[tuple[int, ...]]):
    """Ids of runs, with commas between them."""

    name = "RUN,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        return tuple(int(RUN_ID(part.strip(), param, ctx)) for part in str(value).split(","))


def note_old_scorers(runs: Sequence[Mapping[str, Any]]) -> None:
    """Say on standard error which of `runs`, rows of the table, another scorer than today's scored."""
    from gguf_bench import results

    for run in filter(results.is_old, runs):
        note = f"note: scored by scorer {run['scorer_version']}, which is not today's"
        click.echo(f"{note}; `gguf-bench results rescore {run['id']}` scores it again", err=True)
