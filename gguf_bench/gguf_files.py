"""What the name of a GGUF file says: its quantization, and the parts of a split one.

Names are all there is to go by before a file is fetched. Once it is on disk its own metadata is the truth, because
the label is not the quantization.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from gguf_bench.errors import ModelError

_SPLIT = re.compile(r"(?P<stem>.+)-(?P<part>\d{5})-of-(?P<parts>\d{5})\.gguf", re.IGNORECASE)

_QUANTIZATION = re.compile(
    r"""(?<![a-z0-9])
    (?:ud-)?                                                            # a publisher's "dynamic" mixes
    (?: i?q[1-9] (?: _(?: k | [01] | [sml] | x{1,3}s | x{1,2}l | nl | [48] ) )*
      | tq[12]_0 | mxfp4(?:_moe)? | nvfp4 | bf16 | fp?16 | fp?32 )
    (?![a-z0-9])""",
    re.IGNORECASE | re.VERBOSE,
)


class SplitName(NamedTuple):
    """`stem-00002-of-00003.gguf` is part 2 of 3 of `stem`; the stem keeps the folder, if there was one."""

    stem: str
    part: int
    parts: int


def split_name(path: str) -> SplitName | None:
    """Read the name of one part of a split GGUF; None for a file that is whole by itself."""
    match = _SPLIT.fullmatch(path)
    if match is None or not 1 <= int(match["part"]) <= int(match["parts"]):
        return None
    return SplitName(match["stem"], int(match["part"]), int(match["parts"]))


def part_name(stem: str, part: int, parts: int) -> str:
    """The name llama.cpp gives to part `part` (from 1) of `parts`."""
    return f"{stem}-{part:05d}-of-{parts:05d}.gguf"


def quantization_label(path: str) -> str | None:
    """The quantization that a '/'-separated path names, in capitals ("Q4_K_M", "UD-Q2_K_XL", "F16"), or None.

    The last one in the file's name counts (`qwen-q8-distilled-Q4_K_M.gguf`); a folder's name only when the file's has
    none (`Q4_K_M/model-00001-of-00002.gguf`).
    """
    split = split_name(path)
    stem = split.stem if split else path.removesuffix(".gguf")
    for part in reversed(stem.split("/")):
        labels = _QUANTIZATION.findall(part)
        if labels:
            return same_quantization(labels[-1])
    return None


def same_quantization(label: str) -> str:
    """One spelling for one type: "q4_k_m" and "Q4_K_M", "FP16" and "F16"."""
    return label.upper().replace("FP16", "F16").replace("FP32", "F32")


def gguf_shards(first: Path) -> tuple[Path, ...]:
    """All parts of a GGUF in order: the parts of a split one, which lie beside the first, or just the file itself.

    Raises ModelError when `first` is a later part, or a part is missing.
    """
    split = split_name(first.name)
    if split is None:
        return (first,)
    if split.part != 1:
        raise ModelError(
            f"{first} is part {split.part} of {split.parts}",
            hint=f"name the first part, {part_name(split.stem, 1, split.parts)}",
        )
    shards = tuple(first.with_name(part_name(split.stem, part, split.parts)) for part in range(1, split.parts + 1))
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        raise ModelError(
            f"{first.name} has {split.parts} parts, but {', '.join(missing)} is not in {first.parent}",
            hint="put all parts into one folder",
        )
    return shards
