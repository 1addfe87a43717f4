"""A new entry stands in models.yaml, and every other byte is as it was."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gguf_bench.catalog import load_catalog
from gguf_bench.catalog_add import add_entry
from gguf_bench.errors import CatalogError

KEPT_BLANKS = "a:\n  one:\n    name: org/one\n    template_kwargs:\n      chat_template: |+\n        x\n\n\nb: []\n"
"""Empty lines that belong to a value: an entry above them would take them away."""

VALUES = {"name": "acme/tiny-1", "parameters": "135M", "context": 2048, "license": "apache-2.0", "gated": True}
ENTRY = """\
  tiny:
    name: acme/tiny-1
    parameters: 135M
    context: 2048
    license: apache-2.0
    gated: true
"""
REST = """\
# What we test.   Odd  spacing stays.

first:   # the first group
  one:
    name: 'org/one'   # quoted

    display_name: "One"
    # what comes below belongs to nobody
  # nor does this
second: [one]
third:
      two: {name: org/two, template_kwargs: {a: 1,
        b: [1, 2]}}
      three:
           name: org/three
           template_kwargs:
             chat_template: |
               line one

               line three

# the end
"""


def added(tmp_path: Path, text: str, group: str, key: str = "tiny") -> str:
    path = tmp_path / "models.yaml"
    path.write_bytes(text.encode())
    catalog = add_entry(path, group, key, VALUES)
    assert catalog == load_catalog(path)
    assert catalog.groups[group][-1] == key
    return path.read_bytes().decode()


def test_it_is_put_at_the_end_of_its_group(tmp_path: Path) -> None:
    head, tail = REST[: REST.index("    # what comes")], REST[REST.index("    # what comes") :]
    assert added(tmp_path, REST, "first") == head + ENTRY + tail


def test_it_is_indented_as_its_neighbours_are(tmp_path: Path) -> None:
    text = added(tmp_path, REST, "third")
    after = "line three\n"
    head, tail = REST[: REST.index(after) + len(after)], REST[REST.index(after) + len(after) :]
    entry = "".join(
        f"{' ' * (6 if number == 0 else 11)}{line.strip()}\n" for number, line in enumerate(ENTRY.splitlines())
    )
    assert text == head + entry + tail


def test_a_new_group_is_begun_at_the_end(tmp_path: Path) -> None:
    assert added(tmp_path, REST, "mine") == REST + "\nmine:\n" + ENTRY
    assert added(tmp_path, "", "mine") == "mine:\n" + ENTRY
    assert added(tmp_path, "# nothing yet\n", "mine") == "# nothing yet\n\nmine:\n" + ENTRY
    assert added(tmp_path, "mine:\n\nnext: []\n", "mine") == "mine:\n" + ENTRY + "\nnext: []\n"


def test_the_end_of_a_file_without_one_is_added(tmp_path: Path) -> None:
    start = "mine:\n  one:\n    name: org/one"
    assert added(tmp_path, start, "mine") == start + "\n" + ENTRY


def test_line_ends_of_windows_stay(tmp_path: Path) -> None:
    start = "mine:\r\n  one:\r\n    name: org/one\r\n"
    assert added(tmp_path, start, "mine") == start + ENTRY.replace("\n", "\r\n")


def test_an_alias_does_not_lead_it_astray(tmp_path: Path) -> None:
    start = "a:\n  one: &one\n    name: org/one\nb:\n  one: *one\n  two: {name: org/two}\nc: []\n"
    assert added(tmp_path, start, "b") == start.replace("c: []\n", ENTRY + "c: []\n")


@pytest.mark.parametrize("key", ["1", "no", "null", "0x1f", "1_000"])
def test_a_key_that_looks_like_something_else_is_quoted(tmp_path: Path, key: str) -> None:
    assert f'  "{key}":\n' in added(tmp_path, REST, "first", key)


@pytest.mark.parametrize("file", ["m[Q4_K_M].gguf", "{m}-Q4_0.gguf", "a]b-Q5_0.gguf", "it's: a #file.gguf", "ä.gguf"])
def test_a_name_that_yaml_would_read_otherwise_is_quoted(tmp_path: Path, file: str) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(REST)
    after = add_entry(path, "first", "tiny", {"name": "org/tiny", "file": file})
    assert after.models["tiny"].file == file


@pytest.mark.parametrize(
    ("text", "group", "key", "said"),
    [
        (REST, "first", "one", "model 'one': is there already; give another --key"),
        (REST, "second", "tiny", "only lists keys, or is written in braces; give another --group"),
        ("{a: {one: {name: org/one}}}\n", "a", "tiny", "is written in braces"),
        ("a: {one: {name: org/one}}\n", "a", "tiny", "only lists keys, or is written in braces"),
        ("a:\n  one:\n    name: org/one\n...\n", "b", "tiny", "cannot be put into the group 'b' as lines; put it"),
        (KEPT_BLANKS, "a", "tiny", "cannot be put into the group 'a' as lines"),
        ("a:\n  one: {}\n", "a", "tiny", "model 'one', key 'name': missing"),
        (REST, "first", "baseline_null", "is no name for a key"),
        (REST, "baselines", "tiny", "is no name for a group"),
        (REST, "fi rst", "tiny", "is no name for a group"),
        (REST, "first", "a: b", "is no name for a key"),
    ],
)
def test_what_cannot_be_leaves_the_file_as_it_is(tmp_path: Path, text: str, group: str, key: str, said: str) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(text)
    with pytest.raises(CatalogError) as caught:
        add_entry(path, group, key, VALUES)
    assert said in str(caught.value)
    assert path.read_text() == text
    assert os.listdir(tmp_path) == ["models.yaml"]  # noqa: PTH208


def test_several_at_once_all_get_in(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(REST)
    add = "import sys; from pathlib import Path; from gguf_bench.catalog_add import add_entry; sys.stdin.read();"
    add += "add_entry(Path(sys.argv[1]), 'first', sys.argv[2], {'name': 'org/' + sys.argv[2]})"
    names = [f"n{number}" for number in range(6)]
    adding = [subprocess.Popen([sys.executable, "-c", add, str(path), name], stdin=subprocess.PIPE) for name in names]
    time.sleep(1)  # all have imported what they need, and begin together
    for process in adding:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait(60) for process in adding] == [0] * 6
    assert load_catalog(path).models.keys() >= set(names)


def test_mode_and_link_stay(tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text(REST)
    real.chmod(0o640)
    (tmp_path / "models.yaml").symlink_to(real)
    add_entry(tmp_path / "models.yaml", "first", "tiny", VALUES)
    assert (tmp_path / "models.yaml").is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert "tiny" in load_catalog(real).models


def test_the_shipped_one_can_be_added_to(tmp_path: Path) -> None:
    shipped = (Path(__file__).parent.parent / "models.yaml").read_text()
    for group in ("embedded_models", "small_models", "stock_models", "finance_tuned_models", "mine"):
        text = added(tmp_path, shipped, group)
        assert text.replace(ENTRY, "").replace("\nmine:\n", "") == shipped
