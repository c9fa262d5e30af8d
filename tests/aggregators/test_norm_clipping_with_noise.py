"""NormClippingWithNoise: what NormClipping gives, plus Gaussian noise of the round's own."""

import dataclasses

import pytest
import torch

from phalanx.aggregators import NormClipping, NormClippingWithNoise
from phalanx.core.types import RoundContext, Updates

ROWS = torch.randn(5, 20_000, generator=torch.Generator().manual_seed(0))


def test_the_noise_has_the_standard_deviation_it_names_and_no_mean() -> None:
    noise = NormClippingWithNoise(max_norm=1.0, noise_std=0.5)(ROWS) - NormClipping(max_norm=1.0)(ROWS)
    assert noise.std().item() == pytest.approx(0.5, rel=0.03)
    assert abs(noise.mean().item()) < 4 * 0.5 / len(noise) ** 0.5
    assert noise.abs().max() > 1.5, "normal, not uniform"


def test_noise_is_new_in_every_round_and_the_same_for_the_same_round() -> None:
    rule, context = NormClippingWithNoise(max_norm=1.0), RoundContext.for_matrix(ROWS)
    first, again = rule(ROWS, context=context), rule(ROWS, context=context)
    other = rule(ROWS, context=dataclasses.replace(context, round=1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_influence_and_metrics_are_those_of_the_clipping() -> None:
    context = RoundContext.for_matrix(ROWS)
    noisy, _ = NormClippingWithNoise(max_norm=1.0).aggregate(Updates.of(ROWS), {}, context)
    plain, _ = NormClipping(max_norm=1.0).aggregate(Updates.of(ROWS), {}, context)
    assert noisy.influence is not None
    assert plain.influence is not None
    assert torch.equal(noisy.influence, plain.influence)
    assert noisy.metrics == plain.metrics


def test_no_noise_is_norm_clipping() -> None:
    assert torch.equal(NormClippingWithNoise(max_norm=1.0, noise_std=0.0)(ROWS), NormClipping(max_norm=1.0)(ROWS))
