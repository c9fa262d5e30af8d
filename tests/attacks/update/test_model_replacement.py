"""ModelReplacement: the factor with which the server ends at the attackers' model."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.attacks.update import ModelReplacement
from phalanx.core.types import AttackView, Crafted, RoundContext


def craft(own: torch.Tensor, n: int, server_lr: float) -> Crafted:
    view = AttackView(own=own, own_clean=lambda: own, num_updates=n)
    return ModelReplacement(server_lr=server_lr).craft(view, {}, RoundContext.for_matrix(own))[0]


def test_the_published_single_shot_scale_of_100_comes_out() -> None:
    crafted = craft(torch.tensor([[0.5]]), n=10, server_lr=0.1)
    assert crafted.metrics == {"factor": pytest.approx(100)}
    assert crafted.rows.item() == pytest.approx(50)


@given(f=st.integers(1, 5), h=st.integers(1, 20), server_lr=st.floats(0.01, 2))
def test_beside_honest_updates_that_cancel_out_the_server_takes_the_attackers_mean_model(
    f: int, h: int, server_lr: float
) -> None:
    generator = torch.Generator().manual_seed(f)
    honest = torch.randn(h, 6, generator=generator, dtype=torch.float64)
    honest -= honest.mean(0)
    own = torch.randn(f, 6, generator=generator, dtype=torch.float64)
    crafted = craft(own, n=f + h, server_lr=server_lr)
    step = server_lr * torch.cat([honest, crafted.rows]).mean(0)
    torch.testing.assert_close(step, own.mean(0))


def test_called_on_rows_the_attackers_stand_for_the_honest_mean() -> None:
    honest = torch.tensor([[1.0], [3.0]])
    assert ModelReplacement()(honest, num_byzantine=2).flatten().tolist() == [4, 4]
