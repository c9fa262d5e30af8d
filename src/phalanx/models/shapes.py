"""What an architecture can take, said in one error."""

from phalanx.core.errors import ConfigError


def image_shape(input_shape: tuple[int, ...], who: str, *, smallest: int) -> tuple[int, int, int]:
    """`input_shape` as (channels, height, width).

    Raises: ConfigError if it is no image, or a side is below `smallest`.
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < smallest:
        raise ConfigError(
            f"{who} needs images [C, H, W] with H, W >= {smallest}; got samples of shape {list(input_shape)}. "
            "Choose another model or data set."
        )
    channels, height, width = input_shape
    return channels, height, width
