"""How far the predictions of two files are apart."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from gguf_bench.jobs import loading
from gguf_bench.jobs.protocol import Emit, Job, Lines, beat, peak_rss_bytes
from gguf_bench.llama import chunks, divergence
from gguf_bench.llama.chunks import ChunkContext
from gguf_bench.llama.devices import physical_cores
from gguf_bench.llama.model import Model
from gguf_bench.offload import Plan

T = TypeVar("T")
_Chunked = tuple[Model, ChunkContext]


def work(job: Job, emit: Emit, _lines: Lines) -> None:
    """{path, reference, text, name, n_ctx, n_chunks, settings} -> loaded, `measured` for some chunks at a time, done.

    Events about loading say in `of` which of the two it is, and so do `plans`, which a job may bring along.
    """
    shape, n_threads, plans = chunks.shape(job["n_ctx"]), physical_cores(), job.get("plans", {})

    def with_layers(of: str, attempt: Callable[[_Chunked], T]) -> T:
        one = {"path": job[of], "settings": job["settings"]} | ({"plans": plans[of]} if of in plans else {})
        tell = partial(emit, of=of)

        def load(plan: Plan) -> T:
            model = loading.load(one, tell, plan)
            half = job["n_ctx"] // 2
            return attempt((model, ChunkContext(model, job["n_ctx"], n_threads=n_threads, logits_from=half)))

        return loading.with_layers(one, tell, load, shape)

    def both(reference: _Chunked) -> tuple[_Chunked, _Chunked]:
        return with_layers("path", lambda quantized: (reference, quantized))

    # One within the other: where even the CPU alone leaves no room for the second, the first gives way.
    divergence.measure(*with_layers("reference", both), job, emit, beat(emit))
    emit("done", peak_rss_bytes=peak_rss_bytes())
