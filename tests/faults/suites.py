"""All there is, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.faults import kills, store, survival
from tests.faults.fault import Fault

SUITES: Mapping[str, tuple[Fault, ...]] = {
    "kills": kills.ROWS,
    "store": store.ROWS,
    "contenders": survival.ROWS,
}


def chosen(names: Sequence[str]) -> list[Fault]:
    """The rows whose suite, fault or place has one of `names` in it; all where there is none."""
    return [
        fault
        for suite, faults in SUITES.items()
        for fault in faults
        if not names or any(name == suite or name.lower() in f"{fault.name}, {fault.where}".lower() for name in names)
    ]
