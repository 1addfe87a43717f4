"""A grammar that an answer has to follow."""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp
import numpy as np

from gguf_bench.errors import ModelError
from gguf_bench.llama.log import log


class Grammar:
    """A GBNF grammar over a vocabulary, restarted for each answer. Raises ModelError where llama.cpp refuses it."""

    def __init__(self, vocab: Any, gbnf: str) -> None:
        self._sampler = llama_cpp.llama_sampler_init_grammar(vocab, gbnf.encode(), b"root")
        if not self._sampler:  # llama.cpp would crash on the NULL later
            raise ModelError(f"llama.cpp refuses the answer grammar{log().why()}")

    def restart(self) -> None:
        llama_cpp.llama_sampler_reset(self._sampler)

    def accept(self, token: int) -> None:
        llama_cpp.llama_sampler_accept(self._sampler, token)

    def allowed(self, tokens: np.ndarray) -> np.ndarray:
        """Which of `tokens` (int32, n) may come next (bool, n)."""
        candidates = np.zeros(len(tokens), dtype=CANDIDATE)
        candidates["id"] = tokens
        array = llama_cpp.llama_token_data_array(
            data=candidates.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token_data)),
            size=len(tokens),
            selected=-1,
            sorted=False,
        )
        llama_cpp.llama_sampler_apply(self._sampler, ctypes.byref(array))
        kept: np.ndarray = candidates["logit"] != -np.inf
        return kept


CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
