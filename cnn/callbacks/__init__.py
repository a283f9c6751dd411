"""Callbacks: what may look on, or interfere, while a network trains. Names and arguments are Keras'."""

from cnn.callbacks.base import Callback, CallbackList, History
from cnn.callbacks.keeping import BackupAndRestore, CSVLogger
from cnn.callbacks.monitoring import EarlyStopping, ModelCheckpoint
from cnn.callbacks.progress import ProgressBar
from cnn.callbacks.steering import (
    LambdaCallback,
    LearningRateScheduler,
    ReduceLROnPlateau,
    RemoteMonitor,
    SwapEMAWeights,
    TerminateOnNaN,
)
from cnn.callbacks.tensorboard import TensorBoard

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgressBar",
    "ReduceLROnPlateau",
    "RemoteMonitor",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
]
