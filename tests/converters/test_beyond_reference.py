"""Checkpoints that llama.cpp's converter fails on although it is plain what is meant become the file that it makes of
the same checkpoint where it does not fail; what it converts wrongly is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converters import UnsupportedConfig, check_config, convert
from converters.architecture import find_architecture
from converters.checkpoint import read_tensors
from tests.converters.cases import Case, read_cases, write_case

CASES = read_cases()


def without(config: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in keys}


def no_context(case: Case) -> Case:
    """GPT-2 as transformers saves it: without n_ctx."""
    return replace(case, config=without(case.config, "n_ctx"))


def causal_masks(case: Case) -> Case:
    """GPT-2 as it lies on the Hub: with masks."""
    masks = {"h.{0-1}.attn.bias": "1x1x128x128", "h.{0-1}.attn.masked_bias": "1"}
    return replace(case, tensors={**case.tensors, **masks})


def no_key_heads(case: Case) -> Case:
    """Falcon 7B as it lies on the Hub: that all heads share one key follows from multi_query."""
    return replace(case, config=without(case.config, "num_kv_heads"))


def as_many_key_heads(case: Case) -> Case:
    """Falcon 7B as transformers saves it: a number of heads for keys, which counts for larger models only."""
    return replace(case, config={**case.config, "num_kv_heads": 4})


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("gpt2-hub", no_context),
        ("gpt2-hub", causal_masks),
        ("falcon-7b-one-kv-head", no_key_heads),
        ("falcon-7b-one-kv-head", as_many_key_heads),
    ],
)
def test_same_bytes_as_of_the_one_it_converts(name: str, changed: Any, tmp_path: Path) -> None:
    case = changed(CASES[name])
    assert case != CASES[name]
    path = convert(write_case(tmp_path, case), tmp_path / "out.gguf", "f16")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == case.noted["sums"]["f16"]


def test_norms_of_heads_are_stacked_in_order(tmp_path: Path) -> None:
    case = CASES["stablelm2-12b"]
    stored = read_tensors(write_case(tmp_path, case, tokenizer={}))
    for tensors in (stored, dict(reversed(stored.items()))):
        planned = {each.gguf_name: each for each in find_architecture(case.config).plan(tensors)}
        for letter, n_heads in (("q", 4), ("k", 2)):
            norms = planned[f"blk.1.attn_{letter}_norm.weight"]
            names = [f"model.layers.1.self_attn.{letter}_layernorm.norms.{i}.weight" for i in range(n_heads)]
            assert [source.name for source in norms.sources] == names
            assert norms.shape == (n_heads, *stored[names[0]].shape)
        assert "blk.1.ffn_norm.weight" not in planned


ALIBI = {"alibi": True, "alibi_bias_max": 8}


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("falcon-40b", {"rope_parameters": {"rope_type": "default", "rope_theta": 500042.0}}, "rope_theta is 500042.0"),
        ("falcon-old", {"layer_norm_epsilon": None}, "layer_norm_epsilon is None"),
        ("falcon-40b-old", {"n_head_kv": 3}, "n_head_kv is 3"),
        ("bloom-old", {"seq_length": "2048"}, "seq_length is '2048'"),
        ("phi3-su", {"original_max_position_embeddings": 1}, "original_max_position_embeddings is 1"),
        ("falcon-7b", {"alibi": True}, "alibi is True"),
        ("falcon-7b", {"multi_query": False}, "multi_query is False"),
        ("falcon-7b", {"bias": True}, "bias is True"),
        ("stablelm-epoch", {"rope_theta": 1000000}, "rope_theta is 1000000"),
        ("stablelm-epoch", {"norm_eps": "1e-5"}, "layer_norm_eps is '1e-5'"),
        ("stablelm-epoch", {"rope_pct": None}, "partial_rotary_factor"),
        ("stablelm-epoch", {"num_key_value_heads": None}, "num_key_value_heads is None"),
        ("gpt-neox-old", {"rotary_emb_base": 1000000}, "rope_theta is 1000000"),
        ("gpt-neox", {"attention_bias": False}, "attention_bias is False"),
        ("phi2", {"qk_layernorm": True}, "qk_layernorm is True"),
        ("phi3", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type is 'linear'"),
        ("gpt2", {"n_ctx": 64}, "n_ctx is 64"),
        ("gpt2", {"activation_function": "relu"}, "activation_function is 'relu'"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ("starcoder", {"multi_query": False}, "multi_query is False"),
        ("bloom", {"apply_residual_connection_post_layernorm": True}, "post_layernorm is True"),
        ("mpt-hub", {"expansion_ratio": 2}, "expansion_ratio is 2"),
        ("mpt-hub", {"attn_config": {**ALIBI, "clip_qkv": "6"}}, "clip_qkv is '6'"),
        ("mpt-hub", {"attn_config": {**ALIBI, "softmax_scale": 0.5}}, "softmax_scale is 0.5"),
        ("mpt-hub", {"attn_config": {**ALIBI, "attn_type": "multiquery_attention"}}, "attn_type is 'multiquery"),
        ("mpt-hub", {"attn_config": {**ALIBI, "attn_type": "grouped_query_attention", "kv_n_heads": 3}}, "is 3"),
        ("mpt-hub", {"attn_config": {**ALIBI, "qk_ln": []}}, "qk_ln is []"),
    ],
)
def test_what_llama_cpp_would_get_wrong_is_refused(name: str, changes: dict[str, Any], words: str) -> None:
    check_config(CASES[name].config)
    with pytest.raises(UnsupportedConfig) as caught:
        check_config({**CASES[name].config, **changes})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("falcon-11b", {"ffn_hidden_size": 100}, "ffn_hidden_size is 100"),
        ("phi2", {"num_key_value_heads": 2}, "num_key_value_heads is 2"),
        ("phi2", {"intermediate_size": 160}, "intermediate_size is 160"),
        ("gpt2", {"n_inner": 100}, "n_inner is 100"),
    ],
)
def test_what_llama_cpp_will_not_load_is_converted_as_the_reference_does_and_told(
    name: str, changes: dict[str, Any], words: str
) -> None:
    assert find_architecture(CASES[name].config).doubts == []
    (line,) = find_architecture({**CASES[name].config, **changes}).doubts
    assert words in line
