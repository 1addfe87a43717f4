"""Whole checkpoints of which one file is damaged: converting one makes a whole file, or says in one line why not."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable
from pathlib import Path

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from converters import convert
from tests.converters.variants import CARD, PLAIN, TEMPLATE, Variant, write_checkpoint
from tests.fuzz.damage import as_bin, as_json, as_safetensors, damage_bytes
from tests.fuzz.target import Case, Finding
from tests.smollm2 import write_json

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


ODD_YAML = (
    "license: [", "base_model: {a: b}", "tags: 7", "language: no", "model_name: 2024-01-01", "datasets: [[[]]]",
    "license: !!python/object/apply:os.system [ls]", "a: &a [*a, *a]", "model_name: |\n  a\n  b", "\t", "---", "...",
    "? [a, b]\n: c", "license: 1e999", "tags: ~", "base_model: ''", "license_link: {}", "language: [1, 2]",
    "x: &x [a, a]\ny: &y [*x, *x]\ntags: [*y, *y]", "model_name: \"\\ud800\"", "<<: [1]", "quantized_by: 0x1F",
)  # fmt: skip


def _as_card(data: bytes, dice: random.Random) -> tuple[str, bytes]:
    lines = data.decode().splitlines()
    for _ in range(dice.choice((1, 1, 2))):
        lines[dice.randrange(1, len(lines) - 2)] = dice.choice(ODD_YAML)
    return "yaml", "\n".join(lines).encode("utf-8", "surrogatepass")


Damage = Callable[[bytes, random.Random], tuple[str, bytes]]
BY_SUFFIX: dict[str, Damage] = {
    ".json": as_json, ".safetensors": as_safetensors, ".bin": as_bin, ".md": _as_card, ".model": damage_bytes,
}  # fmt: skip


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


class Checkpoints:
    """Cases are named after the file that is damaged, below the name of the checkpoint."""

    def __init__(self, folder: Path) -> None:
        self._folders = {name: write_checkpoint(folder / name, base) for name, base in BASES.items()}
        self._out = folder / "out"
        self._out.mkdir()

    def case(self, n: int) -> Case:
        base, name = TARGETS[n % len(TARGETS)]
        dice = random.Random(f"{name} {n}")
        by_kind = dice.random() < 0.6
        damage = BY_SUFFIX[Path(name).suffix] if by_kind else damage_bytes
        how, content = damage((self._folders[base] / name).read_bytes(), dice)
        return Case(f"{base}/{name}", how, content)

    def check(self, case: Case) -> bool:
        base, _, name = case.name.partition("/")
        folder, target = self._folders[base], self._out / "model.gguf"
        before = {path.name for path in folder.iterdir()}
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(case.content)
        try:
            convert(folder, target, "auto", warn=lambda line: None)
            if [path.name for path in self._out.iterdir()] != [target.name]:
                raise Finding("left more than the file")
            if problem := _not_gguf(target.read_bytes()):
                raise Finding(problem)
            target.unlink()
            return True
        finally:
            (folder / name).write_bytes(whole)
            left = [path.name for path in self._out.iterdir()]
            for leftover in self._out.iterdir():
                leftover.unlink()
            if left:
                raise Finding(f"left {left}")
            if {path.name for path in folder.iterdir()} != before:
                raise Finding("the checkpoint was changed")
