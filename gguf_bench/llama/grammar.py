"""A grammar that answers have to follow, and what it leaves no choice about."""

from __future__ import annotations

import bisect
import ctypes
from functools import cached_property
from typing import Any

import numpy as np

from gguf_bench.errors import ModelError
from gguf_bench.llama.bindings import llama_cpp
from gguf_bench.llama.log import log
from gguf_bench.llama.model import Model

LONGEST_JUMP_BYTES = 1024

CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class Grammar:
    """A GBNF grammar over a model's vocabulary. Raises ModelError where llama.cpp refuses it."""

    def __init__(self, model: Model, gbnf: str) -> None:
        log().errors.clear()
        sampler = llama_cpp.llama_sampler_init_grammar(model.vocab, gbnf.encode(), b"root")
        if not sampler:  # llama.cpp would crash on the NULL later
            raise ModelError(f"llama.cpp refuses the answer grammar{log().why()}")
        self._model, self._start = model, State(sampler)
        self._jumps: dict[tuple[bytes, bytes, bytes], list[int]] = {}

    def start(self) -> State:
        """The state of an answer that has not begun."""
        return self._start.copy()

    def jump(self, state: State, behind: bytes) -> tuple[list[int], bool]:
        """(tokens of the text that must come next, whether the answer is complete with it).

        The text is spelled as the vocabulary spells it behind the byte `behind`, where that is not part of a token that
        reaches into the text. Its last tokens are left to the model where a longer one could begin inside the text and
        end behind it: ' ' is not fed where the model may say ' null'.
        What comes back depends on nothing but the text, `behind` and what may follow, whatever was asked before.
        """
        text, follows, is_complete = self._forced(state)
        if not text:
            return [], is_complete
        key = (behind, text, follows)
        if key not in self._jumps:
            self._jumps[key] = self._left_to_choose(self._spelled(behind, text) or self._spelled(b"", text), follows)
        return self._jumps[key], is_complete

    def _forced(self, state: State) -> tuple[bytes, bytes, bool]:
        """(the text that must come next, the bytes that may follow it, whether nothing may)."""
        probe, text = state.copy(), b""
        while True:
            allowed = self._openings.tokens[probe.allowed(self._openings.tokens)]
            if len(allowed) == 1 and self._model.is_end(int(allowed[0])):
                return text, b"", True
            if len(allowed) != 1 or len(text) >= LONGEST_JUMP_BYTES:
                return text, b"".join(sorted({self._model.pieces[token][:1] for token in allowed})), False
            piece = self._model.pieces[allowed[0]]
            if len(piece) != 1:
                return text, piece[:1], False
            text += piece
            probe.accept(int(allowed[0]))

    def _spelled(self, behind: bytes, text: bytes) -> list[int]:
        """The tokens of `text` behind `behind`; none where a token spans both, or the text ends inside a character."""
        try:
            tokens = self._model.tokenize((b"\n" + behind + text).decode(), special=False)
        except UnicodeDecodeError:
            return []
        found: list[int] = []
        while tokens and len(self._bytes(found)) < len(text):
            found.insert(0, tokens.pop())
        return found if self._bytes(found) == text else []

    def _left_to_choose(self, tokens: list[int], follows: bytes) -> list[int]:
        """`tokens` up to where a longer one could begin that ends in one of `follows`."""
        end = len(tokens)
        for index in reversed(range(len(tokens))):
            tail = self._bytes(tokens[index:])
            if len(tail) >= self._openings.longest_bytes:
                break
            if any(self._openings.may_begin(tail + follow.to_bytes()) for follow in follows):
                end = index
        return tokens[:end]

    def _bytes(self, tokens: list[int]) -> bytes:
        return b"".join(self._model.pieces[token] for token in tokens)

    @cached_property
    def _openings(self) -> _Openings:
        return _Openings(self._model)


class State:
    """How far an answer has come in its grammar."""

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler

    def __del__(self) -> None:
        llama_cpp.llama_sampler_free(self._sampler)

    def copy(self) -> State:
        return State(llama_cpp.llama_sampler_clone(self._sampler))

    def accept(self, token: int) -> None:
        """Go on by `token`, which has to be allowed: llama.cpp aborts otherwise."""
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


class _Openings:
    """The tokens by which to see what text may come next, and the vocabulary in order, to find longer ones.

    `tokens` has one token for each byte that a text may begin with, all tokens beginning with it where the byte alone
    is none, and one that ends an answer: where just one of them is allowed, there is no choice.
    """

    def __init__(self, model: Model) -> None:
        by_byte: dict[int, list[int]] = {}
        single: dict[int, int] = {}
        for token, piece in enumerate(model.pieces):
            if len(piece) == 1:
                single.setdefault(piece[0], token)
            elif piece:
                by_byte.setdefault(piece[0], []).append(token)
        tokens = list(single.values())
        tokens += [token for byte, longer in by_byte.items() if byte not in single for token in longer]
        tokens += [token for token in range(model.n_vocab) if model.is_end(token)][:1]
        self.tokens = np.array(sorted(tokens), dtype=np.int32)
        self._sorted = sorted(set(model.pieces))
        self.longest_bytes = max(map(len, self._sorted))

    def may_begin(self, text: bytes) -> bool:
        """Whether any token begins with `text`, or is it."""
        at = bisect.bisect_left(self._sorted, text)
        return at < len(self._sorted) and self._sorted[at].startswith(text)
