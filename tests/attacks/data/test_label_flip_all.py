"""LabelFlipAll: every class becomes its mirror image."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from phalanx.attacks.data import LabelFlipAll
from phalanx.core.families import DataAttack
from phalanx.core.types import Draw, Samples
from phalanx.metrics import evaluate


def flipped(labels: Tensor, num_classes: int) -> Tensor:
    images = torch.ones(len(labels), 5)
    return LabelFlipAll().poison(images, labels, Draw(num_classes, torch.Generator()))[1]


def test_labels_are_mirrored_and_the_middle_of_an_odd_number_stays() -> None:
    assert flipped(torch.tensor([0, 1, 5, 9]), 10).tolist() == [9, 8, 4, 0]
    assert flipped(torch.tensor([0, 1, 2]), 3).tolist() == [2, 1, 0]


def test_flipping_twice_gives_the_labels_back() -> None:
    labels = torch.arange(7)
    assert flipped(flipped(labels, 7), 7).equal(labels)


def test_it_has_no_target_and_every_sample_counts() -> None:
    assert LabelFlipAll().success_class is None
    assert LabelFlipAll().eligible(torch.zeros(2, 1), torch.tensor([0, 1])).all()


def test_a_model_trained_on_it_is_wrong_wherever_labels_moved(
    train_on_quarters: Callable[[DataAttack | None], nn.Module], quarters_test: Samples
) -> None:
    evaluation = evaluate(train_on_quarters(LabelFlipAll()), quarters_test, poison=LabelFlipAll())
    assert evaluation.accuracy < 0.4
    assert evaluation.attack_success is None
    assert evaluation.num_eligible == 0
