"""`gguf-bench results`"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gguf_bench.cli.runs import by_option, note_old_scorers
from gguf_bench.cli.state import State, json_option, pass_state
from gguf_bench.errors import GgufBenchError
from gguf_bench.paths import from_home, written_whole

if TYPE_CHECKING:
    from gguf_bench.store import Store

MAX_RUN_ID = 2**63 - 1
"""SQLite's largest integer."""
SHOWN_RUNS = 30
"""What a person looks through."""


class RunOrFile(click.ParamType["int | str"]):
    """The id of a run, where it is all digits; else whatever names a file."""

    name = "RUN|FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if isinstance(value, str) and not value.lstrip("-").isdecimal():
            return value
        return click.IntRange(1, MAX_RUN_ID).convert(value, param, ctx)


@click.group()
def results() -> None:
    """Look at what is stored, take it elsewhere, score it again, or delete it."""


@results.command("list")
@click.option("--all", "show_all", is_flag=True, help="Every run, not only the newest 30.")
@json_option
@pass_state
def list_runs(state: State, show_all: bool, as_json: bool) -> None:
    """List the newest 30 runs, newest first; with --all or --json, every run."""
    from gguf_bench import terminal

    runs = state.existing_store.runs()
    shown = runs if show_all or as_json else runs[:SHOWN_RUNS]
    terminal.print_runs(shown, as_json=as_json)
    if len(shown) < len(runs):
        click.echo(f"only the newest {len(shown)} of {len(runs)} runs are shown; --all shows every one", err=True)


@results.command()
@click.argument("run_id", type=RunOrFile(), metavar="RUN|FILE")
@by_option
@json_option
@pass_state
def show(state: State, run_id: int | str, by: str | None, as_json: bool) -> None:
    """Show the leaderboard and the verdicts of RUN, as `compare` printed them, or where FILE comes from.

    FILE is a GGUF or the beginning of its sha256: what made it, and of which file, down to the checkpoint.

    \b
    gguf-bench results show 3
    gguf-bench results show SmolLM2-135M-Instruct-Q4_K_M.gguf
    """
    from gguf_bench import results, terminal

    if isinstance(run_id, str):
        from gguf_bench import provenance

        terminal.print_chain(provenance.chain(run_id, state.existing_store), as_json=as_json)
        return
    comparison = results.comparison([run_id], state.existing_store)
    terminal.print_comparison(comparison, as_json=as_json, by=by)
    note_old_scorers(comparison.runs)


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

    store = state.store_to_change
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
@click.argument("run_id", type=click.IntRange(1, MAX_RUN_ID), metavar="RUN")
@click.option("--csv", "form", flag_value="csv", help="A row per answer, for spreadsheets (the default).")
@click.option("--json", "form", flag_value="json", help="An array with an object per answer.")
@click.option("--markdown", "form", flag_value="markdown", help="The leaderboard and the verdicts, to paste.")
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write FILE, whole or not at all; without a form, as its suffix says (.csv, .json, .md).",
)
@pass_state
def export(state: State, run_id: int, form: str | None, target: Path | None) -> None:
    """Take the answers of RUN elsewhere: a row per answer with the document's labels, the kinds, score and timings.

    A row's score is the share of kind_basic, kind_diluted and kind_adjusted that are "right", a contender's EPS score
    the mean of its rows. In CSV, text that a spreadsheet would take for a formula has an apostrophe before it.

    \b
    gguf-bench results export 3 -o answers.csv
    gguf-bench results export 3 --json | jq '.[] | select(.score < 1)'
    gguf-bench results export 3 --markdown
    """
    from gguf_bench.export import SUFFIXES

    store = state.existing_store
    store.run(run_id)
    if target is None:
        _print_export(run_id, form or "csv", store)
        return
    target = from_home(target)
    form = form or SUFFIXES.get(target.suffix.lower(), "csv")
    try:
        with (
            written_whole(target) as partial,
            partial.open("w", encoding="utf-8", newline="") as file,
            redirect_stdout(file),
        ):
            _print_export(run_id, form, store)
    except OSError as error:
        raise GgufBenchError(f"{target}: {error.strerror}", hint="nothing was written; choose another FILE") from error


def _print_export(run_id: int, form: str, store: Store) -> None:
    from gguf_bench import export, results, terminal

    if form == "markdown":
        sys.stdout.write(export.markdown(results.comparison([run_id], store)))
    else:
        rows = export.answer_rows(store.each_answer(run_id), for_spreadsheets=form == "csv")
        terminal.print_rows(export.COLUMNS, rows, form)


@results.command()
@click.argument("run_ids", type=click.IntRange(1, MAX_RUN_ID), nargs=-1, required=True, metavar="RUN...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_state
def delete(state: State, run_ids: tuple[int, ...], yes: bool) -> None:
    """Delete RUNs with all their answers, having asked; all of them, or none. There is no way back.

    What is known of model files and of the documents' labels stays, and so do the files themselves. The store does not
    shrink: its room is used again.

    \b
    gguf-bench results delete 3 4
    """
    store = state.store_to_change
    runs = [store.run(run_id) for run_id in dict.fromkeys(run_ids)]
    words = [_in_words(run, store) for run in runs]
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask at; --yes deletes without asking")
        for line in words:
            click.echo(line, err=True)
        if not click.confirm("Delete for good?", err=True):
            raise GgufBenchError("nothing was deleted")
    store.delete_runs(run["id"] for run in runs)
    for line in words:
        click.echo(f"deleted {line}", err=True)


def _in_words(run: dict[str, Any], store: Store) -> str:
    from gguf_bench.wording import printable

    contenders = store.contenders(run["id"])
    n_answers = sum(store.n_answers(row["id"]) for row in contenders)
    name = f" {printable(run['name'])!r}" if run["name"] else ""
    return (
        f"run {run['id']}{name} of {run['created'][:10]}: {len(contenders)} contenders, "
        f"{n_answers:,} answers to {printable(run['dataset'])}"
    )


@results.command()
@pass_state
def path(state: State) -> None:
    """Print where the store is."""
    click.echo(state.store_path)
