"""The conformance cases: all of ours pass, and every planted fault is found by the case that is there for it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from phalanx.aggregators import Krum, Mean, Median, MultiKrum, TrimmedMean
from phalanx.core.errors import ConfigError
from phalanx.testing.conformance import CASES, LIBRARIES, REFERENCES, Subject, conformance, run_case

OURS = list(LIBRARIES["phalanx"][1]())


@pytest.mark.parametrize("subject", OURS, ids=lambda subject: subject.name)
def test_our_rule_passes_every_case_that_concerns_it(subject: Subject) -> None:
    outcomes = [run_case(case, subject) for case in CASES]
    assert [(one.case, one.reason) for one in outcomes if one.passed is False] == []
    assert sum(one.passed is True for one in outcomes) >= 7


def test_every_reference_has_a_rule_of_ours() -> None:
    assert {subject.method for subject in OURS} == set(REFERENCES)


def in_place(f: int) -> Callable[[Tensor], Tensor]:
    def rule(rows: Tensor) -> Tensor:
        result = Mean()(rows)
        rows.clamp_(-1, 1)
        return result

    return rule


def one_neighbour_too_many(f: int) -> Callable[[Tensor], Tensor]:
    def rule(rows: Tensor) -> Tensor:
        distances = torch.cdist(rows, rows).square().sort(dim=1).values[:, 1 : len(rows) - f]
        return rows[int(distances.sum(dim=1).argmin())]

    return rule


def matrix_product_in_float32(f: int) -> Callable[[Tensor], Tensor]:
    def rule(rows: Tensor) -> Tensor:
        squares = rows.square().sum(dim=1)
        distances = (squares[:, None] + squares - 2 * rows @ rows.T).sort(dim=1).values[:, 1 : len(rows) - f - 1]
        return rows[int(distances.sum(dim=1).argmin())]

    return rule


def without_conditions(f: int) -> Callable[[Tensor], Tensor]:
    return Median()


def lower_of_the_two_middle_values(f: int) -> Callable[[Tensor], Tensor]:
    return lambda rows: rows.median(dim=0).values


def rounded(f: int) -> Callable[[Tensor], Tensor]:
    return lambda rows: TrimmedMean(f)(rows.float())


def shuffled_through_a_view(f: int) -> Callable[[Tensor], Tensor]:
    def rule(rows: Tensor) -> Tensor:
        buckets = rows.clone()
        for i, j in enumerate(torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()):
            buckets[i] = buckets[j]  # reads rows that were overwritten already
        return buckets.mean(dim=0)

    return rule


def a_random_start(f: int) -> Callable[[Tensor], Tensor]:
    return lambda rows: Mean()(rows) + 1e-3 * torch.randn(rows.shape[1])


def the_mean(f: int) -> Callable[[Tensor], Tensor]:
    return lambda rows: rows.mean(dim=0)


PLANTED = [
    ("the_papers_rule", "krum", one_neighbour_too_many),
    ("the_papers_rule", "median", lower_of_the_two_middle_values),
    ("the_papers_rule", "bucketing", shuffled_through_a_view),
    ("a_nan_row", "median", the_mean),
    ("an_infinite_row", "trimmed_mean", the_mean),
    ("the_papers_rule", "bucketing", lambda f: Median()),
    ("ties", "krum", one_neighbour_too_many),
    ("a_huge_row", "trimmed_mean", the_mean),
    ("a_far_attacker", "krum", matrix_product_in_float32),
    ("a_large_common_part", "krum", matrix_product_in_float32),
    ("the_order_of_rows", "mean", lambda f: lambda rows: rows[0]),
    ("the_same_call_again", "mean", a_random_start),
    ("identical_rows", "mean", lambda f: lambda rows: rows.sum(dim=0)),
    ("the_callers_rows", "mean", in_place),
    ("the_dtype", "trimmed_mean", rounded),
    ("too_few_rows", "trimmed_mean", without_conditions),
]


@pytest.mark.parametrize(("case", "method", "fault"), PLANTED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_planted_fault_is_found(case: str, method: str, fault: Callable[[int], Callable[[Tensor], Tensor]]) -> None:
    outcome = run_case(case, Subject("planted", method, fault))
    assert outcome.passed is False
    assert outcome.reason
    assert "\n" not in outcome.reason


def test_weights_by_claimed_counts_are_found() -> None:
    def weighted(f: int) -> Callable[[Tensor, list[int]], Tensor]:
        return lambda rows, counts: torch.tensor(counts, dtype=rows.dtype) @ rows / sum(counts)

    counting = Subject("planted", "multi_krum", MultiKrum, weighted)
    assert run_case("claimed_sample_counts", counting).passed is False
    fair = Subject("fair", "multi_krum", MultiKrum, lambda f: lambda rows, counts: MultiKrum(f)(rows))
    assert run_case("claimed_sample_counts", fair).passed is True
    assert run_case("claimed_sample_counts", Subject("without counts", "multi_krum", MultiKrum)).passed is None


def test_every_case_has_a_planted_fault() -> None:
    assert {case for case, _, _ in PLANTED} | {"claimed_sample_counts"} == set(CASES)


def test_a_rule_of_your_own_in_one_call() -> None:
    outcomes = conformance(one_neighbour_too_many, method="krum")
    assert {one.case for one in outcomes} == set(CASES)
    assert "the_papers_rule" in {one.case for one in outcomes if one.passed is False}
    with pytest.raises(ConfigError, match="There is no reference for 'krumm'; did you mean 'krum'"):
        conformance(Krum, method="krumm")
