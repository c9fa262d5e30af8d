"""SignVote: every client has one vote a coordinate."""

import torch

from phalanx.aggregators import Mean, SignVote


def test_sign_vote_by_hand_with_a_tie_that_moves_nothing() -> None:
    rows = torch.tensor([[5.0, -1.0, 2.0], [1.0, -1.0, -3.0], [-90.0, -1.0, 0.0]])
    torch.testing.assert_close(SignVote(step=0.5)(rows), torch.tensor([0.5, -0.5, 0.0]))


def test_sign_vote_holds_where_the_mean_breaks() -> None:
    rows = 1 + 0.1 * torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    rows[:6] = -1e4
    assert (Mean()(rows) < 0).all()
    assert torch.equal(SignVote(step=1.0, num_byzantine=6)(rows), torch.ones(50))
