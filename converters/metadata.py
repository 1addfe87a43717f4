"""The `general.*` keys (name, size, licence, ...) from the model card, config.json and the folder's name."""

from __future__ import annotations

from pathlib import Path

import yaml
from gguf import GGUFWriter, Metadata, size_label

from converters.checkpoint import read_json
from converters.errors import MetadataError
from converters.gguf_file import Keys
from converters.model_card import require_readable_card

ExpertShares = tuple[int, int, int]
"""Parameters that every token uses, parameters of one expert, number of experts."""


def write_general_keys(
    keys: Keys, folder: Path, architecture: str, n_params: int, expert_shares: ExpertShares | None
) -> None:
    """Write what gguf's own heuristics find.

    Raises MetadataError for a model card they cannot read, CheckpointFileError for one that they would not end reading.

    A LoRA adapter has no `expert_shares`, and `n_params` below 0: minus the values it changes, by which gguf knows it.
    """
    writer = GGUFWriter(None, architecture)
    if expert_shares is None:
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
    else:
        writer.add_type("model")
    # Both before gguf reads them, which it does without any limit.
    require_readable_card(folder)
    generation = read_json(folder, "generation_config.json") or {}
    try:
        metadata = Metadata.load(None, folder, None, n_params)
        if "penalty_repeat" not in generation:  # gguf 0.19 does not know transformers' name for it
            metadata.sampling_penalty_repeat = generation.get("repetition_penalty")
        metadata.name = folder.name if metadata.name is None else metadata.name
        if expert_shares is not None:
            metadata.size_label = metadata.size_label or size_label(n_params, *expert_shares)
        metadata.set_gguf_meta_model(writer)
    except (yaml.YAMLError, ArithmeticError, AttributeError, TypeError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise MetadataError(f"README.md or generation_config.json in {folder} cannot be read ({problem})") from error
    for key, value in writer.kv_data[0].items():
        keys.set(key, value.type, value.value)
