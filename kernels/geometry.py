"""Where the windows of a convolution or of pooling lie: how many fit, and how much padding they need."""

Pair = tuple[int, int]  # along height and width
Pads = tuple[int, int, int, int]  # top, bottom, left, right
Shape = tuple[int, int, int, int]  # (N, H, W, C)


def window_geometry(size: int, kernel: int, stride: int, padding: str) -> tuple[int, int, int]:
    """Along one axis: how many windows fit, and the padding before and after.

    'valid' pads nothing: out = ceil((size - kernel + 1) / stride). 'same' makes
    out = ceil(size / stride), and when the padding is odd the smaller half goes first,
    as in Keras: size 28, kernel 3, stride 2 is padded by 0 before and 1 after.
    """
    if padding == "valid":
        return max(0, (size - kernel) // stride + 1), 0, 0
    out = -(-size // stride)  # ceil(size / stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return out, total // 2, total - total // 2
