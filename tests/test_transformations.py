"""What the comparison turns photos into, and what a convolution makes of it."""

import numpy as np
import pytest

from cnn import photos
from cnn.photos import changes


def test_shift_moves_and_loses_what_leaves():
    photo = np.arange(1, 10).reshape(3, 3)
    np.testing.assert_array_equal(changes.shift(photo, 1, 0), [[0, 1, 2], [0, 4, 5], [0, 7, 8]])
    np.testing.assert_array_equal(changes.shift(photo, 0, -2), [[7, 8, 9], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(changes.shift(photo, 0, 0), photo)


def test_mirror_and_rearrangements():
    photo = np.arange(16).reshape(1, 4, 4)
    np.testing.assert_array_equal(changes.mirror(photo)[0, 0], [3, 2, 1, 0])
    np.testing.assert_array_equal(changes.swap_halves(photo)[0, 1], [6, 7, 4, 5])
    quadrants = [[10, 11, 8, 9], [14, 15, 12, 13], [2, 3, 0, 1], [6, 7, 4, 5]]
    np.testing.assert_array_equal(changes.swap_quadrants(photo)[0], quadrants)
    np.testing.assert_array_equal(photo, np.arange(16).reshape(1, 4, 4))


def first_maps(model, pixels):
    return model.layers[0].forward(photos.model_input(model, pixels))[0]


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (-3, 0), (0, 6), (0, -2)])
@pytest.mark.parametrize("whole", [True, False])
def test_a_convolution_carries_over_a_shift(cnn_model, data_set, dx, dy, whole):
    """What the explanation claims: inside the image, the map of the moved photo is the moved map.

    To the bit where sums are of whole numbers; else BLAS may add up a row otherwise at another place of its matrix.
    """
    model, pixels = cnn_model.astype(np.float32), data_set[0][:8]
    if whole:
        model.input_scale = 1.0
        model.layers[0].set_weights([np.round(64 * weights) for weights in model.layers[0].get_weights()])
    maps, of_moved = first_maps(model, pixels), first_maps(model, changes.shift(pixels, dx, dy))
    moved = changes.shift(maps.transpose(0, 3, 1, 2), dx, dy).transpose(0, 2, 3, 1)
    inside = slice(8, 20)
    np.testing.assert_allclose(
        of_moved[:, inside, inside], moved[:, inside, inside], rtol=0, atol=0 if whole else 1e-6 * maps.max()
    )
    assert (maps[:, inside, inside] != of_moved[:, inside, inside]).any()


def test_no_convolution_carries_over_a_mirror_image(cnn_model, data_set):
    pixels = data_set[0][:8]
    maps, of_mirrored = first_maps(cnn_model, pixels), first_maps(cnn_model, changes.mirror(pixels))
    assert np.abs(of_mirrored - maps[:, :, ::-1]).max() > 0.1
