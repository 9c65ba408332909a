"""The same as test_wire.py with each driver behind a lane agent."""

import pytest

from tests.conformance.plug import FAR_CASES, FAR_NAMES
from tests.conformance.test_wire import (
    test_no_fault_of_the_cable_is_taken_for_a_person as test_no_fault_of_the_cable_is_taken_for_a_person,
)
from tests.conformance.test_wire import test_pieces_are_no_fault as test_pieces_are_no_fault

BEHIND_A_CABLE = [(case, name) for case, name in zip(FAR_CASES, FAR_NAMES, strict=True) if "silent" in case[0].knobs]
pytestmark = pytest.mark.parametrize(
    ("info", "kind"), [case for case, _ in BEHIND_A_CABLE], ids=[name for _, name in BEHIND_A_CABLE]
)
