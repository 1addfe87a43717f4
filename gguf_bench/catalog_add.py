"""One more entry in a models.yaml, whose every other byte stays as it is: comments, order, spelling.

The lines are put in as text where the file's own nodes say that the group ends. What comes of it is read again before
it gets the file's name: it must hold what was there and the new entry, and nothing else.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from gguf_bench.baselines import BASELINES
from gguf_bench.catalog import BASELINE_GROUP, NAME, Catalog, load_catalog
from gguf_bench.errors import CatalogError
from gguf_bench.paths import written_whole

BY_HAND = "put it there by hand"


def entry_lines(key: str, values: Mapping[str, Any], comment: str = "", indent: int = 2, step: int = 2) -> list[str]:
    """The entry as YAML, `key` `indent` columns in and its keys `step` further; `comment` stands above them."""
    inner = " " * (indent + step)
    return [
        f"{' ' * indent}{_scalar(key)}:",
        *([f"{inner}# {comment}"] if comment else []),
        *(f"{inner}{name}: {_scalar(value)}" for name, value in values.items()),
    ]


def add_entry(path: Path, group: str, key: str, values: Mapping[str, Any], comment: str = "") -> Catalog:
    """Write the entry `key` at the end of `group` into the models.yaml at `path`, and return the file as read again.

    A group that is not there is begun at the file's end. Raises CatalogError, and leaves the file as it is, for a key
    that is there already, a group that only lists keys, and where the entry cannot be put in as lines.
    """
    path = path.resolve()  # a link stays one
    load_catalog(path)  # says what is wrong with it, if anything is
    with _held(path):
        return _added(path, group, key, values, comment)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Nobody else adds to the file meanwhile; who waited for that finds the file that took its place."""
    while True:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                yield
                return


def _added(path: Path, group: str, key: str, values: Mapping[str, Any], comment: str) -> Catalog:
    before = load_catalog(path)
    if key in before.models:
        raise CatalogError("is there already", file=path, model=key, hint="give another --key")
    for what, name in (("key", key), ("group", group)):
        if not NAME.fullmatch(name) or name in (*BASELINES, BASELINE_GROUP):
            raise CatalogError(f"{name!r} is no name for a {what}", hint="use letters, digits, '.', '_' and '-'")
    text = path.read_bytes().decode("utf-8")
    with written_whole(path) as partial:
        shutil.copymode(path, partial)
        partial.write_bytes(_with_entry(path, text, group, key, values, comment).encode("utf-8"))
        after = _read_again(partial, path, group, key, values)
        if {**after.models, key: None} != {**before.models, key: None} or _groups(before, group, key) != after.groups:
            raise CatalogError(f"{key} cannot be put into the group {group!r} as lines", file=path, hint=BY_HAND)
    return after


def _groups(before: Catalog, group: str, key: str) -> dict[str, list[str]]:
    return {**before.groups, group: [*before.groups.get(group, []), key]}


def _read_again(partial: Path, path: Path, group: str, key: str, values: Mapping[str, Any]) -> Catalog:
    """The catalog that was written, as it will be read under its name: what is relative to the file stays so."""
    try:
        after = load_catalog(partial)
    except CatalogError as error:
        raise CatalogError(f"{key} cannot be put into the group {group!r} as lines", file=path, hint=BY_HAND) from error
    spec = after.models.get(key)
    if spec is None or any(getattr(spec, name) != value for name, value in values.items()):
        raise CatalogError(f"what is known of {values.get('name')} does not read back", file=path, hint=BY_HAND)
    return replace(after, path=path)


def _with_entry(path: Path, text: str, group: str, key: str, values: Mapping[str, Any], comment: str) -> str:
    ending = "\r\n" if "\r\n" in text else "\n"
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith(("\n", "\r")):
        lines[-1] += ending
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    if isinstance(root, yaml.MappingNode) and root.flow_style and pairs:
        raise CatalogError("is written in braces", file=path, hint=f"{BY_HAND}, below a group")
    column = pairs[0][0].start_mark.column if pairs else 0
    for name, value in pairs:
        if name.value == group:
            at = _last_line(name, value) + 1
            while not lines[at - 1].strip():  # a block of text ends where something else begins
                at -= 1
            new = entry_lines(key, values, comment, *_indents(path, group, column, value))
            break
    else:
        at = len(lines)
        begun = [" " * column + group + ":"]
        new = (
            ["", *begun, *entry_lines(key, values, comment, column + 2)]
            if lines
            else [*begun, *entry_lines(key, values, comment)]
        )
    return "".join([*lines[:at], *(line + ending for line in new), *lines[at:]])


def _indents(path: Path, group: str, column: int, node: yaml.Node) -> tuple[int, int]:
    """Columns of a new key of the group and, from there, of what is below it: those of the entries that are there."""
    if isinstance(node, yaml.ScalarNode) and not node.value:
        return column + 2, 2
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        indent = node.value[0][0].start_mark.column
        for _, entry in node.value:
            if isinstance(entry, yaml.MappingNode) and not entry.flow_style and entry.value:
                step = entry.value[0][0].start_mark.column - indent
                return indent, step if step > 0 else 2
        return indent, 2
    raise CatalogError(
        f"the group {group!r} only lists keys, or is written in braces", file=path, hint="give another --group"
    )


def _last_line(name: yaml.Node, value: yaml.Node) -> int:
    """The line (from 0) on which the last thing that a group says ends; comments after it are nobody's."""
    return max(_ending(node) for node in (name, *_leaves(value)))


def _leaves(node: yaml.Node) -> Iterator[yaml.Node]:
    """What is written out of a node: names and values; of what stands in braces or brackets its end, too."""
    if isinstance(node, yaml.MappingNode):
        if node.flow_style:
            yield node
        for pair in node.value:
            for part in pair:
                yield from _leaves(part)
    elif isinstance(node, yaml.SequenceNode):
        if node.flow_style:
            yield node
        for item in node.value:
            yield from _leaves(item)
    else:
        yield node


def _ending(node: yaml.Node) -> int:
    """A block of text (`|`) ends at the beginning of the line after it."""
    mark = node.end_mark
    return mark.line - 1 if mark.column == 0 and mark.line > node.start_mark.line else mark.line


def _scalar(value: Any) -> str:
    """`value` as YAML reads it back: plain where that is so, else in quotes."""
    plain = str(value).lower() if isinstance(value, bool) else str(value)
    if not isinstance(value, str):
        return plain
    try:
        reads_back = value.isascii() and yaml.safe_load(f"[{plain}]") == [value]
    except yaml.YAMLError:
        reads_back = False
    return plain if reads_back else json.dumps(value)
