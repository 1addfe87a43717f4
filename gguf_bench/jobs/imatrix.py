"""An importance matrix, computed."""

from __future__ import annotations

from pathlib import Path

from gguf_bench.jobs import loading
from gguf_bench.jobs.protocol import Emit, Job, Lines, beat
from gguf_bench.llama import chunks
from gguf_bench.llama.chunks import ChunkContext
from gguf_bench.llama.devices import physical_cores
from gguf_bench.llama.imatrix import Collection
from gguf_bench.llama.model import Model
from gguf_bench.offload import Plan


def work(job: Job, emit: Emit, _lines: Lines) -> None:
    """{path, text, name, n_ctx, n_chunks, state, key, settings} -> loaded, progress; what was collected is in `state`.

    Goes on from what `state` holds of the same `key`.
    """
    collection = Collection(Path(job["state"]), job["key"], job["name"], job["n_ctx"])

    def attempt(plan: Plan) -> tuple[Model, ChunkContext]:
        model = loading.load(job, emit, plan)
        return model, collection.context(model, physical_cores())

    model, context = loading.with_layers(job, emit, attempt, chunks.shape(job["n_ctx"]))
    collection.collect(model, context, job["text"], job["n_chunks"], emit, beat(emit))
