"""A KV cache, and greedy answers computed in it."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass

import llama_cpp
import numpy as np

from gguf_bench.errors import ModelError
from gguf_bench.llama.grammar import Grammar
from gguf_bench.llama.log import log
from gguf_bench.llama.model import Model

PAD = 256
"""llama.cpp rounds a context up to this many cells."""


@dataclass(frozen=True, slots=True)
class Generated:
    """A greedy answer and what it took. `decoded_prompt_tokens` excludes a prefix that was still in the cache."""

    tokens: list[int]
    decoded_prompt_tokens: int
    prompt_seconds: float
    generation_seconds: float


class Context:
    """A KV cache of `n_ctx` tokens with a shared prefix: greedy answers to one prompt after another.

    The prefix's cache is kept between prompts and everything after it dropped, so each answer is computed from the same
    state, in the same batch shapes, whatever was asked before: answers do not depend on their order.
    """

    def __init__(self, model: Model, *, n_ctx: int, n_threads: int, n_batch: int, gbnf: str | None) -> None:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = -(-n_ctx // PAD) * PAD
        params.n_batch = params.n_ubatch = n_batch
        params.n_threads = params.n_threads_batch = n_threads
        params.no_perf = True
        log().errors.clear()
        self.handle = llama_cpp.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise ModelError(f"no memory for a context of {params.n_ctx} tokens{log().why()}")
        if model.adapter is not None:
            adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(model.adapter)
            if llama_cpp.llama_set_adapters_lora(self.handle, adapters, 1, (ctypes.c_float * 1)(1.0)) != 0:
                raise ModelError(f"llama.cpp cannot use the adapter of {model.path.name}{log().why()}")
        self.n_ctx: int = params.n_ctx
        self._model, self._memory = model, llama_cpp.llama_get_memory(self.handle)
        self._grammar = Grammar(model.vocab, gbnf) if gbnf else None
        self._prefix: list[int] = []
        self._n_batch = n_batch

    def answer(self, prefix: Sequence[int], prompt: Sequence[int], max_tokens: int) -> Generated:
        """The greedy answer to `prefix` + `prompt`, at most `max_tokens` tokens of it."""
        started = time.monotonic()
        kept = self._keep_prefix(list(prefix))
        self._decode(prompt)
        llama_cpp.llama_synchronize(self.handle)
        asked = time.monotonic()
        tokens = self._generate(max_tokens)
        return Generated(
            tokens=tokens,
            decoded_prompt_tokens=len(prompt) + (0 if kept else len(prefix)),
            prompt_seconds=asked - started,
            generation_seconds=time.monotonic() - asked,
        )

    def _keep_prefix(self, prefix: list[int]) -> bool:
        """Bring the cache to hold exactly `prefix`; False where it had to be decoded again.

        Recurrent and hybrid models cannot drop the end of a sequence, and a sliding window may have lost its start.
        """
        if prefix and prefix == self._prefix:
            whole = llama_cpp.llama_memory_seq_pos_min(self._memory, 0) == 0
            if whole and llama_cpp.llama_memory_seq_rm(self._memory, 0, len(prefix), -1):
                return True
        llama_cpp.llama_memory_clear(self._memory, True)
        self._decode(prefix)
        self._prefix = prefix
        return False

    def _decode(self, tokens: Sequence[int]) -> None:
        for start in range(0, len(tokens), self._n_batch):
            chunk = tokens[start : start + self._n_batch]
            array = (llama_cpp.llama_token * len(chunk))(*chunk)  # the batch only points to it
            code = llama_cpp.llama_decode(self.handle, llama_cpp.llama_batch_get_one(array, len(chunk)))
            if code != 0:
                raise ModelError(f"llama_decode failed with {code}{log().why()}")

    def _generate(self, max_tokens: int) -> list[int]:
        if self._grammar is not None:
            self._grammar.restart()
        answer: list[int] = []
        while len(answer) < max_tokens:
            token = self._best_token()
            if self._model.is_end(token):
                break
            answer.append(token)
            if self._grammar is not None:
                self._grammar.accept(token)
            if len(answer) < max_tokens:
                self._decode([token])
        return answer

    def _best_token(self) -> int:
        """The likeliest token the grammar allows: the likeliest one is tried alone, then 64, then all."""
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.handle, -1), shape=(self._model.n_vocab,))
        best = int(logits.argmax())  # of NaNs the first
        if not np.isfinite(logits[best]):
            raise ModelError(f"{self._model.path.name} computes no numbers (NaN or infinity): its weights are broken")
        if self._grammar is None or self._grammar.allowed(np.array([best], dtype=np.int32))[0]:
            return best
        for count in (64, len(logits)):
            likely = np.argpartition(-logits, min(count, len(logits) - 1))[:count].astype(np.int32)
            likely = likely[np.lexsort((likely, -logits[likely]))]  # ties go to the lower id, as argmax has it
            allowed = likely[self._grammar.allowed(likely)]
            if len(allowed):
                return int(allowed[0])
        raise ModelError("the answer grammar allows no token of this vocabulary")
