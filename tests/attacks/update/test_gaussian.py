"""Gaussian: normal, around zero, its own generator."""

import torch

from phalanx.attacks.update import Gaussian
from phalanx.core.types import RoundContext

HONEST = torch.ones(3, 20_000)


def test_rows_are_normal_around_zero_wherever_the_honest_rows_are() -> None:
    rows = Gaussian(2.0)(HONEST * 100, num_byzantine=2)
    assert abs(float(rows.mean())) < 0.05
    assert abs(float(rows.std()) - 2) < 0.05
    kurtosis = float((rows / rows.std()).pow(4).mean())
    assert abs(kurtosis - 3) < 0.15, "3 for a normal, 1.8 for a uniform distribution"


def test_the_draw_is_the_stated_generators() -> None:
    context = RoundContext.for_matrix(HONEST, seed=5)
    expected = 0.5 * torch.randn(2, 20_000, generator=context.generator("gaussian attack"))
    assert Gaussian(0.5)(HONEST, num_byzantine=2, context=context).equal(expected)


def test_attackers_rounds_and_seeds_differ_and_repeat() -> None:
    def rows(round: int, seed: int) -> torch.Tensor:
        base = RoundContext.for_matrix(HONEST, seed=seed)
        context = RoundContext(round, seed, base.layout, base.global_params, base.global_buffers)
        return Gaussian()(HONEST, num_byzantine=2, context=context)

    first = rows(0, 0)
    assert rows(0, 0).equal(first)
    assert not first[0].equal(first[1])
    assert not rows(1, 0).equal(first)
    assert not rows(0, 1).equal(first)


def test_it_drowns_the_mean() -> None:
    attacked = torch.cat([HONEST, Gaussian(200.0)(HONEST, num_byzantine=1)]).mean(0)
    assert float((attacked - 1).norm()) > 20 * float(HONEST[0].norm())
