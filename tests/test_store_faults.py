"""What may happen to a store, in quick form: `make faults` does the same more often."""

from __future__ import annotations

import pytest

from tests.disks import NotHere
from tests.faults.fault import Fault, suffer
from tests.faults.store import ROWS


@pytest.mark.parametrize("fault", ROWS, ids=lambda fault: f"{fault.name} {fault.where}".replace(" ", "-"))
def test_nothing_stored_is_lost(fault: Fault) -> None:
    try:
        outcome = suffer(fault, 5)
    except NotHere as why:
        pytest.skip(str(why))
    assert outcome.as_promised, outcome.came
