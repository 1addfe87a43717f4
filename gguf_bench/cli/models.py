"""`gguf-bench models`"""

from __future__ import annotations

import click

from gguf_bench.cli.state import State, json_option, pass_state


@click.group()
def models() -> None:
    """Look at models.yaml."""


@models.command("list")
@json_option
@pass_state
def list_models(state: State, as_json: bool) -> None:
    """List the models of models.yaml by group."""
    from gguf_bench import terminal

    click.echo(f"from {state.catalog.path}", err=True)
    terminal.print_models(state.catalog, as_json=as_json)
