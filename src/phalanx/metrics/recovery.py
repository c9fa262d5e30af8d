"""What an inversion attack recovered, beside what anybody knows without it."""

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from phalanx.core.errors import PreconditionError
from phalanx.metrics.image_quality import mse, psnr, ssim

_EQUAL = 1e-10  # 100 dB: beyond it images are equal, and infinities cannot be added up


@dataclass(frozen=True)
class Recovery:
    """Scores of each true image `[B]`. `order` `[B]`: which recovered image is the i-th true one's.

    `baseline` `[B]` is the PSNR of the mean image, which needs no gradient: what is not above it was not recovered.
    """

    mse: Tensor
    psnr: Tensor
    ssim: Tensor
    order: Tensor
    baseline: Tensor

    @property
    def best_psnr(self) -> float:
        """Of the image that was recovered best."""
        return float(self.psnr.max())

    @property
    def mean_psnr(self) -> float:
        """Over all images."""
        return float(self.psnr.mean())


def recovery(images: Tensor, truth: Tensor, *, mean_image: Tensor) -> Recovery:
    """Score recovered `images` `[B, C, H, W]` against the `truth`, in the order that fits best; pixels are in [0, 1].

    An update does not say which image came first, so recovered and true ones are matched one to one such that the sum of PSNRs
    is largest (the Hungarian method). `mean_image` `[C, H, W]` is the mean of public data of the kind.

    Raises: PreconditionError if the shapes differ, or these are no images.

    >>> truth = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    >>> recovery(truth.flip(0), truth, mean_image=torch.full((1, 1, 1), 0.5)).order
    tensor([1, 0])
    """
    mse(images, truth)  # refuses what cannot be compared
    if mean_image.shape != truth.shape[1:]:
        raise PreconditionError(f"The mean image has an image's shape, {list(truth.shape[1:])}; got {list(mean_image.shape)}.")
    distances = torch.stack([(images - one).square().flatten(1).mean(1) for one in truth]).clamp(min=_EQUAL)
    _, columns = linear_sum_assignment(distances.log().cpu().numpy())
    order = torch.from_numpy(columns)
    matched = images[order.to(images.device)]
    baseline = psnr(mean_image.expand_as(truth), truth)
    return Recovery(mse(matched, truth), psnr(matched, truth), ssim(matched, truth), order, baseline)
