"""Flame's two noises: how much they are, and what they refuse."""

import math

import pytest
import torch

from phalanx.aggregators import Flame, PaperNoise, ParameterStdNoise
from phalanx.core.errors import ConfigError
from phalanx.core.families import Aggregator
from phalanx.core.types import RoundContext


def test_lambda_is_given_or_follows_from_epsilon_and_delta() -> None:
    assert PaperNoise().factor == 0.001
    assert PaperNoise(level=0.0).factor == 0
    assert PaperNoise(epsilon=3000, delta=0.01).factor == pytest.approx(0.001036, abs=5e-7)
    assert PaperNoise(epsilon=1.0, delta=1e-5).factor == math.sqrt(2 * math.log(1.25e5))


@pytest.mark.parametrize("fields", [{"epsilon": 1.0}, {"delta": 0.1}, {"level": 0.1, "epsilon": 1.0, "delta": 0.1}])
def test_half_given_or_double_lambdas_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="PaperNoise needs level, or epsilon and delta"):
        PaperNoise(**fields)


def test_sigma_is_a_standard_deviation_not_a_variance() -> None:
    update = torch.ones(4)
    assert PaperNoise(level=0.1).std(update, 3.0, RoundContext.for_matrix(update[None])).item() == pytest.approx(0.3)


def test_the_std_of_a_tensor_is_that_of_the_aggregated_model() -> None:
    update = torch.tensor([1.0, 2.0, 3.0, 6.0])
    std = ParameterStdNoise(level=0.5).std(update, 2.0, RoundContext.for_matrix(update[None]))
    torch.testing.assert_close(std, torch.full((4,), update.std().item()))


def test_noise_is_chosen_by_kind_in_a_table() -> None:
    rule = Flame(space="update", noise=ParameterStdNoise(level=1e-4))
    assert rule.to_table() == {"kind": "flame", "space": "update", "noise": {"kind": "parameter_std", "level": 1e-4}}
    assert Aggregator.from_table(rule.to_table()) == rule
    with pytest.raises(ConfigError, match="did you mean 'paper'"):
        Aggregator.from_table({"kind": "flame", "noise": {"kind": "papr"}})
