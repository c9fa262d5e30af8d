"""DLG: images and labels whose gradient is the one that was seen."""

from dataclasses import KW_ONLY
from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from torch import Tensor

from phalanx.core.leak import Leak
from phalanx.core.numbers import PositiveFloat32
from phalanx.inversion.descent import LBFGS, Adam, Descent
from phalanx.inversion.matching import GradientMatching


class DLG(GradientMatching):
    """Deep leakage from gradients: search images, and labels if they are unknown, by the distance between gradients.

    ```
    min over x, y:  |∇ loss(x, softmax(y)) − g|²        # l1: the sum of absolute differences
    ```
    For small models that know little yet, and few images; best with sigmoids, whose second derivatives it follows. L-BFGS makes
    no line search, so some restarts always diverge: take several. For deep or trained networks and for larger batches take
    `inverting_gradients`. A step costs about three gradients a restart.

    Reference: Zhu, Liu and Han, Deep Leakage from Gradients, NeurIPS 2019 (arXiv 1906.08935), Algorithm 1.
    Differs from the paper: `optimizer = "adam"` and `distance = "l1"` are later variants; a restart's best point counts, not
    its last one; a step is one of L-BFGS's own (the paper's code counts twenty as one, so 300 of it are 6,000 of these).

    >>> DLG(restarts=8).to_table()["optimizer"]
    'lbfgs'
    """

    distance: Literal["l2", "l1"] = "l2"
    _: KW_ONLY
    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    lr: PositiveFloat32 | None = None
    """None: 1 for L-BFGS, 0.1 for Adam."""
    steps: Annotated[PositiveInt, Field(le=10**6)] = 600

    @property
    def searches_labels(self) -> bool:
        """DLG does."""
        return True

    def loss(self, found: Tensor, seen: Tensor, images: Tensor) -> Tensor:
        difference = found - seen
        return (difference.square() if self.distance == "l2" else difference.abs()).sum(1)

    def descent(self, leak: Leak, size: int) -> Descent:
        return LBFGS(self.lr or 1.0) if self.optimizer == "lbfgs" else Adam(self.lr or 0.1, self.steps)
