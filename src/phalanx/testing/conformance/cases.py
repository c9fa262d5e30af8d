"""The conformance cases: faults that were seen in public libraries, and what any implementation of a method must do.

A case takes a `Subject` and raises AssertionError with one line that says what was seen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from phalanx.testing.conformance.references import REFERENCES

Rule = Callable[[Tensor], Tensor]
N, F = 16, 3
"""Rows and attackers where a case does not need others; with fewer attackers Bulyan's last choices are ties."""

DISTANCES = frozenset(
    {"krum", "multi_krum", "bulyan", "geometric_median", "mda", "smea", "monna", "caf", "nearest_neighbor_mixing"}
)
"""Methods that compare rows with each other."""
NOT_ROBUST = frozenset({"mean", "bucketing"})
NEEDS: Mapping[str, Callable[[int], int]] = {
    **dict.fromkeys(("trimmed_mean", "meamed", "phocas", "mda", "smea", "monna", "caf"), lambda f: 2 * f + 1),
    **dict.fromkeys(("nearest_neighbor_mixing", "arc"), lambda f: 2 * f + 1),
    **dict.fromkeys(("krum", "multi_krum"), lambda f: 2 * f + 3),
    "bulyan": lambda f: 4 * f + 3,
}
"""The fewest rows that a method promises anything for; one less is to be an error."""


@dataclass(frozen=True)
class Subject:
    """An implementation: its name, the method that it says it is (a key of `REFERENCES`), and how to make it for f attackers.

    `with_counts(f)` makes a rule that also takes the sample counts which clients claim, where an implementation does.
    """

    name: str
    method: str
    make: Callable[[int], Rule]
    with_counts: Callable[[int], Callable[[Tensor, list[int]], Tensor]] | None = None


Case = Callable[[Subject], None]


def the_papers_rule(subject: Subject) -> None:
    """float64 rows give what the paper's formula gives, for even and odd n, with and without attackers."""
    for seed in range(4):
        for n, f in ((N, F), (N - 1, F), (N, 0)):
            rows = _normal(n, 5, seed)
            rows[:f] *= 20  # so that no two subsets are as good
            # RFA itself takes a few smoothed steps towards the geometric median.
            tolerance = 1e-2 if subject.method == "geometric_median" else 1e-4
            _near(subject.make(f)(rows.clone()), _expected(subject, rows, f), rows, f"n={n}, f={f}", tolerance)


def a_nan_row(subject: Subject) -> None:
    """A row with a NaN does not win, and does not spoil the result; an error is an answer, too."""
    for columns in (slice(None), slice(0, 1)):
        _finite_beside(subject, columns, float("nan"))


def an_infinite_row(subject: Subject) -> None:
    """The same for an infinite one."""
    for columns in (slice(None), slice(0, 1)):
        _finite_beside(subject, columns, float("inf"))


def a_huge_row(subject: Subject) -> None:
    """f rows of 1e30 leave a finite result, and of a robust method one near the honest rows."""
    rows = _normal(N, 5, 0).float()
    rows[:F] = 1e30
    if subject.method == "monna":
        rows = rows.flip(0)  # its reference is the first row
    result = subject.make(F)(rows.clone())
    assert result.isfinite().all(), "not finite beside rows of 1e30"
    if subject.method not in NOT_ROBUST:
        assert result.abs().max() < 1e3, f"moved to {float(result.abs().max()):.3g} by rows of 1e30"


def a_far_attacker(subject: Subject) -> None:
    """An attacker at 1e6 costs the honest rows no digits: float32 chooses whom float64 chooses."""
    for seed in range(3):
        rows = 1 + 1e-3 * _normal(N, 2000, seed)
        rows[-1] = 1e6
        _same_choice(subject, rows.float(), "attacker at 1e6")


def a_large_common_part(subject: Subject) -> None:
    """Rows that differ by 1e-3 around one vector: float32 chooses whom float64 chooses."""
    for seed in range(3):
        rows = (_normal(1, 20_000, seed + 10) + 1e-3 * _normal(30, 20_000, seed)).float()
        if subject.method == "smea":
            rows = rows[:N]
        _same_choice(subject, rows, "noise 1e-3")


def the_order_of_rows(subject: Subject) -> None:
    """The result does not depend on who stands where."""
    _near_in_another_order(subject, _normal(N, 4, 1))


def ties(subject: Subject) -> None:
    """Neither where rows are exactly as good. A convention of ours: papers leave ties open, Krum's takes the lowest number."""
    for rows in (_normal(N, 2, 2).round(), torch.eye(N, dtype=torch.float64)):
        _near_in_another_order(subject, rows)


def the_same_call_again(subject: Subject) -> None:
    """The same rows give the same answer."""
    rows = _normal(N, 6, 3)
    first = subject.make(F)(rows.clone())
    for _ in range(5):
        _near(subject.make(F)(rows.clone()), first, rows, "the same rows again", 1e-6)


def identical_rows(subject: Subject) -> None:
    """Identical rows give that row."""
    rows = 0.1 * _normal(1, 5, 4).repeat(N, 1)
    _near(subject.make(F)(rows.clone()), rows[0], rows, "identical rows", 1e-4)


def the_callers_rows(subject: Subject) -> None:
    """The rows that come in are not changed."""
    for dtype in (torch.float64, torch.float32):
        rows = (3 * _normal(N, 5, 5)).to(dtype)
        kept = rows.clone()
        subject.make(F)(rows)
        assert torch.equal(rows, kept), f"it changed the caller's {dtype} rows"


def the_dtype(subject: Subject) -> None:
    """float64 rows give a float64 result, with a float64's digits."""
    result = subject.make(F)(_normal(N, 5, 6))
    assert result.dtype == torch.float64, f"float64 rows give {result.dtype}"
    assert not torch.equal(result, result.float().double()), "rounded to float32 on the way"


def too_few_rows(subject: Subject) -> None:
    """One row less than the method needs is an error, not a result."""
    n = NEEDS[subject.method](F) - 1
    try:
        result = subject.make(F)(_normal(n, 5, 7))
    except Exception:  # noqa: BLE001 - whatever a library raises is an answer
        return
    raise AssertionError(f"n={n}, f={F} gives {[round(value, 2) for value in result[:2].tolist()]} … instead of an error")


def claimed_sample_counts(subject: Subject) -> None:
    """A client that claims a million samples has no more weight than the method gives it."""
    assert subject.with_counts is not None
    rows, rule = _normal(N, 5, 8), subject.with_counts(F)
    honest, claimed = rule(rows.clone(), [1] * N), rule(rows.clone(), [10**6] + [1] * (N - 1))
    _near(claimed, honest.double(), rows, "a claimed count of 1,000,000", 1e-4)


CASES: Mapping[str, Case] = {
    case.__name__: case
    for case in (
        the_papers_rule,
        a_nan_row,
        an_infinite_row,
        a_huge_row,
        a_far_attacker,
        a_large_common_part,
        the_order_of_rows,
        ties,
        the_same_call_again,
        identical_rows,
        the_callers_rows,
        the_dtype,
        too_few_rows,
        claimed_sample_counts,
    )
}
"""Every case by name."""

EXEMPT: Mapping[str, frozenset[str]] = {
    "a_nan_row": NOT_ROBUST,  # the mean of a NaN is NaN by its definition
    "an_infinite_row": NOT_ROBUST,
    "a_far_attacker": frozenset(REFERENCES) - DISTANCES | {"mda"},  # several subsets are as tight
    "a_large_common_part": frozenset(REFERENCES) - DISTANCES | {"mda"},
    "the_order_of_rows": frozenset({"monna"}),  # it trusts the first row
    "ties": frozenset({"monna", "mda"}),  # most sets of rows of the eye are as tight
    "too_few_rows": frozenset(REFERENCES) - frozenset(NEEDS),
    "claimed_sample_counts": frozenset({"mean"}),
}
"""Methods that a case does not concern."""


def _normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _expected(subject: Subject, rows: Tensor, f: int) -> Tensor:
    return torch.from_numpy(REFERENCES[subject.method](np.asarray(rows.double().numpy()), f))


def _near(result: Tensor, expected: Tensor, like: Tensor, where: str, tolerance: float) -> None:
    error = float((result.double() - expected.double()).abs().max())
    allowed = tolerance * float(like.double().abs().max())
    assert error <= allowed, f"{where}: {error:.2g} from where it should be (allowed {allowed:.2g})"


def _near_in_another_order(subject: Subject, rows: Tensor) -> None:
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    _near(subject.make(F)(rows[order].clone()), subject.make(F)(rows.clone()), rows, "another order", 1e-6)


def _same_choice(subject: Subject, rows: Tensor, where: str) -> None:
    """Whoever chooses other rows is off by about their noise of 1e-3 in every coordinate, not by rounding in a few."""
    gap = subject.make(F)(rows.clone()).double() - _expected(subject, rows.double(), F)
    error = float(gap.square().mean().sqrt())
    assert error <= 2e-5, f"{where}: {error:.2g} from the choice of float64, root mean square"


def _finite_beside(subject: Subject, columns: slice, value: float) -> None:
    rows = _normal(N, 5, 9)
    rows[-1, columns] = value  # the first row is MoNNA's reference
    try:
        result = subject.make(F)(rows)
    except Exception:  # noqa: BLE001 - whatever a library raises is an answer
        return
    assert result.isfinite().all(), f"a row with {value} makes the result {[round(entry, 2) for entry in result[:3].tolist()]}"
