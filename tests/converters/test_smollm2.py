"""The real SmolLM2, at its full size, becomes the bytes that llama.cpp's converter made of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from converters import convert
from tests.smollm2 import find_smollm2_gguf, write_smollm2_checkpoint

GOLDEN = {
    "f32": "db7dfcbbbc9355570101e1c53e6e05d24a0835c0fcf83e3606fe5a2ff4dd24c4",
    "f16": "b2e5f5f1540048828531484dab839bf6e93332b5a532c8a8cb32550b5bd81c6a",
    "bf16": "735c5ca88f814d73974d47321b86c570c0504edf33d346f514e3861aee5a7d26",
    "q8_0": "ed18463fb5aacf04d7773f6e87419668addc58fb894fc7e88c50e16d46eaa4a0",
    "auto": "735c5ca88f814d73974d47321b86c570c0504edf33d346f514e3861aee5a7d26",
}


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_smollm2_checkpoint(tmp_path_factory.mktemp("hub") / "SmolLM2-135M-Instruct", find_smollm2_gguf())


@pytest.mark.model
@pytest.mark.parametrize("outtype", GOLDEN)
def test_same_bytes_as_the_reference(smollm2: Path, outtype: str, tmp_path: Path) -> None:
    path = convert(smollm2, tmp_path / "out.gguf", outtype)
    with path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == GOLDEN[outtype]
