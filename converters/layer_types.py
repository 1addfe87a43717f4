"""Which layers look back only through a sliding window, as transformers and llama.cpp each write it."""

from __future__ import annotations

from converters.errors import UnsupportedConfig
from converters.hf_config import FULL, SLIDING, Config


def every_nth_full(n: int, n_layers: int) -> list[str]:
    """The type of each layer where every `n`-th one sees everything and all others slide; n = 1: all see everything."""
    return [SLIDING if i % n else FULL for i in range(1, n_layers + 1)]


def require_layer_types(config: Config, wanted: list[str]) -> None:
    """Raise UnsupportedConfig unless `layer_types` are `wanted`: llama.cpp fixes them where no key can tell."""
    if config["layer_types"] != wanted:
        found = config["layer_types"]
        first = next((i for i, pair in enumerate(zip(found, wanted, strict=False)) if pair[0] != pair[1]), 0)
        reason = f"layer {first} has to be {wanted[first]!r}: llama.cpp knows no other order of layers"
        raise UnsupportedConfig("layer_types", found[first], reason)


def sliding_layers(config: Config) -> list[bool]:
    """For each layer, whether it slides."""
    return [layer_type == SLIDING for layer_type in config["layer_types"]]
