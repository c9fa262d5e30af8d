"""`AdaptiveAttack`: what attackers share who know of a defence and leave the rest to another attack."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import nn

from phalanx.core.families import InversionAttack
from phalanx.core.leak import Leak, Reconstruction, Watch


class AdaptiveAttack(InversionAttack, ABC):
    """`attack` by someone who knows the defence: its leaks say more, or what it finds is worked on."""

    attack: InversionAttack

    @abstractmethod
    def taken(self, leak: Leak) -> Leak:
        """The leak as someone takes it who knows the defence."""

    def check(self, leak: Leak, model: nn.Module) -> None:
        self.attack.check(self.taken(leak), model)

    def reconstruct(self, leak: Leak, model: nn.Module, generator: torch.Generator) -> Reconstruction:
        return self.reconstruct_all((leak,), model, generator)[0]

    def reconstruct_all(
        self, leaks: Sequence[Leak], model: nn.Module, generator: torch.Generator, *, watch: Watch | None = None
    ) -> list[Reconstruction]:
        return self.attack.reconstruct_all([self.taken(leak) for leak in leaks], model, generator, watch=watch)
