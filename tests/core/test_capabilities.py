"""A need that is not met is one clear error."""

import pytest

from phalanx.core.capabilities import Capability, require
from phalanx.core.errors import CapabilityError


def test_met_needs_pass():
    require("Krum", {Capability.INDIVIDUAL_UPDATES}, set(Capability))
    require("Mean", set(), set())


def test_an_unmet_need_names_who_and_what():
    with pytest.raises(CapabilityError, match=r"^SkyMask needs a trusted root data set at the server"):
        require("SkyMask", {Capability.INDIVIDUAL_UPDATES, Capability.ROOT_DATA}, [Capability.INDIVIDUAL_UPDATES])


def test_the_first_unmet_need_by_name_is_reported_whatever_the_order():
    for needs in ([Capability.ROOT_DATA, Capability.MODEL], [Capability.MODEL, Capability.ROOT_DATA]):
        with pytest.raises(CapabilityError, match="the model itself"):
            require("X", needs, ())
