"""The pictures of an inversion as one PNG: the client's images, what it trained on, what was found; a row each."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

ROWS = 3


def sheet_path(folder: Path, round: int) -> Path:
    """Where in a run's folder the pictures of a round are; rounds count from 0."""
    return folder / "inversion" / f"{round:06d}.png"


def encoded(images: Tensor) -> bytes:
    """Bytes `[rows, B, C, H, W]`, grey or in colour, as the bytes of a PNG of B times W by `rows` times H pixels."""
    rows, count, channels, height, width = images.shape
    pixels = images.permute(0, 3, 1, 4, 2).reshape(rows * height, count * width, channels).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def read_sheet(path: Path, count: int) -> NDArray[np.uint8] | None:
    """The pictures `[3, count, H, W]`, or with the three colours behind; None if there is no such file, or another one."""
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
    except (OSError, ValueError):
        return None
    height, width = pixels.shape[0] // ROWS, pixels.shape[1] // max(count, 1)
    if pixels.shape[:2] != (height * ROWS, width * count):
        return None
    return np.swapaxes(pixels.reshape(ROWS, height, count, width, *pixels.shape[2:]), 1, 2)
