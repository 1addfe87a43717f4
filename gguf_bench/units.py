"""Sizes as people write them: '4.5GiB' <-> bytes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

UNITS: Mapping[str, int] = {
    "b": 1,
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
}
SIZE = re.compile(r"(\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})\s*([a-z]*)", re.ASCII)


def size_bytes(text: str) -> int:
    """The bytes that '4.5GiB', '800 MB' or '1000000' mean, at least 1. Raises ValueError for anything else."""
    found = SIZE.fullmatch(text.strip().lower())
    if found is None or (found[2] or "b") not in UNITS:
        raise ValueError(f"{text!r} is no size; write 4.5GiB, 800MB or a number of bytes")
    size = math.floor(float(found[1]) * UNITS[found[2] or "b"])
    if size < 1:
        raise ValueError(f"{text!r} is less than a byte")
    return size


def size_in_words(size_bytes: float) -> str:
    """'78 MiB', '4.1 GiB'."""
    return f"{size_bytes / 2**20:.0f} MiB" if size_bytes < 2**30 else f"{size_bytes / 2**30:.1f} GiB"
