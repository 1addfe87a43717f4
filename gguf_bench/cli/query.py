"""`gguf-bench query`"""

from __future__ import annotations

import re
from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem

from gguf_bench.cli.state import State, pass_state

MEMORY_BYTES = 1 << 30
NAME = re.compile(r"[A-Za-z0-9_-]+")
"""A saved query, then: no SELECT is written without a blank, a bracket or a quotation mark."""
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?")
"""007, 1e5 and numbers that SQLite cannot hold to the last digit stay text."""


def _names(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    from gguf_bench.queries import saved_queries

    saved = saved_queries().values()
    return [CompletionItem(each.name, help=each.title) for each in saved if each.name.startswith(typed)]


def _values(
    _context: click.Context, _parameter: click.Parameter, given: Sequence[tuple[str, str]]
) -> dict[str, int | float | str | None]:
    values: dict[str, int | float | str | None] = {}
    for written, value in given:
        name = written.removeprefix(":")
        if name in values:
            raise click.BadParameter(f"{name} is given twice")
        values[name] = _number(value) if NUMBER.fullmatch(value) else value
    return values


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)


@click.command()
@click.argument("sql", metavar="SQL|NAME", required=False, shell_complete=_names)
@click.option(
    "-p",
    "--param",
    "parameters",
    multiple=True,
    nargs=2,
    metavar="NAME VALUE",
    callback=_values,
    help="The value of :NAME in the query; a number where it reads as one. Repeatable.",
)
@click.option("--list", "list_saved", is_flag=True, help="List the saved queries and their parameters.")
@click.option("--table", "form", flag_value="table", default=True, help="A table (the default).")
@click.option("--csv", "form", flag_value="csv", help="CSV.")
@click.option("--json", "form", flag_value="json", help="A JSON array of objects.")
@click.option("--nl", "form", flag_value="nl", help="One JSON object a line.")
@pass_state
def query(
    state: State, sql: str | None, parameters: dict[str, int | float | str | None], list_saved: bool, form: str
) -> None:
    """Run one SELECT, or a saved query by its name, against the store, which is opened read-only.

    The view `eps_scores` has a row for every contender of every run; the tables are runs, contenders, answers,
    documents and artifacts. An argument of letters, digits and hyphens alone is the NAME of a saved query.

    \b
    gguf-bench query --list
    gguf-bench query leaderboard
    gguf-bench query disagreements -p a "smollm2_135m Q8_0" -p b "smollm2_135m Q2_K"
    gguf-bench query "select model, quant, eps_score from eps_scores where run_id = :run" -p run 3
    gguf-bench query --csv "select * from answers where kind_basic = 'sign'"
    """
    from gguf_bench import query as queries
    from gguf_bench import terminal
    from gguf_bench.errors import ParameterError
    from gguf_bench.queries import saved_queries

    if list_saved:
        if sql is not None:
            raise click.UsageError("--list takes no query")
        terminal.print_saved_queries(list(saved_queries().values()), form)
        return
    if sql is None:
        raise click.UsageError("give a SELECT or the name of a saved query; --list shows those")
    values = dict(parameters)
    if NAME.fullmatch(sql):
        saved = saved_queries().get(sql)
        if saved is None:
            raise click.BadParameter(f"no saved query {sql!r}; --list shows them", param_hint="NAME")
        values = {each.name: None for each in saved.parameters if each.default is not None} | values
        sql = saved.sql
    try:
        columns, rows = queries.query(state.store_path, sql, values, memory_bytes=MEMORY_BYTES)
    except ParameterError as error:
        raise click.BadParameter(str(error), param_hint="-p") from error
    if not terminal.print_rows(columns, rows, form):
        click.echo(
            f"only the first {terminal.MAX_TABLE_ROWS} rows are shown; --csv, --json and --nl give all", err=True
        )
