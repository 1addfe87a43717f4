"""`gguf-bench pull`"""

from __future__ import annotations

import click

from gguf_bench.cli.state import State, group_option, pass_state


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@group_option
@pass_state
def pull(state: State, models: tuple[str, ...], groups: tuple[str, ...]) -> None:
    """Download what MODELs need from the Hugging Face Hub, and print where it is.

    Only what conversion reads is fetched, into the Hub's own cache. The commit is locked: a branch that moves later
    changes nothing. The token is looked for in $HF_TOKEN, ./.env and the login of `hf auth login`.

    \b
    gguf-bench pull Qwen/Qwen2.5-0.5B-Instruct
    gguf-bench pull Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M
    """
    from gguf_bench import prepare
    from gguf_bench.cli.bars import Bars

    for spec in state.specs(models, groups):
        click.echo(prepare.pull(spec, state.store, Bars()))
