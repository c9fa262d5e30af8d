"""SignGuard: rows of unusual length or with unusual signs are dropped."""

import pytest
import torch

from phalanx.aggregators import Mean, SignGuard
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.types import RoundContext, Updates


def influence(rule: SignGuard, rows: torch.Tensor) -> list[float]:
    aggregate, _ = rule.aggregate(Updates.of(rows), {}, RoundContext.for_matrix(rows))
    return aggregate.influence.tolist()


def test_lengths_and_signs_decide_and_what_is_left_is_clipped_to_the_median() -> None:
    rows = torch.tensor([[3.0, 4.0], [4.0, 3.0], [3.0, 3.0], [6.0, 8.0], [-3.0, -4.0], [0.1, 0.1], [90.0, 90.0]])
    # median norm 5: 0.1 and 127 are too short and too long, (−3, −4) has other signs, (6, 8) is halved
    assert influence(SignGuard(share=1.0), rows) == pytest.approx([0.25, 0.25, 0.25, 0.125, 0, 0, 0])


def test_sign_flippers_are_found_among_noisy_rows() -> None:
    rows = 0.3 + torch.randn(20, 4000, generator=torch.Generator().manual_seed(0))
    rows[:6] *= -1
    shares = influence(SignGuard(), rows)
    assert not any(shares[:6])
    assert all(shares[6:])
    assert SignGuard()(rows).mean() > 0.25 > 0.15 > Mean()(rows).mean()


def test_limits_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"SignGuard needs lower < upper; got lower=3\.0, upper=0\.1"):
        SignGuard(lower=3.0, upper=0.1)


def test_fewer_than_four_rows_are_refused_where_one_attacker_would_decide_alone() -> None:
    rows = 1 + torch.randn(4, 500, generator=torch.Generator().manual_seed(0))
    rows[-1] = -rows[:-1].mean(dim=0).abs()
    assert influence(SignGuard(share=1.0), rows)[-1] == 0
    with pytest.raises(PreconditionError, match="SignGuard needs n >= 4 updates to tell a majority; got n=3"):
        SignGuard(share=1.0)(rows[1:])


def test_of_two_clusters_as_large_flipped_signs_do_not_win() -> None:
    # 3 of 7 flip their signs; of the honest one has fewer positive entries than the others, and is a cluster of its own.
    positives = torch.tensor([0, 0, 0, 60, 90, 90, 90])
    rows = torch.where(torch.arange(100) < positives[:, None], 1.0, -1.0)
    assert influence(SignGuard(share=1.0), rows) == pytest.approx([0, 0, 0, 0, 1 / 3, 1 / 3, 1 / 3])
