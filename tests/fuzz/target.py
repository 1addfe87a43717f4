"""What a target of the fuzz suite is: cases by number, and what must hold for every one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Case:
    """One input: `name` is a file's, `how` says in a word or two how `content` came to be."""

    name: str
    how: str
    content: bytes


class Finding(Exception):
    """What must not happen, happened."""


class Cases(Protocol):
    """A target at work in a folder of its own."""

    def case(self, n: int) -> Case:
        """The input of number `n`, the same on every machine."""
        ...

    def check(self, case: Case) -> bool:
        """Whether it was accepted. A known error refuses it; anything else that is raised is a finding."""
        ...


@dataclass(frozen=True)
class Target:
    """`open` starts a target in an empty folder. An input gets `seconds`, and the process `spare_bytes` beyond what it
    has when it begins.

    Of a `contained` target the product runs what is tested in a child process, whose death is an error that it tells;
    here a death is counted then, and is no finding. A hang is one always.
    """

    open: Callable[[Path], Cases]
    seconds: float = 20.0
    spare_bytes: int = 1 << 30
    contained: bool = False
