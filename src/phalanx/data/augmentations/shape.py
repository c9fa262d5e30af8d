"""What augmentations can take, said in one error."""

from torch import Tensor

from phalanx.core.errors import ConfigError


def require_images(images: Tensor, who: str) -> None:
    """Raise ConfigError unless the batch holds images `[B, C, H, W]`."""
    if images.dim() != 4:
        raise ConfigError(
            f"{who} needs images [C, H, W]; got samples of shape {list(images.shape[1:])}. "
            "Take it out of training.augment, or choose a data set of images."
        )
