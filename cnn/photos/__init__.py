"""Photos as people name them, and what a model says of them.

photo.py finds and predicts; own.py makes a photo like those of the data set out of an image file of one's own, which
datasets/image_file.py reads; changes.py moves, mirrors and rearranges; comparison.py measures what that does to two
networks.
"""

from cnn.photos.photo import (
    Photo,
    Prediction,
    class_names,
    find,
    first,
    input_scale,
    model_input,
    number_in,
    own_photo,
    predict,
    probabilities,
    require_numbers,
    scaled,
    shape_of,
    shown_first,
    test_photo,
    title,
)

__all__ = [
    "Photo",
    "Prediction",
    "class_names",
    "find",
    "first",
    "input_scale",
    "model_input",
    "number_in",
    "own_photo",
    "predict",
    "probabilities",
    "require_numbers",
    "scaled",
    "shape_of",
    "shown_first",
    "test_photo",
    "title",
]
