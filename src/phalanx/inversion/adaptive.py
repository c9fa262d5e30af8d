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

    def reconstruct(self, leak: Leak, model: nn.Module, generator: torch.Generator) -> Reconstruction:
        return self.reconstruct_all((leak,), model, generator)[0]

    @abstractmethod
    def reconstruct_all(
        self, leaks: Sequence[Leak], model: nn.Module, generator: torch.Generator, *, watch: Watch | None = None
    ) -> list[Reconstruction]: ...
