"""`gguf-bench recommend`"""

from __future__ import annotations

from typing import Any

import click

from gguf_bench.cli.runs import RUN_ID, note_old_scorers
from gguf_bench.cli.state import State, json_option, pass_state
from gguf_bench.units import size_bytes


class Size(click.ParamType[int]):
    """4GiB, 800MB, or a number of bytes."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return size_bytes(str(value))
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from error


@click.command()
@click.argument("run_ids", type=RUN_ID, nargs=-1, metavar="[RUN]...")
@click.option("--max-size", type=Size(), help="The largest file: 4GiB, 800MB, ...")
@click.option("--max-memory", type=Size(), help="The most memory it may take, a GPU's included.")
@click.option("--min-speed", type=click.FloatRange(0), metavar="N", help="Documents a minute, at least.")
@click.option(
    "--margin",
    type=click.FloatRange(0, 100),
    default=2.0,
    show_default=True,
    metavar="POINTS",
    help="How many points worse than the best is as good.",
)
@json_option
@pass_state
def recommend(
    state: State,
    run_ids: tuple[int, ...],
    max_size: int | None,
    max_memory: int | None,
    min_speed: float | None,
    margin: float,
    as_json: bool,
) -> None:
    """Name the smallest and the fastest file that is as good as the best.

    Of RUNs, or of the newest run. As good is what the documents show to be at most --margin points worse: the whole
    95 % interval of the difference lies under the margin. Only files within the limits count, the best included. It
    says as well why each of the others is not it, which are on the front of score against size or speed, and the
    command that runs the file.

    \b
    gguf-bench recommend
    gguf-bench recommend 3 5 --max-size 4GiB --max-memory 8GiB --margin 3
    """
    from gguf_bench import results, terminal
    from gguf_bench.errors import ComparisonError
    from gguf_bench.records import Limits

    store = state.existing_store
    limits = Limits(
        margin=margin / 100,
        max_size_bytes=max_size,
        max_memory_bytes=max_memory,
        min_documents_per_minute=min_speed,
    )
    advice = results.recommendation(run_ids or results.newest_run(store), store, limits)
    terminal.print_recommendation(advice, as_json=as_json)
    note_old_scorers(advice.runs)
    if advice.smallest is None:
        raise ComparisonError("no file of these runs can be recommended", hint="give it wider limits, or other runs")
