"""A trigger of vertical stripes, fading into each other."""

from dataclasses import KW_ONLY
from math import tau

import torch
from pydantic import PositiveInt
from torch import Tensor

from phalanx.attacks.data.paint import require_inside
from phalanx.core.families import Trigger
from phalanx.core.numbers import Share


class Sinusoidal(Trigger):
    """image + δ sin(2π j f / W) for column j of W, cut off at 0 and 1 (SIG).

    Made for clean labels (CleanLabel), where the model must learn the stripes beside the object. On black background half of
    the wave is cut off.

    Reference: Barni, Kallas, Tondi, A New Backdoor Attack in CNNs by Training Set Corruption Without Label Poisoning, ICIP 2019
    (arXiv 1902.11237).

    >>> Sinusoidal(delta=0.5, frequency=1).stamp(torch.full((1, 1, 1, 4), 0.5))
    tensor([[[[0.5000, 1.0000, 0.5000, 0.0000]]]])
    """

    delta: Share = 0.08
    """The amplitude; the paper takes about 20 of 255."""
    _: KW_ONLY
    frequency: PositiveInt = 6

    def stamp(self, images: Tensor) -> Tensor:
        """The images with the stripes on them. Raises: ConfigError if they are no images."""
        require_inside(images, 0, 0, who=repr(self))
        width = images.shape[-1]
        wave = self.delta * torch.sin(tau * self.frequency / width * torch.arange(width, dtype=torch.float64))
        return (images + wave.to(images)).clamp_(0, 1)
