"""A text in chunks of equal length, each computed from its own beginning, several at a time.

As llama-imatrix and llama-perplexity go through a text, and in the same micro-batches, so that what is computed is
the same: as many chunks together as 2,048 tokens hold (their `-b`), each with a KV cache of its own, BOS in the place
of its first token where the vocabulary asks for it (compute_imatrix in tools/imatrix/imatrix.cpp). Of so many sequences
llama.cpp takes equal parts into each micro-batch of 512 (llama_batch_allocr::split_equal); here these parts are decoded
one by one, because logits of all 2,048 tokens would take 2 GB at a vocabulary of 262,144.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gguf_bench.errors import ModelError
from gguf_bench.gguf_header import CacheShape
from gguf_bench.llama.bindings import llama_cpp
from gguf_bench.llama.eval_callback import Watcher
from gguf_bench.llama.log import log
from gguf_bench.llama.model import Model

Tokens = np.ndarray[Any, np.dtype[np.int32]]
Logits = np.ndarray[Any, np.dtype[np.float32]]

BATCH_TOKENS, UBATCH_TOKENS = 2048, 512
"""llama.cpp's defaults for `-b` and `-ub`."""


def chunks_of(model: Model, text: str, n_ctx: int) -> Tokens:
    """`text` as token ids (chunks, n_ctx); what is left behind the last whole chunk is dropped.

    Text that looks like a control token stays text, and the whole begins with BOS where the vocabulary asks for it.
    """
    bos = model.bos()
    tokens = [*([] if bos is None else [bos]), *model.tokenize(text, special=False)]
    n_chunks = len(tokens) // n_ctx
    return np.array(tokens[: n_chunks * n_ctx], np.int32).reshape(n_chunks, n_ctx)


class ChunkContext:
    """A context that computes chunks of `n_ctx` tokens, `together` at a time; a `watcher` sees the tensors.

    There are logits of a chunk's tokens from `logits_from` on. llama.cpp leaves tokens that none are asked of out of
    the last layer, so a watcher wants them all. Raises ModelError where there is no memory for it.
    """

    def __init__(
        self, model: Model, n_ctx: int, *, n_threads: int, watcher: Watcher | None = None, logits_from: int = 0
    ) -> None:
        self.n_ctx, self.together, self._logits_from = n_ctx, together(n_ctx), logits_from
        self._model, self._watcher, self._bos = model, watcher, model.bos()
        n_batch = max(UBATCH_TOKENS, self.together)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_seq_max = n_ctx * self.together, self.together
        params.n_batch, params.n_ubatch = n_batch, UBATCH_TOKENS
        params.n_threads = params.n_threads_batch = n_threads
        params.kv_unified, params.no_perf = False, True
        if watcher is not None:
            params.cb_eval = watcher.callback
        log().errors.clear()
        self.handle = llama_cpp.llama_init_from_model(model.handle, params)
        if not self.handle:
            wanted = f"{self.together} chunks of {n_ctx} tokens"
            raise ModelError(f"{model.path.name}: llama.cpp cannot make a context of {wanted}{log().why()}")
        self._batch = llama_cpp.llama_batch_init(n_batch, 0, 1)

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            if hasattr(self, "_batch"):
                llama_cpp.llama_batch_free(self._batch)
            llama_cpp.llama_free(self.handle)

    def decode(self, chunks: Tokens) -> Iterator[tuple[slice, Logits]]:
        """Compute `chunks` (at most `together`, n_ctx), a part of each at a time.

        Yields for each part the place within the chunks that its logits (chunks, tokens, n_vocab) are of. They are
        llama.cpp's own memory and good until the next part. Raises ModelError, and what the watcher met.
        """
        n_chunks = len(chunks)
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.handle), True)
        step = max(1, UBATCH_TOKENS // n_chunks)
        for start in range(0, self.n_ctx, step):
            part = slice(start, min(start + step, self.n_ctx))
            tokens = chunks[:, part].copy()
            if start == 0 and self._bos is not None:
                tokens[:, 0] = self._bos
            self._fill(tokens, start)
            log().errors.clear()
            code = llama_cpp.llama_decode(self.handle, self._batch)
            if self._watcher is not None:
                self._watcher.check()
            if code != 0:
                raise ModelError(f"llama_decode failed with {code}{log().why()}")
            place = slice(max(part.start, min(part.stop, self._logits_from)), part.stop)
            shape = (n_chunks, place.stop - place.start, self._model.n_vocab)
            if place.start == place.stop:
                yield place, np.zeros(shape, np.float32)
                continue
            logits = llama_cpp.llama_get_logits(self.handle)
            yield place, np.ctypeslib.as_array(logits, shape=(math.prod(shape),)).reshape(shape)

    def _fill(self, tokens: Tokens, start: int) -> None:
        """One sequence a chunk."""
        n_chunks, length = tokens.shape
        self._batch.n_tokens = tokens.size
        positions = np.tile(np.arange(start, start + length, dtype=np.int32), n_chunks)
        for name, values in (
            ("token", tokens.ravel()),
            ("pos", positions),
            ("n_seq_id", np.ones(tokens.size, np.int32)),
            ("logits", (positions >= self._logits_from).astype(np.int8)),
        ):
            ctypes.memmove(getattr(self._batch, name), values.ctypes.data, values.nbytes)
        for row, sequence in enumerate(np.repeat(np.arange(n_chunks), length)):
            self._batch.seq_id[row][0] = int(sequence)


def together(n_ctx: int) -> int:
    """How many chunks of `n_ctx` tokens are computed at a time."""
    return max(1, BATCH_TOKENS // n_ctx)


def shape(n_ctx: int) -> CacheShape:
    """What a ChunkContext takes, to plan by."""
    return CacheShape(n_ctx=n_ctx * together(n_ctx), n_seq=together(n_ctx), n_ubatch=UBATCH_TOKENS, unified=False)
