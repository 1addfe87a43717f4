"""config.json in one spelling: what transformers fills in for a model type, and the one place that knows both ways to
write the rotary embedding (`rope_theta` + `rope_scaling` before transformers 5, `rope_parameters` since).

llama.cpp's converter reads config.json through transformers where that knows the model type, and as it stands where it
does not (families that live as code beside their weights). hf_configs.json holds what transformers knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any

from converters.errors import UnsupportedConfig

Config = dict[str, Any]

N_LAYERS = ("n_layers", "num_hidden_layers", "n_layer", "num_layers")
HIDDEN_SIZE = ("hidden_size", "n_embd", "dim", "d_model", "n_embed")
N_HEADS = ("num_attention_heads", "n_head", "n_heads")
N_KV_HEADS = ("num_key_value_heads", "n_kv_heads", "num_kv_heads", "n_head_kv")
N_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
"""The names under which families give their sizes, in the order in which the first one present counts."""

REQUIRED = (HIDDEN_SIZE, N_LAYERS, N_HEADS, ("vocab_size",))
"""What every config.json has to give: no default could be right by more than chance."""

LIMITS: Mapping[str, int] = {
    **dict.fromkeys(
        (*HIDDEN_SIZE, *N_HEADS, *N_KV_HEADS, "vocab_size", "intermediate_size", "n_inner", "head_dim"), 10_000_000
    ),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "kv_lora_rank"), 10_000_000),
    **dict.fromkeys(("q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), 10_000_000),
    **dict.fromkeys(N_LAYERS, 10_000),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 2**32 - 1),
}
"""Sizes -> the most that is believed: a hostile one would make lists of that many."""

MAY_BE_NULL = {"head_dim", "n_inner", "q_lora_rank", "v_head_dim", "num_experts_per_tok", *N_KV_HEADS, *N_EXPERTS}

MAX_EXPERTS = 100_000
"""In all layers together."""

HEADS_DIVIDE_HIDDEN = {"llama", "gemma2", "gemma3_text", "gpt_neox", "internlm3", "minicpm3", "deepseek_v2"}
"""Model types of which transformers takes no other, whatever head_dim says."""

INT, INT_OR_NULL, FLOAT, BOOL, DICT = (int,), (int, NoneType), (float,), (bool,), (dict, NoneType)

COMMON_TYPES: Mapping[str, tuple[type, ...]] = {
    "rope_scaling": DICT, "per_layer_config": (NoneType,), "num_labels": INT, "id2label": DICT, "auto_map": (dict,),
    "dtype": (str, NoneType), "torch_dtype": (str, NoneType), "rope_parameters": DICT, "layer_types": (list, NoneType),
}  # fmt: skip
"""Keys of every model type, and what transformers takes for them."""

TYPES: Mapping[str, type] = {
    "int": int, "float": float, "bool": bool, "str": str, "dict": dict, "null": NoneType, "list": list,
    "list[int]": list, "list[str]": list,
}  # fmt: skip
TYPE_NAMES = {
    int: "a whole number", float: "a number with a decimal point", bool: "true or false", str: "a string",
    list: "a list", dict: "an object", NoneType: "null",
}  # fmt: skip
ITEM_TYPES: Mapping[str, tuple[str, type]] = {"list[int]": ("whole numbers", int), "list[str]": ("strings", str)}

SLIDING, FULL = "sliding_attention", "full_attention"
LAYER_TYPES = (FULL, SLIDING)
DTYPES = (None, "float16", "bfloat16", "float32", "float64", "half", "float", "double")

ROPE_KEYS = {
    "default": (),
    "dynamic": ("factor",),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor",),
    "longrope": (),
    "su": (),
}
"""Scaling types that are converted -> the parameters each needs."""

WITH_ORIGINAL_CONTEXT = ("llama3", "yarn", "longrope")

MAX_NUMBER = 1e30
"""Far beyond any frequency base, and well within float32."""


@cache
def _recorded() -> dict[str, Any]:
    path = Path(__file__).with_name("hf_configs.json")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def first(config: Config, names: Sequence[str]) -> Any:
    """The value of the first of `names` that `config` has, None when it has none."""
    return next((config[name] for name in names if name in config), None)


def require(config: Config, key: str, *allowed: Any) -> None:
    """Raise UnsupportedConfig unless config's `key` has one of the values; None stands for a key that is left out."""
    if config.get(key) not in allowed:
        wanted = " or ".join("nothing" if value is None else repr(value) for value in allowed)
        raise UnsupportedConfig(key, config.get(key), f"only {wanted} is converted faithfully")


def require_sizes(config: Config, *keys: str, least: int = 1) -> None:
    """Raise UnsupportedConfig unless each of `keys` is a whole number of at least `least`, and not beyond belief.

    For what a family needs beside the sizes that all have, where transformers does not see to it.
    """
    for key in keys:
        limit = LIMITS.get(key, 10_000_000)
        if type(value := config.get(key)) is not int or not least <= value <= limit:
            wanted = f"a whole number of at least {least} and at most {limit:,} is needed"
            raise UnsupportedConfig(key, value, wanted)


def require_numbers(config: Config, *keys: str) -> None:
    """Raise UnsupportedConfig for a key that is missing or no number: where a model type is none of transformers',
    nothing else looks at them."""
    for key in keys:
        if type(config.get(key)) not in (int, float):
            raise UnsupportedConfig(key, config.get(key), "a number is needed")


def require_positive(config: Config, *keys: str) -> None:
    """Raise UnsupportedConfig unless each of `keys` is a number above 0, and not beyond belief."""
    for key in keys:
        if not _is_positive(value := config.get(key)):
            raise UnsupportedConfig(key, value, "a positive number is needed")


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < MAX_NUMBER


def one_spelling(config: Config) -> Config:
    """`config` with the defaults of its model type, a multimodal one's `text_config` moved to the top, and all of the
    rotary embedding under `rope_parameters` (flat, or by type of layer); {} where there is none.

    Raises UnsupportedConfig for a missing size, an unknown rope type, a value of a type that transformers does not
    take, and sizes that do not fit each other or are beyond belief.
    """
    if isinstance(nested := config.get("text_config"), dict):
        model_type = nested.get("model_type") or f"{config.get('model_type')}_text"
        # transformers saved of a part of a model only what differs from its defaults (Gemma 3's 4B).
        text = _with_defaults({**nested, "model_type": model_type}, is_part=True)
        return {**config, **text, "architectures": config.get("architectures")}
    return _with_defaults(config)


def _with_defaults(config: Config, is_part: bool = False) -> Config:
    recorded = _recorded().get(str(config.get("model_type")), {"keys": {}, "other_names": {}, "rope": None})
    keys, other_names = recorded["keys"], recorded["other_names"]
    for other, name in other_names.items():
        if other in config and name in config and config[other] != config[name]:
            raise UnsupportedConfig(other, config[other], f"{name} is {config[name]!r}: one of the two has to go")
    types = {key: tuple(TYPES[word] for word in words.split()) for key, (words, _) in keys.items()}
    _check_types(config, {**COMMON_TYPES, **types}, {key: words for key, (words, _) in keys.items()})
    given = {other_names.get(key, key): value for key, value in config.items()}
    defaults = {other_names.get(key, key): value for key, (_, value) in keys.items()}
    _require_all_sizes({**defaults, **given} if is_part else given, keys)
    merged: Config = {**defaults, **given}
    _check_sizes(merged)
    merged["rope_parameters"] = _rope_parameters(merged, recorded["rope"], "original_max_position_embeddings" in keys)
    return merged


def _check_types(config: Config, types: Mapping[str, tuple[type, ...]], words: Mapping[str, str]) -> None:
    """Raise where transformers refuses a value (a whole number is no float to it): it then refuses the whole file, and
    llama.cpp's converter goes on without any defaults, so that its GGUF file lacks keys."""
    for key, accepted in types.items():
        if key not in config:
            continue
        value = config[key]
        if type(value) not in accepted:
            raise UnsupportedConfig(key, value, f"{' or '.join(TYPE_NAMES[each] for each in accepted)} is needed")
        if isinstance(value, list):
            known = (word for word in words.get(key, "").split() if word in ITEM_TYPES)
            for item_words, item_type in (ITEM_TYPES[word] for word in known):
                if any(type(item) is not item_type for item in value):
                    raise UnsupportedConfig(key, value, f"each item has to be {item_words}")
    for key in ("dtype", "torch_dtype"):
        if config.get(key) not in DTYPES:
            raise UnsupportedConfig(key, config[key], f"null or one of {', '.join(filter(None, DTYPES))} is needed")
    if "initializer_range" in types and not 0 <= config.get("initializer_range", 0.0) <= 1:
        raise UnsupportedConfig("initializer_range", config["initializer_range"], "at least 0.0, at most 1.0 is needed")
    if any(each not in LAYER_TYPES for each in config.get("layer_types") or ()):
        wanted = f"each item has to be {' or '.join(LAYER_TYPES)}"
        raise UnsupportedConfig("layer_types", config["layer_types"], wanted)


def _require_all_sizes(given: Config, keys: Mapping[str, Any]) -> None:
    for names in (*REQUIRED, *([("intermediate_size",)] if "intermediate_size" in keys else [])):
        if first(given, names) is None:
            name = next((name for name in names if name in keys), names[0])
            raise UnsupportedConfig(name, None, f"a positive whole number of at most {LIMITS[name]:,} is needed")


def _check_sizes(config: Config) -> None:
    limits = dict(LIMITS)
    n_layers = first(config, N_LAYERS)
    n_experts = first(config, N_EXPERTS)
    if n_experts is not None:
        layers = n_layers if type(n_layers) is int else 1
        limits |= dict.fromkeys(N_EXPERTS, MAX_EXPERTS // min(MAX_EXPERTS, max(1, layers)))
        limits["num_experts_per_tok"] = max(1, n_experts) if type(n_experts) is int else 1
    for key, limit in limits.items():
        value = config.get(key)
        if key not in config or (value is None and key in MAY_BE_NULL):
            continue
        if type(value) is not int or not 0 < value <= limit:
            raise UnsupportedConfig(key, value, f"a positive whole number of at most {limit:,} is needed")
    heads, hidden = first(config, N_HEADS), first(config, HIDDEN_SIZE)
    for name in N_KV_HEADS:
        if config.get(name) is not None and heads % config[name]:
            raise UnsupportedConfig(name, config[name], f"it has to divide {heads} heads")
    if hidden % heads and (config.get("head_dim") is None or config.get("model_type") in HEADS_DIVIDE_HIDDEN):
        raise UnsupportedConfig("hidden_size", hidden, f"a multiple of the {heads} heads is needed")
    if (config.get("head_dim") or hidden // heads) % 2:
        key, found = ("head_dim", config["head_dim"]) if config.get("head_dim") else ("hidden_size", hidden)
        raise UnsupportedConfig(key, found, "heads of an even width are needed")
    if (layer_types := config.get("layer_types")) is not None and len(layer_types) != n_layers:
        raise UnsupportedConfig("layer_types", layer_types, f"one for each of the {n_layers} layers is needed")


def _rope_parameters(config: Config, default: Config | None, has_own_context: bool) -> Config:
    """What llama.cpp's converter calls `rope_parameters`.

    `default` is what transformers makes of a config.json that says nothing of the rotary embedding, None where it knows
    of none. `has_own_context` is for model types that keep the original context beside the parameters.
    """
    given = config.get("rope_scaling") or config.get("rope_parameters") or {}
    by_layer_type = {key: value for key, value in given.items() if isinstance(value, dict)}
    defaults_by_layer_type = {key: value for key, value in (default or {}).items() if isinstance(value, dict)}
    if by_layer_type or defaults_by_layer_type:
        return _rope_by_layer_type(config, given, defaults_by_layer_type)
    if default is not None:
        known = default if not given else {key: default[key] for key in THETA_AND_SHARE if key in default}
        from_config = {key: config[key] for key in THETA_AND_SHARE if key in config}
        if from_config.get("partial_rotary_factor", 0) is None:
            del from_config["partial_rotary_factor"]
        rope = {**known, **from_config, **given}
        rope.setdefault("rope_type", rope.get("type", "default"))
        if rope["rope_type"] in WITH_ORIGINAL_CONTEXT:
            if has_own_context:
                rope["original_max_position_embeddings"] = config["original_max_position_embeddings"]
            else:
                rope.setdefault("original_max_position_embeddings", config["max_position_embeddings"])
    else:
        rope = dict(given)
    # What follows is llama.cpp's own reading, for families that transformers does not know.
    for key, names in LEGACY_ROPE_NAMES.items():
        if key not in rope and (value := first(config, names)) is not None:
            rope[key] = value
    if "rope_type" not in rope and rope.get("type") is not None:
        rope["rope_type"] = rope["type"]
    _check_rope(rope, config)
    return rope


THETA_AND_SHARE = ("rope_theta", "partial_rotary_factor")
LEGACY_ROPE_NAMES = {
    "rope_theta": ("global_rope_theta", "rope_global_theta", "rope_theta_global", "rope_theta", "rotary_emb_base"),
    "partial_rotary_factor": ("partial_rotary_factor", "rope_pct", "rope_percent"),
    "original_max_position_embeddings": ("original_max_position_embeddings",),
}
THETA_NAMES = {"full_attention": "rope_theta", "sliding_attention": "rope_local_base_freq"}


def _rope_by_layer_type(config: Config, given: Config, defaults: Config) -> Config:
    """{"full_attention": {...}, "sliding_attention": {...}}: models whose sliding layers turn at another speed."""
    scaling = config.get("rope_scaling") or {}
    if not defaults or any(not isinstance(value, dict) for value in given.values() if given is not scaling):
        raise UnsupportedConfig("rope_parameters", given, "one set of parameters for all layers is needed")
    result = {}
    for layer_type, default in defaults.items():
        rope = dict((config.get("rope_parameters") or {}).get(layer_type) or {})
        if layer_type == "full_attention":
            rope |= scaling
        theta = config.get(THETA_NAMES[layer_type])
        rope.setdefault("rope_theta", default["rope_theta"] if theta is None else theta)
        rope.setdefault("rope_type", rope.get("type", "default"))
        if rope["rope_type"] in WITH_ORIGINAL_CONTEXT:
            rope.setdefault("original_max_position_embeddings", config["max_position_embeddings"])
        _check_rope(rope, config)
        result[layer_type] = rope
    return result


def _check_rope(rope: Config, config: Config) -> None:
    rope_type = rope.get("rope_type", "default")
    if not isinstance(rope_type, str) or rope_type not in ROPE_KEYS:
        raise UnsupportedConfig("rope_type", rope_type, f"only {', '.join(ROPE_KEYS)} are converted")
    needed = list(ROPE_KEYS[rope_type])
    needed += [key for key in THETA_AND_SHARE if key in rope]
    needed += ["original_max_position_embeddings"] if rope_type in ("llama3", "yarn") else []
    for key in needed:
        if not _is_positive(value := rope.get(key)):
            raise UnsupportedConfig(f"rope_parameters {key}", value, f"rope type {rope_type} needs a positive number")
    if rope_type == "llama3" and rope["high_freq_factor"] <= rope["low_freq_factor"]:
        wanted = f"more than the low_freq_factor {rope['low_freq_factor']} is needed"
        raise UnsupportedConfig("rope_parameters high_freq_factor", rope["high_freq_factor"], wanted)
