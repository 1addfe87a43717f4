"""`gguf-bench convert`"""

from __future__ import annotations

from pathlib import Path

import click

from gguf_bench.cli.state import State, pass_state


@click.command()
@click.argument("model")
@click.option(
    "--outtype",
    type=click.Choice(["auto", "f32", "f16", "bf16", "q8_0"]),
    default="auto",
    show_default=True,
    help="Type of the weights; auto keeps a 16-bit checkpoint's own.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write this file.")
@pass_state
def convert(state: State, model: str, outtype: str, output: Path | None) -> None:
    """Convert a checkpoint (pulled first where it is on the Hub) to GGUF, and print the file's path.

    The bytes are those of llama.cpp's own converter, without its torch.

    \b
    gguf-bench convert HuggingFaceTB/SmolLM2-135M-Instruct --outtype f16 -o smollm2.gguf
    gguf-bench convert ./my-finetune
    """
    from gguf_bench import pipeline
    from gguf_bench.cli.bars import Bars

    (spec,) = state.specs([model])
    click.echo(pipeline.convert(spec, state.store, outtype, output, Bars()))
