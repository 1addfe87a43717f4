"""One row of the suite: what is done to a run, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.disks import open_folder


@dataclass(frozen=True)
class Outcome:
    """What came of `n` tries; `message` is what the user was told."""

    came: str
    as_promised: bool
    n: int = 1
    message: str = ""


@dataclass(frozen=True)
class Fault:
    """`strike` takes an empty folder and how many tries to make, where it is a matter of chance.

    `share` is the part of the tries asked for that falls to this one; 0 for what is no matter of chance.
    """

    name: str
    where: str
    promise: str
    strike: Callable[[Path, int], Outcome]
    share: float = 0.0

    def tries(self, repeats: int) -> int:
        return max(1, math.ceil(self.share * repeats))


def outcome(came: str, complaints: Sequence[str], *, n: int = 1, message: str = "") -> Outcome:
    """`came`, or in its place what is to be complained of."""
    return Outcome("; ".join(dict.fromkeys(complaints)) or came, not complaints, n, message)


def suffer(fault: Fault, repeats: int) -> Outcome:
    """Raises NotHere where this machine cannot make it."""
    with open_folder() as folder:
        return fault.strike(folder, fault.tries(repeats))
