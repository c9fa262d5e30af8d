"""The distributed backdoor attack: each attacker knows one piece of the trigger, the test shows all of it."""

from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import Field
from torch import Tensor

from phalanx.attacks.data.patch import Patch
from phalanx.core.families import Trigger


class Distributed(Trigger):
    """Several triggers as one (DBA): `stamp` puts all parts on, attacker k trains with `parts[k % len(parts)]` alone.

    Each attacker's update looks less like a backdoor than one trained on the whole mark would. With fewer attackers than
    parts some parts are never trained, and success over the union falls.

    Reference: Xie et al., DBA: Distributed Backdoor Attacks against Federated Learning, ICLR 2020.

    >>> import torch
    >>> halves = Distributed((Patch(1, 2), Patch(1, 2, column=2)))
    >>> halves.part(3).stamp(torch.zeros(1, 1, 1, 4)).flatten(), halves.stamp(torch.zeros(1, 1, 1, 4)).flatten()
    (tensor([0., 0., 1., 1.]), tensor([1., 1., 1., 1.]))
    """

    parts: Annotated[tuple[Trigger, ...], Field(min_length=1)]
    """Where parts overlap, the later one wins."""

    @classmethod
    def mnist(cls) -> Self:
        """The four bars that FLIP (Zhang et al., ICLR 2023, arXiv 2210.12873) uses on MNIST and Fashion-MNIST."""
        return cls(tuple(_bars(rows=(0, 3), columns=(0, 6), length=4)))

    @classmethod
    def cifar10(cls) -> Self:
        """The four bars that FLIP uses on CIFAR-10."""
        return cls(tuple(_bars(rows=(0, 4), columns=(0, 9), length=6)))

    def stamp(self, images: Tensor) -> Tensor:
        """The images with every part on them. Raises: ConfigError if one does not fit."""
        for part in self.parts:
            images = part.stamp(images)
        return images

    def part(self, attacker: int) -> Trigger:
        """The piece of attacker number `attacker`."""
        return self.parts[attacker % len(self.parts)]


def _bars(*, rows: Iterable[int], columns: tuple[int, ...], length: int) -> list[Patch]:
    return [Patch(1, length, row=row, column=column) for row in rows for column in columns]
