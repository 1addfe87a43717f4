"""`gguf-bench quantize`"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gguf_bench.cli.state import State, json_option, pass_state, quant_option

if TYPE_CHECKING:
    from gguf_bench.quants import Quant


class Typed(click.ParamType[Any]):
    """A value that the function of `gguf_bench.quantize_options` of this name reads."""

    def __init__(self, reader: str, name: str) -> None:
        self.reader, self.name = reader, name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from gguf_bench import quantize_options
        from gguf_bench.errors import QuantizeError

        read: Callable[[str], Any] = getattr(quantize_options, self.reader)
        try:
            return read(value)
        except QuantizeError as error:
            raise click.BadParameter(str(error), ctx, param) from error


TENSOR_TYPE = Typed("tensor_type", "TYPE")


@click.command()
@click.argument("model", required=False)
@quant_option
@click.option("--allow-requantize", is_flag=True, help="Quantize a file that is quantized already.")
@click.option(
    "--imatrix",
    metavar="FILE|eps",
    help="Importance matrix, in llama.cpp's GGUF or older .dat form; eps computes it on texts like those scored.",
)
@click.option("--include-weights", multiple=True, metavar="NAME", help="Use it only for tensors with NAME in theirs.")
@click.option("--exclude-weights", multiple=True, metavar="NAME", help="Do not use it for tensors with NAME in theirs.")
@click.option("--pure", is_flag=True, help="One type for all tensors, no mixture.")
@click.option("--leave-output-tensor", is_flag=True, help="Leave output.weight as it is.")
@click.option("--output-tensor-type", type=TENSOR_TYPE, help="Type of output.weight.")
@click.option("--token-embedding-type", type=TENSOR_TYPE, help="Type of the token embeddings.")
@click.option(
    "--tensor-type",
    "tensor_types",
    type=Typed("tensor_type_pattern", "PATTERN=TYPE"),
    multiple=True,
    help="Type of the tensors in whose names a regular expression is found; the first that fits counts.",
)
@click.option("--tensor-type-file", type=click.Path(path_type=Path), help="A file of PATTERN=TYPEs.")
@click.option(
    "--override-kv",
    type=Typed("kv_override", "KEY=TYPE:VALUE"),
    multiple=True,
    help="Set a key of the file; TYPE is int, float, bool or str.",
)
@click.option("--prune-layers", type=Typed("layers", "L0,L1,..."), help="Leave these layers out.")
@click.option("--keep-split", is_flag=True, help="Write as many parts as the source has.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads to use [default: all].")
@click.option("--max-buffer-size", type=click.IntRange(1, 2**20), metavar="MIB", help="Memory for one tensor's rows.")
@click.option("--dry-run", is_flag=True, help="Only show what each type comes to.")
@click.option("--list", "list_types", is_flag=True, help="Show every type there is.")
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Write into this folder.")
@json_option
@pass_state
def quantize(
    state: State,
    /,
    model: str | None,
    quants: tuple[Quant, ...],
    dry_run: bool,
    list_types: bool,
    output: Path | None,
    as_json: bool,
    tensor_types: tuple[tuple[str, str], ...],
    tensor_type_file: Path | None,
    prune_layers: tuple[int, ...] | None,
    threads: int | None,
    max_buffer_size: int | None,
    **options: Any,
) -> None:
    """Quantize MODEL (pulled and converted first where needed), and print one path a line.

    The bytes are those of llama-quantize, and its options mean the same here. Several types are made smallest first.

    \b
    gguf-bench quantize HuggingFaceTB/SmolLM2-135M-Instruct -q Q4_K_M -q Q8_0 -o .
    gguf-bench quantize model-F16.gguf -q IQ2_XXS --imatrix imatrix.gguf
    gguf-bench quantize model-F16.gguf -q Q4_K_M --tensor-type attn_v=q6_k --dry-run
    gguf-bench quantize --list
    """
    if list_types:
        from gguf_bench import terminal

        terminal.print_quants(as_json=as_json)
        return
    if model is None or not quants:
        raise click.UsageError("give a MODEL and at least one -q TYPE; --list shows the types")
    from gguf_bench import prepare, quantize_options
    from gguf_bench.cli.bars import Bars
    from gguf_bench.records import QuantizeOptions

    if tensor_type_file is not None:
        tensor_types += tuple(quantize_options.tensor_type_file(tensor_type_file))
    wanted = QuantizeOptions(
        tensor_types=tensor_types,
        prune_layers=prune_layers or (),
        n_threads=threads or 0,
        max_buffer_mib=max_buffer_size,
        **options,
    )
    (spec,) = state.specs([model])
    if dry_run:
        from gguf_bench import terminal

        sizes = prepare.planned_sizes(spec, quants, state.store, options=wanted, progress=Bars())
        terminal.print_planned_sizes(sizes, as_json=as_json)
        return
    paths = prepare.quantize(spec, quants, state.store, folder=output, options=wanted, progress=Bars())
    if as_json:
        from gguf_bench import terminal

        terminal.print_json([str(path) for path in paths])
        return
    for path in paths:
        click.echo(path)
