"""QUANTIZE: a GGUF -> the same model in another file type, through llama.cpp, in a child process.

The bytes are those of `llama-quantize` built from the same llama.cpp.
"""

from __future__ import annotations

import re
from pathlib import Path

from gguf_bench.child import Child
from gguf_bench.errors import QuantizeError
from gguf_bench.paths import require_free_space, written_whole
from gguf_bench.progress import SILENT, Progress
from gguf_bench.quants import QUANTS, Quant
from gguf_bench.records import GgufFile, QuantizedSize

UNQUANTIZED = ("F32", "F16", "BF16")
TYPE_AT_END = re.compile(rf"[-.](?:{'|'.join(sorted(QUANTS, key=len, reverse=True))})$", re.IGNORECASE)


def target_name(source: Path, quant: Quant) -> str:
    """'SmolLM2-135M-Instruct-Q2_K.gguf' for '....Q4_1.gguf' or '...-BF16.gguf': the GGUF naming convention."""
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", source.stem)
    return f"{TYPE_AT_END.sub('', stem)}-{quant.name}.gguf"


def check(source: GgufFile, quant: Quant, *, allow_requantize: bool) -> None:
    """Raise QuantizeError where making `quant` from `source` would lose what cannot be had back."""
    if source.quant not in UNQUANTIZED and not allow_requantize:
        raise QuantizeError(
            f"{source.path.name} is {source.quant} already: what that lost cannot be had back",
            hint="quantize from an F16 or BF16 file, or say `gguf-bench quantize --allow-requantize`",
        )


def planned_size(source: GgufFile, quant: Quant, *, allow_requantize: bool = False) -> QuantizedSize:
    """What `quantize` would make, from llama.cpp's dry run; nothing is written. Raises QuantizeError as it does."""
    check(source, quant, allow_requantize=allow_requantize)
    return _quantize(source, quant, source.path, allow_requantize=allow_requantize, dry_run=True, progress=SILENT)


def quantize(
    source: GgufFile, quant: Quant, target: Path, *, allow_requantize: bool = False, progress: Progress = SILENT
) -> QuantizedSize:
    """Write `source` as `quant` to `target`, which is there whole or not at all.

    Raises QuantizeError for a source that is quantized already (unless `allow_requantize`), for a type that needs an
    importance matrix, and with llama.cpp's own reason; DiskSpaceError before anything is written.
    """
    planned = planned_size(source, quant, allow_requantize=allow_requantize)
    if planned.needs_imatrix:
        raise QuantizeError(
            f"{quant.name} of this model needs an importance matrix, which cannot be made or read yet",
            hint=f"choose a type that needs none, such as {_nearest_without_imatrix(quant)}",
        )
    require_free_space(f"{target.name}", target.parent, planned.tensor_bytes)
    with written_whole(target) as partial:
        return _quantize(source, quant, partial, allow_requantize=allow_requantize, dry_run=False, progress=progress)


def _quantize(
    source: GgufFile, quant: Quant, target: Path, *, allow_requantize: bool, dry_run: bool, progress: Progress
) -> QuantizedSize:
    job = {
        "job": "quantize",
        "source": str(source.path),
        "target": str(target),
        "file_type": quant.file_type,
        "allow_requantize": allow_requantize,
        "dry_run": dry_run,
    }
    bar = progress.bar(f"quantize {quant.name}", None, "tensors")
    done = 0
    try:
        with Child(job, what=f"quantizing {source.path.name} to {quant.name}") as child:
            for event in child.events():
                if event["event"] == "progress":
                    bar.advance(event["done"] - done)
                    done = event["done"]
                else:
                    return QuantizedSize(
                        tensor_bytes=event["tensor_bytes"],
                        bits_per_weight=event["bits_per_weight"],
                        n_fallback=event["n_fallback"],
                        needs_imatrix=event["needs_imatrix"],
                    )
    finally:
        bar.close()
    raise QuantizeError(f"quantizing {source.path.name} to {quant.name} ended without a result")


def _nearest_without_imatrix(wanted: Quant) -> str:
    candidates = [quant for quant in QUANTS.values() if not quant.needs_imatrix and "_K" in quant.name]
    return min(candidates, key=lambda quant: abs(quant.bits_per_weight - wanted.bits_per_weight)).name
