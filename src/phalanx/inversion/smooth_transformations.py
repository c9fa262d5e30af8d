"""ATS's transformations as an attacker follows them backwards: floats in and out, with a gradient.

Values are those of `TRANSFORMATIONS` within 1.5 / 255, for nothing is rounded. Where a transformation has no useful derivative
(tables, cubic interpolation, values cut off at black and white), its values are exact and its gradient is a neighbour's: the
backward-pass approximation of Athalye, Carlini and Wagner, ICML 2018.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from phalanx.data.augmentations.operations import moved_places, turned_places
from phalanx.data.augmentations.transformations import Transformation

_GREY = 128 / 255
_LUMINANCE = (19595 / 65536, 38470 / 65536, 7471 / 65536)
_SIGNED = {"shear_x", "shear_y", "translate_x", "translate_y", "color", "contrast", "sharpness", "brightness"}


def has_sign(transformation: Transformation) -> bool:
    """Whether its two directions differ."""
    return transformation.operation in _SIGNED and transformation.magnitude != 0


def smooth(transformation: Transformation, images: Tensor, signs: Tensor) -> Tensor:
    """What becomes of pixels `[b, C, H, W]` in [0, 1]; `signs` `[b]` are ±1. The input is not changed."""
    return _SMOOTH[transformation.operation](transformation, images, signs)


def _exact(transformation: Transformation, images: Tensor, signs: Tensor) -> Tensor:
    pixels = (images.detach() * 255).round().clamp(0, 255).to(torch.uint8)
    return transformation(pixels, signs).to(images) / 255


def _with_gradient_of(smooth: Tensor, values: Tensor) -> Tensor:
    return smooth + (values - smooth).detach()


def _invert(transformation: Transformation, images: Tensor, signs: Tensor) -> Tensor:
    return 1 - images


def _solarize(transformation: Transformation, images: Tensor, signs: Tensor) -> Tensor:
    return torch.where(images * 255 < transformation.magnitude, images, 1 - images)


def _table(transformation: Transformation, images: Tensor, signs: Tensor) -> Tensor:
    return _with_gradient_of(images, _exact(transformation, images, signs))


def _autocontrast(transformation: Transformation, images: Tensor, signs: Tensor) -> Tensor:
    values = images.detach().flatten(2)
    low, high = (pick(values, dim=2)[..., None, None] for pick in (torch.amin, torch.amax))
    return torch.where(high > low, (images - low) / (high - low).clamp(min=1 / 255), images)


def _away_from(plain: Callable[[Tensor], Tensor]) -> Callable[[Transformation, Tensor, Tensor], Tensor]:
    def enhance(transformation: Transformation, images: Tensor, signs: Tensor) -> Tensor:
        factors = (1 + transformation.magnitude * signs.to(images))[:, None, None, None]
        enhanced = plain(images) + factors * (images - plain(images))
        return _with_gradient_of(enhanced, enhanced.clamp(0, 1))

    return enhance


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    return (images * images.new_tensor(_LUMINANCE)[:, None, None]).sum(1, keepdim=True)


def _smoothed(images: Tensor) -> Tensor:
    if min(images.shape[2:]) < 3:  # nothing but border
        return images
    window = torch.ones(1, 1, 3, 3).to(images)
    window[..., 1, 1] = 5
    inner = conv2d(images.flatten(0, 1)[:, None], window / 13).unflatten(0, images.shape[:2])[:, :, 0]  # type: ignore[no-untyped-call]
    is_inner = pad(torch.ones_like(inner, dtype=torch.bool), (1, 1, 1, 1))
    return torch.where(is_inner, pad(inner, (1, 1, 1, 1)), images)


def _translate_x(transformation: Transformation, images: Tensor, signs: Tensor) -> Tensor:
    return _moved(images, signs, lambda sign: (1, 0, transformation.magnitude * images.shape[3] * sign, 0, 1, 0))


def _translate_y(transformation: Transformation, images: Tensor, signs: Tensor) -> Tensor:
    return _moved(images, signs, lambda sign: (1, 0, 0, 0, 1, transformation.magnitude * images.shape[2] * sign))


def _shear_x(transformation: Transformation, images: Tensor, signs: Tensor) -> Tensor:
    nearest = _moved(images, signs, lambda sign: (1, transformation.magnitude * sign, 0, 0, 1, 0))
    return _with_gradient_of(nearest, _exact(transformation, images, signs))


def _shear_y(transformation: Transformation, images: Tensor, signs: Tensor) -> Tensor:
    nearest = _moved(images, signs, lambda sign: (1, 0, 0, transformation.magnitude * sign, 1, 0))
    return _with_gradient_of(nearest, _exact(transformation, images, signs))


def _rotate(transformation: Transformation, images: Tensor, signs: Tensor) -> Tensor:
    return _gathered(images, turned_places(*images.shape[2:], transformation.magnitude))


def _moved(images: Tensor, signs: Tensor, matrix: Callable[[int], tuple[float, ...]]) -> Tensor:
    forth, back = (_gathered(images, moved_places(*images.shape[2:], matrix(sign))) for sign in (1, -1))
    return torch.where((signs > 0)[:, None, None, None], forth, back)


def _gathered(images: Tensor, places: Tensor) -> Tensor:
    places = places.to(images.device)
    return images.flatten(2)[..., places.clamp(min=0)].masked_fill(places < 0, _GREY).view(images.shape)


_SMOOTH: dict[str, Callable[[Transformation, Tensor, Tensor], Tensor]] = {
    "invert": _invert,
    "autocontrast": _autocontrast,
    "equalize": _table,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "rotate": _rotate,
    "solarize": _solarize,
    "posterize": _table,
    "color": _away_from(_grey),
    "contrast": _away_from(lambda images: _grey(images).mean((1, 2, 3), keepdim=True)),
    "sharpness": _away_from(_smoothed),
    "brightness": _away_from(torch.zeros_like),
}
