"""Pictures: of photos and predictions, of a training, of what a network has learned, of two networks compared.

Each function returns a matplotlib Figure: figure.savefig("x.png") keeps it, a notebook shows it.
"""

from cnn.plots.comparison import comparison
from cnn.plots.concepts import convolution_step, pooling_step, stride_and_padding
from cnn.plots.features import activations, feature_maps, filters, journey
from cnn.plots.photos import photo_sheet, prediction_card
from cnn.plots.training import confusion_matrix, learning_curves, sweep

__all__ = [
    "activations",
    "comparison",
    "confusion_matrix",
    "convolution_step",
    "feature_maps",
    "filters",
    "journey",
    "learning_curves",
    "photo_sheet",
    "pooling_step",
    "prediction_card",
    "stride_and_padding",
    "sweep",
]
