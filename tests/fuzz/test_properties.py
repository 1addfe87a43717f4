"""What holds for every text of a kind, whichever hypothesis comes up with; it shrinks what fails to its core.

`make fuzz` tries 10,000 of each (FUZZ_INPUTS).
"""

from __future__ import annotations

import json
import os
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from gguf_bench import dataset
from gguf_bench.catalog import find_mistakes, load_catalog
from gguf_bench.errors import CatalogError, DatasetError
from gguf_bench.records import FIELDS
from gguf_bench.score import parse

settings.register_profile(
    "ours",
    max_examples=int(os.environ.get("FUZZ_INPUTS", "60")),
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("ours")

figures = some.decimals(min_value=-999, max_value=999, places=2) | some.none()
words = some.text(some.characters(exclude_categories=("Cs",)), max_size=30)
plain = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | words,
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@given(some.tuples(figures, figures, figures), words)
def test_an_answer_that_is_written_as_asked_is_read(values: tuple[Decimal | None, ...], before: str) -> None:
    written = ", ".join(
        f'"{name}": {"null" if value is None else value}' for name, value in zip(FIELDS, values, strict=True)
    )
    found = parse("{" + written + "}")
    assert found == dict(zip(FIELDS, values, strict=True))
    parse(before + "{" + written)  # whatever comes of that


@given(plain)
def test_an_answer_of_any_json_is_read_or_not(value: Any) -> None:
    found = parse(json.dumps(value))
    assert found is None or list(found) == list(FIELDS)


def loaded(line: str) -> dataset.Dataset | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.jsonl"
        path.write_text(line, encoding="utf-8")
        try:
            return dataset.load(str(path))
        except DatasetError as error:
            said = str(error)
    assert said.isprintable()
    return None


def is_text(text: str) -> bool:
    return bool(text.strip())


@given(
    some.fixed_dictionaries(
        {
            "id": words.filter(lambda text: is_text(text) and text.isprintable()),
            "company": words.filter(is_text),
            "period": words | some.none(),
            "text": words.filter(is_text),
            "gold": some.tuples(figures, figures, figures).map(
                lambda three: dict(zip(FIELDS, [None if each is None else str(each) for each in three], strict=True))
            ),
        },
        optional={"tags": some.lists(words, max_size=3), "more": plain},
    )
)
def test_a_sound_document_is_read_as_it_is(record: dict[str, Any]) -> None:
    found = loaded(json.dumps(record))
    if found is None:  # `more` is anything: NaN, a name that stands twice once it is JSON
        assert loaded(json.dumps({key: value for key, value in record.items() if key != "more"})) is not None
        return
    (document,) = found.documents
    assert (document.id, document.text, document.company) == (record["id"], record["text"], record["company"])
    assert {name: None if value is None else str(value) for name, value in document.gold.items()} == record["gold"]


@given(plain)
def test_a_document_of_any_json_is_read_or_refused(value: Any) -> None:
    loaded(json.dumps(value))


@given(
    some.dictionaries(some.sampled_from(["a", "b"]), some.dictionaries(some.sampled_from(["m", "n"]), plain)) | plain
)
def test_a_models_yaml_of_any_values_loads_or_tells_its_mistakes(value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "models.yaml"
        path.write_text(yaml.safe_dump(value), encoding="utf-8")
        mistakes = find_mistakes(path)
        assert all(str(mistake).isprintable() for mistake in mistakes)
        try:
            load_catalog(path)
        except CatalogError:
            assert mistakes
        else:
            assert not mistakes
