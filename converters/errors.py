"""What can go wrong while converting, as kinds with fields.

ConversionError            one line: what was found, what was wanted, where, and the way out
├── CheckpointFileError    a file of the folder is missing, damaged or outside it: `file`
│   └── UnsafePickle       a .bin file asks for code that is not needed to rebuild tensors: `name`
├── UnsupportedConfig      config.json says something that is not converted faithfully: `key`, `found`, `wanted`
├── UnknownArchitecture    `found`, `known`
├── TokenizerError         the tokenizer files disagree or say something unknown: `file`
│   └── UnknownPreTokenizer  `fingerprint`, `known`
├── TensorError            a tensor is missing, unexpected or misshapen: `tensor`, `wanted`, `found`
└── MetadataError          a model card or generation_config value that GGUF cannot hold
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

MAX_MESSAGE = 2000


class ConversionError(Exception):
    """A checkpoint that cannot be converted. `str()` is one line of characters that print.

    Messages repeat names from files that anybody may have made: line ends and terminal sequences are escaped, and what
    is longer than MAX_MESSAGE characters loses its middle.
    """

    def __init__(self, message: str) -> None:
        if len(message) > MAX_MESSAGE:
            message = f"{message[: MAX_MESSAGE // 2]} ... {message[-MAX_MESSAGE // 2 :]}"
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message))


class CheckpointFileError(ConversionError):
    """`file` (a path, or a name within the folder) is missing, damaged, or lies outside the folder."""

    def __init__(self, file: Path | str, problem: str) -> None:
        super().__init__(f"{file}: {problem}")
        self.file = Path(file)
        self.problem = problem


class UnsafePickle(CheckpointFileError):
    """A .bin file whose pickle asks for `name`, which rebuilding tensors does not need."""

    def __init__(self, file: Path, name: str) -> None:
        super().__init__(
            file, f"its pickle asks for {name}, but only tensors are read from .bin files; use a safetensors copy"
        )
        self.name = name


class UnsupportedConfig(ConversionError):
    """config.json has `key` = `found`, but only `wanted` is converted faithfully."""

    def __init__(self, key: str, found: Any, wanted: str) -> None:
        super().__init__(f"config.json: {key} is {found!r}, but {wanted}")
        self.key, self.found, self.wanted = key, found, wanted


class UnknownArchitecture(ConversionError):
    """config.json names the architecture `found`; `known` are those that are converted."""

    def __init__(self, found: str, known: Iterable[str]) -> None:
        self.found, self.known = found, tuple(sorted(known))
        super().__init__(
            f"config.json: the architecture {found} is not converted; known are {', '.join(self.known)}; "
            "look for a ready-made GGUF of this model"
        )


class TokenizerError(ConversionError):
    """`file` holds a tokenizer that cannot be carried over."""

    def __init__(self, file: str, problem: str) -> None:
        super().__init__(f"{file}: {problem}")
        self.file = file


class UnknownPreTokenizer(TokenizerError):
    """The tokenizer splits text in a way llama.cpp has no name for: its check text hashes to `fingerprint`."""

    def __init__(self, fingerprint: str, known: Iterable[str]) -> None:
        self.fingerprint, self.known = fingerprint, tuple(sorted(set(known)))
        super().__init__(
            "tokenizer.json",
            f"its pre-tokenizer is not one llama.cpp knows (fingerprint {fingerprint}); known are "
            f"{', '.join(self.known)}; was the tokenizer altered by a fine-tune? try the base model's tokenizer.json",
        )


class TensorError(ConversionError):
    """`tensor` is `found`, but `wanted` was expected."""

    def __init__(self, tensor: str, wanted: str, found: str) -> None:
        super().__init__(f"tensor {tensor}: expected {wanted}, found {found}")
        self.tensor, self.wanted, self.found = tensor, wanted, found


class MetadataError(ConversionError):
    """A value of the model card or of generation_config.json that GGUF cannot hold."""
