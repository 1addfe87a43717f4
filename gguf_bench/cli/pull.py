"""`gguf-bench pull`"""

from __future__ import annotations

from dataclasses import replace

import click

from gguf_bench.cli.state import State, group_option, pass_state


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@group_option
@click.option("--revision", metavar="REVISION", help="A branch, a tag, a commit or refs/pr/N, instead of the entry's.")
@pass_state
def pull(state: State, models: tuple[str, ...], groups: tuple[str, ...], revision: str | None) -> None:
    """Download what MODELs need from the Hugging Face Hub, and print where it is.

    Only what conversion reads is fetched, into the Hub's own cache, and held against the Hub's hashes. The commit is
    locked: a branch that moves later changes nothing. The token is looked for in $HF_TOKEN, ./.env and the login of `hf
    auth login`. What happens when something goes wrong is told in docs/hub.md.

    \b
    gguf-bench pull Qwen/Qwen2.5-0.5B-Instruct
    gguf-bench pull Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M
    gguf-bench pull qwen3_4b --revision refs/pr/7
    """
    from gguf_bench import prepare
    from gguf_bench.catalog import revision_mistake
    from gguf_bench.cli.bars import Bars

    specs = state.specs(models, groups)
    if revision is not None:
        if mistake := revision_mistake(revision):
            raise click.BadParameter(mistake, param_hint="--revision")
        if local := [spec.key for spec in specs if spec.name is None or spec.provider != "huggingface"]:
            raise click.BadParameter(f"{', '.join(local)} is not on the Hub", param_hint="--revision")
        specs = [replace(spec, revision=revision) for spec in specs]
    for spec in specs:
        click.echo(prepare.pull(spec, state.store, Bars()))
