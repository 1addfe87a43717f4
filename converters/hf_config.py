"""config.json in one spelling: what transformers fills in for a model type, and the one place that knows both ways to
write the rotary embedding (`rope_theta` + `rope_scaling` before transformers 5, `rope_parameters` since).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any

from converters.errors import UnsupportedConfig

Config = dict[str, Any]

SIZES: Mapping[str, int] = {
    "hidden_size": 10_000_000, "intermediate_size": 10_000_000, "num_hidden_layers": 10_000,
    "num_attention_heads": 10_000_000, "vocab_size": 10_000_000,
}  # fmt: skip
"""Sizes that every config.json has to give (no default could be right by more than chance) -> the most that is
believed: a hostile one would make lists of that many."""

MAX_EXPERTS = 100_000
"""In all layers together."""

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

INT, INT_OR_NULL, FLOAT, BOOL, DICT = (int,), (int, NoneType), (float,), (bool,), (dict, NoneType)
ABSENT = ()

COMMON_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(SIZES, INT), "max_position_embeddings": INT, "num_key_value_heads": INT, "head_dim": INT_OR_NULL,
    "hidden_act": (str,), "initializer_range": FLOAT, "rms_norm_eps": FLOAT, "attention_dropout": (int, float),
    "use_cache": BOOL, "tie_word_embeddings": BOOL, "pad_token_id": INT_OR_NULL, "bos_token_id": INT_OR_NULL,
    "eos_token_id": (int, list, NoneType), "layer_types": (list, NoneType), "rope_scaling": DICT,
    "rope_parameters": DICT, "per_layer_config": (NoneType,), "num_labels": INT, "id2label": DICT, "auto_map": (dict,),
    "dtype": (str, NoneType), "torch_dtype": (str, NoneType),
}  # fmt: skip
TYPES: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "llama": {
        **COMMON_TYPES, "num_key_value_heads": INT_OR_NULL, "attention_dropout": (int, float, NoneType),
        "pretraining_tp": INT_OR_NULL, "attention_bias": BOOL, "mlp_bias": BOOL,
    },
    # With layer_types (even null), transformers takes a Mistral for a Ministral, which has other defaults.
    "mistral": {**COMMON_TYPES, "sliding_window": INT_OR_NULL, "layer_types": ABSENT},
    # transformers takes num_experts for another name of num_local_experts.
    "mixtral": {
        **COMMON_TYPES, "sliding_window": INT_OR_NULL, "num_local_experts": INT, "num_experts_per_tok": INT,
        "num_experts": ABSENT, "output_router_logits": BOOL, "router_aux_loss_coef": FLOAT,
        "router_jitter_noise": FLOAT,
    },
}  # fmt: skip
"""model_type -> key -> the types that transformers 5 takes for it, exactly (a whole number is no float).

Where a value is of another type, transformers refuses the whole file, and llama.cpp's converter then goes on without
any defaults: its GGUF file lacks keys, so such a config.json is refused here.
"""

ITEMS: Mapping[str, tuple[str, Any]] = {
    "eos_token_id": ("whole numbers", lambda item: type(item) is int),
    "layer_types": ("full_attention or sliding_attention", ("full_attention", "sliding_attention").__contains__),
}
"""What the items of a list have to be: in words, and as a test."""

DTYPES = (None, "float16", "bfloat16", "float32", "float64", "half", "float", "double")

TYPE_NAMES = {
    int: "a whole number", float: "a number with a decimal point", bool: "true or false", str: "a string",
    list: "a list", dict: "an object", NoneType: "null",
}  # fmt: skip

ROPE_KEYS = {
    "default": (),
    "dynamic": ("factor",),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor",),
}
"""Scaling types that are converted -> the parameters each needs."""

MAX_ROPE_NUMBER = 1e30
"""Far beyond any frequency base, and well within float32."""


def one_spelling(config: Config) -> Config:
    """`config` with defaults filled in, `head_dim` and `num_key_value_heads` always numbers (`head_dim` only where the
    model type computes it), and all of the rotary embedding under `rope_parameters`.

    Raises UnsupportedConfig for a missing size, an unknown model_type or rope type, a value of a type that transformers
    does not take, and sizes that do not fit each other or are beyond belief.
    """
    model_type = str(config.get("model_type"))
    if model_type not in DEFAULTS:
        raise UnsupportedConfig("model_type", model_type, f"only {', '.join(sorted(DEFAULTS))} is converted")
    _check_types(config, TYPES[model_type])
    merged: Config = {**COMMON_DEFAULTS, **DEFAULTS[model_type], **config}
    if merged["num_key_value_heads"] is None:
        merged["num_key_value_heads"] = merged.get("num_attention_heads")
    _check_sizes(merged)
    if merged.get("head_dim") is None and model_type != "mixtral":
        merged["head_dim"] = merged["hidden_size"] // merged["num_attention_heads"]
    merged["rope_parameters"] = _rope_parameters(merged)
    return merged


def _check_types(config: Config, types: Mapping[str, tuple[type, ...]]) -> None:
    for key, accepted in types.items():
        if key not in config:
            continue
        value = config[key]
        if not accepted:
            raise UnsupportedConfig(key, value, "only models without this key are converted")
        if type(value) not in accepted:
            raise UnsupportedConfig(key, value, f"{' or '.join(TYPE_NAMES[each] for each in accepted)} is needed")
        if key in ITEMS and isinstance(value, list) and not all(map(ITEMS[key][1], value)):
            raise UnsupportedConfig(key, value, f"each item has to be {ITEMS[key][0]}")
    for key in ("dtype", "torch_dtype"):
        if config.get(key) not in DTYPES:
            raise UnsupportedConfig(key, config[key], f"null or one of {', '.join(filter(None, DTYPES))} is needed")
    if not 0 <= config.get("initializer_range", 0.0) <= 1:
        raise UnsupportedConfig("initializer_range", config["initializer_range"], "at least 0.0, at most 1.0 is needed")


def _check_sizes(config: Config) -> None:
    """`config` with its defaults, but for head_dim."""
    limits = {**SIZES, "max_position_embeddings": 2**32 - 1, "num_key_value_heads": SIZES["num_attention_heads"]}
    if config["model_type"] == "mixtral":
        limits["num_local_experts"] = MAX_EXPERTS // min(MAX_EXPERTS, max(1, config.get("num_hidden_layers") or 1))
        limits["num_experts_per_tok"] = max(1, config["num_local_experts"])
    if config.get("head_dim") is not None:
        limits["head_dim"] = SIZES["hidden_size"]
    for key, limit in limits.items():
        value = config.get(key)
        if type(value) is not int or not 0 < value <= limit:
            raise UnsupportedConfig(key, value, f"a positive whole number of at most {limit:,} is needed")
    heads, hidden, n_layers = config["num_attention_heads"], config["hidden_size"], config["num_hidden_layers"]
    if heads % config["num_key_value_heads"]:
        raise UnsupportedConfig("num_key_value_heads", config["num_key_value_heads"], f"it has to divide {heads} heads")
    if hidden % heads and (config["model_type"] == "llama" or config.get("head_dim") is None):
        raise UnsupportedConfig("hidden_size", hidden, f"a multiple of the {heads} heads is needed")
    if (head_dim := config.get("head_dim") or hidden // heads) % 2:
        key, found = ("head_dim", head_dim) if config.get("head_dim") else ("hidden_size", hidden)
        raise UnsupportedConfig(key, found, "heads of an even width are needed")
    if (layer_types := config.get("layer_types")) is not None and len(layer_types) != n_layers:
        raise UnsupportedConfig("layer_types", layer_types, f"one for each of the {n_layers} layers is needed")


def _rope_parameters(config: Config) -> Config:
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if any(isinstance(value, dict) for value in rope.values()):
        raise UnsupportedConfig("rope_parameters", rope, "one set of parameters for all layers is needed")
    rope = {"rope_theta": config["rope_theta"], "rope_type": rope.get("type", "default"), **rope}
    rope_type = rope["rope_type"]
    if not isinstance(rope_type, str) or rope_type not in ROPE_KEYS:
        raise UnsupportedConfig("rope_type", rope_type, f"only {', '.join(ROPE_KEYS)} are converted")
    needed = ["rope_theta", *ROPE_KEYS[rope_type]]
    if rope_type in ("llama3", "yarn"):
        rope.setdefault("original_max_position_embeddings", config["max_position_embeddings"])
        needed.append("original_max_position_embeddings")
    for key in needed:
        value: Any = rope.get(key)
        if type(value) not in (int, float) or not 0 < value < MAX_ROPE_NUMBER:
            raise UnsupportedConfig(f"rope_parameters {key}", value, f"rope type {rope_type} needs a positive number")
    if rope_type == "llama3" and rope["high_freq_factor"] <= rope["low_freq_factor"]:
        wanted = f"more than the low_freq_factor {rope['low_freq_factor']} is needed"
        raise UnsupportedConfig("rope_parameters high_freq_factor", rope["high_freq_factor"], wanted)
    return rope
