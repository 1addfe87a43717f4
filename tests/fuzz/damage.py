"""What a bad disk, a bad line or a bad person does to a file: changes of bytes, of JSON, of archives, by the dice."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import zipfile
from typing import Any


def _deep(n: int) -> Any:
    value: Any = []
    for _ in range(n):
        value = [value]
    return value


ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 255, 2**31 - 1, 2**31, 2**32, 2**63, 2**64, 10**400, 0.0, -0.0, 0.5, 1e-320,
    1e308, float("nan"), float("inf"), "", "a", "1", "-1", "None", "true", "a" * 10_000, "a\nb", "\x1b[2J", "a\0b",
    "\ud800", "../x", "/dev/zero", "<s>", "\u2581", [], [[]], {}, [None], [0], {"": 0}, {"a": {}}, {"content": "x"},
    _deep(200), ["a"] * 1000,
)  # fmt: skip


def damage_bytes(data: bytes, dice: random.Random) -> tuple[str, bytes]:
    """One or a few changes as a bad disk, a bad line or a bad person makes them."""
    how = dice.choice(("flip", "set", "cut", "insert", "delete", "swap", "repeat", "digits", "append"))
    place = dice.randrange(len(data) + 1)
    size = dice.choice((1, 2, 4, 8, 30, 100, 1000))
    if not data:
        return "insert", dice.randbytes(size)
    if how == "flip":
        changed = bytearray(data)
        for _ in range(dice.choice((1, 1, 2, 8))):
            changed[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        return how, bytes(changed)
    if how == "set":
        return how, data[:place] + dice.choice((b"\0", b"\xff", dice.randbytes(1))) * size + data[place + size :]
    if how == "cut":
        return how, data[:place]
    if how == "insert":
        return how, data[:place] + dice.randbytes(size) + data[place:]
    if how == "delete":
        return how, data[:place] + data[place + size :]
    if how == "swap":
        a, b = sorted((place, dice.randrange(len(data) + 1)))
        return how, data[:a] + data[b : b + size] + data[a + size : b] + data[a : a + size] + data[b + size :]
    if how == "repeat":
        return how, data[:place] + data[max(0, place - size) : place] * 20 + data[place:]
    if how == "digits":
        digits = [i for i, byte in enumerate(data) if 48 <= byte < 58]
        at = dice.choice(digits or [0])
        return how, data[:at] + str(dice.choice((-1, 0, 9, 10**6, 2**63, 10**30))).encode() + data[at + 1 :]
    return how, data + dice.randbytes(size)


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value; of long lists only the ends."""
    if isinstance(value, dict):
        keys = list(value)
    else:
        keys = sorted({0, 1, 2, len(value) - 1} & {*range(len(value))}) if isinstance(value, list) else []
    for key in keys if len(keys) < 100 else [*keys[:20], *keys[-20:]]:
        found.append((value, key))
        _places(value[key], found)
    return found


def damage_json(content: Any, dice: random.Random) -> tuple[str, Any]:
    """Valid JSON, but not what is expected: values replaced, removed, renamed, exchanged, wrapped."""
    content = copy.deepcopy(content)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        # Any nesting is as likely as any other: most values of a large file are all alike.
        by_depth = _places(content, [])
        if not by_depth:
            return "all", copy.deepcopy(dice.choice(ODD))
        container, key = dice.choice(by_depth)
        how = dice.choice(("replace", "replace", "replace", "remove", "rename", "exchange", "wrap"))
        if how == "replace":
            container[key] = copy.deepcopy(dice.choice(ODD))
        elif how == "remove":
            del container[key]
        elif how == "rename" and isinstance(container, dict):
            container[dice.choice(("", "a", "a\n\x1b", "\ud800", "__metadata__", str(key) + "x"))] = container.pop(key)
        elif how == "exchange":
            other, where = dice.choice(_places(content, []))
            container[key], other[where] = copy.deepcopy(other[where]), copy.deepcopy(container[key])
        else:
            container[key] = [container[key]]
    return f"json {how}", content


def as_json(data: bytes, dice: random.Random) -> tuple[str, bytes]:
    how, content = damage_json(json.loads(data), dice)
    return how, json.dumps(content).encode()


def as_safetensors(data: bytes, dice: random.Random) -> tuple[str, bytes]:
    length = struct.unpack("<Q", data[:8])[0]
    header, values = data[8 : 8 + length], data[8 + length :]
    how, header = (as_json if dice.random() < 0.7 else damage_bytes)(header, dice)
    return f"header {how}", struct.pack("<Q", len(header)) + header + values


def as_bin(data: bytes, dice: random.Random) -> tuple[str, bytes]:
    """The pickle or the list of members changed, in an archive whose checksums are right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    pickled = next(name for name in members if name.endswith("data.pkl"))
    how = "pickle"
    if dice.random() < 0.85:
        for _ in range(dice.choice((1, 1, 2, 5))):
            how, members[pickled] = damage_bytes(members[pickled], dice)
            how = f"pickle {how}"
    else:
        name = dice.choice(list(members))
        members[dice.choice((name + "x", "x", "../" + name, "data.pkl"))] = members.pop(name)
        how = "members"
    return how, zipped(members, dice.choice((zipfile.ZIP_STORED,) * 9 + (zipfile.ZIP_DEFLATED,)))


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of `members`, whose checksums are right."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()
