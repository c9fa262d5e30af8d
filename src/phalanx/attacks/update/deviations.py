"""Directions away from the honest mean: what the attacks that optimise a step along one share."""

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from phalanx.attacks.update.moments import moments

Deviation: TypeAlias = Literal["unit", "sign", "std"]


def mean_and_direction(rows: Tensor, deviation: Deviation) -> tuple[Tensor, Tensor]:
    """The mean `[d]` of rows `[h, d]` and p: `−mean / |mean|` ("unit"), `−sign(mean)` ("sign") or `−std` ("std").

    Reference: Shejwalkar and Houmansadr, Manipulating the Byzantine, NDSS 2021, Section IV-B.
    """
    if deviation == "std":
        mean, std = moments(rows)
        return mean, std.neg_()
    mean = rows.mean(0)
    if deviation == "sign":
        return mean, mean.sign().neg_()
    return mean, -unit(mean)


def unit(vector: Tensor) -> Tensor:
    """The vector at length 1, whatever its length was; zero stays zero."""
    size = vector.abs().max()
    scaled = vector / size if size > 0 else vector
    return torch.nn.functional.normalize(scaled, dim=0)
