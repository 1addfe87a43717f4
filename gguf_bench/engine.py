"""Many prompts through one model: sequences side by side, each answered as if it were alone.

As one answer ends the next prompt is admitted. Prompts are decoded one at a time (they fill micro-batches by
themselves), generated tokens of all sequences together. Text that the grammar leaves no choice about is not sampled:
it is decoded at one go behind the token before it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from gguf_bench.errors import ModelError
from gguf_bench.llama.context import Context, Logits
from gguf_bench.llama.grammar import Grammar, State
from gguf_bench.llama.model import Model

LIKELY = 64
"""Where the grammar rejects the likeliest token, so many are tried before the whole vocabulary is."""


@dataclass(slots=True)
class Answered:
    """A greedy answer and what it took. `tokens` are what was answered, `n_sampled` of them chosen by the model.

    `decoded_prompt_tokens` excludes a prefix that was in the cache. Seconds of decodes that several sequences shared
    are shared out evenly.
    """

    document_id: str
    prompt_tokens: int
    decoded_prompt_tokens: int = 0
    tokens: list[int] = field(default_factory=list)
    n_sampled: int = 0
    prompt_seconds: float = 0.0
    generation_seconds: float = 0.0


@dataclass(slots=True)
class _Running:
    """A sequence at work: what it answered so far, where its grammar stands, and the tokens to decode next."""

    sequence: int
    answered: Answered
    state: State | None
    pending: list[int] = field(default_factory=list)
    is_done: bool = False


class Engine:
    """Answers prompts greedily in `context`, at most `max_tokens` tokens each."""

    def __init__(
        self,
        model: Model,
        context: Context,
        grammar: Grammar | None,
        max_tokens: int,
        *,
        jump_forward: bool = True,
    ) -> None:
        self._model, self._context, self._grammar = model, context, grammar
        self._max_tokens, self._jump_forward = max_tokens, jump_forward

    def answers(self, prompts: Iterable[tuple[str, list[int]]]) -> Iterator[Answered]:
        """The answer to each (document id, prompt tokens), in the order they end."""
        waiting = iter(prompts)
        idle = list(range(self._context.n_parallel))[::-1]
        running: list[_Running] = []
        while True:
            while idle and (prompt := next(waiting, None)) is not None:
                running.append(self._admitted(idle.pop(), *prompt))
            if not running:
                return
            for one in running:
                self._jump(one)
            self._step([one for one in running if not one.is_done])
            for one in running:
                if one.is_done:
                    idle.append(one.sequence)
                    yield one.answered
            running = [one for one in running if not one.is_done]

    def _admitted(self, sequence: int, document_id: str, prompt: list[int]) -> _Running:
        """Decode a prompt and choose the answer's first token."""
        state = self._grammar.start() if self._grammar else None
        one = _Running(sequence, Answered(document_id, prompt_tokens=len(prompt)), state)
        started = time.monotonic()
        logits, one.answered.decoded_prompt_tokens = self._context.start(sequence, prompt)
        self._choose(one, logits)
        one.answered.prompt_seconds = time.monotonic() - started
        return one

    def _jump(self, one: _Running) -> None:
        """Decode alone what is more than one token, until there is one token to decode with the others."""
        started = time.monotonic()
        while len(one.pending) > 1 and not one.is_done:
            self._choose(one, self._context.extend(one.sequence, one.pending))
        one.answered.generation_seconds += time.monotonic() - started

    def _step(self, running: list[_Running]) -> None:
        if not running:
            return
        started = time.monotonic()
        logits = self._context.extend_each({one.sequence: one.pending[0] for one in running})
        for one in running:
            self._choose(one, logits[one.sequence])
        share = (time.monotonic() - started) / len(running)
        for one in running:
            one.answered.generation_seconds += share

    def _choose(self, one: _Running, logits: Logits) -> None:
        """Take the likeliest token, and what the grammar forces behind it; or end the answer."""
        token = self._best(one.state, logits)
        one.pending = []
        if self._model.is_end(token):
            one.is_done = True
            return
        one.answered.n_sampled += 1
        self._take(one, token)
        if self._grammar is None or one.state is None or not self._jump_forward:
            return
        forced, is_complete = self._grammar.jump(one.state, behind=self._model.pieces[token][-1:])
        for token in forced:
            if not one.is_done:
                self._take(one, token)
        one.is_done = one.is_done or is_complete

    def _take(self, one: _Running, token: int) -> None:
        one.answered.tokens.append(token)
        one.pending.append(token)
        if one.state is not None:
            one.state.accept(token)
        one.is_done = len(one.answered.tokens) >= self._max_tokens

    def _best(self, state: State | None, logits: Logits) -> int:
        """The likeliest token the grammar allows: the likeliest one is tried alone, then LIKELY ones, then all."""
        best = int(logits.argmax())  # of NaNs the first
        if not np.isfinite(logits[best]):
            raise ModelError(f"{self._model.path.name} computes no numbers (NaN or infinity): its weights are broken")
        if state is None or state.allowed(np.array([best], dtype=np.int32))[0]:
            return best
        for count in (LIKELY, len(logits)):
            likely = np.argpartition(-logits, min(count, len(logits) - 1))[:count].astype(np.int32)
            likely = likely[np.lexsort((likely, -logits[likely]))]  # ties go to the lower id, as argmax has it
            allowed = likely[state.allowed(likely)]
            if len(allowed):
                return int(allowed[0])
        raise ModelError("the answer grammar allows no token of this vocabulary")
