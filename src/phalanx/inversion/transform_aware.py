"""TransformAware: an inversion attack that searches where the images were moved to, together with the images."""

from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from phalanx.core.leak import Leak
from phalanx.core.numbers import Share
from phalanx.inversion.adaptive import AdaptiveAttack

GREY = 128 / 255
"""What ATS fills the places with that nothing was moved to."""


class TransformAware(AdaptiveAttack):
    """`attack` on images that were moved nobody knows where to: their gradient is matched after a movement that is learnt, too.

    ```
    min over x, t:  distance(∇ loss(T_t(x)), g) + prior(x)
    t = a translation (2 numbers an image), or an affine map (6)
    ```
    The attacker who knows that the client used `ats`, or shifts of any kind, but not the policy. A restart begins with a
    translation of at most `reach` of a side, so take several. What was moved out of the picture leaves no gradient: only a
    prior says anything of it, so take `inverting_gradients`, whose smoothness also decides between shifts that fit alike.
    `linear_recovery` searches nothing and gains nothing. Whoever knows the policy takes `policy_aware`. A step costs little
    more than the attack's.

    Reference: Balunović et al., Bayesian Framework for Gradient Leakage, ICLR 2022 (arXiv 2111.04706), which breaks ATS.
    Differs from the paper: the movement is learnt, where theirs recovers the transformed image with a better prior.

    >>> from phalanx.inversion import InvertingGradients
    >>> TransformAware(InvertingGradients(1e-3, restarts=4), moves="affine").to_table()["moves"]
    'affine'
    """

    _: KW_ONLY
    moves: Literal["translation", "affine"] = "translation"
    reach: Share = 0.5

    def taken(self, leak: Leak) -> Leak:
        return replace(leak, view=Moved(self.reach, is_affine=self.moves == "affine"))


@dataclass(frozen=True)
class Moved:
    """The view that moves an image: 2 numbers shift it along a row and a column, 4 more are added to its identity matrix.

    The unit is 1/32 of a side, so that a search whose steps suit pixels (0.1) moves an image of 32 by a tenth of a pixel.
    """

    reach: float
    _: KW_ONLY
    is_affine: bool

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        shifts = 32 * self.reach * (2 * torch.rand(count, 2, generator=generator) - 1)
        return torch.cat([shifts, torch.zeros(count, 4)], dim=1) if self.is_affine else shifts

    def __call__(self, pixels: Tensor, numbers: Tensor) -> Tensor:
        shifts, rest = (numbers / 16).tensor_split([2], dim=1)  # torch counts half sides
        matrix = torch.eye(2).to(pixels).expand(len(pixels), 2, 2)
        matrix = matrix + rest.view(-1, 2, 2) if self.is_affine else matrix
        grid = affine_grid(torch.cat([matrix, shifts[:, :, None]], dim=2), list(pixels.shape), align_corners=False)
        return grid_sample(pixels - GREY, grid, align_corners=False) + GREY
