"""SmolLM 3: a Llama of which every fourth layer is without rotary embedding."""

from __future__ import annotations

from typing import ClassVar

from converters.architecture import Architecture
from converters.architectures.llama import Llama
from converters.errors import UnsupportedConfig
from converters.hf_config import Config

NO_ROPE_INTERVAL = 4
"""What llama.cpp takes for granted (src/models/smollm3.cpp)."""


class SmolLM3(Llama):
    hf_names = ("SmolLM3ForCausalLM",)
    gguf_name = "smollm3"
    example = "HuggingFaceTB/SmolLM3-3B"
    model_types = ("smollm3",)
    rope_types = Architecture.rope_types
    expects: ClassVar = {
        **Llama.expects,
        "use_sliding_window": (False, None),
    }
    presumes: ClassVar = {"attention_bias": (False, None), "mlp_bias": (False, None)}

    def derive(self, config: Config) -> None:
        super().derive(config)
        interval = config["no_rope_layer_interval"]
        with_rope = config["no_rope_layers"]
        if with_rope is None and type(interval) is int and interval > 0:
            with_rope = [int((i + 1) % interval != 0) for i in range(self.n_layers)]
        if with_rope != [int((i + 1) % NO_ROPE_INTERVAL != 0) for i in range(self.n_layers)]:
            wanted = (
                f"llama.cpp takes every {NO_ROPE_INTERVAL}th layer to be without rotary embedding, and only that one"
            )
            key = "no_rope_layers" if config["no_rope_layers"] is not None else "no_rope_layer_interval"
            raise UnsupportedConfig(key, config[key], wanted)
