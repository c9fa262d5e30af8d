"""OwnTraining: another trainer, nothing else."""

import pytest

from phalanx.attacks.client import OwnTraining
from phalanx.core.errors import ConfigError
from phalanx.core.families import Trainer
from phalanx.core.types import Cohort, RoundContext, Rows, State


class _SomeTrainer(Trainer):
    epochs: int

    def train(self, cohort: Cohort, state: State, context: RoundContext, out: Rows) -> State:
        raise NotImplementedError


def test_attackers_train_with_their_own_and_without_hooks() -> None:
    attack = OwnTraining(_SomeTrainer(10))
    assert attack.training(_SomeTrainer(1)) == _SomeTrainer(10)
    assert attack.hooks() == ()


def test_a_trainer_is_required() -> None:
    with pytest.raises(ConfigError, match="trainer"):
        OwnTraining()  # type: ignore[call-arg]
