"""The rotary embedding in GGUF: keys for linear and YaRN scaling, a tensor of factors for Llama 3's."""

from __future__ import annotations

from math import pi

import numpy as np

from converters.gguf_file import Keys
from converters.hf_config import Config
from converters.tensor import Array

YARN_KEYS = (
    (("extrapolation_factor",), "yarn_ext_factor"),
    (("attention_factor", "attn_factor"), "yarn_attn_factor"),
    (("beta_fast",), "yarn_beta_fast"),
    (("beta_slow",), "yarn_beta_slow"),
)


def write_rope_keys(keys: Keys, architecture: str, rope: Config) -> None:
    """Write scaling and base frequency. Dynamic scaling, which does nothing within the trained context, has no keys."""
    prefix = f"{architecture}.rope"
    rope_type = rope["rope_type"]
    if rope_type in ("linear", "yarn"):
        keys.string(f"{prefix}.scaling.type", rope_type)
        keys.float32(f"{prefix}.scaling.factor", rope["factor"])
    if rope_type == "yarn":
        keys.uint32(f"{prefix}.scaling.original_context_length", rope["original_max_position_embeddings"])
        for names, key in YARN_KEYS:
            value = next((rope[name] for name in names if name in rope), None)
            if value is not None:
                keys.float32(f"{prefix}.scaling.{key}", value)
    keys.float32(f"{prefix}.freq_base", rope["rope_theta"])


def llama3_factors(rope: Config, head_dim: int) -> Array:
    """By what each of the head_dim / 2 frequencies is divided, as float32: 1 for short waves, `factor` for long ones,
    and a blend between.

    Each step is rounded to float32 in the order of the reference, whose numbers they have to be to the last bit.
    """
    f = np.float32
    factor, low, high = f(rope["factor"]), rope["low_freq_factor"], rope["high_freq_factor"]
    context = rope["original_max_position_embeddings"]
    exponents = np.arange(0, head_dim, 2, dtype=f) / f(head_dim)
    # The power is rounded once from float64: that is what PyTorch's gives, numpy's own float32 power is often one off.
    wavelengths = (np.power(float(rope["rope_theta"]), exponents.astype(np.float64))).astype(f)
    # The reference takes reciprocals of reciprocals, hence the detour by way of the frequencies.
    wavelengths = (f(1) / (f(1) / wavelengths)) * f(2 * pi)
    smooth = ((f(1) / wavelengths) * f(context) - f(low)) / f(high - low)
    blended = f(1) / ((f(1) - smooth) / factor + smooth)
    long = np.where(wavelengths > f(context / low), factor, blended)
    return np.where(wavelengths < f(context / high), f(1), long)
