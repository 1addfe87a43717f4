"""What a GGUF says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gguf_bench.jobs.protocol import Emit, Job, Lines
from gguf_bench.llama.model import Model


def work(job: Job, emit: Emit, _lines: Lines) -> None:
    """{path} -> facts of the file, read without its weights."""
    emit("inspected", **facts(Path(job["path"])))


def facts(path: Path) -> dict[str, Any]:
    """What `describe` wants to know of a file. Raises ModelError where llama.cpp cannot read it."""
    model = Model(path, metadata_only=True)
    return {
        "file_type": model.file_type,
        "bits_per_weight": 8 * model.tensor_bytes / max(1, model.n_params),
        "n_params": model.n_params,
        "architecture": model.metadata("general.architecture") or "",
        "context_train": model.context_train,
    }
