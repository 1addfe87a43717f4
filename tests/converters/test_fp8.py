"""Weights in 8 bits: their values are PyTorch's to the bit, and other ways to quantize are refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import TensorError, UnsupportedConfig
from converters.fp8 import TABLES, dequantized
from converters.quantization import Scaling, read_scaling, refuse_quantized
from converters.tensor import Array, Tensor

E4M3 = (
    "00003b003b803bc03c003c203c403c603c803c903ca03cb03cc03cd03ce03cf03d003d103d203d303d403d503d603d70"
    "3d803d903da03db03dc03dd03de03df03e003e103e203e303e403e503e603e703e803e903ea03eb03ec03ed03ee03ef0"
    "3f003f103f203f303f403f503f603f703f803f903fa03fb03fc03fd03fe03ff040004010402040304040405040604070"
    "4080409040a040b040c040d040e040f0410041104120413041404150416041704180419041a041b041c041d041e041f0"
    "420042104220423042404250426042704280429042a042b042c042d042e042f043004310432043304340435043604370"
    "4380439043a043b043c043d043e07ff08000bb00bb80bbc0bc00bc20bc40bc60bc80bc90bca0bcb0bcc0bcd0bce0bcf0"
    "bd00bd10bd20bd30bd40bd50bd60bd70bd80bd90bda0bdb0bdc0bdd0bde0bdf0be00be10be20be30be40be50be60be70"
    "be80be90bea0beb0bec0bed0bee0bef0bf00bf10bf20bf30bf40bf50bf60bf70bf80bf90bfa0bfb0bfc0bfd0bfe0bff0"
    "c000c010c020c030c040c050c060c070c080c090c0a0c0b0c0c0c0d0c0e0c0f0c100c110c120c130c140c150c160c170"
    "c180c190c1a0c1b0c1c0c1d0c1e0c1f0c200c210c220c230c240c250c260c270c280c290c2a0c2b0c2c0c2d0c2e0c2f0"
    "c300c310c320c330c340c350c360c370c380c390c3a0c3b0c3c0c3d0c3e0fff0"
)
E5M2 = (
    "0000378038003840388038a038c038e03900392039403960398039a039c039e03a003a203a403a603a803aa03ac03ae0"
    "3b003b203b403b603b803ba03bc03be03c003c203c403c603c803ca03cc03ce03d003d203d403d603d803da03dc03de0"
    "3e003e203e403e603e803ea03ec03ee03f003f203f403f603f803fa03fc03fe04000402040404060408040a040c040e0"
    "4100412041404160418041a041c041e04200422042404260428042a042c042e04300432043404360438043a043c043e0"
    "4400442044404460448044a044c044e04500452045404560458045a045c045e04600462046404660468046a046c046e0"
    "47004720474047607f807fe07fc07fe08000b780b800b840b880b8a0b8c0b8e0b900b920b940b960b980b9a0b9c0b9e0"
    "ba00ba20ba40ba60ba80baa0bac0bae0bb00bb20bb40bb60bb80bba0bbc0bbe0bc00bc20bc40bc60bc80bca0bcc0bce0"
    "bd00bd20bd40bd60bd80bda0bdc0bde0be00be20be40be60be80bea0bec0bee0bf00bf20bf40bf60bf80bfa0bfc0bfe0"
    "c000c020c040c060c080c0a0c0c0c0e0c100c120c140c160c180c1a0c1c0c1e0c200c220c240c260c280c2a0c2c0c2e0"
    "c300c320c340c360c380c3a0c3c0c3e0c400c420c440c460c480c4a0c4c0c4e0c500c520c540c560c580c5a0c5c0c5e0"
    "c600c620c640c660c680c6a0c6c0c6e0c700c720c740c760ff80ffe0ffc0ffe0"
)
"""The upper 16 bits of every code as PyTorch 2.13 widens it to float32; the lower are all 0."""


@pytest.mark.parametrize(("dtype", "halves"), [("F8_E4M3", E4M3), ("F8_E5M2", E5M2)])
def test_all_codes_are_those_of_pytorch(dtype: str, halves: str) -> None:
    expected = np.frombuffer(bytes.fromhex(halves), ">u2").astype("<u4") << 16
    assert np.array_equal(TABLES[dtype].view("<u4"), expected)


def test_exponents_are_those_of_pytorch() -> None:
    bits = TABLES["F8_E8M0"].view("<u4")
    assert [hex(bits[code]) for code in (0, 1, 127, 254, 255)] == [
        "0x400000", "0x800000", "0x3f800000", "0x7f000000", "0x7f800001",
    ]  # fmt: skip
    assert np.array_equal(TABLES["F8_E8M0"][:-1], np.exp2(np.arange(255, dtype="<f8") - 127).astype("<f4"))


def stored(folder: Path, name: str, dtype: str, values: Array) -> Tensor:
    path = folder / name
    path.write_bytes(values.tobytes())
    return Tensor(name, dtype, values.shape, path, 0)


def weight_and_scale(folder: Path, shape: tuple[int, ...], scale: tuple[int, ...]) -> dict[str, Tensor]:
    dice = np.random.default_rng(5)
    codes, scales = dice.integers(0, 256, shape, dtype="u1"), dice.standard_normal(scale).astype("<f4")
    return {
        "first": stored(folder, "first", "BF16", np.zeros(3, "<u2")),
        "w.weight": stored(folder, "w.weight", "F8_E4M3", codes),
        "w.weight_scale_inv": stored(folder, "w.weight_scale_inv", "F32", scales),
        "w.activation_scale": stored(folder, "w.activation_scale", "F32", scales),
        "last": stored(folder, "last", "F8_E5M2", codes),
    }


def fp8(block: list[int] | None = None) -> dict[str, Any]:
    return {"quantization_config": {"quant_method": "fp8", "weight_block_size": block}}


@pytest.mark.parametrize(
    ("shape", "scale", "block", "repeats"),
    [
        ((64, 48), (), None, ()),
        ((64, 48), (1,), None, ()),
        ((64, 48), (64,), None, ()),
        ((64, 48), (64, 1), None, ()),
        ((64, 48), (4, 3), [16, 16], (16, 16)),
        ((60, 50), (4, 4), [16, 16], (16, 16)),
        ((64, 48), (1, 1), [128, 128], (64, 48)),
        ((5, 60, 50), (5, 4, 4), [16, 16], (1, 16, 16)),
        ((5, 60, 50), (5,), None, ()),
    ],
)
def test_values_are_codes_times_the_scales_of_their_blocks(
    tmp_path: Path, shape: tuple[int, ...], scale: tuple[int, ...], block: list[int] | None, repeats: tuple[int, ...]
) -> None:
    tensors = weight_and_scale(tmp_path, shape, scale)
    result = dequantized(tensors, read_scaling(fp8(block)))
    assert list(result) == ["first", "w.weight", "last"]
    scales = tensors["w.weight_scale_inv"].load()
    for axis, times in enumerate(repeats):
        scales = scales.repeat(times, axis)
    scales = scales[tuple(slice(0, size) for size in shape[: scales.ndim])]
    codes = tensors["w.weight"].load()
    expected = TABLES["F8_E4M3"][codes] * scales.reshape(scales.shape + (1,) * (len(shape) - scales.ndim))

    wide = result["w.weight"]
    assert (wide.name, wide.dtype, wide.shape) == ("w.weight", "F32", shape)
    assert np.array_equal(wide.load(), expected, equal_nan=True)
    pieces = [wide.rows(start, start + 7).load() for start in range(0, shape[0], 7)]
    assert np.array_equal(np.concatenate(pieces), expected, equal_nan=True)
    assert np.array_equal(wide.rows(2, 5).rows(1, 9).load(), expected[3:5], equal_nan=True)
    assert np.array_equal(result["last"].load(), TABLES["F8_E5M2"][codes], equal_nan=True)
    assert result["first"] is tensors["first"]


@pytest.mark.parametrize(
    ("shape", "scale", "block"),
    [
        ((64, 48), (63,), None),
        ((64, 48), (48,), None),
        ((64, 48), (64, 1, 1), None),
        ((64, 48), (3, 3), [16, 16]),
        ((64, 48), (4, 2), [16, 16]),
        ((64, 48), (4,), [16, 16]),
        ((64, 48), (), [16, 16]),
        ((64, 48), (1, 4, 3), [16, 16]),
        ((64, 48), (0, 0), [16, 16]),
    ],
)
def test_scales_that_do_not_fit(
    tmp_path: Path, shape: tuple[int, ...], scale: tuple[int, ...], block: list[int] | None
) -> None:
    with pytest.raises(TensorError, match=r"w\.weight_scale_inv: expected scales for w\.weight"):
        dequantized(weight_and_scale(tmp_path, shape, scale), read_scaling(fp8(block)))


def test_scales_without_weights_and_weights_that_are_no_numbers(tmp_path: Path) -> None:
    tensors = weight_and_scale(tmp_path, (4, 4), ())
    alone = {name: tensor for name, tensor in tensors.items() if name != "w.weight"}
    with pytest.raises(TensorError, match=r"expected a tensor w\.weight"):
        dequantized(alone, read_scaling(fp8()))
    numbers = tensors | {"w.weight": stored(tmp_path, "w.weight", "I64", np.zeros((4, 4), "<i8"))}
    with pytest.raises(TensorError, match="found I64"):
        dequantized(numbers, read_scaling(fp8()))


def test_integers_of_compressed_tensors(tmp_path: Path) -> None:
    codes = np.arange(-128, 128, dtype="i1").reshape(2, 128)
    scales = np.array([[0.5], [3.0]], "<f4")
    tensors = {
        "w.weight": stored(tmp_path, "w.weight", "I8", codes),
        "w.weight_scale": stored(tmp_path, "w.weight_scale", "F32", scales),
    }
    result = dequantized(tensors, read_scaling(compressed()))
    assert np.array_equal(result["w.weight"].load(), codes * scales)


def compressed(form: Any = "int-quantized", **weights: Any) -> dict[str, Any]:
    weights = {"strategy": "channel", "group_size": None, "type": "int", "num_bits": 8, **weights}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    return {"quantization_config": {"quant_method": "compressed-tensors", "format": form, "config_groups": groups}}


def test_what_is_turned_back() -> None:
    assert read_scaling({}) is read_scaling({"quantization_config": None}) is None
    assert read_scaling({"model_type": "gpt_oss", "quantization_config": {"quant_method": "mxfp4"}}) is None
    unused = (".activation_scale", "_activation_scale")
    assert read_scaling(fp8([128, 128])) == Scaling("_scale_inv", "_scale_inv", (128, 128), unused)
    assert read_scaling(compressed("float-quantized")) == Scaling(".weight_scale", "_scale")
    blocks = compressed("float-quantized", strategy="block", block_structure=[128, 128])
    assert read_scaling(blocks) == Scaling(".weight_scale", "_scale", (128, 128))


def method(name: Any, **more: Any) -> dict[str, Any]:
    return {"quantization_config": {"quant_method": name}, **more}


NESTED: list[Any] = []
for _ in range(60):
    NESTED = [NESTED, NESTED]


@pytest.mark.parametrize(
    ("config", "word"),
    [
        *[
            (method(name), f"'{name}'")
            for name in ("awq", "gptq", "bitsandbytes", "hqq", "aqlm", "eetq", "torchao", "modelopt", "bitnet", "mxfp4")
        ],
        (method("mxfp4", model_type="llama"), "'mxfp4'"),
        ({"quantization_config": {"load_in_4bit": True}}, "'bitsandbytes'"),
        ({"quantization_config": "awq"}, "an object is needed"),
        ({"quantization_config": NESTED}, "an object is needed"),
        (method(NESTED), "a list"),
        (fp8([128, 0]), "weight_block_size"),
        (fp8([128.0, 128]), "weight_block_size"),  # type: ignore[list-item]
        (fp8("128x128"), "weight_block_size"),  # type: ignore[arg-type]
        (compressed("pack-quantized"), "pack-quantized"),
        (compressed("nvfp4-pack-quantized"), "nvfp4-pack-quantized"),
        (compressed(None), "formats float-quantized"),
        (compressed(strategy="tensor"), "'tensor'"),
        (compressed(group_size=128), "group_size"),
        (compressed(block_structure="128x128"), "block_structure"),
        (method("compressed-tensors", quantization_config={"quant_method": "compressed-tensors"}), "formats"),
        (
            {"quantization_config": {"quant_method": "compressed-tensors", "format": "int-quantized"}},
            "config_groups",
        ),
    ],
)
def test_other_methods_are_refused_by_name(config: Mapping[str, Any], word: str) -> None:
    with pytest.raises(UnsupportedConfig) as caught:
        refuse_quantized(config)
    assert word in str(caught.value)
    assert str(caught.value).endswith("convert the unquantized checkpoint it was made from")
    assert caught.value.key.startswith("quantization_config")


@pytest.mark.parametrize(
    ("folder", "card", "path", "way_out"),
    [
        ("Mistral-AWQ", "base_model: mistralai/Mistral-7B-v0.3", None, "made from, mistralai/Mistral-7B-v0.3 (base_m"),
        ("x", "base_model:\n- a/B-GPTQ\n- a/B", "other/X", "made from, a/B (base_model in README.md)"),
        ("x", "license: mit", "Qwen/Qwen2.5-7B-Instruct", "made from, Qwen/Qwen2.5-7B-Instruct (_name_or_path"),
        ("x", "base_model: [", "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "probably Qwen/Qwen2.5-7B-Instruct"),
        ("Llama-3.2-1B-bnb-4bit", "", None, "by its name probably Llama-3.2-1B"),
        ("Qwen3-8B-AWQ", "base_model: {a: b}", "/data/models/x y", "by its name probably Qwen3-8B"),
        ("Meta-Llama-3.1-8B-quantized.w4a16", "base_model: 7", 7, "by its name probably Meta-Llama-3.1-8B"),
        ("Phi-3-mini-int4-awq", "base_model: not an id", None, "by its name probably Phi-3-mini"),
        ("Intel-Model-4bits", "", "", "by its name probably Intel-Model"),
        ("Marlinda-7B", "", None, "convert the unquantized checkpoint it was made from"),
        ("-AWQ", "", "\x1b[2J/evil", "convert the unquantized checkpoint it was made from"),
    ],
)
def test_the_way_out_names_the_unquantized_checkpoint(
    tmp_path: Path, folder: str, card: str, path: Any, way_out: str
) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "README.md").write_text(f"---\n{card}\n---\n# A model\n")
    with pytest.raises(UnsupportedConfig) as caught:
        refuse_quantized(method("awq", _name_or_path=path), tmp_path / folder)
    assert way_out in str(caught.value)


def test_a_card_that_cannot_be_read_costs_nothing_but_the_name(tmp_path: Path) -> None:
    for content in (b"\xff\xfe", b"---\n" + b"[" * 100_000 + b"\n---\n", b"---\na: &a [*a]\nbase_model: *a\n---\n"):
        (tmp_path / "README.md").write_bytes(content)
        with pytest.raises(UnsupportedConfig, match=r"it was made from$"):
            refuse_quantized(method("awq"), tmp_path)
