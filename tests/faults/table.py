"""The table, as Markdown; and the same in a file, row by row."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults.fault import Fault, Outcome
from tests.faults.suites import chosen

NAMES = ("fault", "where", "n", "what came of it", "message")
BEGIN, END = "<!-- the table: `python -m tests.faults --write FILE` -->", "<!-- its end -->"
KEY_CELLS = 2


def cells(*values: object) -> str:
    return "| " + " | ".join(str(value).replace("|", "\\|").replace("\n", " ") for value in values) + " |"


HEAD = cells(*NAMES) + "\n" + cells(*("---" for _ in NAMES))


def row(fault: Fault, found: Outcome) -> str:
    came = found.came if found.as_promised else f"**NOT AS PROMISED** ({fault.promise}): {found.came}"
    return cells(fault.name, fault.where, found.n, came, f"`{found.message}`" if found.message else "")


def with_rows(text: str, rows: Sequence[str]) -> str:
    """`text` with `rows` in its table, in the order of the suite; other rows of faults that there still are stay."""
    before, _, rest = text.partition(BEGIN)
    table, _, after = rest.partition(END)
    known = {_key(line): line for line in (*table.strip().splitlines()[2:], *rows)}
    ordered = [known[key] for fault in chosen([]) if (key := _key(cells(fault.name, fault.where))) in known]
    return f"{before}{BEGIN}\n{HEAD}\n" + "".join(f"{line}\n" for line in ordered) + f"{END}{after}"


def _key(line: str) -> tuple[str, ...]:
    return tuple(line.replace("\\|", "\0").strip("| ").split(" | ")[:KEY_CELLS])
