"""README.md of a checkpoint: is what stands at its head, as YAML, of a size that can be read?

gguf reads the whole of it with a parser that follows nesting until Python's stack ends and writes out aliases and merge
keys, so that a page can stand for billions of values. What no real card has is refused first.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from converters.checkpoint import MAX_JSON_BYTES, read_text
from converters.errors import CheckpointFileError

MAX_HEAD_CHARACTERS = 1_000_000
MAX_VALUE_CHARACTERS = 100_000
MAX_VALUES, MAX_DEPTH = 100_000, 50


def require_readable_card(folder: Path) -> None:
    """Raise CheckpointFileError where README.md in `folder` is too large, or the YAML at its head stands for too much.

    A card that is not there, or is no YAML, is none of our business here.
    """
    path = folder / "README.md"
    if path.is_file() and path.stat().st_size > MAX_JSON_BYTES:
        raise CheckpointFileError(path, f"is larger than {MAX_JSON_BYTES} bytes, which is not believed")
    if problem := problem_of(_head(read_text(path))):
        raise CheckpointFileError(
            path, f"the YAML at its head {problem}, which no model card needs; shorten or remove it"
        )


def problem_of(text: str) -> str:
    """What is too much in `text`, as YAML; "" where nothing is, or it is no YAML.

    An alias counts as what it stands for.
    """
    if len(text) > MAX_HEAD_CHARACTERS:
        return f"has more than {MAX_HEAD_CHARACTERS} characters"
    sizes: dict[str, int] = {}
    around: list[tuple[str | None, int]] = []
    size = 0
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, yaml.CollectionStartEvent):
                around.append((event.anchor, size))
                size = 1
                if len(around) > MAX_DEPTH:
                    return f"is nested more than {MAX_DEPTH} deep"
            elif isinstance(event, yaml.CollectionEndEvent):
                anchor, outside = around.pop()
                if anchor is not None:
                    sizes[anchor] = size
                size += outside
            elif isinstance(event, yaml.AliasEvent):
                size += sizes.get(event.anchor or "", MAX_VALUES + 1)  # within its own anchor it never ends
            elif isinstance(event, yaml.ScalarEvent):
                size += 1
                if event.anchor is not None:
                    sizes[event.anchor] = 1
                if len(event.value) > MAX_VALUE_CHARACTERS:
                    return f"has a value of more than {MAX_VALUE_CHARACTERS} characters"
            if size > MAX_VALUES:
                return f"stands for more than {MAX_VALUES} values"
    except yaml.YAMLError:
        return ""
    return ""


def _head(card: str) -> str:
    """The lines between the first two lines of ---, as gguf takes them; of a card without an end of them, all."""
    lines = card.splitlines()
    if not lines or lines[0].strip() != "---":
        return ""
    end = next((number for number, line in enumerate(lines[1:], 1) if line == "---"), len(lines))
    return "\n".join(lines[1:end]).replace("\t", "  ")
