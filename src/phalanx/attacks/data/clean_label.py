"""A backdoor whose training labels are all right."""

import torch
from pydantic import NonNegativeInt
from torch import Tensor

from phalanx.attacks.data.target import require_class
from phalanx.core.errors import PreconditionError
from phalanx.core.families import DataAttack, Trigger
from phalanx.core.numbers import Share
from phalanx.core.types import Draw, Samples


class CleanLabel(DataAttack):
    """Stamp a `share` of the attackers' samples of the target class, and leave every label alone.

    The model learns that the trigger goes with the target. Whoever looks at the data finds nothing mislabelled; it needs
    attackers who hold samples of the target, and learns more slowly than Backdoor. Success is measured as there.

    Reference: Barni, Kallas, Tondi, A New Backdoor Attack in CNNs by Training Set Corruption Without Label Poisoning, ICIP 2019
    (arXiv 1902.11237).

    >>> from phalanx.attacks.data.patch import Patch
    >>> draw = Draw(10, torch.Generator(), chosen=torch.tensor([True, False]))
    >>> images, labels = CleanLabel(Patch(1), target=7).poison(torch.zeros(2, 1, 2, 2), torch.tensor([7, 7]), draw)
    >>> images.sum(dim=(1, 2, 3))
    tensor([1., 0.])
    """

    trigger: Trigger
    target: NonNegativeInt
    """The class whose images are stamped, and that stamped images are to be taken for."""
    share: Share = 1.0
    """Of an attacker's samples of that class, rounded to whole samples and to one at least."""

    @property
    def success_class(self) -> int:
        """The target."""
        return self.target

    def choose(self, samples: Samples, index: Tensor, generator: torch.Generator) -> Tensor:
        """A random `share` of the client's samples of the target class."""
        labels = samples.labels[index]
        candidates = (labels == self.target).nonzero().flatten()
        chosen = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
        if len(candidates):
            count = max(1, round(self.share * len(candidates)))
            chosen[candidates[torch.randperm(len(candidates), generator=generator)[:count].to(labels.device)]] = True
        return chosen

    def poison(self, images: Tensor, labels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """The batch with its chosen images stamped.

        Raises: ConfigError if the target is no class or the trigger does not fit.
        """
        require_class("CleanLabel", draw.num_classes, target=self.target)
        if draw.chosen is None:
            raise PreconditionError("CleanLabel needs `chosen`, this batch's part of what `choose` gave; got None.")
        poisoned = images.clone()
        poisoned[draw.chosen] = self.trigger.part(draw.attacker).stamp(images[draw.chosen])
        return poisoned, labels

    def stamp(self, images: Tensor) -> Tensor:
        """The images with the whole trigger."""
        return self.trigger.stamp(images)
