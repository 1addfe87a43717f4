"""`gguf-bench fidelity`"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gguf_bench.cli.state import GpuLayers, QuantType, State, chunks_option, json_option, pass_state, quant_option

if TYPE_CHECKING:
    from gguf_bench.quants import Quant

HEADS = ("type", "KL divergence", "99 %", "same token", "perplexity", "ratio to reference")


@click.command()
@click.argument("model")
@quant_option
@click.option("--reference", type=QuantType(), default="F16", show_default=True, help="What they are held against.")
@click.option("--imatrix", metavar="FILE|eps", help="Quantize by this importance matrix.")
@click.option("--text", "text_file", type=click.Path(path_type=Path, dir_okay=False), help="A text to read.")
@chunks_option
@click.option("--gpu-layers", type=GpuLayers(), default="auto", show_default=True, help="Layers on the GPU, of each.")
@json_option
@pass_state
def fidelity(
    state: State,
    model: str,
    quants: tuple[Quant, ...],
    reference: Quant,
    imatrix: str | None,
    text_file: Path | None,
    n_chunks: int | None,
    gpu_layers: str,
    as_json: bool,
) -> None:
    """Show how near each TYPE of MODEL is to the unquantized model: what it predicts, token by token.

    Kullback-Leibler divergence from the reference (nats, mean and 99th percentile), how often both think the same token
    likeliest, and perplexity, each with its standard error. Both models are in memory together. Without a text they
    read releases like those of the built-in dataset, of other companies.

    \b
    gguf-bench fidelity smollm2_135m -q Q8_0 -q Q4_K_M -q Q2_K
    gguf-bench fidelity ./model-BF16.gguf -q IQ2_XXS --imatrix eps --reference BF16 --json
    """
    if not quants:
        raise click.UsageError("give at least one -q TYPE")
    from gguf_bench import prepare, terminal, texts
    from gguf_bench.cli.bars import Bars
    from gguf_bench.records import QuantizeOptions

    text = texts.of_file(text_file) if text_file is not None else texts.built_in(texts.MEASUREMENT)
    (spec,) = state.specs([model])
    measured = prepare.fidelity(
        spec,
        quants,
        reference,
        text,
        state.store,
        options=QuantizeOptions(imatrix=imatrix),
        n_chunks=n_chunks,
        gpu_layers=gpu_layers,
        progress=Bars(),
    )
    if as_json:
        facts = {"reference": reference.name, "text": text.name, "text_sha256": text.sha256, "imatrix": imatrix}
        terminal.print_json([{"quant": quant.name, **facts, **asdict(found)} for quant, found in measured])
        return
    click.echo("  ".join(f"{head:>20}" for head in HEADS))
    for quant, found in measured:
        figures = (
            (found.kl_divergence, 1, ".4f"),
            (found.kl_divergence_99, 1, ".3f"),
            (found.top1_agreement, 100, ".1f"),
            (found.perplexity, 1, ".2f"),
            (found.perplexity_ratio, 1, ".4f"),
        )
        cells = [f"{scale * one.value:{form}} ± {scale * one.standard_error:{form}}" for one, scale, form in figures]
        click.echo("  ".join(f"{cell:>20}" for cell in (quant.name, *cells)))
