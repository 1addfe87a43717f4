"""Whether this build of llama.cpp can decode at all."""

from __future__ import annotations

import os
from pathlib import Path

from gguf_bench import tiny_gguf
from gguf_bench.engine import Engine
from gguf_bench.jobs import loading
from gguf_bench.jobs.protocol import Emit, Job, Lines
from gguf_bench.llama.context import PAD, Context
from gguf_bench.llama.devices import physical_cores
from gguf_bench.llama.model import Model


def work(job: Job, emit: Emit, _lines: Lines) -> None:
    """{extra_buffers} -> one decode of a tiny 4-bit model made on the spot: shows that this build can decode at all.

    A build whose AMX code was miscompiled dies here with SIGSEGV when `extra_buffers` is true.
    """
    in_memory = os.memfd_create("tiny.gguf")  # a file of the disk would stay where this process is killed
    try:
        path = tiny_gguf.write(Path(f"/proc/self/fd/{in_memory}"))
        model = Model(path, extra_buffers=job["extra_buffers"])
        context = Context(model, loading.layout(loading.ALONE | {"n_threads": physical_cores()}, PAD))
        next(Engine(model, context, None, 2).answers([("probe", list(range(64)))]))
    finally:
        os.close(in_memory)
    emit("decoded")
