"""Texts that models are calibrated and measured on, as opposed to the documents they are scored on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gguf_bench.errors import DatasetError
from gguf_bench.records import Document

FOLDER = Path(__file__).parent / "texts"
CALIBRATION, MEASUREMENT = "eps-calibration-v1", "eps-measurement-v1"
"""Texts of the EPS domain that come with the package, made by scripts/eps_texts.py: for importance matrices, and for
divergence and perplexity. They are of other companies than each other and than the datasets."""


@dataclass(frozen=True)
class Text:
    """A text and what it is called in the files that are made by it."""

    name: str
    text: str

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def built_in(name: str) -> Text:
    """One of the texts of the package."""
    return Text(name, (FOLDER / f"{name}.txt").read_text(encoding="utf-8"))


def of_file(path: Path) -> Text:
    """A file of UTF-8. One line feed at its end is left out, as llama.cpp's tools do. Raises DatasetError."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror or error}", file=path) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"byte {error.start + 1} is not UTF-8", file=path, hint="save it as UTF-8") from error
    return Text(str(path), text.removesuffix("\n"))


def of_documents(name: str, documents: Iterable[Document]) -> Text:
    """The texts of a dataset's documents, one after the other."""
    return Text(name, "\n\n".join(document.text for document in documents))
