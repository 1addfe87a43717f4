"""SENSITIVITY: a GGUF -> what each type of each of its tensors takes, and what it costs in quality.

Measured in a child process, in two steps (`llama.tensor_errors`, `llama.sensitivity`): by how much each type changes a
tensor's products, and by how much changed products of that tensor change what the model predicts. The product of both
is the divergence that choosing the type is expected to cause; `size_target` chooses by it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gguf_bench import llama_build, quantize_options
from gguf_bench.child import Child, Event, patience
from gguf_bench.errors import ChildDied, ModelError, QuantizeError
from gguf_bench.gguf_header import read_header
from gguf_bench.paths import written_whole
from gguf_bench.progress import SILENT, Progress, Reached
from gguf_bench.quantize_options import QuantizeOptions
from gguf_bench.records import GgufFile
from gguf_bench.size_target import CANDIDATES, Choice, Measured, Tensor
from gguf_bench.texts import Text

CHUNK_TOKENS = 128
"""How many tokens are read to see what a change does to predictions; three quarters of them are predicted."""

METHOD = 1
"""Raise it whenever other figures would be measured of the same model."""


def key(source: GgufFile, options: QuantizeOptions, imatrix_sha256: str | None, text: Text) -> str:
    """Names what is measured by all that decides it."""
    wanted = asdict(options) | {"imatrix": imatrix_sha256, "imatrix_name": options.imatrix, "n_threads": 0}
    what = [METHOD, source.sha256, wanted, text.sha256, CHUNK_TOKENS, list(CANDIDATES), llama_build.installed_version()]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def measure(
    source: GgufFile, options: QuantizeOptions, text: Text, known: Path, progress: Progress = SILENT
) -> Measured:
    """What `source` quantized by `options` can come to, tensor by tensor; kept in the file `known`.

    Where the model cannot be run here, tensors are weighed alike, which is said and not kept. Raises QuantizeError.
    """
    if (kept := _kept(known)) is not None:
        return kept
    header = read_header(source.path)
    quantize_options.check(options, header)
    job = {
        "job": "sensitivity",
        "path": str(source.path),
        "options": asdict(options),
        "candidates": list(CANDIDATES),
        "n_layers": header.n_layers,
        "text": text.text,
        "n_ctx": min(CHUNK_TOKENS, source.context_train),
        "settings": {"gpu_layers": "auto", "extra_buffers": llama_build.extra_buffers_work()},
    }
    judged, sensitivities = _measured_by_a_child(job, source, progress)
    measured = _measured(judged, sensitivities)
    if sensitivities is not None:
        with written_whole(known) as partial:
            partial.write_text(json.dumps(asdict(measured)), encoding="utf-8")
    return measured


def _measured_by_a_child(
    job: Mapping[str, Any], source: GgufFile, progress: Progress
) -> tuple[Event, Mapping[str, float] | None]:
    """The `judged` event, and the sensitivity of each weight by its name in the source."""
    judged, sensitivities = None, None
    bar = Reached(progress.bar("errors of types", None, "tensors"))
    try:
        with Child(job, what=f"measuring {source.path.name}") as child:
            for event in child.events():
                match event["event"]:
                    case "stepped_down":
                        progress.say(event["message"])
                    case "progress":
                        bar.at(event["done"])
                    case "judged":
                        judged = event
                        bar.close()
                        bar = Reached(progress.bar("sensitivity of tensors", None, "groups"))
                        child.patience_seconds = patience("load", source.size_bytes)
                    case "loaded":
                        child.patience_seconds = patience("answer", source.size_bytes)
                    case "measured":
                        sensitivities = event["sensitivities"]
    except (ModelError, ChildDied) as error:
        if judged is None:
            raise
        progress.say(
            f"NOTE: all tensors are taken to be equally sensitive, because the model cannot be run here: {error}"
        )
    finally:
        bar.close()
    if judged is None:
        raise QuantizeError(f"measuring {source.path.name} ended without a result")
    return judged, sensitivities


def _measured(judged: Event, sensitivities: Mapping[str, float] | None) -> Measured:
    def tensor(name: str, old_name: str, n_weights: int, choices: list[tuple[str, int, float]]) -> Tensor:
        sensitivity = 1.0 if sensitivities is None else sensitivities.get(old_name, 0.0)
        return Tensor(
            name, n_weights, tuple(Choice(type_name, size, sensitivity * error) for type_name, size, error in choices)
        )

    return Measured(judged["header_bytes"], tuple(tensor(**fields) for fields in judged["tensors"]))


def _kept(known: Path) -> Measured | None:
    try:
        kept = json.loads(known.read_text(encoding="utf-8"))
        tensors = (
            Tensor(one["name"], one["n_weights"], tuple(Choice(**choice) for choice in one["choices"]))
            for one in kept["tensors"]
        )
        return Measured(kept["header_bytes"], tuple(tensors))
    except (OSError, ValueError, KeyError, TypeError):
        return None
