"""A KV cache of several sequences, and the decodes that fill it.

Each sequence has a cache of its own (`kv_unified` off), and is decoded so that its logits do not depend on what its
neighbours hold: prompts alone, in micro-batches counted from the sequence's own start, and generated tokens in batches
that always have a row for every sequence, needed or not. See docs/engine.md for how that was tried.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gguf_bench.errors import ModelError
from gguf_bench.llama.bindings import llama_cpp
from gguf_bench.llama.log import log
from gguf_bench.llama.model import Model

PAD = 256
"""llama.cpp rounds the cells of a sequence up to a multiple of this."""

KV_TYPES = {"f16": llama_cpp.GGML_TYPE_F16, "f32": llama_cpp.GGML_TYPE_F32}

Logits = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a context computes: `n_parallel` sequences of `n_ctx` tokens each, prompts in micro-batches of `n_ubatch`.

    `kv_type` is one of KV_TYPES; `flash_attention` None leaves the choice to llama.cpp.
    """

    n_ctx: int
    n_parallel: int
    n_threads: int
    n_ubatch: int
    flash_attention: bool | None
    kv_type: str

    @property
    def n_cells(self) -> int:
        """The tokens that each sequence has room for: `n_ctx`, rounded up as llama.cpp does."""
        return -(-self.n_ctx // PAD) * PAD

    @property
    def n_sequences(self) -> int:
        """One more than are answered in: it keeps what all prompts begin with."""
        return self.n_parallel + 1


class Context:
    """A KV cache for the sequences 0 … n_parallel - 1, and one more that keeps the tokens all prompts begin with.

    `beat` is called after every decode, of a micro-batch at most: a sign of life. Raises ModelError where there is no
    memory for it, or llama.cpp cannot compute this model so.
    """

    def __init__(self, model: Model, layout: Layout, beat: Callable[[], None] = lambda: None) -> None:
        self._beat = beat
        self.n_ctx = layout.n_cells
        self.n_parallel, self._n_ubatch = layout.n_parallel, layout.n_ubatch
        n_sequences = layout.n_sequences
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = self.n_ctx * n_sequences
        params.n_seq_max = params.n_outputs_max = n_sequences  # logits for one token a sequence, not for every one
        params.n_batch = params.n_ubatch = max(layout.n_ubatch, n_sequences)
        params.n_threads = params.n_threads_batch = layout.n_threads
        params.flash_attn_type = -1 if layout.flash_attention is None else int(layout.flash_attention)
        params.type_k = params.type_v = KV_TYPES[layout.kv_type]
        params.kv_unified, params.swa_full, params.no_perf = False, False, True
        log().errors.clear()
        self.handle = llama_cpp.llama_init_from_model(model.handle, params)
        if not self.handle:
            wanted = f"{n_sequences} sequences of {self.n_ctx} tokens"
            raise ModelError(f"{model.path.name}: llama.cpp cannot make a context of {wanted}{log().why()}")
        if model.adapter is not None:
            adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(model.adapter)
            if llama_cpp.llama_set_adapters_lora(self.handle, adapters, 1, (ctypes.c_float * 1)(1.0)) != 0:
                raise ModelError(f"llama.cpp cannot use the adapter of {model.path.name}{log().why()}")
        self._model, self._memory = model, llama_cpp.llama_get_memory(self.handle)
        self._batch = _Batch(params.n_batch)
        self._lengths = [0] * n_sequences
        self._prefix: list[int] = []

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            llama_cpp.llama_free(self.handle)

    @property
    def prefix_sequence(self) -> int:
        return self.n_parallel

    def keep_prefix(self, tokens: Sequence[int]) -> None:
        """Decode the tokens that prompts begin with, once; `start` copies them."""
        self._clear(self.prefix_sequence)
        self._append(self.prefix_sequence, tokens, wants_logits=False)
        llama_cpp.llama_synchronize(self.handle)
        self._prefix = list(tokens)

    def start(self, sequence: int, tokens: Sequence[int]) -> tuple[Logits, int]:
        """Make `sequence` hold exactly `tokens`; (logits after the last one (n_vocab,), how many had to be decoded)."""
        log().errors.clear()
        self._clear(sequence)
        n_kept = len(self._prefix)
        if 0 < n_kept < len(tokens) and list(tokens[:n_kept]) == self._prefix:
            llama_cpp.llama_memory_seq_cp(self._memory, self.prefix_sequence, sequence, -1, -1)
            self._lengths[sequence] = n_kept
        else:
            n_kept = 0
        return self.extend(sequence, tokens[n_kept:]), len(tokens) - n_kept

    def extend(self, sequence: int, tokens: Sequence[int]) -> Logits:
        """Decode `tokens` behind what `sequence` holds; the logits after the last one (n_vocab,).

        They are llama.cpp's own memory, good until the next decode.
        """
        row = self._append(sequence, tokens, wants_logits=True)
        return self._logits(row)

    def extend_each(self, tokens: Mapping[int, int]) -> dict[int, Logits]:
        """Decode one token behind each of several sequences, together; the logits after each (n_vocab,).

        Sequences that are not asked get a row too, and forget it again: kernels differ with the width of a batch, so
        it never changes. Models whose state cannot forget a token (recurrent ones) are decoded one by one.
        """
        if not self._model.forgets or self.n_parallel == 1:
            return {sequence: self.extend(sequence, [token]).copy() for sequence, token in tokens.items()}
        idle = [sequence for sequence in range(self.n_parallel) if sequence not in tokens]
        for sequence in idle:
            self._clear(sequence)
        self._batch.fill_rows(
            [tokens.get(sequence, 0) for sequence in range(self.n_parallel)], self._lengths[: self.n_parallel]
        )
        self._decode()
        for sequence in tokens:
            self._lengths[sequence] += 1
        for sequence in idle:
            llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        return {sequence: self._logits(sequence) for sequence in tokens}

    def _clear(self, sequence: int) -> None:
        llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        self._lengths[sequence] = 0

    def _append(self, sequence: int, tokens: Sequence[int], *, wants_logits: bool) -> int:
        """The batch row that holds the logits of the last token."""
        n_rows = 0
        for start in range(0, len(tokens), self._n_ubatch):
            chunk = tokens[start : start + self._n_ubatch]
            is_last = start + len(chunk) == len(tokens)
            self._batch.fill(chunk, sequence, self._lengths[sequence], wants_logits=wants_logits and is_last)
            self._decode()
            self._lengths[sequence] += len(chunk)
            n_rows = len(chunk)
        return n_rows - 1

    def _decode(self) -> None:
        code = llama_cpp.llama_decode(self.handle, self._batch.batch)
        if code != 0:
            raise ModelError(f"llama_decode failed with {code}{log().why()}")
        self._beat()

    def _logits(self, row: int) -> Logits:
        pointer = llama_cpp.llama_get_logits_ith(self.handle, row)
        return np.ctypeslib.as_array(pointer, shape=(self._model.n_vocab,))


class _Batch:
    """A llama_batch on arrays of our own, filled without a Python loop over the tokens."""

    def __init__(self, size: int) -> None:
        self._tokens, self._positions = np.zeros(size, np.int32), np.zeros(size, np.int32)
        self._ones, self._sequences = np.ones(size, np.int32), np.zeros(size, np.int32)
        self._pointers = self._sequences.ctypes.data + 4 * np.arange(size, dtype=np.uintp)
        self._outputs = np.zeros(size, np.int8)
        self.batch = llama_cpp.llama_batch(
            n_tokens=0,
            token=self._tokens.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            embd=None,
            pos=self._positions.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            n_seq_id=self._ones.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            seq_id=self._pointers.ctypes.data_as(ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
            logits=self._outputs.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def fill(self, tokens: Sequence[int], sequence: int, position: int, *, wants_logits: bool) -> None:
        """`tokens` of one sequence from `position` on, with logits for the last one or none."""
        n_tokens = len(tokens)
        self._tokens[:n_tokens] = tokens
        self._positions[:n_tokens] = np.arange(position, position + n_tokens)
        self._sequences[:n_tokens] = sequence
        self._outputs[:n_tokens] = 0
        self._outputs[n_tokens - 1] = wants_logits
        self.batch.n_tokens = n_tokens

    def fill_rows(self, tokens: Sequence[int], positions: Sequence[int]) -> None:
        """One token a sequence, from sequence 0 on, each with logits."""
        n_tokens = len(tokens)
        self._tokens[:n_tokens], self._positions[:n_tokens] = tokens, positions
        self._sequences[:n_tokens] = np.arange(n_tokens)
        self._outputs[:n_tokens] = 1
        self.batch.n_tokens = n_tokens
