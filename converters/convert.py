"""A Hub-style checkpoint folder becomes a GGUF file, byte for byte the one llama.cpp's converter makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from gguf import GGML_QUANT_VERSION, GGMLQuantizationType

import converters.architectures  # noqa: F401 - fills the registry
from converters.architecture import CONTEXT_LENGTH, Architecture, Planned, find_architecture, text_architectures
from converters.checkpoint import read_config, read_tensors
from converters.dtypes import F32, OUT_TYPES, OutType
from converters.errors import ConversionError
from converters.fp8 import dequantized
from converters.gguf_file import Keys
from converters.hf_config import Config, first
from converters.metadata import ExpertShares, write_general_keys
from converters.parts import FromCheckpoint, Made, Warn, tell, write_parts
from converters.quantization import read_scaling, refuse_quantized
from converters.tensor import Tensor

F32_NAMES = (
    "_norm.weight", ".ffn_gate_inp.weight", ".ffn_gate_inp_shexp.weight", "position_embd.weight", "token_types.weight",
)  # fmt: skip
"""Endings of matrices that stay float32: llama.cpp computes with them so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSummary:
    """What config.json and the tokenizer files say of a checkpoint that can be converted."""

    architecture: str
    gguf_architecture: str
    tokenizer: str
    pre_tokenizer: str
    vocab_size: int
    n_layers: int
    context_train: int


def check_config(config: Config) -> None:
    """Raise UnknownArchitecture or UnsupportedConfig when a model with this config.json cannot be converted."""
    refuse_quantized(config)
    find_architecture(config)


def check(folder: Path | str) -> None:
    """Raise ConversionError when config.json or the tokenizer in `folder` cannot be converted; reads no weights."""
    inspect_checkpoint(folder)


def inspect_checkpoint(folder: Path | str) -> CheckpointSummary:
    """What the checkpoint is, from config.json and tokenizer files alone: the weights need not be there.

    Raises ConversionError, above all UnknownArchitecture and UnknownPreTokenizer, when it cannot be converted.
    """
    folder = Path(folder)
    model = _open(folder)
    vocabulary = model.read_vocabulary(folder)
    return CheckpointSummary(
        architecture=text_architectures(model.config)[0],
        gguf_architecture=model.gguf_name,
        tokenizer=vocabulary.model,
        pre_tokenizer=vocabulary.pre,
        vocab_size=model.config["vocab_size"],
        n_layers=model.n_layers,
        context_train=first(model.config, CONTEXT_LENGTH),
    )


def resolve_outtype(checkpoint_dir: Path | str, outtype: str) -> str:
    """The outtype that "auto" stands for: the 16-bit type the first 16-bit matrix is stored in, f16 if there is none.

    Other outtypes are given back as they are. Raises ConversionError for one that is unknown.
    """
    if outtype != "auto":
        out_type(outtype)
        return outtype
    folder = Path(checkpoint_dir)
    return auto_outtype(_open(folder), read_tensors(folder).values())


def _open(folder: Path) -> Architecture:
    config = read_config(folder)
    refuse_quantized(config, folder)
    return find_architecture(config)


def auto_outtype(model: Architecture, tensors: Iterable[Tensor]) -> str:
    """By the tensors as they are stored, those of the text part, scales and all."""
    text = (tensor for tensor in tensors if model.hf_name(tensor.name) is not None)
    stored = (tensor.dtype for tensor in text if len(tensor.shape) > 1)
    return next((dtype.lower() for dtype in stored if dtype in ("BF16", "F16")), "f16")


def out_type(outtype: str) -> OutType:
    """Raises ConversionError for an outtype that is unknown."""
    try:
        return OUT_TYPES[outtype]
    except KeyError:
        raise ConversionError(f"unknown outtype {outtype!r}; known are auto, {', '.join(OUT_TYPES)}") from None


def convert(
    checkpoint_dir: Path | str,
    out_file: Path | str,
    outtype: str = "f16",
    progress: Callable[[int, int], None] | None = None,
    warn: Warn | None = None,
) -> Path:
    """Write the checkpoint as a GGUF file and return its path. A file that exists is replaced.

    `outtype` is one of auto, f32, f16, bf16, q8_0. `progress` is called with (bytes done, bytes in all), `warn` with a
    line for what llama.cpp will not compute as transformers does, before the work, and for each tensor that holds a
    NaN, after it; without `warn`, Python's warnings tell. Memory is bounded by one arranged tensor and a few pieces. On
    any failure no file is left behind; what is wrong with the checkpoint is raised as a ConversionError before anything
    is written.
    """
    folder, target = Path(checkpoint_dir), Path(out_file)
    if target.is_dir():
        raise ConversionError(f"{target} is a folder, expected the name of a file to write")
    model = _open(folder)
    vocabulary = model.read_vocabulary(folder)
    tensors = read_tensors(folder)
    out = out_type(auto_outtype(model, tensors.values()) if outtype == "auto" else outtype)
    planned = model.plan(dequantized(tensors, read_scaling(model.config)))
    parts: list[Made | FromCheckpoint] = [Made(name, values) for name, values in model.extra_tensors()]
    parts += [FromCheckpoint(tensor, _type_of(tensor, out)) for tensor in planned]

    keys = Keys()
    n_params, shares = _count_parameters(parts)
    keys.string("general.architecture", model.gguf_name)
    model.write_first_keys(keys)
    write_general_keys(keys, folder, model.gguf_name, n_params, shares)
    model.write_keys(keys, out.file_type)
    keys.uint32("general.quantization_version", GGML_QUANT_VERSION)
    model.write_tokenizer(keys, folder, vocabulary)
    for line in model.doubts:
        tell(warn, line)
    return write_parts(target, keys, parts, progress, warn)


def _type_of(tensor: Planned, out: OutType) -> GGMLQuantizationType:
    name, shape = tensor.gguf_name, tensor.shape
    if tensor.type is not None:
        return tensor.type
    if len(shape) < 2 or name.endswith(F32_NAMES) or not name.endswith(".weight"):
        return F32
    return out.type_of(shape)


def _count_parameters(parts: Sequence[Made | FromCheckpoint]) -> tuple[int, ExpertShares]:
    """All parameters, and how they divide among experts, as they are counted for the size label."""
    experts = [part.shape for part in parts if "_exps." in part.name and len(part.shape) >= 3]
    total = sum(prod(part.shape) for part in parts)
    n_experts = sum(shape[0] for shape in experts) // len(experts) if experts else 0
    one_expert = sum(prod(shape) // shape[0] for shape in experts)
    return total, (total - sum(prod(shape) for shape in experts), one_expert, n_experts)
