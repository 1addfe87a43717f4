"""A checkpoint that is damaged, hostile or unknown is refused with one line that says so, and nothing is written."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters import (
    ARCHITECTURES,
    PRE_TOKENIZERS,
    CheckpointFileError,
    ConversionError,
    MetadataError,
    TensorError,
    TokenizerError,
    UnknownArchitecture,
    UnknownPreTokenizer,
    UnsafePickle,
    UnsupportedConfig,
    check,
    check_config,
    convert,
    resolve_outtype,
)
from converters.architecture import Architecture
from converters.safetensors_file import read_header
from converters.torch_bin import read_bin
from tests.converters.variants import LLAMA3, VARIANTS, Variant, write_checkpoint
from tests.smollm2 import write_json
from tests.tiny import CONFIG, write_safetensors, write_torch_bin

Damage = Callable[[Path], None]


def refused(folder: Path, kind: type[ConversionError], *words: str) -> ConversionError:
    """Convert `folder`, expect `kind` with all `words` in its one line, and no trace of an output."""
    out = folder.parent / "out"
    out.mkdir(exist_ok=True)
    with pytest.raises(kind) as caught:
        convert(folder, out / "model.gguf")
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []
    assert list(out.iterdir()) == []
    return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path, VARIANTS["grouped queries"])


def header_of(folder: Path) -> tuple[dict[str, Any], bytes]:
    data = (folder / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def rewrite(folder: Path, header: Any, values: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + values)


def entry(**changes: Any) -> Damage:
    """Change the header entry of the final norm."""

    def damage(folder: Path) -> None:
        header, values = header_of(folder)
        header["model.norm.weight"] |= changes
        rewrite(folder, header, values)

    return damage


def cut(n_bytes: int) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:n_bytes])

    return damage


def overlap(folder: Path) -> None:
    header, values = header_of(folder)
    first = header["model.layers.0.input_layernorm.weight"]["data_offsets"]
    header["model.norm.weight"]["data_offsets"] = first
    rewrite(folder, header, values)


def raw_header(text: bytes) -> Damage:
    return lambda folder: rewrite(folder, text, b"")


def header_length(length: int) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])

    return damage


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (cut(0), "header"),
        (cut(5), "header"),
        (cut(100), "header"),
        (cut(-1), "download it again"),
        (cut(-5000), "download it again"),
        (header_length(2**63), "header"),
        (header_length(200_000_000), "header"),
        (header_length(3), "JSON"),
        (raw_header(b"[]"), "JSON object"),
        (raw_header(b"\xff\xfe"), "JSON"),
        (raw_header(b"[" * 100_000), "JSON"),
        (raw_header(b'{"a": 1}'), "'a'"),
        (raw_header(b'{"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}, "a": 1}'), "twice"),
        (entry(dtype="F31"), "F31"),
        (entry(dtype=["F32"]), "model.norm.weight"),
        (entry(shape=[-64]), "shape"),
        (entry(shape=[64.0]), "shape"),
        (entry(shape="64"), "shape"),
        (entry(shape=[2**62, 2**62]), "bytes for shape"),
        (entry(data_offsets=[0]), "offsets"),
        (entry(data_offsets=[-128, 0]), "offsets"),
        (entry(data_offsets=[10**18, 10**18 + 128]), "leave a gap"),
        (overlap, "overlap"),
    ],
)
def test_damaged_safetensors(folder: Path, damage: Damage, word: str) -> None:
    damage(folder)
    refused(folder, CheckpointFileError, "model.safetensors", word)


def test_flipped_header_bits_never_escape_as_something_else(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = bytearray(path.read_bytes())
    length = struct.unpack("<Q", whole[:8])[0]
    dice = random.Random(7)
    refusals = 0
    for _ in range(150):
        position = dice.randrange(8 + length)
        flipped = bytearray(whole)
        flipped[position] ^= 1 << dice.randrange(8)
        path.write_bytes(flipped)
        try:
            convert(folder, folder.parent / "out.gguf")
        except ConversionError:
            refusals += 1
            assert not (folder.parent / "out.gguf").exists()
        else:
            (folder.parent / "out.gguf").unlink()  # a space in the padding, the name in __metadata__: nothing we use
    assert refusals > 100


def test_missing_part(tmp_path: Path) -> None:
    for name in ("indexed parts", "parts without an index"):
        folder = write_checkpoint(tmp_path / name, VARIANTS[name])
        (folder / "model-00002-of-00003.safetensors").unlink()
        refused(folder, CheckpointFileError, "model-00002-of-00003.safetensors", "missing")


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/../../x.safetensors", "..\\x", ""])
def test_index_that_leaves_the_folder(folder: Path, name: str) -> None:
    weight_map = dict.fromkeys(header_of(folder)[0].keys() - {"__metadata__"}, "model.safetensors")
    write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map | {"model.norm.weight": name}})
    refused(folder, CheckpointFileError, "index.json", "outside")


@pytest.mark.parametrize("index", [{}, {"weight_map": []}, {"weight_map": {"a": 1}}, {"weight_map": {}}])
def test_index_without_a_map(folder: Path, index: dict[str, Any]) -> None:
    write_json(folder / "model.safetensors.index.json", index)
    refused(folder, CheckpointFileError, "weight_map")


def test_index_and_parts_that_disagree(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, VARIANTS["indexed parts"])
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    more = {"weight_map": index["weight_map"] | {"model.more": "model-00001-of-00003.safetensors"}}
    write_json(folder / "model.safetensors.index.json", more)
    refused(folder, CheckpointFileError, "model.more")
    del index["weight_map"]["model.norm.weight"]
    write_json(folder / "model.safetensors.index.json", index)
    refused(folder, CheckpointFileError, "model.norm.weight", "index")


def test_no_folder_no_config_no_weights(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "absent", CheckpointFileError, "not a folder")
    refused(tmp_path / "empty", CheckpointFileError, "config.json")
    (folder / "model.safetensors").unlink()
    refused(folder, CheckpointFileError, "no weights")


def test_config_that_is_no_json(folder: Path) -> None:
    (folder / "config.json").write_text('{"architectures": ')
    refused(folder, CheckpointFileError, "config.json", "JSON")
    (folder / "config.json").write_text("[]")
    refused(folder, CheckpointFileError, "config.json", "JSON object")


class _Call:
    """Pickles as a call, which a careless loader would make."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


def hostile_bin(folder: Path, content: Any) -> None:
    (folder / "model.safetensors").unlink()
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
        archive.writestr("pytorch_model/data.pkl", pickle.dumps(content, protocol=2))


def test_hostile_pickle_is_refused_by_name_and_not_run(folder: Path) -> None:
    victim = folder.parent / "victim"
    victim.write_text("still here")
    hostile_bin(folder, OrderedDict(a=_Call(os.system, f"rm {victim}")))
    error = refused(folder, UnsafePickle, "system", "safetensors")
    assert isinstance(error, UnsafePickle)
    assert error.name == "posix.system"
    assert victim.read_text() == "still here"


@pytest.mark.parametrize("content", [[1, 2], OrderedDict(a=1), {"state": {"a": 1}}, OrderedDict({1: 2})])
def test_pickle_without_tensors(folder: Path, content: Any) -> None:
    hostile_bin(folder, content)
    refused(folder, CheckpointFileError, "pytorch_model.bin")


def test_damaged_bin(tmp_path: Path) -> None:
    whole = write_checkpoint(tmp_path / "whole", VARIANTS["first Llama"])
    data = (whole / "pytorch_model.bin").read_bytes()
    for n_bytes in (0, 10, len(data) // 2, len(data) - 30):
        (whole / "pytorch_model.bin").write_bytes(data[:n_bytes])
        refused(whole, CheckpointFileError, "pytorch_model.bin", "download it again")
    (whole / "pytorch_model.bin").write_bytes(pickle.dumps(OrderedDict(a=1)))
    refused(whole, CheckpointFileError, "PyTorch 1.6")


def test_flipped_bits_of_a_bin_never_escape_as_something_else(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, VARIANTS["first Llama"])
    path = folder / "pytorch_model.bin"
    whole = bytearray(path.read_bytes())
    start = whole.index(b"data.pkl")
    dice = random.Random(3)
    for _ in range(150):
        flipped = bytearray(whole)
        flipped[start + dice.randrange(3000)] ^= 1 << dice.randrange(8)
        path.write_bytes(flipped)
        try:
            read_bin(path)
        except CheckpointFileError as error:
            assert "\n" not in str(error)  # noqa: PT017 - most flips are caught by the archive's checksum


def test_bin_tensor_beyond_its_storage(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    write_torch_bin(path, {"a": np.ones((4, 4), "<f4")})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["pytorch_model/data.pkl"] = members["pytorch_model/data.pkl"].replace(
        b"K\x04K\x04\x86", b"K\x04K\x05\x86", 1
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(CheckpointFileError, match="beyond its storage"):
        read_bin(path)


def change_config(**changes: Any) -> Damage:
    def damage(folder: Path) -> None:
        write_json(folder / "config.json", {**json.loads((folder / "config.json").read_text()), **changes})

    return damage


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"model_type": "gemma"}, "model_type"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_size": 62}, "hidden_size"),
        ({"vocab_size": "many"}, "vocab_size"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"architectures": []}, "architectures"),
        ({"architectures": None}, "architectures"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config"),
        ({"rope_scaling": {"type": "longrope", "factor": 2}}, "rope_type"),
        ({"rope_scaling": {"type": "linear"}}, "rope_parameters factor"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "rope_parameters low_freq_factor"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1.0}}}, "rope_parameters"),
        ({"rope_theta": None}, "rope_parameters rope_theta"),
        ({"rope_theta": "10000"}, "rope_parameters rope_theta"),
        ({"rope_theta": True}, "rope_parameters rope_theta"),
        ({"rope_theta": -1.0}, "rope_parameters rope_theta"),
        ({"rope_scaling": {"type": ["x"], "factor": 2}}, "rope_type"),
        ({"rope_scaling": "linear"}, "rope_scaling"),
        ({"rope_scaling": {"type": "linear", "factor": float("nan")}}, "rope_parameters factor"),
        ({"rope_scaling": {"rope_type": "llama3", **LLAMA3, "factor": 0}}, "rope_parameters factor"),
        ({"rope_scaling": {"rope_type": "llama3", **LLAMA3, "low_freq_factor": 0}}, "rope_parameters low_freq_factor"),
        (
            {"rope_scaling": {"rope_type": "llama3", **LLAMA3, "high_freq_factor": 1.0}},
            "rope_parameters high_freq_factor",
        ),
        (
            {"rope_scaling": {"rope_type": "llama3", **LLAMA3, "original_max_position_embeddings": None}},
            "rope_parameters original_max_position_embeddings",
        ),
        ({"model_type": "mistral", "layer_types": ["full_attention"] * 2}, "layer_types"),
        ({"model_type": "mistral", "layer_types": None}, "layer_types"),
        ({"model_type": "mistral", "num_key_value_heads": None}, "num_key_value_heads"),
        ({"layer_types": ["full_attention"]}, "layer_types"),
        ({"layer_types": [["full_attention"]] * 2}, "layer_types"),
        ({"model_type": None}, "model_type"),
        ({"hidden_act": None}, "hidden_act"),
        ({"use_cache": None}, "use_cache"),
        ({"initializer_range": 1}, "initializer_range"),
        ({"initializer_range": 1.5}, "initializer_range"),
        ({"rms_norm_eps": 1}, "rms_norm_eps"),
        ({"rms_norm_eps": None}, "rms_norm_eps"),
        ({"attention_bias": None}, "attention_bias"),
        ({"mlp_bias": None}, "mlp_bias"),
        ({"tie_word_embeddings": None}, "tie_word_embeddings"),
        ({"torch_dtype": "auto"}, "torch_dtype"),
        ({"dtype": "torch.bfloat16"}, "dtype"),
        ({"bos_token_id": [1]}, "bos_token_id"),
        ({"bos_token_id": True}, "bos_token_id"),
        ({"bos_token_id": {}}, "bos_token_id"),
        ({"eos_token_id": "2"}, "eos_token_id"),
        ({"eos_token_id": 2.0}, "eos_token_id"),
        ({"eos_token_id": [2, True]}, "eos_token_id"),
        ({"max_position_embeddings": None}, "max_position_embeddings"),
        ({"max_position_embeddings": 2**32}, "max_position_embeddings"),
        ({"head_dim": 15}, "head_dim"),
        ({"head_dim": "16"}, "head_dim"),
        ({"head_dim": -16}, "head_dim"),
        ({"head_dim": 0}, "head_dim"),
        ({"hidden_size": 60}, "hidden_size"),
        ({"hidden_size": 62, "head_dim": 16}, "hidden_size"),
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
        ({"num_key_value_heads": 0}, "num_key_value_heads"),
        ({"vocab_size": 10**10}, "vocab_size"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
    ],
)
def test_config_that_is_not_converted_faithfully(folder: Path, changes: dict[str, Any], key: str) -> None:
    change_config(**changes)(folder)
    error = refused(folder, UnsupportedConfig, "config.json", key)
    assert isinstance(error, UnsupportedConfig)
    assert error.key == key


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"num_local_experts": 10**9}, "num_local_experts"),
        ({"num_hidden_layers": 10_000, "num_local_experts": 11}, "num_local_experts"),
        ({"num_local_experts": 0}, "num_local_experts"),
        ({"num_local_experts": None}, "num_local_experts"),
        ({"num_experts_per_tok": 5}, "num_experts_per_tok"),
        ({"num_experts": 5}, "num_experts"),
        ({"hidden_size": 60}, "hidden_size"),
    ],
)
def test_experts_that_are_not_converted_faithfully(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(UnsupportedConfig) as caught:
        check_config({**CONFIG, **VARIANTS["Mixtral"].config, "rms_norm_eps": 1e-5, **changes})
    assert caught.value.key == key


@pytest.mark.parametrize(
    "changes",
    [
        {"eos_token_id": [2, 0], "pad_token_id": None, "bos_token_id": None},
        {"eos_token_id": None, "pad_token_id": -1},
        {"rope_theta": 10000, "rope_scaling": None, "head_dim": None, "num_key_value_heads": None},
        {"attention_dropout": 0, "pretraining_tp": 1, "use_cache": False, "initializer_range": 0.041666666666666664},
        {"torch_dtype": None, "dtype": "float32", "transformers_version": "4.31.0", "unknown": {}},
        {"auto_map": {"AutoConfig": "x.Y"}, "layer_types": ["full_attention"] * 2},
        {"model_type": "mistral", "sliding_window": None, "attention_bias": None, "head_dim": 128},
    ],
)
def test_what_real_configs_say_is_accepted(changes: dict[str, Any]) -> None:
    check_config({**CONFIG, **changes})


def test_missing_head_tells_both_ways_out(tmp_path: Path) -> None:
    refused(
        write_checkpoint(tmp_path, Variant(change=without("lm_head.weight"))),
        TensorError,
        "lm_head.weight",
        "or set tie_word_embeddings: true",
    )


def test_unknown_architecture_says_what_is_known() -> None:
    with pytest.raises(UnknownArchitecture) as caught:
        check_config({**CONFIG, "architectures": ["MysteryForCausalLM"]})
    assert caught.value.found == "MysteryForCausalLM"
    assert set(caught.value.known) == set(ARCHITECTURES)
    assert "LlamaForCausalLM" in str(caught.value)


def test_unknown_pre_tokenizer_is_known_before_weights_are(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, VARIANTS["byte-level BPE"])
    (folder / "model.safetensors").unlink()
    check(folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["pre_tokenizer"]["pretokenizers"][1]["use_regex"] = False
    write_json(folder / "tokenizer.json", tokenizer)
    # A GPT2Tokenizer would bring its own pre-tokenizer.
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    write_json(folder / "tokenizer_config.json", {**settings, "tokenizer_class": "PreTrainedTokenizerFast"})
    with pytest.raises(UnknownPreTokenizer) as caught:
        check(folder)
    assert len(caught.value.fingerprint) == 64
    assert set(caught.value.known) == set(PRE_TOKENIZERS.values())
    assert "llama-bpe" in str(caught.value)


@pytest.mark.parametrize(
    ("file", "text", "kind"),
    [
        ("tokenizer.model", "no protocol buffer", CheckpointFileError),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"1": {}}}', TokenizerError),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {"content": "<x>"}}}', TokenizerError),
        ("tokenizer_config.json", '{"chat_template": [3]}', TokenizerError),
        ("tokenizer_config.json", '{"chat_template": [{"name": "default", "template": 3}]}', MetadataError),
        ("added_tokens.json", '{"<x>": "one"}', TokenizerError),
        ("tokenizer.json", '{"added_tokens": [1]}', TokenizerError),
        ("tokenizer.json", "{", CheckpointFileError),
        ("README.md", "---\nlicense: [\n---\n", MetadataError),
        ("README.md", "---\nmodel_name: 7\n---\n", MetadataError),
        ("generation_config.json", '{"top_k": "many"}', MetadataError),
    ],
)
def test_files_that_are_not_as_expected(folder: Path, file: str, text: str, kind: type[ConversionError]) -> None:
    (folder / file).write_text(text, encoding="utf-8")
    refused(folder, kind)


def test_bpe_with_more_tokens_than_ids(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, Variant({"vocab_size": 49000}, tokenizer="bpe"))
    refused(folder, TokenizerError, "49151", "49000")


@pytest.mark.parametrize(
    ("model", "word"), [({}, "type"), ({"type": "Unigram"}, "Unigram"), ({"type": "BPE"}, "token")]
)
def test_tokenizer_json_of_another_kind(folder: Path, model: dict[str, Any], word: str) -> None:
    (folder / "tokenizer.model").unlink()
    write_json(folder / "tokenizer.json", {"version": "1.0", "model": model})
    refused(folder, TokenizerError, "tokenizer.json", word)
    (folder / "tokenizer.json").unlink()
    refused(folder, CheckpointFileError, "no tokenizer.json")


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda tensors: tensors.pop(name)


@pytest.mark.parametrize(
    ("change", "tensor"),
    [
        (without("lm_head.weight"), "lm_head.weight"),
        (without("model.layers.1.mlp.up_proj.weight"), "model.layers.1.mlp.up_proj.weight"),
        (lambda t: t.update({"model.extra.weight": np.ones(4, "<f4")}), "model.extra.weight"),
        (
            lambda t: t.update({"model.layers.2.mlp.up_proj.weight": np.ones(4, "<f4")}),
            "model.layers.2.mlp.up_proj.weight",
        ),
        (lambda t: t.update({"model.norm.bias": np.ones(64, "<f4")}), "model.norm.bias"),
        (lambda t: t.update({"model.layers.0.self_attn.q_proj.bias": np.ones(64, "<f4")}), "q_proj.bias"),
        (lambda t: t.update({"model.norm.weight": np.ones(65, "<f4")}), "model.norm.weight"),
        (lambda t: t.update({"model.embed_tokens.weight": np.ones((64, 320), "<f4")}), "model.embed_tokens.weight"),
        (lambda t: t.update({"model.layers.0.self_attn.k_proj.weight": np.ones((64, 64), "<f4")}), "k_proj.weight"),
    ],
)
def test_tensors_that_do_not_fit_the_config(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], tensor: str
) -> None:
    refused(write_checkpoint(tmp_path, Variant(change=change)), TensorError, tensor)


def test_tensor_of_whole_numbers(folder: Path) -> None:
    header, values = header_of(folder)
    header["model.norm.weight"]["dtype"] = "I16"
    rewrite(folder, header, values)
    refused(folder, TensorError, "model.norm.weight", "I16")


def test_failure_while_writing_leaves_nothing_and_keeps_the_old_file(folder: Path) -> None:
    out = folder.parent / "out"
    out.mkdir()
    (out / "model.gguf").write_text("old")

    def interrupt(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(folder, out / "model.gguf", progress=interrupt)
    assert [path.name for path in out.iterdir()] == ["model.gguf"]
    assert (out / "model.gguf").read_text() == "old"


def shorten(path: Path) -> None:
    """By another file of that name: to cut one that is mapped would end the process."""
    path.with_name("short").write_bytes(b"too short")
    path.with_name("short").replace(path)


@pytest.mark.parametrize("change", [Path.unlink, shorten])
def test_weights_that_go_while_they_are_read(folder: Path, change: Damage) -> None:
    """The header was read long before; it is a thread that finds no values."""
    out, weights = folder.parent / "out", folder / "model.safetensors"
    whole = weights.stat().st_size

    def damage(done: int, total: int) -> None:
        if weights.exists() and weights.stat().st_size == whole:
            change(weights)

    with pytest.raises(CheckpointFileError, match=r"model\.safetensors: cannot be read any more") as caught:
        convert(folder, out / "model.gguf", progress=damage)
    assert "\n" not in str(caught.value)
    assert list(out.iterdir()) == []


def test_unknown_outtype_and_folder_as_target(folder: Path) -> None:
    with pytest.raises(ConversionError, match=r"q4_0.*known are auto, f32, f16, bf16, q8_0"):
        convert(folder, folder.parent / "x.gguf", "q4_0")
    with pytest.raises(ConversionError, match="unknown outtype"):
        resolve_outtype(folder, "q4_0")
    with pytest.raises(ConversionError, match="is a folder"):
        convert(folder, folder)


def test_two_families_of_one_name_fail_at_import() -> None:
    with pytest.raises(TypeError, match=r"both Llama and Impostor claim LlamaForCausalLM"):
        type("Impostor", (Architecture,), {"hf_names": ("LlamaForCausalLM",)})


FULL_DISK = """
import resource, sys
from converters import ConversionError, convert
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    convert(sys.argv[1], sys.argv[2])
except ConversionError as error:
    print(error)
"""


@pytest.mark.parametrize("room", [0, 1000, 50_000])
def test_a_full_disk_is_told_and_leaves_nothing(folder: Path, room: int) -> None:
    """A limit on the size of files fails as a full disk does, whoever runs this."""
    out = folder.parent / "out"
    out.mkdir()
    command = [sys.executable, "-c", FULL_DISK, str(folder), str(out / "model.gguf"), str(room)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "model.gguf cannot be written (File too large)" in run.stdout
    assert run.stdout.count("\n") == 1
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(("name", "word"), [("file/model.gguf", "folder"), ("x" * 250 + ".gguf", "written")])
def test_a_place_that_cannot_be_written(folder: Path, name: str, word: str) -> None:
    (folder.parent / "file").write_text("")
    with pytest.raises(ConversionError, match=word):
        convert(folder, folder.parent / name)


def test_a_tensor_under_two_names(folder: Path) -> None:
    """The names differ, what they are the names of does not: one would be written over the other."""
    twice = "model.language_model.layers.0.mlp.up_proj.weight"
    tensors = read_header(folder / "model.safetensors")
    values = {tensor.name: np.zeros(tensor.shape, "<f4") for tensor in tensors}
    values[twice] = values[twice.replace("language_model.", "")]
    write_safetensors(folder / "model.safetensors", values)
    refused(folder, TensorError, "there as model.la", twice.replace("language_model.", ""))
