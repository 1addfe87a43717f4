"""User messages -> the tokens a model is asked with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import Any

from gguf_bench.chat_template import PROBE, ChatTemplate
from gguf_bench.errors import ModelError
from gguf_bench.llama.bindings import llama_cpp
from gguf_bench.llama.model import Model

C_SPACES = " \t\n\v\f\r"
"""What llama.cpp strips beside a mark that asks for it."""

Part = tuple[str, bool]
"""A piece of a prompt, and whether it is the message's."""


class PromptMaker:
    """User messages -> token ids, by the model's own chat template or the `chat_template` among `template_kwargs`.

    What the template says is read as llama.cpp reads a prompt; what the message says is text, whatever it spells. So
    the ids are those of the whole prompt tokenized at once with control tokens, except where the message has a part in
    one of these. One BOS stands in front where the vocabulary asks for it, whether or not the template writes it too.

    Raises ModelError where there is no chat template (llama.cpp would silently use another model's), or where it cannot
    be rendered. A process of its own renders it, which ends with this object.
    """

    def __init__(self, model: Model, template_kwargs: Mapping[str, Any]) -> None:
        variables = dict(template_kwargs)
        template = variables.pop("chat_template", model.chat_template)
        if template is None:
            raise ModelError(
                f"{model.path.name} has no chat template, so there is no right way to ask it a question",
                hint="use an instruction-tuned model, convert a checkpoint whose tokenizer_config.json has a template, "
                "or give it one in models.yaml by `template_kwargs: {chat_template: ...}`",
            )
        if not isinstance(template, str):
            raise ModelError(f"template_kwargs: chat_template is {template!r}, wanted the text of a Jinja template")
        self._template = ChatTemplate(template, {**_special_texts(model), **variables})
        self._source, self._bos = template, model.bos()
        self._reader = _Reader(model, template)
        self._probed = self.text(PROBE)
        self._written = self._reader.marks([(self._probed, False)])

    def text(self, user_message: str) -> str:
        """The prompt as the template renders it."""
        return self._template.render(user_message)[0]

    def tokens(self, user_message: str) -> list[int]:
        """The prompt's token ids."""
        tokens = self._reader.tokens(self._parts(user_message))
        if self._bos is None:
            return tokens
        while tokens[:1] == [self._bos]:
            tokens = tokens[1:]
        return [self._bos, *tokens]

    def _parts(self, message: str) -> list[Part]:
        """The prompt in order, by whose text it is: known by rendering the message in brackets as well.

        That fails for a template that looks at how a message begins or ends or at its length, or that takes it apart.
        A message without a mark or a half of one is then read with the template's text, for that makes no difference;
        of another, everything is the message's but what the prompt of mere digits begins and ends with as well.
        """
        opening, closing = self._brackets(message)
        start = len(message) - len(message.lstrip())  # white space stays outside, where templates strip it
        end = max(start, len(message.rstrip()))
        in_brackets = message[:start] + opening + message[start:end] + closing + message[end:]
        prompt, bracketed = self._template.render(message, in_brackets)
        pieces = re.split(f"({opening}|{closing})", bracketed)
        texts, brackets = pieces[::2], pieces[1::2]
        if brackets == [opening, closing] * (len(brackets) // 2) and "".join(texts) == prompt:
            parts = [(text, number % 2 == 1) for number, text in enumerate(texts)]
            if self._reader.marks(parts) == self._written:
                return parts
        if not self._reader.may_hold_marks(message.strip()):
            return [(prompt, False)]
        begins = _alike(prompt, self._probed)
        ends = len(prompt) - _alike(prompt[begins:][::-1], self._probed[::-1])
        return [(prompt[:begins], False), (prompt[begins:ends], True), (prompt[ends:], False)]

    def _brackets(self, message: str) -> tuple[str, str]:
        """Two numbers that are neither in the message nor in the template.

        Digits pass every template unchanged, and a digit followed by zeros cannot overlap with itself: whatever stands
        beside them, the brackets are found where they were put.
        """
        zeros = "0" * 16
        while zeros in message or zeros in self._source:
            zeros += zeros
        return f"1{zeros}", f"2{zeros}"


def _alike(one: str, other: str) -> int:
    """How many characters both begin with."""
    unlike = (number for number, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(unlike, min(len(one), len(other)))


@dataclass(frozen=True, slots=True)
class Mark:
    """A token that llama.cpp finds by its spelling before it tokenizes what is left of a text.

    Control tokens it finds only where the caller says so, others (user-defined: `<think>`, HTML tags) in any text. Some
    eat the white space on their `left` or `right`.
    """

    text: str
    token: int
    is_control: bool
    left: bool
    right: bool


class _Reader:
    """Text -> token ids with a model's vocabulary, where some of the text may have no marks.

    A text between two marks is tokenized whole, as llama.cpp does it, whoever wrote which half of it.
    """

    def __init__(self, model: Model, template: str) -> None:
        self._model, self._marks = model, _marks(model)
        theirs = [re.escape(mark.text) for mark in self._marks if not mark.is_control and mark.text in template]
        self._theirs = re.compile(f"(?={'|'.join(theirs)})") if theirs else None
        is_spm = llama_cpp.llama_vocab_type(model.vocab) == llama_cpp.LLAMA_VOCAB_TYPE_SPM
        self._lead = "\n" if is_spm else ""
        self._pieces = lru_cache(maxsize=64)(self._split)  # a template writes the same around every message

    def tokens(self, parts: Sequence[Part]) -> list[int]:
        """The ids of the parts together; those that are the message's hold no marks."""
        tokens: list[int] = []
        text, before = "", None
        for piece in self._of(parts):
            if isinstance(piece, str):
                text += piece
                continue
            if before is not None and before.right:
                text = text.lstrip(C_SPACES)
            if piece is not None and piece.left:
                text = text.rstrip(C_SPACES)
            tokens += self._plain(text)
            if piece is not None:
                tokens.append(piece.token)
            text, before = "", piece
        return tokens

    def marks(self, parts: Sequence[Part]) -> list[Mark]:
        """The marks that the template writes."""
        return [piece for piece in self._of(parts) if isinstance(piece, Mark)]

    def may_hold_marks(self, text: str) -> bool:
        """Whether a mark is in `text`, or would be with something before or behind it."""
        return any(
            mark.text in text
            or any(
                text.endswith(mark.text[:cut]) or text.startswith(mark.text[cut:]) for cut in range(1, len(mark.text))
            )
            for mark in self._marks
        )

    def _of(self, parts: Sequence[Part]) -> Iterator[str | Mark | None]:
        """Texts and marks in order, then None."""
        for text, is_message in parts:
            if is_message:
                yield text
            else:
                yield from self._pieces(text)
        yield None

    def _split(self, text: str) -> tuple[str | Mark, ...]:
        """`text` and its marks, found in llama.cpp's order: the longest first."""
        pieces: list[str | Mark] = [text]
        for mark in self._marks:
            if mark.text in text:
                pieces = [part for piece in pieces for part in _split_at(mark, piece)]
        return tuple(pieces)

    def _plain(self, text: str) -> list[int]:
        """The ids of text without control tokens.

        A mark that llama.cpp would find all the same, though it is one that the template writes, is cut after its first
        character. The half behind the cut is tokenized behind a line feed: at the start of a text, SentencePiece
        vocabularies add a space.
        """
        if not text:
            return []
        cuts = [match.start() + 1 for match in self._theirs.finditer(text)] if self._theirs is not None else []
        first, *others = (text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True))
        tokens = self._model.tokenize(first, special=False)
        if others:
            lead = self._model.tokenize(self._lead, special=False) if self._lead else []
            for other in others:
                ids = self._model.tokenize(self._lead + other, special=False)
                begins_alike = ids[: len(lead)] == lead
                tokens += ids[len(lead) :] if begins_alike else self._model.tokenize(other, special=False)
        return tokens


def _split_at(mark: Mark, piece: str | Mark) -> Iterator[str | Mark]:
    if isinstance(piece, Mark):
        yield piece
        return
    first, *others = piece.split(mark.text)
    yield first
    for other in others:
        yield mark
        yield other


def _marks(model: Model) -> list[Mark]:
    """The marks of a vocabulary, the longest first, without runs of white space: these are the same wherever found."""
    control = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
    wanted = control | llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED
    marks = []
    # The one call a token is what takes time: 0.15 s for a vocabulary of 262,144.
    for token, attr in enumerate(map(llama_cpp.llama_vocab_get_attr, repeat(model.vocab), range(model.n_vocab))):
        if attr & wanted:
            text, is_control = model.token_text(token), bool(attr & control)
            if text and (is_control or (len(text) > 1 and not text.isspace())):
                left, right = attr & llama_cpp.LLAMA_TOKEN_ATTR_LSTRIP, attr & llama_cpp.LLAMA_TOKEN_ATTR_RSTRIP
                marks.append(Mark(text, token, is_control, bool(left), bool(right)))
    return sorted(marks, key=lambda mark: -len(mark.text.encode()))


def _special_texts(model: Model) -> dict[str, str]:
    """`bos_token` and the like, as templates know them: BOS and EOS are always there, be it empty."""
    vocab = model.vocab
    tokens = {
        "bos_token": llama_cpp.llama_vocab_bos(vocab),
        "eos_token": llama_cpp.llama_vocab_eos(vocab),
        "pad_token": llama_cpp.llama_vocab_pad(vocab),
        "sep_token": llama_cpp.llama_vocab_sep(vocab),
        "unk_token": int(model.metadata("tokenizer.ggml.unknown_token_id") or -1),
    }
    texts = {name: model.token_text(token) for name, token in tokens.items()}
    return {name: text for name, text in texts.items() if text or name in ("bos_token", "eos_token")}
