"""From the types weights are stored in to those a GGUF file holds, bit for bit as llama.cpp's converter does it.

The converter widens all but float16 to float32 and rounds once, to nearest even. bfloat16 travels as its bits (uint16).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

from converters.tensor import Array

F32, F16, BF16, Q8_0 = (GGMLQuantizationType[name] for name in ("F32", "F16", "BF16", "Q8_0"))
Q8_0_BLOCK, Q8_0_BLOCK_BYTES = GGML_QUANT_SIZES[Q8_0]


@dataclass(frozen=True, slots=True)
class OutType:
    """What an `outtype` stands for: the type of matrices, and the number of the file type."""

    matrices: GGMLQuantizationType
    file_type: LlamaFileType

    def type_of(self, shape: tuple[int, ...]) -> GGMLQuantizationType:
        """For a matrix of `shape`: `matrices`, but float16 where its rows are no whole blocks of Q8_0."""
        return F16 if self.matrices is Q8_0 and shape[-1] % Q8_0_BLOCK else self.matrices


OUT_TYPES = {
    "f32": OutType(F32, LlamaFileType.ALL_F32),
    "f16": OutType(F16, LlamaFileType.MOSTLY_F16),
    "bf16": OutType(BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": OutType(Q8_0, LlamaFileType.MOSTLY_Q8_0),
}


BLOCK_VALUES = 1 << 16
"""So many are turned at once: they and what they become on the way stay in the processor's cache."""


def encoded_bytes(shape: tuple[int, ...], target: GGMLQuantizationType) -> int:
    """The bytes a tensor of `shape` takes as `target`."""
    values_per_block, block_bytes = GGML_QUANT_SIZES[target]
    return prod(shape) // int(values_per_block) * int(block_bytes)


def encode(values: Array, stored: str, target: GGMLQuantizationType) -> Array:
    """`values` as they are stored (F64, F32, F16 or BF16 bits), turned into what `target` holds.

    They are in one block of memory; what comes back is an array to write out, of the same order and of any shape.

    For Q8_0 the last axis must be a multiple of 32. What is in llama.cpp's own blocks already (MXFP4) stays as it is.
    """
    if stored == target.name:
        return quiet_nans(values) if target is BF16 else values
    from_stored = _F16_OF_BF16 if (stored, target) == ("BF16", F16) else None
    flat = values.reshape(-1)
    result = np.empty(encoded_bytes(flat.shape, target), np.uint8)
    block_bytes = encoded_bytes((BLOCK_VALUES,), target)
    for i, start in enumerate(range(0, len(flat), BLOCK_VALUES)):
        block = flat[start : start + BLOCK_VALUES]
        if from_stored is not None:
            turned = from_stored.take(block.astype(np.intp), mode="clip")
        else:
            turned = FROM_FLOAT32[target](to_float32(block, stored))
        result[i * block_bytes : (i + 1) * block_bytes] = turned.reshape(-1).view(np.uint8)
    return result


def working_type(values: Array, stored: str) -> tuple[Array, str]:
    """`values` and their type as the reference computes with them: float16 as such, all else as float32."""
    return (values, stored) if stored == "F16" else (to_float32(values, stored), "F32")


INFINITY: Mapping[str, tuple[type[np.unsignedinteger[Any]], int]] = {
    "F64": (np.uint64, 0x7FF << 52), "F32": (np.uint32, 0x7F800000), "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
}  # fmt: skip
"""Type -> what its bits are carried in, and the bits of infinity."""


def has_nan(values: Array, stored: str) -> bool:
    """Whether one of `values` (in one block of memory) is no number: its bits, but for the sign, exceed infinity's."""
    kind, infinity = INFINITY[stored]
    flat = values.reshape(-1).view(kind)
    magnitude = kind(np.iinfo(kind).max >> 1)
    return any(
        (flat[start : start + BLOCK_VALUES] & magnitude).max() > infinity for start in range(0, len(flat), BLOCK_VALUES)
    )


def to_float32(values: Array, stored: str) -> Array:
    """`values` as they are stored (F64, F32, F16 or BF16 bits) as float32, of the same shape; float32 as they are."""
    if stored == "BF16":
        return (values.astype("<u4") << np.uint32(16)).view("<f4")
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype("<f4", copy=False)


def to_float16(values: Array) -> Array:
    """float32 values as float16, rounded to nearest even; what exceeds 65504 becomes infinite.

    Whole numbers do it twice as fast as numpy's own conversion, for all that is a normal number in both: the exponent's
    bias changes from 127 to 15, and 13 bits are rounded off.
    """
    bits = np.ascontiguousarray(values, "<f4").view("<u4")
    magnitude = bits & np.uint32(0x7FFFFFFF)
    rounded = (magnitude >> np.uint32(13)) & np.uint32(1)
    rounded += magnitude
    rounded += np.uint32((15 - 127 << 23) + 0xFFF & 0xFFFFFFFF)
    rounded >>= np.uint32(13)
    rounded |= (bits >> np.uint32(16)) & np.uint32(0x8000)
    halves = rounded.astype("<u2").view("<f2")
    magnitude -= np.uint32(0x38800000)  # the smallest normal float16; what is below it wraps round
    outside = magnitude >= np.uint32(0x477FF000 - 0x38800000)  # from where rounding gives infinity
    if outside.any():
        with np.errstate(over="ignore"):
            halves[outside] = values[outside].astype("<f2")
    return halves


def quiet_nans(bits: Array) -> Array:
    """bfloat16 bits with the quiet bit set in every NaN, as ggml's rounding sets it."""
    is_nan = (bits & np.uint16(0x7FFF)) > np.uint16(0x7F80)
    return np.where(is_nan, bits | np.uint16(0x40), bits) if is_nan.any() else bits


def to_bfloat16(values: Array) -> Array:
    """The upper halves (uint16) of float32 values, rounded to nearest even; NaNs stay NaNs and become quiet."""
    bits = np.ascontiguousarray(values).view("<u4")
    upper = (bits >> np.uint32(16)).astype("<u2")
    is_nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    # A finite value rounds up to at most infinity, so the sum stays within 32 bits; a NaN may not, and is replaced.
    rounded = ((bits + np.uint32(0x7FFF) + (upper & np.uint16(1))) >> np.uint32(16)).astype("<u2")
    return np.where(is_nan, upper | np.uint16(0x40), rounded)


def quantize_q8_0(values: Array) -> Array:
    """Pack float32 (..., n) into uint8 (n_blocks, 34): per 32 values a float16 scale, then 32 int8.

    The bytes are those of ggml's quantize_row_q8_0_ref: half is rounded away from zero.
    """
    blocks = values.reshape(-1, Q8_0_BLOCK)
    # The bits of positive floats are in the order of the floats, and numpy finds the largest of whole numbers faster.
    largest = np.abs(blocks).view("<i4").max(axis=1, keepdims=True).view("<f4")
    if np.isnan(largest).any():
        largest = np.abs(blocks).max(axis=1, keepdims=True)  # of several NaNs the first counts
    scale = largest / np.float32(127)
    packed = np.empty((len(blocks), Q8_0_BLOCK_BYTES), np.uint8)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        inverse = np.where(scale == 0, np.float32(0), np.float32(1) / scale)
        scaled = blocks * inverse
        whole = np.rint(scaled)  # half to even, which is mended below
        scaled -= whole
        ties = np.abs(scaled) == np.float32(0.5)
        if ties.any():
            rows, columns = np.nonzero(ties)
            halves = blocks[rows, columns] * inverse[rows, 0]
            whole[rows, columns] = np.trunc(halves) + np.copysign(np.float32(1), halves)
        packed[:, 2:] = whole.astype(np.int8).view(np.uint8)
        packed[:, :2] = scale.astype("<f2").view(np.uint8)
    return packed


FROM_FLOAT32: dict[GGMLQuantizationType, Callable[[Array], Array]] = {
    F32: lambda values: values,
    F16: to_float16,
    BF16: to_bfloat16,
    Q8_0: quantize_q8_0,
}

_F16_OF_BF16 = to_float16(to_float32(np.arange(1 << 16, dtype=np.uint16), "BF16"))
"""There are only so many bfloat16 values, so that looking the float16 up is faster than rounding to it."""
