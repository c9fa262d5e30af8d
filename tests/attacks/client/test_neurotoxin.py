"""Neurotoxin: a backdoor in the weights that honest clients hardly touch."""

import dataclasses

import pytest
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


def test_the_coordinates_are_chosen_once_a_round_and_anew_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, topk = [], torch.Tensor.topk
    monkeypatch.setattr(torch.Tensor, "topk", lambda self, count: chosen.append(count) or topk(self, count))
    update, seen = torch.tensor([3.0, 1.0, 0.0, 2.0]), []
    for _ in range(2):
        context = dataclasses.replace(RoundContext.for_matrix(torch.zeros(1, 4)), previous_update=update)
        for _ in range(3):
            KeepOffTopCoordinates(share=0.25).gradient(gradient := torch.ones(1, 4), torch.zeros(1, 4), context)
            seen.append(gradient[0].tolist())
        update.copy_(torch.tensor([0.0, 5.0, 0.0, 1.0]))  # as workers do: the same tensor with other values
    assert seen == [[0.0, 1.0, 1.0, 1.0]] * 3 + [[1.0, 0.0, 1.0, 1.0]] * 3
    assert chosen == [1, 1]
