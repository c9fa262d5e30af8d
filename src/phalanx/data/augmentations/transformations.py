"""The 50 transformations that ATS's policies name by number, each an operation with a level from 0 to 9."""

from dataclasses import dataclass

import torch
from torch import Tensor

from phalanx.data.augmentations import operations
from phalanx.data.augmentations.operations import Operation

NUM_LEVELS = 10
OPERATIONS: dict[str, tuple[Operation, float, float]] = {
    "invert": (operations.invert, 0, 0),
    "autocontrast": (operations.autocontrast, 0, 0),
    "equalize": (operations.equalize, 0, 0),
    "shear_x": (operations.shear_x, 0, 0.3),
    "shear_y": (operations.shear_y, 0, 0.3),
    "translate_x": (operations.translate_x, 0, 150 / 331),
    "translate_y": (operations.translate_y, 0, 150 / 331),
    "rotate": (operations.rotate, 0, 30),
    "solarize": (operations.solarize, 256, 0),
    "posterize": (operations.posterize, 8, 4),
    "color": (operations.color, 0, 0.5),
    "contrast": (operations.contrast, 0, 0.5),
    "sharpness": (operations.sharpness, 0, 0.5),
    "brightness": (operations.brightness, 0, 0.5),
}
"""Each operation with its magnitude at level 0 and at level 9; those between are linear."""


@dataclass(frozen=True)
class Transformation:
    """An operation at a level.

    >>> Transformation("rotate", 3).magnitude
    10.0
    """

    operation: str
    level: int = 0

    @property
    def magnitude(self) -> float:
        """What the operation is given: degrees, a share, a threshold, bits …"""
        _, first, last = OPERATIONS[self.operation]
        # In numpy's order, as the published code has it: shear sees the last bit.
        return first + self.level * ((last - first) / (NUM_LEVELS - 1))

    def __call__(self, images: Tensor, signs: Tensor) -> Tensor:
        """Changed copies of bytes `[b, C, H, W]`, C = 1 or 3; `signs` `[b]`, ±1, are for shear, translate and enhancers."""
        return OPERATIONS[self.operation][0](images, self.magnitude, signs.to(torch.int64))


_T = Transformation
_INVERT, _AUTOCONTRAST, _EQUALIZE = _T("invert"), _T("autocontrast"), _T("equalize")
TRANSFORMATIONS: tuple[Transformation, ...] = (
    *(_INVERT, _T("contrast", 6), _T("rotate", 2), _T("translate_x", 9), _T("sharpness", 1)),
    *(_T("sharpness", 3), _T("shear_y", 2), _T("translate_y", 2), _AUTOCONTRAST, _EQUALIZE),
    *(_T("shear_y", 5), _T("posterize", 5), _T("color", 3), _T("brightness", 5), _T("sharpness", 9)),
    *(_T("brightness", 9), _EQUALIZE, _EQUALIZE, _T("contrast", 7), _T("sharpness", 5)),
    *(_T("color", 5), _T("translate_x", 5), _EQUALIZE, _AUTOCONTRAST, _T("translate_y", 3)),
    *(_T("sharpness", 6), _T("brightness", 6), _T("color", 8), _T("solarize", 0), _INVERT),
    *(_EQUALIZE, _AUTOCONTRAST, _EQUALIZE, _EQUALIZE, _T("color", 5)),
    *(_EQUALIZE, _AUTOCONTRAST, _T("solarize", 4), _T("brightness", 3), _T("color", 0)),
    *(_T("solarize", 1), _AUTOCONTRAST, _T("translate_y", 3), _T("translate_y", 3), _AUTOCONTRAST),
    *(_T("solarize", 1), _EQUALIZE, _INVERT, _T("translate_y", 3), _AUTOCONTRAST),
)
"""ATS's transformations 0 to 49; some come more than once."""
