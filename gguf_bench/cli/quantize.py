"""`gguf-bench quantize`"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gguf_bench.cli.state import HomePath, State, json_option, pass_state, quant_option

if TYPE_CHECKING:
    from gguf_bench.quantize_options import QuantizeOptions
    from gguf_bench.quants import Quant
    from gguf_bench.records import ModelSpec
    from gguf_bench.size_target import Target


class Typed(click.ParamType[Any]):
    """A value that the function of `gguf_bench.quantize_options`, or another module, of this name reads."""

    def __init__(self, reader: str, name: str, module: str = "quantize_options") -> None:
        self.reader, self.name, self.module = reader, name, module

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from gguf_bench.errors import QuantizeError

        read: Callable[[str], Any] = getattr(import_module(f"gguf_bench.{self.module}"), self.reader)
        try:
            return read(value)
        except (QuantizeError, ValueError) as error:
            raise click.BadParameter(str(error), ctx, param) from error


TENSOR_TYPE = Typed("tensor_type", "TYPE")


@click.command()
@click.argument("model", required=False)
@quant_option
@click.option(
    "--target-size",
    type=Typed("of_size", "SIZE", "size_target"),
    help="Instead of a type: a file of this size or up to 1 % less (90MiB, 4.5GiB), the best there is.",
)
@click.option(
    "--target-bpw",
    type=Typed("of_bits", "BITS", "size_target"),
    help="The same by bits per weight: 4.5.",
)
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
@click.option(
    "--tensor-type-file",
    "tensor_type_files",
    type=HomePath(path_type=Path),
    multiple=True,
    help="A file of PATTERN=TYPEs; said before --tensor-type, its own count first.",
)
@click.option(
    "--override-kv",
    type=Typed("kv_override", "KEY=TYPE:VALUE"),
    multiple=True,
    help="Set a key of the file; TYPE is int, float, bool or str.",
)
@click.option("--prune-layers", type=Typed("layers", "L0,L1,..."), help="Leave these layers out.")
@click.option("--keep-split", is_flag=True, help="Write as many parts as the source has.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads to use [default: all].")
@click.option(
    "--max-buffer-size", type=click.IntRange(1, 2**20), metavar="MIB", help="Memory for rows [default: 8 a thread]."
)
@click.option("--dry-run", is_flag=True, help="Only show what each type comes to.")
@click.option("--list", "list_types", is_flag=True, help="Show every type there is.")
@click.option("-o", "--output", type=HomePath(path_type=Path, file_okay=False), help="Write into this folder.")
@json_option
@pass_state
def quantize(
    state: State,
    /,
    model: str | None,
    quants: tuple[Quant, ...],
    target_size: Target | None,
    target_bpw: Target | None,
    dry_run: bool,
    list_types: bool,
    output: Path | None,
    as_json: bool,
    tensor_types: tuple[tuple[str, str], ...],
    tensor_type_files: tuple[Path, ...],
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
    gguf-bench quantize model-F16.gguf --target-size 90MiB --imatrix eps
    gguf-bench quantize --list
    """
    if list_types:
        from gguf_bench import terminal

        terminal.print_quants(as_json=as_json)
        return
    target = _only_one(target_size, target_bpw, quants, options)
    if model is None or not (quants or target):
        raise click.UsageError("give a MODEL and at least one -q TYPE or a target; --list shows the types")
    from gguf_bench.child import started_ahead

    click.get_current_context().with_resource(started_ahead("quantize"))
    from gguf_bench import prepare, quantize_options
    from gguf_bench.cli.bars import Bars
    from gguf_bench.quantize_options import QuantizeOptions

    of_files = tuple(pair for file in tensor_type_files for pair in quantize_options.tensor_type_file(file))
    said = list(click.get_current_context().params)  # in the order of the command line
    is_file_first = said.index("tensor_type_files") < said.index("tensor_types")
    tensor_types = of_files + tensor_types if is_file_first else tensor_types + of_files
    wanted = QuantizeOptions(
        tensor_types=tensor_types,
        prune_layers=prune_layers or (),
        n_threads=threads or 0,
        max_buffer_mib=max_buffer_size,
        **options,
    )
    (spec,) = state.specs([model])
    if target is not None:
        _to_size(state, spec, target, wanted, dry_run=dry_run, output=output, as_json=as_json)
        return
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


def _only_one(
    size: Target | None, bits: Target | None, quants: tuple[Quant, ...], options: dict[str, Any]
) -> Target | None:
    """The target that is asked for. A usage error where it cannot be had with what else is."""
    if size is not None and bits is not None:
        raise click.UsageError("--target-size and --target-bpw cannot be used together")
    target = size or bits
    others = {"-q": bool(quants), "--pure": options["pure"], "--keep-split": options["keep_split"]}
    for name, given in others.items():
        if target is not None and given:
            raise click.UsageError(f"{name} and a target cannot be used together: a target chooses types, of one file")
    return target


def _to_size(
    state: State,
    spec: ModelSpec,
    target: Target,
    options: QuantizeOptions,
    *,
    dry_run: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    from gguf_bench import prepare, terminal
    from gguf_bench.cli.bars import Bars

    if not dry_run:
        path = prepare.quantize_to_size(spec, target, state.store, folder=output, options=options, progress=Bars())
        if as_json:
            terminal.print_json([str(path)])
        else:
            click.echo(path)
        return
    plan = prepare.planned_for_size(spec, target, state.store, options=options, progress=Bars())
    if as_json:
        terminal.print_json(plan.as_json())
    else:
        click.echo("\n".join(plan.lines()))
