"""How near one image is to another: MSE, PSNR, SSIM, for pixels in [0, 1]."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from phalanx.core.errors import PreconditionError
from phalanx.core.pixels import require_pixels

_WIDTH, _SIGMA = 11, 1.5
_LUMINANCE, _CONTRAST = 0.01**2, 0.03**2


def mse(images: Tensor, truth: Tensor) -> Tensor:
    """The mean squared difference of each image `[B, C, H, W]` and its truth: `[B]`.

    Raises: PreconditionError if the shapes differ, or these are no images.
    """
    if images.shape != truth.shape:
        raise PreconditionError(
            f"Images are compared with others of their shape [B, C, H, W]; got {list(images.shape)} and {list(truth.shape)}."
        )
    require_pixels(images)
    require_pixels(truth)
    return (images - truth).square().mean(dim=(1, 2, 3))


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """The peak signal-to-noise ratio in dB, `10 log10(1 / mse)`, `[B]`; infinite for an equal image.

    >>> psnr(torch.full((1, 1, 2, 2), 0.5), torch.zeros(1, 1, 2, 2))
    tensor([6.0206])
    """
    return -10 * mse(images, truth).log10()


def ssim(images: Tensor, truth: Tensor) -> Tensor:
    """The structural similarity, `[B]`, 1 for an equal image: the mean over channels and over all windows inside the image.

    ```
    (2 μ_x μ_y + 0.01²)(2 σ_xy + 0.03²) / ((μ_x² + μ_y² + 0.01²)(σ_x² + σ_y² + 0.03²))
    ```
    Windows are Gaussian, 11 x 11 with deviation 1.5; of images with a shorter side as large as an odd window can be.

    Reference: Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, IEEE TIP 2004.
    """
    mse(images, truth)  # refuses what cannot be compared
    side = min(_WIDTH, *images.shape[2:])
    side -= 1 - side % 2
    steps = torch.arange(side, dtype=images.dtype, device=images.device) - side // 2
    line = (-steps.square() / (2 * _SIGMA**2)).exp()
    window = line[:, None] * line / line.sum() ** 2
    x, y = (pixels.flatten(0, 1)[:, None] for pixels in (images, truth))
    mean_x, mean_y, xx, yy, xy = (conv2d(moment, window[None, None]) for moment in (x, y, x * x, y * y, x * y))
    luminance = (2 * mean_x * mean_y + _LUMINANCE) / (mean_x**2 + mean_y**2 + _LUMINANCE)
    contrast = 2 * (xy - mean_x * mean_y) + _CONTRAST
    spread = xx - mean_x**2 + yy - mean_y**2 + _CONTRAST
    return (luminance * contrast / spread).mean(dim=(1, 2, 3)).view(images.shape[:2]).mean(1)
