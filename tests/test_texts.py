"""The texts that models are calibrated and measured on: written by the script, and nothing of the scored documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gguf_bench.dataset import load
from gguf_bench.errors import DatasetError
from gguf_bench.texts import CALIBRATION, MEASUREMENT, built_in, of_documents, of_file
from scripts.eps_texts import passages, plain, written

AMOUNT = re.compile(r"\d\.\d|\d,\d{3}")
SCORED = load("eps-v1").documents


def taken() -> set[str]:
    return {passage for document in SCORED for passage in passages(document.text)}


def test_they_are_what_the_script_writes() -> None:
    calibration = written(CALIBRATION, taken())
    assert built_in(CALIBRATION).text == calibration
    assert built_in(MEASUREMENT).text == written(MEASUREMENT, taken() | set(passages(calibration)))


@pytest.mark.parametrize("name", [CALIBRATION, MEASUREMENT])
def test_nothing_of_a_scored_document_is_in_them(name: str) -> None:
    """No company, no sentence, no line with a figure; searched for by other means than they were taken out by."""
    text = plain(built_in(name).text)
    assert not [document.id for document in SCORED if document.company.casefold() in text]
    lines = [line for document in SCORED for line in document.text.splitlines()]
    rows = {plain(line) for line in lines if AMOUNT.search(line)}
    parts = [part for line in lines if line.endswith(".") for part in line.split(". ")]
    sentences = {plain(part) for part in parts if part.count(" ") > 6 and not part[0].islower()}
    assert len(rows) > 5_000
    assert len(sentences) > 3_000
    assert not rows & set(map(plain, built_in(name).text.splitlines()))
    assert not [sentence for sentence in sentences if sentence in text]


def test_the_two_share_nothing() -> None:
    one, other = (set(passages(built_in(name).text)) for name in (CALIBRATION, MEASUREMENT))
    assert len(one & other) < 8, one & other  # what every model is told


def test_they_have_tokens_enough() -> None:
    """llama-imatrix wants a hundred chunks of 512 tokens or so; a token is at most 3.5 characters here."""
    assert len(built_in(CALIBRATION).text) / 3.5 / 512 > 100
    assert len(built_in(MEASUREMENT).text) / 3.5 / 512 > 45


def test_a_file_loses_one_line_feed(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"Two\r\nlines.\n\n")
    assert of_file(path).text == "Two\r\nlines.\n"
    path.write_bytes(b"caf\xe9")
    with pytest.raises(DatasetError, match=r"text\.txt: byte 4 is not UTF-8"):
        of_file(path)


def test_a_dataset_is_the_texts_of_its_documents() -> None:
    text = of_documents("eps-v1", SCORED[:2])
    assert text.text == f"{SCORED[0].text}\n\n{SCORED[1].text}"
    assert text.sha256 != of_documents("eps-v1", SCORED[:1]).sha256
