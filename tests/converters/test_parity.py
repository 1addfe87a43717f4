"""Each tiny checkpoint becomes the bytes that llama.cpp's converter made of it (recorded by scripts/parity.py)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from zlib import crc32

import pytest

from converters import ARCHITECTURES, convert, inspect_checkpoint, resolve_outtype
from tests.converters.cases import read_cases, write_case
from tests.converters.variants import HERE, VARIANTS, write_checkpoint

GOLDEN: dict[str, dict[str, str]] = json.loads((HERE / "golden.json").read_text(encoding="utf-8"))

CASES = read_cases()
CONVERTED = [name for name, case in CASES.items() if "sums" in case.noted and case.architecture in ARCHITECTURES]
NOT_CONVERTED = {"MptForCausalLM", "QWenLMHeadModel"}
"""Families that the reference cannot convert either, as transformers saves them or without code from the Hub."""


def test_every_variant_is_recorded() -> None:
    assert {name: set(sums) for name, sums in GOLDEN.items()} == {
        name: set(variant.outtypes) for name, variant in VARIANTS.items()
    }


@pytest.mark.parametrize("name", VARIANTS)
def test_same_bytes_as_the_reference(name: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, VARIANTS[name])
    made = {}
    for outtype in VARIANTS[name].outtypes:
        path = convert(folder, tmp_path / f"{outtype}.gguf", outtype, warn=lambda line: None)
        made[outtype] = hashlib.sha256(path.read_bytes()).hexdigest()
    assert made == GOLDEN[name]


def test_every_case_is_recorded() -> None:
    """Each with what the reference made of it, for each outtype; or with its error."""
    assert len(CASES) > 100
    for case in CASES.values():
        assert "fails" in case.noted or set(case.noted["sums"]) == set(case.outtypes), case.name


def test_every_family_of_the_cases_is_converted() -> None:
    assert {case.architecture for case in CASES.values()} - set(ARCHITECTURES) <= NOT_CONVERTED


@pytest.mark.parametrize("name", CONVERTED)
def test_every_family_to_the_same_bytes_as_the_reference(name: str, tmp_path: Path) -> None:
    """All outtypes where the vocabulary is small, else one, which differs from case to case: `make parity` has all."""
    case = CASES[name]
    one = case.outtypes[crc32(name.encode()) % len(case.outtypes)]
    outtypes = case.outtypes if case.tokenizer != "bpe" else (one,)
    folder = write_case(tmp_path, case)
    for outtype in outtypes:
        path = convert(folder, tmp_path / f"{outtype}.gguf", outtype, warn=lambda line: None)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == case.noted["sums"][outtype], outtype


def test_checkpoints_written_twice_are_the_same(tmp_path: Path) -> None:
    """Else a golden sum would say nothing."""
    one, two = (write_checkpoint(tmp_path / str(i), VARIANTS["bin parts"]) for i in range(2))
    assert {p.name: p.read_bytes() for p in one.iterdir() if p.suffix == ".json"} == {
        p.name: p.read_bytes() for p in two.iterdir() if p.suffix == ".json"
    }
    sums = [hashlib.sha256(convert(f, tmp_path / f"{i}.gguf").read_bytes()).digest() for i, f in enumerate((one, two))]
    assert sums[0] == sums[1]


@pytest.mark.parametrize(
    ("name", "outtype"), [("grouped queries", "bf16"), ("float16", "f16"), ("float32", "f16"), ("float64", "f16")]
)
def test_auto_is_the_type_of_the_weights(name: str, outtype: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, VARIANTS[name])
    assert resolve_outtype(folder, "auto") == outtype
    assert convert(folder, tmp_path / "auto.gguf", "auto").read_bytes() == (
        convert(folder, tmp_path / "named.gguf", outtype).read_bytes()
    )


def test_inspection_needs_no_weights(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, VARIANTS["byte-level BPE"])
    (folder / "model.safetensors").unlink()
    summary = inspect_checkpoint(folder)
    assert (summary.architecture, summary.gguf_architecture) == ("LlamaForCausalLM", "llama")
    assert (summary.tokenizer, summary.pre_tokenizer) == ("gpt2", "smollm")
    assert (summary.vocab_size, summary.n_layers, summary.context_train) == (49152, 2, 512)


def test_links_as_in_a_hub_cache_are_followed(tmp_path: Path) -> None:
    blobs = write_checkpoint(tmp_path / "blobs", VARIANTS["indexed parts"])
    links = tmp_path / "links" / blobs.name
    links.mkdir(parents=True)
    for file in blobs.iterdir():
        (links / file.name).symlink_to(file)
    path = convert(links, tmp_path / "out.gguf")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == GOLDEN["indexed parts"]["f16"]


def test_progress_counts_up_to_all_bytes(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, VARIANTS["grouped queries"])
    seen: list[tuple[int, int]] = []
    path = convert(folder, tmp_path / "out.gguf", progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] <= path.stat().st_size
    assert len({total for _, total in seen}) == 1
