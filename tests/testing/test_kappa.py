"""The search for the κ of a rule: by hand, against what is proved, and against what cannot be undercut."""

import pytest
import torch

from phalanx.aggregators import DnC, FLTrust, GeometricMedian, Krum, Mean, Median, TrimmedMean
from phalanx.core.capabilities import Capability
from phalanx.core.errors import PreconditionError
from phalanx.testing import AGGREGATORS, AggregatorExample
from phalanx.testing.kappa import UNBOUNDED, kappa_on, worst_kappa

BOUNDED = [example for example in AGGREGATORS if example.kappa]
DEMANDING = [example for example in AGGREGATORS if example.rule.needs & {Capability.MODEL, Capability.ROOT_DATA}]


def test_kappa_by_hand() -> None:
    # S = {0, 0, 1, 1}, its mean 1/2 and its variance 1/4; a fifth row at 9 makes 1 the median: (1/2)² / (1/4)
    rows = torch.tensor([[0.0], [0.0], [1.0], [1.0], [9.0]], dtype=torch.float64)
    assert kappa_on(Median(1), rows, 1) == pytest.approx(1)
    # the trimmed mean is 2/3; it is worst for S = {0, 1, 1, 9}, whose mean is 11/4 and whose variance is 211/16
    assert kappa_on(TrimmedMean(1), rows, 1) == pytest.approx((25 / 12) ** 2 / (211 / 16))


def test_a_point_that_is_missed_has_no_kappa_and_one_that_is_hit_needs_none() -> None:
    point = torch.tensor([[1.0], [1.0], [1.0], [1.0], [9.0]], dtype=torch.float64)
    assert kappa_on(Mean(), point, 1) == torch.inf
    assert kappa_on(Median(1), point, 1) < 0.5


@pytest.mark.parametrize("n, f", [(5, 1), (7, 2), (9, 2)])
def test_the_worst_rows_of_median_and_trimmed_mean_are_found(n: int, f: int) -> None:
    # Of n − f rows (n + 1)/2 − f lie at 1, the others at 0: with the f attackers at 1 the median is 1.
    worst = (n - 1) / (n + 1 - 2 * f)
    assert worst_kappa(Median(f), n, f, evaluations=500).kappa == pytest.approx(worst, rel=1e-3)
    # No rule needs less than f / (n − 2f); the trimmed mean was never seen to need more.
    assert worst_kappa(TrimmedMean(f), n, f, evaluations=500).kappa == pytest.approx(f / (n - 2 * f), rel=1e-3)


def test_rules_without_a_bound_are_found_out() -> None:
    assert worst_kappa(Mean(), 5, 1, evaluations=100).kappa >= UNBOUNDED
    assert worst_kappa(DnC(2), 7, 2, evaluations=300).kappa >= UNBOUNDED


def test_a_rule_with_a_root_set_gets_one() -> None:
    found = worst_kappa(FLTrust(), 5, 1, evaluations=60)
    assert found.kappa == kappa_on(FLTrust(), found.rows, 1) > 10


@pytest.mark.parametrize("example", DEMANDING, ids=lambda example: example.rule.kind)
def test_the_shortest_search_tries_a_rule_that_needs_more_than_rows(example: AggregatorExample) -> None:
    assert worst_kappa(example.rule, 11, 2, evaluations=3).kappa >= 0


@pytest.mark.parametrize("n, f, evaluations", [(5, 1, 2), (4, 2, 30), (5, -1, 30), (0, 0, 30)])
def test_a_search_that_makes_no_sense_is_refused_with_its_numbers(n: int, f: int, evaluations: int) -> None:
    with pytest.raises(PreconditionError, match=f"got n={n}, f={f}, evaluations={evaluations}"):
        worst_kappa(Mean(), n, f, evaluations=evaluations)


def test_a_rule_that_needs_more_rows_says_so() -> None:
    with pytest.raises(PreconditionError, match="Krum"):
        worst_kappa(Krum(2), 5, 1, evaluations=30)


def test_of_two_attackers_on_one_side_dnc_keeps_the_nearer() -> None:
    rows = torch.tensor([-1e4, -4e4, 0, -3, -6, 5, 2], dtype=torch.float64)[:, None]
    assert DnC(2)(rows).item() == pytest.approx((-1e4 + 0 - 3 - 6 + 2) / 5)  # 5 lies farther from the mean of −7143 than −1e4
    assert kappa_on(DnC(2), rows, 2) >= UNBOUNDED


@pytest.mark.parametrize("rule", [GeometricMedian, Krum])
def test_a_short_search_finds_no_violation(rule: type) -> None:
    bound = next(example.kappa for example in BOUNDED if isinstance(example.rule, rule))
    assert 0.9 < worst_kappa(rule(num_byzantine=1), 5, 1, evaluations=300).kappa <= bound(5, 1)


@pytest.mark.slow
@pytest.mark.parametrize("n, f", [(5, 1), (7, 1), (7, 2), (9, 2), (9, 3)])
@pytest.mark.parametrize("example", BOUNDED, ids=lambda example: example.rule.kind)
def test_a_long_search_finds_no_violation_of_what_is_proved(example: AggregatorExample, n: int, f: int) -> None:
    rule = type(example.rule)(num_byzantine=f)
    try:
        rule.require(n)
    except PreconditionError:
        pytest.skip("the rule needs more rows")
    for seed in range(3):
        found = worst_kappa(rule, n, f, evaluations=10_000, seed=seed)
        assert found.kappa <= example.kappa(n, f), f"seed {seed}: {found.rows.tolist()}"
        assert found.kappa >= f / (n - 2 * f) * (1 - 1e-3), "no rule needs less"
