"""Weights in 8 bits, as float32: codes looked up in a table, and times their scales where they have some.

The values are bit for bit those of PyTorch's conversions and of llama.cpp's converter (conversion/base.py,
dequant_simple): weight.float() * scale.float(), the scale repeated over its block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from converters.dtypes import to_float32
from converters.errors import TensorError
from converters.quantization import Scaling
from converters.tensor import CODES, NUMPY_TYPES, Array, Tensor


def _tables() -> dict[str, Array]:
    """Type -> the float32 value of each of its 256 codes.

    E4M3 is PyTorch's float8_e4m3fn: no infinities, and a NaN of either sign. E5M2 is the upper half of a float16. E8M0
    is the exponent of a power of two.
    """
    codes = np.arange(256, dtype="<u4")
    sign, magnitude = (codes & 0x80) << 24, codes & 0x7F
    # A small float's bits, moved to where float32 has its own, are off by the difference of the exponents' biases.
    e4m3 = (magnitude << 20).view("<f4") * np.float32(2.0**120)
    e5m2 = (magnitude << 21).view("<f4") * np.float32(2.0**112)
    e4m3_bits = np.where(magnitude == 0x7F, np.uint32(0x7FF00000), e4m3.view("<u4")) | sign
    quiet = 0x7F800000 | (magnitude & 3) << 21 | np.where(magnitude > 0x7C, np.uint32(0x400000), np.uint32(0))
    e5m2_bits = np.where(magnitude >= 0x7C, quiet, e5m2.view("<u4")) | sign
    e8m0_bits = codes << 23
    e8m0_bits[0], e8m0_bits[255] = 0x00400000, 0x7F800001
    bits = {"F8_E4M3": e4m3_bits, "F8_E5M2": e5m2_bits, "F8_E8M0": e8m0_bits}
    return {dtype: values.astype("<u4").view("<f4") for dtype, values in bits.items()}


TABLES: Mapping[str, Array] = _tables()


@dataclass(frozen=True, slots=True, kw_only=True)
class WideTensor(Tensor):
    """A tensor whose values are computed as they are asked for: those of `weight` in float32, times `scale`.

    It stands where a Tensor stands; `dtype` is F32, `path`, `offset` and `strides` are those of `weight`. `block` has a
    size for every axis of the scale. `first_row` is that of `weight` within the tensor that the scale belongs to.
    """

    weight: Tensor
    scale: Tensor | None = None
    block: tuple[int, ...] = ()
    first_row: int = 0

    def rows(self, start: int, stop: int) -> WideTensor:
        """The part of it from row `start` to before row `stop` of the first axis."""
        part = self.weight.rows(start, stop)
        return replace(self, shape=part.shape, offset=part.offset, weight=part, first_row=self.first_row + start)

    def load(self) -> Array:
        """A new array of `shape`, float32: ask for rows where the whole would take too much memory."""
        values = _to_float32(self.weight)
        if self.scale is None:
            return values
        scale = _to_float32(self.scale)
        scale = scale.reshape(scale.shape + (1,) * (len(self.shape) - scale.ndim))
        for axis in reversed(range(scale.ndim)):
            if scale.shape[axis] > 1:
                first = self.first_row if axis == 0 else 0
                places = np.arange(first, first + self.shape[axis]) // (self.block[axis] if self.block else 1)
                scale = scale.take(places, axis)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            return np.multiply(values, scale)


def _to_float32(tensor: Tensor) -> Array:
    values = tensor.load()
    if tensor.dtype in TABLES:
        return TABLES[tensor.dtype][values]
    return to_float32(values, tensor.dtype)


def dequantized(tensors: Mapping[str, Tensor], scaling: Scaling | None) -> dict[str, Tensor]:
    """`tensors` with float32 ones in the places of those that have scales or are in fp8, and without the scales.

    Raises TensorError for a scale without a weight, or whose shape does not fit it. An outtype "auto" is to be found
    from `tensors` as they were: the reference looks at them, scales included, before it turns them back.
    """
    scales: dict[str, Tensor] = {}
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if scaling is not None and name.endswith(scaling.suffix):
            scales[name.removesuffix(scaling.scale_ending)] = tensor
        elif scaling is None or not name.endswith(scaling.unused):
            result[name] = tensor
    for name, scale in scales.items():
        if name not in result:
            raise TensorError(scale.name, f"a tensor {name} that it is the scale of", "none; download it again")
        assert scaling is not None
        result[name] = _scaled(result[name], scale, scaling.block)
    return {name: _wide(tensor) if tensor.dtype in TABLES else tensor for name, tensor in result.items()}


def _wide(weight: Tensor) -> WideTensor:
    return WideTensor(weight.name, "F32", weight.shape, weight.path, weight.offset, weight.strides, weight=weight)


def _scaled(weight: Tensor, scale: Tensor, block: tuple[int, ...] | None) -> WideTensor:
    for tensor in (weight, scale):
        if tensor.dtype not in NUMPY_TYPES and tensor.dtype not in CODES:
            raise TensorError(tensor.name, f"one of the types {', '.join((*NUMPY_TYPES, *CODES))}", tensor.dtype)
    if block is None:
        fits = len(scale.shape) <= len(weight.shape) and all(
            n in (1, size) for n, size in zip(scale.shape, weight.shape, strict=False)
        )
        sizes: tuple[int, ...] = ()
    else:
        sizes = (1,) * (len(scale.shape) - len(block)) + block
        fits = len(sizes) == len(scale.shape) == len(weight.shape) and all(
            n * step >= size or n * step == 1 for n, step, size in zip(scale.shape, sizes, weight.shape, strict=True)
        )
    if not fits:
        per_block = "" if block is None else f" in blocks of {list(block)}"
        raise TensorError(
            scale.name, f"scales for {weight.name} of shape {list(weight.shape)}{per_block}", f"{list(scale.shape)}"
        )
    return replace(_wide(weight), scale=scale, block=sizes)
