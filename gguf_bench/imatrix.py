"""IMATRIX: a GGUF and a text -> the importance matrix that llama.cpp quantizes by, computed in a child process.

The child goes through the text in chunks and writes down how far it came, beside the file that is to be, so that work
that was broken off is gone on with. What goes into the matrix is told in `llama.imatrix`, how it is stored in
`imatrix_file`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gguf_bench import llama_build
from gguf_bench.child import Child, Event, patience
from gguf_bench.errors import ChildDied, ModelError
from gguf_bench.gguf_header import GgufHeader, read_header
from gguf_bench.offload import after_death
from gguf_bench.progress import SILENT, Progress, Reached
from gguf_bench.records import GgufFile
from gguf_bench.texts import Text

if TYPE_CHECKING:
    from gguf_bench.imatrix_file import Imatrix

CHUNK_TOKENS = 512
"""llama-imatrix's default."""

METHOD = 1
"""Raise it whenever other values would be computed of the same model and text."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the text did not reach: `weights` without an entry, and of others the `experts` that no token chose."""

    weights: tuple[str, ...]
    experts: Mapping[str, tuple[int, ...]]

    def line(self) -> str | None:
        """What a user should know of it; None where all was reached."""
        parts = []
        if self.experts:
            by_layer: dict[tuple[str, tuple[int, ...]], None] = {}
            for name, numbers in self.experts.items():
                by_layer[name.rpartition(".ffn_")[0] or name, numbers] = None
            told = [f"{layer} {_some([str(number) for number in numbers])}" for layer, numbers in by_layer]
            parts.append(f"experts that no token chose: {_some(told, '; ')}")
        if self.weights:
            parts.append(f"weights that were not used: {_some(self.weights)}")
        return f"NOTE: {'; '.join(parts)}: they are quantized as if all inputs weighed the same" if parts else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """An importance matrix on disk, of `n_chunks` chunks of `chunk_tokens` tokens, and what it lacks.

    `gpu_layers` is None where all of it had been computed before.
    """

    path: Path
    n_entries: int
    n_values: int
    n_chunks: int
    chunk_tokens: int
    gpu_layers: int | None
    coverage: Coverage


def compute(
    gguf: GgufFile,
    text: Text,
    target: Path,
    *,
    n_chunks: int | None = None,
    gpu_layers: str = "auto",
    progress: Progress = SILENT,
) -> Computed:
    """Write the importance matrix of `gguf` on `text` (its first `n_chunks` chunks) to `target`, whole or not at all.

    Broken off, the same call goes on from `target`.partial, whatever `n_chunks`. Raises ModelError for a text that is
    too short or values that are no numbers, ChildDied where llama.cpp crashed.
    """
    from gguf_bench import imatrix_file  # brings numpy and gguf, which take their time to import

    header = read_header(gguf.path)
    chunk_tokens = min(CHUNK_TOKENS, gguf.context_train)
    state = target.with_name(f"{target.name}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    work = key(gguf, text)
    job = {
        "job": "imatrix",
        "path": str(gguf.path),
        "text": text.text,
        "name": text.name,
        "n_ctx": chunk_tokens,
        "n_chunks": n_chunks,
        "state": str(state),
        "key": work,
        "settings": {"gpu_layers": gpu_layers, "extra_buffers": llama_build.extra_buffers_work()},
    }
    loaded = _computed_by_a_child(job, gguf, progress)
    imatrix, n_done = imatrix_file.progress_of(state, work)
    if imatrix is None:
        raise ModelError(f"{state} is not there any more", hint="run the same command again")
    imatrix_file.write(imatrix, target)
    state.unlink(missing_ok=True)
    return Computed(
        path=target,
        n_entries=len(imatrix.entries),
        n_values=sum(entry.sums.size for entry in imatrix.entries.values()),
        n_chunks=n_done,
        chunk_tokens=chunk_tokens,
        gpu_layers=loaded["gpu_layers"] if loaded else None,
        coverage=coverage(imatrix, header),
    )


def key(gguf: GgufFile, text: Text) -> str:
    """Names the importance matrix of a file and a text by their content, and by who computes."""
    what = [METHOD, gguf.sha256, text.sha256, CHUNK_TOKENS, llama_build.installed_version()]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _computed_by_a_child(job: Mapping[str, Any], gguf: GgufFile, progress: Progress) -> Event | None:
    """Let a child bring the state to its end; what it loaded, None where nothing was left to do."""
    while True:
        offload: list[Event] = []
        try:
            return _sit(job, gguf, offload, progress)
        except ChildDied as death:
            again = after_death(job, offload[-1] if offload else None, death)
            if again is None:
                raise
            job, step_down = again
            progress.say(step_down)


def _sit(job: Mapping[str, Any], gguf: GgufFile, offload: list[Event], progress: Progress) -> Event | None:
    loaded = None
    bar = Reached(progress.bar(f"load {gguf.path.name}", 1.0, ""))
    try:
        with Child(
            job, what=f"the importance matrix of {gguf.path.name}", patience_seconds=patience("load", gguf.size_bytes)
        ) as child:
            for event in child.events():
                match event["event"]:
                    case "offload":
                        offload.append(event)
                    case "stepped_down":
                        progress.say(event["message"])
                    case "loading" | "progress":
                        bar.at(event["done"])
                    case "loaded":
                        loaded = event
                        bar.close()
                        if event["done"]:
                            progress.say(f"going on behind chunk {event['done']} of {event['total']}")
                        bar = Reached(progress.bar("imatrix", event["total"], "chunks"))
                        bar.at(event["done"])
                if loaded is not None:
                    child.patience_seconds = patience(
                        "answer", gguf.size_bytes, longest_silence_seconds=child.longest_silence_seconds
                    )
    finally:
        bar.close()
    return loaded


# --- coverage ---

NEVER_QUANTIZED = (
    *("_norm", "ffn_gate_inp", "ffn_gate_tid2eid", "altup", "laurel", "per_layer_model_proj", "ssm_conv1d"),
    *("shortconv.conv", "indexer.k_proj", "indexer.q_proj", "time_mix_", "attn_rel_b"),
)
"""Parts of the names of matrices that stay as they are (tensor_allows_quantization in llama.cpp's llama-quant.cpp)."""


def coverage(imatrix: Imatrix, header: GgufHeader) -> Coverage:
    """What of the model's blocks `imatrix` says nothing about, though it is quantized."""
    return Coverage(
        weights=tuple(
            tensor.name
            for tensor in header.tensors
            if tensor.name.startswith("blk.")
            and tensor.name.endswith(".weight")
            and sum(length > 1 for length in tensor.shape) > 1
            and tensor.name not in imatrix.entries
            and not any(part in tensor.name for part in NEVER_QUANTIZED)
        ),
        experts={
            name: missing
            for name, entry in imatrix.entries.items()
            if (missing := tuple(place for place, count in enumerate(entry.counts.tolist()) if not count))
        },
    )


def _some(words: Sequence[str], separator: str = ", ", most: int = 6) -> str:
    rest = f" and {len(words) - most} more" if len(words) > most else ""
    return separator.join(words[:most]) + rest
