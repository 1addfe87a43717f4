"""Rounding and packing against gguf's own numpy code, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import quantize

from converters.dtypes import BF16, F16, F32, Q8_0, encode
from converters.tensor import Array


def every_exponent(n: int) -> Array:
    """float32 values over all exponents, both signs; whole numbers and ties among them; no infinities and NaNs."""
    random = np.random.default_rng(1)
    values = random.integers(0, 1 << 32, n, dtype=np.uint32)
    values[: n // 4] &= 0xFFFF8000  # ties for bfloat16
    values[n // 4 : n // 2] &= 0xFFFFF000  # ties for float16
    values = values.view("<f4")
    return np.where(np.isfinite(values), values, np.float32(1.5))


@pytest.mark.parametrize("target", [F32, F16, BF16])
def test_rounding(target: GGMLQuantizationType) -> None:
    values = every_exponent(1 << 16).reshape(-1, 256)
    with np.errstate(over="ignore"):
        expected = quantize(values, target).tobytes()
    assert encode(values, "F32", target).tobytes() == expected


@pytest.mark.parametrize("spread", [1e-30, 1e-3, 0.3, 100.0])
def test_q8_0(spread: float) -> None:
    values = (np.random.default_rng(2).standard_normal((64, 256)) * spread).astype("<f4")
    values[0] = 0
    values[1] = np.round(values[1] * 254 / np.abs(values[1]).max()) / 2  # many ties
    assert encode(values, "F32", Q8_0).tobytes() == quantize(values, Q8_0).tobytes()


def test_every_bfloat16_keeps_its_bits_but_for_the_quiet_bit_of_nans() -> None:
    bits = np.arange(1 << 16, dtype="<u2")
    made = encode(bits, "BF16", BF16)
    wide = (bits.astype("<u4") << 16).view("<f4")
    assert made.tobytes() == quantize(wide, BF16).tobytes()
    assert np.array_equal(made[~np.isnan(wide)], bits[~np.isnan(wide)])


def test_every_float16_survives_a_detour_by_float32() -> None:
    values = np.arange(1 << 16, dtype="<u2").view("<f2")
    values = values[~np.isnan(values)]
    wide = encode(values, "F16", F32).view("<f4")
    assert np.array_equal(encode(wide, "F32", F16).view("<u2"), values.view("<u2"))
