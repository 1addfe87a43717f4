"""`gguf-bench imatrix`"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from gguf_bench.cli.state import GpuLayers, HomePath, State, chunks_option, json_option, pass_state


@click.command()
@click.argument("model")
@click.option("--text", "text_file", type=HomePath(path_type=Path, dir_okay=False), help="A text to compute it on.")
@click.option("--dataset", "dataset_name", metavar="NAME|FILE", help="The documents of a dataset instead.")
@click.option("-o", "--output", type=HomePath(path_type=Path, dir_okay=False), required=True, help="Write this file.")
@chunks_option
@click.option("--gpu-layers", type=GpuLayers(), default="auto", show_default=True, help="Layers on the GPU.")
@json_option
@pass_state
def imatrix(
    state: State,
    model: str,
    text_file: Path | None,
    dataset_name: str | None,
    output: Path,
    n_chunks: int | None,
    gpu_layers: str,
    as_json: bool,
) -> None:
    """Compute what MODEL's weights are multiplied with on a text: the importance matrix to quantize by.

    The file is llama.cpp's, and its values are llama-imatrix's. Without a text it is computed on releases like those of
    the built-in dataset, of other companies. Computed as far as it got, it is gone on with by the same command.

    \b
    gguf-bench imatrix ./model-F16.gguf -o imatrix.gguf
    gguf-bench imatrix org/name --text wiki.txt --chunks 100 -o imatrix.gguf
    gguf-bench quantize ./model-F16.gguf -q IQ2_XXS --imatrix imatrix.gguf
    """
    if text_file is not None and dataset_name is not None:
        raise click.UsageError("give a --text or a --dataset, not both")
    from gguf_bench import prepare, terminal, texts
    from gguf_bench.cli.bars import Bars

    if text_file is not None:
        text = texts.of_file(text_file)
    elif dataset_name is not None:
        from gguf_bench import dataset

        found = dataset.load(dataset_name)
        text = texts.of_documents(found.name, found.documents)
        click.echo(f"note: what is quantized by it knows the documents of {found.name}: score it on others", err=True)
    else:
        text = texts.built_in(texts.CALIBRATION)
    (spec,) = state.specs([model])
    computed = prepare.imatrix(
        spec, text, output, state.store, n_chunks=n_chunks, gpu_layers=gpu_layers, progress=Bars()
    )
    if as_json:
        shown = asdict(computed) | {"path": str(computed.path), "text": text.name, "text_sha256": text.sha256}
        terminal.print_json(shown)
        return
    click.echo(computed.path)
