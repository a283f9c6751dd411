"""Where the sliding window of a convolution or pooling fits."""

from typing import Any

from kernels.geometry import Pads, window_geometry

Size = int | tuple[int, int]  # along height and width, as users may write it


def require_photo(layer: Any, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an input that is a photo, (H, W, C). Raises ValueError, naming the layer, for any other."""
    if len(input_shape) != 3:
        raise ValueError(f"{layer}: expected input (H, W, C), got {input_shape}")
    return input_shape


def place_windows(layer: Any, input_shape: tuple[int, ...], size: tuple[int, int]) -> tuple[int, int, Pads]:
    """(OH, OW, (top, bottom, left, right)) for a layer's sliding window; raises ValueError where none fits.

    >>> from cnn.layers import Conv2D
    >>> place_windows(Conv2D(1, 3, strides=2, padding="same"), (28, 28, 1), (3, 3))
    (14, 14, (0, 1, 0, 1))
    """
    require_photo(layer, input_shape)
    out_h, top, bottom = window_geometry(input_shape[0], size[0], layer.strides[0], layer.padding)
    out_w, left, right = window_geometry(input_shape[1], size[1], layer.strides[1], layer.padding)
    if out_h < 1 or out_w < 1:
        raise ValueError(f"{layer}: expected input of at least {size[0]} x {size[1]} (the window), got {input_shape}")
    return out_h, out_w, (top, bottom, left, right)
