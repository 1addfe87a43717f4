"""A loaded GGUF file."""

from __future__ import annotations

import ctypes
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from gguf_bench.errors import ModelError
from gguf_bench.llama.bindings import llama_cpp
from gguf_bench.llama.log import log


class Model:
    """A loaded GGUF: its vocabulary, its chat template, and facts about its file.

    `adapter` is the GGUF of a LoRA adapter, which every context of the model computes with. `gpu_layers` go onto GPUs,
    the last ones first (-1: all), shared out by `tensor_split`, a share for each GPU; without it llama.cpp goes by
    their free memory. `metadata_only` reads the header and tensor list but no weights. Raises ModelError with
    llama.cpp's own reason when a file cannot be loaded.
    """

    def __init__(
        self,
        path: Path,
        *,
        gpu_layers: int = 0,
        tensor_split: Sequence[float] = (),
        extra_buffers: bool = True,
        adapter: Path | None = None,
        metadata_only: bool = False,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        self.path = path
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        if tensor_split:  # as long as llama.cpp reads, which copies it
            params.tensor_split = (ctypes.c_float * llama_cpp.llama_max_devices())(*tensor_split)
        params.use_extra_bufts = extra_buffers
        if metadata_only:
            params.no_alloc, params.load_mode = True, llama_cpp.LLAMA_LOAD_MODE_NONE
        if on_progress is not None:
            self._progress = llama_cpp.llama_progress_callback(lambda done, _: on_progress(done) or True)
            params.progress_callback = self._progress
        self.layers_on: Counter[str] = Counter()
        """How many layers landed on each device, the output layer counted as one, by llama.cpp's log of the load."""
        log().errors.clear()
        log().on_line = self._hear
        self.handle = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
        log().on_line = None
        if not self.handle:
            raise ModelError(f"{path.name}: llama.cpp cannot load it{log().why()}")
        self.vocab = llama_cpp.llama_model_get_vocab(self.handle)
        self.n_vocab: int = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.context_train: int = llama_cpp.llama_model_n_ctx_train(self.handle)
        self.n_params: int = llama_cpp.llama_model_n_params(self.handle)
        self.tensor_bytes: int = llama_cpp.llama_model_size(self.handle)
        self.n_layers: int = llama_cpp.llama_model_n_layer(self.handle)
        self.file_type: int = llama_cpp.llama_model_ftype(self.handle) & ~llama_cpp.LLAMA_FTYPE_GUESSED
        template = llama_cpp.llama_model_chat_template(self.handle, None)
        self.chat_template: str | None = template.decode("utf-8", "replace") if template else None
        self.forgets = not (
            llama_cpp.llama_model_is_recurrent(self.handle) or llama_cpp.llama_model_is_hybrid(self.handle)
        )
        self.adapter = self._load_adapter(adapter) if adapter is not None else None

    def _load_adapter(self, path: Path) -> Any:
        """llama.cpp's handle of the adapter; it is freed with the model."""
        log().errors.clear()
        handle = llama_cpp.llama_adapter_lora_init(self.handle, os.fsencode(path))
        if not handle:
            raise ModelError(f"{path.name}: llama.cpp cannot apply it to {self.path.name}{log().why()}")
        return handle

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            llama_cpp.llama_model_free(self.handle)

    def metadata(self, key: str) -> str | None:
        """The value of a GGUF metadata key as text, or None; at most 4 kB of it."""
        buffer = ctypes.create_string_buffer(4096)
        length = llama_cpp.llama_model_meta_val_str(self.handle, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if length >= 0 else None

    def _hear(self, line: str) -> None:
        match = re.search(r"layer +\d+ assigned to device ([^,]+)", line)
        if match:
            self.layers_on[match[1]] += 1

    def offloaded_layers(self) -> int:
        """Layers that really landed on a GPU.

        "offloaded 33/33 layers to GPU" in the log is what was asked for; it stands there without any GPU too.
        """
        return sum(count for device, count in self.layers_on.items() if device != "CPU")

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Token ids of `text`, no BOS added; `special` says whether '<|im_end|>' and the like become control tokens."""
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        while True:
            tokens = (llama_cpp.llama_token * room)()
            count = llama_cpp.llama_tokenize(self.vocab, raw, len(raw), tokens, room, False, special)
            if count >= 0:
                return list(tokens[:count])
            room = -count

    def piece(self, token: int) -> bytes:
        """The bytes of a token's text; nothing for control tokens."""
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = llama_cpp.llama_token_to_piece(self.vocab, token, buffer, room, 0, False)
            if count >= 0:
                return buffer.raw[:count]
            room = -count

    @cached_property
    def pieces(self) -> list[bytes]:
        """The bytes of every token's text; nothing for control tokens."""
        return [self.piece(token) for token in range(self.n_vocab)]

    def bos(self) -> int | None:
        """The BOS token, where this vocabulary wants one at the start of a prompt."""
        token = llama_cpp.llama_vocab_bos(self.vocab)
        return token if token >= 0 and llama_cpp.llama_vocab_get_add_bos(self.vocab) else None

    def text(self, tokens: Iterable[int]) -> str:
        """What `tokens` spell; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(self.pieces[token] for token in tokens).decode("utf-8", "replace")

    def token_text(self, token: int) -> str:
        return llama_cpp.llama_vocab_get_text(self.vocab, token).decode("utf-8", "replace") if token >= 0 else ""

    def is_end(self, token: int) -> bool:
        """Whether the vocabulary counts `token` among those that end a generation."""
        return bool(llama_cpp.llama_vocab_is_eog(self.vocab, token))
