"""FIDELITY: how near a quantized file's predictions are to those of the file it was made from.

Scores tell two quantizations apart after hundreds of documents at best; the distributions over the next token do after
some thousand tokens. Both files are loaded by one child process, and read a text side by side, chunk by chunk.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gguf_bench import llama_build
from gguf_bench.child import Child, Event, patience
from gguf_bench.errors import ModelError
from gguf_bench.gguf_files import gguf_shards
from gguf_bench.offload import after_death, ran_out_of_memory
from gguf_bench.progress import SILENT, Progress, Reached
from gguf_bench.texts import Text

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

CHUNK_TOKENS = 512
"""llama-perplexity's default; of each chunk the second half is predicted."""

RESAMPLES = 1000

METHOD = 2
"""Raise it whenever other figures would be computed of the same files and text."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and its standard error: by the bootstrap over chunks, whose tokens are not independent of each other."""

    value: float
    standard_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a quantized model predicts beside its reference.

    Kullback-Leibler divergence from the reference in nats (the mean, and what 1 % of the tokens exceed), over what the
    reference gives a probability of e^-16 at least; the share of tokens both think likeliest, perplexities and their
    ratio.
    """

    kl_divergence: Figure
    kl_divergence_99: Figure
    top1_agreement: Figure
    perplexity: Figure
    reference_perplexity: Figure
    perplexity_ratio: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity(Figures):
    """Figures on `n_tokens` tokens of the first `n_chunks` chunks of a text, of `n_ctx` tokens each.

    `is_whole_text` says that there are no more of them. The `gpu_layers` really were on GPUs. `seconds` went by without
    loading, and `peak_rss_bytes` is the most memory of the process that held both.
    """

    n_ctx: int
    n_chunks: int
    is_whole_text: bool
    n_tokens: int
    gpu_layers: int
    reference_gpu_layers: int
    seconds: float
    peak_rss_bytes: int


def measure(
    reference: Path,
    quantized: Path,
    text: Text,
    *,
    n_ctx: int = CHUNK_TOKENS,
    n_chunks: int | None = None,
    gpu_layers: str = "auto",
    progress: Progress = SILENT,
) -> Fidelity:
    """Hold `quantized` against `reference` on the first `n_chunks` chunks of `text`, in memory for both and one part.

    Where both do not fit the GPU, first the quantized file and then the reference takes fewer layers there, if
    `gpu_layers` is "auto". Raises ModelError where one cannot be run, or they are not of one vocabulary; ChildDied
    where llama.cpp crashed.
    """
    job: dict[str, Any] = {
        "job": "fidelity",
        "path": str(quantized),
        "reference": str(reference),
        "text": text.text,
        "name": text.name,
        "n_ctx": n_ctx,
        "n_chunks": n_chunks,
        "settings": {"gpu_layers": gpu_layers, "extra_buffers": llama_build.extra_buffers_work()},
    }
    while True:
        sitting = _Sitting(reference, quantized, progress)
        try:
            return sitting.through(job)
        except ModelError as error:
            again = stepped_down(job, sitting.offload, error)
            if again is None:
                if any(tried["gpu_layers"] for tried in sitting.offload.values()) and ran_out_of_memory(error):
                    error.hint = "ask for --gpu-layers auto, or for fewer"
                raise
            job, step_down = again
            progress.say(step_down)


def stepped_down(
    job: Mapping[str, Any], offload: Mapping[str, Event], error: ModelError
) -> tuple[dict[str, Any], str] | None:
    """The job to start again with, and what to say, for a child that GPU memory killed; None where that is not it.

    As `offload.after_death`, of two files in one child: `offload` has the last plan tried of each. The quantized file
    is the first to give way, and is planned anew where the reference has to.
    """
    tried = {of: [[event["gpu_layers"], event["tensor_split"]], *event["left"]] for of, event in offload.items()}
    for of in ("path", "reference"):
        again = after_death(job, offload.get(of), error)
        if again is not None:
            kept = {"reference": tried["reference"]} if of == "path" else {}
            return {**job, "plans": {**kept, of: again[0]["plans"]}}, f"{Path(job[of]).name}: {again[1]}"
    return None


class _Sitting:
    """One child's work; `offload` is the last it said of what it puts onto GPUs, by the name of the file in the job."""

    def __init__(self, reference: Path, quantized: Path, progress: Progress) -> None:
        self.offload: dict[str, Event] = {}
        self._name, self._progress = quantized.name, progress
        self._size_bytes = sum(part.stat().st_size for file in (reference, quantized) for part in gguf_shards(file))

    def through(self, job: Mapping[str, Any]) -> Fidelity:
        measured: dict[str, list[list[float]]] = {}
        facts: Event = {}
        bar, started = Reached(self._progress.bar(f"load {self._name}", None, "")), time.monotonic()
        try:
            with Child(
                job, what=f"comparing {self._name}", patience_seconds=patience("load", self._size_bytes)
            ) as child:
                for event in child.events():
                    match event["event"]:
                        case "offload":
                            self.offload[event["of"]] = event
                            if event["of"] == "reference":
                                self.offload.pop("path", None)  # it is planned anew
                        case "stepped_down":
                            self._progress.say(f"{Path(job[event['of']]).name}: {event['message']}")
                        case "loaded":
                            facts, started = event, time.monotonic()
                            bar.close()
                            bar = Reached(self._progress.bar(self._name, event["total"], "tokens"))
                        case "measured":
                            for name, chunks in event["chunks"].items():
                                measured.setdefault(name, []).extend(chunks)
                        case "done":
                            facts |= {"peak_rss_bytes": event["peak_rss_bytes"]}
                    if "done" in event:
                        bar.at(event["done"])
                    if facts:
                        child.patience_seconds = patience(
                            "answer", self._size_bytes, longest_silence_seconds=child.longest_silence_seconds
                        )
        finally:
            bar.close()
        if not measured or "peak_rss_bytes" not in facts:
            raise ModelError(f"comparing {self._name} ended without a result")
        import numpy as np  # takes its time to import, and commands import this module that need none of it

        seconds = time.monotonic() - started
        arrays = {name: np.array(chunks, np.float64) for name, chunks in measured.items()}
        names = ("is_whole_text", "gpu_layers", "reference_gpu_layers", "peak_rss_bytes")
        return Fidelity(
            **_figures(summarised(arrays)),
            n_ctx=job["n_ctx"],
            n_chunks=len(arrays["divergence"]),
            n_tokens=arrays["divergence"].size,
            seconds=seconds,
            **{name: facts[name] for name in names},
        )


def summarised(measured: Mapping[str, Array]) -> Figures:
    """The figures of (chunks, tokens) each of divergence, surprise, reference_surprise and agrees.

    One that a model's logits make infinite is infinite, and its standard error then no number.
    """
    import numpy as np

    divergence = measured["divergence"]
    n_chunks = len(divergence)
    chosen = np.random.default_rng(0).integers(0, n_chunks, (RESAMPLES, n_chunks))

    def figure(of: Callable[[Any], float]) -> Figure:
        """`of` gets which chunks there are."""
        spread = np.std([of(chunks) for chunks in chosen], ddof=1) if n_chunks > 1 else math.nan
        return Figure(float(of(np.arange(n_chunks))), float(spread))

    means = {name: values.mean(axis=1) for name, values in measured.items()}
    with np.errstate(over="ignore", invalid="ignore"):
        return Figures(
            kl_divergence=figure(lambda chunks: means["divergence"][chunks].mean()),
            kl_divergence_99=figure(lambda chunks: np.quantile(divergence[chunks], 0.99)),
            top1_agreement=figure(lambda chunks: means["agrees"][chunks].mean()),
            perplexity=figure(lambda chunks: np.exp(means["surprise"][chunks].mean())),
            reference_perplexity=figure(lambda chunks: np.exp(means["reference_surprise"][chunks].mean())),
            perplexity_ratio=figure(
                lambda chunks: np.exp((means["surprise"] - means["reference_surprise"])[chunks].mean())
            ),
        )


# --- as it is stored ---

FIGURES = tuple(field.name for field in dataclasses.fields(Figures))
OTHERS = tuple(field.name for field in dataclasses.fields(Fidelity) if field.name not in FIGURES)


def columns(found: Fidelity) -> dict[str, Any]:
    """`found` as columns of the store's `fidelity_measurements`."""
    figures = _figures(found)
    values = {name: figure.value for name, figure in figures.items()}
    errors = {f"{name}_standard_error": figure.standard_error for name, figure in figures.items()}
    return values | errors | {name: getattr(found, name) for name in OTHERS}


def of_columns(row: Mapping[str, Any]) -> Fidelity:
    """What `columns` were made of; what is no number comes back from the store as null."""

    def number(name: str) -> float:
        return math.nan if row[name] is None else float(row[name])

    values: dict[str, Any] = {name: Figure(number(name), number(f"{name}_standard_error")) for name in FIGURES}
    values |= {name: row[name] for name in OTHERS}
    return Fidelity(**values | {"is_whole_text": bool(row["is_whole_text"])})


def _figures(found: Figures) -> dict[str, Any]:
    return {name: getattr(found, name) for name in FIGURES}
