"""Functions of libggml, ggml's own library, that llama-cpp-python has not declared."""

from __future__ import annotations

from typing import Any

from gguf_bench.errors import ModelError
from gguf_bench.llama.bindings import libggml


def function(name: str, result: Any, *arguments: Any) -> Any:
    """The function of this name, with the types of its result and arguments. Raises ModelError where there is none."""
    try:
        found = libggml[name]  # not an attribute: those are shared, and somebody else may declare them otherwise
    except AttributeError as error:
        raise unknown(f"has no function {name}") from error
    found.restype, found.argtypes = result, arguments
    return found


def unknown(how: str) -> ModelError:
    """That the library is not the one we know; `how` goes on behind that."""
    return other(f"is not the one that gguf-bench knows: it {how}")


def other(how: str) -> ModelError:
    """That the library is another one; `how` goes on behind its name."""
    from gguf_bench.llama_build import installed_version  # takes its time to import

    return ModelError(
        f"this llama.cpp ({installed_version()}) {how}",
        hint="install the llama-cpp-python that gguf-bench asks for: pip install --force-reinstall gguf-bench",
    )
