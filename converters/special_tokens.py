"""Which tokens begin, end and pad a text, whether they are added by themselves, and the chat templates.

The rules are those by which llama.cpp's converter reads tokenizer.json, tokenizer_config.json and config.json
(gguf-py `SpecialVocab`), to the order in which the keys are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

from converters.checkpoint import read_json
from converters.errors import CheckpointFileError, TokenizerError
from converters.gguf_file import Keys

ID_KEYS = {
    "bos": "tokenizer.ggml.bos_token_id",
    "eos": "tokenizer.ggml.eos_token_id",
    "unk": "tokenizer.ggml.unknown_token_id",
    "sep": "tokenizer.ggml.seperator_token_id",  # sic
    "pad": "tokenizer.ggml.padding_token_id",
    "mask": "tokenizer.ggml.mask_token_id",
    "eot": "tokenizer.ggml.eot_token_id",
    "eom": "tokenizer.ggml.eom_token_id",
}
ADD_KEYS = {kind: f"tokenizer.ggml.add_{kind}_token" for kind in ("bos", "eos", "sep")}
KINDS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


def write_special_tokens(
    keys: Keys,
    folder: Path,
    *,
    n_vocab: int | None = None,
    kinds: tuple[str, ...] = KINDS,
    fallback_ids: Mapping[str, int] | None = None,
    replaced_ids: Mapping[str, int] | None = None,
    chat_templates: bool = True,
) -> None:
    """Write ids, add-flags, chat templates (unless told not to) and normalizer flags.

    `kinds` are looked for in the files; `fallback_ids` stand in for kinds that no file gives, `replaced_ids` take the
    place of what the files give. Ids of `n_vocab` and above are left out. Raises TokenizerError and
    CheckpointFileError.
    """
    tokenizer = read_json(folder, "tokenizer.json") or {}
    config = read_json(folder, "tokenizer_config.json") or {}
    special = _SpecialTokens(config, kinds)
    try:
        if tokenizer:
            special.read_post_processor(tokenizer.get("post_processor") or {})
        special.read_flags()
        ids = _ids(special, tokenizer.get("added_tokens") or [], read_json(folder, "config.json") or {}, n_vocab)
        templates = list(_named_templates(_chat_template(folder, config))) if config and chat_templates else []
        flags = dict(_normalizer_flags(tokenizer.get("normalizer") or {}))
    except (AttributeError, TypeError, IndexError, KeyError) as error:
        raise TokenizerError("tokenizer.json or tokenizer_config.json", f"is not as expected ({error!r})") from error

    for kind, token_id in (fallback_ids or {}).items():
        if n_vocab is None or token_id < n_vocab:
            ids.setdefault(kind, token_id)
    for kind, token_id in {**ids, **{k: i for k, i in (replaced_ids or {}).items() if k in ids}}.items():
        if kind in ID_KEYS:
            keys.uint32(ID_KEYS[kind], token_id)
    for kind, add in special.add.items():
        if kind in ADD_KEYS:
            keys.bool(ADD_KEYS[kind], add)
    _write_chat_templates(keys, templates)
    for name in ("lowercase", "strip_accents"):
        if flags.get(name) is not None:
            keys.bool(f"tokenizer.ggml.normalizer.{name}", flags[name])


class _SpecialTokens:
    """What tokenizer_config.json names, mended by what the post-processor of tokenizer.json really does.

    `tokens` maps a kind to the entry of its token; `add` maps a kind to whether the token is added by itself.
    """

    def __init__(self, config: dict[str, Any], kinds: tuple[str, ...]) -> None:
        self.config = config
        self.kinds = list(kinds)
        self.tokens = {kind: config.get(f"{kind}_token") for kind in (*KINDS, *kinds, "eot", "eom")}
        self.has_config = bool(config)
        self.add: dict[str, bool] = {}

    def read_post_processor(self, post_processor: dict[str, Any]) -> None:
        for kind, stand_in in (("bos", "cls"), ("eos", "sep")):
            if self.has_config and not self.tokens[kind] and self.tokens[stand_in]:
                self.tokens[kind] = self.tokens[stand_in]
        if not post_processor:
            return
        for processor in post_processor.get("processors", [post_processor]):
            match processor.get("type"):
                case "ByteLevel":
                    self.add.setdefault("bos", False)
                    self.add.setdefault("eos", False)
                case "RobertaProcessing":
                    self._read_roberta(processor)
                case "TemplateProcessing":
                    self._read_template(processor.get("single", []), processor.get("pair", []))

    def _read_roberta(self, processor: dict[str, Any]) -> None:
        self.add |= {"bos": True, "eos": True, "sep": True}
        for kind, stand_in in (("cls", "bos"), ("sep", "eos")):
            if self.has_config and not self.tokens[kind]:
                self.tokens[kind] = processor.get(kind, [self.tokens[stand_in]])[0]

    def _read_template(self, single: list[Any], pair: list[Any]) -> None:
        first = last = None
        bos, cls, eos, sep = (self.tokens[kind] for kind in ("bos", "cls", "eos", "sep"))
        if len(single) > 1:
            first, last = _special(single[0]), _special(single[-1])
            if first:
                if not self.has_config:
                    bos = first
                elif first not in (bos, cls):
                    bos, cls = bos or first, cls or first
                    self.tokens["bos"], self.tokens["cls"] = bos, cls
                self.add["bos"] = first in (bos, cls)
            if last:
                if self.has_config and last != eos:
                    self._end_with(last)
                eos = last
                self.add["eos"] = True
        if not pair:
            return
        starts = 1 if first and _special(pair[0]) == first else 0
        ends = -1 if last and _special(pair[-1]) == last else None
        pair = pair[starts:ends]
        if pair and _sequence(pair[0]) == "A" and _sequence(pair[-1]) == "B" and len(pair) > 2:
            between = [_special(piece) for piece in pair[1:-1]]
            adds = bool(between[0]) and between[0] in (sep, eos) and not last
            if len(between) == 2:
                adds = adds or (bool(between[1]) and between[1] in (sep, eos))
            self.add["sep"] = adds
            if adds and not sep and self.has_config:
                self.tokens["sep"] = eos

    def _end_with(self, last: str) -> None:
        """The template ends with another token than the named one: that is the end of text, the named one of a turn."""
        for kind in ("eot", "eom"):
            if kind not in self.kinds:
                self.kinds.append(kind)
                self.tokens[kind] = self.tokens["eos"]
                break
        self.tokens["eos"] = last

    def read_flags(self) -> None:
        for kind in self.kinds:
            flag = self.config.get(f"add_{kind}_token")
            if isinstance(flag, bool):
                self.add.setdefault(kind, flag)


def _special(piece: Any) -> str | None:
    name = piece.get("SpecialToken", {}).get("id")
    return name if isinstance(name, str) else None


def _sequence(piece: Any) -> Any:
    return piece.get("Sequence", {}).get("id")


def _ids(
    special: _SpecialTokens, added_tokens: list[Any], config: dict[str, Any], n_vocab: int | None
) -> dict[str, int]:
    """Kind -> id: by name among the added tokens of tokenizer.json, else as config.json says."""
    by_name: dict[str, Any] = {}
    for token in added_tokens:
        by_name.setdefault(token.get("content"), token.get("id"))
    nested = config.get("text_config") or {}
    found: list[tuple[str, Any]] = []
    if special.has_config:
        for kind in special.kinds:
            entry = special.tokens[kind]
            content = entry.get("content") if isinstance(entry, dict) else entry
            if isinstance(content, str):
                found.append((kind, by_name.get(content)))
    for kind in special.kinds:
        value = config.get(f"{kind}_token_id")
        found.append((kind, nested.get(f"{kind}_token_id") if value is None else value))
    ids: dict[str, int] = {}
    for kind, token_id in found:
        if not isinstance(token_id, int):
            continue
        if token_id < 0:
            raise TokenizerError("config.json", f"the id of the {kind} token is {token_id}")
        if n_vocab is None or token_id < n_vocab:
            ids.setdefault(kind, token_id)
    return ids


def _normalizer_flags(normalizer: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    match normalizer.get("type"):
        case "Lowercase":
            yield "lowercase", True
        case "StripAccents":
            yield "strip_accents", True
        case "BertNormalizer":
            yield from ((name, normalizer[name]) for name in ("lowercase", "strip_accents") if name in normalizer)
        case "Sequence":
            for part in normalizer.get("normalizers", []):
                yield from _normalizer_flags(part)


def _chat_template(folder: Path, config: dict[str, Any]) -> Any:
    """The template, or a list of {name, template}: of tokenizer_config.json first, else of files of their own."""
    if "chat_template" in config:
        return config["chat_template"]
    if (folder / "chat_template.jinja").is_file():
        default = _read_template_file(folder / "chat_template.jinja")
        more = sorted((folder / "additional_chat_templates").glob("*.jinja"))
        if not more:
            return default
        named = [{"name": path.stem, "template": _read_template_file(path)} for path in more]
        return [{"name": "default", "template": default}, *named]
    return (read_json(folder, "chat_template.json") or {}).get("chat_template")


def _read_template_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointFileError(path, f"cannot be read ({error})") from error


def _named_templates(template: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(template, str):
        yield "default", template
    if isinstance(template, list):
        for choice in template:
            name = "".join(c if c in ascii_letters + digits else "_" for c in choice.get("name", ""))
            if name and choice.get("template") is not None:
                yield name, choice["template"]


def _write_chat_templates(keys: Keys, templates: list[tuple[str, Any]]) -> None:
    named = [(name, text) for name, text in templates if name != "default"]
    for name, text in named:
        keys.string(f"tokenizer.chat_template.{name}", text)
    # The reference writes these names in the order of a Python set, which differs from run to run; ours is the file's.
    keys.array("tokenizer.chat_templates", list(dict.fromkeys(name for name, _ in named)))
    for name, text in templates:
        if name == "default":
            keys.string("tokenizer.chat_template", text)
