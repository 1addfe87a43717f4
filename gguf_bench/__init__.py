"""gguf-bench: which local model, at which quantization, reads earnings per share right, and is the difference real?

The API loads when first used, so that `import gguf_bench` and the command line's `--help` cost nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gguf_bench.api import create_benchmark_runner, get_model_loader

__all__ = ["create_benchmark_runner", "get_model_loader"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("gguf_bench.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
