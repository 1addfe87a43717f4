"""LoRA adapters: the reference's bytes (recorded by scripts/parity_lora.py), and one line for what cannot be told."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader

from converters import ConversionError, UnsafePickle, convert_lora
from tests.converters.lora_cases import ADAPTERS, GOLDEN, Adapter, pairs, tensors, write_adapter
from tests.tiny import Array, write_safetensors

SUMS: dict[str, dict[str, str]] = json.loads(GOLDEN.read_text(encoding="utf-8"))
LLAMA = replace(ADAPTERS["llama"], targets=("q_proj", "v_proj"))
MODULE = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize("name", ADAPTERS)
def test_bytes_are_the_references(name: str, tmp_path: Path) -> None:
    folder, base = write_adapter(tmp_path, ADAPTERS[name])
    for outtype, expected in SUMS[name].items():
        path = convert_lora(folder, base, tmp_path / "x.gguf", outtype)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == expected, outtype


def test_every_outtype_of_every_adapter_is_recorded() -> None:
    assert {name: tuple(sums) for name, sums in SUMS.items()} == {n: a.outtypes for n, a in ADAPTERS.items()}


@pytest.mark.parametrize(("dtype", "expected"), [("float32", "F16"), ("float16", "F16"), ("bfloat16", "BF16")])
def test_auto_is_the_16_bit_type_that_is_stored(dtype: str, expected: str, tmp_path: Path) -> None:
    """The reference offers `auto`, too, and fails with it."""
    folder, base = write_adapter(tmp_path, replace(LLAMA, dtype=dtype))
    reader = GGUFReader(convert_lora(folder, base, tmp_path / "x.gguf", "auto"))
    assert {tensor.tensor_type.name for tensor in reader.tensors} == {expected}


def test_an_adapters_name_within_peft_makes_no_difference(tmp_path: Path) -> None:
    plain, base = write_adapter(tmp_path / "plain", LLAMA)
    named, _ = write_adapter(tmp_path / "named", replace(LLAMA, rename={".weight": ".default.weight"}))
    paths = [convert_lora(folder, base, folder / "x.gguf") for folder in (plain, named)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_progress_counts_up_to_all_bytes(tmp_path: Path) -> None:
    folder, base = write_adapter(tmp_path, LLAMA)
    seen: list[tuple[int, int]] = []
    convert_lora(folder, base, tmp_path / "x.gguf", progress=lambda done, total: seen.append((done, total)))
    n_values = sum(a.size + b.size for a, b in pairs(LLAMA).values())
    assert seen[-1] == (4 * n_values, 4 * n_values)


def test_the_command(tmp_path: Path) -> None:
    folder, base = write_adapter(tmp_path, LLAMA)
    command = [sys.executable, "-m", "converters", str(folder), str(tmp_path / "x.gguf"), "--base", str(base)]
    done = subprocess.run([*command, "--outtype", "f32"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path / 'x.gguf'}\n"
    (folder / "adapter_config.json").unlink()
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert "has no adapter_config.json" in failed.stderr


def refused(folder: Path, base: Path, *said: str) -> ConversionError:
    """The error of a conversion that must fail, in one line that says all of `said`, leaving nothing behind."""
    out = folder / "out"
    with pytest.raises(ConversionError) as caught:
        convert_lora(folder, base, out / "x.gguf")
    assert not out.exists() or not list(out.iterdir())
    text = str(caught.value)
    assert "\n" not in text
    for part in said:
        assert part in text
    return caught.value


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"use_dora": True}, "use_dora is True"),
        ({"use_rslora": True}, "use_rslora is True"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"bias": "lora_only"}, "bias is 'lora_only'"),
        ({"lora_bias": True}, "lora_bias"),
        ({"alpha_pattern": {"q_proj": 32}}, "alpha_pattern"),
        ({"alpha_pattern": ["q_proj"]}, "alpha_pattern"),
        ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "layer_replication"),
        ({"init_lora_weights": "pissa_niter_16"}, "pissa_niter_16"),
        ({"peft_type": "ADALORA"}, "peft_type is 'ADALORA'"),
        ({"peft_type": None}, "peft_type is None"),
        ({"lora_alpha": None}, "lora_alpha is None"),
        ({"lora_alpha": 0}, "lora_alpha is 0"),
        ({"lora_alpha": True}, "lora_alpha is True"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
        ({"lora_alpha": 1e39}, "lora_alpha"),
        ({"lora_alpha": "16"}, "lora_alpha is '16'"),
    ],
)
def test_settings_that_a_gguf_adapter_cannot_hold(config: dict[str, Any], said: str, tmp_path: Path) -> None:
    folder, base = write_adapter(tmp_path, replace(LLAMA, config=config))
    refused(folder, base, "adapter_config.json", said)


@pytest.mark.parametrize(
    "config",
    [{"alpha_pattern": {"q_proj": 16}}, {"init_lora_weights": "gaussian"}, {"bias": "none"}, {"use_dora": None}],
)
def test_settings_that_change_nothing(config: dict[str, Any], tmp_path: Path) -> None:
    folder, base = write_adapter(tmp_path, replace(LLAMA, config=config))
    path = convert_lora(folder, base, tmp_path / "x.gguf")
    plain, _ = write_adapter(tmp_path / "plain", LLAMA)
    assert path.read_bytes() == convert_lora(plain, base, tmp_path / "y.gguf").read_bytes()


def without(name: str) -> Callable[[dict[str, Array]], None]:
    return lambda found: found.__delitem__(name)


def rank_0() -> dict[str, Array]:
    return {
        f"{MODULE}.lora_{part}.weight": np.zeros(shape, np.float32) for part, shape in (("A", (0, 96)), ("B", (128, 0)))
    }


def added(name: str, *shape: int) -> Callable[[dict[str, Array]], None]:
    return lambda found: found.update({name: np.zeros(shape, np.float32)})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict.clear, "no pair"),
        (without(f"{MODULE}.lora_A.weight"), "q_proj.lora_A"),
        (without(f"{MODULE}.lora_B.weight"), "q_proj.lora_B"),
        (added("base_model.model.lm_head.weight", 320, 96), "merge the adapter into its base"),
        (added("base_model.model.model.embed_tokens.weight", 330, 96), "merge the adapter into its base"),
        (added("base_model.model.model.norm.weight", 95), "a pair lora_A and lora_B"),
        (lambda found: [added(f"{prefix}model.norm.weight", 96)(found) for prefix in ("", "base_model.model.")],
         "output_norm.weight once"),
        (added(f"{MODULE}.lora_magnitude_vector", 96), "lora_magnitude_vector"),
        (added(f"{MODULE}.lora_B.bias", 96), "lora_B.bias"),
        (added(f"{MODULE}.bias", 96), "q_proj.bias"),
        (added(f"{MODULE}.lora_A.default.weight", 8, 96), "one pair for model.layers.0.self_attn.q_proj"),
        (added(f"{MODULE}.lora_A.weight", 8, 95), "shape [128, 96]"),
        (added(f"{MODULE}.lora_A.weight", 9, 96), "(128, 8) and (9, 96)"),
        (added(f"{MODULE}.lora_A.weight", 8, 96, 1), "(8, 96, 1)"),
        (added(f"{MODULE}.lora_A.weight"), "q_proj"),
        (lambda found: found.update(rank_0()), "rank 0"),
        (added("base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight", 8, 96), "layers.2"),
        (added("base_model.model.model.layers.0.input_layernorm.lora_A.weight", 8, 96), "input_layernorm"),
        (added("base_model.model.model.embed_tokens.lora_A.weight", 8, 96), "embed_tokens.lora_B"),
        (added("\x1b[31m\nname.lora_A.weight", 8, 96), "\\x1b[31m\\nname"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit(change: Callable[[dict[str, Array]], object], said: str, tmp_path: Path) -> None:
    folder, base = write_adapter(tmp_path, LLAMA)
    found = tensors(LLAMA)
    change(found)
    write_safetensors(folder / "adapter_model.safetensors", found, "float32")
    refused(folder, base, said)


def test_a_linear_pair_for_the_embedding(tmp_path: Path) -> None:
    """Its shapes fit, but llama.cpp takes an embedding's pair the other way round."""
    rename = {"lora_embedding_A": "lora_B.weight", "lora_embedding_B": "lora_A.weight"}
    adapter = replace(LLAMA, targets=("embed_tokens",), rename=rename)
    turned = {name: np.ascontiguousarray(values.T) for name, values in tensors(adapter).items()}
    folder, base = write_adapter(tmp_path, adapter)
    write_safetensors(folder / "adapter_model.safetensors", turned, "float32")
    refused(folder, base, "lora_embedding_A and _B for the embedding")


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        (replace(ADAPTERS["mixtral-experts"], targets=("w1",)), "pairs for all 18 matrices"),
        (replace(ADAPTERS["mixtral-experts"], ranks={"experts.3.w1": 8}), "other experts, 32"),
        (Adapter("gpt2", ("c_attn",)), "attn_qkv"),
        (Adapter("gemma", ("q_proj",), extra={"lm_head.lora_A.weight": (8, 96)}), "lm_head"),
        (Adapter("deepseek-v2-lite", ("kv_b_proj",)), "kv_b_proj"),
    ],
)
def test_weights_that_have_no_such_pair(adapter: Adapter, said: str, tmp_path: Path) -> None:
    folder, base = write_adapter(tmp_path, adapter)
    refused(folder, base, said)


class Calls:
    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


def test_a_pickle_that_asks_for_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder, base = write_adapter(tmp_path, replace(LLAMA, layout="bin"))
    with zipfile.ZipFile(folder / "adapter_model.bin", "w") as archive:
        archive.writestr("adapter_model/data.pkl", pickle.dumps({"x": Calls()}))
    assert isinstance(refused(folder, base, "system"), UnsafePickle)
    assert not (tmp_path / "pwned").exists()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def a_pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("adapter_config.json", Path.unlink, "has no adapter_config.json"),
        ("adapter_config.json", lambda path: path.write_text("{"), "not readable JSON"),
        ("adapter_config.json", lambda path: path.write_text("[]"), "expected a JSON object"),
        ("adapter_model.safetensors", Path.unlink, "no adapter_model.safetensors and no adapter_model.bin"),
        ("adapter_model.safetensors", cut, "download it again"),
        ("adapter_model.safetensors", a_pointer, "git lfs pull"),
        ("adapter_model.safetensors", a_pipe, "is a pipe"),
        ("README.md", lambda path: path.write_text("---\na: [\n---\n"), "README.md"),
    ],
)
def test_files_that_are_broken(name: str, change: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    folder, base = write_adapter(tmp_path, LLAMA)
    change(folder / name)
    refused(folder, base, said)


def test_a_base_without_config(tmp_path: Path) -> None:
    folder, base = write_adapter(tmp_path, LLAMA)
    (base / "config.json").unlink()
    refused(folder, base, "has no config.json")


def test_types_that_hold_no_weights(tmp_path: Path) -> None:
    folder, base = write_adapter(tmp_path, LLAMA)
    found = {name: np.zeros(values.shape, np.uint8) for name, values in tensors(LLAMA).items()}
    write_safetensors(folder / "adapter_model.safetensors", found, "uint8")
    refused(folder, base, "U8")


def test_an_outtype_that_is_unknown(tmp_path: Path) -> None:
    folder, base = write_adapter(tmp_path, LLAMA)
    with pytest.raises(ConversionError, match="unknown outtype 'q4_0'"):
        convert_lora(folder, base, tmp_path / "x.gguf", "q4_0")
    with pytest.raises(ConversionError, match="is a folder"):
        convert_lora(folder, base, tmp_path)
