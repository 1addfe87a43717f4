"""Arcee's AFM: a Llama whose feed-forward has no gate."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from converters.architectures.llama import Llama
from converters.checkpoint import refuse_embedding_model
from converters.tokenizer import Vocabulary


class Arcee(Llama):
    hf_names = ("ArceeForCausalLM",)
    gguf_name = "arcee"
    example = "arcee-ai/AFM-4.5B"
    model_types = ("arcee",)
    tensors: ClassVar = {name: row for name, row in Llama.tensors.items() if not name.endswith("gate_proj")}
    expects: ClassVar = {
        **Llama.expects,
        "hidden_act": ("relu2",),
    }
    presumes: ClassVar = {"attention_bias": (False, None), "mlp_bias": (False, None)}

    def read_vocabulary(self, folder: Path) -> Vocabulary:
        refuse_embedding_model(folder)
        return super().read_vocabulary(folder)
