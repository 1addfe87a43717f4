"""`gguf-bench results`"""

from __future__ import annotations

import click

from gguf_bench.cli.state import State, json_option, pass_state

MAX_RUN_ID = 2**63 - 1
"""SQLite's largest integer."""


@click.group()
def results() -> None:
    """Look at what is stored, and score it again."""


@results.command("list")
@json_option
@pass_state
def list_runs(state: State, as_json: bool) -> None:
    """List every run, newest first."""
    from gguf_bench import terminal

    terminal.print_runs(state.existing_store.runs(), as_json=as_json)


@results.command()
@click.argument("run_id", type=click.IntRange(1, MAX_RUN_ID), metavar="RUN")
@json_option
@pass_state
def show(state: State, run_id: int, as_json: bool) -> None:
    """Show the leaderboard and the verdicts of RUN, as `compare` printed them."""
    from gguf_bench import results, terminal

    comparison = results.comparison([run_id], state.existing_store)
    terminal.print_comparison(comparison, as_json=as_json)
    if results.is_old(comparison.run):
        note = f"note: scored by scorer {comparison.run['scorer_version']}, which is not today's"
        click.echo(f"{note}; `gguf-bench results rescore {run_id}` scores it again", err=True)


@results.command()
@click.argument("run_ids", type=click.IntRange(1, MAX_RUN_ID), nargs=-1, metavar="[RUN]...")
@json_option
@pass_state
def rescore(state: State, run_ids: tuple[int, ...], as_json: bool) -> None:
    """Score what is stored again, by today's scorer and without a model, and print what that changes.

    Without a RUN, every run. Each is rescored wholly or left as it was.

    \b
    gguf-bench results rescore 3
    gguf-bench results rescore --json
    """
    from gguf_bench import results, terminal
    from gguf_bench.errors import StoreError

    store = state.existing_store
    runs = [store.run(run_id) for run_id in dict.fromkeys(run_ids)] if run_ids else store.runs()[::-1]
    rescored, failures = [], []
    for run in runs:
        try:
            rescored.append(results.rescore(run["id"], store))
        except StoreError as error:
            failures.append(error)
    terminal.print_rescored(rescored, as_json=as_json)
    for failure in failures[1:]:
        click.echo(f"Error: {failure}", err=True)
    if failures:
        raise failures[0]


@results.command()
@pass_state
def path(state: State) -> None:
    """Print where the store is."""
    click.echo(state.store_path)
