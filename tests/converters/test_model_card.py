"""README.md of a checkpoint, which anybody may have written: what stands at its head costs no more than it is long."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from converters import convert
from converters.errors import CheckpointFileError, ConversionError
from converters.model_card import MAX_DEPTH, MAX_VALUES, problem_of
from converters.quantization import _base_models
from tests.converters.variants import Variant, write_checkpoint

SMALL = Variant({"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "vocab_size": 310})


def doubled(levels: int, of: str) -> str:
    """YAML whose last value stands for ten times as much as the one before, and so on."""
    return "\n".join(
        ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} " + of % ", ".join([f"*a{n - 1}"] * 10) for n in range(1, levels))]
    )


BOMBS = {
    "aliases": (doubled(12, "[%s]"), "stands for more"),
    "merge keys": (doubled(12, "{<<: [%s]}"), "stands for more"),
    "an alias in itself": ("tags: &a [*a]", "stands for more"),
    "brackets": ("tags: " + "[" * 20_000, "nested more than"),
    "lines further and further in": ("".join(" " * n + "a:\n" for n in range(MAX_DEPTH + 2)), "nested more than"),
    "many values": ("tags: [" + "a, " * MAX_VALUES + "]", "stands for more"),
    "a long number": ("version: 1" + ":59" * 100_000, "has a value of more than"),
    "a long page": ("a: b\n" * 300_000, "has more than"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_card_that_stands_for_too_much_is_refused(bomb: str, tmp_path: Path) -> None:
    yaml, said = BOMBS[bomb]
    folder = write_checkpoint(tmp_path, SMALL)
    (folder / "README.md").write_text(f"---\n{yaml}\n---\n# A model\n")
    start = time.process_time()
    with pytest.raises(CheckpointFileError, match=said) as caught:
        convert(folder, tmp_path / "x.gguf", "f16")
    assert "\n" not in str(caught.value)
    assert list(_base_models(folder)) == []
    assert time.process_time() - start < 20


def test_a_number_beyond_what_python_has_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, SMALL)
    (folder / "README.md").write_text("---\nversion: 1" + ":59" * 1000 + ".5\n---\n")
    with pytest.raises(ConversionError, match=r"README\.md"):
        convert(folder, tmp_path / "x.gguf", "f16")


@pytest.mark.parametrize("name", ["README.md", "generation_config.json"])
def test_a_page_without_end_is_not_read(name: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, SMALL)
    with (folder / name).open("wb") as file:
        file.write(b"---\n")
        file.truncate(3 << 30)
    with pytest.raises(CheckpointFileError, match="not believed"):
        convert(folder, tmp_path / "x.gguf", "f16")


@pytest.mark.parametrize("card", ["license: mit\ntags: [a, b]", "a: &a [x]\nb: [*a, *a]", "no: [yaml", "\tx: y", ""])
def test_what_real_cards_have_is_read(card: str) -> None:
    assert problem_of(card) == ""
