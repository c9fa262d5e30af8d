"""LabelFlip: one class becomes another."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from phalanx.attacks.data import LabelFlip
from phalanx.core.errors import ConfigError
from phalanx.core.families import DataAttack
from phalanx.core.types import Draw, Samples
from phalanx.metrics import evaluate

LABELS = torch.tensor([0, 1, 2, 1])


def flipped(attack: LabelFlip) -> tuple[Tensor, Tensor]:
    return attack.poison(torch.ones(4, 5), LABELS, Draw(3, torch.Generator()))


def test_only_the_source_class_is_relabelled_and_images_stay() -> None:
    before = LABELS.clone()
    images, labels = flipped(LabelFlip(1, target=2))
    assert labels.tolist() == [0, 2, 2, 2]
    assert images.equal(torch.ones(4, 5))
    assert LABELS.equal(before)


def test_success_counts_over_unchanged_test_samples_of_the_source_class() -> None:
    attack = LabelFlip(1, target=2)
    assert attack.success_class == 2
    assert attack.eligible(torch.ones(4, 5), LABELS).tolist() == [False, True, False, True]
    images = torch.ones(4, 5)
    assert attack.stamp(images) is images


def test_a_class_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"LabelFlip.source .*0..2; got 3"):
        flipped(LabelFlip(3, target=0))
    with pytest.raises(ConfigError, match=r"LabelFlip.target .*0..2; got 5"):
        flipped(LabelFlip(0, target=5))
    with pytest.raises(ConfigError, match="two classes"):
        LabelFlip(1, target=1)


def test_a_model_trained_on_it_confuses_this_pair_and_no_other(
    train_on_quarters: Callable[[DataAttack | None], nn.Module], quarters_test: Samples
) -> None:
    attack = LabelFlip(0, target=1)
    evaluation = evaluate(train_on_quarters(attack), quarters_test, poison=attack)
    assert evaluation.attack_success == 1
    assert evaluation.num_eligible == 50
    assert evaluation.accuracy == pytest.approx(2 / 3)
    assert evaluate(train_on_quarters(None), quarters_test, poison=attack).attack_success == 0
