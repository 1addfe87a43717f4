"""GGUF files written by hand: a small one that works, and every way to make it lie.

The small one has SmolLM2's vocabulary and chat template and one layer of random weights, so that it loads and answers
(nonsense) in no time. What the others claim is written as it is, checked by nobody; what they claim to hold is a hole
in the file, so that gigabytes cost nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np

UINT8, UINT16, UINT32, STRING, ARRAY = 0, 2, 4, 8, 9
F32, F16 = 0, 1
N_EMBD, N_FF, N_HEAD, N_VOCAB, ALIGNMENT = 64, 64, 4, 49152, 32


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def text(value: str | bytes) -> bytes:
    """The type and value of a metadata entry that is a string; `number` and `array` likewise."""
    return struct.pack("<I", STRING) + string(value)


def number(value: int) -> bytes:
    return struct.pack("<II", UINT32, value)


def array(kind: int, count: int, content: bytes = b"") -> bytes:
    return struct.pack("<IIQ", ARRAY, kind, count) + content


@dataclass(frozen=True)
class Tensor:
    """What the file says of a tensor; `data` None leaves a hole of `size` bytes."""

    name: str
    shape: tuple[int, ...]
    kind: int = F16
    data: bytes | None = None
    offset: int | None = None
    n_dims: int | None = None

    @property
    def size(self) -> int:
        return (4 if self.kind == F32 else 2) * int(np.prod([float(n) for n in self.shape]))


@dataclass(frozen=True)
class File:
    """A GGUF as data. `write` makes it; the counts are what it claims, by default the truth."""

    metadata: Mapping[str, bytes]
    tensors: Sequence[Tensor]
    magic: bytes = b"GGUF"
    version: int = 3
    n_tensors: int | None = None
    n_metadata: int | None = None
    cut: int | None = None
    """Bytes to keep of the file; negative ones are cut from its end."""
    hole: int | None = None
    """The size of the data, where it is not that of the tensors."""

    def write(self, path: Path) -> Path:
        n_tensors = len(self.tensors) if self.n_tensors is None else self.n_tensors
        n_metadata = len(self.metadata) if self.n_metadata is None else self.n_metadata
        head = self.magic + struct.pack("<IQQ", self.version, n_tensors, n_metadata)
        head += b"".join(string(key) + value for key, value in self.metadata.items())
        places, end = [], 0
        for tensor in self.tensors:
            places.append(end)
            n_dims = len(tensor.shape) if tensor.n_dims is None else tensor.n_dims
            head += string(tensor.name) + struct.pack("<I", n_dims)
            head += b"".join(struct.pack("<Q", n) for n in tensor.shape)
            head += struct.pack("<IQ", tensor.kind, end if tensor.offset is None else tensor.offset)
            end += -(-min(tensor.size, 2**40) // ALIGNMENT) * ALIGNMENT
        head += bytes(-len(head) % ALIGNMENT)
        with path.open("wb") as file:
            file.write(head)
            for tensor, place in zip(self.tensors, places, strict=True):
                if tensor.data is not None:
                    file.seek(len(head) + place)
                    file.write(tensor.data)
            size = len(head) + (end if self.hole is None else self.hole)
            file.truncate(size if self.cut is None else self.cut if self.cut >= 0 else size + self.cut)
        return path

    def having(self, **metadata: bytes) -> File:
        """The same with other metadata; `__` in a name stands for a dot."""
        return replace(self, metadata={**self.metadata, **{key.replace("__", "."): v for key, v in metadata.items()}})

    def without(self, *keys: str) -> File:
        return replace(self, metadata={key: value for key, value in self.metadata.items() if key not in keys})

    def with_tensor(self, which: str, **changes: Any) -> File:
        return replace(self, tensors=[replace(t, **changes) if t.name == which else t for t in self.tensors])


def small(smollm2: Path, seed: int = 0) -> File:
    """The small file that works; another `seed` is another model."""
    metadata = {}
    for key, field in gguf.GGUFReader(smollm2).fields.items():
        if key.startswith(("general.", "tokenizer.", "llama.")):
            name = len(field.parts[0].tobytes()) + len(field.parts[1].tobytes())
            metadata[key] = b"".join(part.tobytes() for part in field.parts)[name:]
    sizes = {
        "block_count": 1,
        "embedding_length": N_EMBD,
        "feed_forward_length": N_FF,
        "attention.head_count": N_HEAD,
        "attention.head_count_kv": N_HEAD,
        "rope.dimension_count": N_EMBD // N_HEAD,
    }
    metadata |= {f"llama.{key}": number(value) for key, value in sizes.items()}
    metadata["general.file_type"] = number(1)
    rng = np.random.default_rng(seed)

    def matrix(name: str, columns: int, rows: int) -> Tensor:
        return Tensor(
            f"{name}.weight", (columns, rows), F16, rng.normal(0, 0.1, columns * rows).astype("<f2").tobytes()
        )

    def norm(name: str) -> Tensor:
        return Tensor(f"{name}.weight", (N_EMBD,), F32, np.ones(N_EMBD, "<f4").tobytes())

    tensors = [
        matrix("token_embd", N_EMBD, N_VOCAB),
        norm("blk.0.attn_norm"),
        *(matrix(f"blk.0.{name}", N_EMBD, N_EMBD) for name in ("attn_q", "attn_k", "attn_v", "attn_output")),
        norm("blk.0.ffn_norm"),
        matrix("blk.0.ffn_gate", N_EMBD, N_FF),
        matrix("blk.0.ffn_up", N_EMBD, N_FF),
        matrix("blk.0.ffn_down", N_FF, N_EMBD),
        norm("output_norm"),
    ]
    return File(metadata, tensors)


def large(file: File, size_bytes: int) -> File:
    """The small model with a feed-forward part of `size_bytes`, which is a hole: it takes memory alone."""
    n_ff = size_bytes // (3 * 2 * N_EMBD) // ALIGNMENT * ALIGNMENT
    file = file.having(llama__feed_forward_length=number(n_ff))
    file = file.with_tensor("blk.0.ffn_gate.weight", shape=(N_EMBD, n_ff), data=None)
    file = file.with_tensor("blk.0.ffn_up.weight", shape=(N_EMBD, n_ff), data=None)
    return file.with_tensor("blk.0.ffn_down.weight", shape=(n_ff, N_EMBD), data=None)


LOOPS = "".join(f"{{% for {name} in range(100000) %}}" for name in "abcde") + "{% endfor %}" * 5
REACHES = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
EXPLODES = "{{ 9 ** 9 ** 9 }}"
GROWS = "{% set n = namespace(a='x' * 10**6) %}{% for i in range(60) %}{% set n.a = n.a ~ n.a %}{% endfor %}{{ n.a }}"

HOSTILE: Mapping[str, Callable[[File], File]] = {
    # The frame.
    "empty": lambda f: replace(f, cut=0),
    "wrong magic": lambda f: replace(f, magic=b"PK\x03\x04"),
    "version of the future": lambda f: replace(f, version=0x7FFFFFFF),
    "header cut": lambda f: replace(f, cut=1000),
    "data cut": lambda f: replace(f, cut=-4096),
    "tensors: 2^63": lambda f: replace(f, n_tensors=2**63),
    "tensors: 2^31 in a short file": lambda f: replace(f, n_tensors=2**31),
    "metadata: 2^62": lambda f: replace(f, n_metadata=2**62),
    "metadata: 2^31 in a short file": lambda f: replace(f, n_metadata=2**31),
    "array of 2^40 strings": lambda f: f.having(tokenizer__ggml__tokens=array(STRING, 2**40)),
    "array of 2^34 bytes": lambda f: f.having(general__x=array(UINT8, 2**34)),
    "array of arrays": lambda f: f.having(general__x=array(ARRAY, 2**20)),
    "string of 2^60 bytes": lambda f: f.having(general__name=struct.pack("<IQ", STRING, 2**60)),
    "value of no type": lambda f: f.having(general__name=struct.pack("<I", 999)),
    "alignment 0": lambda f: f.having(general__alignment=number(0)),
    "alignment 2^31": lambda f: f.having(general__alignment=number(2**31)),
    "part 1 of 65535": lambda f: f.having(
        split__count=struct.pack("<IH", UINT16, 65535), split__no=struct.pack("<IH", UINT16, 0)
    ),
    # Tensors.
    "offset beyond the file": lambda f: f.with_tensor("output_norm.weight", offset=2**50),
    "offset that wraps": lambda f: f.with_tensor("output_norm.weight", offset=2**64 - 32),
    "size that wraps": lambda f: replace(
        f.with_tensor("token_embd.weight", shape=(2**33, 2**33), data=None), hole=2**20
    ),
    "size beyond the file": lambda f: replace(
        f.with_tensor("token_embd.weight", shape=(N_EMBD, 2**33), data=None), hole=2**20
    ),
    "negative size": lambda f: replace(
        f.with_tensor("token_embd.weight", shape=(2**64 - 64, N_VOCAB), data=None), hole=2**20
    ),
    "size 0": lambda f: f.with_tensor("token_embd.weight", shape=(0, N_VOCAB), data=None),
    "2^32 dimensions": lambda f: f.with_tensor("token_embd.weight", n_dims=2**32 - 1),
    "type unknown": lambda f: f.with_tensor("token_embd.weight", kind=9999),
    "tensor twice": lambda f: f.with_tensor("blk.0.ffn_up.weight", name="blk.0.ffn_gate.weight"),
    "tensor missing": lambda f: replace(f, tensors=f.tensors[:-1]),
    "other shape than metadata": lambda f: f.with_tensor("blk.0.attn_q.weight", shape=(N_EMBD // 2, N_EMBD * 2)),
    # Hyperparameters.
    "architecture unknown, and an escape sequence": lambda f: f.having(
        general__architecture=text("\x1b[31m" + "x" * 10**6)
    ),
    "no layers": lambda f: f.having(llama__block_count=number(0)),
    "2^32 layers": lambda f: f.having(llama__block_count=number(2**32 - 1)),
    "embedding of 0": lambda f: f.having(llama__embedding_length=number(0)),
    "no heads": lambda f: f.having(llama__attention__head_count=number(0)),
    "no KV heads": lambda f: f.having(llama__attention__head_count_kv=number(0)),
    "more KV heads than heads": lambda f: f.having(llama__attention__head_count_kv=number(3)),
    "keys of 2^31": lambda f: f.having(llama__attention__key_length=number(2**31)),
    "rope of 2^31": lambda f: f.having(llama__rope__dimension_count=number(2**31)),
    "context of 2^32": lambda f: f.having(llama__context_length=number(2**32 - 1)),
    "context of 0": lambda f: f.having(llama__context_length=number(0)),
    "context is text": lambda f: f.having(llama__context_length=text("a lot")),
    "2^31 experts": lambda f: f.having(llama__expert_count=number(2**31), llama__expert_used_count=number(2)),
    # Vocabulary.
    "vocabulary of numbers": lambda f: f.having(tokenizer__ggml__tokens=array(UINT32, 4, bytes(16))),
    "vocabulary empty": lambda f: f.having(tokenizer__ggml__tokens=array(STRING, 0)),
    "vocabulary shorter than the embedding": lambda f: f.having(
        tokenizer__ggml__tokens=array(STRING, 2, string("a") + string("b"))
    ),
    "token types of strings": lambda f: f.having(tokenizer__ggml__token_type=array(STRING, 1, string("x"))),
    "token types too few": lambda f: f.having(tokenizer__ggml__token_type=array(5, 1, struct.pack("<i", 1))),
    "merges of numbers": lambda f: f.having(tokenizer__ggml__merges=array(UINT32, 4, bytes(16))),
    "merges without a space": lambda f: f.having(tokenizer__ggml__merges=array(STRING, 1, string("x" * 10**6))),
    "end of text out of range": lambda f: f.having(tokenizer__ggml__eos_token_id=number(4 * 10**9)),
    "begin of text out of range": lambda f: f.having(tokenizer__ggml__bos_token_id=number(4 * 10**9)),
    "tokenizer unknown": lambda f: f.having(tokenizer__ggml__model=text("none of ours")),
    "no tokenizer": lambda f: f.without("tokenizer.ggml.model"),
    # Chat template.
    "no template": lambda f: f.without("tokenizer.chat_template"),
    "template is a number": lambda f: f.having(tokenizer__chat_template=number(7)),
    "template is no Jinja": lambda f: f.having(tokenizer__chat_template=text("{% if %}{{")),
    "template is no UTF-8": lambda f: f.having(tokenizer__chat_template=text(b"\xff\xfe{{ messages }}")),
    "template reaches for attributes": lambda f: f.having(tokenizer__chat_template=text(REACHES)),
    "template loops": lambda f: f.having(tokenizer__chat_template=text(LOOPS)),
    "template computes without end": lambda f: f.having(tokenizer__chat_template=text(EXPLODES)),
    "template grows without end": lambda f: f.having(tokenizer__chat_template=text(GROWS)),
}
"""Names of what is wrong with a file, and how to make it so from the small one."""
