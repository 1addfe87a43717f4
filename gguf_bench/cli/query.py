"""`gguf-bench query`"""

from __future__ import annotations

import click

from gguf_bench.cli.state import State, pass_state


@click.command()
@click.argument("sql")
@click.option("--table", "form", flag_value="table", default=True, help="A table (the default).")
@click.option("--csv", "form", flag_value="csv", help="CSV.")
@click.option("--json", "form", flag_value="json", help="A JSON array of objects.")
@click.option("--nl", "form", flag_value="nl", help="One JSON object a line.")
@pass_state
def query(state: State, sql: str, form: str) -> None:
    """Run one SELECT against the store, which is opened read-only.

    The view `eps_scores` has a row for every contender of every run; the tables are runs, contenders, answers,
    documents and artifacts.

    \b
    gguf-bench query "select model, quant, eps_score from eps_scores"
    gguf-bench query --csv "select * from answers where kind_basic = 'sign'"
    """
    from gguf_bench import query as queries
    from gguf_bench import report

    columns, rows = queries.query(state.store_path, sql)
    report.print_rows(columns, rows, form)
