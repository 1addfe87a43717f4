"""`gguf-bench quantize`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gguf_bench.cli.state import State, json_option, pass_state, quant_option

if TYPE_CHECKING:
    from gguf_bench.quants import Quant


@click.command()
@click.argument("model", required=False)
@quant_option
@click.option("--allow-requantize", is_flag=True, help="Quantize a file that is quantized already.")
@click.option("--dry-run", is_flag=True, help="Only show what each type comes to.")
@click.option("--list", "list_types", is_flag=True, help="Show every type there is.")
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Write into this folder.")
@json_option
@pass_state
def quantize(
    state: State,
    model: str | None,
    quants: tuple[Quant, ...],
    allow_requantize: bool,
    dry_run: bool,
    list_types: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Quantize MODEL (pulled and converted first where needed), and print one path a line.

    The bytes are those of llama-quantize.

    \b
    gguf-bench quantize HuggingFaceTB/SmolLM2-135M-Instruct -q Q4_K_M -q Q8_0 -o .
    gguf-bench quantize --list
    """
    from gguf_bench import terminal

    if list_types:
        terminal.print_quants(as_json=as_json)
        return
    if model is None or not quants:
        raise click.UsageError("give a MODEL and at least one -q TYPE; --list shows the types")
    from gguf_bench import prepare
    from gguf_bench.cli.bars import Bars

    (spec,) = state.specs([model])
    if dry_run:
        sizes = prepare.planned_sizes(spec, quants, state.store, allow_requantize=allow_requantize, progress=Bars())
        terminal.print_planned_sizes(sizes, as_json=as_json)
        return
    paths = prepare.quantize(
        spec, quants, state.store, folder=output, allow_requantize=allow_requantize, progress=Bars()
    )
    if as_json:
        terminal.print_json([str(path) for path in paths])
        return
    for path in paths:
        click.echo(path)
