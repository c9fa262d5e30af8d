"""`check_aggregator` catches rules that break a law, and exemptions that are not true."""

from collections.abc import Callable

import pytest
import torch
from pydantic import NonNegativeInt

from phalanx.aggregators import FLDetector, Krum, Mean
from phalanx.core.errors import PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates
from phalanx.testing import LAWS, check_aggregator


class _Rule(Aggregator):
    """A broken rule is what its `make` makes of the rows."""

    num_byzantine: NonNegativeInt = 0

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        return self.make(updates), state

    def make(self, updates: Updates) -> Aggregate:
        raise NotImplementedError


def broken(make: Callable[[Updates], Aggregate]) -> Aggregator:
    return type("_Broken", (_Rule,), {"make": lambda self, updates: make(updates), "__module__": __name__})()


def clip_in_place(updates: Updates) -> Aggregate:
    updates.matrix.clamp_(-1, 1)
    return Aggregate(updates.matrix.mean(dim=0))


BROKEN = {
    "permutation": lambda updates: Aggregate(updates.matrix[0]),
    "translation": lambda updates: Aggregate(updates.matrix.mean(dim=0) * 0.5),
    "scale": lambda updates: Aggregate(updates.matrix.mean(dim=0).clamp(-1, 1)),
    "mean_without_byzantine": lambda updates: Aggregate(updates.matrix.median(dim=0).values),
    "identical_rows": lambda updates: Aggregate(updates.matrix.mean(dim=0) + updates.matrix.norm()),
    "coordinate_range": lambda updates: Aggregate(updates.matrix.sum(dim=0)),
    "convex_hull": lambda updates: Aggregate(updates.matrix.mean(dim=0), influence=torch.eye(len(updates))[0]),
    "coordinates_alone": lambda updates: Aggregate(updates.matrix[updates.matrix.norm(dim=1).argmin()]),
    "zeros": lambda updates: Aggregate(updates.matrix.mean(dim=0) + 1),
    "any_number_of_rows": lambda updates: Aggregate(updates.matrix.sum(dim=0) / (len(updates) - 1)),
    "half_are_too_many": lambda updates: Aggregate(updates.matrix.mean(dim=0)),
    "huge_rows_leave_it_finite": lambda updates: Aggregate(updates.matrix.square().mean(dim=0)),
    "non_finite_rows_are_dropped": lambda updates: Aggregate(torch.randn_like(updates.matrix[0])),
    "inputs_stay": clip_in_place,
    "dtype_and_device_stay": lambda updates: Aggregate(updates.matrix.mean(dim=0)[:1]),
    "float64_is_worked_in_float64": lambda updates: Aggregate(updates.matrix.float().mean(dim=0)),
    "deterministic": lambda updates: Aggregate(torch.randn_like(updates.matrix[0])),
}


@pytest.mark.parametrize("law", BROKEN)
def test_each_law_catches_a_rule_that_breaks_it(law: str) -> None:
    rows = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(AssertionError):
        LAWS[law](broken(BROKEN[law]), rows)


def test_only_the_laws_that_need_another_call_or_memory_have_no_broken_rule_here() -> None:
    assert LAWS.keys() - BROKEN.keys() == {"nothing_finite_is_an_error", "memory_goes_by_client"}


def by_place(updates: Updates, state: State) -> State:
    return {"sums": updates.matrix + state.get("sums", 0)}


def forgets_the_absent(updates: Updates, state: State) -> State:
    rows = zip(updates.ids.tolist(), updates.matrix)
    return {f"{client}.sum": row + state.get(f"{client}.sum", 0) for client, row in rows}


def touches_the_absent(updates: Updates, state: State) -> State:
    return {name: kept / 2 for name, kept in state.items()} | forgets_the_absent(updates, state)


def adds_in_place(updates: Updates, state: State) -> State:
    return {"sum": state["sum"].add_(updates.matrix.sum(dim=0)) if state else updates.matrix.sum(dim=0)}


def remembers_elsewhere(updates: Updates, state: State, calls: list[int] = []) -> State:  # noqa: B006 - that is the fault
    calls.append(1)
    return {"calls": torch.tensor(len(calls))}


def test_memory_of_rows_that_cancel_may_differ_by_rounding() -> None:
    numbers = [-3, 2, 2, 4, -3, 0, 0, 2, -3, -1, -3, 3, 4, -4]  # their sum is zero but for the last bits, in any order
    LAWS["memory_goes_by_client"](FLDetector(), torch.tensor(numbers, dtype=torch.float32)[:, None])


@pytest.mark.parametrize(
    "remember, reason",
    [
        (by_place, "another sums"),
        (forgets_the_absent, "was away"),
        (touches_the_absent, "was away"),
        (adds_in_place, "modified the memory"),
        (remembers_elsewhere, "gives other memory"),
    ],
)
def test_memory_that_goes_by_place_forgets_or_is_modified_is_caught(
    remember: Callable[[Updates, State], State], reason: str
) -> None:
    class _Remembers(_Rule):
        def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
            return Aggregate(updates.matrix.mean(dim=0)), remember(updates, state)

    rows = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(AssertionError, match=reason):
        LAWS["memory_goes_by_client"](_Remembers(), rows)


def test_a_rule_that_accepts_nothing_finite_is_caught() -> None:
    class _Lenient(_Rule):
        def __call__(self, matrix: torch.Tensor, *, context: RoundContext | None = None) -> torch.Tensor:
            return matrix[0]

    with pytest.raises(AssertionError, match="instead of a PreconditionError"):
        LAWS["nothing_finite_is_an_error"](_Lenient(), torch.ones(3, 2))


def test_a_violation_names_the_law_the_rule_and_the_rows() -> None:
    with pytest.raises(AssertionError, match=r"Krum\(num_byzantine=1\) breaks the law 'mean_without_byzantine' on .* rows"):
        check_aggregator(Krum(num_byzantine=1))


def test_an_exemption_from_a_law_that_holds_is_an_error() -> None:
    with pytest.raises(AssertionError, match=r"exempt from the law 'scale'.*drop the exemption"):
        check_aggregator(Mean(), exempt={"scale": "it is not true"})


def test_an_unknown_law_is_an_error_that_lists_them() -> None:
    with pytest.raises(ValueError, match=r"There is no law scaling\. The laws are: permutation, translation"):
        check_aggregator(Mean(), exempt={"scaling": "a typing mistake"})


def test_a_bound_that_a_rule_does_not_keep_is_caught() -> None:
    class _ClaimsTooMuch(_Rule):
        def require(self, n: int) -> None:
            if n <= 2 * self.num_byzantine:
                raise PreconditionError(f"n={n}, f={self.num_byzantine}")

        def make(self, updates: Updates) -> Aggregate:
            shares = torch.full((len(updates),), 1 / len(updates), dtype=torch.float64)
            return Aggregate(updates.weighted_sum(shares), influence=shares)

    check_aggregator(_ClaimsTooMuch(num_byzantine=0), kappa=lambda n, f: 0.0)
    with pytest.raises(AssertionError, match="'kappa_bound'"):
        check_aggregator(_ClaimsTooMuch(num_byzantine=1), kappa=lambda n, f: 100.0)


def test_a_rule_that_never_has_enough_rows_is_an_error() -> None:
    class _Never(Mean):
        def require(self, n: int) -> None:
            super().require(0)

    with pytest.raises(AssertionError, match="takes no number of rows"):
        check_aggregator(_Never())
