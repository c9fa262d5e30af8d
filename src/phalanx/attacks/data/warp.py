"""A trigger that changes no pixel's value, only where it is: a smooth warp."""

from dataclasses import KW_ONLY
from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from phalanx.attacks.data.paint import require_inside
from phalanx.core import rng
from phalanx.core.families import Trigger
from phalanx.core.numbers import PositiveFloat32


class Warp(Trigger):
    """Images bent by a smooth field (WaNet): `grid` x `grid` random control points, scaled to mean size 1, interpolated, times
    `strength` half-pixels.

    Hardly visible. Small models on small images need a strength above the paper's 0.5, and without its noise mode they partly
    learn that any warp is the trigger.

    Reference: Nguyen and Tran, WaNet: Imperceptible Warping-based Backdoor Attack, ICLR 2021 (arXiv 2102.10369).
    Differs from the paper: no noise mode (images with other warps that keep their labels).

    >>> Warp().stamp(torch.ones(1, 1, 8, 8)).shape
    torch.Size([1, 1, 8, 8])
    """

    strength: PositiveFloat32 = 0.5
    _: KW_ONLY
    grid: Annotated[int, Field(ge=2, le=64)] = 4
    seed: NonNegativeInt = 0

    def stamp(self, images: Tensor) -> Tensor:
        """The bent images. Raises: ConfigError if they are no images."""
        require_inside(images, 0, 0, who=repr(self))
        height, width = images.shape[-2:]
        control = torch.rand(1, 2, self.grid, self.grid, generator=rng.generator(self.seed, "warp trigger")) * 2 - 1
        field = interpolate(control / control.abs().mean(), size=(height, width), mode="bicubic", align_corners=True)
        identity = affine_grid(torch.eye(2, 3)[None], [1, 1, height, width], align_corners=True)
        bent = (identity + field.permute(0, 2, 3, 1) * self.strength / height).clamp(-1, 1)
        where = bent.to(images).expand(len(images), -1, -1, -1)
        return grid_sample(images, where, mode="bilinear", padding_mode="border", align_corners=True).clamp_(0, 1)
