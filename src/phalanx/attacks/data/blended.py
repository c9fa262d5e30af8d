"""A trigger that is spread over the whole image: a faint random pattern."""

from dataclasses import KW_ONLY

import torch
from pydantic import NonNegativeInt
from torch import Tensor

from phalanx.attacks.data.paint import require_inside
from phalanx.core import rng
from phalanx.core.families import Trigger
from phalanx.core.numbers import Share


class Blended(Trigger):
    """(1 − α) · image + α · pattern, the pattern uniform noise drawn once from `seed`.

    No pixel gives it away, and local edits do not remove it; small models learn it slowly.

    Reference: Chen, Liu, Li, Lu, Song, Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning, 2017
    (arXiv 1712.05526), "blended injection" with random noise.

    >>> Blended(alpha=1.0).stamp(torch.zeros(2, 1, 2, 2)).unique().numel()
    4
    """

    alpha: Share = 0.2
    _: KW_ONLY
    seed: NonNegativeInt = 0

    def stamp(self, images: Tensor) -> Tensor:
        """The images with the pattern in them. Raises: ConfigError if they are no images."""
        require_inside(images, 0, 0, who=repr(self))
        pattern = torch.rand(images.shape[1:], generator=rng.generator(self.seed, "blended trigger"))
        return torch.lerp(images, pattern.to(images), self.alpha)
