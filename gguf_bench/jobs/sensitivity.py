"""What each type of each tensor costs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from gguf_bench.jobs import loading
from gguf_bench.jobs.protocol import Emit, Job, Lines
from gguf_bench.jobs.quantize import quantize_options
from gguf_bench.llama import chunks, quantize_imatrix
from gguf_bench.llama.devices import physical_cores
from gguf_bench.llama.sensitivity import Probe
from gguf_bench.llama.tensor_errors import Judge
from gguf_bench.offload import Plan


def work(job: Job, emit: Emit, _lines: Lines) -> None:
    """{path, options, candidates, n_layers, text, n_ctx, settings} -> judged, loaded, then measured, with progress.

    `judged` says what each type does to each tensor, `measured` how sensitive predictions are to that. Of a model that
    cannot be run there is only the first.
    """
    options, n_threads = quantize_options(job), physical_cores()
    importances = quantize_imatrix.load(options) if options.imatrix is not None else None

    def tell(done: int, total: int) -> None:
        emit("progress", done=done, total=total)

    with Judge(Path(job["path"]), options, importances, job["n_layers"]) as judge:
        header_bytes, judged = judge.judged(job["candidates"], tell)
        emit("judged", header_bytes=header_bytes, tensors=[asdict(tensor) for tensor in judged])

        def attempt(plan: Plan) -> Probe:
            return Probe(loading.load(job, emit, plan), judge, judged, job["n_ctx"], n_threads)

        probe = loading.with_layers(job, emit, attempt, chunks.shape(job["n_ctx"]))
        emit("loaded")
        emit("measured", sensitivities=probe.sensitivities(job["text"], tell))
