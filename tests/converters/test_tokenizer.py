"""Each small tokenizer gives the keys that llama.cpp's converter gave, byte for byte.

tokenizers.json holds what scripts/tokenizer_record.py recorded: the reference ran with transformers 5.23 on the folders
that tests/converters/tokenizer_cases.py writes. Their pre-tokenizers have no name; the reference was made to call them
"recorded", and the table of names is given their recorded fingerprints here.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from converters import CheckpointFileError, ConversionError, tokenizer
from converters.errors import TokenizerError, UnknownPreTokenizer
from converters.gguf_file import Keys
from converters.pretokenizers import PRE_TOKENIZERS
from converters.tokenizer_classes import PLAIN, find_class
from tests.converters.tokenizer_cases import (
    ADDED,
    CASES,
    GOLDEN,
    Case,
    N,
    begins_with,
    slow_files,
    tokenizer_json,
    write,
)

RECORDED: dict[str, dict[str, str]] = json.loads(GOLDEN.read_text(encoding="utf-8"))


def read(folder: Path, name: str) -> tokenizer.Vocabulary:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if name == "internlm2_vocabulary":
        return tokenizer.internlm2_vocabulary(folder, config["vocab_size"])
    vocabulary: tokenizer.Vocabulary = getattr(tokenizer, name)(folder, config)
    return vocabulary


def test_every_case_is_recorded() -> None:
    assert list(RECORDED) == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_same_keys_as_the_reference(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case, recorded = CASES[name], RECORDED[name]
    write(tmp_path / "tiny", case)
    if fingerprint := recorded.get("fingerprint"):
        with pytest.raises(UnknownPreTokenizer) as caught:
            read(tmp_path / "tiny", case.ours)
        assert caught.value.fingerprint == fingerprint
        monkeypatch.setitem(PRE_TOKENIZERS, fingerprint, "recorded")
    vocabulary = read(tmp_path / "tiny", case.ours)
    keys = Keys()
    if case.ours == "llama_vocabulary":
        tokenizer.write_llama_tokenizer(keys, tmp_path / "tiny", vocabulary, len(vocabulary.tokens))
    else:
        replaced = {"eos": vocabulary.added["<|im_end|>"]} if case.ours == "internlm2_vocabulary" else {}
        tokenizer.write_tokenizer(keys, tmp_path / "tiny", vocabulary, replaced_ids=replaced)
    assert hashlib.sha256(keys.packed()).hexdigest() == recorded["sha256"]


def test_the_classes_are_told_apart() -> None:
    """Else equal sums would say nothing of the classes."""
    prints = {name: entry.get("fingerprint") for name, entry in RECORDED.items()}
    one_each = ["GPT-2 class", "Qwen 2", "Qwen 3.5", "Cohere", "made-up class", "byte-level under Llama's class"]
    assert len({prints[name] for name in one_each}) == len(one_each)


def test_ids_of_added_tokens_go_by_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "tiny", CASES["made-up class"])
    monkeypatch.setitem(PRE_TOKENIZERS, RECORDED["made-up class"]["fingerprint"], "recorded")
    vocabulary = tokenizer.bpe_vocabulary(tmp_path / "tiny", {"vocab_size": N + 10})
    assert vocabulary.added == {token["content"]: token["id"] for token in ADDED}
    assert vocabulary.tokens[N + 6 :] == [f"[PAD{i}]" for i in range(N + 6, N + 10)]


def test_special_ids_stand_in_or_take_the_place(tmp_path: Path) -> None:
    write(tmp_path / "tiny", CASES["Qwen with a SentencePiece model"])
    vocabulary = tokenizer.sentencepiece_vocabulary(tmp_path / "tiny", None)
    (tmp_path / "tiny" / "config.json").write_text(json.dumps({"bos_token_id": 1, "eos_token_id": 2}), encoding="utf-8")
    keys = Keys()
    ids, replaced = {"bos": 9, "eot": 5, "unk": 300}, {"eos": 7, "eom": 8}
    tokenizer.write_tokenizer(keys, tmp_path / "tiny", vocabulary, ids=ids, replaced_ids=replaced)
    found = {kind: keys.get(f"tokenizer.ggml.{kind}_token_id") for kind in ("bos", "eos", "eot", "eom", "unknown")}
    assert found == {"bos": 1, "eos": 7, "eot": 5, "eom": None, "unknown": None}
    assert len(vocabulary.tokens) == 300


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("llama", "LlamaTokenizerFast", False), "LlamaTokenizer"),
        (("llama", "LlamaTokenizerFast", True), PLAIN),
        (("mistral", "LlamaTokenizer", False), PLAIN),
        (("qwen2", "LlamaTokenizerFast", True), "Qwen2Tokenizer"),
        (("phi3", "GPT2Tokenizer", True), PLAIN),
        (("phi", "CodeGenTokenizer", True), "CodeGenTokenizer"),
        (("qwen3", "PreTrainedTokenizerFast", True), PLAIN),
        (("gpt_neox", "", True), "GPTNeoXTokenizer"),
        (("falcon", "", True), PLAIN),
        (("llama", "Phi3Tokenizer", True), "LlamaTokenizer"),
    ],
)
def test_class_that_is_taken(arguments: tuple[str, str, bool], expected: str) -> None:
    model_type, named, byte_level = arguments
    assert find_class(model_type, named, byte_level=byte_level, own_code=False) == expected


def refusal(folder: Path, case: Case, reader: str = "bpe_vocabulary") -> ConversionError:
    write(folder, case)
    with pytest.raises((TokenizerError, CheckpointFileError)) as caught:
        read(folder, reader)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tokenizer_class": "T5Tokenizer"}, "T5Tokenizer"),
        ({"tokenizer_class": "Unheard", "auto_map": {"AutoTokenizer": ["x.Y", None]}}, "code that comes with"),
        ({"fix_mistral_regex": True}, "fix_mistral_regex"),
        ({"bos_token": 3}, "names a special token 3"),
        ({"extra_special_tokens": [None]}, "null"),
        ({"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": "no"}, "add_prefix_space"),
        ({"tokenizer_class": ["GPT2Tokenizer"]}, "not as expected"),
        ({"added_tokens_decoder": {"x": {"content": "<x>"}}}, "not as expected"),
        ({"added_tokens_decoder": {"1": {"content": "<x>", "special": "yes"}}}, "not as expected"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    assert words in str(
        refusal(tmp_path / "t", Case(model_type="exaone", settings=settings, tokenizer=tokenizer_json()))
    )


UNKNOWN_START = json.loads(
    json.dumps(begins_with("<s>", 0)).replace('{"SpecialToken": {"id": "<s>"', '{"SpecialToken": {"id": "<x>"', 1)
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"model": {"type": "Unigram", "vocab": [["a", 0.0]]}}, "only BPE"),
        ({"model": 3}, "no model"),
        (tokenizer_json(model={"merges": ["a b c"]}), "not understood"),
        (tokenizer_json(model={"merges": [1]}), "neither all texts nor all pairs"),
        (tokenizer_json(model={"unk_token": "<no such>", "vocab": {"a": 0}, "merges": []}), "cannot take the text"),
        (tokenizer_json(model={"continuing_subword_prefix": "x"}), "continuing_subword_prefix"),
        (tokenizer_json(model={"vocab": {"a": 0, "b": 0}, "merges": []}, tokens=[]), "'a' and 'b' the id 0"),
        (tokenizer_json(model={"vocab": {}, "merges": []}, tokens=[]), "no tokens"),
        (tokenizer_json(tokens=[{"id": 1}]), "not as expected"),
        (tokenizer_json(post_processor={**begins_with("<s>", 0), "special_tokens": {}}), "not understood"),
        (tokenizer_json(post_processor=UNKNOWN_START), "cannot take the text"),
    ],
)
def test_tokenizer_json_that_is_refused(
    content: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "pre_tokenizer_name", accept_any)
    message = str(refusal(tmp_path / "t", Case(model_type="exaone", tokenizer=content)))
    assert words in message or set(words.split("'")[1::2]) <= set(message.split("'"))


def accept_any(loaded: Any) -> str:
    tokenizer.encode(loaded, "text")
    return "any"


@pytest.mark.parametrize("missing", ["vocab.json", "merges.txt"])
def test_slow_files_go_together(missing: str, tmp_path: Path) -> None:
    files = {name: content for name, content in slow_files().items() if name != missing}
    assert "no tokenizer.json but" in str(refusal(tmp_path / "t", Case(model_type="gpt2", files=files)))


def test_slow_files_are_not_read_for_a_class_that_cannot(tmp_path: Path) -> None:
    assert "TokenizersBackend" in str(refusal(tmp_path / "t", Case(model_type="stablelm", files=slow_files())))


def test_the_first_qwen_is_refused_by_name(tmp_path: Path) -> None:
    case = Case(model_type="qwen", settings={"tokenizer_class": "QWenTokenizer"}, files={"qwen.tiktoken": "IQ== 0"})
    assert "qwen.tiktoken" in str(refusal(tmp_path / "t", case))


def test_tekken_alone_is_refused_by_name(tmp_path: Path) -> None:
    case = Case(model_type="mistral", files={"tekken.json": "{}"})
    assert "tekken.json" in str(refusal(tmp_path / "t", case, "llama_vocabulary"))


@pytest.mark.parametrize("reader", ["phi3_vocabulary", "internlm2_vocabulary"])
def test_families_that_need_a_sentencepiece_model(reader: str, tmp_path: Path) -> None:
    case = Case(model_type="phi3", settings={"tokenizer_class": "X"}, tokenizer=tokenizer_json())
    assert "no tokenizer.model" in str(refusal(tmp_path / "t", case, reader))
