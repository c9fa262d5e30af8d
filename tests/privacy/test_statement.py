"""The statement: everything that an ε means, in one line, and never less than was spent."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phalanx.core.privacy import Mechanism, Spending
from phalanx.privacy import PrivacyStatement
from phalanx.privacy.statement import shown

MECHANISM = Mechanism("client", "add/remove", "poisson", Spending(1.0, 0.1, 1), "the server")


def line(mechanism):
    return str(PrivacyStatement.of(mechanism, 2.0, delta=1e-6, accountant="pld"))


def test_it_names_all_that_the_number_depends_on():
    for part in ("ε = 2.0", "each client", "add/remove", "δ = 1e-06", "Poisson sampling", "PLD", "trusted: the server"):
        assert part in line(MECHANISM)
    assert "\n" not in line(MECHANISM)


@pytest.mark.parametrize(
    ("trusted", "is_reproducible", "said"),
    [
        ("the server", True, "trusted: the server, whoever knows run.seed"),
        ("the server", False, "trusted: the server"),
        (None, True, "trusted: whoever knows run.seed"),
        (None, False, "trusted: nobody"),
    ],
)
def test_whoever_can_take_the_noise_off_is_among_the_trusted(trusted, is_reproducible, said):
    assert line(replace(MECHANISM, trusted=trusted, is_reproducible=is_reproducible)).endswith(said)


@given(st.floats(1e-6, 1e4))
def test_a_bound_is_rounded_up_and_by_less_than_a_hundredth(epsilon):
    assert Decimal(epsilon) <= Decimal(shown(epsilon)) + Decimal(epsilon) * Decimal("1e-12")
    assert float(shown(epsilon)) <= epsilon * 1.011
