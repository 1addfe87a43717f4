"""Damaged checkpoints without end: every number stands for one, the same on every machine.

    python -m tests.converters.fuzz FIRST STOP STEP    convert them, one line of JSON each, to stdout

A line has `n`, `file`, `how`, `outcome` (converted, refused or a complaint) and `message`. What the converter does to
the process (a crash, a hang) is for whoever started it to see; `start` is printed before each.
"""

from __future__ import annotations

import copy
import faulthandler
import io
import json
import math
import random
import resource
import struct
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from converters import ConversionError, convert
from tests.converters.variants import CARD, PLAIN, TEMPLATE, Variant, write_checkpoint
from tests.smollm2 import write_json

SECONDS_A_FILE = 20
SPARE_BYTES = 1 << 30
"""What the process may take beyond what it has before the first file."""

SMALL = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "vocab_size": 310}
TOKENIZER_CONFIG = {
    "added_tokens_decoder": {
        "0": {"content": "<unk>", **PLAIN, "special": True},
        "302": {"content": "<pad>", **PLAIN, "special": False},
    },
    "add_bos_token": True,
    "bos_token": {"content": "<s>", **PLAIN},
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "additional_special_tokens": ["<ctl>"],
    "tokenizer_class": "LlamaTokenizer",
    "chat_template": [{"name": "default", "template": TEMPLATE}, {"name": "tool", "template": "{{ tools }}"}],
}


def _more_files(folder: Path) -> None:
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    write_json(folder / "added_tokens.json", {"<one>": 300, "<|two|>": 301})
    write_json(folder / "tokenizer_config.json", TOKENIZER_CONFIG)
    write_json(folder / "special_tokens_map.json", {"bos_token": "<s>", "eos_token": {"content": "</s>", **PLAIN}})
    write_json(folder / "generation_config.json", {"temperature": 0.7, "top_k": 40, "repetition_penalty": 1.05})


BASES = {
    "safetensors": Variant(SMALL, layout="indexed", files=_more_files),
    "bin": Variant(
        {**SMALL, "rope_scaling": {"type": "linear", "factor": 4.0}},
        layout="bin parts", dtype="float16", tokenizer="spm json", files=_more_files,
    ),
}  # fmt: skip
TARGETS = [
    *[("safetensors", "model-00001-of-00003.safetensors")] * 5,
    *[("bin", "pytorch_model-00001-of-00002.bin")] * 5,
    ("safetensors", "model.safetensors.index.json"),
    ("bin", "pytorch_model.bin.index.json"),
    *[("safetensors", "config.json"), ("bin", "config.json")] * 2,
    *[("bin", "tokenizer.json")] * 3,
    *[("safetensors", "tokenizer.model")] * 2,
    *[("safetensors", "tokenizer_config.json"), ("bin", "tokenizer_config.json")] * 2,
    ("safetensors", "added_tokens.json"),
    ("bin", "added_tokens.json"),
    ("bin", "special_tokens_map.json"),
    ("safetensors", "generation_config.json"),
    *[("safetensors", "README.md")] * 2,
]
"""(Base, file) that is damaged, as often as it deserves it."""


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

ODD_YAML = (
    "license: [", "base_model: {a: b}", "tags: 7", "language: no", "model_name: 2024-01-01", "datasets: [[[]]]",
    "license: !!python/object/apply:os.system [ls]", "a: &a [*a, *a]", "model_name: |\n  a\n  b", "\t", "---", "...",
    "? [a, b]\n: c", "license: 1e999", "tags: ~", "base_model: ''", "license_link: {}", "language: [1, 2]",
    "x: &x [a, a]\ny: &y [*x, *x]\ntags: [*y, *y]", "model_name: \"\\ud800\"", "<<: [1]", "quantized_by: 0x1F",
)  # fmt: skip


def damage_bytes(data: bytes, dice: random.Random) -> tuple[str, bytes]:
    """One or a few changes as a bad disk, a bad line or a bad person makes them."""
    how = dice.choice(("flip", "set", "cut", "insert", "delete", "swap", "repeat", "digits", "append"))
    place = dice.randrange(len(data) + 1)
    size = dice.choice((1, 2, 4, 8, 30, 100, 1000))
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


def _as_json(data: bytes, dice: random.Random) -> tuple[str, bytes]:
    how, content = damage_json(json.loads(data), dice)
    return how, json.dumps(content).encode()


def _as_safetensors(data: bytes, dice: random.Random) -> tuple[str, bytes]:
    length = struct.unpack("<Q", data[:8])[0]
    header, values = data[8 : 8 + length], data[8 + length :]
    how, header = (_as_json if dice.random() < 0.7 else damage_bytes)(header, dice)
    return f"header {how}", struct.pack("<Q", len(header)) + header + values


def _as_bin(data: bytes, dice: random.Random) -> tuple[str, bytes]:
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
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", dice.choice((zipfile.ZIP_STORED,) * 9 + (zipfile.ZIP_DEFLATED,))) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return how, buffer.getvalue()


def _as_card(data: bytes, dice: random.Random) -> tuple[str, bytes]:
    lines = data.decode().splitlines()
    for _ in range(dice.choice((1, 1, 2))):
        lines[dice.randrange(1, len(lines) - 2)] = dice.choice(ODD_YAML)
    return "yaml", "\n".join(lines).encode("utf-8", "surrogatepass")


Damage = Callable[[bytes, random.Random], tuple[str, bytes]]
BY_SUFFIX: dict[str, Damage] = {
    ".json": _as_json, ".safetensors": _as_safetensors, ".bin": _as_bin, ".md": _as_card, ".model": damage_bytes,
}  # fmt: skip


def damaged(data: bytes, name: str, n: int) -> tuple[str, bytes]:
    """How file `name` with content `data` is damaged in the checkpoint of number `n`, and what comes of it."""
    dice = random.Random(f"{name} {n}")
    by_kind = dice.random() < 0.6
    return (BY_SUFFIX[Path(name).suffix] if by_kind else damage_bytes)(data, dice)


NUMBER_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9


def _not_gguf(data: bytes) -> str:
    """What is wrong with a GGUF file, "" if nothing is (gguf's own reader takes ten times as long)."""
    place = 24

    def number(n_bytes: int) -> int:
        nonlocal place
        place += n_bytes
        return int.from_bytes(data[place - n_bytes : place], "little")

    def skip(kind: int) -> None:
        nonlocal place
        if kind == ARRAY:
            items = number(4)
            for _ in range(number(8)):
                skip(items)
        else:
            n_bytes = number(8) if kind == STRING else NUMBER_BYTES[kind]
            place += n_bytes

    magic, version, n_tensors, n_keys = struct.unpack_from("<4sIQQ", data)
    for _ in range(n_keys):
        skip(STRING)
        skip(number(4))
    tensors = []
    for _ in range(n_tensors):
        skip(STRING)
        shape = [number(8) for _ in range(number(4))]
        tensors.append((shape, GGMLQuantizationType(number(4)), number(8)))
    reached = 0
    for shape, kind, offset in tensors:
        values, size = GGML_QUANT_SIZES[kind]
        if offset != reached or math.prod(shape) % values:
            return f"a tensor at {offset}, expected at {reached}"
        reached += -(-math.prod(shape) // values * size // 32) * 32
    start = -(-place // 32) * 32
    return "" if (magic, version, len(data)) == (b"GGUF", 3, start + reached) and n_tensors else "not a whole GGUF file"


def complaint(folder: Path, out: Path, before: set[str]) -> tuple[str, str]:
    """Convert, and say what came of it: `converted`, `refused`, or what is wrong with the converter."""
    target = out / "model.gguf"
    try:
        convert(folder, target, "auto", warn=lambda line: None)
    except ConversionError as error:
        message = str(error)
        if not message or not message.isprintable() or len(message) > 2100:
            return "the message is not one short line", message
        if leftover := [path.name for path in out.iterdir()]:
            return f"left {leftover}", message
        outcome = "refused", message
    except BaseException as error:  # noqa: BLE001 - that is what this is about
        return f"raised {type(error).__name__}", str(error)
    else:
        if [path.name for path in out.iterdir()] != [target.name]:
            return "left more than the file", ""
        if problem := _not_gguf(target.read_bytes()):
            return problem, ""
        outcome = "converted", ""
        target.unlink()
    if {path.name for path in folder.iterdir()} != before:
        return "the checkpoint was changed", ""
    return outcome


def main() -> None:
    first, stop, step = map(int, sys.argv[1:])
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: write_checkpoint(Path(scratch) / name, base) for name, base in BASES.items()}
        out = Path(scratch) / "out"
        out.mkdir()
        for folder in folders.values():
            convert(folder, out / "model.gguf", "auto")
        (out / "model.gguf").unlink()
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for n in range(first, stop, step):
            base, name = TARGETS[n % len(TARGETS)]
            path = folders[base] / name
            whole = path.read_bytes()
            how, content = damaged(whole, name, n)
            print(json.dumps({"start": n, "file": name, "how": how}), flush=True)  # noqa: T201
            path.write_bytes(content)
            faulthandler.dump_traceback_later(SECONDS_A_FILE, exit=True)
            outcome, message = complaint(folders[base], out, {each.name for each in folders[base].iterdir()})
            faulthandler.cancel_dump_traceback_later()
            path.write_bytes(whole)
            for leftover in out.iterdir():
                leftover.unlink()
            line = {"n": n, "file": name, "how": how, "outcome": outcome, "message": message}
            print(json.dumps(line), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
