"""`require_pixels`: what everyone takes for images who recovers, compares or scores them."""

from torch import Tensor

from phalanx.core.errors import PreconditionError


def require_pixels(images: Tensor) -> None:
    """Raise PreconditionError unless these are float images `[B, C, H, W]`, one at least, with pixels in [0, 1]."""
    is_batch = images.dim() == 4 and images.numel() > 0 and images.dtype.is_floating_point
    if not is_batch or not (images.min() >= 0 and images.max() <= 1):
        values = f", from {images.min():.3g} to {images.max():.3g}" if images.numel() else ""
        raise PreconditionError(
            "Images are floats [B, C, H, W] in [0, 1], one at least; "
            f"got {images.dtype} of shape {list(images.shape)}{values}. Divide bytes by 255."
        )
