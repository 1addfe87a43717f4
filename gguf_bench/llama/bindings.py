"""llama-cpp-python's low-level API: `llama_cpp` and `libggml`, without the rest of the package.

Its __init__ brings a high-level API along, with jinja2, diskcache and numpy. Importing those takes longer than all that
a process does that looks into a file or plans a quantized one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType


@contextmanager
def _bare(package: str) -> Iterator[None]:
    """Meanwhile modules of `package` are imported without running its __init__, unless that has been run."""
    spec = find_spec(package)
    if package in sys.modules or spec is None:
        yield
        return
    module = sys.modules[package] = ModuleType(package)
    module.__path__ = list(spec.submodule_search_locations or ())
    try:
        yield
    finally:
        del sys.modules[package]  # who imports it later gets all of it


with _bare("llama_cpp"):
    from llama_cpp import llama_cpp
    from llama_cpp._ggml import libggml

__all__ = ["libggml", "llama_cpp"]
