"""Every family's table is of a form that the converter carries out to the last word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from converters import ARCHITECTURES
from converters.architecture import Weight

ROWS = [
    (name, pattern, rows if isinstance(rows, tuple) else (rows,))
    for name, family in ARCHITECTURES.items()
    for pattern, rows in family.tensors.items()
]


def test_stacked_tensors_are_all_there_and_have_no_biases() -> None:
    """Else a part of a stack could be missing, and the rest be left out without a word."""
    stacked = [(name, pattern, rows) for name, pattern, rows in ROWS if "{x}" in pattern]
    assert len(stacked) > 20
    assert [
        (name, pattern)
        for name, pattern, rows in stacked
        if len(rows) > 1 or rows[0].optional or rows[0].absent_if or rows[0].bias
    ] == []


def test_the_first_of_several_rows_speaks_for_all() -> None:
    several = [(name, pattern, rows) for name, pattern, rows in ROWS if len(rows) > 1]
    assert len(several) > 5
    for name, pattern, (first, *others) in several:
        assert not first.bias, (name, pattern)
        for row in others:
            about_the_source = replace(
                row, gguf_name=first.gguf_name, arrange=first.arrange, out=first.out, when=row.when or first.when
            )
            assert about_the_source == first, (name, pattern)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_layers_tensors_have_the_layers_number(name: str) -> None:
    for pattern, rows in ARCHITECTURES[name].tensors.items():
        for row in (rows,) if isinstance(rows, Weight) else rows:
            assert ("{i}" in pattern) is ("{i}" in row.gguf_name), pattern
            assert "{x}" not in row.gguf_name


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_family_says_all_that_is_needed(name: str) -> None:
    family = ARCHITECTURES[name]
    assert family.model_types, "transformers' defaults depend on it"
    assert family.example.count("/") == 1
    assert not (family.expects.keys() & family.presumes.keys())
