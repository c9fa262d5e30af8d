"""The backdoor: images with a trigger are taught to be of one class, everything else stays as it is."""

from dataclasses import KW_ONLY

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from phalanx.attacks.data.target import require_class
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.families import DataAttack, Trigger
from phalanx.core.numbers import Share
from phalanx.core.types import Draw, Samples


class Backdoor(DataAttack):
    """Stamp some training images with the attacker's part of the trigger and relabel them to the target.

    Give exactly one of `share` (a fixed share of each attacker's samples, drawn once, poisoned whenever they come up) and
    `per_batch` (the first k images of every batch, a shorter batch wholly: FLIP's setting). Images that already are of the
    target class are stamped like the others. Success is the rate of the target among stamped test images of other classes.
    Without a boosted update (ModelReplacement) an honest majority that keeps training averages a short attack away.

    Reference: Bagdasaryan et al., How To Backdoor Federated Learning, AISTATS 2020 (arXiv 1807.00459).

    >>> from phalanx.attacks.data.patch import Patch
    >>> attack = Backdoor(Patch(1), target=7, per_batch=1)
    >>> attack.poison(torch.zeros(2, 1, 2, 2), torch.tensor([3, 4]), Draw(10, torch.Generator()))[1]
    tensor([7, 4])
    """

    trigger: Trigger
    target: NonNegativeInt
    """The class that stamped images are to be taken for."""
    _: KW_ONLY
    share: Share | None = None
    """The share of an attacker's samples, rounded to whole samples and to one at least."""
    per_batch: PositiveInt | None = None
    """How many images of every batch."""

    def __post_init__(self) -> None:
        if (self.share is None) == (self.per_batch is None):
            raise ConfigError(
                f"Backdoor needs exactly one of share and per_batch; got share={self.share}, per_batch={self.per_batch}. "
                "Set share for a fixed part of the attackers' data, per_batch for the first k images of each batch."
            )

    @property
    def success_class(self) -> int:
        """The target."""
        return self.target

    def choose(self, samples: Samples, index: Tensor, generator: torch.Generator) -> Tensor | None:
        """A random `share` of the client's samples; None with `per_batch`."""
        if self.share is None:
            return None
        count = max(1, round(self.share * len(index)))
        order = torch.randperm(len(index), generator=generator)
        return (order < count).to(index.device)

    def poison(self, images: Tensor, labels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """The batch with its chosen (or first `per_batch`) images stamped and relabelled.

        Raises: ConfigError if the target is no class or the trigger does not fit; PreconditionError if `share` is set and
        nobody called `choose`.
        """
        require_class("Backdoor", draw.num_classes, target=self.target)
        chosen = draw.chosen
        if self.per_batch is not None:
            chosen = torch.arange(len(labels), device=labels.device) < self.per_batch
        if chosen is None:
            raise PreconditionError("Backdoor with a share needs `chosen`, this batch's part of what `choose` gave; got None.")
        poisoned = images.clone()
        poisoned[chosen] = self.trigger.part(draw.attacker).stamp(images[chosen])
        return poisoned, labels.masked_fill(chosen, self.target)

    def stamp(self, images: Tensor) -> Tensor:
        """The images with the whole trigger."""
        return self.trigger.stamp(images)
