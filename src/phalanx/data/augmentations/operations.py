"""Pillow's image operations on whole batches of bytes `[b, C, H, W]`, C = 1 or 3, bit for bit.

An operation gets a magnitude and one sign an image. What moves pixels asks pillow once where they go (it moves an image of
their numbers), and what mixes neighbours (shear) is left to pillow, image by image.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import conv2d

Operation = Callable[[Tensor, float, Tensor], Tensor]
GREY = 128
"""What fills the places that nothing was moved to."""


def invert(images: Tensor, magnitude: float, signs: Tensor) -> Tensor:
    """255 − value."""
    return 255 - images


def solarize(images: Tensor, magnitude: float, signs: Tensor) -> Tensor:
    """Invert values from the threshold `magnitude` upwards."""
    return torch.where(images < magnitude, images, 255 - images)


def posterize(images: Tensor, magnitude: float, signs: Tensor) -> Tensor:
    """Keep the highest `magnitude` bits, rounded half to even."""
    return images.bitwise_and(256 - 2 ** (8 - round(magnitude)))


def autocontrast(images: Tensor, magnitude: float, signs: Tensor) -> Tensor:
    """Stretch each channel's values to 0..255; a channel of one value stays."""
    low, high = (pick(images.flatten(2), dim=2).to(torch.float64)[..., None, None] for pick in (torch.amin, torch.amax))
    # `255 / tensor` multiplies with a rounded reciprocal: 254.99 where pillow has 255, and the other way round.
    scale = torch.full_like(low, 255) / (high - low)
    stretched = (images * scale + -low * scale).nan_to_num().clamp(0, 255).to(torch.uint8)
    return torch.where(high > low, stretched, images)


def equalize(images: Tensor, magnitude: float, signs: Tensor) -> Tensor:
    """Spread each channel's values such that all are nearly equally frequent."""
    values = images.flatten(2).long()
    counts = values.new_zeros(*values.shape[:2], 256).scatter_add_(2, values, torch.ones_like(values))
    largest = counts.gather(2, values.amax(2, keepdim=True))
    step = (values.shape[2] - largest) // 255
    table = ((step // 2 + counts.cumsum(2) - counts) // step.clamp(min=1)).clamp(max=255)
    return torch.where(step > 0, table.gather(2, values), values).to(torch.uint8).view(images.shape)


def brightness(images: Tensor, magnitude: float, signs: Tensor) -> Tensor:
    """Away from black, or towards it."""
    return _enhance(torch.zeros_like(images), images, magnitude, signs)


def contrast(images: Tensor, magnitude: float, signs: Tensor) -> Tensor:
    """Away from the image's mean grey, or towards it."""
    mean = (_grey(images).flatten(1).double().mean(1) + 0.5).long()
    return _enhance(mean[:, None, None, None].expand_as(images), images, magnitude, signs)


def color(images: Tensor, magnitude: float, signs: Tensor) -> Tensor:
    """Away from each pixel's grey, or towards it."""
    return _enhance(_grey(images).expand_as(images), images, magnitude, signs)


def sharpness(images: Tensor, magnitude: float, signs: Tensor) -> Tensor:
    """Away from the smoothed image, or towards it; the border is not smoothed."""
    smooth = images.clone()
    if min(images.shape[2:]) >= 3:
        window = torch.ones(1, 1, 3, 3, device=images.device)
        window[..., 1, 1] = 5
        sums = conv2d(images.flatten(0, 1)[:, None].float(), window).long()  # below 2^24: exact
        smooth[..., 1:-1, 1:-1] = ((2 * sums + 13) // 26).view(smooth[..., 1:-1, 1:-1].shape).to(torch.uint8)
    return _enhance(smooth, images, magnitude, signs)


def translate_x(images: Tensor, magnitude: float, signs: Tensor) -> Tensor:
    """Move by a share of the width."""
    return _moved(images, signs, lambda width, height, sign: (1, 0, magnitude * width * sign, 0, 1, 0))


def translate_y(images: Tensor, magnitude: float, signs: Tensor) -> Tensor:
    """Move by a share of the height."""
    return _moved(images, signs, lambda width, height, sign: (1, 0, 0, 0, 1, magnitude * height * sign))


def rotate(images: Tensor, magnitude: float, signs: Tensor) -> Tensor:
    """Turn by so many degrees, always in the same direction."""
    return _gathered(images, turned_places(*images.shape[2:], magnitude).to(images.device))


def shear_x(images: Tensor, magnitude: float, signs: Tensor) -> Tensor:
    """Move rows by `magnitude` times their number, between pixels by cubic interpolation."""
    return _sheared(images, signs, lambda sign: (1, magnitude * sign, 0, 0, 1, 0))


def shear_y(images: Tensor, magnitude: float, signs: Tensor) -> Tensor:
    """Move columns by `magnitude` times their number, between pixels by cubic interpolation."""
    return _sheared(images, signs, lambda sign: (1, 0, 0, magnitude * sign, 1, 0))


def _enhance(plain: Tensor, images: Tensor, magnitude: float, signs: Tensor) -> Tensor:
    """`plain + (1 ± magnitude)(image − plain)` in float32, cut off."""
    factors = (1 + magnitude * signs.double()).float()[:, None, None, None]
    return (plain + factors * (images.float() - plain.float())).clamp(0, 255).to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    """Pillow's luminance `[b, 1, H, W]`, in integers."""
    if images.shape[1] == 1:
        return images
    weights = torch.tensor([19595, 38470, 7471], device=images.device)[:, None, None]
    return ((images * weights).sum(1, keepdim=True) + 0x8000 >> 16).to(torch.uint8)


def _moved(images: Tensor, signs: Tensor, matrix: Callable[[int, int, int], tuple[float, ...]]) -> Tensor:
    height, width = images.shape[2:]
    places = {sign: moved_places(height, width, matrix(width, height, sign)).to(images.device) for sign in (-1, 1)}
    is_positive = (signs > 0)[:, None, None, None]
    return torch.where(is_positive, _gathered(images, places[1]), _gathered(images, places[-1]))


def _gathered(images: Tensor, places: Tensor) -> Tensor:
    """Images whose pixel i is the old one at `places[i]`, or grey where that is −1."""
    flat = images.flatten(2)[..., places.clamp(min=0)]
    return flat.masked_fill(places < 0, GREY).view(images.shape)


@cache
def moved_places(height: int, width: int, matrix: tuple[float, ...]) -> Tensor:
    """Where pillow takes each pixel `[height · width]` of an affine image from; −1: from outside."""
    numbers = _numbers(height, width).transform((width, height), Image.Transform.AFFINE, matrix, fillcolor=-1)
    return torch.from_numpy(np.array(numbers)).flatten().long()


@cache
def turned_places(height: int, width: int, degrees: float) -> Tensor:
    """The same for a rotation."""
    return torch.from_numpy(np.array(_numbers(height, width).rotate(degrees, fillcolor=-1))).flatten().long()


def _numbers(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.arange(height * width, dtype=np.int32).reshape(height, width))


def _sheared(images: Tensor, signs: Tensor, matrix: Callable[[int], tuple[float, ...]]) -> Tensor:
    pictures = [_picture(image) for image in images.cpu()]
    sheared = [
        picture.transform(
            picture.size,
            Image.Transform.AFFINE,
            matrix(sign),
            Image.Resampling.BICUBIC,
            fillcolor=(GREY,) * len(picture.getbands()),
        )
        for picture, sign in zip(pictures, signs.tolist())
    ]
    arrays = np.stack([np.array(picture) for picture in sheared])
    tensor = torch.from_numpy(arrays)
    return (tensor[:, None] if tensor.dim() == 3 else tensor.permute(0, 3, 1, 2)).contiguous().to(images.device)


def _picture(image: Tensor) -> Image.Image:
    return Image.fromarray((image[0] if len(image) == 1 else image.permute(1, 2, 0)).numpy())
