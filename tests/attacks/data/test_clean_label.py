"""CleanLabel: a backdoor whose training labels are all right."""

import pytest
import torch
from torch import Tensor

from phalanx.attacks.data import CleanLabel, Patch
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.types import Draw, Samples


def samples(labels: list[int] | Tensor) -> Samples:
    """Black images with these labels."""
    known = torch.as_tensor(labels)
    return Samples(torch.zeros(len(known), 1, 2, 2), known, 10)


def test_only_samples_of_the_target_are_chosen_and_no_label_changes() -> None:
    attack, labels = CleanLabel(Patch(1), target=3, share=0.5), torch.tensor([3, 1, 3, 3, 2, 3])
    chosen = attack.choose(samples(labels), torch.arange(6), torch.Generator().manual_seed(0))
    assert int(chosen.sum()) == 2
    assert (labels[chosen] == 3).all()
    images, poisoned = attack.poison(torch.zeros(6, 1, 2, 2), labels, Draw(10, torch.Generator(), chosen=chosen))
    assert torch.equal(poisoned, labels)
    assert torch.equal(images.amax(dim=(1, 2, 3)) == 1, chosen)


def test_a_client_without_the_target_poisons_nothing() -> None:
    assert not CleanLabel(Patch(1), target=3).choose(samples([1, 2]), torch.arange(2), torch.Generator()).any()


def test_success_is_measured_on_other_classes() -> None:
    attack = CleanLabel(Patch(1), target=3)
    assert attack.success_class == 3
    assert attack.eligible(torch.zeros(2, 1, 2, 2), torch.tensor([3, 1])).tolist() == [False, True]


def test_a_target_that_is_no_class_and_a_missing_choice_are_errors() -> None:
    batch = torch.zeros(1, 1, 2, 2), torch.tensor([3])
    with pytest.raises(ConfigError, match=r"CleanLabel\.target must be one of the classes 0\.\.2; got 3"):
        CleanLabel(Patch(1), target=3).poison(*batch, Draw(3, torch.Generator(), chosen=torch.tensor([True])))
    with pytest.raises(PreconditionError, match="CleanLabel needs `chosen`"):
        CleanLabel(Patch(1), target=3).poison(*batch, Draw(10, torch.Generator()))
