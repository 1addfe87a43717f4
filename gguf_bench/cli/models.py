"""`gguf-bench models`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gguf_bench.cli.state import SOME_FAILED, State, group_option, json_option, pass_state

if TYPE_CHECKING:
    from gguf_bench.models_check import Checked


@click.group()
def models() -> None:
    """Look at models.yaml, add to it, and check it against the Hub."""


@models.command("list")
@json_option
@pass_state
def list_models(state: State, as_json: bool) -> None:
    """List the models of models.yaml by group."""
    from gguf_bench import terminal

    click.echo(f"from {state.catalog.path}", err=True)
    terminal.print_models(state.catalog, as_json=as_json)


@models.command()
@click.argument("model", metavar="ORG/NAME[@REVISION][:TYPE]")
@click.option("--group", default="my_models", show_default=True, metavar="NAME", help="The group to add it to.")
@click.option("--key", metavar="KEY", help="What to call it [default: made from its name].")
@pass_state
def add(state: State, model: str, group: str, key: str | None) -> None:
    """Add a model of the Hub to models.yaml, and print its key.

    The Hub fills in parameters, licence, context, whether it is gated, and the base of a LoRA adapter. Every other byte
    of the file stays as it is.

    \b
    gguf-bench models add Qwen/Qwen3-8B
    gguf-bench models add Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M --group ready --key qwen_half
    """
    from gguf_bench import models_add
    from gguf_bench.cli.bars import Bars

    added = models_add.add(model, state.catalog.path, group, key, Bars())
    click.echo(f"added to {added.group} in {added.path}:", err=True)
    for line in added.lines:
        click.echo(line, err=True)
    click.echo(added.key)


@models.command()
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@group_option
@json_option
@pass_state
def check(state: State, names: tuple[str, ...], groups: tuple[str, ...], as_json: bool) -> None:
    """See whether MODELs, or all of models.yaml, can be had and converted, and what they take. Fetches no weights.

    Of a model on the Hub: does it exist, is it gated and may your token read it, is its architecture converted, how
    much is still to be downloaded, how much disk it takes with what is made of it, how long that takes on a line of
    100 Mbit/s. Exits with 3 where something is wrong.

    \b
    gguf-bench models check
    gguf-bench models check mistralai/Mistral-7B-Instruct-v0.3 --json
    """
    from gguf_bench import models_check, terminal
    from gguf_bench.cli.bars import Bars

    specs = state.specs(names, groups) if names or groups else list(state.catalog.models.values())
    locked = state.existing_store.locked_commit if state.store_path.exists() else lambda repo, revision: None
    bars = Bars()
    bar = bars.bar("checking", len(specs), "models")
    found: list[Checked] = []
    try:
        for spec in specs:
            bar.note(spec.key)
            found.append(models_check.check(spec, locked, bars))
            bar.advance(1)
    finally:
        bar.close()
    terminal.print_checked(found, as_json=as_json)
    if any(one.problem for one in found):
        click.get_current_context().exit(SOME_FAILED)
