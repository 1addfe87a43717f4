"""The table of quantizations against llama.cpp's own enum, and the ways to spell a type."""

from __future__ import annotations

import json

import llama_cpp
import pytest
from click.testing import CliRunner

from gguf_bench.cli.commands import cli
from gguf_bench.errors import QuantizeError
from gguf_bench.quants import ALIASES, GROUPS, QUANTS, aliases, quant


def llama_cpp_file_types() -> dict[str, int]:
    """Name → number of every file type that llama.cpp's header declares, as llama-quantize spells it."""
    prefixes = ("LLAMA_FTYPE_MOSTLY_", "LLAMA_FTYPE_ALL_")
    return {
        name.removeprefix(prefix): number
        for name, number in vars(llama_cpp).items()
        for prefix in prefixes
        if name.startswith(prefix)
    }


def test_names_and_numbers_are_llama_cpps() -> None:
    """Every declared type has its row, but NVFP4: files of it exist, llama.cpp refuses to write it."""
    declared = llama_cpp_file_types()
    assert declared.pop("NVFP4") == 39
    assert {name: row.file_type for name, row in QUANTS.items()} == declared


def test_groups_are_of_the_types_they_are_called_after() -> None:
    """`--list` shows a group of them at a time; each type is in one."""
    assert {row.group for row in QUANTS.values()} == set(GROUPS)
    assert {name for name, row in QUANTS.items() if row.group == "k"} == {name for name in QUANTS if "_K" in name}
    assert {name for name, row in QUANTS.items() if row.group == "i"} == {name for name in QUANTS if name[0] == "I"}
    assert {name for name, row in QUANTS.items() if row.group == "float"} == {"F32", "F16", "BF16"}


def test_the_list_has_a_line_for_each_type() -> None:
    """At 80 columns nothing is wrapped: name, aliases, bits, whether an imatrix is needed, what it is for."""
    lines = CliRunner().invoke(cli, ["quantize", "--list"], env={"COLUMNS": "80"}).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for name, row in QUANTS.items():
        (line,) = (line.strip() for line in lines if line.split()[:1] == [name] and row.description in line)
        assert f"{row.bits_per_weight:.2f}" in line
        assert ("needed" in line) == row.needs_imatrix
        assert all(alias.lower() in line for alias in aliases(name))
    (q4,) = (
        row
        for row in json.loads(CliRunner().invoke(cli, ["quantize", "--list", "--json"]).stdout)
        if "4BIT" in row["aliases"]
    )
    assert (q4["name"], q4["group"], q4["needs_imatrix"]) == ("Q4_K_M", "k", False)


def test_rows_run_from_most_to_fewest_bits() -> None:
    bits = [row.bits_per_weight for row in QUANTS.values()]
    assert bits == sorted(bits, reverse=True)


def test_types_that_need_an_imatrix() -> None:
    assert {name for name, row in QUANTS.items() if row.needs_imatrix} == {
        "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "Q2_K_S",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Q4_K_M", "Q4_K_M"),
        ("q4_k_m", "Q4_K_M"),
        (" q8_0 ", "Q8_0"),
        ("4bit", "Q4_K_M"),
        ("8bit", "Q8_0"),
        ("8BIT", "Q8_0"),
        ("Q3_K", "Q3_K_M"),
        ("Q4_K", "Q4_K_M"),
        ("q5_k", "Q5_K_M"),
        ("bf16", "BF16"),
    ],
)
def test_spellings(text: str, name: str) -> None:
    assert quant(text).name == name


def test_aliases_name_real_types_and_hide_none() -> None:
    assert set(ALIASES.values()) <= set(QUANTS)
    assert not set(ALIASES) & set(QUANTS)


def test_an_unknown_type_is_refused_with_names_like_it() -> None:
    with pytest.raises(QuantizeError, match=r"unknown quantization 'Q4_KM'; did you mean Q4_K_M\b"):
        quant("Q4_KM")


def test_an_unknown_type_unlike_any_is_refused_with_all_names() -> None:
    with pytest.raises(QuantizeError, match=r"known: F32, BF16, .*Q4_K_M"):
        quant("int4-awq")


def test_a_number_is_no_name() -> None:
    """llama-quantize also takes file-type numbers; here `-q 2` is more likely a mistake than Q4_0."""
    with pytest.raises(QuantizeError):
        quant("2")
