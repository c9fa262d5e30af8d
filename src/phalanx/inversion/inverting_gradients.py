"""InvertingGradients: the direction of the gradient, a smooth image, and signed Adam."""

from dataclasses import KW_ONLY
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from phalanx.core.leak import Leak
from phalanx.core.numbers import NonNegativeFloat32, PositiveFloat32
from phalanx.inversion.descent import Adam, Descent
from phalanx.inversion.matching import GradientMatching, Prior
from phalanx.inversion.running_statistics import RunningStatistics


class InvertingGradients(GradientMatching):
    """Search images, within the range of pixels, whose gradient has the direction that was seen and which are smooth.

    ```
    min over x in the box:  1 − cos(∇ loss(x, y), g) + tv · mean |neighbouring pixels' differences|
                            + batch_norm · Σ_layers |mean(x) − running mean| + |variance(x) − running variance|
    x -= lr · Adam(sign(gradient));  lr / 10 after 3/8, 5/8, 7/8 of the steps
    ```
    The attack for ReLU networks, trained ones and several local steps. Unknown labels are inferred. Slow: thousands of steps of
    about three gradients each, times restarts. It finds little behind many images of one class. `batch_norm` is for trained
    models with BatchNorm, and for batches of which the gradient says little: single images are no average, a fresh model's
    running statistics mislead, and where the gradient says all they only disturb. It costs a forward pass more.

    Reference: Geiping et al., Inverting Gradients – How easy is it to break privacy in federated learning?, NeurIPS 2020
    (arXiv 2003.14053), equation 4 and section 6; `batch_norm`: Yin et al., See through Gradients: Image Batch Recovery via
    GradInversion, CVPR 2021 (arXiv 2104.07586), equation 8.

    >>> InvertingGradients(tv=1e-2).steps
    4800
    """

    tv: NonNegativeFloat32 = 1e-4
    _: KW_ONLY
    batch_norm: NonNegativeFloat32 = 0.0
    lr: PositiveFloat32 = 0.1
    steps: Annotated[PositiveInt, Field(le=10**6)] = 4800

    def loss(self, found: Tensor, seen: Tensor, images: Tensor) -> Tensor:
        return 1 - cosine_similarity(found, seen) + self.tv * total_variation(images)

    def prior(self, model: nn.Module) -> Prior | None:
        if not self.batch_norm:
            return None
        statistics = RunningStatistics(model)
        return lambda shown: self.batch_norm * statistics.distance(shown)

    def descent(self, leak: Leak, size: int) -> Descent:
        black, white = (leak.standardise(torch.full(leak.shape, value).to(leak.gradient)) for value in (0.0, 1.0))
        return Adam(self.lr, self.steps, signed=True, decay=True, box=(black.reshape(-1), white.reshape(-1)))


def total_variation(images: Tensor) -> Tensor:
    """Mean absolute difference of neighbours, across plus down, for images `[R, B, C, H, W]`: `[R]`.

    >>> total_variation(torch.tensor([[[[[0., 1.], [0., 1.]]]]]))
    tensor([1.])
    """
    across, down = images.diff(dim=-1), images.diff(dim=-2)
    return across.abs().flatten(1).mean(1) + down.abs().flatten(1).mean(1)
