"""What may happen to a store, in quick form: scripts/store_faults.py does the same more often, and prints it."""

from __future__ import annotations

import pytest

from scripts.store_faults import FAULTS, Fault, suffer
from tests.disks import NotHere


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace("`", "").replace(" ", "-"))
def test_nothing_stored_is_lost(fault: Fault) -> None:
    try:
        outcome = suffer(fault, 2)
    except NotHere as why:
        pytest.skip(str(why))
    assert outcome.as_promised, outcome.came
