"""config.json in one spelling: what transformers fills in for a model type, and the one place that knows both ways to
write the rotary embedding (`rope_theta` + `rope_scaling` before transformers 5, `rope_parameters` since).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converters.errors import UnsupportedConfig

Config = dict[str, Any]

REQUIRED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
"""Sizes that every config.json has to give: no default could be right by more than chance."""

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "llama": {
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "num_key_value_heads": None,
    },
    "mistral": {
        "max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "num_key_value_heads": 8,
    },
    "mixtral": {
        "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0, "num_key_value_heads": 8,
        "num_local_experts": 8, "num_experts_per_tok": 2,
    },
}  # fmt: skip
"""model_type -> what transformers' configuration class of it takes for a key that config.json leaves out."""

COMMON_DEFAULTS = {
    "hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": False,
}  # fmt: skip

ROPE_KEYS = {
    "default": (),
    "dynamic": ("factor",),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor",),
}
"""Scaling types that are converted -> the parameters each needs."""


def one_spelling(config: Config) -> Config:
    """`config` with defaults filled in, `head_dim` and `num_key_value_heads` always numbers (`head_dim` only where the
    model type computes it), and all of the rotary embedding under `rope_parameters`.

    Raises UnsupportedConfig for a missing size, an unknown model_type or an unknown rope type.
    """
    model_type = str(config.get("model_type"))
    if model_type not in DEFAULTS:
        raise UnsupportedConfig("model_type", model_type, f"only {', '.join(sorted(DEFAULTS))} is converted")
    for key in REQUIRED:
        if type(config.get(key)) is not int or config[key] <= 0:
            raise UnsupportedConfig(key, config.get(key), "a positive whole number is needed")
    merged: Config = {**COMMON_DEFAULTS, **DEFAULTS[model_type], **config}
    heads = merged["num_attention_heads"]
    if merged["num_key_value_heads"] is None:
        merged["num_key_value_heads"] = heads
    if merged.get("head_dim") is None and model_type != "mixtral":
        if merged["hidden_size"] % heads:
            raise UnsupportedConfig("hidden_size", merged["hidden_size"], f"a multiple of the {heads} heads is needed")
        merged["head_dim"] = merged["hidden_size"] // heads
    merged["rope_parameters"] = _rope_parameters(merged)
    return merged


def _rope_parameters(config: Config) -> Config:
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if not isinstance(rope, dict) or any(isinstance(value, dict) for value in rope.values()):
        raise UnsupportedConfig("rope_parameters", rope, "one set of parameters for all layers is needed")
    rope = {"rope_theta": config["rope_theta"], "rope_type": rope.get("type", "default"), **rope}
    rope_type = rope["rope_type"]
    if rope_type not in ROPE_KEYS:
        raise UnsupportedConfig("rope_type", rope_type, f"only {', '.join(ROPE_KEYS)} are converted")
    for key in ("rope_theta", *ROPE_KEYS[rope_type]):
        if not isinstance(rope.get(key), (int, float)):
            raise UnsupportedConfig(f"rope_parameters {key}", rope.get(key), f"rope type {rope_type} needs a number")
    if rope_type in ("llama3", "yarn"):
        rope.setdefault("original_max_position_embeddings", config["max_position_embeddings"])
    return rope
