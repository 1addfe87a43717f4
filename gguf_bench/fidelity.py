"""FIDELITY: how near a quantized file's predictions are to those of the file it was made from.

Scores tell two quantizations apart after hundreds of documents at best; the distributions over the next token do after
some thousand tokens. Both files are loaded by one child process, and read a text side by side, chunk by chunk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gguf_bench import llama_build
from gguf_bench.child import Child, patience
from gguf_bench.errors import ModelError
from gguf_bench.progress import SILENT, Progress
from gguf_bench.texts import Text

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

CHUNK_TOKENS = 512
"""llama-perplexity's default; of each chunk the second half is predicted."""

RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and its standard error: by the bootstrap over chunks, whose tokens are not independent of each other."""

    value: float
    standard_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """What a quantized model predicts, beside its reference, on `n_tokens` tokens of `n_chunks` chunks.

    Kullback-Leibler divergence from the reference in nats, the share of tokens both think likeliest, perplexities and
    their ratio.
    """

    n_chunks: int
    n_tokens: int
    kl_divergence: Figure
    kl_divergence_99: Figure
    top1_agreement: Figure
    perplexity: Figure
    reference_perplexity: Figure
    perplexity_ratio: Figure


def measure(
    reference: Path,
    quantized: Path,
    text: Text,
    *,
    n_chunks: int | None = None,
    gpu_layers: str = "auto",
    progress: Progress = SILENT,
) -> Fidelity:
    """Hold `quantized` against `reference` on the first `n_chunks` chunks of `text`, in memory for both and one part.

    Raises ModelError where one cannot be run, or they are not of one vocabulary.
    """
    job = {
        "job": "fidelity",
        "path": str(quantized),
        "reference": str(reference),
        "text": text.text,
        "name": text.name,
        "n_ctx": CHUNK_TOKENS,
        "n_chunks": n_chunks,
        "settings": {"gpu_layers": gpu_layers, "extra_buffers": llama_build.extra_buffers_work()},
    }
    size_bytes = reference.stat().st_size + quantized.stat().st_size
    measured: dict[str, list[list[float]]] = {}
    bar = progress.bar(f"load {quantized.name}", None, "")
    try:
        with Child(job, what=f"comparing {quantized.name}", patience_seconds=patience("load", size_bytes)) as child:
            for event in child.events():
                match event.pop("event"):
                    case "stepped_down":
                        progress.say(event["message"])
                    case "loaded":
                        bar.close()
                        bar = progress.bar(quantized.name, event["total"], "chunks")
                    case "measured":
                        bar.advance(len(event["divergence"]))
                        for name, chunks in event.items():
                            measured.setdefault(name, []).extend(chunks)
                if measured:
                    child.patience_seconds = patience(
                        "answer", size_bytes, longest_silence_seconds=child.longest_silence_seconds
                    )
    finally:
        bar.close()
    if not measured:
        raise ModelError(f"comparing {quantized.name} ended without a result")
    import numpy as np  # takes its time to import, and `prepare` imports this module

    return summarised({name: np.array(chunks, np.float64) for name, chunks in measured.items()})


def summarised(measured: dict[str, Array]) -> Fidelity:
    """The figures of (chunks, tokens) each of divergence, surprise, reference_surprise and agrees."""
    import numpy as np

    divergence = measured["divergence"]
    n_chunks = len(divergence)
    chosen = np.random.default_rng(0).integers(0, n_chunks, (RESAMPLES, n_chunks))

    def figure(of: Callable[[Any], float]) -> Figure:
        """`of` gets which chunks there are."""
        spread = np.std([of(chunks) for chunks in chosen], ddof=1) if n_chunks > 1 else math.nan
        return Figure(float(of(np.arange(n_chunks))), float(spread))

    means = {name: values.mean(axis=1) for name, values in measured.items()}
    return Fidelity(
        n_chunks=n_chunks,
        n_tokens=divergence.size,
        kl_divergence=figure(lambda chunks: means["divergence"][chunks].mean()),
        kl_divergence_99=figure(lambda chunks: float(np.quantile(divergence[chunks], 0.99))),
        top1_agreement=figure(lambda chunks: means["agrees"][chunks].mean()),
        perplexity=figure(lambda chunks: math.exp(means["surprise"][chunks].mean())),
        reference_perplexity=figure(lambda chunks: math.exp(means["reference_surprise"][chunks].mean())),
        perplexity_ratio=figure(
            lambda chunks: math.exp((means["surprise"] - means["reference_surprise"])[chunks].mean())
        ),
    )
