"""Neurotoxin: a backdoor in the weights that honest clients hardly touch."""

import dataclasses

import torch

from phalanx.attacks.client import KeepOffTopCoordinates
from phalanx.core.types import RoundContext


def test_the_largest_coordinates_of_the_last_step_are_left_alone() -> None:
    context = RoundContext.for_matrix(torch.zeros(2, 4))
    moved = dataclasses.replace(context, previous_update=torch.tensor([0.1, -3.0, 0.2, 2.0]))
    gradient = torch.ones(2, 4)
    KeepOffTopCoordinates(share=0.5).gradient(gradient, torch.zeros(2, 4), moved)
    assert gradient.tolist() == [[1.0, 0.0, 1.0, 0.0]] * 2


def test_before_the_first_step_nothing_is_masked() -> None:
    gradient = torch.ones(1, 4)
    KeepOffTopCoordinates(share=0.5).gradient(gradient, torch.zeros(1, 4), RoundContext.for_matrix(torch.zeros(1, 4)))
    assert gradient.all()
