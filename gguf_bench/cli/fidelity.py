"""`gguf-bench fidelity`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gguf_bench.cli.state import (
    SOME_FAILED,
    GpuLayers,
    HomePath,
    QuantType,
    State,
    chunks_option,
    json_option,
    pass_state,
    quant_option,
)

if TYPE_CHECKING:
    from gguf_bench.quants import Quant


@click.command()
@click.argument("model")
@quant_option
@click.option(
    "--file",
    "files",
    type=HomePath(exists=True, path_type=Path, dir_okay=False),
    multiple=True,
    help="A GGUF of the same model, as one made for a size; repeatable.",
)
@click.option("--reference", type=QuantType(), default="F16", show_default=True, help="What they are held against.")
@click.option("--imatrix", metavar="FILE|eps", help="Quantize by this importance matrix.")
@click.option("--text", "text_file", type=HomePath(path_type=Path, dir_okay=False), help="A text to read.")
@chunks_option
@click.option("--gpu-layers", type=GpuLayers(), default="auto", show_default=True, help="Layers on the GPU, of each.")
@click.option("--fresh", is_flag=True, help="Measure anew what is stored.")
@json_option
@pass_state
def fidelity(
    state: State,
    model: str,
    quants: tuple[Quant, ...],
    files: tuple[Path, ...],
    reference: Quant,
    imatrix: str | None,
    text_file: Path | None,
    n_chunks: int | None,
    gpu_layers: str,
    fresh: bool,
    as_json: bool,
) -> None:
    """Show how near each TYPE of MODEL, and each FILE, is to the unquantized model: what it predicts, token by token.

    Kullback-Leibler divergence from the reference (nats, mean and 99th percentile), how often both think the same token
    likeliest, and perplexity, each with its standard error. Both models are in memory together. Without a text they
    read releases like those of the built-in dataset, of other companies.

    Each is stored as it is there, and not computed again when the same command is given again. `compare`, `results
    show`, `report` and the view `eps_scores` show it beside the file's EPS score.

    \b
    gguf-bench fidelity smollm2_135m -q Q8_0 -q Q4_K_M -q Q2_K
    gguf-bench fidelity ./model-BF16.gguf -q IQ2_XXS --imatrix eps --reference BF16 --json
    gguf-bench fidelity ./model-F16.gguf -q Q4_K_M --file ./model-90MiB.gguf
    """
    if not quants and not files:
        raise click.UsageError("give at least one -q TYPE or --file FILE")
    from gguf_bench import measure, terminal, texts
    from gguf_bench.cli.bars import Bars
    from gguf_bench.quantize_options import QuantizeOptions

    text = texts.of_file(text_file.absolute()) if text_file is not None else texts.built_in(texts.MEASUREMENT)
    (spec,) = state.specs([model])
    found = measure.fidelity(
        spec,
        quants,
        reference,
        text,
        state.store,
        files=files,
        options=QuantizeOptions(imatrix=imatrix),
        n_chunks=n_chunks,
        gpu_layers=gpu_layers,
        fresh=fresh,
        progress=Bars(),
    )
    facts = {"text": text.name, "text_sha256": text.sha256, "imatrix": imatrix}
    rows = [{**each.row, **facts} for each in found]
    terminal.print_fidelity(rows, as_json=as_json)
    if any(row["error"] for row in rows):
        click.get_current_context().exit(SOME_FAILED)
