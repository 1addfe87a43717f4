"""`gguf-bench convert`"""

from __future__ import annotations

from pathlib import Path

import click

from gguf_bench.cli.state import HomePath, State, pass_state


@click.command()
@click.argument("model")
@click.option(
    "--outtype",
    type=click.Choice(["auto", "f32", "f16", "bf16", "q8_0"]),
    default="auto",
    show_default=True,
    help="Type of the weights; auto keeps a 16-bit checkpoint's own.",
)
@click.option("-o", "--output", type=HomePath(path_type=Path, dir_okay=False), help="Write this file.")
@click.option(
    "--converter",
    type=click.Choice(["own", "upstream"]),
    default="own",
    show_default=True,
    help="upstream is llama.cpp's, for families that ours does not know: needs gguf-bench[upstream] and -o, and may "
    "run code that the checkpoint brings.",
)
@pass_state
def convert(state: State, model: str, outtype: str, output: Path | None, converter: str) -> None:
    """Convert a checkpoint (pulled first where it is on the Hub) to GGUF, and print the file's path.

    The bytes are those of llama.cpp's own converter, without its torch.

    \b
    gguf-bench convert HuggingFaceTB/SmolLM2-135M-Instruct --outtype f16 -o smollm2.gguf
    gguf-bench convert ./my-finetune
    gguf-bench convert ./odd-one --converter upstream -o odd-one.gguf
    """
    from gguf_bench import prepare
    from gguf_bench.cli.bars import Bars

    (spec,) = state.specs([model])
    if converter == "upstream":
        if output is None:
            raise click.UsageError("--converter upstream needs -o FILE; compare that file then")
        click.echo(prepare.convert_upstream(spec, state.store, outtype, output, Bars()))
        return
    click.echo(prepare.convert(spec, state.store, outtype, output, Bars()))
