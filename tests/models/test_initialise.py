"""Weights from a given generator, by torch's default formulas."""

import pytest
import torch
from torch import nn

from phalanx.core.errors import ConfigError
from phalanx.models.initialise import build, initialise


def test_a_layers_bound_is_one_over_the_root_of_its_fan_in():
    module = build(lambda: nn.Sequential(nn.Linear(400, 300), nn.Conv2d(4, 50, 5)), torch.Generator())
    linear, conv = module
    for tensor, bound in ((linear.weight, 1 / 20), (conv.weight, 1 / 10), (linear.bias, 1 / 20)):
        assert bound * 0.95 < tensor.abs().max() <= bound


def test_nothing_of_the_uninitialised_memory_survives():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm2d(4), nn.GroupNorm(2, 4))
    for tensor in module.state_dict().values():
        tensor.fill_(77)
    initialise(module, torch.Generator())
    assert not any((tensor == 77).any() for tensor in module.state_dict().values())


def test_a_layer_without_a_rule_is_an_error():
    with pytest.raises(ConfigError, match=r"Embedding has no rule"):
        initialise(nn.Embedding(2, 2), torch.Generator())


def test_the_constructors_draws_are_not_made(untouched_rng):
    build(lambda: nn.Linear(5, 5), torch.Generator())
