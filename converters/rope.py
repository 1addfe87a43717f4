"""The rotary embedding in GGUF: keys for linear and YaRN scaling, a tensor of factors for Llama 3's."""

from __future__ import annotations

from collections.abc import Iterator
from math import pi

import numpy as np

from converters.errors import UnsupportedConfig
from converters.gguf_file import Keys
from converters.hf_config import Config
from converters.tensor import Array

YARN_KEYS = (
    (("extrapolation_factor",), "yarn_ext_factor"),
    (("attention_factor", "attn_factor"), "yarn_attn_factor"),
    (("beta_fast",), "yarn_beta_fast"),
    (("beta_slow",), "yarn_beta_slow"),
)
LLAMA3_DEFAULTS = {
    "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip


def write_rope_keys(keys: Keys, architecture: str, rope: Config) -> None:
    """Write scaling and base frequencies, of all layers or of full and sliding attention apart.

    Dynamic scaling, which does nothing within the trained context, has no keys; Llama 3's is a tensor.
    """
    prefix = f"{architecture}.rope"
    full = rope.get("full_attention", rope)
    rope_type = full.get("rope_type")
    if rope_type in ("linear", "yarn") and full.get("factor") is not None:
        keys.string(f"{prefix}.scaling.type", rope_type)
        keys.float32(f"{prefix}.scaling.factor", full["factor"])
        if rope_type == "yarn":
            keys.uint32(f"{prefix}.scaling.original_context_length", full["original_max_position_embeddings"])
            for names, key in YARN_KEYS:
                value = next((full[name] for name in names if name in full), None)
                if value is not None:
                    keys.float32(f"{prefix}.scaling.{key}", value)
    elif rope_type in ("longrope", "su"):
        keys.string(f"{prefix}.scaling.type", "longrope")
    if full.get("rope_theta") is not None:
        keys.float32(f"{prefix}.freq_base", full["rope_theta"])
    if (theta := rope.get("sliding_attention", {}).get("rope_theta")) is not None:
        keys.float32(f"{prefix}.freq_base_swa", theta)


def llama3_factors(rope: Config, head_dim: int) -> Iterator[tuple[str, Array]]:
    """("rope_freqs.weight", factors) where `rope` is Llama 3's: by what each of the head_dim / 2 frequencies is
    divided, as float32: 1 for short waves, `factor` for long ones, and a blend between.

    Each step is rounded to float32 in the order of the reference, whose numbers they have to be to the last bit.
    """
    rope = rope.get("full_attention", rope)
    if rope.get("rope_type") != "llama3":
        return
    rope = {**LLAMA3_DEFAULTS, **rope}
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
    yield "rope_freqs.weight", np.where(wavelengths < f(context / high), f(1), long)


def long_and_short_factors(rope: Config, rope_dims: int) -> Iterator[tuple[str, Array]]:
    """The tensors of longrope: by what each of the rope_dims / 2 frequencies is divided beyond the original context
    and within it, as float32. Raises UnsupportedConfig where one of them is missing or of another length."""
    if not rope.get("long_factor") and not rope.get("short_factor"):
        return
    for name, gguf_name in (("long_factor", "rope_factors_long"), ("short_factor", "rope_factors_short")):
        factors = rope.get(name)
        if not isinstance(factors, list) or len(factors) != rope_dims // 2:
            raise UnsupportedConfig(f"rope_scaling {name}", factors, f"a list of {rope_dims // 2} numbers is needed")
        if any(type(factor) not in (int, float) for factor in factors):
            raise UnsupportedConfig(f"rope_scaling {name}", factors, "each item has to be a number")
        yield f"{gguf_name}.weight", np.array(factors, np.float32)
