"""The page of commands: every command that is shown has its section, whatever its depth."""

from __future__ import annotations

import click

from converters import ARCHITECTURES
from scripts.docs import architectures, documented


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def tool() -> None:
    """Does things, said in a sentence so long that a narrow terminal breaks it, and a wide one leaves it whole."""


@tool.group()
def inner() -> None:
    """Does inner things."""


@inner.command()
@click.argument("what")
def deep(what: str) -> None:
    """Does a deep thing."""


@tool.command(hidden=True)
def secret() -> None:
    """Is not shown."""


def test_every_shown_command_has_a_section() -> None:
    page = documented(tool, "tool")
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        "## tool",
        "## tool inner",
        "## tool inner deep",
    ]
    assert "Usage: tool inner deep [OPTIONS] WHAT" in page
    assert "Does a deep thing." in page
    assert page.count("-h, --help") == 3
    assert "secret" not in page


def test_it_does_not_depend_on_the_terminal(monkeypatch) -> None:
    pages = set()
    for columns in ("40", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        pages.add(documented(tool, "tool"))
    assert len(pages) == 1


def test_every_family_has_a_row() -> None:
    page = architectures(ARCHITECTURES)
    assert page.count("\n| ") == len(ARCHITECTURES) + 1
    assert "| LlamaForCausalLM | llama | HuggingFaceTB/SmolLM2-135M-Instruct |" in page
