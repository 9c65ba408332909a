"""The same as test_devices.py with each driver behind a lane agent: every report over gRPC, loss and return in time."""

import pytest

from tests.conformance.plug import FAR_CASES, FAR_NAMES
from tests.conformance.test_devices import (
    test_it_hides_what_it_read as test_it_hides_what_it_read,
)
from tests.conformance.test_devices import (
    test_it_is_up_when_plugged_and_down_when_not as test_it_is_up_when_plugged_and_down_when_not,
)
from tests.conformance.test_devices import (
    test_it_stops_at_once_while_nothing_is_there as test_it_stops_at_once_while_nothing_is_there,
)
from tests.conformance.test_devices import (
    test_noise_in_its_place_harms_nothing as test_noise_in_its_place_harms_nothing,
)

pytestmark = pytest.mark.parametrize(("info", "kind"), FAR_CASES, ids=FAR_NAMES)
