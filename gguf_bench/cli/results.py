"""`gguf-bench results`"""

from __future__ import annotations

import click

from gguf_bench.cli.state import State, json_option, pass_state

MAX_RUN_ID = 2**63 - 1
"""SQLite's largest integer."""


@click.group()
def results() -> None:
    """Look at what is stored."""


@results.command("list")
@json_option
@pass_state
def list_runs(state: State, as_json: bool) -> None:
    """List every run, newest first."""
    from gguf_bench import report

    report.print_runs(state.existing_store.runs(), as_json=as_json)


@results.command()
@click.argument("run_id", type=click.IntRange(1, MAX_RUN_ID), metavar="RUN")
@json_option
@pass_state
def show(state: State, run_id: int, as_json: bool) -> None:
    """Show the leaderboard and the verdicts of RUN, as `compare` printed them."""
    from gguf_bench import pipeline, report

    report.print_comparison(pipeline.comparison(run_id, state.existing_store), as_json=as_json)


@results.command()
@pass_state
def path(state: State) -> None:
    """Print where the store is."""
    click.echo(state.store_path)
