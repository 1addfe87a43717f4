"""The suite itself, in quick form: some of its faults, and its table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.disks import NotHere
from tests.faults import __main__ as command
from tests.faults.fault import Fault, Outcome, outcome, suffer
from tests.faults.suites import SUITES, chosen
from tests.faults.table import BEGIN, END, row, with_rows

ROOT = Path(__file__).parents[2]
QUICK = (
    "connection cut, pull: in the middle of a shard",
    "kill -9 of the parent, while it pulls",
    "full disk, pull, in the middle of a shard",
    "the same twice at once, pull",
)


@pytest.mark.model
@pytest.mark.parametrize("name", QUICK)
def test_a_fault_comes_out_as_promised(name: str) -> None:
    (fault,) = chosen([name])
    try:
        found = suffer(fault, 1)
    except NotHere as why:
        pytest.skip(str(why))
    assert found.as_promised, found.came


def test_every_row_has_a_name_of_its_own() -> None:
    keys = [(fault.name, fault.where) for fault in chosen([])]
    assert len(keys) == len(set(keys)) == sum(map(len, SUITES.values()))
    assert not any(" | " in cell for key in keys for cell in key)


def test_what_is_not_as_promised_is_said_and_the_exit_code_tells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(_folder: Path, _n: int) -> Outcome:
        raise ValueError("no such luck")

    faults = [
        Fault("one", "here", "all well", lambda _folder, n: outcome("well", [], n=n), share=0.5),
        Fault("two", "there", "all well", lambda _folder, _n: outcome("well", ["left over: x.partial"])),
        Fault("three", "there", "all well", breaks),
    ]
    monkeypatch.setattr(command, "chosen", lambda _names: faults[:1])
    assert command.main(["--repeats", "9"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "| one | here | 5 | well |  |"
    monkeypatch.setattr(command, "chosen", lambda _names: faults)
    assert command.main([]) == 1
    _, two, three = capsys.readouterr().out.splitlines()[-3:]
    assert "**NOT AS PROMISED** (all well): left over: x.partial" in two
    assert "the trial itself broke: ValueError: no such luck" in three


def test_rows_are_put_into_the_table_in_order_and_others_stay() -> None:
    first, second, third = chosen([])[:3]
    lines = {fault: row(fault, Outcome(f"a | {fault.where}", True)) for fault in (first, second, third)}
    text = with_rows(f"before\n{BEGIN}\n{END}\nafter\n", [lines[third], lines[first]])
    text = with_rows(text, [lines[second], row(first, Outcome("again", True))])
    head, _body, tail = text.partition(lines[second])
    assert "again" in head
    assert lines[first] not in text
    assert lines[third] in tail
    assert (text.startswith("before\n"), text.endswith(f"{END}\nafter\n")) == (True, True)
    gone = Fault("gone", "nowhere", "", lambda _folder, _n: Outcome("", True))
    assert "nowhere" not in with_rows(text, [row(gone, Outcome("", True))])


def test_the_docs_have_every_row() -> None:
    """`python -m tests.faults --write docs/faults.md` puts them there."""
    text = (ROOT / "docs" / "faults.md").read_text("utf-8")
    missing = [fault for fault in chosen([]) if f"| {fault.name} | {fault.where} |" not in text]
    assert [f"{fault.name}, {fault.where}" for fault in missing] == []
    assert "NOT AS PROMISED" not in text
