"""Record what transformers takes for keys that a config.json leaves out: converters/hf_configs.json.

    python scripts/hf_configs.py

Run it in an environment that has transformers (and torch). llama.cpp's converter reads config.json through
transformers, so these defaults, and which types of value it accepts, decide what stands in the GGUF file.
"""

from __future__ import annotations

import json
import sys
import types
import typing
from dataclasses import MISSING, fields
from pathlib import Path

import torch
from transformers import CONFIG_MAPPING, PreTrainedConfig, configuration_utils
from transformers import __version__ as transformers_version

TARGET = Path(__file__).parent.parent / "converters" / "hf_configs.json"
MODEL_TYPES = (
    "arcee", "bloom", "cohere", "cohere2", "deepseek_v2", "deepseek_v3", "exaone4", "falcon", "gemma", "gemma2",
    "gemma3", "gemma3_text", "glm", "glm4", "gpt2", "gpt_bigcode", "gpt_neox", "gpt_oss", "granite", "granitemoe",
    "granitemoeshared", "internlm3", "llama", "minicpm3", "mistral", "mixtral", "mpt", "nemotron", "olmo", "olmo2",
    "olmo3", "olmoe", "phi", "phi3", "phimoe", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3", "stablelm",
    "starcoder2",
)  # fmt: skip
OTHER_NAMES = {
    "bloom": {"n_embed": "hidden_size"},
    "falcon": {"n_embed": "hidden_size"},
    "gpt_neox": {"rotary_emb_base": "rope_theta", "rotary_pct": "partial_rotary_factor"},
}
"""Names that code reads, and no table of transformers (`__post_init__`, `convert_rope_params_to_dict`)."""
COMMON = {field.name for field in fields(PreTrainedConfig)}
WORDS = {type(None): "null", int: "int", float: "float", bool: "bool", str: "str"}


def accepted(annotation: object) -> list[str]:
    """The JSON types an annotation lets through, in the words of converters/hf_config.py."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return list(dict.fromkeys(word for argument in arguments for word in accepted(argument)))
    if annotation in WORDS:
        return [WORDS[annotation]]
    if annotation is list or origin is list:
        return [f"list[{'|'.join(accepted(arguments[0]))}]" if arguments else "list"]
    if annotation in (dict, typing.Any) or origin is dict or isinstance(annotation, type):
        return ["dict"]
    raise TypeError(f"unknown annotation {annotation!r}")


def plain(value: object) -> object:
    return value if isinstance(value, (int, float, str, bool, list, dict, type(None))) else None


def record(model_type: str) -> dict[str, object]:
    config_class = CONFIG_MAPPING[model_type]
    names = {**vars(configuration_utils), **vars(sys.modules[config_class.__module__]), "torch": torch}
    keys: dict[str, list[object]] = {}
    for field in fields(config_class):
        if field.name in COMMON:
            continue
        annotation = eval(field.type, names) if isinstance(field.type, str) else field.type  # noqa: S307 - transformers' own
        keys[field.name] = [" ".join(accepted(annotation)), None if field.default is MISSING else plain(field.default)]
    rope = getattr(config_class(), "rope_parameters", None)
    other_names = {other: name for other, name in config_class.attribute_map.items() if name in keys or other in keys}
    other_names |= OTHER_NAMES.get(model_type, {})
    return {"keys": keys, "other_names": other_names, "rope": rope if isinstance(rope, dict) else None}


def main() -> int:
    recorded = {model_type: record(model_type) for model_type in MODEL_TYPES}
    body = ",\n".join(f"{json.dumps(model_type)}: {json.dumps(entry)}" for model_type, entry in recorded.items())
    TARGET.write_text(f'{{\n"transformers": {json.dumps(transformers_version)},\n{body}\n}}\n', encoding="utf-8")
    sys.stdout.write(f"{TARGET}: {len(recorded)} model types of transformers {transformers_version}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
