"""What config.json's `quantization_config` says: weights with scales that are turned back, or a way that is refused.

The methods that are turned back are read as llama.cpp's converter reads them (conversion/base.py, dequant_model).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from converters.errors import UnsupportedConfig
from converters.model_card import problem_of

MAX_CARD_BYTES = 100_000
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
QUANTIZED_NAME = re.compile(
    r"[-_.](awq|gptq|bnb|hqq|aqlm|eetq|quanto|torchao|exl\d|vptq|higgs|nvfp4|mxfp4|autoround|quantized|marlin"
    r"|int[348]|[348]bits?|w\d+a\d+(g\d+)?)(?![a-z])",
    re.IGNORECASE,
)
"""Where the part of a name begins that tells how a model was quantized."""

BY_ARCHITECTURE = {"mxfp4": ("gpt_oss",)}
"""Method -> the model types whose conversion reads it by itself."""

SCALED_FORMATS = ("float-quantized", "int-quantized", "naive-quantized")


@dataclass(frozen=True, slots=True)
class Scaling:
    """A weight and its scale are two tensors: the scale's name ends with `suffix`, and its weight is called as it is
    but for the `scale_ending`.

    `block` is the part of a weight, by axis, that has a scale in common; None where the scale's shape tells that.
    Tensors whose names end with one of `unused` concern what runs the model otherwise.
    """

    suffix: str
    scale_ending: str
    block: tuple[int, ...] | None = None
    unused: tuple[str, ...] = ()


def refuse_quantized(config: Mapping[str, Any], folder: Path | None = None) -> None:
    """Raise UnsupportedConfig for a checkpoint whose weights are quantized in a way that is not turned back.

    The message names the method, and the unquantized checkpoint where config.json, the model card in `folder`, or at
    least a name tells it. Reads no weights.
    """
    try:
        read_scaling(config)
    except UnsupportedConfig as error:
        raise UnsupportedConfig(error.key, error.found, f"{error.wanted}; {_way_out(config, folder)}") from None


def read_scaling(config: Mapping[str, Any]) -> Scaling | None:
    """How the weights are scaled, None where they are as they are. Raises UnsupportedConfig for all other methods."""
    quantization = config.get("quantization_config")
    if not quantization:
        return None
    if not isinstance(quantization, dict):
        raise UnsupportedConfig("quantization_config", _brief(quantization), "an object is needed")
    method = quantization.get("quant_method")
    if method is None and (quantization.get("load_in_4bit") or quantization.get("load_in_8bit")):
        method = "bitsandbytes"  # as it was written before there were others
    if method is None or (isinstance(method, str) and config.get("model_type") in BY_ARCHITECTURE.get(method, ())):
        return None
    if method == "fp8":
        block = _block("weight_block_size", quantization.get("weight_block_size"))
        return Scaling("_scale_inv", "_scale_inv", block, unused=(".activation_scale", "_activation_scale"))
    if method == "compressed-tensors":
        return _compressed_tensors(quantization)
    raise UnsupportedConfig("quantization_config", _brief(method), "weights of that kind are not turned back")


def _compressed_tensors(quantization: dict[str, Any]) -> Scaling:
    form, groups = quantization.get("format"), quantization.get("config_groups")
    if form not in SCALED_FORMATS:
        wanted = f"only the formats {', '.join(SCALED_FORMATS)} of compressed-tensors are turned back"
        raise UnsupportedConfig("quantization_config format", _brief(form), wanted)
    group = next(iter(groups.values())) if isinstance(groups, dict) and len(groups) == 1 else None
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(weights, dict):
        wanted = "one group that says how weights were quantized is needed"
        raise UnsupportedConfig("quantization_config config_groups", _brief(groups), wanted)
    for key, accepted in {"strategy": ("channel", "block"), "group_size": (None,)}.items():
        if weights.get(key) not in accepted:
            wanted = "only the strategies channel and block, without a group_size, are turned back"
            raise UnsupportedConfig(f"quantization_config {key}", _brief(weights.get(key)), wanted)
    return Scaling(".weight_scale", "_scale", _block("block_structure", weights.get("block_structure")))


def _block(key: str, value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or any(type(n) is not int or not 0 < n < 1 << 31 for n in value):
        raise UnsupportedConfig(f"quantization_config {key}", _brief(value), "a list of sizes is needed")
    return tuple(value)


def _brief(value: Any) -> Any:
    """Nothing that could be nested without end."""
    return value if isinstance(value, (str, int, float, type(None))) else f"a {type(value).__name__}"


def _way_out(config: Mapping[str, Any], folder: Path | None) -> str:
    for base_model in _base_models(folder):
        return f"convert the checkpoint it was made from, {base_model} (base_model in README.md)"
    names = ("_name_or_path in config.json", config.get("_name_or_path")), ("its name", folder.name if folder else None)
    for where, name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[\w./-]{1,200}", name, re.ASCII):
            continue
        suffix = QUANTIZED_NAME.search(name)
        if suffix and name[: suffix.start()].rpartition("/")[2]:
            return f"convert the unquantized checkpoint, by {where} probably {name[: suffix.start()]}"
        if not suffix and HUB_ID.fullmatch(name) and where != "its name":
            return f"convert the checkpoint it was made from, {name} ({where})"
    return "convert the unquantized checkpoint it was made from"


def _base_models(folder: Path | None) -> Iterator[str]:
    """Hub ids that the model card gives for `base_model`; none when there is no card or it cannot be read."""
    path = None if folder is None else folder / "README.md"
    if path is None or not path.is_file():
        return
    try:
        with path.open("rb") as file:
            card = file.read(MAX_CARD_BYTES).decode("utf-8", "replace")
        front = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", card, re.DOTALL)
        content = yaml.safe_load(front[1]) if front and not problem_of(front[1]) else None
    except (OSError, yaml.YAMLError, ArithmeticError, ValueError):
        return
    names = content.get("base_model") if isinstance(content, dict) else None
    for name in names if isinstance(names, list) else [names]:
        if isinstance(name, str) and HUB_ID.fullmatch(name) and not QUANTIZED_NAME.search(name):
            yield name
