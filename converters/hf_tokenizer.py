"""Load a tokenizer as AutoTokenizer of transformers 5 does, with nothing but the library `tokenizers`.

Ids, added tokens and their flags are those of transformers 5.23: llama.cpp's converter takes the vocabulary from there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing

from converters.checkpoint import read_json
from converters.errors import CheckpointFileError, TokenizerError
from converters.tokenizer_classes import NAMED_TOKENS, STRIP_FIRST_SPACE, TOKENIZER_CLASSES, TokenizerClass, find_class

Token = str | AddedToken

NOT_JSON = re.compile(r"tekken\.json|tokenizer\.model\.*|tiktoken\.model")
"""Files that transformers would make a tokenizer of before it looks for vocab.json."""

SETTINGS = {
    "fast_tokenizer_files": (None, [], ["tokenizer.json"]),
    "fix_mistral_regex": (None, False),
    "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": (None, False),
    "split_special_tokens": (None, False),
}
"""Keys of tokenizer_config.json that would change the outcome -> values with which they do not."""


@dataclass(frozen=True, slots=True)
class LoadedTokenizer:
    """`special` holds the texts of the special tokens, those with a role first, each once."""

    tokenizer: Tokenizer
    special: list[str]


def load_tokenizer(folder: Path) -> LoadedTokenizer:
    """The tokenizer that AutoTokenizer makes of the files in `folder`, with every token they add to it.

    Raises CheckpointFileError for missing or damaged files, and TokenizerError for what transformers does not take, or
    takes in a way that is not known here.
    """
    config = read_json(folder, "tokenizer_config.json") or {}
    for key, harmless in SETTINGS.items():
        if config.get(key) not in harmless:
            raise TokenizerError("tokenizer_config.json", f"{key} is {config[key]!r}, which is not converted")
    try:
        content = read_json(folder, "tokenizer.json")
        class_name = _class_name(folder, config)
        if content is None:
            content = _from_slow_files(folder, class_name)
        else:
            config = {key: value for key, value in config.items() if key not in ("add_bos_token", "add_eos_token")}
        return _Loader(folder, content, config, TOKENIZER_CLASSES.get(class_name)).load()
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, TokenizerError | CheckpointFileError):
            raise
        raise TokenizerError("tokenizer.json or tokenizer_config.json", f"is not as expected ({error!r})") from error


def encode(tokenizer: Tokenizer, text: str, *, add_special_tokens: bool = True) -> list[int]:
    """The ids of `text`. Raises TokenizerError when the tokenizer cannot take it, as without its unknown token."""
    with _refused("tokenizer.json", f"cannot take the text {text[:20]!r}"):
        return list(tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)


@contextmanager
def _refused(file: str, problem: str) -> Iterator[None]:
    """Turn whatever the library raises, its panics too, into a TokenizerError."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic of the library is no Exception
        raise TokenizerError(file, f"{problem} ({error})") from error


def _class_name(folder: Path, config: Mapping[str, Any]) -> str:
    model_config = read_json(folder, "config.json") or {}
    path = folder / "tokenizer.json"
    code = config.get("auto_map")
    return find_class(
        str(model_config.get("model_type")),
        config.get("tokenizer_class") or model_config.get("tokenizer_class") or "",
        byte_level=path.is_file() and b'"ByteLevel"' in path.read_bytes(),
        own_code=bool(code.get("AutoTokenizer") if isinstance(code, dict) else code),
    )


def _from_slow_files(folder: Path, class_name: str) -> dict[str, Any]:
    """vocab.json and merges.txt in the form of tokenizer.json, for a class that can read them."""
    files = folder / "vocab.json", folder / "merges.txt"
    others = sorted(path.name for path in folder.iterdir() if NOT_JSON.search(path.name))
    known = class_name in TOKENIZER_CLASSES and TOKENIZER_CLASSES[class_name].reads_slow_files
    if others or not known or not all(path.is_file() for path in files):
        there = [path.name for path in (*files, folder / "qwen.tiktoken") if path.is_file()]
        found = ", ".join([*there, *others]) or "no other tokenizer"
        raise CheckpointFileError(
            folder,
            f"has no tokenizer.json but {found}, of which a {class_name} cannot be made; "
            "save the tokenizer anew with transformers to get a tokenizer.json",
        )
    with _refused("vocab.json or merges.txt", "is not understood"):
        vocabulary, merges = BPE.read_file(*map(str, files))
    return {"added_tokens": [], "model": {"type": "BPE", "vocab": vocabulary, "merges": merges}}


class _Loader:
    """The way from files to tokenizer; `rules` are those of the class, None for the one without any."""

    def __init__(
        self, folder: Path, content: dict[str, Any], config: dict[str, Any], rules: TokenizerClass | None
    ) -> None:
        self.folder, self.content, self.config, self.rules = folder, content, dict(config), rules
        self.listed: dict[int, AddedToken] = {}

    def load(self) -> LoadedTokenizer:
        roles, extra = self._special_tokens()
        tokenizer = self._tokenizer(roles)
        tokenizer.no_truncation()
        tokenizer.no_padding()

        named = [token for token in roles.values() if token is not None]
        tokens: list[Token] = [token for _, token in sorted(self.listed.items())]
        known = {token.content for token in tokenizer.get_added_tokens_decoder().values()} | set(map(str, tokens))
        for token in (*named, *extra):
            if str(token) not in known and token not in tokens:
                tokens.append(token)
        texts = set(map(str, named))
        for token in tokens:
            if isinstance(token, AddedToken) and token.content in texts:
                token.special = True
        tokenizer.add_tokens([AddedToken(t, special=True) if isinstance(t, str) else t for t in tokens])
        self._set_template(tokenizer, roles)

        special = list(dict.fromkeys(str(token) for token in (*named, *extra)))
        if self.rules and self.rules.adds_special_tokens == "again":
            tokenizer.add_tokens([AddedToken(text, special=True) for text in special])
        if self.rules and self.rules.adds_special_tokens == "as special":
            tokenizer.add_special_tokens(
                [AddedToken(t, special=True, normalized=False) if isinstance(t, str) else t for t in (*named, *extra)]
            )
        return LoadedTokenizer(tokenizer, special)

    def _tokenizer(self, roles: Mapping[str, Token | None]) -> Tokenizer:
        source = self.content
        for key in ("continuing_subword_prefix", "end_of_word_suffix"):
            # No byte-level BPE has one, and `tokenizers` aborts the process over one that does not fit.
            if not self.rules and source["model"].get(key):
                raise TokenizerError("tokenizer.json", f"its model has a {key}, which is not converted")
        if self.rules:
            model = {**self.rules.model}
            if "unk_token" in model:
                model["unk_token"] = str(roles["unk_token"])
            vocabulary, merges = self.content["model"]["vocab"], self.content["model"].get("merges", [])
            pre_tokenizer, decoder = _with_spaces(self.rules, self.config)
            source = {
                "version": "1.0",
                "truncation": self.content.get("truncation"),
                "padding": self.content.get("padding"),
                "added_tokens": [],
                "normalizer": self.rules.normalizer,
                "pre_tokenizer": pre_tokenizer,
                "post_processor": self.content.get("post_processor"),
                "decoder": decoder,
                "model": {"type": "BPE", **model, "vocab": vocabulary, "merges": merges},
            }
        with _refused("tokenizer.json", "is not understood"):
            return Tokenizer.from_str(json.dumps(source))

    def _special_tokens(self) -> tuple[dict[str, Token | None], list[Token]]:
        """The special tokens by role, and those without one. Fills `listed`: added tokens by the id they ask for."""
        config = self.config
        if "additional_special_tokens" in config and not config.get("extra_special_tokens"):
            config["extra_special_tokens"] = config.pop("additional_special_tokens")
        own = {
            key: config.pop(key)
            for key in list(config)
            if key.endswith("_token") and key not in NAMED_TOKENS and isinstance(config[key], str)
        }
        if isinstance(config.get("extra_special_tokens"), dict):
            own |= config.pop("extra_special_tokens")
        if "added_tokens_decoder" in config:
            self.listed = {int(i): _added(token) for i, token in config["added_tokens_decoder"].items()}
        else:
            self._read_old_files(own)
        if "additional_special_tokens" in config and "extra_special_tokens" not in config:
            config["extra_special_tokens"] = config.pop("additional_special_tokens")

        by_text: dict[str, Token] = {token.content: token for token in self.listed.values()}
        padding = (self.content.get("padding") or {}).get("pad_token")
        defaults = {"pad_token": padding, **(self.rules.tokens if self.rules else {})}
        roles: dict[str, Token | None] = {key: defaults.get(key) for key in NAMED_TOKENS}
        for key in NAMED_TOKENS:
            if key in config:
                token = _token(config[key])
                roles[key] = None if token is None else by_text.get(str(token), token)
        for key, value in config.items():
            if key.endswith("_token") and key not in NAMED_TOKENS and isinstance(value, str | dict):
                roles[key] = _token(value)
        roles |= {key: _token(value) for key, value in own.items()}
        return roles, [_known(_token(value)) for value in config.get("extra_special_tokens") or []]

    def _read_old_files(self, own: dict[str, Any]) -> None:
        """What transformers reads besides where tokenizer_config.json lists no added tokens."""
        config = self.config
        for key, value in (read_json(self.folder, "special_tokens_map.json") or {}).items():
            if key == "extra_special_tokens" and isinstance(value, list):
                have = config.get(key) or []
                config[key] = [*have, *(_special(token) for token in value if token not in have)]
            elif key == "extra_special_tokens":
                config[key] = value
            else:
                config[key] = _special(value)
        if isinstance(config.get("extra_special_tokens"), dict):
            own |= config.pop("extra_special_tokens")
        special = {_text(config[key]) for key in NAMED_TOKENS if config.get(key)}
        special |= {_text(token) for token in config.get("extra_special_tokens") or []}
        for text, i in (read_json(self.folder, "added_tokens.json") or {}).items():
            if type(i) is not int:
                raise TokenizerError("added_tokens.json", f"gives {text!r} the id {i!r}")
            self.listed[i] = AddedToken(text, normalized=text not in special, special=text in special)
        for token in self.content["added_tokens"]:
            self.listed[int(token["id"])] = _added(token)

    def _set_template(self, tokenizer: Tokenizer, roles: Mapping[str, Token | None]) -> None:
        """Let the tokenizer put in the tokens that begin and end a text, where the configuration says that it does."""
        settings = {kind: self.config.get(f"add_{kind}_token") for kind in ("bos", "eos")}
        explicit = any(f"add_{kind}_token" in self.config for kind in settings)
        if not (explicit or tokenizer.post_processor is None or (self.rules and self.rules.resets_template)):
            return
        tokens = {kind: str(roles[f"{kind}_token"]) for kind, add in settings.items() if add and roles[f"{kind}_token"]}
        single = [tokens.get("bos"), "$A", tokens.get("eos")]
        tokenizer.post_processor = TemplateProcessing(
            single=[piece for piece in single if piece],
            pair=["$A", "$B"],
            special_tokens=[(text, tokenizer.token_to_id(text)) for text in set(tokens.values())],
        )


def _with_spaces(rules: TokenizerClass, config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pre-tokenizer and decoder of a class, with what tokenizer_config.json says of a space before the text."""
    add = config.get("add_prefix_space")
    if add is not None and not isinstance(add, bool):
        raise TokenizerError("tokenizer_config.json", f"add_prefix_space is {add!r}, expected true or false")
    if rules.pre_tokenizer["type"] != "Metaspace":
        return _with_prefix_space(rules.pre_tokenizer, add), rules.decoder
    if add is False:
        return {**rules.pre_tokenizer, "prepend_scheme": "never"}, rules.decoder
    # What was put before the text is taken away again.
    decoder = {**rules.decoder, "decoders": [*rules.decoder["decoders"], STRIP_FIRST_SPACE]}
    return {**rules.pre_tokenizer, "prepend_scheme": "always" if config.get("legacy") else "first"}, decoder


def _with_prefix_space(pre_tokenizer: dict[str, Any], add: Any) -> dict[str, Any]:
    match pre_tokenizer["type"]:
        case "Sequence":
            parts = [_with_prefix_space(part, add) for part in pre_tokenizer["pretokenizers"]]
            return {**pre_tokenizer, "pretokenizers": parts}
        case "ByteLevel":
            return {**pre_tokenizer, "add_prefix_space": bool(add)}
    return pre_tokenizer


def _added(token: Mapping[str, Any]) -> AddedToken:
    flags = {key: token[key] for key in ("single_word", "lstrip", "rstrip", "normalized", "special") if key in token}
    return AddedToken(token["content"], **flags)


def _special(value: Any) -> Any:
    """An entry of special_tokens_map.json: where it has properties, it is special, whatever they say."""
    return {"__type": "AddedToken", **value, "special": True} if isinstance(value, dict) else value


def _token(value: Any) -> Token | None:
    """A token as the files name it: by its text, by its properties, or null for none."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict) and isinstance(value.get("content"), str):
        return _added(value)
    raise TokenizerError("tokenizer_config.json", f"names a special token {value!r}, expected a text")


def _known(token: Token | None) -> Token:
    if token is None:
        raise TokenizerError("tokenizer_config.json", "has null among its special tokens")
    return token


def _text(value: Any) -> str:
    return str(_token(value))
