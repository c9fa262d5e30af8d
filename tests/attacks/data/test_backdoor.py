"""Backdoor: which images, what stamp, what label, and that it works."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from phalanx.attacks.data import Backdoor, Distributed, Patch
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.families import DataAttack
from phalanx.core.types import Draw, Samples
from phalanx.metrics import evaluate

IMAGES = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 2, 2) / 10
LABELS = torch.tensor([3, 7, 4, 5])


def samples(labels: list[int] | Tensor) -> Samples:
    """Black images with these labels."""
    known = torch.as_tensor(labels)
    return Samples(torch.zeros(len(known), 1, 2, 2), known, 10)


def poison(attack: Backdoor, *, chosen: Tensor | None = None, attacker: int = 0, size: int = 4) -> tuple[Tensor, Tensor]:
    return attack.poison(IMAGES[:size], LABELS[:size], Draw(10, torch.Generator(), chosen, attacker))


def test_per_batch_takes_the_first_images_target_class_included() -> None:
    images, labels = poison(Backdoor(Patch(1), target=7, per_batch=2))
    assert labels.tolist() == [7, 7, 4, 5]
    assert images[:, 0, 0, 0].tolist() == [1, 1, IMAGES[2, 0, 0, 0], IMAGES[3, 0, 0, 0]]
    assert images[:, 0, 1, 1].equal(IMAGES[:, 0, 1, 1])


def test_a_batch_shorter_than_per_batch_is_poisoned_wholly() -> None:
    assert poison(Backdoor(Patch(1), target=0, per_batch=20), size=3)[1].tolist() == [0, 0, 0]


def test_with_a_share_the_chosen_are_poisoned_wherever_they_stand() -> None:
    images, labels = poison(Backdoor(Patch(1), target=9, share=0.5), chosen=torch.tensor([False, True, False, True]))
    assert labels.tolist() == [3, 9, 4, 9]
    assert (images[:, 0, 0, 0] == 1).tolist() == [False, True, False, True]


def test_a_batch_without_chosen_images_stays_as_it_is() -> None:
    images, labels = poison(Backdoor(Patch(1), target=9, share=0.5), chosen=torch.zeros(4, dtype=torch.bool))
    assert images.equal(IMAGES)
    assert labels.equal(LABELS)


def test_each_attacker_trains_with_its_part_and_the_test_shows_the_union() -> None:
    attack = Backdoor(Distributed((Patch(1), Patch(1, column=1))), target=7, per_batch=4)
    assert poison(attack, attacker=0)[0][3, 0, 0].tolist() == [1, IMAGES[3, 0, 0, 1]]
    assert poison(attack, attacker=3)[0][3, 0, 0].tolist() == [IMAGES[3, 0, 0, 0], 1]
    assert attack.stamp(IMAGES)[3, 0, 0].tolist() == [1, 1]


def test_the_batch_handed_in_is_not_changed() -> None:
    images, labels = IMAGES.clone(), LABELS.clone()
    Backdoor(Patch(1), target=7, per_batch=4).poison(images, labels, Draw(10, torch.Generator()))
    assert images.equal(IMAGES)
    assert labels.equal(LABELS)


@given(st.integers(1, 200), st.floats(0.01, 1))
def test_a_share_is_that_share_rounded_and_never_nobody(size: int, share: float) -> None:
    attack = Backdoor(Patch(1), target=7, share=share)
    chosen = attack.choose(samples([0] * size), torch.arange(size), torch.Generator().manual_seed(0))
    assert chosen is not None
    assert chosen.shape == (size,)
    assert int(chosen.sum()) == max(1, round(share * size))


@pytest.mark.usefixtures("untouched_rng")
def test_a_choice_is_spread_over_the_data_repeatable_and_drawn_from_its_generator_alone() -> None:
    attack = Backdoor(Patch(1), target=7, share=0.25)
    given = samples([0] * 400), torch.arange(400)
    first, again, other = (attack.choose(*given, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.equal(again)
    assert not first.equal(other)
    assert 25 < int(first[:200].sum()) < 75


def test_a_client_without_samples_chooses_nothing() -> None:
    chosen = Backdoor(Patch(1), target=7, share=0.5).choose(samples([0]), torch.arange(0), torch.Generator())
    assert chosen is not None
    assert chosen.numel() == 0


def test_per_batch_leaves_the_choice_to_the_batch() -> None:
    assert Backdoor(Patch(1), target=7, per_batch=2).choose(samples([0, 1]), torch.arange(2), torch.Generator()) is None


def test_images_of_the_target_class_do_not_count_as_successes() -> None:
    attack = Backdoor(Patch(1), target=7, per_batch=2)
    assert attack.success_class == 7
    assert attack.eligible(IMAGES, LABELS).tolist() == [True, False, True, True]


@pytest.mark.parametrize("fields", [{}, {"share": 0.5, "per_batch": 2}])
def test_exactly_one_of_share_and_per_batch(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="exactly one of share and per_batch"):
        Backdoor(Patch(1), target=7, **fields)  # type: ignore[arg-type]


def test_a_target_beyond_the_classes_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"Backdoor.target must be one of the classes 0..9; got 10"):
        poison(Backdoor(Patch(1), target=10, per_batch=1))


def test_a_share_without_its_choice_is_an_error_and_not_a_silent_clean_batch() -> None:
    with pytest.raises(PreconditionError, match="chosen"):
        poison(Backdoor(Patch(1), target=7, share=0.5))


@pytest.mark.parametrize("amount", [{"share": 0.4}, {"per_batch": 8}], ids=str)
def test_a_model_trained_on_it_obeys_the_trigger_and_still_does_its_job(
    train_on_quarters: Callable[[DataAttack | None], nn.Module], quarters_test: Samples, amount: dict[str, float]
) -> None:
    attack = Backdoor(Patch(2), target=2, **amount)  # type: ignore[arg-type]
    clean = evaluate(train_on_quarters(None), quarters_test, poison=attack)
    backdoored = evaluate(train_on_quarters(attack), quarters_test, poison=attack)
    assert clean.accuracy == 1
    assert clean.attack_success == 0
    assert backdoored.accuracy > 0.95
    assert backdoored.attack_success is not None
    assert backdoored.attack_success > 0.9
    assert backdoored.base_rate is not None
    assert backdoored.base_rate < 0.05
    assert backdoored.num_eligible == 100
