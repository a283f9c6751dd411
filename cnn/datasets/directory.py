"""Keras' words for photos in files: load_img, img_to_array and image_dataset_from_directory, as keras.utils has them.

Files, their order, split and labels are Keras', and so are the numbers, to the rounding of float32: other decoders of
JPEG and other weights of red, green and blue for grey aside. Cameras' notes of how they were held are not looked at, as
there; what damaged files and bombs do is cnn.datasets.image_file's, one DataError. `cnn train --data` prepares photos
its own way: turned upright, and where they get smaller without aliasing (preparation.py).
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from cnn.datasets.image_file import quietly, read_whole
from kernels import threads
from kernels.geometry import parts_taken

if TYPE_CHECKING:  # matplotlib brings it, and it takes a while to load
    from PIL.Image import Image

Array = np.ndarray
ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
MODES = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}
GREY_MODES = ("L", "I;16", "I")
FILTERS = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")  # Pillow's, for load_img
PARTS = {None: ["all"], "training": ["training"], "validation": ["validation"], "both": ["training", "validation"]}
CHOICES: dict[str, tuple] = {  # for image_dataset_from_directory; of Keras' interpolations, those of layers.Resizing
    "label_mode": ("int", "categorical", "binary", None),
    "color_mode": tuple(MODES),
    "interpolation": ("bilinear", "nearest"),
    "subset": tuple(PARTS),
    "data_format": (None, "channels_last"),
    "format": ("tf",),
}


def load_img(
    path: str | bytes | os.PathLike,
    color_mode: str = "rgb",
    target_size: tuple[int, int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> "Image":
    """The image in a file, as Pillow has it, as keras.utils.load_img; img_to_array gives its numbers.

    target_size: (height, width) that it is resized to, by one of Pillow's filters; with keep_aspect_ratio the middle
    part of that shape is. Raises ValueError, and DataError for a file without an image.
    """
    with quietly():
        return _loaded(path, color_mode, target_size, interpolation, keep_aspect_ratio)


def _loaded(path, color_mode, target_size=None, interpolation="nearest", keep_aspect_ratio=False) -> "Image":
    """load_img for many threads at once that are all within one `quietly`."""
    from PIL import Image

    mode = MODES[_choice("load_img", "color_mode", color_mode, tuple(MODES))]
    image = read_whole(os.fsdecode(path))
    if image.mode != mode and not (mode == "L" and image.mode in GREY_MODES):
        image = image.convert(mode)
    if target_size is None or image.size == (target_size[1], target_size[0]):
        return image
    by = Image.Resampling[_choice("load_img", "interpolation", interpolation, FILTERS).upper()]
    box = _middle(*image.size, target_size[1], target_size[0]) if keep_aspect_ratio else None
    return image.resize((target_size[1], target_size[0]), by, box=box)


def _middle(width: int, height: int, new_width: int, new_height: int) -> tuple[int, int, int, int]:
    """The largest part in the middle of a picture with the shape of another: left, top, right, bottom."""
    down, across = min(height, width * new_height // new_width), min(width, height * new_width // new_height)
    top, left = (height - down) // 2, (width - across) // 2
    return left, top, left + across, top + down


def img_to_array(img: Any, data_format: str | None = None, dtype: DTypeLike = "float32") -> Array:
    """The numbers of an image of Pillow's, (height, width, channels), as keras.utils.img_to_array. ValueError."""
    where = "img_to_array"
    layout = _choice(where, "data_format", data_format or "channels_last", ("channels_last", "channels_first"))
    x = np.asarray(img, dtype)
    if x.ndim not in (2, 3):
        raise ValueError(f"{where}: img: expected an image with 2 or 3 axes, got shape {x.shape}")
    x = x.reshape(*x.shape[:2], -1)
    return x.transpose(2, 0, 1) if layout == "channels_first" else x


def _choice(where: str, name: str, value: Any, allowed: tuple) -> Any:
    if value not in allowed:
        raise ValueError(f"{where}: {name}: expected {' or '.join(map(repr, allowed))}, got {value!r}")
    return value


# ---- many of them


class ImageDataset:
    """Photos in files as batches (x, y) by number, as `fit`, `evaluate` and `predict` take them; or x alone.

    x is float32 (N, height, width, channels) from 0 to 255. Each batch is decoded when it is asked for, on all cores;
    nothing else is kept in memory. With shuffle each pass has another order.
    """

    def __init__(self, file_paths: list[str], labels: Array | None, class_names: list[str] | None, **how: Any):
        self.file_paths, self.labels, self.class_names, self.how = file_paths, labels, class_names, how
        self.passes, self.order = 0, np.arange(len(file_paths))
        self._shuffle()

    def __len__(self) -> int:
        return -(-len(self.file_paths) // self.how["batch_size"])

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"expected a batch from 0 to {len(self) - 1}, got {index}")
        size = self.how["batch_size"]
        chosen = self.order[index * size : (index + 1) * size]
        with quietly(), ThreadPoolExecutor(threads.get_threads()) as pool:
            x = np.stack(list(pool.map(self._read, chosen)))
        return x if self.labels is None else (x, self.labels[chosen])

    def __iter__(self) -> Iterator:
        yield from (self[index] for index in range(len(self)))
        self.on_epoch_end()

    def on_epoch_end(self) -> None:
        """A pass is over."""
        self.passes += 1
        self._shuffle()

    def _shuffle(self):
        if self.how["shuffle"]:
            self.order = np.random.default_rng([self.how["seed"], self.passes]).permutation(len(self.file_paths))

    def _read(self, number):
        x = img_to_array(_loaded(self.file_paths[number], self.how["color_mode"]))
        return resized(x, self.how["image_size"], self.how["interpolation"], self.how["fit"])


def resized(x: Array, size: tuple[int, int], interpolation: str, fit: str = "stretch") -> Array:
    """A photo (H, W, C) as float32 of another size, as tf.image.resize computes it: no mean of what a new pixel covers.

    fit: "crop" takes the middle part of that shape, as keras.utils.smart_resize; "pad" puts black beside it.
    """
    (height, width), (new_height, new_width) = x.shape[:2], size
    if fit == "crop":
        down = max(min(height, int(width * new_height / new_width)), 1)
        across = max(min(width, int(height * new_width / new_height)), 1)
        top, left = int((height - down) / 2), int((width - across) / 2)
        return resized(x[top : top + down, left : left + across], size, interpolation)
    if fit == "pad":
        one = np.float32(1)
        ratio = max(one * width / new_width, one * height / new_height)
        inner = height / ratio, width / ratio
        top, left = (max(0, int((new - old) // 2)) for new, old in zip(size, inner, strict=True))
        photo = resized(x, (int(inner[0]), int(inner[1])), interpolation)
        padded = np.zeros((*size, x.shape[2]), np.float32)
        padded[top : top + photo.shape[0], left : left + photo.shape[1]] = photo
        return padded
    down, across = (
        parts_taken(old, new, interpolation).astype(np.float32) for old, new in zip(x.shape, size, strict=False)
    )
    return np.einsum("ir,rsc,js->ijc", down, x.astype(np.float32), across, optimize=True)


def image_dataset_from_directory(
    directory: str | os.PathLike,
    labels: str | Sequence[int] | None = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: str = "rgb",
    batch_size: int = 32,
    image_size: int | tuple[int, int] = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """The photos in a directory, one subdirectory a class, as keras.utils.image_dataset_from_directory finds them.

    An ImageDataset with class_names and file_paths, which `fit` takes in the place of x and y; two of them with
    subset="both". Raises ValueError, and DataError, when its batch is read, for a file without an image.
    """
    where = "image_dataset_from_directory"
    given = {"label_mode": label_mode, "color_mode": color_mode, "interpolation": interpolation, "subset": subset}
    for name, value in {**given, "data_format": data_format, "format": format}.items():
        _choice(where, name, value, CHOICES[name])
    _check_split(where, validation_split, subset, shuffle, seed)
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError(f"{where}: expected one of crop_to_aspect_ratio and pad_to_aspect_ratio, got both")
    asked = None if label_mode is None else labels
    paths, found, names = _index(where, os.fspath(directory), asked, class_names, follow_links)
    if label_mode == "binary" and len(names or ()) != 2:
        raise ValueError(f'{where}: label_mode="binary": expected two classes, got {names}')
    seed = int(np.random.default_rng().integers(10**6)) if seed is None else seed
    if shuffle:
        np.random.RandomState(seed).shuffle(paths)
        np.random.RandomState(seed).shuffle(found)
    if verbose:
        print(f"Found {len(paths)} files" + (f" belonging to {len(names)} classes." if names else "."))
    y = None if names is None else _encoded(found, str(label_mode), len(names))
    how = {"color_mode": color_mode, "batch_size": batch_size, "interpolation": interpolation, "seed": seed}
    how["image_size"] = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    how["fit"] = "crop" if crop_to_aspect_ratio else "pad" if pad_to_aspect_ratio else "stretch"
    first = len(paths) - int((validation_split or 0) * len(paths))  # that is held back
    parts = []
    for chosen in PARTS[subset]:
        places = {"all": slice(None), "training": slice(first), "validation": slice(first, None)}[chosen]
        if not paths[places]:
            raise ValueError(f"{where}: {directory}: expected photos ({' '.join(ENDINGS)}), found none")
        again = shuffle and (subset, chosen) != ("both", "validation")
        parts.append(ImageDataset(paths[places], None if y is None else y[places], names, shuffle=again, **how))
    return parts if subset == "both" else parts[0]


def _check_split(where, validation_split, subset, shuffle, seed):
    if validation_split and not 0 < validation_split < 1:
        raise ValueError(f"{where}: validation_split: expected a number between 0 and 1, got {validation_split!r}")
    if bool(validation_split) != (subset is not None):
        raise ValueError(f"{where}: validation_split and subset: expected both or none of them")
    if validation_split and shuffle and seed is None:
        raise ValueError(f"{where}: seed: expected one, or the two parts would share photos")


def _index(where, directory, labels, class_names, follow_links) -> tuple[list[str], Array, list[str] | None]:
    """(the files' paths, the number of the class of each, the classes' names; None without labels)."""
    inferred = isinstance(labels, str) and labels == "inferred"
    if class_names is not None and not inferred:
        raise ValueError(f'{where}: class_names: expected them beside labels="inferred" alone')
    subfolders = [""]
    if inferred:
        with os.scandir(directory) as entries:
            subfolders = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
        if class_names is not None and not set(class_names) <= set(subfolders):
            raise ValueError(f"{where}: class_names: expected some of {subfolders}, got {list(class_names)}")
        subfolders = list(class_names or subfolders)
    paths, numbers = [], []
    for number, name in enumerate(subfolders):
        files = list(_walk(os.path.join(directory, name), follow_links))
        paths += files
        numbers += [number] * len(files)
    if labels is None:
        return paths, np.array(numbers, np.int32), None
    if inferred:
        return paths, np.array(numbers, np.int32), subfolders
    if isinstance(labels, str) or len(labels) != len(paths):
        got = repr(labels) if isinstance(labels, str) else f"{len(labels)} labels"
        raise ValueError(f'{where}: labels: expected "inferred", None or one for each of {len(paths)} files, got {got}')
    return paths, np.array(labels, np.int32), [str(label) for label in sorted(set(labels))]


def _walk(folder, follow_links) -> Iterator[str]:
    for root, _, names in sorted(os.walk(folder, followlinks=follow_links), key=lambda found: found[0]):
        yield from (os.path.join(root, name) for name in sorted(names) if name.lower().endswith(ENDINGS))


def _encoded(numbers, label_mode, classes) -> Array:
    """Labels as Keras encodes them: int32 (N,), float32 (N, 1) or one-hot rows (N, classes)."""
    if label_mode == "binary":
        return numbers.astype(np.float32)[:, None]
    return np.eye(classes, dtype=np.float32)[numbers] if label_mode == "categorical" else numbers
