"""llama.cpp's own quantization."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import llama_cpp

from gguf_bench.errors import QuantizeError
from gguf_bench.llama.log import log


@dataclass(frozen=True, slots=True)
class QuantizeFacts:
    """What llama.cpp logged about a quantization: the bytes of all tensors, and how many took a fallback type.

    `needs_imatrix` is what a dry run found out; the real thing fails instead.
    """

    tensor_bytes: int
    bits_per_weight: float
    n_fallback: int
    needs_imatrix: bool


def quantize(
    source: Path,
    target: Path,
    file_type: int,
    *,
    n_threads: int = 0,
    allow_requantize: bool = False,
    dry_run: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> QuantizeFacts:
    """Quantize `source` to `target` through llama_model_quantize: the bytes are llama-quantize's.

    `on_progress` hears (tensor number, tensors), read from the log, which is llama.cpp's only sign of progress.
    `dry_run` writes nothing and only says the size. Raises QuantizeError with llama.cpp's reason.
    """
    params = llama_cpp.llama_model_quantize_default_params()
    params.nthread, params.ftype = n_threads, file_type
    params.allow_requantize, params.dry_run = allow_requantize, dry_run

    def hear(line: str) -> None:
        match = re.match(r"\[\s*(\d+)/\s*(\d+)\]", line)
        if match and on_progress is not None:
            on_progress(int(match.group(1)), int(match.group(2)))

    log().errors.clear()
    log().on_line = hear
    code = llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params))
    log().on_line = None
    if code != 0:
        raise QuantizeError(f"llama.cpp cannot quantize {source.name}{log().why()}")
    size = log().last_match(r"quant size\s*=\s*([\d.]+) MiB \(([\d.]+) BPW\)")
    fallback = log().last_match(r"(\d+) of \d+ tensor\(s\) required fallback")
    return QuantizeFacts(
        tensor_bytes=round(float(size.group(1)) * 2**20) if size else 0,
        bits_per_weight=float(size.group(2)) if size else 0.0,
        n_fallback=int(fallback.group(1)) if fallback else 0,
        needs_imatrix=log().last_match("will require an imatrix") is not None,
    )
