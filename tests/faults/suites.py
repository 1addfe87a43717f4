"""All there is, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.faults import clock, damaged, disk, kills, locked, network, pipes, signals, store, survival, twice
from tests.faults.fault import Fault

SUITES: Mapping[str, tuple[Fault, ...]] = {
    "kills": kills.ROWS,
    "signals": signals.ROWS,
    "hub": network.ROWS,
    "damaged": damaged.ROWS,
    "disk": disk.ROWS,
    "locked": locked.ROWS,
    "store": store.ROWS,
    "twice": twice.ROWS,
    "pipes": pipes.ROWS,
    "clock": clock.ROWS,
    "contenders": survival.ROWS,
}


def chosen(names: Sequence[str]) -> list[Fault]:
    """The rows of the suites, and those whose fault or place has a name in it, that `names` are; all for none."""
    return [
        fault
        for suite, faults in SUITES.items()
        for fault in faults
        if not names or any(name == suite if name in SUITES else _is_in(name, fault) for name in names)
    ]


def _is_in(name: str, fault: Fault) -> bool:
    return name.lower() in f"{fault.name}, {fault.where}".lower()
