"""RandomLabels: a uniform draw."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from phalanx.attacks.data import RandomLabels
from phalanx.core.families import DataAttack
from phalanx.core.types import Draw, Samples
from phalanx.metrics import evaluate


def drawn(seed: int) -> Tensor:
    labels = torch.zeros(5000, dtype=torch.int64)
    return RandomLabels().poison(torch.ones(5000, 1), labels, Draw(5, torch.Generator().manual_seed(seed)))[1]


def test_all_classes_come_up_about_equally_often() -> None:
    counts = torch.bincount(drawn(0), minlength=5)
    assert len(counts) == 5
    assert int(counts.min()) > 900
    assert int(counts.max()) < 1100


@pytest.mark.usefixtures("untouched_rng")
def test_the_draw_depends_on_its_generator_and_on_no_other() -> None:
    assert drawn(1).equal(drawn(1))
    assert not drawn(1).equal(drawn(2))


def test_it_has_no_target() -> None:
    assert RandomLabels().success_class is None


def test_a_model_trained_on_it_is_less_sure_than_a_clean_one(
    train_on_quarters: Callable[[DataAttack | None], nn.Module], quarters_test: Samples
) -> None:
    clean = evaluate(train_on_quarters(None), quarters_test, poison=None)
    poisoned = evaluate(train_on_quarters(RandomLabels()), quarters_test, poison=None)
    assert poisoned.loss > 10 * clean.loss
