"""Models that llama.cpp would load and get wrong are refused, though its own converter takes them; their nearest kin
are not."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converters import ConversionError, check, check_config, convert
from converters.architecture import find_architecture
from converters.gguf_file import Keys
from tests.converters.cases import read_case, write_case
from tests.converters.variants import HERE

LEFT_OUT = object()


def config_of(case: str, **changes: Any) -> dict[str, Any]:
    config = {**read_case(HERE / "cases" / f"{case}.json").config, **changes}
    return {key: value for key, value in config.items() if value is not LEFT_OUT}


WINDOW = {"use_sliding_window": True, "sliding_window": 64, "layer_types": None}
LONGROPE = {"rope_type": "longrope", "short_factor": [1.0] * 12, "long_factor": [2.0] * 12}


@pytest.mark.parametrize(
    ("case", "changes", "words"),
    [
        ("qwen2", {**WINDOW, "max_window_layers": 1}, "use_sliding_window is True"),
        ("qwen3", {**WINDOW, "max_window_layers": 0}, "use_sliding_window is True"),
        ("qwen2", {**WINDOW, "layer_types": ["full_attention", "sliding_attention"]}, "use_sliding_window is True"),
        ("qwen3-moe", {"use_sliding_window": True}, "use_sliding_window is True"),
        ("qwen3-moe", {"mlp_only_layers": [0]}, "mlp_only_layers is [0]"),
        ("qwen2-moe", {"decoder_sparse_step": 2}, "decoder_sparse_step is 2"),
        ("smollm3", {"no_rope_layers": None, "no_rope_layer_interval": 3}, "no_rope_layer_interval is 3"),
        ("smollm3", {"no_rope_layers": [1, 0, 1, 1]}, "no_rope_layers is [1, 0, 1, 1]"),
        ("smollm3", {"no_rope_layers": None, "no_rope_layer_interval": 0}, "no_rope_layer_interval is 0"),
        ("arcee", {"hidden_act": "silu"}, "hidden_act is 'silu'"),
        ("deepseek-moe", {"norm_topk_prob": True}, "norm_topk_prob is True"),
        ("deepseek-v2", {"scoring_func": "sigmoid"}, "scoring_func is 'sigmoid'"),
        ("deepseek-v3", {"rope_interleave": False}, "rope_interleave is False"),
        ("deepseek-v3", {"num_key_value_heads": 2}, "num_key_value_heads is 2"),
        ("internlm2", {"bias": True}, "bias is True"),
        ("internlm3", {"qkv_bias": True}, "qkv_bias is True"),
        ("minicpm", {"rope_scaling": {**LONGROPE, "original_max_position_embeddings": 128}}, "is 128, but 512"),
        ("minicpm3", {"rope_scaling": {**LONGROPE, "original_max_position_embeddings": 128}}, "is 128, but 512"),
        ("minicpm3", {"scale_emb": 10}, "scale_emb is 10"),
        ("minicpm3", {"dim_model_base": 128}, "dim_model_base is 128"),
        ("minicpm3", {"v_head_dim": 32}, "v_head_dim is 32"),
        ("minicpm3", {"rope_theta": 1000000.0}, "rope_theta is 1000000.0"),
        ("baichuan-7b", {"num_hidden_layers": 30}, "num_hidden_layers is 30, but only 32 or 40"),
        ("baichuan-7b", {"num_key_value_heads": 2}, "num_key_value_heads is 2"),
    ],
)
def test_what_llama_cpp_gets_wrong_is_refused(case: str, changes: dict[str, Any], words: str) -> None:
    check_config(config_of(case))
    with pytest.raises(ConversionError) as caught:
        check_config(config_of(case, **changes))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        ("qwen2", {**WINDOW, "max_window_layers": 2}),
        ("qwen2", {**WINDOW, "max_window_layers": 0, "sliding_window": 512}),
        ("qwen2", {**WINDOW, "max_window_layers": 0, "use_sliding_window": False}),
        ("smollm3", {"no_rope_layers": None}),
        ("minicpm", {"rope_scaling": {**LONGROPE, "original_max_position_embeddings": 512}}),
        ("minicpm3", {"scale_emb": LEFT_OUT, "scale_depth": LEFT_OUT, "dim_model_base": LEFT_OUT}),
    ],
)
def test_what_it_gets_right_is_not(case: str, changes: dict[str, Any]) -> None:
    check_config(config_of(case, **changes))


@pytest.mark.parametrize("case", ["deepseek-moe", "internlm2", "minicpm", "baichuan-7b"])
@pytest.mark.parametrize("value", [LEFT_OUT, None, "1", -1, 1.5, [], {}, float("nan")])
def test_keys_of_model_types_that_transformers_does_not_know_are_checked(case: str, value: Any) -> None:
    """Nobody else looks at them. What is refused is no matter here: that no TypeError or KeyError escapes is."""
    for key in config_of(case):
        with suppress(ConversionError):
            model = find_architecture(config_of(case, **{key: value}))
            keys = Keys()
            model.write_keys(keys, 1)
            keys.packed()
            assert model.expected()
            list(model.extra_tensors())


def test_models_that_do_not_write_are_refused(tmp_path: Path) -> None:
    folder = write_case(tmp_path, read_case(HERE / "cases" / "qwen3.json"))
    check(folder)
    card = folder / "README.md"
    card.write_text("---\nlicense: apache-2.0\n---\n# Qwen3-Reranker-0.6B\n", encoding="utf-8")
    with pytest.raises(ConversionError, match="is a reranker"):
        check(folder)
    card.unlink()
    modules = '[{"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]'
    (folder / "modules.json").write_text(modules, encoding="utf-8")
    with pytest.raises(ConversionError, match="pools the outputs"):
        check(folder)


def test_it_is_told_before_the_work(tmp_path: Path) -> None:
    case = read_case(HERE / "cases" / "qwen3-moe.json")
    folder = write_case(tmp_path, replace(case, config=config_of("qwen3-moe", norm_topk_prob=False)))
    told: list[str] = []
    path = convert(folder, tmp_path / "x.gguf", progress=lambda *_: told.append("work"), warn=told.append)
    assert path.exists()
    assert "norm_topk_prob is False" in told[0]
    assert set(told[1:]) == {"work"}


@pytest.mark.parametrize(
    ("case", "changes", "words"),
    [
        ("qwen3-moe", {"norm_topk_prob": False}, "norm_topk_prob is False, not True"),
        ("qwen3", {"attention_bias": True}, "attention_bias is True, not False"),
        ("starcoder2", {"use_bias": False}, "use_bias is False, not True"),
        ("qwen2-moe", {"norm_topk_prob": True}, "norm_topk_prob is True, not False"),
        ("deepseek-v3", {"scoring_func": LEFT_OUT}, "scoring_func is None, not 'sigmoid'"),
    ],
)
def test_what_transformers_itself_writes_is_converted_and_told(case: str, changes: dict[str, Any], words: str) -> None:
    """Its default configurations are such, so refusing them would refuse checkpoints made with it."""
    assert find_architecture(config_of(case)).doubts == []
    (line,) = find_architecture(config_of(case, **changes)).doubts
    assert words in line
