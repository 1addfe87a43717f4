"""User messages -> the tokens a model is asked with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import llama_cpp

from gguf_bench import chat_template
from gguf_bench.errors import ModelError
from gguf_bench.llama.model import Model


class PromptMaker:
    """User messages -> token ids, by the model's own chat template, with exactly the BOS the vocabulary asks for.

    Raises ModelError where the GGUF has no chat template: llama.cpp would silently use another model's.
    """

    def __init__(self, model: Model, template_kwargs: Mapping[str, Any]) -> None:
        if model.chat_template is None:
            raise ModelError(
                f"{model.path.name} has no chat template, so there is no right way to ask it a question",
                hint="use an instruction-tuned model, or convert a checkpoint whose tokenizer_config.json has one",
            )
        self._model, self._kwargs = model, template_kwargs
        self._template = model.chat_template
        texts = sorted(model.control_texts(), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, texts))) if texts else None

    def text(self, user_message: str) -> str:
        bos, eos = llama_cpp.llama_vocab_bos(self._model.vocab), llama_cpp.llama_vocab_eos(self._model.vocab)
        return chat_template.render(
            self._template,
            user_message,
            bos=self._model.token_text(bos),
            eos=self._model.token_text(eos),
            kwargs=self._kwargs,
        )

    def tokens(self, user_message: str) -> list[int]:
        """The prompt's token ids. Control tokens spelled out in the message stay text."""
        prompt = self.text(user_message)
        if self._control is None or not self._control.search(user_message):
            tokens = self._model.tokenize(prompt, special=True)
        else:
            tokens = [token for part, special in self._parts(prompt, user_message) for token in self._of(part, special)]
        bos = self._model.bos()
        if bos is None:
            return tokens
        while tokens[:1] == [bos]:
            tokens = tokens[1:]
        return [bos, *tokens]

    def _of(self, part: str, special: bool) -> list[int]:
        return self._model.tokenize(part, special=special) if part else []

    def _parts(self, prompt: str, user_message: str) -> Iterator[tuple[str, bool]]:
        """The prompt cut round each control text the message spells out; only these are tokenized as plain text.

        Templates may strip the message's ends; its stripped middle is always there.
        """
        message = user_message.strip()
        before, found, after = prompt.partition(message)
        if not found:
            raise ModelError("the model's chat template changes the message, which spells out control tokens")
        assert self._control is not None
        pending, at = before, 0
        for match in self._control.finditer(message):
            yield pending + message[at : match.start()], True
            yield match.group(), False
            pending, at = "", match.end()
        yield pending + message[at:] + after, True
