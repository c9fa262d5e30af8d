"""FangTrim: every coordinate just outside the honest ones, on the wrong side."""

import torch

from phalanx.aggregators import Mean, Median, TrimmedMean
from phalanx.attacks.update import FangTrim
from phalanx.core.types import AttackView, RoundContext


def test_with_full_knowledge_every_value_lies_between_the_extreme_and_b_times_beyond() -> None:
    honest = torch.tensor([[2.0, -1.0, -6.0, 1.0], [4.0, 5.0, -2.0, -9.0]])
    rows = FangTrim(b=2.0)(honest, num_byzantine=500)
    # means 3, 2, −4, −4: below 2 (positive), below −1, above −2 (negative), above 1
    low, high = torch.tensor([1.0, -2.0, -2.0, 1.0]), torch.tensor([2.0, -1.0, -1.0, 2.0])
    assert ((rows >= low) & (rows <= high)).all()
    torch.testing.assert_close(rows.amin(0), low, atol=0.02, rtol=0)
    torch.testing.assert_close(rows.amax(0), high, atol=0.02, rtol=0)


def test_with_its_own_rows_alone_the_values_are_three_to_four_deviations_away() -> None:
    own = torch.tensor([[1.0, -5.0], [3.0, -1.0]])
    view = AttackView(own=own.new_zeros(300, 2), own_clean=lambda: own, num_updates=400)
    rows = FangTrim(knowledge="own").craft(view, {}, RoundContext.for_matrix(own))[0].rows
    assert ((rows[:, 0] >= 2 - 4) & (rows[:, 0] <= 2 - 3)).all()
    assert ((rows[:, 1] >= -3 + 6) & (rows[:, 1] <= -3 + 8)).all()


def test_who_sees_only_his_own_row_sends_it_and_says_so() -> None:
    own = torch.tensor([[1.0, -5.0]])
    view = AttackView(own=own, own_clean=lambda: own, num_updates=10)
    crafted, _ = FangTrim(knowledge="own").craft(view, {}, RoundContext.for_matrix(own))
    assert crafted.rows.equal(own)
    assert crafted.metrics == {"room": 0}
    honest = AttackView(own=own, own_clean=lambda: own, num_updates=10, honest=torch.tensor([[1.0, -5.0], [2.0, 3.0]]))
    assert FangTrim().craft(honest, {}, RoundContext.for_matrix(own))[0].metrics == {"room": 1}


def test_it_moves_the_trimmed_mean_and_the_median_against_the_honest_mean_more_than_random_rows_would() -> None:
    honest = 1 + torch.randn(16, 400, generator=torch.Generator().manual_seed(0))
    malicious = FangTrim()(honest, num_byzantine=4)
    for rule in (TrimmedMean(num_byzantine=4), Median(num_byzantine=4)):
        attacked = rule(torch.cat([malicious, honest])).mean()
        assert attacked < rule(honest).mean() - 0.25
    assert Mean()(honest).mean() > 0.9
