"""Callbacks: what may look on, or interfere, while a network trains. Names and arguments are Keras'."""

from cnn.callbacks.base import Callback, CallbackList, History
from cnn.callbacks.keeping import BackupAndRestore, CSVLogger
from cnn.callbacks.monitoring import EarlyStopping, ModelCheckpoint
from cnn.callbacks.progress import ProgressBar

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "ModelCheckpoint",
    "ProgressBar",
]
